//! Whether a file's flows would run, and what mends it where they would not.

mod examination;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use examination::check_of;
pub(super) use examination::text_of;
pub use examination::{Examination, Examined};

use super::bind::bind_flow;
use super::check::{lay_out, lay_out_each};
use super::every_table::is_for_every_table;
use super::flow::Flow;
use super::gap::goes_over;
use super::look::{Job, Work, look_for};
use super::named::{parts_of, stream_of, target_of};
use super::order::{in_order, lookups_of};
use crate::change::{Check, CheckState, Finding};
use crate::engine::{Engine, TableDeclaration, log_retry, retried};
use crate::error::Error;
use crate::source::sqlserver::{Database, DatabaseChecks};
use crate::sql::{Statement, StatementKind};

/// Looks at everything that the flows of `statements`, which stand in `file`, need: connections, databases, tables and
/// targets. What fails is found, and the rest is looked at all the same; nothing is written.
///
/// # Errors
/// The file is invalid, before anything was looked at.
pub async fn examine(
    engine: &Engine,
    statements: Vec<Statement>,
    file: Option<&Path>,
) -> Result<Examination, Error> {
    lay_out(engine, &statements, file).await?;
    let mut doctor = Doctor {
        engine,
        found: Examination::default(),
        databases: BTreeMap::new(),
        unreachable: BTreeSet::new(),
        seen: BTreeSet::new(),
    };
    doctor.connect(&statements, file).await?;
    let statements = doctor.each_table(statements, file).await?;
    let views = engine.define_views(&statements, file).await;
    if doctor.unreachable.is_empty() {
        views?;
    }
    let is_flow = |statement: &Statement| matches!(statement.kind, StatementKind::Merge(_));
    let flows: Vec<_> = statements.into_iter().filter(is_flow).collect();
    let places = flows.iter().map(|flow| Place::of(engine, flow));
    let places = places.collect::<Result<Vec<_>, Error>>()?;
    for place in &places {
        doctor.look_at_source(place).await?;
        doctor.look_at_target(place).await;
    }
    doctor.bind(&flows, &places).await?;
    Ok(doctor.found)
}

/// A flow by what it says.
struct Place {
    connection: String,
    schema: String,
    table: String,
    declaration: TableDeclaration,
    /// The flow's name.
    flow: String,
}

impl Place {
    fn of(engine: &Engine, statement: &Statement) -> Result<Self, Error> {
        let StatementKind::Merge(merge) = &statement.kind else {
            return Err(Error::Internal("a flow is no MERGE"));
        };
        let stream = stream_of(statement, merge)?;
        let (_, declaration) = target_of(engine, statement, merge)?;
        // A name of other parts is refused when the flow is bound.
        let mut parts = parts_of(&stream.name).into_iter();
        let mut part = || parts.next().unwrap_or_default();
        Ok(Self {
            connection: part().to_lowercase(),
            schema: part(),
            table: part(),
            flow: merge.flow_name(&declaration.name).to_string(),
            declaration,
        })
    }

    fn table(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }
}

struct Doctor<'a> {
    engine: &'a Engine,
    found: Examination,
    /// The databases that answer, by their connections.
    databases: BTreeMap<String, (Database, DatabaseChecks)>,
    unreachable: BTreeSet<String>,
    /// The tables that were looked at already.
    seen: BTreeSet<(String, String)>,
}

impl Doctor<'_> {
    /// Opens the connections, and looks at their databases.
    async fn connect(
        &mut self,
        statements: &[Statement],
        file: Option<&Path>,
    ) -> Result<(), Error> {
        for statement in statements {
            let StatementKind::CreateConnection(definition) = &statement.kind else {
                continue;
            };
            let name = definition.name.value.to_lowercase();
            let opened = match self.engine.define(statement, file).await {
                Ok(_) => self.database(&name).await,
                Err(error) if error.exit_code() == 3 => return Err(error),
                Err(error) => Err(error),
            };
            match opened {
                Ok((database, checks)) => {
                    self.found.add_all(&name, checks.findings.clone());
                    self.databases.insert(name, (database, checks));
                }
                Err(error) => {
                    self.found.fail(&name, None, Check::Connection, &error);
                    self.unreachable.insert(name);
                }
            }
        }
        Ok(())
    }

    /// The statements with one for each table in the place of those for every table whose connections are open.
    async fn each_table(
        &mut self,
        mut statements: Vec<Statement>,
        file: Option<&Path>,
    ) -> Result<Vec<Statement>, Error> {
        statements.retain(|statement| match &statement.kind {
            StatementKind::EveryTable(every) => {
                let connection = parts_of(&every.source).swap_remove(0).to_lowercase();
                !self.unreachable.contains(&connection)
            }
            _ => true,
        });
        if !statements.iter().any(is_for_every_table) {
            return Ok(statements);
        }
        let plain = statements
            .iter()
            .filter(|statement| !is_for_every_table(statement));
        let plain: Vec<_> = plain.cloned().collect();
        let mut stars = statements
            .iter()
            .filter_map(|statement| match &statement.kind {
                StatementKind::EveryTable(every) => Some(parts_of(&every.source).swap_remove(0)),
                _ => None,
            });
        let connection = stars.next().unwrap_or_default().to_lowercase();
        match lay_out_each(self.engine, statements, file, &[]).await {
            Ok(opened) => Ok(opened.statements),
            Err(error) => {
                self.found.fail(&connection, None, Check::Table, &error);
                Ok(plain)
            }
        }
    }

    async fn database(&self, name: &str) -> Result<(Database, DatabaseChecks), Error> {
        let database = self.engine.database(name)?;
        let checks = database.check().await?;
        Ok((database, checks))
    }

    /// Looks at a flow's source table, once for all flows that read it.
    async fn look_at_source(&mut self, place: &Place) -> Result<(), Error> {
        let name = &place.connection;
        let Some((database, checks)) = self.databases.get(name) else {
            return Ok(());
        };
        if !self
            .seen
            .insert((name.clone(), place.table().to_lowercase()))
        {
            return Ok(());
        }
        let found = database
            .check_table(checks, &place.schema, &place.table)
            .await;
        match found {
            Ok(findings) => self.found.add_all(name, findings),
            Err(error) => {
                let error = error.into();
                let table = Some(place.table());
                self.found.fail(name, table, Check::Table, &error);
            }
        }
        Ok(())
    }

    /// Looks at a flow's target: its place, and what lies there.
    async fn look_at_target(&mut self, place: &Place) {
        let location = &place.declaration.location;
        let (name, table) = (&place.connection, place.table());
        let checked = async {
            let target = place.declaration.open().await?;
            target.check_writable().await?;
            Ok::<_, Error>(target)
        };
        let target = match checked.await {
            Ok(target) => target,
            Err(error) => {
                self.found.fail(name, Some(table), Check::Location, &error);
                return;
            }
        };
        let seen = format!("{location} can be written");
        let found = Finding::new(Check::Location, CheckState::Ok, seen);
        self.found.add(name, found.of(&table));
        match target.check_features() {
            Ok(()) => {
                let seen = if target.exists() {
                    "known to cdcql"
                } else {
                    "the table is made by the first run"
                };
                let found = Finding::new(Check::Features, CheckState::Ok, seen);
                self.found.add(name, found.of(&table));
            }
            Err(error) => {
                let error = error.into();
                self.found.fail(name, Some(table), Check::Features, &error);
            }
        }
    }

    /// Binds the flows of the connections that are open as a run does, and looks where each of them stands.
    async fn bind(&mut self, flows: &[Statement], places: &[Place]) -> Result<(), Error> {
        let lookups = lookups_of(self.engine, flows);
        let order = in_order(&lookups, &flows.iter().collect::<Vec<_>>())?;
        let mut bound: BTreeMap<usize, Arc<Flow>> = BTreeMap::new();
        for at in order {
            let place = &places[at];
            if self.unreachable.contains(&place.connection) {
                continue;
            }
            if let Some(other) = lookups[at].iter().find(|other| !bound.contains_key(other)) {
                let other = &places[*other].flow;
                let seen = format!("looks up the target of {other}, which would not run");
                let found = Finding::new(Check::Flow, CheckState::Failing, seen);
                self.found.add(&place.connection, found.of(&place.table()));
                continue;
            }
            let earlier: Vec<_> = bound.values().map(Arc::clone).collect();
            let flow = retried(self.engine.retry_time(), log_retry, async || {
                Box::pin(bind_flow(self.engine, &flows[at], &earlier)).await
            });
            match flow.await {
                Ok(flow) => {
                    let flow = Arc::new(flow);
                    self.look_at_flow(place, &flow).await;
                    bound.insert(at, flow);
                }
                Err(error) => {
                    let check = check_of(&error);
                    let table = Some(place.table());
                    self.found.fail(&place.connection, table, check, &error);
                }
            }
        }
        Ok(())
    }

    async fn look_at_flow(&mut self, place: &Place, flow: &Arc<Flow>) {
        let (name, table) = (&place.connection, place.table());
        let seen = format!("{} fits its source and its target", flow.name());
        let fits = Finding::new(Check::Flow, CheckState::Ok, seen);
        self.found.add(name, fits.of(&table));
        match look_for(flow, None).await {
            Ok(work) => self.look_at_work(place, flow, &work),
            Err(error) if goes_over(flow.declaration.on_gap, &error) => {
                let policy = flow.declaration.on_gap;
                let seen = format!("{}; cdcql.onGap = {policy} goes over that", text_of(&error));
                let found = Finding::new(Check::History, CheckState::Warning, seen);
                self.found.add(name, found.of(&table));
            }
            Err(error) => {
                let check = check_of(&error);
                self.found.fail(name, Some(table), check, &error);
            }
        }
    }

    /// What a run would begin with.
    fn look_at_work(&mut self, place: &Place, flow: &Flow, work: &Work) {
        let (name, table) = (&place.connection, place.table());
        let ok = |seen: &str| Finding::new(Check::History, CheckState::Ok, seen).of(&table);
        match &work.job {
            Job::Copy { over: None, .. } | Job::Begin { .. } if !work.target.is_empty() => {
                let error = Error::TargetNotEmpty {
                    flow: flow.name().to_string(),
                    location: flow.declaration.location.clone(),
                };
                self.found.fail(name, Some(table), Check::History, &error);
            }
            Job::Copy { .. } | Job::Begin { .. } => {
                // The end of a copy is a commit that capture has to come to.
                self.found.needs_capture(name);
                self.found.add(name, ok("nothing was copied yet"));
            }
            Job::Window { checkpoint, .. }
            | Job::Move { checkpoint, .. }
            | Job::Nothing { checkpoint } => {
                let seen = format!("the source has all since {}", checkpoint.lsn);
                self.found.add(name, ok(&seen));
                if let Some(found) = self.retention(name, checkpoint.end_time_ms) {
                    self.found.add(name, found.of(&table));
                }
            }
        }
    }

    /// Whether a target that has come to a commit of `end_time_ms` is behind clean-up's back.
    fn retention(&self, connection: &str, end_time_ms: i64) -> Option<Finding> {
        let (_, checks) = self.databases.get(connection)?;
        let head = checks.head()?;
        Some(checks.retention_for(head.newest.end_time_ms - end_time_ms))
    }
}
