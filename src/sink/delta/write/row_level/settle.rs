//! From the rows that change to one commit.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, SortExpr};
use deltalake::kernel::transaction::CommitBuilder;
use deltalake::kernel::{Action, Add};
use deltalake::protocol::{DeltaOperation, MergePredicate};
use futures::StreamExt;
use roaring::RoaringTreemap;

use super::super::super::checkpoint::commit_properties;
use super::super::super::{CommitOutcome, RowCounts, SinkError};
use super::super::clauses::{Action as ClauseAction, Clause};
use super::super::strategy::may_mark;
use super::files::DataFile;
use super::images::{ImageWriter, change_file, change_schema};
use super::matching::{Join, live_rows, of_target};
use super::spool::Spool;
use super::vectors::write_vectors;
use super::{Found, Rows, Version, Write, run};
use datafusion::logical_expr::dml::MergeIntoClauseKind;

/// A file of at most this many bytes is written anew, unless the write says otherwise, rather than given a deletion
/// vector: that is as cheap, and files that keep changing become one.
pub(in super::super::super) const SMALL_FILE: u64 = 2 << 20;
/// A file of which more than one in this many rows is deleted is written anew: readers pay for each.
const DELETED_SHARE: u64 = 4;

/// What becomes of the files that lose rows.
#[derive(Default)]
struct Fates {
    /// Files without a row left, and those that are written anew.
    removed: Vec<Action>,
    /// Files that are written anew, with their deleted rows.
    rewritten: Vec<(i32, DataFile)>,
    deleted: HashMap<i32, RoaringTreemap>,
    /// Files that get a deletion vector.
    marked: Vec<DataFile>,
    vectors: Vec<RoaringTreemap>,
}

impl Write<'_> {
    /// Writes what was found and commits it; `deleted` are the rows that were out before, by file.
    pub(super) async fn settle(
        &self,
        version: &Version<'_>,
        deleted: &HashMap<i32, RoaringTreemap>,
        found: Found,
    ) -> Result<CommitOutcome> {
        let fates = self.fates(version, deleted, found.touched.rows());
        let mut actions = fates.removed;
        let log_store = version.target.table().log_store();
        let vectors = write_vectors(&log_store, fates.vectors).await?;
        for (file, vector) in fates.marked.iter().zip(vectors) {
            actions.push(file.removal());
            actions.push(file.with_vector(vector)?);
        }
        let kept = (fates.rewritten, fates.deleted);
        actions.extend(self.write_rows(version, &found.images, kept).await?);
        if let Some(changes) = &found.changes {
            actions.extend(self.write_changes(version, changes).await?);
        }
        if actions.is_empty() {
            return self.task.nothing_changed(version.target).await;
        }
        self.commit(version, actions, found.touched.counts()).await
    }

    fn fates(
        &self,
        version: &Version<'_>,
        deleted: &HashMap<i32, RoaringTreemap>,
        touched: &HashMap<i32, RoaringTreemap>,
    ) -> Fates {
        let mut fates = Fates::default();
        let may_mark = may_mark(version.snapshot, &self.task.options);
        for (number, file) in (0..).zip(&version.files) {
            let Some(rows) = touched.get(&number) else {
                continue;
            };
            let mut gone = deleted.get(&number).cloned().unwrap_or_default();
            gone |= rows;
            let total = file.rows();
            if total.is_some_and(|total| gone.len() >= total) {
                fates.removed.push(file.removal());
                continue;
            }
            // Beside a deletion vector the protocol wants to know how many rows there are.
            let mostly = total.is_none_or(|total| gone.len() > total / DELETED_SHARE);
            if !may_mark || file.size() <= self.task.small_file || mostly {
                fates.removed.push(file.removal());
                fates.deleted.insert(number, gone);
                fates.rewritten.push((number, file.clone()));
            } else {
                fates.marked.push(file.clone());
                fates.vectors.push(gone);
            }
        }
        fates
    }

    /// Writes the new images and the rows that stay of `rewritten` files, sorted by partition and keys.
    async fn write_rows(
        &self,
        version: &Version<'_>,
        images: &Spool,
        (rewritten, deleted): (Vec<(i32, DataFile)>, HashMap<i32, RoaringTreemap>),
    ) -> Result<Vec<Action>> {
        if images.rows() == 0 && rewritten.is_empty() {
            return Ok(Vec::new());
        }
        let task = self.task;
        let table = images.table()?;
        let mut rows = LogicalPlanBuilder::scan("image", provider_as_source(table), None)?
            .project(columns(&task.schema, |name| {
                Expr::Column(Column::new(Some("image"), name))
            }))?;
        if !rewritten.is_empty() {
            let files: Arc<dyn TableProvider> =
                Arc::new(version.table(rewritten, &task.schema, &task.state)?);
            let kept =
                live_rows(files, Arc::new(deleted))?.project(columns(&task.schema, of_target))?;
            rows = rows.union(kept.build()?)?;
        }
        let writer = version.row_writer(&task.schema)?;
        let added = version.write_sorted(&task.state, rows, &self.keys, writer);
        Ok(added.await?.into_iter().map(Action::Add).collect())
    }

    /// Writes the rows of the change feed.
    async fn write_changes(&self, version: &Version<'_>, changes: &Spool) -> Result<Vec<Action>> {
        if changes.rows() == 0 {
            return Ok(Vec::new());
        }
        let table = provider_as_source(changes.table()?);
        let rows = LogicalPlanBuilder::scan("change", table, None)?;
        let writer = version.change_writer(&change_schema(&self.task.schema))?;
        let added = version.write_sorted(&self.task.state, rows, &[], writer);
        Ok(added.await?.into_iter().map(change_file).collect())
    }

    async fn commit(
        &self,
        version: &Version<'_>,
        actions: Vec<Action>,
        rows: RowCounts,
    ) -> Result<CommitOutcome> {
        let task = self.task;
        let properties = commit_properties(task.commit.as_ref(), task.name, Some(rows));
        let table = version.target.table();
        let failed = |error| SinkError::from_delta(version.target.location(), "write", error);
        let committed = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(
                Some(table.snapshot().map_err(failed)?),
                table.log_store(),
                self.operation(),
            )
            .await
            .map_err(failed)?;
        Ok(CommitOutcome::Committed {
            version: committed.version(),
            created: false,
            rows,
        })
    }

    /// The operation that the log names.
    ///
    /// It is a MERGE that read the whole table, also for an UPDATE or DELETE: of all operations with removals that is
    /// the one that deltalake never resolves in favour of both of two writers.
    fn operation(&self) -> DeltaOperation {
        let on = match &self.rows {
            Rows::Merge { merge, .. } => Some(merge.on.to_string()),
            Rows::Of { filter } => filter.map(ToString::to_string),
        };
        let (inserts, matched): (Vec<_>, Vec<_>) = self
            .clauses
            .iter()
            .partition(|clause| clause.kind == MergeIntoClauseKind::NotMatchedByTarget);
        DeltaOperation::Merge {
            predicate: None,
            merge_predicate: on,
            matched_predicates: matched.into_iter().map(logged).collect(),
            not_matched_predicates: inserts.into_iter().map(logged).collect(),
            not_matched_by_source_predicates: Vec::new(),
        }
    }
}

impl Version<'_> {
    /// Writes `rows`, sorted by partition and `keys`.
    pub(super) async fn write_sorted(
        &self,
        state: &SessionState,
        mut rows: LogicalPlanBuilder,
        keys: &[String],
        writer: ImageWriter,
    ) -> Result<Vec<Add>> {
        let partition = self.snapshot.metadata().partition_columns();
        let order = partition.iter().chain(keys);
        let order: Vec<SortExpr> = order
            .map(|name| Expr::Column(Column::from_name(name)).sort(true, true))
            .collect();
        if !order.is_empty() {
            rows = rows.sort(order)?;
        }
        write_all(&Join::SortMerge.session(state), rows, writer).await
    }
}

/// Writes `rows` as they come, which is grouped by their partition.
pub(super) async fn write_all(
    state: &SessionState,
    rows: LogicalPlanBuilder,
    mut writer: ImageWriter,
) -> Result<Vec<Add>> {
    let mut rows = run(state, &rows.build()?).await?;
    while let Some(batch) = rows.next().await {
        writer.write(batch?).await?;
    }
    writer.finish().await
}

/// The columns of `schema`, each as `column` says, under their own names.
pub(super) fn columns(schema: &Schema, column: impl Fn(&str) -> Expr) -> Vec<Expr> {
    let fields = schema.fields().iter();
    fields
        .map(|field| column(field.name()).alias(field.name()))
        .collect()
}

fn logged(clause: &Clause) -> MergePredicate {
    let action_type = match clause.action {
        ClauseAction::Update(_) => "update",
        ClauseAction::Delete => "delete",
        ClauseAction::Insert(_) => "insert",
    };
    MergePredicate {
        action_type: action_type.to_string(),
        predicate: clause.predicate.as_ref().map(ToString::to_string),
    }
}
