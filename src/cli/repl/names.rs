//! The names that can be completed: what is known of them without asking anybody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::engine::{Engine, LAKE, MAIN};
use crate::sql::{SourceText, identifier, parse};

/// Tables whose columns are kept.
const MOST_TABLES: usize = 1_000;

/// Names of tables as they are known now, and of the columns of tables that were asked for before.
#[derive(Debug)]
pub(super) struct Names {
    engine: RwLock<Engine>,
    /// By a table's name; nothing stands for what is being asked for, and for what is not there.
    columns: Mutex<BTreeMap<String, Vec<String>>>,
    flows: Mutex<Vec<String>>,
}

impl Names {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine: RwLock::new(engine),
            columns: Mutex::default(),
            flows: Mutex::default(),
        }
    }

    /// Has other tables completed from here on: those of this engine.
    pub(super) fn turn_to(&self, engine: Engine) {
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = engine;
        self.forget_columns();
    }

    fn engine(&self) -> Engine {
        let engine = self.engine.read();
        engine.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The parts of the tables' names as a statement has them: quoted where they must be, and without what is the default.
    pub(super) fn tables(&self) -> Vec<Vec<String>> {
        let tables = self.engine().tables().into_iter();
        let tables = tables.filter(|[_, schema, _]| schema != "information_schema");
        let tables =
            tables.map(
                |[catalog, schema, table]| match (catalog.as_str(), schema.as_str()) {
                    (LAKE, MAIN) => vec![table],
                    (LAKE, _) => vec![schema, table],
                    _ => vec![catalog, schema, table],
                },
            );
        let spelled = tables.map(|parts| parts.iter().map(|part| identifier(part)).collect());
        spelled.collect()
    }

    pub(super) fn functions(&self) -> Vec<String> {
        self.engine().function_names()
    }

    pub(super) fn keep_flows(&self, flows: Vec<String>) {
        *self.flows.lock().unwrap_or_else(PoisonError::into_inner) = flows;
    }

    pub(super) fn known_flows(&self) -> Vec<String> {
        let flows = self.flows.lock();
        flows.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the columns, which a statement may have changed.
    pub(super) fn forget_columns(&self) {
        let columns = self.columns.lock();
        columns.unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The columns of a table, if they are known; else they are asked for, and known a little later.
    pub(super) fn columns(self: &Arc<Self>, table: &str) -> Vec<String> {
        let mut known = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(columns) = known.get(table) {
            return columns.clone();
        }
        if known.len() >= MOST_TABLES {
            known.clear();
        }
        known.insert(table.to_string(), Vec::new());
        drop(known);
        let (names, table) = (Arc::clone(self), table.to_string());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { names.ask(table).await });
        }
        Vec::new()
    }

    async fn ask(&self, table: String) {
        let text = format!("SELECT * FROM {table} LIMIT 0");
        let name = "completion".to_string();
        let Ok(statements) = parse(&SourceText { name, text }) else {
            return;
        };
        let Some(statement) = statements.first() else {
            return;
        };
        let Ok(frame) = self.engine().query(statement).await else {
            return;
        };
        let columns = frame.schema().fields().iter();
        let columns = columns.map(|field| identifier(field.name())).collect();
        let mut known = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(table, columns);
    }
}
