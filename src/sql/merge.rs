//! MERGE: read by DataFusion's parser with stand-ins for what that cannot read, then checked.

use std::sync::Arc;

use datafusion::sql::parser::Statement as QueryStatement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Merge, ObjectName, Spanned, Statement as SqlStatement, TableAlias,
    TableFactor,
};
use datafusion::sql::sqlparser::tokenizer::Span as TokenSpan;

use super::actions;
use super::auto_cdc::AutoCdc;
use super::change_columns;
use super::clauses;
use super::diagnostic::Diagnostic;
use super::factors;
use super::ignored;
use super::lexer::Lexeme;
use super::parse::datafusion_statement;
use super::references::references_of;
use super::relation::RelationKind;
use super::source::{SharedSource, Source, Span};
use super::stream::{self, StreamRef};

/// `MERGE [WITH SCHEMA EVOLUTION] INTO target USING source ON … WHEN …`
#[derive(Clone, Debug)]
pub struct MergeStatement {
    /// The statement as the planner reads it. `UPDATE SET *` and `INSERT *` are stand-ins in it until
    /// [`expand_stars`](super::expand_stars) has been called; DO NOTHING is compiled into conditions already.
    pub ast: Merge,
    /// `WITH SCHEMA EVOLUTION`: columns that only the source has are added to the target.
    pub schema_evolution: bool,
    /// The target.
    pub target: ObjectName,
    /// Where the target is named.
    pub target_span: Span,
    /// The target's alias, where one is written.
    pub target_alias: Option<Ident>,
    /// The name by which the statement calls its source.
    pub source_alias: Ident,
    /// The STREAM that makes the statement a flow.
    pub stream: Option<StreamRef>,
    /// The flow's name, where CREATE FLOW gives it one; else it has its target's.
    pub flow: Option<Ident>,
    /// What CREATE FLOW says that it is.
    pub comment: Option<String>,
    /// What an AUTO CDC tells besides; `None` for a MERGE that was written as one.
    pub auto: Option<AutoCdc>,
    pub(super) source: SharedSource,
}

impl MergeStatement {
    /// The statement for DataFusion's planner.
    pub fn to_statement(&self) -> QueryStatement {
        QueryStatement::Statement(Box::new(SqlStatement::Merge(self.ast.clone())))
    }

    /// Whether it says `UPDATE SET *` or `INSERT *`.
    pub fn has_stars(&self) -> bool {
        self.ast
            .clauses
            .iter()
            .any(|clause| actions::star(&clause.action).is_some())
    }

    /// Whether every `UPDATE SET *` and `INSERT *` leaves a column of the target out.
    pub fn leaves_out(&self, column: &str) -> bool {
        let clauses = self.ast.clauses.iter();
        let mut stars = clauses.filter_map(|clause| actions::star(&clause.action));
        stars.all(|(_, except)| {
            let mut except = except.iter();
            except.any(|name| name.value.eq_ignore_ascii_case(column))
        })
    }

    /// Its text as the planner has it: what its file's says, with what stars stand for once they are expanded, and
    /// conditions in place of DO NOTHING. Each clause is a line.
    pub fn to_sql(&self) -> String {
        let Merge {
            table,
            source,
            on,
            clauses,
            ..
        } = &self.ast;
        let mut text = format!("MERGE INTO {table}\nUSING {source}\nON {on}");
        for clause in clauses {
            text.push_str(&format!("\n{clause}"));
        }
        for reference in references_of(&self.ast) {
            let table = &reference.table;
            let written = match reference.kind.to_string() {
                _ if reference.kind == RelationKind::Live => continue,
                kind => match kind.strip_prefix("STREAM") {
                    Some(start) => format!("STREAM {table} CHANGES{start}"),
                    None => format!("{table} {kind}"),
                },
            };
            text = text.replace(&reference.name.to_string(), &written);
        }
        text
    }

    /// The target's columns that ON compares for equality, as they are written there with the target's name.
    pub fn target_keys(&self) -> Vec<String> {
        let Some(target) = self.target_name() else {
            return Vec::new();
        };
        let mut keys = Vec::new();
        equalities(&self.ast.on, &mut |side| {
            if let Expr::CompoundIdentifier(parts) = side
                && let [.., table, column] = parts.as_slice()
                && table.value.eq_ignore_ascii_case(&target.value)
            {
                keys.push(column.value.clone());
            }
        });
        keys
    }

    /// The name by which the statement calls its target.
    pub(super) fn target_name(&self) -> Option<&Ident> {
        let own = self.target.0.last().and_then(|part| part.as_ident());
        self.target_alias.as_ref().or(own)
    }
}

/// Calls `tell` with both sides of each equality that `condition` demands.
fn equalities(condition: &Expr, tell: &mut impl FnMut(&Expr)) {
    match condition {
        Expr::Nested(inner) => equalities(inner, tell),
        Expr::BinaryOp { left, op, right } => match op {
            BinaryOperator::And => {
                equalities(left, tell);
                equalities(right, tell);
            }
            BinaryOperator::Eq => {
                tell(left);
                tell(right);
            }
            _ => {}
        },
        _ => {}
    }
}

/// Reads a MERGE.
pub(super) fn merge(
    source: &SharedSource,
    lexemes: Vec<Lexeme>,
    end: Span,
) -> Result<MergeStatement, Vec<Diagnostic>> {
    let one = |error| vec![error];
    let (schema_evolution, lexemes) = schema_evolution(source, lexemes).map_err(one)?;
    let factors = factors::rewrite(source, lexemes, end);
    if !factors.errors.is_empty() {
        return Err(factors.errors);
    }
    let lexemes = actions::stand_in(source, &factors.lexemes, end).map_err(one)?;
    let statement = datafusion_statement(source, &lexemes, end).map_err(one)?;
    let mut ast = merge_of(statement)
        .ok_or_else(|| vec![Diagnostic::new(source, end, "expected a MERGE")])?;
    ignored::check_node(source, &ast)?;
    let (target, target_alias) = target(source, &ast).map_err(one)?;
    let source_alias = source_alias(source, &mut ast).map_err(one)?;
    check_names(source, &target, target_alias.as_ref(), &source_alias).map_err(one)?;
    clauses::check(source, &ast)?;
    actions::compile_nothing(source, &mut ast)?;
    let stream = factors
        .stream
        .and_then(|found| StreamRef::find(&ast.source, source_alias.clone(), found.span));
    if stream.is_some() {
        stream::check(source, &ast)?;
        change_columns::append_to(&mut ast);
    }
    let target_span = source.locate(target.span());
    Ok(MergeStatement {
        ast,
        schema_evolution,
        target,
        target_span,
        target_alias,
        source_alias,
        stream,
        flow: None,
        comment: None,
        auto: None,
        source: Arc::clone(source),
    })
}

fn merge_of(statement: QueryStatement) -> Option<Merge> {
    match statement {
        QueryStatement::Statement(statement) => match *statement {
            SqlStatement::Merge(merge) => Some(merge),
            _ => None,
        },
        _ => None,
    }
}

/// Takes `WITH SCHEMA EVOLUTION` out of the statement.
fn schema_evolution(
    source: &Source,
    mut lexemes: Vec<Lexeme>,
) -> Result<(bool, Vec<Lexeme>), Diagnostic> {
    let Some(with) = lexemes.get(1).filter(|l| l.is("WITH")) else {
        return Ok((false, lexemes));
    };
    let is = |n: usize, word: &str| lexemes.get(n).is_some_and(|l| l.is(word));
    if !is(2, "SCHEMA") || !is(3, "EVOLUTION") {
        return Err(Diagnostic::new(
            source,
            with.span,
            "expected WITH SCHEMA EVOLUTION after MERGE",
        ));
    }
    lexemes.drain(1..4);
    Ok((true, lexemes))
}

fn target(source: &Source, ast: &Merge) -> Result<(ObjectName, Option<Ident>), Diagnostic> {
    let refuse = |at: TokenSpan, what: &str| Err(Diagnostic::new(source, source.locate(at), what));
    match &ast.table {
        TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } => match alias {
            Some(alias) if !alias.columns.is_empty() => refuse(
                alias.name.span,
                "the target's alias takes no list of columns",
            ),
            alias => Ok((name.clone(), alias.as_ref().map(|alias| alias.name.clone()))),
        },
        other => refuse(other.span(), "the target of a MERGE is a table"),
    }
}

/// The source's alias; a table without one gets its own name as alias, so that columns can be qualified.
fn source_alias(source: &Source, ast: &mut Merge) -> Result<Ident, Diagnostic> {
    let at = source.locate(ast.source.span());
    let refuse =
        |message: &str, help: &str| Err(Diagnostic::new(source, at, message).with_help(help));
    let (name, alias) = match &mut ast.source {
        TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } => (name.0.last().and_then(|part| part.as_ident()), alias),
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => (None, alias),
        _ => {
            return refuse(
                "the source of a MERGE is a table or a query",
                "write USING (SELECT … FROM …) AS change",
            );
        }
    };
    if let Some(alias) = alias {
        return Ok(alias.name.clone());
    }
    let Some(name) = name.cloned() else {
        return refuse(
            "the source of this MERGE has no name",
            "give it an alias: USING (…) AS change",
        );
    };
    *alias = Some(TableAlias {
        explicit: true,
        name: name.clone(),
        columns: Vec::new(),
        at: None,
    });
    Ok(name)
}

/// Target and source must have different names, or nothing could tell their columns apart. A target that has an
/// alias is known by that alone.
fn check_names(
    source: &Source,
    target: &ObjectName,
    alias: Option<&Ident>,
    source_alias: &Ident,
) -> Result<(), Diagnostic> {
    let own = target.0.last().and_then(|part| part.as_ident());
    let same = |name: &Ident| name.value.to_lowercase() == source_alias.value.to_lowercase();
    if !alias.or(own).is_some_and(same) {
        return Ok(());
    }
    let message = format!("target and source are both called `{}`", source_alias.value);
    Err(
        Diagnostic::new(source, source.locate(source_alias.span), message)
            .with_help("give the source another alias: USING … AS change"),
    )
}
