//! cdcql copies SQL Server tables into Delta tables, and keeps them true.
//!
//! A pipeline is a file of SQL. Its connections are catalogs of live tables and change feeds, its targets
//! are Delta tables, and its `MERGE INTO target USING STREAM source CHANGES` is a flow: what the target is,
//! not how it is made. [DataFusion](datafusion) plans and runs every statement; cdcql adds the two ends.
//!
//! # The one idea
//!
//! **One LSN window = one execution of the flow's SQL = one Delta commit, and that commit carries the LSN.**
//!
//! A window is `(after, upto]` in [commit LSNs](change::Lsn). `after` is the flow's checkpoint, `upto` the
//! newest row of `cdc.lsn_time_mapping`, read once per run and connection. The rows and `upto` go into the
//! target's log in one commit, `upto` as three `txn` actions. The Delta log is the only checkpoint store.
//!
//! What follows, each held by a test:
//! - A crash at any instruction loses nothing and repeats nothing: a window is committed with its LSN, or
//!   not at all.
//! - A window holds whole transactions.
//! - A window that does not begin at the checkpoint is never applied. When another writer commits first,
//!   the result is discarded, and the flow begins again from the checkpoint it finds then.
//! - A checkpoint is an existing row of `cdc.lsn_time_mapping`. Where the server has that LSN with another
//!   time or another transaction, its history was replaced, and the flow stops.
//! - Planning writes nothing: a merge is a lazy plan, so `EXPLAIN` and the checks before a run are free.
//!
//! # One change, from the wire to the commit
//!
//! 1. [`sql`] turns the text into statements that keep their places. `x CHANGES …` and `STREAM x CHANGES`
//!    become names that only the catalogs understand.
//! 2. [`pipeline`] binds them: connects, opens the targets, takes schemas, expands stars, and plans every
//!    flow once without running it, so that a mistake is found before anything is read or written. All mistakes are told
//!    at once: first those that the file alone shows (`cdcql check` ends there), then those of its connections, then those
//!    of its flows. What would come next, `cdcql plan` tells and does not do.
//! 3. The loop reads the ceiling and the flow's checkpoint. Without a checkpoint the table is copied: note
//!    L0, read the table in chunks, which lie beside the target until then, wait until capture has come to a fence F past
//!    the end of the read; rows that did not change in (L0, F], and the net changes of (L0, F], are one commit at F.
//! 4. [`source`] reads the change table in the order of the log, decodes rows straight into Arrow builders
//!    and streams them; the instance's low end is checked in the same batch before and after the rows.
//! 5. Net changes keep the last image of each key, by a sort that spills.
//! 6. The flow's SQL runs over that, and `merge_into` of the [`sink`] writes and commits.
//!
//! What many such commits leave behind, small files and deleted rows, is mended by `cdcql maintain` alone, never by a
//! run: in commits that change no row and carry no checkpoint, each a compare-and-swap as a merge's is.
//!
//! Whether a target is true is a question to both ends (`cdcql verify`): counts and checksums of ranges of hashed keys, of
//! what the flow makes of the source's rows and of what the target has as of its checkpoint; what has changed since is left
//! out.
//!
//! # Rooms
//!
//! | room | what it does | what only it names |
//! |---|---|---|
//! | [`cli`] | how a person drives it | clap and its kin, toml, rustyline, indicatif |
//! | [`pipeline`] | a file as flows; the one loop | |
//! | [`engine`] | the DataFusion session: catalogs, planning | |
//! | [`sql`] | text to statements; no I/O | |
//! | [`source`] | SQL Server: connections, catalogue, live tables, change feeds, snapshots | tiberius, rustls-native-certs |
//! | [`sink`] | Delta tables: merge, append, checkpoint, history, maintenance, staged copies | deltalake |
//! | [`change`] | the nouns: LSNs, windows, kinds of change; no I/O, no async | |
//! | `simulator` | an embedded SQL Server stand-in that speaks TDS | tokio-rustls, rcgen |
//! | [`error`] | every error, what it means for the exit code, and whether to try again | |
//!
//! Imports go one way: `cli -> pipeline -> engine -> {sql, source, sink} -> change`. `sql`, `source` and
//! `sink` never name each other. The simulator shares no code with the client side, so that a mistake
//! cannot hide on both ends of the wire; only `cli` starts it. A test fails on any other import.
//!
//! # Seams
//!
//! They are DataFusion's own: a connection is a `CatalogProvider`, a live table, a change feed and a Delta
//! table are `TableProvider`s, and a Delta table's also implements `merge_into`. There is no plug-in trait.
//!
//! # Absent on purpose
//!
//! No checkpoint store (what a copy has read by now, in `_cdcql/` beside its target, is no checkpoint), no scheduler, no
//! plug-in registry, no text templating, no own SQL expressions or types, no own Parquet, no own line editing or table
//! drawing.

pub mod change;
pub mod cli;
pub mod engine;
pub mod error;
mod nearest;
pub mod pipeline;
pub mod sink;
pub mod source;
pub mod sql;

#[cfg(feature = "simulator")]
pub mod simulator;
