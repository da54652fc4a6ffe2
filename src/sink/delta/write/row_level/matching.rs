//! The plan that finds the rows a merge touches and makes their new images.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, JoinType, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::dml::MergeIntoClauseKind;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, col, lit};
use roaring::RoaringTreemap;

use super::super::clauses::{Action, Clause, MergeClauses, SOURCE, TARGET};
use super::super::rows::{CLAUSE, Choices, numbered, without_target};
use super::scan::{FILE, IsLive, ROW};

/// Prefix of the columns that name a matched row in an error.
pub(super) const KEY: &str = "__cdcql_key_";
/// Prefix of the columns of a row as it was, where the change feed wants it.
pub(super) const BEFORE: &str = "__cdcql_before_";

/// What becomes of the rows that a clause takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Insert,
    Update,
    /// True for a clause without a condition, which may take a row twice.
    Delete {
        always: bool,
    },
}

/// The effects of the clauses, by their numbers.
pub(super) fn effects(clauses: &[Clause]) -> Vec<Effect> {
    let effect = |clause: &Clause| match clause.action {
        Action::Insert(_) => Effect::Insert,
        Action::Update(_) => Effect::Update,
        Action::Delete => Effect::Delete {
            always: clause.predicate.is_none(),
        },
    };
    clauses.iter().map(effect).collect()
}

/// What the plan is made from.
pub(super) struct Matching<'a> {
    pub(super) clauses: &'a [Clause],
    pub(super) keys: &'a [String],
    /// The table's columns.
    pub(super) schema: &'a SchemaRef,
    /// True if the rows as they were are wanted too.
    pub(super) images_before: bool,
}

impl Matching<'_> {
    /// One row for each source row and target row that match, and for each source row without a match, as far as
    /// a clause takes it: [`FILE`], [`ROW`], [`CLAUSE`], the keys and the columns of the new image.
    pub(super) fn merge(
        &self,
        merge: &MergeClauses,
        source: Arc<dyn TableProvider>,
        target: LogicalPlanBuilder,
    ) -> Result<LogicalPlan> {
        let source = LogicalPlanBuilder::scan(SOURCE, provider_as_source(source), None)?;
        let on = [merge.on.clone()];
        self.rows(source.join_on(target.build()?, JoinType::Left, on)?)
    }

    /// One row for each row of `target`, which are the rows that the only clause takes.
    pub(super) fn change(&self, target: LogicalPlanBuilder) -> Result<LogicalPlan> {
        self.rows(target)
    }

    fn rows(&self, matched: LogicalPlanBuilder) -> Result<LogicalPlan> {
        let branches = (0..).zip(self.clauses);
        let branches = branches.map(|(number, clause)| Ok((self.condition(clause)?, number)));
        let branches = branches.collect::<Result<Vec<_>>>()?;
        let numbered = numbered(matched, branches)?;
        let images = self.images(&numbered)?;
        numbered.project(images)?.build()
    }

    fn condition(&self, clause: &Clause) -> Result<Expr> {
        let predicate = clause.predicate.clone().unwrap_or_else(|| lit(true));
        Ok(match clause.kind {
            MergeIntoClauseKind::NotMatchedByTarget => {
                let predicate = without_target(predicate, self.schema)?;
                of_target(ROW).is_null().and(predicate)
            }
            _ => of_target(ROW).is_not_null().and(predicate),
        })
    }

    fn images(&self, numbered: &LogicalPlanBuilder) -> Result<Vec<Expr>> {
        let mut columns = vec![
            of_target(FILE).alias(FILE),
            of_target(ROW).alias(ROW),
            col(CLAUSE),
        ];
        for key in self.keys {
            columns.push(of_target(key).alias(format!("{KEY}{key}")));
        }
        for field in self.schema.fields() {
            let choices = self.choices(field.name(), numbered)?;
            columns.push(choices.value(field.data_type())?.alias(field.name()));
        }
        if self.images_before {
            for field in self.schema.fields() {
                columns.push(of_target(field.name()).alias(format!("{BEFORE}{}", field.name())));
            }
        }
        Ok(columns)
    }

    fn choices<'a>(&self, column: &str, numbered: &'a LogicalPlanBuilder) -> Result<Choices<'a>> {
        let mut values = Vec::new();
        let mut makers = 0;
        for (number, clause) in (0..).zip(self.clauses) {
            let given = |values: &[(String, Expr)]| {
                let mut values = values.iter();
                values.find_map(|(name, value)| (name == column).then(|| value.clone()))
            };
            let value = match &clause.action {
                Action::Delete => continue,
                Action::Update(values) => Some(given(values).unwrap_or_else(|| of_target(column))),
                Action::Insert(values) => given(values)
                    .map(|value| without_target(value, self.schema))
                    .transpose()?,
            };
            makers += 1;
            values.extend(value.map(|value| (number, value)));
        }
        Ok(Choices {
            values,
            makers,
            others: makers < self.clauses.len(),
            schema: numbered.schema(),
        })
    }
}

/// The live rows of `files`.
pub(super) fn live_rows(
    files: Arc<dyn TableProvider>,
    deleted: Arc<HashMap<i32, RoaringTreemap>>,
) -> Result<LogicalPlanBuilder> {
    let rows = LogicalPlanBuilder::scan(TARGET, provider_as_source(files), None)?;
    if deleted.is_empty() {
        return Ok(rows);
    }
    let place = vec![of_target(FILE), of_target(ROW)];
    rows.filter(IsLive::function(deleted).call(place))
}

/// A column of the target.
pub(super) fn of_target(column: &str) -> Expr {
    Expr::Column(Column::new(Some(TableReference::bare(TARGET)), column))
}

/// The part of the memory pool that a sort may hold back for the merging of what it spilled: each partition of each side
/// has one.
const SORT_SHARE: usize = 64;

/// A batch has at most one row for so many bytes of the memory pool: a sort that spilled holds several batches of each
/// file that it merges.
const BYTES_PER_BATCH_ROW: usize = 64 << 10;
/// The fewest rows of a batch, however small the pool is.
const FEWEST_ROWS: usize = 256;

/// `state`, so that what it joins need not fit in memory.
pub(crate) fn joined_within_memory(state: &SessionState) -> SessionState {
    Join::SortMerge.session(state)
}

/// `state`, so that it joins by a hash table of the left side, by whose keys the files of the right one are filtered.
/// `keys` are the types of what is compared.
pub(crate) fn joined_by_hash(state: &SessionState, keys: &[DataType]) -> SessionState {
    let state = Join::Hash.session(state);
    match keys.iter().any(DataType::is_floating) {
        true => without_bounds(&state),
        false => without_lists(&state),
    }
}

/// Joins on dictionary-encoded partition columns panic when keys are pushed down as a list.
fn without_lists(state: &SessionState) -> SessionState {
    let mut config = state.config().clone();
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.hash_join_inlist_pushdown_max_size = 0;
    optimizer.hash_join_inlist_pushdown_max_distinct_values = 0;
    SessionStateBuilder::new_from_existing(state.clone())
        .with_config(config)
        .build()
}

/// How the source and the target are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    /// The source in a hash table, by which the target's files are filtered as they are read.
    Hash,
    /// Both sorted by the keys; what does not fit in memory is spilled.
    SortMerge,
}

impl Join {
    /// `state`, so that it plans this join.
    pub(super) fn session(self, state: &SessionState) -> SessionState {
        let mut config = state.config().clone();
        let options = config.options_mut();
        options.optimizer.prefer_hash_join = self == Self::Hash;
        // A hash join of parts would need the target's rows distributed by their keys.
        options.optimizer.repartition_joins = self == Self::SortMerge;
        if self == Self::SortMerge {
            let partitions = &mut options.execution.target_partitions;
            *partitions = (*partitions).max(2);
            let limit = state.runtime_env().memory_pool.memory_limit();
            if let MemoryLimit::Finite(limit) = limit {
                let reserved = &mut options.execution.sort_spill_reservation_bytes;
                *reserved = (*reserved).min(limit / SORT_SHARE);
                let rows = (limit / BYTES_PER_BATCH_ROW).max(FEWEST_ROWS);
                let rows = config.batch_size().min(rows);
                config = config.with_batch_size(rows);
            }
        }
        SessionStateBuilder::new_from_existing(state.clone())
            .with_config(config)
            .build()
    }
}

/// `state`, so that no part of a file is ruled out by its smallest and largest values, nor by those of the source or by a
/// list of them.
///
/// Parquet's bounds leave out what is no number, which is greater than any number; a list is compared bit by bit, for
/// which a zero is not a negative zero.
pub(super) fn without_bounds(state: &SessionState) -> SessionState {
    let mut config = state.config().clone();
    let options = config.options_mut();
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.execution.parquet.pruning = false;
    options.execution.parquet.enable_page_index = false;
    options.execution.parquet.bloom_filter_on_read = false;
    SessionStateBuilder::new_from_existing(state.clone())
        .with_config(config)
        .build()
}
