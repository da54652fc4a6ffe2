//! T-SQL: from a batch's text to statements, and from statements to plans and changes.
//!
//! [`lexer`] and [`batch`] find the statements; [`command`] parses those that define things, here; the
//! SQL parser gets queries and row changes as [`normal`] text. [`rewrite`] turns T-SQL's constructs
//! into ones that DataFusion plans, with the functions of [`functions`] and the operators of
//! [`operators`] standing in where the two languages differ.

mod aggregates;
pub(crate) mod alter;
mod arithmetic;
pub(crate) mod asked;
pub(crate) mod batch;
pub(crate) mod changes;
mod clustered;
pub(crate) mod command;
mod comparison;
pub(crate) mod computed;
pub(crate) mod constant;
pub(crate) mod cursor;
pub(crate) mod ddl;
pub(crate) mod definitions;
mod dialect;
mod failure;
pub(crate) mod functions;
mod guarded;
mod keys;
pub(crate) mod lexer;
mod live;
mod net_changes;
pub(crate) mod normal;
mod operators;
pub(crate) mod parse;
mod planner;
pub(crate) mod protection;
pub(crate) mod query;
pub(crate) mod reads;
pub(crate) mod rename;
mod rewrite;
pub(crate) mod scope;
pub(crate) mod security;
mod semantics;
mod size;
pub(crate) mod system;
mod table_functions;
mod tables;
