//! `EXEC sp_executesql` within a batch.

use super::declaration;
use super::executor::{Batch, Executor, Stop, variables};
use crate::simulator::protocol::{Parameter, ServerError, SqlType};
use crate::simulator::tsql::command::ExecArgument;
use crate::simulator::tsql::constant::constant;
use crate::simulator::tsql::cursor::ObjectName;
use crate::simulator::tsql::lexer::{Kind, Token, tokens};
use crate::simulator::tsql::scope::Scope;
use crate::simulator::types::{Value, array_of};

/// The procedure.
const NAME: &str = "sp_executesql";

/// Calls within each other at most, as in SQL Server.
const NESTING: usize = 32;

/// Whether a name is that of the procedure, in whatever database.
pub(super) fn is_execute_sql(name: &ObjectName) -> bool {
    let schema = name.schema().is_none_or(|schema| {
        ["sys", "dbo"]
            .iter()
            .any(|known| schema.eq_ignore_ascii_case(known))
    });
    schema && name.object().eq_ignore_ascii_case(NAME)
}

impl Executor {
    /// Runs the text with its parameters. An error that ends the text ends this batch too if it has ended the
    /// transaction.
    pub(super) async fn execute_sql(
        &mut self,
        arguments: &[ExecArgument],
        batch: &Batch<'_>,
    ) -> Result<(), Stop> {
        if self.calls() > NESTING {
            return Err(ServerError::new(
                217,
                format!(
                    "Maximum stored procedure, function, trigger, or view nesting level exceeded (limit {NESTING})."
                ),
            )
            .into());
        }
        let scope = self.scope(batch);
        let (sql, parameters) = called(arguments, &scope)?;
        let tokens = self.placed(tokens(&sql), arguments)?;
        let variables = variables(&parameters)?;
        let inner = Batch {
            text: &sql,
            variables: &variables,
            replies: batch.replies,
        };
        self.aborted = false;
        let table_variables = std::mem::take(&mut self.table_variables);
        let ended = Box::pin(self.run_call(&tokens, &inner)).await;
        self.table_variables = table_variables;
        match ended {
            Err(Stop::Failed(_)) => return Err(Stop::Told { ends: self.aborted }),
            other => other?,
        }
        self.done(None, batch).await
    }

    /// The text's tokens, with a script's lines where the text stands in one.
    fn placed(
        &self,
        read: Result<Vec<Token>, ServerError>,
        arguments: &[ExecArgument],
    ) -> Result<Vec<Token>, ServerError> {
        let text = arguments
            .first()
            .and_then(|argument| argument.value.first());
        let before = match text {
            Some(text) if self.is_script() => text.line.saturating_sub(1),
            _ => 0,
        };
        match read {
            Ok(mut tokens) => {
                tokens.iter_mut().for_each(|token| token.line += before);
                Ok(tokens)
            }
            Err(error) => {
                let line = error.line + before;
                Err(error.at_line(line))
            }
        }
    }
}

/// The text of a call, and the values of its parameters.
fn called(
    arguments: &[ExecArgument],
    scope: &Scope,
) -> Result<(String, Vec<Parameter>), ServerError> {
    let mut arguments = arguments.iter();
    let mut text = |names: &[&str], missing: &str| {
        let Some(argument) = arguments.next() else {
            return Ok(None);
        };
        let known = argument
            .name
            .as_ref()
            .is_none_or(|name| names.iter().any(|known| name.eq_ignore_ascii_case(known)));
        match self::argument(&argument.value, scope)?.1 {
            Value::Text(text) if known => Ok(Some(text)),
            Value::Null if known => Ok(None),
            _ => Err(missing_text(missing)),
        }
    };
    let sql = text(&["@stmt", "@statement"], "@statement")?;
    let sql = sql.ok_or_else(|| missing_text("@statement"))?;
    let declared = text(&["@params", "@parameters"], "@params")?.unwrap_or_default();
    let values = arguments
        .map(|argument| {
            let (sql_type, value) = self::argument(&argument.value, scope)?;
            Ok(Parameter {
                name: argument.name.clone().unwrap_or_default(),
                sql_type,
                value: array_of(sql_type, [value])?,
                output: false,
            })
        })
        .collect::<Result<_, ServerError>>()?;
    let parameters = declaration::bind(&sql, &declared, values)?;
    Ok((sql, parameters))
}

/// The type and value of an argument of EXEC: a constant, or a variable.
pub(super) fn argument(tokens: &[Token], scope: &Scope) -> Result<(SqlType, Value), ServerError> {
    match (constant(tokens)?, tokens) {
        (Some(constant), _) => Ok(constant),
        (
            None,
            [
                Token {
                    kind: Kind::Variable(name),
                    ..
                },
            ],
        ) => scope.variable(name),
        _ => Err(ServerError::syntax("EXEC")),
    }
}

/// 214.
fn missing_text(name: &str) -> ServerError {
    ServerError::new(
        214,
        format!("Procedure expects parameter '{name}' of type 'ntext/nchar/nvarchar'."),
    )
}
