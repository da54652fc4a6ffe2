//! What a statement can see: databases, parameters, and facts about its session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::asked::{Asked, Source};
use super::cursor::ObjectName;
use super::system::{self, View};
use crate::simulator::protocol::{Collation, Length, ServerError, SqlType};
use crate::simulator::security::{Permission, Rights};
use crate::simulator::store::{DatabaseCell, Server, State, Table};
use crate::simulator::types::{Locale, Value};

/// What `@@VERSION` says, in front of the simulator's own version.
const VERSION: &str = "Microsoft SQL Server 2022 (cdcql simulator) - 16.0.1000.6 (X64)";

/// Facts about a session, as they are when a statement begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// `@@SPID`.
    pub(crate) session_id: i64,
    /// `@@TRANCOUNT`.
    pub(crate) transactions: i64,
    /// `@@ROWCOUNT`.
    pub(crate) row_count: i64,
    /// `@@ERROR`.
    pub(crate) error: i64,
    /// `@@LOCK_TIMEOUT`.
    pub(crate) lock_timeout: i64,
    /// `SCOPE_IDENTITY()`.
    pub(crate) identity: Option<i64>,
    /// The login's name.
    pub(crate) user: String,
    /// `APP_NAME()`.
    pub(crate) program: String,
    /// `HOST_NAME()`.
    pub(crate) host: String,
    /// Whether the server is a secondary replica.
    pub(crate) is_on_replica: bool,
}

impl Facts {
    /// Whether a database can only be read: those of the system are the replica's own.
    pub(crate) fn only_reads(&self, database: &str) -> bool {
        self.is_on_replica && !Server::is_system(database)
    }
}

/// A parameter of the batch.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    /// The name with its `@`, as it was declared.
    pub(crate) declared: String,
    /// The name with its `@`, in lower case.
    pub(crate) name: String,
    /// The declared type.
    pub(crate) sql_type: SqlType,
    /// The value.
    pub(crate) value: Value,
}

/// A table or a view that a name stands for.
#[derive(Debug, Clone)]
pub(crate) enum Relation {
    /// A stored table.
    Table(Arc<Table>),
    /// A catalogue view, made on demand.
    View(Arc<View>),
}

/// What a statement can see. Every database is seen as it was when the statement first looked.
#[derive(Debug)]
pub(crate) struct Scope {
    server: Arc<Server>,
    database: String,
    facts: Facts,
    variables: Vec<Variable>,
    snapshot: bool,
    order: Option<u64>,
    table_variables: Vec<Arc<Table>>,
    /// Whether tables are read as they are when each of their chunks is fetched.
    live: bool,
    /// Where it is noted what is asked for, if it matters.
    asked: Option<Arc<Asked>>,
    /// The databases, in lower case, whose states were given.
    given: Vec<String>,
    seen: Mutex<HashMap<String, Arc<State>>>,
}

impl Scope {
    /// A scope in which some states are given, and the others are the committed ones; `snapshot` asks
    /// for SNAPSHOT isolation, and from `order` follows the order of rows.
    pub(crate) fn new(
        server: Arc<Server>,
        database: &str,
        facts: Facts,
        variables: Vec<Variable>,
        given: impl IntoIterator<Item = Arc<State>>,
        snapshot: bool,
        order: Option<u64>,
    ) -> Self {
        let seen: HashMap<String, Arc<State>> = given
            .into_iter()
            .map(|state| (state.name.to_lowercase(), state))
            .collect();
        Self {
            server,
            database: database.to_owned(),
            facts,
            variables,
            snapshot,
            order,
            table_variables: Vec::new(),
            live: false,
            asked: None,
            given: seen.keys().cloned().collect(),
            seen: Mutex::new(seen),
        }
    }

    /// The scope with the batch's table variables.
    pub(crate) fn with_table_variables(mut self, tables: Vec<Arc<Table>>) -> Self {
        self.table_variables = tables;
        self
    }

    /// The scope that notes what it is asked for.
    pub(crate) fn noted(mut self, asked: Option<Arc<Asked>>) -> Self {
        self.asked = asked;
        self
    }

    /// Notes that the statement asks for something that a script does not hold.
    pub(crate) fn note(&self, source: Source) {
        if let Some(asked) = &self.asked {
            asked.note(source);
        }
    }

    fn note_state(&self, name: &str, state: &State) {
        if let Some(asked) = &self.asked {
            asked.note_database(name, state.version);
        }
    }

    /// The scope of a query that sees what is committed while it runs, where nothing else was given.
    pub(crate) fn live(mut self, live: bool) -> Self {
        self.live = live;
        self
    }

    /// The database whose tables are read as they are by then; `None` where a query sees one instant.
    pub(crate) fn live_database(&self, name: &ObjectName) -> Option<Arc<DatabaseCell>> {
        let name = name.database().unwrap_or(&self.database);
        if !self.live || self.given.contains(&name.to_lowercase()) {
            return None;
        }
        let state = self.state(name)?;
        let cell = self.server.database(name)?;
        (!state.read_committed_snapshot).then_some(cell)
    }

    /// The current database's name.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// The session's facts.
    pub(crate) fn facts(&self) -> &Facts {
        self.note(Source::Session);
        &self.facts
    }

    /// From which the order of rows follows; `None` for the order of insertion.
    pub(crate) fn order(&self) -> Option<u64> {
        self.order
    }

    /// Whether the session is at a secondary replica of a database.
    pub(crate) fn only_reads(&self, database: &str) -> bool {
        self.facts.only_reads(database)
    }

    /// The name of the server, which a replica does not share.
    pub(crate) fn server_name(&self) -> &'static str {
        match self.facts.is_on_replica {
            true => system::REPLICA_NAME,
            false => system::SERVER_NAME,
        }
    }

    /// The server.
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// A database's state, by name.
    pub(crate) fn state(&self, database: &str) -> Option<Arc<State>> {
        let key = database.to_lowercase();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = seen.get(&key) {
            self.note_state(&key, state);
            let collation = self.server.collation();
            return collation
                .is_same_name(&state.name, database)
                .then(|| Arc::clone(state));
        }
        let state = self.server.database(database)?.committed();
        self.note_state(&key, &state);
        seen.insert(key, Arc::clone(&state));
        Some(state)
    }

    /// The current database's state.
    pub(crate) fn current(&self) -> Result<Arc<State>, ServerError> {
        self.state(&self.database)
            .ok_or_else(|| ServerError::unknown_database(&self.database))
    }

    /// The collation of the current database.
    pub(crate) fn collation(&self) -> Collation {
        self.current()
            .map_or(Collation::SERVER, |state| state.collation)
    }

    /// The type that an alias type of the current database stands for.
    pub(crate) fn alias_type(&self, name: &str) -> Option<SqlType> {
        let (schema, name) = name.split_once('.').unwrap_or(("dbo", name));
        let state = self.current().ok()?;
        state.alias_type(schema, name).map(|alias| alias.sql_type)
    }

    /// The server's clock, in its local time, and how many minutes that is ahead of UTC: the current database's.
    pub(crate) fn now(&self) -> (i64, i16) {
        let last = self
            .current()
            .map_or(crate::simulator::store::EPOCH_MICROS, |state| state.clock);
        let database = self.server.database(&self.database);
        database.map_or((last, 0), |database| {
            let clock = database.clock();
            clock.local(clock.now(last))
        })
    }

    /// The id of the server's zone; `None` where no function tells it.
    pub(crate) fn zone_id(&self) -> Option<&'static str> {
        let database = self.server.database(&self.database)?;
        database.clock().zone.id
    }

    /// What a name stands for; error 208 has the name as written.
    pub(crate) fn relation(&self, name: &ObjectName) -> Result<Relation, ServerError> {
        self.find(name)
            .transpose()
            .unwrap_or_else(|| Err(ServerError::invalid_object(&name.to_string())))
    }

    /// What the session may do in a database; error 916 if it has no user there.
    pub(crate) fn rights(&self, state: &State) -> Result<Rights, ServerError> {
        let login = &self.facts.user;
        let rights = self.server.rights(login, state);
        rights.ok_or_else(|| ServerError::no_user(login, &state.name))
    }

    /// The table that a name stands for, if the session may know of it.
    pub(crate) fn visible_table(&self, name: &ObjectName) -> Option<Arc<Table>> {
        let state = self.state(name.database().unwrap_or(&self.database))?;
        let table = state.table(name.schema().unwrap_or("dbo"), name.object())?;
        let rights = self.rights(&state).ok()?;
        self.note_rights(&rights);
        rights.sees(&state, table).then(|| Arc::clone(table))
    }

    /// Notes that the answer depends on who asks, unless it is an owner, who may know everything.
    pub(crate) fn note_rights(&self, rights: &Rights) {
        if !rights.is_owner() {
            self.note(Source::Session);
        }
    }

    /// A database as the session may know it: without the tables that it has no permission on.
    pub(crate) fn visible(&self, state: &Arc<State>) -> Result<Arc<State>, ServerError> {
        let rights = self.rights(state)?;
        self.note_rights(&rights);
        if rights.is_owner() {
            return Ok(Arc::clone(state));
        }
        let mut visible = state.as_ref().clone();
        visible.tables.retain(|_, table| rights.sees(state, table));
        Ok(Arc::new(visible))
    }

    fn find(&self, name: &ObjectName) -> Result<Option<Relation>, ServerError> {
        if name.object().starts_with('@') && name.schema().is_none() {
            return self.table_variable(name.object()).map(Some);
        }
        let database = name.database().unwrap_or(&self.database);
        let Some(state) = self.state(database) else {
            return Ok(None);
        };
        let rights = self.rights(&state)?;
        let schema = name.schema().unwrap_or("dbo");
        if let Some(table) = state.table(schema, name.object()) {
            if !rights.on_table(&state, Permission::Select, table) {
                return Err(ServerError::permission_denied(
                    "SELECT",
                    &table.name,
                    &state.name,
                    &table.schema,
                ));
            }
            if table.shipped {
                self.note(Source::Captured);
            }
            if self.snapshot && !state.snapshot_isolation {
                return Err(snapshot_forbidden(&state.name));
            }
            if self.snapshot && self.is_redefined(&state, table) {
                return Err(redefined(&state.name));
            }
            return Ok(Some(Relation::Table(Arc::clone(table))));
        }
        system::view(self, &state, schema, name.object())
            .map(|view| view.map(|view| Relation::View(Arc::new(view))))
    }

    /// Whether another transaction has changed a table's definition since `state`.
    fn is_redefined(&self, state: &State, table: &Table) -> bool {
        let Some(cell) = self.server.database(&state.name) else {
            return false;
        };
        let committed = cell.committed();
        committed
            .tables
            .get(&table.object_id)
            .is_some_and(|now| now.columns != table.columns || now.keys != table.keys)
    }

    fn table_variable(&self, name: &str) -> Result<Relation, ServerError> {
        self.note(Source::TableVariable);
        let lower = name.to_lowercase();
        let mut tables = self.table_variables.iter();
        tables
            .find(|table| table.name.to_lowercase() == lower)
            .map(|table| Relation::Table(Arc::clone(table)))
            .ok_or_else(|| {
                ServerError::new(1087, format!("Must declare the table variable \"{name}\"."))
            })
    }

    /// The table that a name stands for, to change it; whether the session may is asked later.
    pub(crate) fn table(&self, name: &ObjectName) -> Result<Arc<Table>, ServerError> {
        if name.object().starts_with('@') {
            return Err(ServerError::unsupported(
                "changes of a table variable other than INSERT … EXEC",
            ));
        }
        let state = self.state(name.database().unwrap_or(&self.database));
        if let Some(state) = state {
            self.rights(&state)?;
            let table = state.table(name.schema().unwrap_or("dbo"), name.object());
            if table.is_some_and(|table| table.shipped) {
                self.note(Source::Captured);
            }
            if let Some(table) = table.filter(|_| !self.snapshot) {
                return Ok(Arc::clone(table));
            }
        }
        match self.relation(name)? {
            Relation::Table(table) => Ok(table),
            Relation::View(_) => Err(ServerError::new(
                259,
                "Ad hoc updates to system catalogs are not allowed.",
            )),
        }
    }

    /// The value of a variable; error 137 if there is no such.
    pub(crate) fn variable(&self, name: &str) -> Result<(SqlType, Value), ServerError> {
        let lower = name.to_lowercase();
        if let Some(variable) = self.variables.iter().find(|v| v.name == lower) {
            return Ok((variable.sql_type, variable.value.clone()));
        }
        self.global(&lower)
            .ok_or_else(|| ServerError::undeclared_variable(name))
    }

    fn global(&self, name: &str) -> Option<(SqlType, Value)> {
        let text = |text: &str| {
            let sql_type = SqlType::NVarChar(Length::Limited(4000));
            Some((sql_type, Value::from(text)))
        };
        let int = |int: i64| Some((SqlType::Int, Value::Int(int)));
        let decimal = |digits: Option<i64>| {
            let sql_type = SqlType::Decimal {
                precision: 38,
                scale: 0,
            };
            let value = digits.map_or(Value::Null, |digits| Value::Decimal(digits.into(), 0));
            Some((sql_type, value))
        };
        if !matches!(name, "@@max_precision" | "@@datefirst") {
            self.note(Source::Session);
        }
        match name {
            "@@version" => text(&format!("{VERSION}, cdcql {}", env!("CARGO_PKG_VERSION"))),
            "@@servername" => text(self.server_name()),
            "@@language" => text(Locale::current().language.name()),
            "@@spid" => Some((SqlType::SmallInt, Value::Int(self.facts.session_id))),
            "@@trancount" => int(self.facts.transactions),
            "@@rowcount" => int(self.facts.row_count),
            "@@error" => int(self.facts.error),
            "@@identity" => decimal(self.facts.identity),
            "@@microsoftversion" => int(0x1000_03e8),
            "@@max_precision" => Some((SqlType::TinyInt, Value::Int(38))),
            "@@datefirst" => {
                let first = Locale::current().first_day;
                Some((SqlType::TinyInt, Value::Int(first.into())))
            }
            "@@nestlevel" | "@@options" => int(0),
            "@@lock_timeout" => int(self.facts.lock_timeout),
            "@@textsize" => int(i64::from(i32::MAX)),
            _ => None,
        }
    }
}

fn redefined(database: &str) -> ServerError {
    ServerError::new(
        3961,
        format!(
            "Snapshot isolation transaction failed in database '{database}' because the object accessed by the statement has been modified by a DDL statement in another concurrent transaction since the start of this transaction.  It is disallowed because the metadata is not versioned. A concurrent update to metadata can lead to inconsistency if mixed with snapshot isolation."
        ),
    )
}

fn snapshot_forbidden(database: &str) -> ServerError {
    ServerError::new(
        3952,
        format!(
            "Snapshot isolation transaction failed accessing database '{database}' because snapshot isolation is not allowed in this database. Use ALTER DATABASE to allow snapshot isolation."
        ),
    )
}
