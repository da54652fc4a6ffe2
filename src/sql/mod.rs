//! The language of a pipeline file: text to statements, without I/O.
//!
//! [`parse`] gives a file's [`Statement`]s, or every error in it as a [`Diagnostic`] with its place. A statement
//! is parsed, not bound: no table is looked up, no constant resolved. What needs the columns of tables is a
//! step of its own, to be called with them: [`resolve_names`] spells column names, [`expand_stars`] writes out
//! `UPDATE SET *` and `INSERT *`.
//!
//! # How it is read
//!
//! DataFusion's own parser does the work, with its `GenericDialect`. What that cannot read is turned on tokens
//! into something it can, every token keeping its place in the file:
//!
//! - `[name]` becomes a quoted name,
//! - `:name` becomes the constant that it stands for, in one token,
//! - `app_db.dbo.customers CHANGES …`, `STREAM … CHANGES`, `t VERSION AS OF n` become a quoted marker name in
//!   the same schema, which [`relation_from_marker`] takes apart again,
//! - `UPDATE SET *`, `INSERT *` and `DO NOTHING` become actions on columns that nobody can name.
//!
//! CREATE CONNECTION, CREATE SCHEMA and CREATE TABLE … USING DELTA are read by hand. AUTO CDC becomes a MERGE, and a
//! CREATE STREAMING TABLE with its flow two statements; one for every
//! table of a schema is kept as it is, to be read again for each of them. Whatever parses but would
//! be ignored when planned is refused.

mod actions;
mod auto_cdc;
mod brackets;
mod cdc_clauses;
mod change_columns;
mod classes;
mod clauses;
mod constant;
mod create;
mod cursor;
mod diagnostic;
mod every_table;
mod expectation;
mod factor;
mod factors;
mod history;
mod ignored;
mod keyed;
mod lexer;
mod limits;
mod membership;
mod merge;
mod mirror;
mod names;
mod options;
mod parameters;
mod parse;
mod places;
mod printed;
mod references;
mod relation;
mod scope;
mod secrets;
mod source;
mod spelled;
mod stars;
mod statement;
mod stream;
mod streaming;
mod table;
mod trigger;

#[cfg(test)]
mod tests;

pub use auto_cdc::AutoCdc;
pub use classes::{KEYWORDS, TextClass, text_classes};
pub use constant::{Const, Literal, SecretStore};
pub use create::{CONNECTION_OPTIONS, CreateConnection, CreateSchema};
pub use diagnostic::Diagnostic;
pub use every_table::EveryTable;
pub use expectation::{EXPECT, Expectation, OnViolation};
pub use history::{History, Period, Track};
pub use lexer::is_complete;
pub use membership::SINGLE_ROW;
pub use merge::MergeStatement;
pub use names::resolve_names;
pub use options::GivenOption;
pub use parameters::Parameters;
pub use parse::{Parsed, parse, parse_all};
pub use printed::printed;
pub use references::{TableReference, table_references};
pub use relation::{Bound, BoundUnit, Bounds, RelationKind, StreamStart, relation_from_marker};
pub use secrets::may_hold_secret;
pub use source::{SourceText, Span};
pub use spelled::{identifier, literal};
pub use stars::{Absent, expand_stars};
pub use statement::{Statement, StatementKind};
pub use stream::StreamRef;
pub use table::{ColumnDefinition, CreateTable, Property};
