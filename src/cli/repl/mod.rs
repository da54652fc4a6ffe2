//! The REPL: one session over SQL Server and Delta, statement by statement.

mod command;
mod complete;
mod describe;
mod input;
mod lines;
mod names;
mod scope;

use std::io::{IsTerminal, stdin};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use clap::ValueEnum as _;

use self::command::{Command, HELP};
use self::input::{Input, Line};
use self::names::Names;
use self::scope::Scope;
use super::output::{print_error, tell};
use super::rows::{Out, Printer, RowFormat};
use super::run::Manner;
use super::session::{Session, changes_scope, is_query, readable};
use super::signals;
use crate::error::Error;
use crate::sql::Statement;

/// What the REPL holds between two lines.
struct Repl {
    session: Session,
    printer: Printer,
    names: Arc<Names>,
    scope: Scope,
    /// The definitions that were typed, in that order.
    typed: Vec<Statement>,
    is_timed: bool,
}

/// Whether the REPL reads another line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Line,
    Nothing,
}

/// Reads statements and commands until end of file, and prints what each answers; an error does not end it.
pub(super) async fn run(pipeline: Option<&Path>, manner: Manner<'_>) -> Result<(), Error> {
    let session = Session::try_new(manner)?.of_a_person();
    let names = Arc::new(Names::new(session.engine.clone()));
    let mut repl = Repl {
        session,
        printer: Printer::try_new(RowFormat::default(), Out::paged())?,
        names: Arc::clone(&names),
        scope: Scope::default(),
        typed: Vec::new(),
        is_timed: false,
    };
    if let Some(pipeline) = pipeline {
        let statements = repl.session.load(pipeline).await?;
        repl.scope.add(pipeline, &statements);
    }
    if stdin().is_terminal() && !manner.quiet {
        let version = env!("CARGO_PKG_VERSION");
        tell!("cdcql {version}; statements end with ';', \\? tells the commands, Ctrl-D leaves");
    }
    let mut input = Input::open(names)?;
    let is_ending = signals::termination();
    loop {
        if is_ending.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        repl.names.keep_flows(repl.scope.flows());
        let line = match input.next().await? {
            Line::Text(line) => line,
            Line::Dropped => continue,
            Line::End => break,
        };
        let begun = Instant::now();
        let done = tokio::select! {
            // A result that is printed gives way to nobody else.
            biased;
            _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
            done = repl.answer(&line, manner) => done,
        };
        match done {
            Ok(Next::Nothing) => break,
            Ok(Next::Line) => {}
            Err(Error::Interrupted) if !input.is_terminal() => return Err(Error::Interrupted),
            Err(error) => {
                if matches!(error, Error::Interrupted) {
                    input.forget_pasted();
                }
                repl.printer.abandon()?;
                print_error(&error);
            }
        }
        if repl.is_timed {
            tell!("time: {:.3} s", begun.elapsed().as_secs_f64());
        }
    }
    repl.printer.finish()
}

impl Repl {
    /// Executes a command, or the statements of a text.
    async fn answer(&mut self, text: &str, manner: Manner<'_>) -> Result<Next, Error> {
        match Command::of(text) {
            None => self.execute(text).await?,
            Some(Ok(Command::Quit)) => return Ok(Next::Nothing),
            Some(Ok(command)) => Box::pin(self.command(command, manner)).await?,
            Some(Err(message)) => tell!("error: {message}"),
        }
        Ok(Next::Line)
    }

    async fn execute(&mut self, text: &str) -> Result<(), Error> {
        let parsed = self.session.parse("input".to_string(), text.to_string());
        for statement in readable(parsed)? {
            let printer = &mut self.printer;
            self.session
                .execute_statement(&statement, None, printer)
                .await?;
            self.names.forget_columns();
            if changes_scope(&statement) {
                self.typed.push(statement);
            }
        }
        Ok(())
    }

    async fn command(&mut self, command: Command, manner: Manner<'_>) -> Result<(), Error> {
        match command {
            Command::Quit => Ok(()),
            Command::Help => self.printer.line(HELP.trim_end()),
            Command::Describe(None) => self.list_tables().await,
            Command::Describe(Some(name)) => self.describe(&name).await,
            Command::Connections => self.list_connections().await,
            Command::Schemas => self.list_schemas().await,
            Command::Functions(pattern) => self.list_functions(pattern.as_deref()).await,
            Command::Lag => self.scope.lag(&self.session, &mut self.printer).await,
            Command::Plan(flow) => self.plan(flow).await,
            Command::Run(flow) => self.scope.run(&self.session, manner, flow).await,
            Command::Timing(on) => {
                self.is_timed = on.unwrap_or(!self.is_timed);
                say("timing", self.is_timed);
                Ok(())
            }
            Command::Expanded(on) => {
                self.printer.expanded = on.unwrap_or(!self.printer.expanded);
                say("expanded display", self.printer.expanded);
                Ok(())
            }
            Command::Format(name) => self.format(name.as_deref()),
            Command::Output(None) => self.printer.direct(Out::paged()),
            Command::Output(Some(path)) => self.printer.direct(Out::file(Path::new(&path))?),
            Command::Include(path) => self.include(Path::new(&path)).await,
            Command::Set(given) => {
                self.set(given);
                Ok(())
            }
        }
    }

    async fn plan(&mut self, flow: Option<String>) -> Result<(), Error> {
        let printer = &mut self.printer;
        self.scope.plan(&self.session, flow, printer).await
    }

    fn format(&mut self, name: Option<&str>) -> Result<(), Error> {
        match name.map(|name| (name, RowFormat::from_str(name, true))) {
            Some((_, Ok(format))) => self.printer.format = format,
            Some((name, Err(_))) => {
                let all = RowFormat::names().join(", ");
                tell!("error: there is no format '{name}'; there is {all}");
                return Ok(());
            }
            None => {}
        }
        tell!("format: {}", self.printer.format.name());
        Ok(())
    }

    fn set(&mut self, given: Option<(String, String)>) {
        match given {
            Some((name, value)) => self.session.parameters_mut().replace(&name, &value),
            None => {
                for (name, value) in self.session.parameters_mut().shown() {
                    tell!(":{name} = {value}");
                }
            }
        }
    }

    /// Puts what a file defines in scope, its flows too, and executes its other statements.
    async fn include(&mut self, path: &Path) -> Result<(), Error> {
        for statement in &self.read(path).await? {
            if is_query(statement) {
                let printer = &mut self.printer;
                self.session
                    .execute_statement(statement, Some(path), printer)
                    .await?;
            }
        }
        self.names.forget_columns();
        Ok(())
    }

    /// Reads a file, and every file in scope again as it is now, and answers with the statements of that one. What they
    /// define and what was typed is all that is in scope then; if a file cannot be read, all is as it was.
    async fn read(&mut self, path: &Path) -> Result<Vec<Statement>, Error> {
        let session = self.session.fresh()?;
        let mut scope = Scope::default();
        for file in self.scope.paths() {
            if !is_same(&file, path) {
                scope.add(&file, &session.load(&file).await?);
            }
        }
        let read = session.load(path).await?;
        scope.add(path, &read);
        let mut typed = Vec::new();
        for statement in &self.typed {
            match session.engine.define_or_execute(statement, None).await {
                Ok(()) => typed.push(statement.clone()),
                Err(error) => {
                    tell!("warning: what was typed is no longer in scope");
                    print_error(&error);
                }
            }
        }
        self.names.turn_to(session.engine.clone());
        (self.session, self.scope, self.typed) = (session, scope, typed);
        Ok(read)
    }
}

/// Whether two paths lead to the same file.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    real(one) == real(other)
}

fn say(what: &str, on: bool) {
    tell!("{what} is {}", if on { "on" } else { "off" });
}
