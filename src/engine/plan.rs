//! From a parsed statement to a plan, with every error placed in the file.

use std::collections::HashMap;

use datafusion::catalog::SchemaProvider as _;
use datafusion::common::{ResolvedTableReference, TableReference};
use datafusion::dataframe::DataFrame;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Statement as SqlStatement, TableFactor};

use super::moments::in_units_of_columns;
use super::prune::pruned;
use super::row_change::{as_merge, repeated_assignment};
use super::select::select_from;
use super::unknown::unknown_table;
use super::{Engine, LAKE, MAIN, Overlay};
use crate::error::Error;
use crate::nearest::nearest;
use crate::sql::{
    Absent, MergeStatement, Statement, StatementKind, expand_stars, relation_from_marker,
    resolve_names, table_references,
};

/// What a target is called whose own name is taken.
const TARGET: &str = "__cdcql_target";

impl Engine {
    /// Plans `kind`, which is `statement` or was made from parts of it, with `overlay` in front of the
    /// session's tables.
    ///
    /// Errors point into the statement's file. Nothing is executed.
    pub async fn plan(
        &self,
        statement: &Statement,
        kind: StatementKind,
        overlay: Overlay,
    ) -> Result<(SessionState, LogicalPlan), Error> {
        let mut state = self.context.state();
        if let Some(function) = overlay.function() {
            let registered = state.register_udf(function);
            let _ = registered.map_err(|error| Error::from_datafusion(error, Some(statement)))?;
        }
        let catalogs = overlay.over(state.catalog_list());
        state.register_catalog_list(catalogs);
        let mut spelled = statement.clone();
        spelled.kind = kind;
        let columns = columns_in(&state, &spelled).await?;
        resolve_names(&mut spelled, &|name| columns.get(name).cloned()).map_err(Error::invalid)?;
        if let StatementKind::Merge(merge) = &mut spelled.kind
            && let Some(stand_in) = self.stand_in(&state, merge).await
        {
            let catalogs = stand_in.over(state.catalog_list());
            state.register_catalog_list(catalogs);
        }
        let ast = match spelled.kind {
            StatementKind::Merge(merge) => merge.to_statement(),
            StatementKind::Other(ast) => of_session(*ast),
            _ => return Err(Error::Internal("a definition was planned as a query")),
        };
        let planned = match repeated_assignment(&ast) {
            Some(refusal) => Err(refusal),
            None => state
                .statement_to_plan(ast)
                .await
                .and_then(in_units_of_columns)
                .and_then(pruned)
                .and_then(as_merge)
                .map_err(|error| Error::from_datafusion(error, Some(statement)))?,
        };
        let planned = planned.and_then(|plan| match self.refusal(&plan) {
            Some(refusal) => Err(refusal),
            None => Ok(plan),
        });
        match planned {
            Ok(plan) => Ok((state, plan)),
            Err(refusal) => Err(Error::invalid(statement.diagnostic(
                statement.span,
                refusal.message,
                Some(refusal.help),
            ))),
        }
    }

    /// Gives a target whose own name is its source's alias another name, for which the answer stands: the planner
    /// turns the target's alias back into its name, and could then not tell the two apart.
    async fn stand_in(&self, state: &SessionState, merge: &mut MergeStatement) -> Option<Overlay> {
        let own = merge.target.0.last()?.as_ident()?;
        let same = own.value.to_lowercase() == merge.source_alias.value.to_lowercase();
        if !same || merge.target_alias.is_none() {
            return None;
        }
        let full = self.resolve(&merge.target);
        let schema = state.schema_for_ref(full.clone()).ok()?;
        let provider = schema.table(&full.table).await.ok()??;
        let parts = [&full.catalog, &full.schema, TARGET].map(|part| Ident::with_quote('"', part));
        if let TableFactor::Table { name, .. } = &mut merge.ast.table {
            *name = ObjectName::from(parts.to_vec());
        }
        let full = TableReference::full(full.catalog, full.schema, TARGET).resolve(LAKE, MAIN);
        Some(Overlay::default().with(&full, provider))
    }

    /// Plans a query, a MERGE without a STREAM, or another of DataFusion's statements, ready to be executed.
    ///
    /// Views are created here; everything else runs when the frame is collected.
    pub async fn query(&self, statement: &Statement) -> Result<DataFrame, Error> {
        let kind = match &statement.kind {
            StatementKind::Merge(merge) => {
                StatementKind::Merge(Box::new(self.expanded(statement, merge).await?))
            }
            StatementKind::EveryTable(every) => {
                return Err(Error::invalid(statement.diagnostic(
                    every.source_span,
                    "the flows of every table of a schema are executed by a run",
                    Some(
                        "write the statement into a file, and execute `cdcql run FILE`".to_string(),
                    ),
                )));
            }
            kind => kind.clone(),
        };
        let (_, plan) = self.plan(statement, kind, Overlay::default()).await?;
        self.context
            .execute_logical_plan(plan)
            .await
            .map_err(|error| Error::from_datafusion(error, Some(statement)))
    }

    /// A MERGE with its stars expanded against the tables of the session.
    async fn expanded(
        &self,
        statement: &Statement,
        merge: &MergeStatement,
    ) -> Result<MergeStatement, Error> {
        if merge.schema_evolution {
            return Err(Error::invalid(statement.diagnostic(
                statement.span,
                "WITH SCHEMA EVOLUTION is for flows: this MERGE reads no STREAM",
                Some("add the columns by ALTER TABLE of another tool, or leave WITH SCHEMA EVOLUTION out".to_string()),
            )));
        }
        let mut merge = merge.clone();
        if merge.has_stars() {
            let target = self.columns_of_factor(statement, &merge.ast.table).await?;
            let source = self.columns_of_factor(statement, &merge.ast.source).await?;
            expand_stars(&mut merge, &target, &source, Absent::Refused).map_err(Error::invalid)?;
        }
        Ok(merge)
    }

    async fn columns_of_factor(
        &self,
        statement: &Statement,
        factor: &TableFactor,
    ) -> Result<Vec<String>, Error> {
        let query = select_from(statement, None, factor.clone())?;
        let (_, plan) = self.plan(statement, query, Overlay::default()).await?;
        Ok(plan
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect())
    }

    /// Executes a planned write and drops the count it answers with.
    pub async fn execute(
        &self,
        state: SessionState,
        plan: LogicalPlan,
        statement: &Statement,
    ) -> Result<(), Error> {
        let context = SessionContext::new_with_state(state);
        let run = async {
            let frame = context.execute_logical_plan(plan).await?;
            frame.collect().await
        };
        run.await
            .map(|_| ())
            .map_err(|error| Error::from_datafusion(error, Some(statement)))
    }

    /// What an error says of a table that there is not, which is `written` so: the message, and the help if there is any.
    pub fn unknown_table(
        &self,
        full: &ResolvedTableReference,
        written: &str,
    ) -> (String, Option<String>) {
        unknown_table(&self.context.state(), full, written)
    }

    /// The table of the lake whose name is nearest to one that there is not, if one is near.
    pub fn nearest_table(&self, full: &ResolvedTableReference) -> Option<String> {
        let names = self.lake.find_schema(&full.schema)?.table_names();
        nearest(&full.table, names.iter().map(String::as_str)).map(str::to_string)
    }

    /// The full name of a table written with one to three parts, unquoted parts in lower case.
    pub fn resolve(&self, name: &ObjectName) -> ResolvedTableReference {
        reference_of(&normalized_parts(name))
    }
}

/// The columns of every table that `statement` names; an error at the first that there is not.
async fn columns_in(
    state: &SessionState,
    statement: &Statement,
) -> Result<HashMap<ObjectName, Vec<String>>, Error> {
    let mut columns = HashMap::new();
    for reference in table_references(statement) {
        let full = reference_of(&normalized_parts(&reference.name));
        let table = match state.schema_for_ref(full.clone()) {
            Ok(schema) => schema.table(&full.table).await,
            Err(_) => Ok(None),
        };
        let Some(table) =
            table.map_err(|error| Error::from(error).at(statement, reference.span))?
        else {
            let (message, help) = unknown_table(state, &full, &written(&reference.name));
            return Err(Error::invalid(statement.diagnostic(
                reference.span,
                message,
                help,
            )));
        };
        let names = table
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        columns.insert(reference.name, names);
    }
    Ok(columns)
}

/// Every view lives as long as its session; the planner knows those alone that do not say so.
fn of_session(mut ast: DfStatement) -> DfStatement {
    if let DfStatement::Statement(statement) = &mut ast
        && let SqlStatement::CreateView(view) = statement.as_mut()
    {
        view.temporary = false;
    }
    ast
}

/// A name as the file has it, without the marker of a change feed or a version.
fn written(name: &ObjectName) -> String {
    normalized_parts(name)
        .into_iter()
        .map(|part| relation_from_marker(&part).map_or(part, |(name, _)| name))
        .collect::<Vec<_>>()
        .join(".")
}

/// The parts of a name as the planner looks them up: unquoted ones in lower case.
fn normalized_parts(name: &ObjectName) -> Vec<String> {
    name.0
        .iter()
        .map(|part| match part.as_ident() {
            Some(ident) if ident.quote_style.is_none() => ident.value.to_lowercase(),
            Some(ident) => ident.value.clone(),
            None => part.to_string(),
        })
        .collect()
}

fn reference_of(parts: &[String]) -> ResolvedTableReference {
    let reference = match parts {
        [] => TableReference::bare(""),
        [table] => TableReference::bare(table.as_str()),
        [schema, table] => TableReference::partial(schema.as_str(), table.as_str()),
        [catalog, schema, table, ..] => {
            TableReference::full(catalog.as_str(), schema.as_str(), table.as_str())
        }
    };
    reference.resolve(LAKE, MAIN)
}
