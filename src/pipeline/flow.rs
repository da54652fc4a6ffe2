//! A flow: one MERGE over one stream, bound to its source and its target.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::ResolvedTableReference;

use super::history::Shape;
use super::reconcile::Over;
use super::schema::Growth;
use crate::change::{FlowKey, Lsn};
use crate::engine::{Expectations, TableDeclaration};
use crate::source::sqlserver::{CapturedColumn, CapturedTable, Database, FeedBound, LargeValues};
use crate::sql::{MergeStatement, Statement, StatementKind};
use datafusion::arrow::datatypes::SchemaRef;

/// Where a flow begins that has no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With a copy of its table.
    Copy,
    /// With the changes past the newest commit.
    Now,
    /// With the changes from there on.
    From(FeedBound),
}

/// A flow, bound and checked; [`super::Pipeline::run`] executes it over a window.
#[derive(Debug)]
pub struct Flow {
    /// Its name: the target's, as written.
    pub(super) name: String,
    /// The statement it was written as.
    pub(super) statement: Statement,
    /// That statement's MERGE with every star expanded.
    pub(super) merge: MergeStatement,
    /// The connection's name.
    pub(super) connection: String,
    pub(super) database: Database,
    pub(super) table: CapturedTable,
    /// The table's newest capture instance when the flow was bound.
    pub(super) newest_instance: i32,
    /// From this checkpoint on the table's newest capture instance reaches back far enough.
    pub(super) newest_after: Lsn,
    /// Where it begins without a checkpoint.
    pub(super) start: Start,
    /// The name under which the statement's text finds the stream.
    pub(super) stream: ResolvedTableReference,
    /// The name under which it finds the target.
    pub(super) target: ResolvedTableReference,
    pub(super) declaration: TableDeclaration,
    /// The schema that a target gets which does not exist yet.
    pub(super) target_schema: SchemaRef,
    pub(super) key: FlowKey,
    /// What the target gets before anything else is done.
    pub(super) growth: Growth,
    /// The target's columns that stars make NULL, since the source does not have them.
    pub(super) absents: BTreeSet<String>,
    /// The tables that its plan reads.
    pub(super) reads: Vec<ResolvedTableReference>,
    /// The stream's columns that its plan reads, as places among the captured ones.
    pub(super) columns: BTreeSet<usize>,
    /// The versions that it writes, of a target that keeps its history.
    pub(super) history: Option<Arc<Shape>>,
    /// How its MERGE writes, by the target that it was bound to.
    pub(super) merge_path: Option<String>,
}

impl Flow {
    /// The flow's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The flow's identity in its target's log.
    pub fn key(&self) -> &FlowKey {
        &self.key
    }

    /// The columns of the key by which its changes are netted.
    pub(super) fn source_key(&self) -> Vec<String> {
        let key = self.table.key_names().into_iter();
        key.map(str::to_string).collect()
    }

    /// How its stream carries values that changes may lack.
    pub(super) fn large_values(&self) -> LargeValues {
        if self.declaration.read_back {
            LargeValues::ReadBack
        } else {
            LargeValues::Kept { read_back: false }
        }
    }

    /// What is done with the rows of a target that has got new columns.
    pub(super) fn over_new_columns(&self) -> Over {
        match self.declaration.backfill_columns {
            true => Over::NewColumns,
            false => Over::ChangedRows,
        }
    }

    /// Whether its plan reads values that may be large.
    pub(super) fn reads_large_values(&self) -> bool {
        let columns = self.table.columns();
        let mut read = self.columns.iter().filter_map(|index| columns.get(*index));
        read.any(CapturedColumn::is_large)
    }

    /// The statement to plan for rows that are copied over what the target has: what the source does not have stays.
    pub(super) fn kind_over(&self) -> StatementKind {
        StatementKind::Merge(Box::new(self.merge.keeping(&self.absents)))
    }

    /// What is expected of its rows, of which nothing is counted yet.
    pub(super) fn expectations(&self) -> Arc<Expectations> {
        Expectations::new(&self.declaration.expectations)
    }

    /// The MERGE that is executed: of versions, where the target keeps its history.
    pub(super) fn written(&self) -> MergeStatement {
        match &self.history {
            Some(shape) => shape.merge(&self.merge),
            None => self.merge.clone(),
        }
    }

    /// The statement to plan.
    pub(super) fn kind(&self) -> StatementKind {
        StatementKind::Merge(Box::new(self.merge.clone()))
    }
}
