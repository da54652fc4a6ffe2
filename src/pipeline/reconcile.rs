//! A new copy of a table over an old one: its rows, and a delete for each key that only the target has.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{
    Column, JoinType, NullEquality, Result, ScalarValue, TableReference, plan_err,
};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, TableType, lit};
use datafusion::physical_plan::ExecutionPlan;

use crate::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, ChangeType, Lsn};
use crate::error::Error;
use crate::sink::delta::joined_within_memory;
use crate::source::sqlserver::CapturedTable;
use crate::sql::{MergeStatement, Statement};

const COPY: &str = "copy";
const TARGET: &str = "target";

/// The columns by which rows of a target are told apart, with those of its source.
pub(super) type Keys = Vec<(String, String)>;

/// What a comparison with the source cannot do without.
pub(super) const UNKNOWN_ROWS: &str = "verify cannot tell what rows the target should have";

/// Why a flow copies its table over what its target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// By its policy for gaps.
    Gap,
    /// By the word of whoever runs it.
    Asked,
    /// The rows of the target are not its own; it takes them over.
    Foreign,
    /// They lack the values of columns that the target has got.
    NewColumns,
    /// As [`Over::NewColumns`], but of the rows alone that changed since the columns came to the source.
    ChangedRows,
    /// It does not: the two are compared.
    Comparison,
}

impl Over {
    /// What cannot be done, and how to do without.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Gap => (
                "'cdcql.onGap' = 'resnapshot' cannot delete what the source no longer has",
                "or leave the property out",
            ),
            Self::Asked => (
                "--snapshot cannot delete what the source no longer has",
                "or empty the target and run without --snapshot",
            ),
            Self::Foreign => (
                "--adopt cannot delete what the source no longer has",
                "or point LOCATION at an empty place",
            ),
            Self::NewColumns => (
                "'cdcql.onSchemaChange' = 'add', which copies the table again, cannot delete what the source no longer has",
                "or write 'ignore'",
            ),
            Self::ChangedRows => (
                "'cdcql.backfillColumns' = 'false' cannot read changed rows again for new columns",
                "or write 'cdcql.onSchemaChange' = 'ignore'",
            ),
            Self::Comparison => (UNKNOWN_ROWS, "or name the other flows with --flow"),
        }
    }
}

/// The keys of a flow that may copy its table again over what its target has, or be compared with it.
///
/// # Errors
/// `Invalid` for a MERGE that may do something else with a `delete` row which has nothing but its key than to delete the
/// target's row.
pub(super) fn reconcilable(
    statement: &Statement,
    merge: &MergeStatement,
    table: &CapturedTable,
    target: &SchemaRef,
    over: Over,
) -> Result<Keys, Error> {
    reconcilable_form(statement, merge, over)?;
    if merge.history().is_some() {
        // A row that the copy lacks was not there, which is told by the versions alone.
        return Ok(Keys::new());
    }
    let refused = |message: &str, help: &str| refuse(statement, merge, over, message, help);
    let through = merge.keys_through_query(&table.key_names());
    let pairs = through.or_else(|| merge.key_pairs()).unwrap_or_default();
    let source = table.schema_ref();
    let mut keys = Keys::with_capacity(pairs.len());
    for (target_column, source_column) in &pairs {
        let found = field(target, target_column).zip(field(&source, source_column));
        let same = found.filter(|(own, other)| {
            target.field(*own).data_type() == source.field(*other).data_type()
        });
        let Some((own, other)) = same else {
            return refused(
                &format!("'{target_column}' and '{source_column}' do not have one type"),
                "declare the target's key with the source's type",
            );
        };
        keys.push((
            target.field(own).name().clone(),
            source.field(other).name().clone(),
        ));
    }
    let mut compared: Vec<&str> = keys.iter().map(|(_, source)| source.as_str()).collect();
    let mut key = table.key_names();
    compared.sort_unstable();
    key.sort_unstable();
    if compared != key {
        return refused(
            &format!(
                "ON has to compare the columns of the source's key ({}) and nothing else",
                key.join(", ")
            ),
            "write ON target.key = change.key for each of them",
        );
    }
    Ok(keys)
}

/// The part of [`reconcilable`] that the statement alone tells.
pub(super) fn reconcilable_form(
    statement: &Statement,
    merge: &MergeStatement,
    over: Over,
) -> Result<(), Error> {
    if merge.history().is_some() {
        if !merge.deletes_leave() {
            let message = "APPLY AS DELETE WHEN says what a delete is, and of rows that are gone nothing else is known";
            return refuse(statement, merge, over, message, "leave it out");
        }
        return match over {
            Over::Gap | Over::Asked | Over::Foreign | Over::NewColumns => Ok(()),
            Over::ChangedRows | Over::Comparison => {
                let message = "the target keeps the history of its rows (SCD TYPE 2)";
                let help = match over {
                    Over::Comparison => "leave it out",
                    _ => "leave 'cdcql.backfillColumns' out",
                };
                refuse(statement, merge, over, message, help)
            }
        };
    }
    let is_copied = matches!(
        over,
        Over::Gap | Over::Asked | Over::Foreign | Over::NewColumns
    );
    if is_copied && merge.deletes_leave() && !merge.reads_stream_alone() {
        return Ok(());
    }
    if !merge.reads_stream_alone() {
        return refuse(
            statement,
            merge,
            over,
            "the source is a query, which may leave such rows out",
            "write USING STREAM … CHANGES AS change",
        );
    }
    // Of rows that were read again alone none lacks because it is gone.
    if over != Over::ChangedRows && !merge.deletes_first() {
        return refuse(
            statement,
            merge,
            over,
            "the first WHEN MATCHED does not delete what the source has deleted",
            "begin with WHEN MATCHED AND change._change_type = 'delete' THEN DELETE",
        );
    }
    if merge.tells_changes_apart().is_some() {
        return refuse(
            statement,
            merge,
            over,
            "a WHEN asks what kind of change a row is, and all rows of a copy are inserts",
            "ask of _change_type no more than whether it is 'delete'",
        );
    }
    Ok(())
}

fn refuse<T>(
    statement: &Statement,
    merge: &MergeStatement,
    over: Over,
    message: &str,
    help: &str,
) -> Result<T, Error> {
    let (what, without) = over.words();
    Err(Error::invalid(statement.diagnostic(
        merge.target_span,
        format!("{what}: {message}"),
        Some(format!("{help}, {without}")),
    )))
}

/// The place of a column, by its name as written, or else by the one that differs in case alone.
pub(super) fn field(schema: &SchemaRef, name: &str) -> Option<usize> {
    schema.index_of(name).ok().or_else(|| {
        let same = |place: &usize| schema.field(*place).name().eq_ignore_ascii_case(name);
        let mut places = (0..schema.fields().len()).filter(same);
        places.next().filter(|_| places.next().is_none())
    })
}

/// The rows of a copy, and a `delete` row for each key of a target that is not among them.
#[derive(Debug)]
pub(super) struct Reconciled {
    /// The copy, in the schema of a change feed.
    pub(super) copy: Arc<dyn TableProvider>,
    /// The target, as it was before the copy.
    pub(super) target: Arc<dyn TableProvider>,
    pub(super) keys: Keys,
    /// The commit that the copy is exact at.
    pub(super) end: Lsn,
}

#[async_trait]
impl TableProvider for Reconciled {
    fn schema(&self) -> SchemaRef {
        self.copy.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(state) = state.as_any().downcast_ref::<SessionState>() else {
            return plan_err!("a copy over an old one is planned by a SessionState");
        };
        let mut plan = self.plan()?;
        if let Some(projection) = projection {
            plan = plan.select(projection.iter().copied())?;
        }
        let plan = plan.limit(0, limit)?.build()?;
        // Neither side need fit in memory: both are as long as the table.
        let state = joined_within_memory(state);
        let plan = state.optimize(&plan)?;
        state
            .query_planner()
            .create_physical_plan(&plan, &state)
            .await
    }
}

impl Reconciled {
    fn plan(&self) -> Result<LogicalPlanBuilder> {
        let gone = gone(&self.keys, &self.target, &self.copy)?;
        let deletes = gone.project(self.delete_row()?)?.build()?;
        scan(COPY, &self.copy)?.union(deletes)
    }

    /// A row of the feed that has nothing but its key.
    fn delete_row(&self) -> Result<Vec<Expr>> {
        let schema = self.copy.schema();
        let row = schema.fields().iter().map(|field| {
            let name = field.name();
            let key = self.keys.iter().find(|(_, other)| other == name);
            let value = match (name.as_str(), key) {
                (_, Some((own, _))) => Expr::Column(column(TARGET, own)),
                (CHANGE_TYPE, _) => lit(ChangeType::Delete.as_str()),
                (COMMIT_VERSION, _) => lit(self.end.to_hex()),
                (COMMIT_TIMESTAMP, _) | (_, None) => lit(ScalarValue::try_from(field.data_type())?),
            };
            Ok(value.alias(name))
        });
        row.collect()
    }
}

/// The keys that `target` has and `copy` lacks, each once, under the target's names.
pub(super) fn gone(
    keys: &Keys,
    target: &Arc<dyn TableProvider>,
    copy: &Arc<dyn TableProvider>,
) -> Result<LogicalPlanBuilder> {
    let own: Vec<Column> = keys.iter().map(|(own, _)| column(TARGET, own)).collect();
    let others = keys.iter().map(|(_, other)| column(COPY, other));
    let others: Vec<Column> = others.collect();
    let held = scan(TARGET, target)?
        .project(own.iter().cloned().map(Expr::Column))?
        .distinct()?;
    let copied = scan(COPY, copy)?.project(others.iter().cloned().map(Expr::Column))?;
    held.join_detailed(
        copied.build()?,
        JoinType::LeftAnti,
        (own, others),
        None,
        NullEquality::NullEqualsNull,
    )
}

fn scan(name: &str, table: &Arc<dyn TableProvider>) -> Result<LogicalPlanBuilder> {
    LogicalPlanBuilder::scan(name, provider_as_source(Arc::clone(table)), None)
}

fn column(relation: &str, name: &str) -> Column {
    Column::new(Some(TableReference::bare(relation)), name)
}
