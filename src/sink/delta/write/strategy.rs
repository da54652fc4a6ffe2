//! Which of two ways a merge goes, and why.

use std::fmt;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::Column;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::utils::split_conjunction;
use delta_kernel::table_features::ColumnMappingMode;
use deltalake::kernel::EagerSnapshot;

use super::super::{DeltaTarget, TableOptions};
use super::clauses::{MergeClauses, SOURCE, TARGET};

/// How a merge writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Strategy {
    /// There is no row to match: the new rows are appended.
    Append,
    /// The touched rows alone are found by their keys and marked in deletion vectors; their new images are appended.
    RowLevel,
    /// As [`Strategy::RowLevel`], but the files of the touched rows are written anew, since deletion vectors are
    /// not enabled in the table, or not wanted.
    TouchedFiles,
    /// deltalake's merge, which reads and joins all columns of all files that the source's keys do not rule out.
    FullJoin(Reason),
}

/// Why the touched rows cannot be found by their keys alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Reason {
    NotMatchedBySource,
    NoEquality,
    ColumnMapping,
    GeneratedColumns,
    NestedNotNull,
    ForeignFiles,
}

impl Strategy {
    /// The way for `merge` into `target`, as it is loaded.
    pub(in super::super) fn of(
        target: &DeltaTarget,
        options: &TableOptions,
        merge: &MergeClauses,
    ) -> Self {
        let Some(snapshot) = target.snapshot() else {
            return Self::Append;
        };
        if target.is_empty() {
            return Self::Append;
        }
        if merge.reads_unmatched_targets() {
            return Self::FullJoin(Reason::NotMatchedBySource);
        }
        if !compares_keys(&merge.on) {
            return Self::FullJoin(Reason::NoEquality);
        }
        Self::by_table(snapshot, options)
    }

    /// The way for a change of rows that a condition names.
    pub(super) fn by_table(snapshot: &EagerSnapshot, options: &TableOptions) -> Self {
        let schema = snapshot.arrow_schema();
        let mapping = snapshot.table_configuration().column_mapping_mode();
        let mut fields = schema.fields().iter();
        if mapping != ColumnMappingMode::None {
            return Self::FullJoin(Reason::ColumnMapping);
        }
        if fields.clone().any(|field| is_computed(field)) {
            return Self::FullJoin(Reason::GeneratedColumns);
        }
        if fields.any(|field| demands_within(field.data_type())) {
            return Self::FullJoin(Reason::NestedNotNull);
        }
        let files = snapshot.log_data();
        if files.iter().any(|file| file.path().contains("://")) {
            return Self::FullJoin(Reason::ForeignFiles);
        }
        if may_mark(snapshot, options) {
            Self::RowLevel
        } else {
            Self::TouchedFiles
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append => f.write_str("append"),
            Self::RowLevel => f.write_str("touched rows (deletion vectors)"),
            Self::TouchedFiles => f.write_str("touched files (without deletion vectors)"),
            Self::FullJoin(reason) => write!(f, "full join ({reason})"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMatchedBySource => "WHEN NOT MATCHED BY SOURCE looks at every row",
            Self::NoEquality => "ON compares no column of the target for equality",
            Self::ColumnMapping => "the table maps its columns' names",
            Self::GeneratedColumns => "the table has generated columns or invariants",
            Self::NestedNotNull => "the table has NOT NULL within a nested column",
            Self::ForeignFiles => "the table names files outside of its folder",
        })
    }
}

/// Why files of the table cannot be read and written row by row, if they cannot.
pub(in super::super) fn obstacle(snapshot: &EagerSnapshot) -> Option<String> {
    match Strategy::by_table(snapshot, &TableOptions::default()) {
        Strategy::FullJoin(reason) => Some(reason.to_string()),
        _ => None,
    }
}

/// True if rows may be taken out of the files of `snapshot` by deletion vectors.
pub(super) fn may_mark(snapshot: &EagerSnapshot, options: &TableOptions) -> bool {
    let enabled = snapshot.table_properties().enable_deletion_vectors;
    enabled == Some(true) && options.wants_vectors()
}

/// True if an equality of `on` has columns of the target on one side, and of the source on the other.
fn compares_keys(on: &Expr) -> bool {
    split_conjunction(on).into_iter().any(|part| match part {
        Expr::BinaryExpr(equality) if is_equality(equality.op) => {
            let sides = [&equality.left, &equality.right];
            sides.iter().any(|side| is_of(side, TARGET))
                && sides.iter().any(|side| is_of(side, SOURCE))
        }
        _ => false,
    })
}

/// True if `expr` has columns, and all of them are of `side`.
fn is_of(expr: &Expr, side: &str) -> bool {
    let columns = expr.column_refs();
    let of_side = |column: &&Column| {
        let relation = column.relation.as_ref();
        relation.is_some_and(|relation| relation.table() == side)
    };
    !columns.is_empty() && columns.iter().all(of_side)
}

fn is_equality(operator: Operator) -> bool {
    matches!(operator, Operator::Eq | Operator::IsNotDistinctFrom)
}

fn is_computed(field: &Field) -> bool {
    let metadata = field.metadata();
    metadata.contains_key("delta.generationExpression")
        || metadata.contains_key("delta.invariants")
        || metadata.contains_key("CURRENT_DEFAULT")
}

/// True if a value within one of `data_type` may not be NULL.
fn demands_within(data_type: &DataType) -> bool {
    let demands = |field: &Field| !field.is_nullable() || demands_within(field.data_type());
    match data_type {
        DataType::Struct(fields) => fields.iter().any(|field| demands(field)),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            demands(item)
        }
        // A map's entries and keys are never NULL; its values may be.
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields.iter().skip(1).any(|field| demands(field)),
            _ => true,
        },
        _ => false,
    }
}
