//! One table factor: its name, its clause, its alias.

use datafusion::sql::sqlparser::keywords::{Keyword, RESERVED_FOR_TABLE_ALIAS};
use datafusion::sql::sqlparser::tokenizer::{Span as TokenSpan, Token};

use super::cursor::Cursor;
use super::diagnostic::Diagnostic;
use super::every_table::{EVERY_TABLE, EVERY_TABLE_HELP};
use super::factors::Pass;
use super::lexer::Lexeme;
use super::relation::{Bounds, RelationKind, StreamStart, clause_of, marker};

impl Pass<'_> {
    /// Handles the table factor whose first word is at `first`.
    pub(super) fn factor(&mut self, first: usize) -> usize {
        let stream = self.is_stream_keyword(first);
        let name = if stream { first + 1 } else { first };
        let Some(last) = self.last_of_name(name) else {
            let help = "write `STREAM name CHANGES`; a query over it goes into USING (SELECT … FROM STREAM name CHANGES)";
            self.error(
                self.lexemes.get(first),
                "STREAM takes the name of a table",
                help,
            );
            return self.copy(first, name);
        };
        let mut cursor = Cursor::new(self.source, self.lexemes, last + 1, self.end);
        let star = self.lexemes.get(last + 2);
        if cursor.at_token(&Token::Period) && star.is_some_and(|star| star.token == Token::Mul) {
            self.error(star, EVERY_TABLE, EVERY_TABLE_HELP);
            return self.copy(first, last + 3);
        }
        match clause_of(&mut cursor) {
            Ok(Some(kind)) => {
                let after = cursor.position();
                self.marked_factor(first, name, last, after, kind);
                after
            }
            Ok(None) => {
                self.plain_factor(first, name, last);
                self.copy(first, last + 1)
            }
            Err(error) => {
                self.errors.push(error);
                self.copy(first, last + 1)
            }
        }
    }

    pub(super) fn copy(&mut self, first: usize, after: usize) -> usize {
        self.out.extend(
            self.lexemes
                .get(first..after)
                .unwrap_or_default()
                .iter()
                .cloned(),
        );
        after.max(first + 1)
    }

    /// `STREAM` followed by a name or `(` is the keyword; `FROM stream`, `FROM stream AS s` and
    /// `FROM stream CHANGES` name a table.
    fn is_stream_keyword(&self, i: usize) -> bool {
        let Some(next) = self.lexemes.get(i + 1) else {
            return false;
        };
        if !self.lexemes.get(i).is_some_and(|l| l.is("STREAM")) {
            return false;
        }
        let after = |n: usize, words: &[&str]| {
            words
                .iter()
                .enumerate()
                .all(|(at, word)| self.lexemes.get(i + n + at).is_some_and(|l| l.is(word)))
        };
        let versioned = after(1, &["VERSION", "AS", "OF"]) || after(1, &["TIMESTAMP", "AS", "OF"]);
        let changes = next.is("CHANGES")
            && !after(2, &["CHANGES"])
            && self
                .lexemes
                .get(i + 2)
                .is_none_or(|l| l.token != Token::Period);
        next.token == Token::LParen || is_alias(next) && !versioned && !changes
    }

    /// The last token of the dotted name that begins at `first`.
    fn last_of_name(&self, first: usize) -> Option<usize> {
        let mut last = first;
        self.lexemes.get(first).filter(|l| l.is_word())?;
        while self
            .lexemes
            .get(last + 1)
            .is_some_and(|l| l.token == Token::Period)
            && self.lexemes.get(last + 2).is_some_and(Lexeme::is_word)
        {
            last += 2;
        }
        Some(last)
    }

    fn marked_factor(
        &mut self,
        first: usize,
        name: usize,
        last: usize,
        after: usize,
        kind: RelationKind,
    ) {
        let (Some(table), Some(end)) = (
            self.lexemes.get(last),
            self.lexemes.get(after.saturating_sub(1)),
        ) else {
            return;
        };
        let kind = match kind {
            kind if name > first => self.stream(first, name, last, kind, end),
            RelationKind::Changes(Bounds {
                snapshot: Some(_), ..
            }) => {
                let message = "the option `snapshot` says how a flow begins: it is for a STREAM";
                self.error(Some(end), message, "leave out WITH (…)");
                kind
            }
            kind => kind,
        };
        let Token::Word(word) = &table.token else {
            return;
        };
        let whole = TokenSpan::new(table.at.start, end.at.end);
        let name_marked = marker(&word.value, word.quote_style.is_some(), &kind);
        let mark = Lexeme {
            at: whole,
            span: table.span.to(end.span),
            ..table.quoted(name_marked)
        };
        self.copy(name, last);
        self.out.push(mark);
        if !self.has_alias(first, after) {
            self.out.push(table.word("AS"));
            self.out.push(table.clone());
        }
    }

    /// Whether an alias is written for the factor `first..after`; it may stand behind parentheses around it.
    fn has_alias(&self, first: usize, after: usize) -> bool {
        let token = |i: Option<usize>| i.and_then(|i| self.lexemes.get(i)).map(|l| &l.token);
        let alone = token(first.checked_sub(1)) == Some(&Token::LParen)
            && token(Some(after)) == Some(&Token::RParen);
        let written = |i: usize| {
            self.lexemes
                .get(i)
                .is_some_and(|l| l.is("AS") || is_alias(l))
        };
        written(after) || alone && written(after + 1)
    }

    /// Records a STREAM; its clause must be bare CHANGES.
    fn stream(
        &mut self,
        first: usize,
        name: usize,
        last: usize,
        kind: RelationKind,
        end: &Lexeme,
    ) -> RelationKind {
        let Some(word) = self.lexemes.get(first) else {
            return kind;
        };
        let table = self.text(name, last);
        self.record_stream(word.span.to(end.span));
        match kind {
            RelationKind::Changes(bounds) => {
                if let Some(start) = bounds.clone().start() {
                    return RelationKind::Stream(start);
                }
                let (message, help) = match bounds.to {
                    Some(_) => (
                        "a STREAM has no end: TO cannot stand here",
                        format!(
                            "write `STREAM {table} CHANGES`; to query a part of the changes, write `{table} CHANGES{bounds}` without STREAM"
                        ),
                    ),
                    None => (
                        "a STREAM begins with a copy of the table or with changes, not with both",
                        "leave out FROM …, or `snapshot = true`".to_string(),
                    ),
                };
                self.error(Some(word), message, &help);
            }
            _ => {
                let help = format!("write `STREAM {table} CHANGES`");
                self.error(
                    Some(word),
                    "a STREAM reads changes, not one version of a table",
                    &help,
                );
            }
        }
        RelationKind::Stream(StreamStart::Copy)
    }

    /// Checks a factor that has no clause.
    fn plain_factor(&mut self, first: usize, name: usize, last: usize) {
        if name > first {
            let table = self.text(name, last);
            let help = format!("write `STREAM {table} CHANGES`, and an alias after it with AS");
            self.error(
                self.lexemes.get(first),
                "STREAM reads the changes of a table: the word CHANGES is missing",
                &help,
            );
            return;
        }
        let alias = last + 1 + usize::from(self.lexemes.get(last + 1).is_some_and(|l| l.is("AS")));
        if !self.lexemes.get(alias).is_some_and(is_alias) {
            return;
        }
        let cursor = Cursor::new(self.source, self.lexemes, alias + 1, self.end);
        let clause = cursor.at(&["CHANGES"])
            || cursor.at(&["VERSION", "AS", "OF"])
            || cursor.at(&["TIMESTAMP", "AS", "OF"]);
        if clause {
            let help = format!(
                "write `{} CHANGES AS {}`",
                self.text(name, last),
                self.text(alias, alias)
            );
            let message = "this clause stands before the alias, directly after the table's name";
            self.error(self.lexemes.get(alias + 1), message, &help);
        }
    }

    fn text(&self, first: usize, last: usize) -> String {
        let span = |i: usize| self.lexemes.get(i).map_or(self.end, |l| l.span);
        self.source.excerpt(span(first).to(span(last)))
    }

    fn error(&mut self, at: Option<&Lexeme>, message: &str, help: &str) {
        let span = at.map_or(self.end, |l| l.span);
        self.errors
            .push(Diagnostic::new(self.source, span, message).with_help(help));
    }
}

/// Whether a word after a table's name is its alias; the same words as the parser's.
fn is_alias(lexeme: &Lexeme) -> bool {
    match lexeme.keyword() {
        Some(keyword) => keyword != Keyword::AS && !RESERVED_FOR_TABLE_ALIAS.contains(&keyword),
        None => lexeme.is_word(),
    }
}
