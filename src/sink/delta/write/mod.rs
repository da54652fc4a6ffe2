//! Writing: a lazy plan, a merge or an append below it, and the source that both read once.
//!
//! - `plan` is the node that DataFusion runs; executing it is the only thing that writes.
//! - `clauses` turns DataFusion's planned `MERGE` into expressions over the sides `target` and `source`.
//! - `merge` applies them to a table with rows, `append` to one without.
//! - `source` hands the rows of a physical plan to a second plan, once.

mod append;
mod clauses;
mod duplicate;
mod merge;
mod plan;
mod source;

pub(super) use clauses::MergeClauses;
pub(super) use plan::{Operation, WriteExec, WriteTask};
