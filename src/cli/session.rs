//! A session as the commands share it: an engine, and statements executed one after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast;

use super::output::tell;
use super::query_progress::Progress;
use super::rows::Printer;
use super::run::Manner;
use crate::engine::{ConnectionResolver, Engine, EngineOptions, FilesRead, Tries, log_retry};
use crate::error::Error;
use crate::pipeline::check;
use crate::sql::{Parameters, Parsed, SourceText, Statement, StatementKind, parse_all};

/// An engine, and what must live as long as it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) engine: Engine,
    resolver: ConnectionResolver,
    parameters: Parameters,
    /// Whether parameters may be given that a text does not use.
    is_lenient: bool,
    /// Whether a person is told how far a query is.
    is_for_people: bool,
}

impl Session {
    /// A session that knows `embedded:` URLs if the simulator is part of the binary.
    ///
    /// Its queries and merges may hold so much memory, and its texts have those parameters, as `manner` says.
    pub(super) fn try_new(manner: Manner<'_>) -> Result<Self, Error> {
        let session = Self::with_resolver(default_resolver(), manner.memory)?;
        Ok(Self {
            parameters: manner.parameters.clone(),
            is_for_people: manner.is_for_people(),
            ..session
        })
    }

    /// A session without parameters whose connection URLs `resolver` resolves.
    pub(super) fn with_resolver(
        resolver: ConnectionResolver,
        memory: usize,
    ) -> Result<Self, Error> {
        let directory = std::env::current_dir().map_err(|source| Error::File {
            path: PathBuf::from("."),
            source,
        })?;
        let engine = Engine::try_new(EngineOptions {
            memory_limit: memory,
            directory,
            resolver: resolver.clone(),
        })?;
        Ok(Self {
            engine,
            resolver,
            parameters: Parameters::default(),
            is_lenient: false,
            is_for_people: true,
        })
    }

    /// The session for texts that come one after the other, each of which uses some of the parameters.
    pub(super) fn of_a_person(self) -> Self {
        Self {
            is_lenient: true,
            ..self
        }
    }

    /// Another session, without connections and tables, that reaches the same servers and has the same parameters.
    pub(super) fn fresh(&self) -> Result<Self, Error> {
        let session = Self::with_resolver(self.resolver.clone(), self.engine.memory_limit())?;
        Ok(Self {
            parameters: self.parameters.clone(),
            is_lenient: self.is_lenient,
            is_for_people: self.is_for_people,
            ..session
        })
    }

    /// The values of the parameters of its texts.
    pub(super) fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// The statements of a pipeline file.
    ///
    /// # Errors
    /// Where some cannot be read, all that is wrong with the file as far as it can be known without a server; else where a
    /// parameter was given that the file does not use.
    pub(super) async fn read(&self, file: &Path) -> Result<Vec<Statement>, Error> {
        let parsed = self.parsed(file)?;
        if parsed.errors.is_empty() {
            let mut statements = parsed.statements;
            // A person's file may have queries beside its flows.
            statements.retain(|statement| !self.is_lenient || !is_query(statement));
            return Ok(statements);
        }
        let other = self.fresh()?.engine;
        check(other, parsed, file).await.map(|_| Vec::new())
    }

    /// As much of a pipeline file as can be read.
    ///
    /// # Errors
    /// Where the file is not there, or uses not all of the parameters that were given, if it can be read to its end.
    pub(super) fn parsed(&self, file: &Path) -> Result<Parsed, Error> {
        let parsed = self.read_file(file)?;
        if parsed.errors.is_empty() {
            self.all_used(&parsed.parameters)?;
        }
        Ok(parsed)
    }

    /// Refuses a parameter that neither the file nor one of the named texts uses, if all can be read.
    pub(super) fn refuse_unused<'a>(
        &self,
        file: Option<&Path>,
        texts: impl Iterator<Item = (&'a str, &'a String)>,
    ) -> Result<(), Error> {
        let file = file.map(|file| self.read_file(file)).transpose()?;
        let texts = texts.map(|(name, text)| self.parse(name.to_string(), text.clone()));
        let parsed: Vec<Parsed> = file.into_iter().chain(texts).collect();
        if parsed.iter().any(|parsed| !parsed.errors.is_empty()) {
            return Ok(());
        }
        let used: Vec<String> = parsed.into_iter().flat_map(|p| p.parameters).collect();
        self.all_used(&used)
    }

    fn all_used(&self, used: &[String]) -> Result<(), Error> {
        match self.parameters.unused(used).filter(|_| !self.is_lenient) {
            None => Ok(()),
            Some(name) => Err(Error::UnusedParameter {
                name: name.to_string(),
                used: used.to_vec(),
            }),
        }
    }

    /// What can be read of a file.
    pub(super) fn read_file(&self, file: &Path) -> Result<Parsed, Error> {
        let text = std::fs::read_to_string(file).map_err(|source| Error::File {
            path: file.to_path_buf(),
            source,
        })?;
        Ok(self.parse(file.display().to_string(), text))
    }

    /// What can be read of a text.
    pub(super) fn parse(&self, name: String, text: String) -> Parsed {
        parse_all(&SourceText { name, text }, &self.parameters)
    }

    /// Puts the connections and tables of a pipeline file in scope, and answers with its statements; its flows are not
    /// executed.
    pub(super) async fn load(&self, file: &Path) -> Result<Vec<Statement>, Error> {
        let statements = readable(self.read_file(file)?)?;
        self.engine.define_all(&statements, Some(file)).await?;
        Ok(statements)
    }

    /// Executes the statements of `text` and prints their results; stops at the first error.
    pub(super) async fn execute(
        &self,
        name: &str,
        text: &str,
        file: Option<&Path>,
        printer: &mut Printer,
    ) -> Result<(), Error> {
        for statement in readable(self.parse(name.to_string(), text.to_string()))? {
            self.execute_statement(&statement, file, printer).await?;
        }
        Ok(())
    }

    /// Executes a statement and prints its result.
    pub(super) async fn execute_statement(
        &self,
        statement: &Statement,
        file: Option<&Path>,
        printer: &mut Printer,
    ) -> Result<(), Error> {
        if let Some(defined) = self.engine.define(statement, file).await? {
            tell!("{defined}");
            return Ok(());
        }
        let mut tries = Tries::default();
        loop {
            match self.answer(statement, printer).await {
                // Another writer committed first, and nothing of this was: no row is printed yet either.
                Err(error) if error.is_conflict() => tries.pause_after(error, &log_retry).await?,
                answered => return answered,
            }
        }
    }

    async fn answer(&self, statement: &Statement, printer: &mut Printer) -> Result<(), Error> {
        let frame = self.engine.query(statement).await?;
        let context = frame.task_ctx();
        let failed = |error| Error::from_datafusion(error, Some(statement));
        let files = match self.is_for_people {
            true => self.engine.files_explained(frame.logical_plan()).await,
            false => Ok(None),
        };
        let files = files.map_err(failed)?;
        let plan = frame.create_physical_plan().await.map_err(failed)?;
        let plan = yielding(plan).map_err(failed)?;
        let rows = execute_stream(Arc::clone(&plan), Arc::new(context)).map_err(failed)?;
        let rows = match self.is_for_people {
            true => Progress::of(plan).over(rows),
            false => rows,
        };
        if let Some(files) = files {
            let FilesRead { read, skipped } = files;
            tell!("files of Delta tables: {read} read, {skipped} skipped");
        }
        let printed = printer.print(rows).await;
        printed.map_err(|error| error.restored(statement))
    }
}

/// Whether a statement answers with rows, and is neither a definition nor a flow.
pub(super) fn is_query(statement: &Statement) -> bool {
    match &statement.kind {
        StatementKind::Merge(merge) => merge.stream.is_none(),
        StatementKind::Other(_) => !Engine::is_definition(statement),
        _ => false,
    }
}

/// Whether a statement changes what is in scope for those after it.
pub(super) fn changes_scope(statement: &Statement) -> bool {
    let StatementKind::Other(ast) = &statement.kind else {
        return Engine::is_definition(statement);
    };
    let is_drop = match ast.as_ref() {
        DfStatement::Statement(inner) => matches!(inner.as_ref(), ast::Statement::Drop { .. }),
        _ => false,
    };
    is_drop || Engine::is_definition(statement)
}

/// The plan, whose joins let others go on now and then: one that makes many rows of few would else not be ended by anybody.
fn yielding(plan: Arc<dyn ExecutionPlan>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|node| {
        Ok(match node.children().len() {
            0 | 1 => Transformed::no(node),
            _ => Transformed::yes(Arc::new(CooperativeExec::new(node)) as _),
        })
    });
    wrapped.data()
}

/// The statements, if all could be read.
pub(super) fn readable(parsed: Parsed) -> Result<Vec<Statement>, Error> {
    match parsed.errors.is_empty() {
        true => Ok(parsed.statements),
        false => Err(Error::Invalid {
            diagnostics: parsed.errors,
            more: parsed.more,
        }),
    }
}

#[cfg(feature = "simulator")]
fn default_resolver() -> ConnectionResolver {
    super::embedded::resolver()
}

#[cfg(not(feature = "simulator"))]
fn default_resolver() -> ConnectionResolver {
    ConnectionResolver::new(|url, _| {
        Box::pin(async move {
            if url.starts_with("embedded:") {
                return Err(
                    "this build has no embedded server; build with the feature 'simulator'".into(),
                );
            }
            Ok(url)
        })
    })
}
