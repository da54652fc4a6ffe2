//! The text of a file, and places in it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use datafusion::sql::sqlparser::tokenizer::{Location, Span as TokenSpan};

/// A text with the name that errors show for it.
#[derive(Clone)]
pub struct SourceText {
    /// The file, as the person spelled it; `<stdin>` or the like where there is none.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// Leaves the text out: it may hold passwords.
impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceText")
            .field("name", &self.name)
            .field("bytes", &self.text.len())
            .finish()
    }
}

/// A place in a file: bytes `start..end`, beginning at `line` and `column`.
///
/// Lines and columns count from 1, columns in characters. The default span (line 0) is no place at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
    /// Line of `start`.
    pub line: usize,
    /// Column of `start`.
    pub column: usize,
}

impl Span {
    /// The smallest span that holds both; a span that is no place gives way to the other.
    pub fn to(self, other: Span) -> Span {
        if self.line == 0 {
            return other;
        }
        if other.line == 0 {
            return self;
        }
        let first = if self.start <= other.start {
            self
        } else {
            other
        };
        Span {
            start: first.start,
            end: self.end.max(other.end),
            line: first.line,
            column: first.column,
        }
    }
}

/// Characters of a text that a message quotes.
const LONGEST_EXCERPT: usize = 40;

/// A text prepared for finding places, with the ranges that must not be shown.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    line_starts: Vec<usize>,
    /// In their order, none touching another.
    masked: Vec<Range<usize>>,
    /// The one of several tables which a part of the text is read for: errors name it.
    pub(super) of_table: Option<String>,
}

impl Source {
    pub(super) fn new(source: &SourceText) -> Self {
        let text = source
            .text
            .strip_prefix('\u{feff}')
            .unwrap_or(&source.text)
            .to_owned();
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Source {
            name: source.name.clone(),
            text,
            line_starts,
            masked: Vec::new(),
            of_table: None,
        }
    }

    /// The text, read for one of several tables.
    pub(super) fn for_table(&self, table: &str) -> Self {
        Self {
            of_table: Some(table.to_owned()),
            ..self.clone()
        }
    }

    /// Hides these ranges wherever the text is shown.
    pub(super) fn mask(&mut self, mut ranges: Vec<Range<usize>>) {
        ranges.sort_unstable_by_key(|range| range.start);
        self.masked.clear();
        for range in ranges {
            match self.masked.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => self.masked.push(range),
            }
        }
    }

    /// Whether anything of the text is hidden.
    pub(super) fn hides_any(&self) -> bool {
        !self.masked.is_empty()
    }

    fn hides(&self, at: usize) -> bool {
        let next = self.masked.partition_point(|mask| mask.end <= at);
        self.masked.get(next).is_some_and(|mask| mask.start <= at)
    }

    /// The place of bytes `start..end`.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        let start = start.min(self.text.len());
        let line = self.line_starts.partition_point(|&first| first <= start);
        let first = self
            .line_starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(0);
        let column = self
            .text
            .get(first..start)
            .map_or(0, |before| before.chars().count())
            + 1;
        Span {
            start,
            end: end.clamp(start, self.text.len()),
            line,
            column,
        }
    }

    /// The place that the tokenizer or a syntax tree means.
    pub(super) fn locate(&self, at: TokenSpan) -> Span {
        if at.start.line == 0 {
            return Span::default();
        }
        let start = self.offset(at.start);
        let end = if at.end.line == 0 {
            start
        } else {
            self.offset(at.end)
        };
        self.span(start, end)
    }

    fn offset(&self, location: Location) -> usize {
        let line = usize::try_from(location.line).unwrap_or(usize::MAX);
        let Some(&first) = self.line_starts.get(line.saturating_sub(1)) else {
            return self.text.len();
        };
        let column = usize::try_from(location.column)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let rest = self.text.get(first..).unwrap_or_default();
        rest.char_indices()
            .nth(column)
            .map_or(self.text.len(), |(at, _)| first + at)
    }

    /// The text of `span` as it may be shown.
    #[cfg(test)]
    pub(super) fn shown(&self, span: Span) -> String {
        self.shown_range(span.start..span.end)
    }

    /// The text of `span` for a message: one short line.
    pub(super) fn excerpt(&self, span: Span) -> String {
        let text = self.shown_range(span.start..span.end);
        let line: Vec<&str> = text.split_whitespace().collect();
        let line: String = line
            .join(" ")
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        match line.char_indices().nth(LONGEST_EXCERPT) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }

    fn shown_range(&self, range: Range<usize>) -> String {
        let text = self.text.get(range.clone()).unwrap_or_default();
        text.char_indices()
            .map(|(at, c)| if self.hides(range.start + at) { '*' } else { c })
            .collect()
    }

    /// The line on which `span` begins as it may be shown, and the part of it that the span covers, in bytes.
    pub(super) fn line(&self, span: Span) -> (String, Range<usize>) {
        let first = self
            .line_starts
            .get(span.line.saturating_sub(1))
            .copied()
            .unwrap_or(0);
        let last = self
            .text
            .get(first..)
            .and_then(|rest| rest.find('\n'))
            .map_or(self.text.len(), |n| first + n);
        let line = self.shown_range(first..last);
        let line = line.trim_end_matches('\r');
        let covered = self
            .text
            .get(span.start..span.end.min(last))
            .map_or(0, |text| text.chars().count());
        let at = |column: usize| {
            line.char_indices()
                .nth(column)
                .map_or(line.len(), |(at, _)| at)
        };
        let start = span.column.saturating_sub(1);
        let range = at(start)..at(start + covered);
        (line.to_owned(), range)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .field("bytes", &self.text.len())
            .finish()
    }
}

/// The shared form in which statements keep their file.
pub(super) type SharedSource = Arc<Source>;

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new(&SourceText {
            name: "f.sql".to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn columns_count_characters_and_spans_count_bytes() {
        let source = source("a\nüü x\r\nb");
        let span = source.span(7, 8);
        assert_eq!((span.line, span.column), (2, 4));
        assert_eq!(source.line(span), ("üü x".to_owned(), 5..6));
        let same = source.locate(TokenSpan::new(Location::new(2, 4), Location::new(2, 5)));
        assert_eq!(same, span);
    }

    #[test]
    fn places_outside_the_text_are_clamped() {
        let source = source("ab");
        let span = source.locate(TokenSpan::new(Location::new(9, 9), Location::new(9, 10)));
        assert_eq!((span.start, span.end), (2, 2));
        assert_eq!(source.line(span).0, "ab");
    }

    #[test]
    fn masked_text_is_not_shown() {
        let mut source = source("password 'hünter2', x");
        let span = source.span(9, 19);
        source.mask(std::iter::once(9..19).collect());
        assert_eq!(source.shown(span), "*********");
        assert_eq!(
            source.line(span),
            ("password *********, x".to_owned(), 9..18)
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        let source = source("\u{feff}SELECT 1");
        assert_eq!(source.span(0, 6).column, 1);
        assert_eq!(source.text, "SELECT 1");
    }
}
