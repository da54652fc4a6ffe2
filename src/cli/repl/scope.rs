//! The pipeline files in scope, and what is done with their flows.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::super::args::Command;
use super::super::config;
use super::super::rows::Printer;
use super::super::run::Manner;
use super::super::session::Session;
use super::super::{plan, run, status};
use crate::error::Error;
use crate::sql::{Statement, StatementKind};

/// The files that were put in scope, in that order.
#[derive(Debug, Default)]
pub(super) struct Scope {
    files: Vec<InScope>,
}

/// A file in scope.
#[derive(Debug)]
struct InScope {
    path: PathBuf,
    /// The flows that it names.
    flows: Vec<String>,
    /// Whether it has flows whose names its servers tell.
    has_others: bool,
}

impl Scope {
    /// Adds a file that has these statements.
    pub(super) fn add(&mut self, path: &Path, statements: &[Statement]) {
        let is_star =
            |statement: &Statement| matches!(statement.kind, StatementKind::EveryTable(_));
        self.files.push(InScope {
            path: path.to_path_buf(),
            flows: statements.iter().filter_map(flow_name).collect(),
            has_others: statements.iter().any(is_star),
        });
    }

    /// The paths of the files.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    /// The names of the flows.
    pub(super) fn flows(&self) -> Vec<String> {
        let flows = self.files.iter().flat_map(|file| &file.flows);
        flows.cloned().collect()
    }

    /// Prints where the flows stand.
    pub(super) async fn lag(&self, session: &Session, printer: &mut Printer) -> Result<(), Error> {
        for file in self.files_of(None)? {
            if let Command::Status(arguments) = read("status", file, None)? {
                let (rows, failure) = status::of(session.fresh()?, &arguments.file).await?;
                printer.print(rows).await?;
                failure.map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }

    /// Prints what a run would do.
    pub(super) async fn plan(
        &self,
        session: &Session,
        flow: Option<String>,
        printer: &mut Printer,
    ) -> Result<(), Error> {
        for file in self.files_of(flow.as_deref())? {
            if let Command::Plan(arguments) = read("plan", file, flow.as_deref())? {
                let (text, failure) = plan::of(&session.fresh()?, &arguments).await?;
                printer.line(text.trim_end())?;
                failure.map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }

    /// Executes the flows once.
    pub(super) async fn run(
        &self,
        session: &Session,
        manner: Manner<'_>,
        flow: Option<String>,
    ) -> Result<(), Error> {
        for file in self.files_of(flow.as_deref())? {
            if let Command::Run(arguments) = read("run", file, flow.as_deref())? {
                run::once(session.fresh()?, &arguments, manner).await?;
            }
        }
        Ok(())
    }

    /// The files that have flows; those that may have the one that is named.
    fn files_of(&self, flow: Option<&str>) -> Result<Vec<&Path>, Error> {
        let names = |file: &&InScope| match flow {
            Some(flow) => file.flows.iter().any(|own| own.eq_ignore_ascii_case(flow)),
            None => file.has_others || !file.flows.is_empty(),
        };
        let found = |is_meant: &dyn Fn(&&InScope) -> bool| {
            let files = self.files.iter().filter(|file| is_meant(file));
            files.map(|file| file.path.as_path()).collect::<Vec<_>>()
        };
        let mut files = found(&names);
        if files.is_empty() && flow.is_some() {
            files = found(&|file: &&InScope| file.has_others);
        }
        match (files.is_empty(), flow) {
            (false, _) => Ok(files),
            (true, Some(flow)) => Err(Error::UnknownFlow {
                name: flow.to_string(),
                known: self.flows(),
            }),
            (true, None) => Err(Error::NoPipeline),
        }
    }
}

/// The arguments of a command of the command line.
fn read(command: &str, file: &Path, flow: Option<&str>) -> Result<Command, Error> {
    let mut words: Vec<OsString> = vec!["cdcql".into(), command.into()];
    words.extend(flow.map(|flow| format!("--flow={flow}").into()));
    words.extend(["--".into(), file.as_os_str().to_os_string()]);
    let read = config::read(&words).and_then(|arguments| arguments.command);
    read.ok_or(Error::Internal(
        "a command of the REPL is none of the command line",
    ))
}

fn flow_name(statement: &Statement) -> Option<String> {
    match &statement.kind {
        StatementKind::Merge(merge) => {
            merge.stream.as_ref()?;
            let target = merge.target.0.last().and_then(|part| part.as_ident())?;
            Some(merge.flow_name(&target.value).to_string())
        }
        _ => None,
    }
}
