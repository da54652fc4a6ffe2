//! What runs the batches of a session, one after the other.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Login;
use super::compile::compile;
use super::settings::{Isolation, Settings};
use super::transaction::Transaction;
use crate::simulator::behaviour::Chance;
use crate::simulator::protocol::{Language, Parameter, Reply, ServerError, TransactionEvent};
use crate::simulator::script::Database;
use crate::simulator::store::{Server, State, Table, Visit};
use crate::simulator::tsql::asked::Asked;
use crate::simulator::tsql::batch::{Node, statements};
use crate::simulator::tsql::lexer::{Token, tokens};
use crate::simulator::tsql::normal::canonical;
use crate::simulator::tsql::query::query;
use crate::simulator::tsql::scope::{Facts, Scope, Variable};
use crate::simulator::types::{Locale, Value, values_of};

/// A session's state. It is used on one thread at a time; dropping it rolls back.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(super) server: Arc<Server>,
    pub(super) database: String,
    /// Its stay there; `None` where the database that it came back to was dropped.
    pub(super) visit: Option<Visit>,
    /// The database that it began in.
    home: String,
    /// The login's own language.
    native: Language,
    pub(super) facts: Facts,
    pub(super) settings: Settings,
    pub(super) transaction: Option<Transaction>,
    /// What the replica that is behind has, for the running batch of a session there.
    pub(super) replica: Option<Arc<State>>,
    /// What orders rows, unless they come as they were inserted.
    chance: Option<Chance>,
    /// The table variables of the running batch.
    pub(super) table_variables: Vec<Arc<Table>>,
    /// Transactions of more than one statement that the session has begun.
    pub(super) transactions: u64,
    /// What has become of them, and the client does not know yet.
    pub(super) events: Vec<TransactionEvent>,
    /// The settings and the place that come back when the call ends that is running, or was when it was
    /// cancelled; the innermost call of several is the last.
    outside: Vec<(Settings, String, Option<Visit>)>,
    /// A database that exists already and may be created again by the script that makes it.
    pub(super) main: Option<String>,
    /// Whether it runs a script.
    script: bool,
    /// Whether the last error has ended the transaction, and with it every batch that runs.
    pub(super) aborted: bool,
    /// What the running statement asks for, where statements are recorded.
    pub(super) asked: Option<Arc<Asked>>,
}

/// How far what a text sets reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// The session.
    Batch,
    /// The text itself.
    Call,
}

/// Why a batch ends before its last statement.
pub(super) enum Stop {
    /// Its client has gone.
    Gone,
    /// A statement failed.
    Failed(ServerError),
    /// A statement of a text that the batch calls failed, as its client knows; whether the batch ends with it.
    Told {
        /// Whether it does.
        ends: bool,
    },
}

impl From<ServerError> for Stop {
    fn from(error: ServerError) -> Self {
        Self::Failed(error)
    }
}

/// What the statements of one batch share.
pub(super) struct Batch<'a> {
    pub(super) text: &'a str,
    pub(super) variables: &'a [Variable],
    pub(super) replies: &'a mpsc::Sender<Reply>,
}

impl Batch<'_> {
    pub(super) async fn send(&self, reply: Reply) -> Result<(), Stop> {
        self.replies.send(reply).await.map_err(|_| Stop::Gone)
    }
}

impl Executor {
    /// Opens a session; error 4060 for a database that does not exist.
    pub(crate) fn open(database: &Database, login: Login) -> Result<Self, ServerError> {
        let (own, native) = database.server.logins(|logins| {
            let language = logins.language(&login.user);
            (logins.database(&login.user), language)
        });
        let name = if login.database.is_empty() {
            own.as_deref().unwrap_or(database.name())
        } else {
            &login.database
        };
        let found = database
            .server
            .database(name)
            .filter(|found| {
                let rights = database.server.rights(&login.user, &found.committed());
                rights.is_some()
            })
            .ok_or_else(|| ServerError::cannot_open_database(name))?;
        let is_on_replica = database.behaviour.lags(login.session_id, login.reads_only);
        Ok(Self {
            server: Arc::clone(&database.server),
            database: found.name().to_owned(),
            visit: Some(found.visit()),
            home: found.name().to_owned(),
            native,
            facts: Facts {
                session_id: login.session_id.into(),
                user: login.user,
                program: login.program,
                host: login.host,
                is_on_replica,
                ..Facts::default()
            },
            settings: Settings::of(native),
            transaction: None,
            replica: None,
            chance: database.behaviour.chance(login.session_id),
            table_variables: Vec::new(),
            transactions: 0,
            events: Vec::new(),
            outside: Vec::new(),
            main: None,
            script: false,
            aborted: false,
            asked: database.server.record().map(|_| Arc::default()),
        })
    }

    /// Takes back what was set, declared and used since the login; a transaction stays open.
    pub(super) fn reset(&mut self) {
        self.outside.clear();
        self.settings = Settings::of(self.native);
        self.table_variables.clear();
        self.home.clone_into(&mut self.database);
        self.visit = self.server.database(&self.home).map(|home| home.visit());
        self.facts = Facts {
            session_id: self.facts.session_id,
            user: std::mem::take(&mut self.facts.user),
            program: std::mem::take(&mut self.facts.program),
            host: std::mem::take(&mut self.facts.host),
            is_on_replica: self.facts.is_on_replica,
            ..Facts::default()
        };
    }

    /// The language that the session speaks.
    pub(super) fn language(&self) -> Language {
        self.settings.locale.language
    }

    /// What LANGUAGE, DATEFORMAT and DATEFIRST are.
    pub(super) fn locale(&self) -> Locale {
        self.settings.locale
    }

    /// The name of the current database.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// Runs one SQL batch, or the text of one `sp_executesql` with its parameters, sending every reply
    /// in order. A statement's error is a [`Reply::Error`]; dropping the future cancels the batch.
    pub(super) async fn run(
        &mut self,
        sql: &str,
        parameters: &[Parameter],
        replies: &mpsc::Sender<Reply>,
        extent: Extent,
    ) {
        self.outside.truncate(1);
        self.return_outside();
        self.settings.locale.enter();
        let is_on_replica = self.facts.is_on_replica;
        let read = is_on_replica.then(|| self.server.database(&self.database));
        self.replica = read.flatten().map(|database| database.seen_by_replica());
        let prepared = tokens(sql).and_then(|tokens| Ok((tokens, variables(parameters)?)));
        let (tokens, variables) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.facts.error = error.number.into();
                // A client that has gone needs no error.
                let _ = replies.send(Reply::Error(error)).await;
                return;
            }
        };
        let batch = Batch {
            text: sql,
            variables: &variables,
            replies,
        };
        // A client that has gone needs no more.
        let _ = match extent {
            Extent::Batch => self.run_batch(&tokens, &batch).await,
            Extent::Call => self.run_call(&tokens, &batch).await,
        };
    }

    /// Runs the text of a call.
    pub(super) async fn run_call(
        &mut self,
        tokens: &[Token],
        batch: &Batch<'_>,
    ) -> Result<(), Stop> {
        self.recover();
        let before = self.depth();
        let (database, visit) = (self.database.clone(), self.visit.clone());
        self.outside.push((self.settings.clone(), database, visit));
        let ended = self.run_batch(tokens, batch).await;
        let (old, spoken) = (self.database.clone(), self.language());
        let implicit = self.settings.implicit;
        self.return_outside();
        self.settings.locale.enter();
        if spoken != self.language() {
            let (old, new) = (spoken, self.language());
            batch.send(Reply::Language { old, new }).await?;
        }
        if old != self.database {
            let new = self.database.clone();
            batch.send(Reply::Database { old, new }).await?;
        }
        ended?;
        let now = self.depth();
        if now != before && !implicit {
            self.facts.error = 266;
            let error = mismatch(before, now);
            batch.send(Reply::Error(error)).await?;
        }
        Ok(())
    }

    /// Undoes what a batch has left that did not come to its end; with XACT_ABORT the transaction, if it was
    /// interrupted.
    pub(super) fn leave(&mut self, interrupted: bool) {
        self.recover();
        if interrupted && self.settings.abort_transaction {
            self.abandon();
        }
        self.return_outside();
    }

    /// Takes the settings and the database back that a call has changed for itself.
    fn return_outside(&mut self) {
        if let Some((settings, database, visit)) = self.outside.pop() {
            (self.settings, self.database, self.visit) = (settings, database, visit);
        }
    }

    /// Tells the client what has become of its transactions.
    pub(super) async fn tell(&mut self, batch: &Batch<'_>) -> Result<(), Stop> {
        for event in std::mem::take(&mut self.events) {
            batch.send(Reply::Transaction(event)).await?;
        }
        Ok(())
    }

    /// Runs a part of a script.
    pub(crate) async fn run_tokens(
        &mut self,
        text: &str,
        tokens: &[Token],
        replies: &mpsc::Sender<Reply>,
    ) {
        let batch = Batch {
            text,
            variables: &[],
            replies,
        };
        self.settings.locale.enter();
        // The errors are among the replies.
        let _ = self.run_batch(tokens, &batch).await;
    }

    /// Makes `CREATE DATABASE` of the script's own database succeed.
    pub(crate) fn keep_main_database(&mut self, name: &str) {
        self.main = Some(name.to_owned());
        self.script = true;
    }

    /// Whether it runs a script.
    pub(super) fn is_script(&self) -> bool {
        self.script
    }

    /// How many calls are within each other.
    pub(super) fn calls(&self) -> usize {
        self.outside.len()
    }

    /// What has been set that a statement of a record would feel; `None` if nothing was.
    pub(crate) fn leaves_set(&self) -> Option<&'static str> {
        self.settings.felt()
    }

    /// Whether a transaction is open.
    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Runs a batch, which is read as a whole before any of it runs. What it comes to is told.
    async fn run_batch(&mut self, tokens: &[Token], batch: &Batch<'_>) -> Result<(), Stop> {
        self.recover();
        self.table_variables.clear();
        let read = statements(tokens).and_then(|nodes| {
            compile(&nodes, batch.variables, self.server.collation())?;
            Ok(nodes)
        });
        let nodes = match read {
            Ok(nodes) => nodes,
            Err(error) => {
                self.facts.error = error.number.into();
                batch.send(Reply::Error(error.clone())).await?;
                return Err(Stop::Failed(error));
            }
        };
        let mut first = true;
        for node in &nodes {
            self.run_node(node, first, batch).await?;
            first = false;
        }
        Ok(())
    }

    /// Runs a statement or a block. An error is sent to the client; it ends the batch if it is one that
    /// does so in SQL Server.
    fn run_node<'a>(
        &'a mut self,
        node: &'a Node<'a>,
        first: bool,
        batch: &'a Batch<'a>,
    ) -> futures::future::BoxFuture<'a, Result<(), Stop>> {
        Box::pin(async move {
            match node {
                Node::Block(nodes) => {
                    for node in nodes {
                        self.run_node(node, false, batch).await?;
                    }
                    Ok(())
                }
                Node::If {
                    condition,
                    then,
                    otherwise,
                } => {
                    let holds = self.holds(condition, batch).await;
                    match self.handled(holds, condition, batch).await? {
                        Some(true) => self.run_node(then, false, batch).await,
                        Some(false) => match otherwise {
                            Some(otherwise) => self.run_node(otherwise, false, batch).await,
                            None => Ok(()),
                        },
                        None => Ok(()),
                    }
                }
                Node::Statement(tokens) => {
                    let done = self.execute(tokens, first, batch).await;
                    self.handled(done, tokens, batch).await.map(|_| ())
                }
            }
        })
    }

    /// Sends a statement's error; `Ok(None)` if the batch goes on after it.
    async fn handled<T>(
        &mut self,
        result: Result<T, Stop>,
        tokens: &[Token],
        batch: &Batch<'_>,
    ) -> Result<Option<T>, Stop> {
        let mut error = match result {
            Ok(done) => {
                self.facts.error = 0;
                return Ok(Some(done));
            }
            Err(Stop::Told { ends: false }) => return Ok(None),
            Err(stop @ (Stop::Gone | Stop::Told { .. })) => return Err(stop),
            Err(Stop::Failed(error)) => error,
        };
        if error.line == 1 {
            error.line = tokens.first().map_or(1, |token| token.line);
        }
        self.facts.error = error.number.into();
        let ends = self.fail(&error);
        self.tell(batch).await?;
        batch.send(Reply::Error(error.clone())).await?;
        if ends {
            Err(Stop::Failed(error))
        } else {
            Ok(None)
        }
    }

    /// What a query can see now, in whatever order; with `live` also what is committed while it runs, if the
    /// isolation level lets it.
    pub(super) fn unordered(&mut self, batch: &Batch<'_>, live: bool) -> Arc<Scope> {
        let order = self.chance.as_mut().map(Chance::next);
        let live = live && !self.settings.isolation.is_repeatable();
        Arc::new(self.scope_in(batch, order).live(live))
    }

    /// What a statement can see now, in the order of insertion.
    pub(super) fn scope(&mut self, batch: &Batch<'_>) -> Arc<Scope> {
        Arc::new(self.scope_in(batch, None))
    }

    fn scope_in(&mut self, batch: &Batch<'_>, order: Option<u64>) -> Scope {
        self.facts.transactions = self.depth();
        self.facts.lock_timeout = self.settings.lock_timeout_set;
        let given = self.given_states();
        let scope = Scope::new(
            Arc::clone(&self.server),
            &self.database,
            self.facts.clone(),
            batch.variables.to_vec(),
            given,
            self.settings.isolation == Isolation::Snapshot,
            order,
        );
        scope
            .with_table_variables(self.table_variables.clone())
            .noted(self.asked.clone())
    }

    async fn holds(&mut self, condition: &[Token], batch: &Batch<'_>) -> Result<bool, Stop> {
        let mut all = tokens("SELECT CASE WHEN (")?;
        all.extend_from_slice(condition);
        all.extend(tokens(") THEN 1 ELSE 0 END")?);
        self.wait_to_read(&all).await?;
        let scope = self.scope(batch);
        let mut rows = query(&all, &scope).await?;
        let row = rows.next().await?;
        let values = row.map(|row| values_of(row.column(0))).transpose()?;
        let value = values.and_then(|values| values.into_iter().next());
        Ok(value.and_then(|value| value.as_int()) == Some(1))
    }

    /// What the history keeps of a statement: its text, and its parameters' values.
    pub(super) fn history_text(tokens: &[Token], batch: &Batch<'_>) -> String {
        let mut text = canonical(batch.text, tokens);
        for variable in batch.variables {
            let used = tokens.iter().any(|token| {
                matches!(&token.kind, crate::simulator::tsql::lexer::Kind::Variable(name)
                    if name.to_lowercase() == variable.name)
            });
            if used {
                text.push_str(&format!("\n{} = {:?}", variable.name, variable.value));
            }
        }
        text
    }
}

/// The batch's parameters; those without a name are @P1, @P2 and so on.
pub(super) fn variables(parameters: &[Parameter]) -> Result<Vec<Variable>, ServerError> {
    parameters
        .iter()
        .enumerate()
        .map(|(position, parameter)| {
            let declared = if parameter.name.is_empty() {
                format!("@p{}", position + 1)
            } else {
                parameter.name.clone()
            };
            let value = values_of(&parameter.value)?.into_iter().next();
            Ok(Variable {
                name: declared.to_lowercase(),
                declared,
                sql_type: parameter.sql_type,
                value: value.unwrap_or(Value::Null),
            })
        })
        .collect()
}

/// Error 266, after a call.
fn mismatch(before: i64, now: i64) -> ServerError {
    let mut error = ServerError::new(
        266,
        format!(
            "Transaction count after EXECUTE indicates a mismatching number of BEGIN and COMMIT statements. Previous count = {before}, current count = {now}."
        ),
    );
    error.state = 2;
    error
}
