//! What the parts of a text are, for whoever shows or completes it.

use std::ops::Range;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

use super::SourceText;
use super::source::Source;

/// What a part of a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextClass {
    /// A word of [`KEYWORDS`], not quoted.
    Keyword,
    /// Any other name.
    Name,
    /// A text in quotes.
    Text,
    /// A number.
    Number,
    /// A comment.
    Comment,
}

/// The words of the language that are shown as keywords and offered as such, in upper case.
pub const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "ANTI",
    "APPLY",
    "AS",
    "ASC",
    "AUTO",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CDC",
    "CHANGES",
    "COLUMNS",
    "COMMENT",
    "CONNECTION",
    "CONSTRAINT",
    "CREATE",
    "CROSS",
    "DELETE",
    "DELTA",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DO",
    "DROP",
    "ELSE",
    "END",
    "EVOLUTION",
    "EXCEPT",
    "EXCLUSIVE",
    "EXISTS",
    "EXPECT",
    "EXPLAIN",
    "FAIL",
    "FALSE",
    "FILTER",
    "FLOW",
    "FROM",
    "FULL",
    "FUNCTIONS",
    "GROUP",
    "HAVING",
    "HISTORY",
    "IF",
    "IN",
    "INCLUSIVE",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "KEYS",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOCATION",
    "MATCHED",
    "MERGE",
    "NOT",
    "NOTHING",
    "NULL",
    "NULLS",
    "OF",
    "OFFSET",
    "ON",
    "OPTIONS",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PARTITIONED",
    "PERIOD",
    "REFRESH",
    "RIGHT",
    "ROW",
    "SCD",
    "SCHEMA",
    "SELECT",
    "SEMI",
    "SEQUENCE",
    "SET",
    "SHOW",
    "SOURCE",
    "STORED",
    "STREAM",
    "STREAMING",
    "TABLE",
    "TABLES",
    "TARGET",
    "TBLPROPERTIES",
    "THEN",
    "TIMESTAMP",
    "TO",
    "TRACK",
    "TRIGGER",
    "TRUE",
    "TYPE",
    "UNION",
    "UPDATE",
    "USING",
    "VALUES",
    "VERSION",
    "VIEW",
    "VIOLATION",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// The parts of a text that are something, in their order, as bytes of it; where it stops being SQL, they end.
pub fn text_classes(text: &str) -> Vec<(Range<usize>, TextClass)> {
    let source = Source::new(&SourceText {
        name: String::new(),
        text: text.to_owned(),
    });
    let mut tokens = Vec::new();
    let tokenizer = Tokenizer::new(&GenericDialect {}, &source.text);
    // What could be read before an error is kept.
    let _ = { tokenizer }.tokenize_with_location_into_buf(&mut tokens);
    let classes = tokens.iter().filter_map(|token| {
        let span = source.locate(token.span);
        let class = class_of(&token.token)?;
        (span.start < span.end).then_some((span.start..span.end, class))
    });
    classes.collect()
}

fn class_of(token: &Token) -> Option<TextClass> {
    Some(match token {
        Token::Word(word) if word.quote_style.is_none() => {
            let upper = word.value.to_uppercase();
            match KEYWORDS.binary_search(&upper.as_str()) {
                Ok(_) => TextClass::Keyword,
                Err(_) => TextClass::Name,
            }
        }
        Token::Word(_) => TextClass::Name,
        Token::Number(..) => TextClass::Number,
        Token::SingleQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::UnicodeStringLiteral(_) => TextClass::Text,
        Token::Whitespace(
            Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_),
        ) => TextClass::Comment,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_in_order() {
        assert!(KEYWORDS.is_sorted());
    }

    #[test]
    fn parts_are_what_they_are() {
        let text = "SELECT \"from\", 'ü', 1.5 /* from */ FROM t -- x";
        let classes = text_classes(text);
        let parts: Vec<_> = classes
            .iter()
            .map(|(range, class)| (&text[range.clone()], *class))
            .collect();
        use TextClass::{Comment, Keyword, Name, Number, Text};
        assert_eq!(
            parts,
            [
                ("SELECT", Keyword),
                ("\"from\"", Name),
                ("'ü'", Text),
                ("1.5", Number),
                ("/* from */", Comment),
                ("FROM", Keyword),
                ("t", Name),
                ("-- x", Comment),
            ]
        );
        assert_eq!(text_classes("SELECT 'open"), [(0..6, Keyword)]);
    }
}
