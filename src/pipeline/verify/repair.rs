//! Rows that differ, copied again.
//!
//! They are as of the commit that the target holds: none of their keys has changed since. So the flow's own statement over
//! them, an `insert` for each key that the source has and a `delete` for each that it does not, makes of the target
//! what it should have been, and its checkpoint stays.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::error::ArrowError;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};

use super::super::bind::Pipeline;
use super::super::look::look_for;
use super::compare::Unlikes;
use super::digest::{Chosen, converter};
use super::sides::{Sides, column};
use super::{Compared, Unlike, standing};
use crate::change::{CHANGE_TYPE, COMMIT_VERSION, ChangeType, Checkpoint, Lsn, LsnRange};
use crate::engine::Overlay;
use crate::error::Error;
use crate::sink::delta::{DeltaTarget, FlowCommit, Spool};
use crate::source::sqlserver::MissingValues;

/// How many keys are copied again at most; they are held in memory.
pub(super) const MOST_REPAIRED: usize = 100_000;
/// How many bytes these keys may have.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// The names of rows and of keys in a plan.
const ROWS: &str = "rows";
const KEYS: &str = "keys";

/// How often another commit of the flow may come first.
const MOST_TRIES: u32 = 30;

/// What is needed to copy keys again.
pub(super) struct Repair<'a> {
    pub(super) sides: &'a Sides,
    /// The source's rows of these keys, among others.
    pub(super) rows: &'a Spool,
    pub(super) unlikes: Unlikes,
    pub(super) target: DeltaTarget,
    /// The commit that the target holds.
    pub(super) checkpoint: Checkpoint,
    /// The keys have not changed up to here.
    pub(super) known: Lsn,
}

impl Pipeline {
    /// Copies what differs again into the target.
    ///
    /// A key that the target has more than once is deleted first, in a commit of its own: a MERGE makes of each row one.
    /// Where a run moves the checkpoint meanwhile, the keys that have changed up to there are its work, and the others
    /// are as they were.
    pub(super) async fn repair(
        &self,
        mut repair: Repair<'_>,
        compared: &mut Compared,
    ) -> Result<(), Error> {
        let flow = &repair.sides.flow;
        if repair.unlikes.overflows {
            return Err(Error::TooManyToRepair {
                flow: flow.name.clone(),
                keys: compared.unlike(),
                most: MOST_REPAIRED,
            });
        }
        let mut tries = 0;
        for step in [repeated, all] {
            loop {
                let (gone, there) = step(&repair.unlikes);
                if gone.is_empty() && there.is_empty() {
                    break;
                }
                let commit = FlowCommit {
                    key: flow.key.clone(),
                    expected: Some(repair.checkpoint.clone()),
                    upto: repair.checkpoint.clone(),
                    gap: None,
                    source_key: flow.source_key(),
                };
                let changes = repair.changes(&gone, there)?;
                let changes = Overlay::default().with(&flow.stream, changes);
                let changes = (flow.kind_over(), changes);
                let missing = MissingValues::default();
                let step = self.execute(
                    flow,
                    repair.target.clone(),
                    changes,
                    (commit, None),
                    &missing,
                );
                match Box::pin(step).await {
                    Ok(_) => {
                        repair.target.refresh().await?;
                        break;
                    }
                    Err(error) if error.is_conflict() && tries < MOST_TRIES => {
                        tries += 1;
                        repair.go_on_after(error, compared).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        compared.repaired = repair.unlikes.keys.len() as u64;
        Ok(())
    }
}

impl Repair<'_> {
    /// Goes on from where the target stands now, after `error` has said that it does not stand where it stood.
    async fn go_on_after(&mut self, error: Error, compared: &mut Compared) -> Result<(), Error> {
        let flow = &self.sides.flow;
        let (target, checkpoint) = standing(flow, look_for(flow, None).await?)?;
        if checkpoint.lsn < self.checkpoint.lsn {
            return Err(error);
        }
        if let Some(window) = LsnRange::new(self.known, checkpoint.lsn)
            && !window.is_empty()
        {
            for key in self.sides.changed_among(&self.unlikes, window).await? {
                if let Some(unlike) = self.unlikes.keys.remove(&key) {
                    *compared.count_mut(unlike) -= 1;
                    compared.left_out += 1;
                    compared.differences.retain(|listed| listed.bytes != key);
                }
            }
            self.known = checkpoint.lsn;
        }
        (self.target, self.checkpoint) = (target, checkpoint);
        Ok(())
    }

    /// A `delete` for each of the keys `gone`, and an `insert` of the source's row for each of those `there`.
    fn changes(&self, gone: &RowKeys, there: RowKeys) -> Result<Arc<dyn TableProvider>, Error> {
        changes(
            self.sides,
            (self.rows, self.unlikes.read_twice),
            gone,
            there,
        )
    }
}

/// Keys in the row format.
type RowKeys = HashSet<Vec<u8>>;

/// The keys to delete and those to insert, so that the target has none more than once.
fn repeated(unlikes: &Unlikes) -> (RowKeys, RowKeys) {
    (
        keys(unlikes, |unlike| unlike == Unlike::Repeated),
        RowKeys::new(),
    )
}

/// The keys to delete and those to insert.
fn all(unlikes: &Unlikes) -> (RowKeys, RowKeys) {
    let gone = keys(unlikes, |unlike| unlike == Unlike::OnlyInTarget);
    (gone, keys(unlikes, |unlike| unlike != Unlike::OnlyInTarget))
}

fn keys(unlikes: &Unlikes, wanted: fn(Unlike) -> bool) -> RowKeys {
    let keys = unlikes.keys.iter().filter(|(_, unlike)| wanted(**unlike));
    keys.map(|(key, _)| key.clone()).collect()
}

/// A `delete` for each of the keys `gone`, and an `insert` of what `spool` has for each of those `there`.
fn changes(
    sides: &Sides,
    (spool, read_twice): (&Spool, bool),
    gone: &RowKeys,
    there: RowKeys,
) -> Result<Arc<dyn TableProvider>, Error> {
    let flow = &sides.flow;
    let failed = |error| sides.failed(error);
    let rows = spool.table().map_err(failed)?;
    let chosen = Chosen::Keys(Arc::new(there));
    let rows = chosen_rows(sides, (rows, read_twice), &chosen).map_err(failed)?;
    let inserts =
        flow.database
            .inserts(&flow.table, Arc::new(ViewTable::new(rows, None)), sides.at)?;
    let keys = keys_of(sides, gone).map_err(|error| sides.failed(error))?;
    let plan = || {
        let deletes = deletes(sides, keys, inserts.as_ref())?;
        LogicalPlanBuilder::scan(ROWS, provider_as_source(inserts), None)?
            .union(deletes)?
            .build()
    };
    let plan = plan().map_err(failed)?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// Those `rows` whose keys are `chosen`, each once also where some were read twice.
fn chosen_rows(
    sides: &Sides,
    (rows, read_twice): (Arc<dyn TableProvider>, bool),
    chosen: &Chosen,
) -> DataFusionResult<LogicalPlan> {
    let keys = sides.keys.iter();
    let keys = keys.map(|(_, other)| Expr::Column(Column::new(Some(ROWS), other)));
    let rows = LogicalPlanBuilder::scan(ROWS, provider_as_source(rows), None)?
        .filter(chosen.condition(keys.collect()))?;
    match read_twice {
        true => rows.distinct()?.build(),
        false => rows.build(),
    }
}

/// Keys as rows, under the names of [`column`].
fn keys_of(sides: &Sides, keys: &RowKeys) -> Result<RecordBatch, ArrowError> {
    let types = sides.key_places.iter();
    let types = types.map(|place| sides.schema.field(*place).data_type());
    let format = converter(types)?;
    let parser = format.parser();
    let rows = keys.iter().map(|key| parser.parse(key));
    let columns = format.convert_rows(rows)?;
    let named = sides.key_places.iter().zip(columns);
    let named = named.map(|(place, values): (_, ArrayRef)| (column(*place), values, true));
    RecordBatch::try_from_iter_with_nullable(named)
}

/// A row of the feed for each of `keys` that has nothing but it.
fn deletes(
    sides: &Sides,
    keys: RecordBatch,
    feed: &dyn TableProvider,
) -> DataFusionResult<LogicalPlan> {
    let keys = MemTable::try_new(keys.schema(), vec![vec![keys]])?;
    let plan = LogicalPlanBuilder::scan(KEYS, provider_as_source(Arc::new(keys)), None)?;
    let schema = feed.schema();
    let row = schema.fields().iter().map(|field| {
        let name = field.name();
        let mut pairs = sides.keys.iter().zip(&sides.key_places);
        let key = pairs.find(|((_, other), _)| other == name);
        let value = match (name.as_str(), key) {
            (_, Some((_, place))) => Expr::Column(Column::new(Some(KEYS), column(*place))),
            (CHANGE_TYPE, _) => lit(ChangeType::Delete.as_str()),
            (COMMIT_VERSION, _) => lit(sides.at.to_hex()),
            _ => lit(ScalarValue::try_from(field.data_type())?),
        };
        Ok(value.alias(name))
    });
    plan.project(row.collect::<DataFusionResult<Vec<_>>>()?)?
        .build()
}
