//! What can be known of a file without a server, and without a look at a table.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use datafusion::common::ResolvedTableReference;

use super::every_table::{for_any_table, for_each_table, is_for_every_table};
use super::flow::Start;
use super::history::HistoryColumns;
use super::named::{
    check_name, chosen_flows, copies_unasked, refuse_others, second_flow, source_name, start_of,
    stream_of, target_of,
};
use super::order::{in_order, lookups_of};
use super::reconcile::{Over, reconcilable_form};
use crate::change::OnGap;
use crate::engine::{Engine, LAKE};
use crate::error::{Error, Faults};
use crate::sql::{
    MergeStatement, Parsed, RelationKind, Statement, StatementKind, TableReference, resolve_names,
    table_references,
};

/// What was looked at in a file in which nothing is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// How many flows it has.
    pub flows: usize,
    /// How many other statements.
    pub definitions: usize,
    /// The environment variables that it names, gives no default, and that are not set.
    pub unset_variables: Vec<String>,
}

/// Checks a file by what it says: no connection is opened, no table, and no secret is looked up.
///
/// `file` is where it stands; relative paths start from its folder.
///
/// # Errors
/// Everything that is wrong with it: what could not be read, and in the other statements options, properties, types and
/// names. Names that a statement may have declared which could not be read are let pass.
pub async fn check(engine: Engine, parsed: Parsed, file: &Path) -> Result<Checked, Error> {
    let engine = engine.offline();
    let Parsed {
        statements,
        errors,
        more,
        lacks_definitions,
        parameters: _,
    } = parsed;
    let statements = for_any_table(statements)?;
    let mut faults = Faults::default();
    if !errors.is_empty() {
        faults.keep(Error::Invalid {
            diagnostics: errors,
            more,
        })?;
    }
    let connections = engine.define_connections(&statements, Some(file)).await;
    faults.kept(connections)?;
    let names = match lacks_definitions {
        true => Names::MayBeUnread,
        false => Names::OfStatements,
    };
    define(&engine, &statements, Some(file), names, &mut faults).await?;
    check_tables(&engine, &statements, &mut faults)?;
    check_flows(&engine, &statements, &statements, names, &mut faults)?;
    faults.into_result()?;
    let flows = statements.iter().filter(|statement| is_flow(statement));
    let flows = flows.count();
    Ok(Checked {
        flows,
        definitions: statements.len() - flows,
        unset_variables: engine.unset_variables(),
    })
}

/// Makes all definitions of a file real but connections and views, and checks all flows.
///
/// # Errors
/// Everything that is wrong with them, as far as it can be known before a connection is opened.
pub(super) async fn lay_out(
    engine: &Engine,
    statements: &[Statement],
    file: Option<&Path>,
) -> Result<(), Error> {
    let _ = lay_out_chosen(engine, statements, file, &[]).await?;
    Ok(())
}

/// As [`lay_out`], of the flows only those named in `chosen`, unless that is empty: they are the answer.
///
/// # Errors
/// Also `UnknownFlow`.
pub(super) async fn lay_out_chosen(
    engine: &Engine,
    statements: &[Statement],
    file: Option<&Path>,
    chosen: &[String],
) -> Result<Vec<Statement>, Error> {
    let mut faults = Faults::default();
    let names = Names::OfStatements;
    define(engine, statements, file, names, &mut faults).await?;
    if !chosen.is_empty() {
        // Which flows they are is known by their targets alone.
        std::mem::take(&mut faults).into_result()?;
    }
    let flows = chosen_flows(engine, statements.to_vec(), chosen)?;
    check_flows(engine, statements, &flows, names, &mut faults)?;
    faults.into_result()?;
    Ok(flows)
}

/// A file's statements, one for each table in the place of those for every table, and the flows among them.
pub(super) struct Opened {
    pub(super) statements: Vec<Statement>,
    pub(super) flows: Vec<Statement>,
}

/// Makes all definitions of a file real, its connections and views too, and checks all flows.
///
/// # Errors
/// As [`lay_out_chosen`], before a connection is opened but for what a statement for every table stands for.
pub(super) async fn open(
    engine: &Engine,
    statements: Vec<Statement>,
    file: Option<&Path>,
    chosen: &[String],
) -> Result<Opened, Error> {
    let asks = statements.iter().any(is_for_every_table);
    // Which flows a statement for every table stands for is known when the server has told.
    let early = if asks { &[] } else { chosen };
    let flows = lay_out_chosen(engine, &statements, file, early).await?;
    engine.define_connections(&statements, file).await?;
    let opened = match asks {
        true => lay_out_each(engine, statements, file, chosen).await?,
        false => Opened { statements, flows },
    };
    engine.define_views(&opened.statements, file).await?;
    Ok(opened)
}

/// What a file has, with one statement for each table in the place of those for every table; all else is laid out, and its
/// connections are open.
///
/// # Errors
/// As [`for_each_table`] and [`lay_out_chosen`].
pub(super) async fn lay_out_each(
    engine: &Engine,
    statements: Vec<Statement>,
    file: Option<&Path>,
    chosen: &[String],
) -> Result<Opened, Error> {
    let statements = for_each_table(engine, statements).await?;
    let is_new = |statement: &&Statement| statement.table().is_some();
    let new: Vec<_> = statements.iter().filter(is_new).cloned().collect();
    engine.define_tables(&new, file).await?;
    let flows = chosen_flows(engine, statements.clone(), chosen)?;
    let mut faults = Faults::default();
    check_flows(
        engine,
        &statements,
        &flows,
        Names::OfStatements,
        &mut faults,
    )?;
    faults.into_result()?;
    Ok(Opened { statements, flows })
}

/// What a name may mean that no statement declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// Nothing.
    OfStatements,
    /// What a statement declares that could not be read.
    MayBeUnread,
}

async fn define(
    engine: &Engine,
    statements: &[Statement],
    file: Option<&Path>,
    names: Names,
    faults: &mut Faults,
) -> Result<(), Error> {
    faults.kept(refuse_others(statements))?;
    faults.kept(engine.define_settings(statements, file).await)?;
    match engine.define_tables(statements, file).await {
        Err(error)
            if names == Names::MayBeUnread
                && matches!(error.cause(), Error::UnknownSchema { .. }) => {}
        defined => _ = faults.kept(defined)?,
    }
    Ok(())
}

/// Checks what is declared of tables as if none of them was there yet.
fn check_tables(
    engine: &Engine,
    statements: &[Statement],
    faults: &mut Faults,
) -> Result<(), Error> {
    for statement in statements {
        let StatementKind::CreateTable(definition) = &statement.kind else {
            continue;
        };
        let Some(declaration) = engine.declaration(&engine.resolve(&definition.name)) else {
            continue;
        };
        let columns = declaration.columns.as_deref();
        let checked = declaration.options.check(&declaration.location, columns);
        let checked =
            checked.map_err(|error| Error::from(error).at(statement, definition.name_span));
        faults.kept(checked)?;
    }
    Ok(())
}

/// Checks `flows` and the views among `statements` by what they say.
fn check_flows(
    engine: &Engine,
    statements: &[Statement],
    flows: &[Statement],
    names: Names,
    faults: &mut Faults,
) -> Result<(), Error> {
    let known = Known {
        engine,
        names,
        connections: connections_of(statements),
        views: views_of(engine, statements),
    };
    for view in statements.iter().filter(|statement| !is_flow(statement)) {
        known.check_references(view, faults)?;
    }
    let (mut targets, mut names_of_flows) = (Vec::new(), Vec::new());
    for flow in flows {
        if let StatementKind::Merge(merge) = &flow.kind {
            known.check_flow(flow, merge, (&mut targets, &mut names_of_flows), faults)?;
        }
    }
    let flows: Vec<Statement> = flows.iter().filter(|flow| is_flow(flow)).cloned().collect();
    let lookups = lookups_of(engine, &flows);
    let order = in_order(&lookups, &flows.iter().collect::<Vec<_>>());
    faults.kept(order).map(drop)
}

fn is_flow(statement: &Statement) -> bool {
    matches!(statement.kind, StatementKind::Merge(_))
}

/// The names of the connections that are declared, in lower case.
fn connections_of(statements: &[Statement]) -> BTreeSet<String> {
    let names = statements
        .iter()
        .filter_map(|statement| match &statement.kind {
            StatementKind::CreateConnection(definition) => {
                Some(definition.name.value.to_lowercase())
            }
            _ => None,
        });
    names.collect()
}

fn views_of(engine: &Engine, statements: &[Statement]) -> Vec<ResolvedTableReference> {
    let names = statements.iter().filter_map(Engine::view_name);
    names.map(|name| engine.resolve(name)).collect()
}

/// What is declared.
struct Known<'a> {
    engine: &'a Engine,
    names: Names,
    connections: BTreeSet<String>,
    views: Vec<ResolvedTableReference>,
}

impl Known<'_> {
    fn check_flow(
        &self,
        statement: &Statement,
        merge: &MergeStatement,
        (targets, flows): (&mut Vec<ResolvedTableReference>, &mut Vec<String>),
        faults: &mut Faults,
    ) -> Result<(), Error> {
        self.check_references(statement, faults)?;
        let stream = faults.kept(stream_of(statement, merge))?;
        let target = match target_of(self.engine, statement, merge) {
            Err(_) if self.names == Names::MayBeUnread => None,
            target => faults.kept(target)?,
        };
        if let Some(stream) = &stream
            && let Some([connection, ..]) = faults.kept(source_name(statement, stream))?
        {
            let known = self.connection(&connection);
            faults.kept(known.map_err(|error| error.at(statement, stream.span)))?;
        }
        let start = match &stream {
            Some(stream) => faults.kept(start_of(statement, stream))?,
            None => None,
        };
        let Some((reference, declaration)) = target else {
            return Ok(());
        };
        if targets.contains(&reference) {
            return faults.keep(second_flow(statement, merge, &declaration));
        }
        targets.push(reference);
        let name = merge.flow_name(&declaration.name);
        let others = flows.iter().map(String::as_str);
        faults.kept(check_name(statement, merge, name, others))?;
        flows.push(name.to_string());
        if let Some(stream) = &stream
            && start.is_some_and(|start| start != Start::Copy)
            && declaration.on_schema_change.adds()
        {
            faults.keep(copies_unasked(statement, stream))?;
        }
        faults.kept(HistoryColumns::of(statement, merge, &declaration))?;
        if declaration.on_gap == OnGap::Resnapshot {
            faults.kept(reconcilable_form(statement, merge, Over::Gap))?;
        }
        faults.kept(self.check_columns(statement)).map(drop)
    }

    /// Whether a connection is declared.
    fn connection(&self, name: &str) -> Result<(), Error> {
        let is_known = self.connections.contains(&name.to_lowercase());
        if is_known || self.names == Names::MayBeUnread {
            return Ok(());
        }
        Err(Error::UnknownConnection {
            name: name.to_string(),
            known: self.connections.iter().cloned().collect(),
        })
    }

    /// Looks for each table that a statement names, but for its target and its stream.
    fn check_references(&self, statement: &Statement, faults: &mut Faults) -> Result<(), Error> {
        let target = match &statement.kind {
            StatementKind::Merge(merge) => Some(self.engine.resolve(&merge.target)),
            _ => None,
        };
        for reference in table_references(statement) {
            let full = self.engine.resolve(&reference.table);
            let is_stream = matches!(reference.kind, RelationKind::Stream(_));
            if !is_stream && target.as_ref() != Some(&full) {
                faults.kept(self.check_reference(statement, &reference, &full))?;
            }
        }
        Ok(())
    }

    fn check_reference(
        &self,
        statement: &Statement,
        reference: &TableReference,
        full: &ResolvedTableReference,
    ) -> Result<(), Error> {
        let refused = |message: String, help: Option<String>| {
            Err(Error::invalid(statement.diagnostic(
                reference.span,
                message,
                help,
            )))
        };
        let written = &reference.table;
        if full.catalog.eq_ignore_ascii_case(LAKE) {
            let is_known = self.views.contains(full) || self.engine.declaration(full).is_some();
            if is_known || self.names == Names::MayBeUnread {
                return Ok(());
            }
            if &*full.schema == "information_schema" {
                return Ok(());
            }
            let (message, help) = self.engine.unknown_table(full, &written.to_string());
            return refused(message, help);
        }
        let connection = self.connection(&full.catalog);
        connection.map_err(|error| error.at(statement, reference.span))?;
        match reference.kind {
            RelationKind::VersionAsOf(_) | RelationKind::TimestampAsOf(_) => {
                refused(format!("'{written}': {}", crate::engine::NO_VERSIONS), None)
            }
            _ => Ok(()),
        }
    }

    /// Looks for the columns that a flow names in the tables whose columns are declared.
    fn check_columns(&self, statement: &Statement) -> Result<(), Error> {
        let references = table_references(statement);
        let declared: HashMap<_, _> = references
            .into_iter()
            .filter_map(|reference| {
                let full = self.engine.resolve(&reference.table);
                let columns = self.engine.declaration(&full)?.columns?;
                let names = columns.fields().iter().map(|field| field.name().clone());
                Some((reference.name, names.collect::<Vec<_>>()))
            })
            .collect();
        let mut spelled = statement.clone();
        resolve_names(&mut spelled, &|name| declared.get(name).cloned()).map_err(Error::invalid)
    }
}
