//! The names that can be completed: what is known of them without asking anybody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::{Engine, LAKE, MAIN};
use crate::sql::{SourceText, parse};

/// Tables whose columns are kept.
const MOST_TABLES: usize = 1_000;

/// Names of tables as they are known now, and of the columns of tables that were asked for before.
#[derive(Debug)]
pub(super) struct Names {
    engine: Engine,
    /// By a table's name; nothing stands for what is being asked for, and for what is not there.
    columns: Mutex<BTreeMap<String, Vec<String>>>,
    flows: Mutex<Vec<String>>,
}

impl Names {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            columns: Mutex::default(),
            flows: Mutex::default(),
        }
    }

    /// The tables as a statement names them: without what is the default.
    pub(super) fn tables(&self) -> Vec<String> {
        let lake = format!("{LAKE}.");
        let main = format!("{LAKE}.{MAIN}.");
        let names = self.engine.table_names().into_iter();
        let names = names.filter(|name| !name.contains(".information_schema."));
        let names = names.map(|name| {
            let short = name
                .strip_prefix(&main)
                .or_else(|| name.strip_prefix(&lake));
            short.map(str::to_string).unwrap_or(name)
        });
        names.collect()
    }

    pub(super) fn functions(&self) -> Vec<String> {
        self.engine.function_names()
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
        let Ok(frame) = self.engine.query(statement).await else {
            return;
        };
        let columns = frame.schema().fields().iter();
        let columns = columns.map(|field| field.name().clone()).collect();
        let mut known = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(table, columns);
    }
}
