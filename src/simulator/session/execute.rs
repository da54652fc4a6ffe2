//! Statements, one by one.

use std::sync::Arc;
use std::time::Duration;

use super::call::{argument, is_execute_sql};
use super::executor::{Batch, Executor, Stop};
use crate::simulator::capture::{Argument, Procedure, procedure};
use crate::simulator::protocol::{Collation, Language, Reply, ServerError};
use crate::simulator::record;
use crate::simulator::store::Write;
use crate::simulator::tsql::alter::{Alteration, alter_table};
use crate::simulator::tsql::changes::{Change, apply, effect};
use crate::simulator::tsql::command::{Command, ExecArgument, command};
use crate::simulator::tsql::computed::resolve;
use crate::simulator::tsql::cursor::ObjectName;
use crate::simulator::tsql::ddl::Elements;
use crate::simulator::tsql::definitions;
use crate::simulator::tsql::lexer::{self, Kind, Token, tokens};
use crate::simulator::tsql::normal::table_hints;
use crate::simulator::tsql::protection::protect;
use crate::simulator::tsql::query::query;
use crate::simulator::tsql::rename::rename;
use crate::simulator::tsql::scope::{Relation, Scope};
use crate::simulator::tsql::security::change_principals;
use crate::simulator::types::{Value, text_of, values_of};

/// What the hints of a statement's tables ask for.
struct Hints {
    /// To keep others from writing.
    excludes: bool,
    /// To keep what was read as it is until the transaction ends.
    holds: bool,
    /// To keep what is read as it is until the statement ends.
    shares: bool,
    /// To wait for others.
    waits: bool,
}

/// Characters of a transaction's or savepoint's name at most.
const TRANSACTION_NAME: usize = 32;

impl Executor {
    /// Runs one statement.
    pub(super) async fn execute(
        &mut self,
        tokens: &[Token],
        first: bool,
        batch: &Batch<'_>,
    ) -> Result<(), Stop> {
        let command = command(tokens, first)?;
        match command {
            Command::Query(tokens) => return self.select(tokens, batch).await,
            Command::Change(tokens) => return self.change_resolved(tokens, batch).await,
            Command::Execute(name, arguments) if is_execute_sql(&name) => {
                return self.execute_sql(&arguments, batch).await;
            }
            Command::Execute(name, arguments) => {
                let arguments = self.arguments(&arguments, batch)?;
                if self.is_script() && name.object().eq_ignore_ascii_case(record::SPENT) {
                    self.spend(&arguments).await?;
                    return self.done(None, batch).await;
                }
                if let Some(answered) = self.answered(&name, &arguments, batch)? {
                    return self.send_answer(answered, batch).await;
                }
                self.call(&name, &arguments, tokens, batch).await?;
            }
            Command::Print(expression) => return self.print(expression, batch).await,
            Command::InsertExecute(insert) => return self.insert_execute(&insert, batch).await,
            Command::DeclareTable(name, elements) => self.declare_table(&name, &elements)?,
            Command::Use(name) => return self.use_database(&name, batch).await,
            Command::Set(rest) => {
                let old = self.language();
                self.settings.set(rest)?;
                self.settings.locale.enter();
                self.tell_language(old, batch).await?;
            }
            Command::Begin(name) => {
                let name = name
                    .map(|name| self.transaction_name(name, batch))
                    .transpose()?;
                self.begin(name);
            }
            Command::Commit => self.commit()?,
            Command::Rollback(None) => self.roll_back()?,
            Command::Rollback(Some(name)) => {
                let name = self.transaction_name(name, batch)?;
                self.roll_back_to(&name)?;
            }
            Command::Save(name) => {
                let name = self.transaction_name(name, batch)?;
                self.save(&name)?;
            }
            Command::CreateDatabase(name, collation) => {
                self.permit_server(|| {
                    ServerError::permission_denied_in("CREATE DATABASE", "master")
                })?;
                self.create_database(&name, collation, statement(tokens, batch))?;
            }
            Command::DropDatabase { name, if_exists } => {
                self.drop_database(&name, if_exists, statement(tokens, batch))?;
            }
            Command::Login(login) => {
                self.permit_server(ServerError::not_permitted)?;
                self.define_login(&login, statement(tokens, batch))?;
            }
            definition => self.define(&definition, tokens, batch).await?,
        }
        self.done(None, batch).await
    }

    /// The name of a transaction or savepoint, which a variable may have; 103 if it is too long.
    fn transaction_name(&mut self, name: &Token, batch: &Batch<'_>) -> Result<String, ServerError> {
        let name = match &name.kind {
            Kind::Variable(variable) => {
                let value = self.scope(batch).variable(variable)?.1;
                value.as_text().unwrap_or_default().to_owned()
            }
            _ => name.name().unwrap_or_default().to_owned(),
        };
        if name.encode_utf16().count() > TRANSACTION_NAME {
            return Err(ServerError::new(
                103,
                format!(
                    "The identifier that starts with '{name}' is too long. Maximum length is {TRANSACTION_NAME}."
                ),
            ));
        }
        Ok(name)
    }

    pub(super) async fn done(&mut self, rows: Option<u64>, batch: &Batch<'_>) -> Result<(), Stop> {
        self.tell(batch).await?;
        if let Some(rows) = rows {
            self.facts.row_count = i64::try_from(rows).unwrap_or(i64::MAX);
        }
        let reply = Reply::Done {
            rows: rows.filter(|_| !self.settings.no_count),
            select: false,
        };
        batch.send(reply).await
    }

    async fn select(&mut self, tokens: &[Token], batch: &Batch<'_>) -> Result<(), Stop> {
        let held = self.lock(tokens).await?;
        self.wait_to_read(tokens).await?;
        // Rows that are counted in an order are taken as an index has them, at one instant.
        let scope = match tokens.iter().any(|token| token.is("OFFSET")) {
            true => self.scope(batch),
            false => self.unordered(batch, !held),
        };
        let mut rows = Box::pin(query(tokens, &scope)).await?;
        self.tell(batch).await?;
        batch
            .send(Reply::Columns(Arc::clone(rows.columns())))
            .await?;
        let mut count: u64 = 0;
        while let Some(some) = rows.next().await? {
            if some.num_rows() > 0 {
                count += some.num_rows() as u64;
                batch.send(Reply::Rows(some)).await?;
            }
        }
        self.recover();
        self.facts.row_count = i64::try_from(count).unwrap_or(i64::MAX);
        let reply = Reply::Done {
            rows: (!self.settings.no_count).then_some(count),
            select: true,
        };
        batch.send(reply).await
    }

    /// What a query does to others before it reads: it may begin a transaction, wait for the one that
    /// writes, keep others from writing, or keep what it reads as it is. Whether it reads one instant, since
    /// nobody else may change meanwhile what it locks.
    async fn lock(&mut self, tokens: &[Token]) -> Result<bool, ServerError> {
        if tokens.iter().any(|token| token.is("FROM")) {
            self.begin_implicitly();
        }
        let hints = self.hints(tokens)?;
        if self.facts.only_reads(&self.database) {
            // A replica is read from versions of rows, whatever the hints say.
            return Ok(false);
        }
        if hints.excludes {
            let wait = if hints.waits {
                self.settings.lock_timeout
            } else {
                Duration::ZERO
            };
            let database = self.database.clone();
            self.take_seat(&database, wait).await?;
        } else if hints.holds {
            self.hold();
        }
        Ok(hints.excludes || hints.holds || hints.shares)
    }

    /// What the hints of a statement ask for, if it can be done.
    fn hints(&self, tokens: &[Token]) -> Result<Hints, ServerError> {
        let hints = table_hints(tokens)?;
        let has = |wanted: &[&str]| hints.iter().any(|hint| wanted.contains(&hint.as_str()));
        let hints = Hints {
            excludes: has(&["UPDLOCK", "XLOCK", "TABLOCKX"]),
            holds: has(&["HOLDLOCK", "SERIALIZABLE", "REPEATABLEREAD"]),
            shares: has(&["TABLOCK"]),
            waits: !has(&["NOWAIT"]),
        };
        if hints.excludes || hints.holds && self.depth() > 0 {
            self.check_locked(tokens)?;
        }
        Ok(hints)
    }

    /// Error 40510 where a statement with a lock hint names another database: only what belongs to the
    /// current one is locked.
    fn check_locked(&self, tokens: &[Token]) -> Result<(), ServerError> {
        let other = tokens.windows(2).find(|pair| {
            let name = pair[0].name().filter(|_| pair[1].symbol("."));
            name.is_some_and(|name| {
                name.to_lowercase() != self.database.to_lowercase()
                    && self.server.database(name).is_some()
            })
        });
        match other {
            Some(pair) => Err(ServerError::unsupported(
                "a lock hint in a statement that names another database",
            )
            .at_line(pair[0].line)),
            None => Ok(()),
        }
    }

    /// INSERT, UPDATE, DELETE; one that is recorded says itself what only its session knows.
    async fn change_resolved(&mut self, tokens: &[Token], batch: &Batch<'_>) -> Result<(), Stop> {
        let Some(text) = self.resolved(tokens, batch) else {
            return self.change(tokens, batch).await;
        };
        let mut resolved = lexer::tokens(&text)?;
        let before = tokens.first().map_or(1, |token| token.line) - 1;
        resolved.iter_mut().for_each(|token| token.line += before);
        let batch = Batch {
            text: &text,
            variables: batch.variables,
            replies: batch.replies,
        };
        self.change(&resolved, &batch).await
    }

    /// INSERT, UPDATE, DELETE.
    async fn change(&mut self, tokens: &[Token], batch: &Batch<'_>) -> Result<(), Stop> {
        let change = Change::parse(tokens, &self.database)?;
        self.hints(tokens)?;
        let named = change.name().database();
        let database = named.unwrap_or(&self.database).to_owned();
        self.permit_change(&change, &database)?;
        self.check_filters(&change, &database)?;
        let text = Self::history_text(tokens, batch);
        self.start_writing(&database, &text).await?;
        // What was allowed before the wait for the seat may be so no longer.
        self.permit_change(&change, &database)?;
        self.wait_to_read(tokens).await?;
        if change.is_of_capture() {
            self.writing()?.define_capture()?;
        }
        let scope = self.scope(batch);
        let explicit = self.explicit_identity(&scope);
        let effect = Box::pin(effect(change, &scope, explicit)).await?;
        self.check_conflict(effect.object_id())?;
        let explicit = explicit.filter(|table| *table == effect.object_id());
        self.record(tokens, batch, explicit)?;
        let done = apply(effect, self.writing()?)?;
        self.finish_writing()?;
        self.facts.identity = done.identity.or(self.facts.identity);
        self.done(Some(done.rows), batch).await
    }

    fn explicit_identity(&self, scope: &Scope) -> Option<i32> {
        let name = self.settings.identity_insert.as_ref()?;
        match scope.relation(name) {
            Ok(Relation::Table(table)) => Some(table.object_id),
            _ => None,
        }
    }

    /// A statement that defines something.
    async fn define(
        &mut self,
        command: &Command<'_>,
        tokens: &[Token],
        batch: &Batch<'_>,
    ) -> Result<(), Stop> {
        let database = match command {
            Command::CreateTable(name, _)
            | Command::AlterTable(name, _)
            | Command::CreateIndex(name, _)
            | Command::Truncate(name) => name.database(),
            Command::CreateType(name, ..) | Command::DropType { name, .. } => name.database(),
            Command::AlterDatabase { name, .. } => name.as_deref(),
            Command::DropTables { names, .. } => self.one_database(names)?,
            _ => None,
        };
        let database = database.unwrap_or(&self.database).to_owned();
        self.permit_definition(command, &database)?;
        let text = Self::history_text(tokens, batch);
        self.start_writing(&database, &text).await?;
        self.check_definition_conflict()?;
        if matches!(
            command,
            Command::AlterTable(..) | Command::CreateIndex(..) | Command::DropTables { .. }
        ) {
            self.check_snapshot_definition()?;
        }
        let elements = self.elements(command, batch).await?;
        let server = Arc::clone(&self.server);
        let defaults = match command {
            Command::AlterTable(_, Alteration::Add(_)) => {
                let scope = self.scope(batch);
                crate::simulator::tsql::changes::defaults(&elements.columns, &scope).await?
            }
            _ => Vec::new(),
        };
        let write = self.writing()?;
        match command {
            Command::CreateTable(name, _) => {
                definitions::create_table(write, name, &elements)?;
            }
            Command::AlterTable(name, alteration) => {
                let added = Alteration::Add(elements);
                let alteration = match alteration {
                    Alteration::Add(_) => &added,
                    other => other,
                };
                alter_table(write, name, alteration, &defaults, statement(tokens, batch))?;
            }
            Command::CreateIndex(name, key) => {
                definitions::create_index(write, name, key.as_ref())?;
            }
            Command::DropTables { names, if_exists } => {
                for name in names {
                    definitions::drop_table(write, name, *if_exists)?;
                }
            }
            Command::Truncate(name) => definitions::truncate(write, name)?,
            Command::Principal(command) => change_principals(write, &server, command)?,
            Command::CreateType(name, sql_type, nullable) => {
                definitions::create_type(write, name, *sql_type, *nullable)?;
            }
            Command::DropType { name, if_exists } => {
                definitions::drop_type(write, name, *if_exists)?;
            }
            Command::CreateSchema(name) => definitions::create_schema(write, name)?,
            Command::Protect(protection) => protect(write, protection)?,
            Command::AlterDatabase { option, on, .. } => {
                definitions::alter_database(write, option, *on)?;
            }
            _ => return Err(ServerError::unsupported("this statement").into()),
        }
        self.record(tokens, batch, None)?;
        self.finish_writing()?;
        Ok(())
    }

    /// The database that some names have in front, if it is not the current one for all of them.
    fn one_database<'a>(&self, names: &'a [ObjectName]) -> Result<Option<&'a str>, ServerError> {
        let database = |name: &'a ObjectName| name.database();
        let of = |name: &'a ObjectName| database(name).unwrap_or(&self.database).to_lowercase();
        let Some((first, rest)) = names.split_first() else {
            return Ok(None);
        };
        if rest.iter().any(|name| of(name) != of(first)) {
            return Err(ServerError::unsupported("DROP TABLE in several databases"));
        }
        Ok(database(first))
    }

    /// The columns and keys that a statement adds, with the types of computed columns.
    async fn elements(
        &mut self,
        command: &Command<'_>,
        batch: &Batch<'_>,
    ) -> Result<Elements, ServerError> {
        let scope = self.scope(batch);
        let (mut elements, existing) = match command {
            Command::CreateTable(_, elements) => (elements.clone(), None),
            Command::AlterTable(name, Alteration::Add(elements)) => {
                (elements.clone(), scope.table(name).ok())
            }
            _ => return Ok(Elements::default()),
        };
        let existing = existing.as_ref().map_or(&[][..], |table| &table.columns);
        resolve(&mut elements.columns, existing, &scope).await?;
        Ok(elements)
    }

    fn create_database(
        &mut self,
        name: &str,
        collation: Option<Collation>,
        written: &str,
    ) -> Result<(), ServerError> {
        if self.depth() > 0 {
            return Err(ServerError::new(
                226,
                "CREATE DATABASE statement not allowed within multi-statement transaction.",
            ));
        }
        let main = self.main.take_if(|main| main.eq_ignore_ascii_case(name));
        match main.and_then(|main| self.server.database(&main)) {
            Some(database) => {
                let collation = collation.unwrap_or(self.server.collation());
                database.amend(|state| state.collation = collation);
                Ok(())
            }
            None => self.create_other_database(name, collation, written),
        }
    }

    fn drop_database(&self, name: &str, if_exists: bool, written: &str) -> Result<(), ServerError> {
        if self.depth() > 0 {
            return Err(ServerError::new(
                574,
                "DROP DATABASE statement cannot be used inside a user transaction.",
            ));
        }
        match self.server.database(name) {
            None if if_exists => return Ok(()),
            Some(_) if !self.rights(name).is_ok_and(|rights| rights.is_owner()) => {
                return Err(ServerError::cannot_drop("database", name));
            }
            _ => {}
        }
        self.remove_database(name, written)
    }

    async fn use_database(&mut self, name: &str, batch: &Batch<'_>) -> Result<(), Stop> {
        let found = self
            .server
            .database(name)
            .ok_or_else(|| ServerError::unknown_database(name))?;
        self.rights(found.name())?;
        let new = found.name().to_owned();
        let old = std::mem::replace(&mut self.database, new.clone());
        self.visit = Some(found.visit());
        batch
            .send(Reply::Database {
                old,
                new: new.clone(),
            })
            .await?;
        let mut message = ServerError::new(5701, format!("Changed database context to '{new}'."));
        message.severity = 0;
        message.state = 2;
        batch.send(Reply::Info(message)).await?;
        self.done(None, batch).await
    }

    /// Tells the client of another language.
    async fn tell_language(&self, old: Language, batch: &Batch<'_>) -> Result<(), Stop> {
        let new = self.language();
        if new == old {
            return Ok(());
        }
        batch.send(Reply::Language { old, new }).await?;
        let mut message =
            ServerError::new(5703, format!("Changed language setting to {}.", new.name()));
        message.severity = 0;
        batch.send(Reply::Info(message)).await
    }

    async fn print(&mut self, expression: &[Token], batch: &Batch<'_>) -> Result<(), Stop> {
        let mut all = tokens("SELECT")?;
        all.extend_from_slice(expression);
        self.wait_to_read(&all).await?;
        let scope = self.scope(batch);
        let mut rows = Box::pin(query(&all, &scope)).await?;
        let sql_type = rows.columns().first().map(|column| column.sql_type);
        let value = match rows.next().await? {
            Some(row) => values_of(row.column(0))?.into_iter().next(),
            None => None,
        };
        let text = value
            .zip(sql_type)
            .and_then(|(value, sql_type)| text_of(&value, sql_type, 0))
            .unwrap_or_default();
        let mut message = ServerError::new(0, text);
        message.severity = 0;
        batch.send(Reply::Info(message)).await?;
        self.done(None, batch).await
    }

    /// EXEC.
    async fn call(
        &mut self,
        name: &ObjectName,
        arguments: &[Argument],
        tokens: &[Token],
        batch: &Batch<'_>,
    ) -> Result<(), Stop> {
        let procedure = if name.object().eq_ignore_ascii_case("sp_rename") {
            Procedure::Change(rename)
        } else {
            procedure(name.object())
                .ok_or_else(|| ServerError::unknown_procedure(&name.to_string()))?
        };
        let database = name.database().unwrap_or(&self.database).to_owned();
        self.permit_procedure(name.object(), &database)?;
        let (run, defines) = match procedure {
            Procedure::Define(run) => (run, true),
            Procedure::Change(run) => (run, false),
            Procedure::Act(run) => {
                self.permit_act(arguments)?;
                self.permit_write(&database)?;
                let cell = self.server.database(&database);
                let cell = cell.ok_or_else(|| ServerError::unknown_database(&database))?;
                return Ok(run(&cell, arguments)?);
            }
            // It was answered before.
            Procedure::Report(_) => return Ok(()),
        };
        let text = Self::history_text(tokens, batch);
        self.start_writing(&database, &text).await?;
        let write: &mut Write = self.writing()?;
        if defines {
            write.define_capture()?;
        }
        run(write, arguments)?;
        self.record(tokens, batch, None)?;
        self.finish_writing()?;
        Ok(())
    }
}

/// A statement as it was written.
pub(super) fn statement<'a>(tokens: &[Token], batch: &Batch<'a>) -> &'a str {
    let start = tokens.first().map_or(0, |token| token.start);
    let end = tokens.last().map_or(start, |token| token.end);
    batch.text.get(start..end).unwrap_or_default()
}

/// The values of EXEC's arguments.
pub(super) fn argument_values(
    arguments: &[ExecArgument],
    scope: &Scope,
) -> Result<Vec<Argument>, ServerError> {
    arguments
        .iter()
        .map(|argument| {
            Ok(Argument {
                name: argument.name.clone(),
                value: argument_value(&argument.value, scope)?,
            })
        })
        .collect()
}

/// The value of an argument of EXEC: a constant, a variable, or a bare word, which is a text.
fn argument_value(tokens: &[Token], scope: &Scope) -> Result<Value, ServerError> {
    Ok(argument(tokens, scope)?.1)
}
