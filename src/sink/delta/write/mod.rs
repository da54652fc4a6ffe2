//! Writing: a lazy plan, a merge or an append below it, and the source that both read once.
//!
//! - `plan` is the node that DataFusion runs; executing it is the only thing that writes.
//! - `clauses` turns DataFusion's planned `MERGE` into expressions over the sides `target` and `source`.
//! - `strategy` says which way a merge goes: `append` for a table without rows, `row_level` by the keys of the rows that
//!   it touches, `full_join` by deltalake's own merge for the rest.
//! - `adopt` lets a new table take the files of a copy as they are.
//! - `partition` refuses what a partition column would give back as another value.
//! - `rows` has the expressions that all but deltalake's share.
//! - `source` hands the rows of a physical plan to a second plan, once.

mod adopt;
mod append;
mod clauses;
mod duplicate;
mod full_join;
mod partition;
mod plan;
mod row_level;
mod rows;
mod source;
mod strategy;

pub(super) use clauses::{MergeClauses, RowChange};
pub use plan::merge_path;
pub(super) use plan::{Operation, WriteExec, WriteTask};
pub(super) use row_level::{
    DataFile, FILE_SIZE, Rewrite, Rewritten, SMALL_FILE, data_files, is_conflict, scalar_value,
    vector_path,
};
pub(crate) use row_level::{Spool, SpoolWriter, joined_by_hash, joined_within_memory};
pub(super) use strategy::{Strategy, obstacle};
