//! The pipeline files in scope, and what is done with their flows.

use std::path::{Path, PathBuf};

use clap::Parser as _;

use super::super::args::{Arguments, Command};
use super::super::run::Manner;
use super::super::session::{Session, readable};
use super::super::{plan, run, status};
use crate::engine::Engine;
use crate::error::Error;
use crate::sql::{Statement, StatementKind};

/// The files that were put in scope, in that order.
#[derive(Debug, Default)]
pub(super) struct Scope {
    files: Vec<(PathBuf, Vec<String>)>,
}

/// Whether a statement answers with rows, and is neither a definition nor a flow.
pub(super) fn is_query(statement: &Statement) -> bool {
    match &statement.kind {
        StatementKind::Merge(merge) => merge.stream.is_none(),
        StatementKind::Other(_) => !Engine::is_definition(statement),
        _ => false,
    }
}

impl Scope {
    /// Adds a file, and answers with its statements.
    pub(super) fn add(&mut self, session: &Session, path: &Path) -> Result<Vec<Statement>, Error> {
        let statements = readable(session.read_file(path)?)?;
        let flows = statements.iter().filter_map(flow_name).collect();
        self.files.retain(|(file, _)| file != path);
        self.files.push((path.to_path_buf(), flows));
        Ok(statements)
    }

    /// The names of the flows.
    pub(super) fn flows(&self) -> Vec<String> {
        let flows = self.files.iter().flat_map(|(_, flows)| flows);
        flows.cloned().collect()
    }

    /// Prints where the flows stand.
    pub(super) async fn lag(&self, session: &Session) -> Result<(), Error> {
        for file in self.files_of(None)? {
            let arguments = read("status", file, None);
            if let Some(Command::Status(arguments)) = arguments {
                status::of(session.fresh()?, &arguments).await?;
            }
        }
        Ok(())
    }

    /// Prints what a run would do.
    pub(super) async fn plan(&self, session: &Session, flow: Option<String>) -> Result<(), Error> {
        for file in self.files_of(flow.as_deref())? {
            if let Some(Command::Plan(arguments)) = read("plan", file, flow.as_deref()) {
                plan::of(&session.fresh()?, &arguments).await?;
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
            if let Some(Command::Run(arguments)) = read("run", file, flow.as_deref()) {
                run::once(session.fresh()?, &arguments, manner).await?;
            }
        }
        Ok(())
    }

    /// The files that have flows; the one with the flow that is named.
    fn files_of(&self, flow: Option<&str>) -> Result<Vec<&Path>, Error> {
        let has = |flows: &[String]| match flow {
            Some(flow) => flows.iter().any(|own| own.eq_ignore_ascii_case(flow)),
            None => true,
        };
        let files = self.files.iter().filter(|(_, flows)| has(flows));
        let files: Vec<_> = files.map(|(path, _)| path.as_path()).collect();
        match (files.is_empty(), flow) {
            (false, _) => Ok(files),
            // Its name may be that of a table which a server tells.
            (true, Some(_)) if self.files.len() == 1 => {
                Ok(self.files.iter().map(|(path, _)| path.as_path()).collect())
            }
            (true, Some(flow)) => Err(Error::UnknownFlow {
                name: flow.to_string(),
                known: self.flows(),
            }),
            (true, None) => Err(Error::NoPipeline),
        }
    }
}

/// The arguments of a command of the command line.
fn read(command: &str, file: &Path, flow: Option<&str>) -> Option<Command> {
    let mut words = vec![
        "cdcql".into(),
        command.into(),
        file.as_os_str().to_os_string(),
    ];
    if let Some(flow) = flow {
        words.extend(["--flow".into(), flow.into()]);
    }
    Arguments::try_parse_from(words).ok()?.command
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
