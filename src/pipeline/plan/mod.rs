//! What a run would do, told before it does anything.
//!
//! A flow is bound and looked for as by a run. Where that fails, what is known of it by then is told beside the error: so a
//! source whose columns have changed is seen together with what changed.

mod differences;
mod settings;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use differences::{ColumnDifference, ColumnEffect};
pub use settings::Setting;
pub use work::PlannedWork;

use datafusion::arrow::datatypes::Schema;

use super::bind::Sides;
use super::check::{Opened, open};
use super::doctor::text_of;
use super::flow::Flow;
use super::former_key::{compares, same_columns};
use super::named::target_of;
use super::order::{in_order, lookups_of};
use super::schema::type_name;
use super::status::{Moment, moment};
use crate::engine::{Engine, TableDeclaration, log_retry, retried};
use crate::error::{Error, Faults};
use crate::source::sqlserver::{DefinitionChange, KeyIndex};
use crate::sql::{MergeStatement, Statement, StatementKind};
use differences::differences;
use settings::settings;
use work::planned_work;

/// What a run would do for a flow.
#[derive(Debug)]
pub struct FlowPlan {
    /// The flow.
    pub flow: String,
    /// Where its target lies.
    pub location: String,
    /// The target's version; `None` if there is no table yet, or it was not opened.
    pub version: Option<u64>,
    /// Whether the target was opened.
    pub is_opened: bool,
    /// What steers it, given or not.
    pub settings: Vec<Setting>,
    /// What it reads; `None` if that could not be found.
    pub source: Option<PlannedSource>,
    /// The last commit that its target holds.
    pub checkpoint: Option<Moment>,
    /// The newest commit that the source's capture has reached.
    pub newest: Option<Moment>,
    /// What a run would begin with.
    pub work: Option<PlannedWork>,
    /// The columns in which source and target differ.
    pub differences: Vec<ColumnDifference>,
    /// The columns that a target gets which is still to be made, with their types.
    pub new_columns: Vec<(String, String)>,
    /// The flows whose targets it looks up: it goes after them.
    pub goes_after: Vec<String>,
    /// How its MERGE writes.
    pub merge_path: Option<String>,
    /// Its MERGE with all stars expanded.
    pub merge: Option<String>,
    /// What keeps a run from it, in one line.
    pub problem: Option<String>,
    /// What a run would end with; what is wrong with a flow that does not fit its source or target is in [`Plans::invalid`].
    pub result: Result<(), Error>,
}

impl FlowPlan {
    fn new(merge: &MergeStatement, declaration: &TableDeclaration) -> Self {
        Self {
            flow: merge.flow_name(&declaration.name).to_string(),
            location: declaration.location.clone(),
            version: None,
            is_opened: false,
            settings: Vec::new(),
            source: None,
            checkpoint: None,
            newest: None,
            work: None,
            differences: Vec::new(),
            new_columns: Vec::new(),
            goes_after: Vec::new(),
            merge_path: None,
            merge: None,
            problem: None,
            result: Ok(()),
        }
    }
}

/// A capture instance with another key than the one that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerKey {
    /// The capture instance.
    pub capture_instance: String,
    /// Its key.
    pub key: Vec<String>,
    /// Whether the flow stops when it comes to it: its ON does not compare that key.
    pub stops: bool,
}

/// The table that a flow reads.
#[derive(Debug, Clone)]
pub struct PlannedSource {
    /// The connection.
    pub connection: String,
    /// The database for people, in quotes.
    pub database: String,
    /// The table's schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The capture instance that is read.
    pub capture_instance: String,
    /// Whether the table has a newer one, which the flow has not come to.
    pub has_newer_instance: bool,
    /// The columns of the key by which changes are netted.
    pub key: Vec<String>,
    /// The unique index that the key is of.
    pub key_index: Option<KeyIndex>,
    /// A newer capture instance with another key, which the flow has not come to.
    pub newer_key: Option<NewerKey>,
    /// What ON compares, the target's column first, if it is nothing but equalities.
    pub on: Vec<(String, String)>,
    /// What was done to the table while it was captured, oldest first; `None` if the login may not know.
    pub ddl_history: Option<Vec<DefinitionChange>>,
}

/// What a run would do for each flow, and whether it would begin at all.
#[derive(Debug)]
pub struct Plans {
    /// The flows, in the order of the file.
    pub flows: Vec<FlowPlan>,
    /// What is wrong with flows that do not fit their sources or targets: a run would end with it before it did anything.
    pub invalid: Result<(), Error>,
}

/// What a run would do for the flows of `statements`, which stand in `file`; for those named in `chosen` alone, unless
/// that is empty. Nothing is written, neither at the sources nor at the targets.
///
/// # Errors
/// As binding a pipeline, but for what concerns one flow.
pub async fn plan(
    engine: &Engine,
    statements: Vec<Statement>,
    file: Option<&Path>,
    chosen: &[String],
) -> Result<Plans, Error> {
    let Opened { statements, flows } = Box::pin(open(engine, statements, file, chosen)).await?;
    let lookups = lookups_of(engine, &flows);
    let order = in_order(&lookups, &flows.iter().collect::<Vec<_>>())?;
    let mut planner = Planner {
        engine,
        statements: &statements,
        bound: BTreeMap::new(),
        faults: Faults::default(),
        ended: None,
    };
    let mut plans = BTreeMap::new();
    for place in order {
        let others = &lookups[place];
        plans.insert(place, planner.flow(&flows, place, others).await?);
    }
    let invalid = match planner.ended {
        Some(error) => Err(error),
        None => planner.faults.into_result(),
    };
    Ok(Plans {
        flows: plans.into_values().collect(),
        invalid,
    })
}

struct Planner<'a> {
    engine: &'a Engine,
    statements: &'a [Statement],
    bound: BTreeMap<usize, Arc<Flow>>,
    faults: Faults,
    /// What a run would have ended with at once.
    ended: Option<Error>,
}

impl Planner<'_> {
    /// The plan of the flow at `place`, which looks up the targets of `others`.
    async fn flow(
        &mut self,
        flows: &[Statement],
        place: usize,
        others: &[usize],
    ) -> Result<FlowPlan, Error> {
        let statement = &flows[place];
        let StatementKind::Merge(merge) = &statement.kind else {
            return Err(Error::Internal("a flow is no MERGE"));
        };
        let (target, declaration) = target_of(self.engine, statement, merge)?;
        let mut plan = FlowPlan::new(merge, &declaration);
        plan.settings = settings(self.engine, self.statements, &target, &declaration, merge);
        for other in others {
            let StatementKind::Merge(other) = &flows[*other].kind else {
                continue;
            };
            let (_, declaration) = target_of(self.engine, statement, other)?;
            let flow = other.flow_name(&declaration.name).to_string();
            plan.goes_after.push(flow);
        }
        let missing = others
            .iter()
            .position(|other| !self.bound.contains_key(other));
        if let Some(missing) = missing {
            // What is wrong with that one is told there.
            let error = Error::LookupFailed {
                flow: plan.flow.clone(),
                other: plan.goes_after.get(missing).cloned().unwrap_or_default(),
            };
            plan.problem = Some(text_of(&error));
            plan.result = Err(error.at(statement, merge.target_span));
            return Ok(plan);
        }
        let earlier: Vec<_> = self.bound.values().map(Arc::clone).collect();
        match Box::pin(self.bind(&mut plan, statement, &earlier)).await {
            Ok(flow) => {
                let flow = Arc::new(flow);
                let done = self.look(&mut plan, &flow).await;
                plan.problem = done.as_ref().err().map(text_of);
                plan.result = done.map_err(|error| error.at(statement, merge.target_span));
                self.bound.insert(place, flow);
            }
            Err(error) => {
                plan.problem = Some(text_of(&error));
                if self.ended.is_none() {
                    self.ended = self.faults.keep(error).err();
                }
            }
        }
        Ok(plan)
    }

    /// Binds a flow, and tells of it what is known by then.
    async fn bind(
        &self,
        plan: &mut FlowPlan,
        statement: &Statement,
        earlier: &[Arc<Flow>],
    ) -> Result<Flow, Error> {
        let (engine, time) = (self.engine, self.engine.retry_time());
        let sides = retried(time, log_retry, async || {
            Box::pin(Sides::of(engine, statement, earlier)).await
        });
        let sides = sides.await?;
        (plan.version, plan.is_opened) = (sides.opened.version(), true);
        let found = retried(time, log_retry, async || source_of(&sides).await).await;
        let (source, uncaptured) = found.map_err(|error| error.at(statement, sides.stream.span))?;
        plan.source = Some(source);
        plan.differences = uncaptured;
        let overlay = sides.overlay(engine, earlier).await?;
        let differences = Box::pin(differences(engine, &sides, overlay)).await?;
        plan.differences.splice(0..0, differences);
        let flow = retried(time, log_retry, async || {
            Box::pin(sides.clone().bind(engine, earlier)).await
        });
        let flow = flow.await?;
        plan.merge_path = flow.merge_path.clone();
        plan.merge = Some(flow.written().to_sql());
        if plan.version.is_none() {
            plan.new_columns = columns_of(&flow.target_schema);
        }
        Ok(flow)
    }

    /// Looks where a bound flow stands, and what a run would begin with.
    async fn look(&self, plan: &mut FlowPlan, flow: &Arc<Flow>) -> Result<(), Error> {
        retried(flow.database.retry_time(), log_retry, async || {
            let target = flow.declaration.open().await?;
            let health = flow.database.health().await?;
            let newest = health.head.as_ref().map(|head| &head.newest);
            let newest = match newest {
                Some(newest) => Some(moment(newest.lsn, newest.end_time_ms, &health).await?),
                None => None,
            };
            // What cannot be read of it ends the look for work.
            let position = target.position(&flow.key).await.unwrap_or_default();
            let checkpoint = match position {
                Some(at) => Some(moment(at.lsn, at.end_time_ms, &health).await?),
                None => None,
            };
            Ok((newest, checkpoint))
        })
        .await
        .map(|(newest, checkpoint)| (plan.newest, plan.checkpoint) = (newest, checkpoint))?;
        let work = retried(flow.database.retry_time(), log_retry, async || {
            Box::pin(planned_work(flow)).await
        });
        plan.work = Some(work.await?);
        Ok(())
    }
}

/// What a flow reads, and the columns of its table that no change tells of.
async fn source_of(sides: &Sides) -> Result<(PlannedSource, Vec<ColumnDifference>), Error> {
    let (database, table) = (&sides.database, &sides.table);
    let definition = database.definition(table).await?;
    let uncaptured = definition.uncaptured.into_iter();
    let uncaptured = uncaptured.map(|(column, type_name)| ColumnDifference {
        column,
        source_type: Some(type_name),
        target_type: None,
        effect: ColumnEffect::NotCaptured,
    });
    let source = PlannedSource {
        connection: sides.connection.clone(),
        database: database.shown_name(),
        schema: table.schema_name().to_string(),
        table: table.table_name().to_string(),
        capture_instance: table.capture_instance().to_string(),
        has_newer_instance: sides.reads_older_instance(),
        key: table.key_names().into_iter().map(str::to_string).collect(),
        key_index: definition.key_index,
        newer_key: newer_key(sides),
        on: sides.merge.key_pairs().unwrap_or_default(),
        ddl_history: definition.history,
    };
    Ok((source, uncaptured.collect()))
}

fn newer_key(sides: &Sides) -> Option<NewerKey> {
    let (capture_instance, key) = &sides.newest;
    let columns: Vec<&str> = key.iter().map(String::as_str).collect();
    let is_other = !same_columns(&columns, &sides.table.key_names());
    (sides.reads_older_instance() && is_other).then(|| NewerKey {
        capture_instance: capture_instance.clone(),
        key: key.clone(),
        stops: !compares(&sides.merge, &columns),
    })
}

fn columns_of(schema: &Schema) -> Vec<(String, String)> {
    let fields = schema.fields().iter();
    let columns = fields.map(|field| (field.name().clone(), type_name(field.data_type())));
    columns.collect()
}
