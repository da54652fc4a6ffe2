//! The maintenance of a file's targets.

use std::path::Path;
use std::time::{Duration, Instant};

use datafusion::common::ResolvedTableReference;

use super::check::lay_out_each;
use super::every_table::is_for_every_table;
use super::named::{refuse_others, second_flow, stream_of, target_of};
use crate::engine::{Engine, TableDeclaration};
use crate::error::Error;
use crate::sink::delta::{Maintenance, MaintenanceEvent, MaintenanceReport};
use crate::sql::{Span, Statement, StatementKind};

/// The tables of a file that are maintained: those that its flows write, or all it declares if it has no flow.
#[derive(Debug)]
pub struct Upkeep {
    engine: Engine,
    tables: Vec<Table>,
}

/// One of them, and where the file names it.
#[derive(Debug)]
struct Table {
    reference: ResolvedTableReference,
    declaration: TableDeclaration,
    keys: Vec<String>,
    statement: Statement,
    span: Span,
}

/// How the maintenance of one table ended.
#[derive(Debug)]
pub struct UpkeepReport {
    /// The table, which is also the name of its flow.
    pub table: String,
    /// Where it lies.
    pub location: String,
    /// What was done; `None` for a table that does not exist yet.
    pub result: Result<Option<MaintenanceReport>, Error>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Upkeep {
    /// Finds the tables of `statements`, which stand in `file`; those of the flows named in `chosen` alone, unless
    /// that is empty.
    ///
    /// No connection is opened, unless a statement is for every table of a schema: a table is maintained whether its source
    /// answers or not.
    pub async fn bind(
        engine: Engine,
        statements: Vec<Statement>,
        file: Option<&Path>,
        chosen: &[String],
    ) -> Result<Self, Error> {
        refuse_others(&statements)?;
        engine.define_tables(&statements, file).await?;
        let statements = match statements.iter().any(is_for_every_table) {
            true => {
                engine.define_connections(&statements, file).await?;
                let opened = Box::pin(lay_out_each(&engine, statements, file, &[]));
                opened.await?.statements
            }
            false => statements,
        };
        let mut tables = flow_targets(&engine, &statements)?;
        let flows: Vec<String> = tables.iter().map(|t| t.declaration.name.clone()).collect();
        let named = |name: &String| {
            chosen
                .iter()
                .any(|chosen| chosen.eq_ignore_ascii_case(name))
        };
        let is_flow = |name: &String| flows.iter().any(|flow| flow.eq_ignore_ascii_case(name));
        if let Some(unknown) = chosen.iter().find(|name| !is_flow(name)) {
            return Err(Error::UnknownFlow {
                name: unknown.clone(),
                known: flows,
            });
        }
        if tables.is_empty() {
            tables = declared_tables(&engine, &statements);
        }
        tables.retain(|table| chosen.is_empty() || named(&table.declaration.name));
        Ok(Self { engine, tables })
    }

    /// True if the file has no table to maintain.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Maintains every table in the order of the file, and reports how each ended; the keys of `maintenance` are each
    /// flow's own.
    ///
    /// A table that fails does not hold the others.
    ///
    /// # Errors
    ///
    /// What is asked for is refused by one of the tables; none was changed then.
    pub async fn run(
        &self,
        maintenance: &Maintenance,
        tell: &(dyn Fn(&str, MaintenanceEvent) + Send + Sync),
    ) -> Result<Vec<UpkeepReport>, Error> {
        if maintenance.vacuum.is_some() {
            for table in &self.tables {
                let target = table.declaration.open().await;
                // What cannot be opened is told when its turn comes.
                if let Some(target) = target.ok().filter(|target| target.exists()) {
                    target
                        .check_maintenance(maintenance)
                        .map_err(|error| table.at(error.into()))?;
                }
            }
        }
        let mut reports = Vec::with_capacity(self.tables.len());
        for table in &self.tables {
            let started = Instant::now();
            let result = self.maintain(table, maintenance, tell).await;
            reports.push(UpkeepReport {
                table: table.declaration.name.clone(),
                location: table.declaration.location.clone(),
                result: result.map_err(|error| table.at(error)),
                elapsed: started.elapsed(),
            });
        }
        Ok(reports)
    }

    async fn maintain(
        &self,
        table: &Table,
        maintenance: &Maintenance,
        tell: &(dyn Fn(&str, MaintenanceEvent) + Send + Sync),
    ) -> Result<Option<MaintenanceReport>, Error> {
        let target = table.declaration.open().await?;
        if !target.exists() {
            return Ok(None);
        }
        let maintenance = Maintenance {
            keys: table.keys.clone(),
            ..maintenance.clone()
        };
        let tell = |event| tell(&table.declaration.name, event);
        let state = self.engine.state();
        let report = target.maintain(&maintenance, &state, &tell).await?;
        Ok(Some(report))
    }
}

impl Table {
    fn at(&self, error: Error) -> Error {
        error.at(&self.statement, self.span)
    }
}

fn flow_targets(engine: &Engine, statements: &[Statement]) -> Result<Vec<Table>, Error> {
    let mut tables: Vec<Table> = Vec::new();
    for statement in statements {
        let StatementKind::Merge(merge) = &statement.kind else {
            continue;
        };
        let _ = stream_of(statement, merge)?;
        let (reference, declaration) = target_of(engine, statement, merge)?;
        if tables.iter().any(|table| table.reference == reference) {
            return Err(second_flow(statement, merge, &declaration));
        }
        tables.push(Table {
            reference,
            declaration,
            keys: merge.target_keys(),
            statement: statement.clone(),
            span: merge.target_span,
        });
    }
    Ok(tables)
}

fn declared_tables(engine: &Engine, statements: &[Statement]) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for statement in statements {
        let StatementKind::CreateTable(definition) = &statement.kind else {
            continue;
        };
        let reference = engine.resolve(&definition.name);
        let known = tables.iter().any(|table| table.reference == reference);
        let Some(declaration) = engine.declaration(&reference).filter(|_| !known) else {
            continue;
        };
        tables.push(Table {
            reference,
            declaration,
            keys: Vec::new(),
            statement: statement.clone(),
            span: definition.name_span,
        });
    }
    tables
}
