//! Statements to flows: names, schemas and types are checked here, and nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use datafusion::common::ResolvedTableReference;

use super::check::open;
use super::columns::{check_keys, check_names, lost_columns, settle_schema, with_history};
use super::flow::{Flow, Start};
use super::former_key::FormerKey;
use super::history::{HistoryColumns, Shape};
use super::named::{
    check_name, copies_unasked, second_flow, source_name, start_of, stream_of, target_of,
};
use super::order::{Lookups, in_order, lookups as lookups_by_plan, lookups_of};
use super::part::Part;
use super::rehearse::rehearse;
use crate::change::{FlowKey, Lsn, LsnRange};
use crate::engine::{Engine, Overlay, TableDeclaration, log_retry, retried};
use crate::error::{Error, Faults};
use crate::sink::delta::{DeltaTableProvider, DeltaTarget, SinkError};
use crate::source::sqlserver::{CapturedTable, Database, LargeValues, SourceError};
use crate::sql::{MergeStatement, Statement, StatementKind, StreamRef, table_references};

/// The flows of a file, bound to their sources and targets.
#[derive(Debug)]
pub struct Pipeline {
    engine: Engine,
    flows: Vec<Arc<Flow>>,
    /// Which of them look up the targets of which.
    lookups: Lookups,
    /// The place of each in an order in which those come first that others look up.
    ranks: Vec<usize>,
    /// The part of its one flow's table that is copied again.
    part: Option<Arc<Part>>,
}

impl Pipeline {
    /// Makes the definitions of `statements` real in `engine` and binds every flow.
    ///
    /// `file` is the file they stand in; relative paths start from its folder. Every flow is planned once
    /// over an empty window, so that errors of names and types come before anything is read or written;
    /// those of all flows are reported together.
    pub async fn bind(
        engine: Engine,
        statements: Vec<Statement>,
        file: Option<&Path>,
    ) -> Result<Self, Error> {
        Self::bind_chosen(engine, statements, file, &[]).await
    }

    /// As [`Pipeline::bind`], but of the flows only those named in `chosen`, unless that is empty.
    ///
    /// # Errors
    /// `UnknownFlow` if the file has no flow of such a name.
    pub async fn bind_chosen(
        engine: Engine,
        statements: Vec<Statement>,
        file: Option<&Path>,
        chosen: &[String],
    ) -> Result<Self, Error> {
        let opened = Box::pin(open(&engine, statements, file, chosen)).await?;
        let statements = opened.flows;
        let lookups = lookups_of(&engine, &statements);
        let order = in_order(&lookups, &statements.iter().collect::<Vec<_>>())?;
        let mut flows: BTreeMap<usize, Arc<Flow>> = BTreeMap::new();
        let mut faults = Faults::default();
        for place in order {
            // What is wrong with one that it looks up is wrong with this one too.
            if lookups[place]
                .iter()
                .any(|other| !flows.contains_key(other))
            {
                continue;
            }
            let earlier: Vec<_> = flows.values().map(Arc::clone).collect();
            let bound = retried(engine.retry_time(), log_retry, async || {
                Box::pin(bind_flow(&engine, &statements[place], &earlier)).await
            });
            if let Some(flow) = faults.kept(bound.await)? {
                flows.insert(place, Arc::new(flow));
            }
        }
        faults.into_result()?;
        let flows: Vec<_> = flows.into_values().collect();
        let lookups = lookups_by_plan(&flows);
        let order = in_order(&lookups, &statements.iter().collect::<Vec<_>>())?;
        let mut ranks = vec![0; flows.len()];
        for (rank, place) in order.into_iter().enumerate() {
            ranks[place] = rank;
        }
        Ok(Self {
            engine,
            flows,
            lookups,
            ranks,
            part: None,
        })
    }

    /// The same, where a copy over what the target has is one of the rows for which `condition` holds: SQL over the source's
    /// columns.
    ///
    /// # Errors
    /// `Invalid` for a condition that the rows of the source and of the target cannot both be asked; `Internal` for more than
    /// one flow.
    pub async fn only(mut self, condition: &str) -> Result<Self, Error> {
        let [flow] = self.flows.as_slice() else {
            return Err(Error::Internal("a part of the tables of several flows"));
        };
        let part = retried(self.engine.retry_time(), log_retry, async || {
            Box::pin(Part::parse(&self.engine, flow, condition)).await
        });
        self.part = Some(Arc::new(part.await?));
        Ok(self)
    }

    /// The part that is copied again, if it is not the whole table.
    pub(super) fn copied_part(&self) -> Option<&Arc<Part>> {
        self.part.as_ref()
    }

    /// The rank of a flow in an order in which each comes after those whose targets it looks up.
    pub(super) fn rank(&self, place: usize) -> usize {
        self.ranks.get(place).copied().unwrap_or_default()
    }

    /// For each flow, the places of those whose targets it looks up; no two look up each other's.
    pub(super) fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// The flows, in the order of the file.
    pub fn flows(&self) -> &[Arc<Flow>] {
        &self.flows
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The flow again, as its source and its target are now.
    pub(super) async fn bind_again(&self, flow: &Flow) -> Result<Flow, Error> {
        let others = self
            .flows
            .iter()
            .filter(|other| other.target != flow.target);
        let others: Vec<_> = others.map(Arc::clone).collect();
        Box::pin(bind_flow(&self.engine, &flow.statement, &others)).await
    }
}

/// The flow that a MERGE is; `earlier` are those bound before it.
pub(super) async fn bind_flow(
    engine: &Engine,
    statement: &Statement,
    earlier: &[Arc<Flow>],
) -> Result<Flow, Error> {
    let sides = Box::pin(Sides::of(engine, statement, earlier)).await?;
    Box::pin(sides.bind(engine, earlier)).await
}

/// The two sides of a flow as they are, before its statement is planned over them.
#[derive(Clone)]
pub(super) struct Sides {
    pub(super) statement: Statement,
    pub(super) merge: MergeStatement,
    pub(super) stream: StreamRef,
    pub(super) target: ResolvedTableReference,
    pub(super) declaration: TableDeclaration,
    pub(super) connection: String,
    pub(super) database: Database,
    pub(super) opened: DeltaTarget,
    pub(super) table: CapturedTable,
    newest_instance: i32,
    newest_after: Lsn,
    /// The name and the key of the table's newest capture instance.
    pub(super) newest: (String, Vec<String>),
    /// The key that the target was written by.
    pub(super) former_key: Option<FormerKey>,
    pub(super) start: Start,
    pub(super) key: FlowKey,
    /// The columns in which the target keeps its history, if it does.
    pub(super) history: Option<HistoryColumns>,
}

impl Sides {
    /// Looks both sides of a MERGE up.
    pub(super) async fn of(
        engine: &Engine,
        statement: &Statement,
        earlier: &[Arc<Flow>],
    ) -> Result<Self, Error> {
        let merge = match &statement.kind {
            StatementKind::Merge(merge) => (**merge).clone(),
            _ => return Err(Error::Internal("a flow is no MERGE")),
        };
        let stream = stream_of(statement, &merge)?;
        let (target, declaration) = target_of(engine, statement, &merge)?;
        if earlier.iter().any(|flow| flow.target == target) {
            return Err(second_flow(statement, &merge, &declaration));
        }
        let name = merge.flow_name(&declaration.name);
        check_name(
            statement,
            &merge,
            name,
            earlier.iter().map(|flow| flow.name.as_str()),
        )?;
        let [connection, schema, table] = source_name(statement, &stream)?;
        let database = engine
            .database(&connection)
            .map_err(|error| error.at(statement, stream.span))?;
        let opened = declaration
            .open()
            .await
            .map_err(|error| error.at(statement, merge.target_span))?;
        let newest = database
            .captured_table(&schema, &table)
            .await
            .map_err(|error| Error::from(error).at(statement, stream.span))?;
        let key = FlowKey {
            flow: merge.flow_name(&declaration.name).to_string(),
            database: database.name().to_string(),
            schema: newest.schema_name().to_string(),
            table: newest.table_name().to_string(),
        };
        let history = HistoryColumns::of(statement, &merge, &declaration)?;
        let start = start_of(statement, &stream)?;
        if start != Start::Copy && declaration.on_schema_change.adds() {
            return Err(copies_unasked(statement, &stream));
        }
        let (newest_instance, newest_after) = (newest.instance_id(), newest.earliest_after());
        let newest_key = newest.key_names().into_iter().map(str::to_string);
        let newest_named = (newest.capture_instance().to_string(), newest_key.collect());
        let table = instance_for(&database, newest, &opened, &key)
            .await
            .map_err(|error| error.at(statement, stream.span))?;
        let merge = merge.keyed(&table.key_names()).map_err(Error::invalid)?;
        let former_key = FormerKey::of(&database, &table, &opened, &key)
            .await
            .map_err(|error| error.at(statement, stream.span))?;
        Ok(Self {
            statement: statement.clone(),
            merge,
            stream,
            target,
            declaration,
            connection: connection.to_lowercase(),
            database,
            opened,
            table,
            newest_instance,
            newest_after,
            newest: newest_named,
            former_key,
            start,
            key,
            history,
        })
    }

    /// True where the flow reads an older capture instance than its table has.
    pub(super) fn reads_older_instance(&self) -> bool {
        self.table.instance_id() != self.newest_instance
    }

    /// The names under which the statement is planned that are not the session's own: the stream, which has no rows, and
    /// the targets of `earlier` flows which it looks up and that are not there yet.
    pub(super) async fn overlay(
        &self,
        engine: &Engine,
        earlier: &[Arc<Flow>],
    ) -> Result<Overlay, Error> {
        let feed = self
            .database
            .net_changes(&self.table, LsnRange::default(), LargeValues::ReadBack)
            .await
            .map_err(|error| self.at_stream(error))?;
        let overlay = Overlay::default().with(&engine.resolve(&self.stream.marker), feed);
        with_targets_to_be(engine, &self.statement, earlier, overlay).await
    }

    fn at_stream(&self, error: SourceError) -> Error {
        Error::from(error).at(&self.statement, self.stream.span)
    }

    /// Checks the statement against both sides.
    pub(super) async fn bind(self, engine: &Engine, earlier: &[Arc<Flow>]) -> Result<Flow, Error> {
        self.check_key()?;
        let overlay = self.overlay(engine, earlier).await?;
        let mut merge = self.merge;
        let lost = lost_columns(&self.table);
        let settled = Box::pin(settle_schema(
            engine,
            &self.statement,
            &mut merge,
            (&self.declaration, &self.opened, self.history.as_ref()),
            (&overlay, &lost),
        ))
        .await;
        let settled = match settled {
            Ok(settled) => settled,
            Err(error) if self.opened.exists() => {
                return Err(with_history(&self.database, &self.table, error).await);
            }
            Err(error) => return Err(error),
        };
        if !self.declaration.expectations.is_empty() {
            let keys = merge.key_pairs().unwrap_or_default();
            let keys: Vec<_> = keys.into_iter().map(|(_, source)| source).collect();
            let expecting = merge.expecting(&self.declaration.expectations, &keys);
            merge = expecting.map_err(Error::invalid)?;
        }
        let shape = match &self.history {
            Some(columns) => {
                let target = settled.schema.as_ref();
                let shape = Shape::of(&self.statement, &merge, columns, target, &settled.absents);
                Some(Arc::new(shape?))
            }
            None => None,
        };
        check_keys(&self.statement, &merge, &settled.schema)?;
        let source = (&self.database, &self.table);
        check_names(&self.statement, &merge, source, &settled.absents).await?;
        let mut flow = Flow {
            start: self.start,
            name: self.key.flow.clone(),
            key: self.key,
            statement: self.statement,
            merge,
            connection: self.connection,
            database: self.database,
            table: self.table,
            newest_instance: self.newest_instance,
            newest_after: self.newest_after,
            stream: engine.resolve(&self.stream.marker),
            target: self.target,
            declaration: self.declaration,
            target_schema: settled.schema,
            growth: settled.growth,
            absents: settled.absents,
            reads: Vec::new(),
            columns: BTreeSet::new(),
            history: shape,
            merge_path: None,
        };
        let rehearsed = Box::pin(rehearse(engine, &flow, self.opened, overlay)).await;
        let rehearsed = rehearsed.map_err(|error| match error {
            Error::Source(error) => Error::from(error).at(&flow.statement, self.stream.span),
            other => other.at(&flow.statement, flow.statement.span),
        })?;
        flow.reads = rehearsed.reads;
        flow.columns = rehearsed.columns;
        flow.merge_path = rehearsed.merge_path;
        Ok(flow)
    }
}

/// `overlay`, with the targets of `earlier` flows that the statement names and that do not exist yet, as they will be.
async fn with_targets_to_be(
    engine: &Engine,
    statement: &Statement,
    earlier: &[Arc<Flow>],
    mut overlay: Overlay,
) -> Result<Overlay, Error> {
    let tables = table_references(statement).into_iter();
    let tables: Vec<_> = tables.map(|table| engine.resolve(&table.table)).collect();
    for flow in earlier.iter().filter(|flow| tables.contains(&flow.target)) {
        let target = flow.declaration.open().await?;
        if !target.exists() {
            let schema = Some(Arc::clone(&flow.target_schema));
            let provider = DeltaTableProvider::try_new(target, schema).await?;
            overlay = overlay.with(&flow.target, Arc::new(provider));
        }
    }
    Ok(overlay)
}

/// The capture instance that the flow reads: the newest, unless the flow's checkpoint lies before its start
/// and an older one still reaches back to it.
///
/// # Errors
/// Whatever reading the checkpoint gives, but for one that is damaged or whose rows were replaced: that ends this flow when
/// it runs, and holds no other.
async fn instance_for(
    database: &Database,
    newest: CapturedTable,
    target: &DeltaTarget,
    key: &FlowKey,
) -> Result<CapturedTable, Error> {
    match target.checkpoint(key).await {
        Ok(Some(checkpoint)) if newest.earliest_after() > checkpoint.lsn => {
            let (schema, table) = (newest.schema_name(), newest.table_name());
            Ok(database
                .captured_table_after(schema, table, checkpoint.lsn)
                .await?)
        }
        Ok(_) | Err(SinkError::DamagedCheckpoint { .. } | SinkError::TargetReplaced { .. }) => {
            Ok(newest)
        }
        Err(error) => Err(error.into()),
    }
}
