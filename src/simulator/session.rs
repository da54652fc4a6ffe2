//! One client's session: its current database, its transaction, its settings.

mod execute;
mod permissions;
mod procedures;
mod settings;
mod transaction;

use std::sync::Arc;

use tokio::sync::mpsc;

use super::behaviour::Chance;
use super::protocol::{Parameter, Reply, ServerError};
use super::script::Database;
use super::store::{Server, Table};
use super::tsql::batch::{Node, statements};
use super::tsql::lexer::{Token, tokens};
use super::tsql::normal::canonical;
use super::tsql::query::query;
use super::tsql::scope::{Facts, Scope, Variable};
use super::types::{Value, values_of};
use settings::Settings;
use transaction::Transaction;

/// Who logs in, and to what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Login {
    /// `@@SPID`.
    pub(crate) session_id: u16,
    /// The database; empty for the server's default one.
    pub(crate) database: String,
    /// The login's name.
    pub(crate) user: String,
    /// `APP_NAME()`.
    pub(crate) program: String,
    /// `HOST_NAME()`.
    pub(crate) host: String,
}

/// What one connection has of the server. Dropping it rolls back.
#[derive(Debug)]
pub struct Session {
    server: Arc<Server>,
    database: String,
    facts: Facts,
    settings: Settings,
    transaction: Option<Transaction>,
    /// What orders rows, unless they come as they were inserted.
    chance: Option<Chance>,
    /// The table variables of the running batch.
    table_variables: Vec<Arc<Table>>,
    /// A database that exists already and may be created again by the script that makes it.
    main: Option<String>,
}

/// Why a batch ends before its last statement.
enum Stop {
    /// Its client has gone.
    Gone,
    /// A statement failed.
    Failed(ServerError),
}

impl From<ServerError> for Stop {
    fn from(error: ServerError) -> Self {
        Self::Failed(error)
    }
}

/// What the statements of one batch share.
struct Batch<'a> {
    text: &'a str,
    variables: &'a [Variable],
    replies: &'a mpsc::Sender<Reply>,
}

impl Batch<'_> {
    async fn send(&self, reply: Reply) -> Result<(), Stop> {
        self.replies.send(reply).await.map_err(|_| Stop::Gone)
    }
}

impl Session {
    /// Opens a session; error 4060 for a database that does not exist.
    pub(crate) fn open(database: &Database, login: Login) -> Result<Self, ServerError> {
        let own = database
            .server
            .logins(|logins| logins.database(&login.user));
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
        Ok(Self {
            server: Arc::clone(&database.server),
            database: found.name().to_owned(),
            facts: Facts {
                session_id: login.session_id.into(),
                user: login.user,
                program: login.program,
                host: login.host,
                ..Facts::default()
            },
            settings: Settings::default(),
            transaction: None,
            chance: database.behaviour.chance(login.session_id),
            table_variables: Vec::new(),
            main: None,
        })
    }

    /// The name of the current database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Runs one SQL batch, or the text of one `sp_executesql` with its parameters, sending every reply
    /// in order. A statement's error is a [`Reply::Error`]; dropping the future cancels the batch.
    pub async fn run(
        &mut self,
        sql: &str,
        parameters: &[Parameter],
        replies: &mpsc::Sender<Reply>,
    ) {
        let prepared = tokens(sql).and_then(|tokens| Ok((tokens, variables(parameters)?)));
        match prepared {
            Ok((tokens, variables)) => {
                let batch = Batch {
                    text: sql,
                    variables: &variables,
                    replies,
                };
                self.run_batch(&tokens, &batch).await;
            }
            Err(error) => {
                self.facts.error = error.number.into();
                // A client that has gone needs no error.
                let _ = replies.send(Reply::Error(error)).await;
            }
        }
    }

    /// Runs a part of a script.
    pub(super) async fn run_tokens(
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
        self.run_batch(tokens, &batch).await;
    }

    /// Makes `CREATE DATABASE` of the script's own database succeed.
    pub(super) fn keep_main_database(&mut self, name: &str) {
        self.main = Some(name.to_owned());
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    async fn run_batch(&mut self, tokens: &[Token], batch: &Batch<'_>) {
        self.recover();
        self.table_variables.clear();
        let nodes = match statements(tokens) {
            Ok(nodes) => nodes,
            Err(error) => {
                let _ = batch.send(Reply::Error(error)).await;
                return;
            }
        };
        let mut first = true;
        for node in &nodes {
            if self.run_node(node, first, batch).await.is_err() {
                return;
            }
            first = false;
        }
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
            Err(Stop::Gone) => return Err(Stop::Gone),
            Err(Stop::Failed(error)) => error,
        };
        if error.line == 1 {
            error.line = tokens.first().map_or(1, |token| token.line);
        }
        self.facts.error = error.number.into();
        let ends = self.fail(&error);
        batch.send(Reply::Error(error.clone())).await?;
        if ends {
            Err(Stop::Failed(error))
        } else {
            Ok(None)
        }
    }

    /// What a query can see now, in whatever order.
    fn unordered(&mut self, batch: &Batch<'_>) -> Arc<Scope> {
        let order = self.chance.as_mut().map(Chance::next);
        self.scope_in(batch, order)
    }

    /// What a statement can see now, in the order of insertion.
    fn scope(&mut self, batch: &Batch<'_>) -> Arc<Scope> {
        self.scope_in(batch, None)
    }

    fn scope_in(&mut self, batch: &Batch<'_>, order: Option<u64>) -> Arc<Scope> {
        self.facts.transactions = self.depth();
        let given = self.given_states();
        let scope = Scope::new(
            Arc::clone(&self.server),
            &self.database,
            self.facts.clone(),
            batch.variables.to_vec(),
            given,
            self.settings.snapshot,
            order,
        );
        Arc::new(scope.with_table_variables(self.table_variables.clone()))
    }

    async fn holds(&mut self, condition: &[Token], batch: &Batch<'_>) -> Result<bool, Stop> {
        let mut all = tokens("SELECT CASE WHEN (")?;
        all.extend_from_slice(condition);
        all.extend(tokens(") THEN 1 ELSE 0 END")?);
        let scope = self.scope(batch);
        let mut rows = query(&all, &scope).await?;
        let row = rows.next().await?;
        let values = row.map(|row| values_of(row.column(0))).transpose()?;
        let value = values.and_then(|values| values.into_iter().next());
        Ok(value.and_then(|value| value.as_int()) == Some(1))
    }

    /// What the history keeps of a statement: its text, and its parameters' values.
    fn history_text(tokens: &[Token], batch: &Batch<'_>) -> String {
        let mut text = canonical(batch.text, tokens);
        for variable in batch.variables {
            let used = tokens.iter().any(|token| {
                matches!(&token.kind, super::tsql::lexer::Kind::Variable(name)
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
fn variables(parameters: &[Parameter]) -> Result<Vec<Variable>, ServerError> {
    parameters
        .iter()
        .enumerate()
        .map(|(position, parameter)| {
            let name = if parameter.name.is_empty() {
                format!("@p{}", position + 1)
            } else {
                parameter.name.to_lowercase()
            };
            let value = values_of(&parameter.value)?.into_iter().next();
            Ok(Variable {
                name,
                sql_type: parameter.sql_type,
                value: value.unwrap_or(Value::Null),
            })
        })
        .collect()
}
