//! Names and texts as statements have them.

use datafusion::sql::sqlparser::keywords::{
    ALL_KEYWORDS, ALL_KEYWORDS_INDEX, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_IDENTIFIER,
    RESERVED_FOR_TABLE_ALIAS,
};

use super::classes::KEYWORDS;

/// A name, in quotes where it must be: unless it is a word of ASCII letters, digits and `_` that no clause begins with.
pub fn identifier(name: &str) -> String {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_plain = name.starts_with(is_letter)
        && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
        && !is_reserved(&name.to_ascii_uppercase());
    match is_plain {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// A text in quotes.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn is_reserved(upper: &str) -> bool {
    let keyword = ALL_KEYWORDS.binary_search(&upper).ok();
    let keyword = keyword.and_then(|place| ALL_KEYWORDS_INDEX.get(place));
    let is_parsers = keyword.is_some_and(|keyword| {
        RESERVED_FOR_COLUMN_ALIAS.contains(keyword)
            || RESERVED_FOR_TABLE_ALIAS.contains(keyword)
            || RESERVED_FOR_IDENTIFIER.contains(keyword)
    });
    is_parsers || KEYWORDS.binary_search(&upper).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_quoted_where_they_must_be() {
        for plain in ["customers_2", "name", "City", "_id"] {
            assert_eq!(identifier(plain), plain);
        }
        for reserved in ["order", "Select", "case", "stream", "natural", "interval"] {
            assert_eq!(identifier(reserved), format!("\"{reserved}\""));
        }
        assert_eq!(identifier("2nd"), "\"2nd\"");
        assert_eq!(identifier("a \"b\""), "\"a \"\"b\"\"\"");
        assert_eq!(identifier("größe"), "\"größe\"");
        assert_eq!(literal("it's"), "'it''s'");
    }
}
