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
    errors.extend(refused_streams(source, is_merge && !explains, &streams));
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
            Keyword::SELECT => (top.query, top.from_list) = (true, false),
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
            _ if AFTER_FROM.contains(&keyword) => top.from_list = false,
            _ => {}
        }
    }
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
