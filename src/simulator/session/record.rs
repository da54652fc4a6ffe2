//! What a session's statements leave in the record of the script.

use std::sync::Arc;

use super::execute::statement;
use super::executor::{Batch, Executor};
use crate::simulator::capture::{Argument, Arguments};
use crate::simulator::protocol::{Collation, ServerError, SqlType};
use crate::simulator::record::{self, Recorded, Turn};
use crate::simulator::store::DatabaseCell;
use crate::simulator::tsql::asked::Source;
use crate::simulator::tsql::functions::server::session_fact;
use crate::simulator::tsql::lexer::{Kind, Token};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::tsql::security::{LoginCommand, change_logins};
use crate::simulator::tsql::system::parse_name;
use crate::simulator::types::Locale;

impl Executor {
    /// The statement with constants in place of what only its session knows, such as SCOPE_IDENTITY(); `None`
    /// where nothing is replaced, or nothing recorded.
    pub(super) fn resolved(&mut self, tokens: &[Token], batch: &Batch<'_>) -> Option<String> {
        self.asked.as_ref()?;
        let scope = self.scope(batch);
        let collation = scope.collation();
        let mut text = String::new();
        let mut written = tokens.first()?.start;
        let mut replaced = false;
        for at in 0..tokens.len() {
            let Some((constant, length)) = session_constant(tokens, at, &scope, collation) else {
                continue;
            };
            text.push_str(batch.text.get(written..tokens[at].start)?);
            text.push_str(&constant);
            written = tokens.get(at + length - 1)?.end;
            replaced = true;
        }
        text.push_str(batch.text.get(written..tokens.last()?.end)?);
        replaced.then_some(text)
    }

    /// Keeps a statement that has succeeded for the record, if there is one. `identity` says that the setting
    /// IDENTITY_INSERT has let it give a table's IDENTITY values.
    pub(super) fn record(
        &mut self,
        tokens: &[Token],
        batch: &Batch<'_>,
        identity: Option<i32>,
    ) -> Result<(), ServerError> {
        if self.asked.is_none() {
            return Ok(());
        }
        let reads = self.repeatable_reads()?;
        let mut text = record::statement(statement(tokens, batch), tokens, batch.variables)?;
        if self.locale() != Locale::default() {
            text = record::in_locale(&text, self.locale());
        }
        let database = self.database.clone();
        let write = self.writing()?;
        if let Some(table) = identity.and_then(|id| write.state().tables.get(&id)) {
            let parts = [write.database(), &table.schema, &table.name];
            let name = parts.map(record::quoted).join(".");
            text = record::explicit_identity(&text, &name);
        }
        write.recorded(Recorded::new(&database, text), reads)
    }

    /// The other databases that the statement has read, and how many commits it has seen of each; an error if
    /// it has asked for what a replay would answer otherwise.
    fn repeatable_reads(&mut self) -> Result<Vec<(Arc<DatabaseCell>, u64)>, ServerError> {
        let answers = match &self.asked {
            Some(asked) => asked.take(),
            None => return Ok(Vec::new()),
        };
        let server = Arc::clone(&self.server);
        let write = self.writing()?;
        let own = write.database().to_lowercase();
        let other = answers.sources.into_iter().find(|source| {
            // Where every commit is captured, so it is in a replay.
            *source != Source::Captured || !write.is_captured()
        });
        if let Some(source) = other {
            return Err(ServerError::unrecordable(format!(
                "it asks for {}, which a replay would not answer in the same way",
                source.name()
            )));
        }
        let mut reads = Vec::new();
        for (name, version) in answers.databases {
            if name != own {
                reads.extend(server.database(&name).map(|cell| (cell, version)));
            } else if version != write.base().version {
                return Err(ServerError::unrecordable(
                    "its transaction sees the database as it was before others have changed it",
                ));
            }
        }
        Ok(reads)
    }

    /// CREATE DATABASE of a database that the script does not make.
    pub(super) fn create_other_database(
        &mut self,
        name: &str,
        collation: Option<Collation>,
        written: &str,
    ) -> Result<(), ServerError> {
        let record = self.server.record();
        let mut turn = record.as_ref().map(|record| record.turn());
        let statement = Recorded::new(&self.database, written.to_owned());
        self.server
            .create(name, collation, || append(turn.as_mut(), statement))
    }

    /// DROP DATABASE.
    pub(super) fn remove_database(&self, name: &str, written: &str) -> Result<(), ServerError> {
        let record = self.server.record();
        let mut turn = record.as_ref().map(|record| record.turn());
        let statement = Recorded::new(&self.database, written.to_owned());
        self.server
            .remove(name, || append(turn.as_mut(), statement))
    }

    /// CREATE, ALTER and DROP LOGIN.
    pub(super) fn define_login(
        &mut self,
        command: &LoginCommand,
        written: &str,
    ) -> Result<(), ServerError> {
        let record = self.server.record();
        let mut turn = record.as_ref().map(|record| record.turn());
        let statement = Recorded::new(&self.database, written.to_owned());
        self.server.logins(|logins| {
            let mut changed = logins.clone();
            change_logins(&mut changed, command)?;
            append(turn.as_mut(), statement)?;
            *logins = changed;
            Ok(())
        })
    }

    /// Error 40510 for a call that changes what capture has written by the time it runs, where that is recorded.
    pub(super) fn permit_act(&self, arguments: &[Argument]) -> Result<(), ServerError> {
        let cleans = |argument: &Argument| {
            let job = argument.value.as_text();
            job.is_some_and(|job| job.eq_ignore_ascii_case("cleanup"))
        };
        if self.asked.is_some() && arguments.iter().any(cleans) {
            return Err(ServerError::unrecordable(
                "what the cleanup job deletes depends on what was captured by then; \
                 sp_cdc_cleanup_change_table can be recorded",
            ));
        }
        Ok(())
    }

    /// `sp_simulator_spent` of a script: IDENTITY values or row versions were given that are not given again.
    /// It is no statement that writes, and moves neither the clock nor the history.
    pub(super) async fn spend(&mut self, arguments: &[Argument]) -> Result<(), ServerError> {
        let parameters = &["table", "next_identity", "row_version"];
        let arguments = Arguments::bind(record::SPENT, parameters, arguments)?;
        let table = arguments.text("table")?;
        let next = arguments.int("next_identity")?;
        let version = arguments.int("row_version")?;
        let database = self.database.clone();
        self.take_seat(&database, self.settings.lock_timeout)
            .await?;
        let state = self.writing()?.state_mut();
        if let Some(text) = table {
            let name = parse_name(&text);
            let name = name.ok_or_else(|| ServerError::invalid_object(&text))?;
            let found = state.table(name.schema().unwrap_or("dbo"), name.object());
            let object_id = found.map(|table| table.object_id);
            let table = object_id.and_then(|id| state.table_mut(id));
            let table = table.ok_or_else(|| ServerError::invalid_object(&text))?;
            table.next_identity = next.or(table.next_identity);
        }
        if let Some(version) = version.and_then(|version| u64::try_from(version).ok()) {
            state.row_version = version;
        }
        if self.depth() == 0 {
            // A rollback keeps what was spent.
            self.transaction = None;
        }
        Ok(())
    }
}

/// Appends a statement that no transaction holds.
fn append(turn: Option<&mut Turn<'_>>, statement: Recorded) -> Result<(), ServerError> {
    match turn {
        Some(turn) => turn.append(&[statement], false),
        None => Ok(()),
    }
}

/// The constant for what begins at a token and only the session knows, and how many tokens it replaces: a
/// variable of the server's, a function without arguments, or a parameter that no argument can be.
fn session_constant(
    tokens: &[Token],
    at: usize,
    scope: &Scope,
    collation: Collation,
) -> Option<(String, usize)> {
    let (fact, length) = match &tokens[at].kind {
        Kind::Variable(name) => {
            let fact = scope.variable(name).ok()?;
            let replaced = name.starts_with("@@") || fact.0 == SqlType::SqlVariant;
            replaced.then_some((fact, 1))?
        }
        Kind::Word(name) => {
            let symbol = |at: usize, symbol| tokens.get(at).is_some_and(|t| t.symbol(symbol));
            let qualified = at > 0 && tokens[at - 1].symbol(".");
            if qualified || !symbol(at + 1, "(") || !symbol(at + 2, ")") {
                return None;
            }
            (session_fact(&name.to_lowercase(), scope)?, 3)
        }
        _ => return None,
    };
    let (sql_type, value) = fact;
    record::cast(&value, sql_type, collation).map(|constant| (constant, length))
}
