//! AUTO CDC: a flow that says what its target is, and not how it gets there.
//!
//! It becomes a MERGE as a person would write it, so that whatever is known of those holds for it too. What it matches
//! on is known only once the source's key is, by [`MergeStatement::keyed`].

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, visit_expressions_mut};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cdc_clauses::{Clauses, Columns, clauses};
use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::every_table::{EVERY_TABLE, EVERY_TABLE_HELP};
use super::history::History;
use super::lexer::Lexeme;
use super::membership::{self, Membership, asks_tables};
use super::merge::{self, MergeStatement};
use super::relation::clause_of;
use super::source::{SharedSource, Span};
use crate::change::CHANGE_TYPE;

/// What is told of an AUTO CDC besides its MERGE.
#[derive(Clone, Debug)]
pub struct AutoCdc {
    /// `KEYS`, or PRIMARY KEY of the table: the target's columns.
    pub keys: Option<Vec<Ident>>,
    /// Where those stand, or the words AUTO CDC.
    pub span: Span,
    /// `STORED AS SCD TYPE 2`.
    pub history: Option<History>,
    /// The columns of `COLUMNS (…)`.
    pub(super) columns: Option<Vec<Ident>>,
    /// What its query makes of the source's columns.
    pub(super) membership: Membership,
}

const TARGET: &str = "target";
const SOURCE: &str = "change";

/// Reads what follows AUTO CDC [INTO target]: `FROM stream_source {clause}`. `target` are the tokens of the target's name,
/// `primary_key` the keys that its table declares.
pub(super) fn auto_cdc(
    source: &SharedSource,
    cursor: &mut Cursor<'_>,
    at: &Lexeme,
    target: &[Lexeme],
    primary_key: Option<(Vec<Ident>, Span)>,
) -> Result<MergeStatement, Vec<Diagnostic>> {
    let one = |error| vec![error];
    cursor.expect(&["FROM"]).map_err(one)?;
    let (from, alias) = stream_source(cursor, at).map_err(one)?;
    let mut clauses = clauses(cursor).map_err(one)?;
    let keys = match (primary_key, clauses.keys.take()) {
        (Some((declared, _)), Some((keys, span))) if !same_names(&declared, &keys) => {
            let other = Diagnostic::new(
                source,
                span,
                "KEYS names other columns than PRIMARY KEY does",
            );
            return Err(one(other.with_help("leave one of the two out")));
        }
        (declared, keys) => keys.or(declared),
    };
    let words = Words { at };
    let mut tokens = words.of("MERGE INTO");
    tokens.extend(target.iter().cloned());
    let is_taken =
        matches!(&alias.token, Token::Word(word) if word.value.eq_ignore_ascii_case(TARGET));
    tokens.extend(words.of("AS"));
    tokens.push(at.word(if is_taken { "target_row" } else { TARGET }));
    tokens.extend(words.of("USING"));
    tokens.extend(from);
    tokens.extend(words.of("ON"));
    tokens.extend(words.equality());
    let star = match &clauses.columns {
        Some(Columns::Star(star)) => star.to_vec(),
        Some(Columns::Of(_)) | None => vec![at.replaced(Token::Mul)],
    };
    words.actions(&mut tokens, &alias, &clauses, &star);
    let mut merge = merge::merge(source, tokens, cursor.end())?;
    qualify(source, &mut merge).map_err(one)?;
    let mut membership = membership::compile(source, &mut merge, clauses.deletes.is_none())?;
    if clauses.history.is_some() {
        // Whatever keeps versions finds two rows of one commit by itself.
        membership.pass_all();
    }
    let columns = match clauses.columns {
        Some(Columns::Of(columns)) => Some(columns),
        Some(Columns::Star(_)) | None => None,
    };
    if let Some(columns) = &columns {
        merge.list_columns(columns);
    }
    if let Some((keys, _)) = &keys
        && let Some(on) = merge.matching(&names(keys))
    {
        merge.ast.on = Box::new(on);
    }
    let (keys, span) = match keys {
        Some((keys, span)) => (Some(keys), span),
        None => (None, at.span),
    };
    merge.auto = Some(AutoCdc {
        keys,
        span,
        history: clauses.history,
        columns,
        membership,
    });
    Ok(merge)
}

fn names(idents: &[Ident]) -> Vec<String> {
    idents.iter().map(|ident| ident.value.clone()).collect()
}

fn same_names(one: &[Ident], other: &[Ident]) -> bool {
    let names = |idents: &[Ident]| {
        let mut names: Vec<_> = idents
            .iter()
            .map(|ident| ident.value.to_lowercase())
            .collect();
        names.sort();
        names
    };
    names(one) == names(other)
}

/// Tokens in the place of the words AUTO CDC.
struct Words<'a> {
    at: &'a Lexeme,
}

impl Words<'_> {
    fn of(&self, words: &str) -> Vec<Lexeme> {
        words.split(' ').map(|word| self.at.word(word)).collect()
    }

    /// A condition in the place of the one that is not known yet.
    fn equality(&self) -> [Lexeme; 3] {
        let one = || self.at.replaced(Token::Number("1".to_owned(), false));
        [one(), self.at.replaced(Token::Eq), one()]
    }

    /// The WHEN clauses.
    fn actions(
        &self,
        tokens: &mut Vec<Lexeme>,
        alias: &Lexeme,
        clauses: &Clauses<'_>,
        star: &[Lexeme],
    ) {
        let is_delete = |operator: Token| {
            let delete = Token::SingleQuotedString("delete".to_owned());
            let name = self.at.word(CHANGE_TYPE);
            let period = self.at.replaced(Token::Period);
            let rest = [operator, delete].map(|token| self.at.replaced(token));
            [alias.clone(), period, name].into_iter().chain(rest)
        };
        let parenthesised = |tokens: &mut Vec<Lexeme>, condition: &[Lexeme]| {
            tokens.push(self.at.replaced(Token::LParen));
            tokens.extend(condition.iter().cloned());
            tokens.push(self.at.replaced(Token::RParen));
        };
        let never = matches!(clauses.deletes, Some([word]) if word.is("FALSE"));
        if !never {
            tokens.extend(self.of("WHEN MATCHED AND"));
            match clauses.deletes {
                None => tokens.extend(is_delete(Token::Eq)),
                Some(condition) => parenthesised(tokens, condition),
            }
            tokens.extend(self.of("THEN DELETE"));
        }
        tokens.extend(self.of("WHEN MATCHED THEN UPDATE SET"));
        tokens.extend(star.iter().cloned());
        tokens.extend(self.of("WHEN NOT MATCHED"));
        if !never {
            tokens.extend(self.of("AND"));
            match clauses.deletes {
                None => tokens.extend(is_delete(Token::Neq)),
                Some(condition) => {
                    parenthesised(tokens, condition);
                    tokens.extend(self.of("IS NOT TRUE"));
                }
            }
        }
        tokens.extend(self.of("THEN INSERT"));
        tokens.extend(star.iter().cloned());
    }
}

/// `STREAM name CHANGES … [AS alias]` or `( query ) [AS alias]`: its tokens, which end with an alias, and that alias.
fn stream_source(
    cursor: &mut Cursor<'_>,
    at: &Lexeme,
) -> Result<(Vec<Lexeme>, Lexeme), Diagnostic> {
    let mut tokens = Vec::new();
    let named = if cursor.at_token(&Token::LParen) {
        tokens.extend(cursor.group()?.iter().cloned());
        at.word(SOURCE)
    } else if cursor.at(&["STREAM"]) {
        tokens.extend(cursor.advance().cloned());
        let last = stream_name(cursor, &mut tokens)?;
        // It is read again with the whole statement; here it is where it ends that matters.
        let first = cursor.position();
        if !cursor.at(&["CHANGES"]) {
            return Err(cursor.expected("CHANGES after the name of the table"));
        }
        clause_of(cursor)?;
        tokens.extend(cursor.since(first).iter().cloned());
        last
    } else {
        return Err(cursor
            .expected("STREAM or a query in parentheses")
            .with_help("write FROM STREAM connection.schema.table CHANGES"));
    };
    let alias = if cursor.eat(&["AS"]) {
        let alias = cursor.peek().cloned();
        cursor.ident("an alias")?;
        alias.unwrap_or(named)
    } else {
        named
    };
    tokens.push(at.word("AS"));
    tokens.push(alias.clone());
    Ok((tokens, alias))
}

/// The dotted name of a STREAM; answers with its last part.
fn stream_name(cursor: &mut Cursor<'_>, tokens: &mut Vec<Lexeme>) -> Result<Lexeme, Diagnostic> {
    loop {
        if cursor.at_token(&Token::Mul) {
            return Err(cursor.error(EVERY_TABLE).with_help(EVERY_TABLE_HELP));
        }
        let part = cursor.peek().cloned();
        cursor.ident("the name of a table")?;
        let Some(part) = part else {
            return Err(cursor.expected("the name of a table"));
        };
        tokens.push(part.clone());
        match cursor.peek().filter(|next| next.token == Token::Period) {
            Some(period) => {
                tokens.push(period.clone());
                cursor.advance();
            }
            None => return Ok(part),
        }
    }
}

/// Gives the columns of the conditions, which are the source's, its name.
fn qualify(source: &SharedSource, merge: &mut MergeStatement) -> Result<(), Diagnostic> {
    let alias = merge.source_alias.clone();
    for clause in &mut merge.ast.clauses {
        let Some(condition) = &mut clause.predicate else {
            continue;
        };
        if asks_tables(condition) {
            let span = source.locate(clause.when_token.0.span);
            let message = "APPLY AS DELETE WHEN asks other tables";
            return Err(Diagnostic::new(source, span, message)
                .with_help("join them in the query: FROM (SELECT … FROM STREAM … LEFT JOIN …)"));
        }
        let _ = visit_expressions_mut(condition, |part: &mut Expr| {
            if let Expr::Identifier(column) = part {
                *part = Expr::CompoundIdentifier(vec![alias.clone(), column.clone()]);
            }
            ControlFlow::<()>::Continue(())
        });
    }
    Ok(())
}

/// The tokens of the name that AUTO CDC INTO gives.
pub(super) fn target_tokens<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [Lexeme], Diagnostic> {
    let first = cursor.position();
    cursor.name("the name of the target")?;
    Ok(cursor.since(first))
}
