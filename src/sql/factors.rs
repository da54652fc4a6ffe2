//! The token pass over table factors: `name CHANGES …`, `STREAM name CHANGES`, `name VERSION AS OF n` become
//! marker names, so that the parser reads them as plain tables.
//!
//! The words are keywords only in table-factor position: after FROM, JOIN and MERGE's USING, and after the
//! commas of a FROM list; never in function arguments or after `IS DISTINCT FROM`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::diagnostic::Diagnostic;
use super::lexer::Lexeme;
use super::source::{Source, Span};

/// A STREAM found in a statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamUse {
    /// From the word STREAM to the end of its clause.
    pub(super) span: Span,
    /// Whether it stands where a flow's source stands.
    in_source: bool,
}

/// The result of the pass.
pub(super) struct Factors {
    /// The statement with markers.
    pub(super) lexemes: Vec<Lexeme>,
    /// The one STREAM of a MERGE.
    pub(super) stream: Option<StreamUse>,
    /// All that is wrong with the factors.
    pub(super) errors: Vec<Diagnostic>,
}

/// Rewrites the table factors of one statement.
pub(super) fn rewrite(source: &Source, lexemes: Vec<Lexeme>, end: Span) -> Factors {
    let explains = lexemes.first().is_some_and(|l| l.is("EXPLAIN"));
    let is_merge = lexemes
        .iter()
        .take(if explains { 5 } else { 1 })
        .any(|l| l.is("MERGE"));
    let mut pass = Pass {
        source,
        lexemes: &lexemes,
        end,
        is_merge,
        out: Vec::with_capacity(lexemes.len()),
        frames: vec![Frame {
            query: true,
            from_list: false,
            source: true,
        }],
        at_factor: false,
        merge_source: MergeSource::Before,
        streams: Vec::new(),
        errors: Vec::new(),
    };
    let mut i = 0;
    while i < lexemes.len() {
        i = pass.step(i);
    }
    let Pass {
        out,
        streams,
        mut errors,
        ..
    } = pass;
<<<<<<< HEAD
    errors.extend(refused_streams(source, is_merge, &streams));
=======
    errors.extend(refused_streams(source, is_merge && !explains, &streams));
>>>>>>> sql
    Factors {
        lexemes: out,
        stream: streams.first().copied(),
        errors,
    }
}

pub(super) struct Pass<'a> {
    pub(super) source: &'a Source,
    pub(super) lexemes: &'a [Lexeme],
    pub(super) end: Span,
    is_merge: bool,
    pub(super) out: Vec<Lexeme>,
    frames: Vec<Frame>,
    /// Whether a table factor begins at the next token.
    at_factor: bool,
    merge_source: MergeSource,
    streams: Vec<StreamUse>,
    pub(super) errors: Vec<Diagnostic>,
}

/// An open parenthesis, bracket or brace; the first frame is the statement.
#[derive(Clone, Copy)]
struct Frame {
    /// Whether FROM and JOIN are clauses here, and not part of a function's arguments.
    query: bool,
    /// Whether a comma is followed by a table factor.
    from_list: bool,
    /// Whether it was opened where a table or a WITH query stands, so that its rows are the source's rows.
    source: bool,
}

/// Where in a MERGE the pass is.
#[derive(PartialEq)]
enum MergeSource {
    Before,
    Inside,
    After,
}

impl Pass<'_> {
    /// Records a STREAM at the present place.
    pub(super) fn record_stream(&mut self, span: Span) {
        let in_source =
            self.merge_source == MergeSource::Inside && self.frames.iter().all(|f| f.source);
        self.streams.push(StreamUse { span, in_source });
    }

    /// Handles the token at `i`; gives the next one to handle.
    fn step(&mut self, i: usize) -> usize {
        let Some(lexeme) = self.lexemes.get(i) else {
            return i + 1;
        };
        if std::mem::take(&mut self.at_factor) {
            if lexeme.is("LATERAL") {
                self.at_factor = true;
            } else if lexeme.token == Token::LParen {
                self.frames.push(Frame {
                    query: true,
                    from_list: false,
                    source: true,
                });
                self.at_factor = !self.begins_query(i + 1);
                self.out.push(lexeme.clone());
                return i + 1;
            } else if lexeme.is_word() {
                return self.factor(i);
            }
        }
        self.note(i, lexeme);
        self.out.push(lexeme.clone());
        i + 1
    }

    fn begins_query(&self, i: usize) -> bool {
        let words = [
            Keyword::SELECT,
            Keyword::WITH,
            Keyword::VALUES,
            Keyword::FROM,
            Keyword::TABLE,
        ];
        self.lexemes
            .get(i)
            .and_then(Lexeme::keyword)
            .is_some_and(|word| words.contains(&word))
    }

    fn before(&self, i: usize, back: usize) -> Option<&Lexeme> {
        i.checked_sub(back).and_then(|at| self.lexemes.get(at))
    }

    /// Keeps the frames up to date with a token that is no table factor.
    fn note(&mut self, i: usize, lexeme: &Lexeme) {
        match lexeme.token {
            Token::LParen | Token::LBracket | Token::LBrace => self.open(i),
            Token::RParen | Token::RBracket | Token::RBrace if self.frames.len() > 1 => {
                _ = self.frames.pop()
            }
            Token::Comma => self.at_factor = self.top().from_list,
            Token::Word(_) if self.before(i, 1).is_none_or(|l| l.token != Token::Period) => {
                if let Some(keyword) = lexeme.keyword() {
                    self.note_keyword(i, keyword);
                }
            }
            _ => {}
        }
    }

    fn top(&self) -> Frame {
        self.frames.last().copied().unwrap_or(Frame {
            query: true,
            from_list: false,
            source: true,
        })
    }

    fn open(&mut self, i: usize) {
        let from_first = self.lexemes.get(i + 1).is_some_and(|l| l.is("FROM"));
        // `WITH x AS (…)`; a cast's `AS` is never followed by a parenthesis.
        let with_query = self
            .before(i, 1)
            .is_some_and(|l| l.is("AS") || l.is("MATERIALIZED"));
        self.frames.push(Frame {
            query: from_first,
            from_list: false,
            source: with_query,
        });
    }

    fn note_keyword(&mut self, i: usize, keyword: Keyword) {
        let depth = self.frames.len();
        let is_merge_using =
            self.is_merge && depth == 1 && self.merge_source == MergeSource::Before;
        let previous = |back| self.before(i, back).and_then(Lexeme::keyword);
        let distinct_from = previous(1) == Some(Keyword::DISTINCT)
            && matches!(previous(2), Some(Keyword::IS | Keyword::NOT));
        let deletes = previous(1) == Some(Keyword::DELETE);
        let Some(top) = self.frames.last_mut() else {
            return;
        };
        match keyword {
<<<<<<< HEAD
            Keyword::SELECT => {
                *top = Frame {
                    query: true,
                    from_list: false,
                    ..*top
                }
            }
=======
            Keyword::SELECT => (top.query, top.from_list) = (true, false),
>>>>>>> sql
            Keyword::FROM if top.query && !distinct_from && !deletes => {
                top.from_list = true;
                self.at_factor = true;
            }
            Keyword::JOIN | Keyword::APPLY | Keyword::STRAIGHT_JOIN => self.at_factor = top.query,
            Keyword::USING if is_merge_using => {
                self.merge_source = MergeSource::Inside;
                self.at_factor = true;
            }
            Keyword::ON if depth == 1 && self.merge_source == MergeSource::Inside => {
                self.merge_source = MergeSource::After;
            }
<<<<<<< HEAD
            Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::UNION
            | Keyword::INTERSECT
            | Keyword::EXCEPT
            | Keyword::MINUS
            | Keyword::WINDOW
            | Keyword::QUALIFY
            | Keyword::SET
            | Keyword::WHEN
            | Keyword::FETCH
            | Keyword::OFFSET
            | Keyword::SORT
            | Keyword::RETURNING => top.from_list = false,
            _ => {}
        }
    }

    /// Handles the table factor whose first word is at `first`.
    fn factor(&mut self, first: usize) -> usize {
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

    fn copy(&mut self, first: usize, after: usize) -> usize {
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
        let kind = if name > first {
            self.stream(first, name, last, kind, end)
        } else {
            kind
        };
        let Token::Word(word) = &table.token else {
            return;
        };
        let whole = TokenSpan::new(table.at.start, end.at.end);
        let mark = Lexeme {
            at: whole,
            span: table.span.to(end.span),
            ..table.quoted(marker(&word.value, &kind))
        };
        self.copy(name, last);
        self.out.push(mark);
        if !self
            .lexemes
            .get(after)
            .is_some_and(|l| l.is("AS") || is_alias(l))
        {
            self.out.push(table.word("AS"));
            self.out.push(table.clone());
        }
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
        let in_source =
            self.merge_source == MergeSource::Inside && self.frames.iter().all(|f| f.source);
        self.streams.push(StreamUse {
            span: word.span.to(end.span),
            in_source,
        });
        match kind {
            RelationKind::Changes(bounds) if bounds.from.is_none() => return RelationKind::Stream,
            RelationKind::Changes(bounds) => {
                let message = match bounds.to {
                    Some(_) => "a STREAM has no end: TO cannot stand here",
                    None => "a STREAM begins where its flow left off: FROM cannot stand here",
                };
                let help = format!(
                    "write `STREAM {table} CHANGES`; to query a part of the changes, write `{table} CHANGES{bounds}` without STREAM"
                );
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
        RelationKind::Stream
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
        self.source.shown(span(first).to(span(last)))
    }

    fn error(&mut self, at: Option<&Lexeme>, message: &str, help: &str) {
        let span = at.map_or(self.end, |l| l.span);
        self.errors
            .push(Diagnostic::new(self.source, span, message).with_help(help));
    }
=======
            _ if AFTER_FROM.contains(&keyword) => top.from_list = false,
            _ => {}
        }
    }
>>>>>>> sql
}

/// Clauses that end a FROM list.
const AFTER_FROM: &[Keyword] = &[
    Keyword::WHERE,
    Keyword::GROUP,
    Keyword::HAVING,
    Keyword::ORDER,
    Keyword::LIMIT,
    Keyword::UNION,
    Keyword::INTERSECT,
    Keyword::EXCEPT,
    Keyword::MINUS,
    Keyword::WINDOW,
    Keyword::QUALIFY,
    Keyword::SET,
    Keyword::WHEN,
    Keyword::FETCH,
    Keyword::OFFSET,
    Keyword::SORT,
    Keyword::RETURNING,
];

fn refused_streams(source: &Source, is_flow: bool, streams: &[StreamUse]) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    for (n, stream) in streams.iter().enumerate() {
        if !is_flow || !stream.in_source {
            errors.push(
                Diagnostic::new(
                    source,
                    stream.span,
                    "STREAM stands only in a flow: in the USING of a MERGE",
                )
                .with_help("leave out STREAM: `name CHANGES` queries the changes of a table"),
            );
        } else if n > 0 {
            errors.push(
                Diagnostic::new(source, stream.span, "a flow reads one STREAM")
                    .with_help("join the table as it is (leave out STREAM and CHANGES), or write a second MERGE"),
            );
        }
    }
    errors
}
