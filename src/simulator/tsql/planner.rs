//! What DataFusion's planner asks for: tables, functions, options.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::common::config::ConfigOptions;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::functions_aggregate::planner::AggregateFunctionPlanner;
use datafusion::functions_window::planner::WindowFunctionPlanner;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{NullOrdering, ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast::Statement;

use super::aggregates::aggregate;
use super::cursor::ObjectName;
use super::functions::{self, external};
use super::guarded::guarded;
use super::live::LiveScan;
use super::operators::Operators;
use super::scope::{Relation, Scope};
use super::tables::Scan;
use super::{failure, normal::Spelling};
use crate::simulator::protocol::ServerError;
use crate::simulator::types::field_name;

/// The name that the table of an UPDATE or DELETE is given; its scan has the rows' ids.
pub(super) const TARGET: &str = "__target";

/// Memory of all queries at one time; sorts beyond it spill.
const MEMORY: usize = 2 << 30;

/// Functions that mean the same in both languages.
const SHARED_FUNCTIONS: &[&str] = &["coalesce"];

/// Aggregates and window functions that mean the same in both languages.
const SHARED_AGGREGATES: &[&str] = &[
    "count",
    "string_agg",
    "stddev",
    "stddev_pop",
    "var",
    "var_pop",
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
];

static STATE: LazyLock<SessionState> = LazyLock::new(|| {
    let mut config = SessionConfig::new().with_target_partitions(1);
    let options = config.options_mut();
    options.execution.skip_physical_aggregate_schema_check = true;
    options.execution.collect_statistics = false;
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY)))
        .build_arc()
        .unwrap_or_default();
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .build()
});

/// The session state that every statement plans and runs with.
pub(super) fn session() -> &'static SessionState {
    &STATE
}

/// A provider of the tables and functions in a scope.
struct Catalog<'a> {
    scope: &'a Arc<Scope>,
    target: Option<Arc<dyn TableSource>>,
    spelling: &'a Spelling,
    /// The names of the tables that were found, and of their columns.
    declared: Mutex<Vec<String>>,
    planners: [Arc<dyn ExprPlanner>; 3],
}

/// Plans a statement in a scope; `target` is the scan that [`TARGET`] stands for.
pub(super) fn plan(
    scope: &Arc<Scope>,
    statement: Statement,
    spelling: &Spelling,
    target: Option<Scan>,
) -> std::result::Result<LogicalPlan, ServerError> {
    let target = target.map(|scan| provider_as_source(Arc::new(scan)));
    plan_over(scope, statement, spelling, target)
}

/// As [`plan`], over any source of rows.
pub(super) fn plan_over(
    scope: &Arc<Scope>,
    statement: Statement,
    spelling: &Spelling,
    target: Option<Arc<dyn TableSource>>,
) -> std::result::Result<LogicalPlan, ServerError> {
    let catalog = Catalog {
        scope,
        target,
        spelling,
        declared: Mutex::default(),
        planners: [
            Arc::new(Operators),
            Arc::new(AggregateFunctionPlanner),
            Arc::new(WindowFunctionPlanner),
        ],
    };
    let options = ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_enable_ident_normalization(false)
        .with_default_null_ordering(NullOrdering::NullsMin);
    let plan = SqlToRel::new_with_options(&catalog, options)
        .sql_statement_to_plan(statement)
        .map_err(|error| failure::failure(&error, spelling))?;
    if !scope.collation().ignores_case() {
        let declared = catalog.declared.lock();
        spelling.is_exact(&declared.unwrap_or_else(PoisonError::into_inner))?;
    }
    Ok(plan)
}

impl Catalog<'_> {
    fn note(&self, names: &[String]) {
        let declared = self.declared.lock();
        let mut declared = declared.unwrap_or_else(PoisonError::into_inner);
        declared.extend_from_slice(names);
    }

    fn find(
        &self,
        name: &TableReference,
    ) -> std::result::Result<Arc<dyn TableSource>, ServerError> {
        if name.table() == TARGET
            && name.schema().is_none()
            && let Some(target) = &self.target
        {
            return Ok(Arc::clone(target));
        }
        let parts = [name.catalog(), name.schema(), Some(name.table())];
        let spelled = parts.into_iter().flatten().map(|part| {
            if part.is_empty() {
                String::new()
            } else {
                self.spelling.of(part)
            }
        });
        let name = ObjectName(spelled.collect());
        let relation = self.scope.relation(&name)?;
        self.note(&[name.object().to_owned()]);
        let order = self.scope.order();
        let Relation::Table(table) = &relation else {
            return Ok(provider_as_source(Arc::new(Scan::new(&relation, order))));
        };
        if name.object().starts_with('@') {
            return Ok(provider_as_source(Arc::new(Scan::new(&relation, order))));
        }
        let rows: Arc<dyn TableProvider> = match self.scope.live_database(&name) {
            Some(cell) => Arc::new(LiveScan::new(cell, table, order)),
            None => Arc::new(Scan::new(&relation, order)),
        };
        let database = name.database().unwrap_or(self.scope.database());
        guarded(self.scope, database, table, rows)
    }
}

impl ContextProvider for Catalog<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let source = self.find(&name).map_err(external)?;
        let schema = source.schema();
        let columns = schema.fields().iter().filter_map(|field| field_name(field));
        self.note(&columns.map(ToOwned::to_owned).collect::<Vec<_>>());
        Ok(source)
    }

    fn get_table_function_source(
        &self,
        name: &str,
        arguments: Vec<Expr>,
    ) -> Result<Arc<dyn TableSource>> {
        super::table_functions::source(self.scope, name.trim_matches('"'), arguments, self.spelling)
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions::function(name, self.scope).or_else(|| {
            let shared = SHARED_FUNCTIONS.contains(&name);
            shared.then(|| STATE.scalar_functions().get(name).cloned())?
        })
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        if let Some(own) = aggregate(name) {
            return Some(own);
        }
        let shared = SHARED_AGGREGATES.contains(&name);
        shared.then(|| STATE.aggregate_functions().get(name).cloned())?
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        let shared = SHARED_AGGREGATES.contains(&name);
        shared.then(|| STATE.window_functions().get(name).cloned())?
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        STATE.config_options()
    }

    /// Names that the planner looks among for one like an unknown function's; without any it fails.
    fn udf_names(&self) -> Vec<String> {
        SHARED_FUNCTIONS.iter().map(ToString::to_string).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The value of an expression without columns.
pub(super) fn constant(expr: Expr) -> Result<datafusion::common::ScalarValue> {
    use datafusion::common::{DFSchema, ScalarValue};
    use datafusion::logical_expr::simplify::SimplifyContext;
    use datafusion::optimizer::simplify_expressions::ExprSimplifier;
    let simplifier = ExprSimplifier::new(SimplifyContext::builder().build());
    let schema = DFSchema::empty();
    let folded = simplifier.simplify(simplifier.coerce(expr, &schema)?)?;
    match folded {
        Expr::Literal(value, _) => Ok(value),
        Expr::Cast(cast) => match cast.expr.as_ref() {
            Expr::Literal(ScalarValue::Null, _) => Ok(ScalarValue::Null),
            _ => Err(not_constant()),
        },
        _ => Err(not_constant()),
    }
}

fn not_constant() -> DataFusionError {
    external(ServerError::unsupported(
        "arguments of table functions that are not constants",
    ))
}
