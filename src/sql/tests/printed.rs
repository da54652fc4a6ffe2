//! A text in its normal form says what the text says.

use super::text;
use crate::sql::{Parameters, parse_all, printed};

/// The normal form of a text that has one, after checking that it says what the text says and stays as it is.
pub(super) fn checked(sql: &str) -> Option<String> {
    let line = printed(&text(sql))?;
    assert_eq!(printed(&text(&line)).as_ref(), Some(&line), "{sql}");
    assert_eq!(said(sql), said(&line), "{sql}\n{line}");
    Some(line)
}

/// What a text says: its statements without their places, how many errors it has, and its parameters.
fn said(sql: &str) -> (Vec<String>, usize, Vec<String>) {
    let mut parameters = Parameters::default();
    assert!(parameters.set("region", "EU") && parameters.set("n", "5"));
    let parsed = parse_all(&text(sql), &parameters);
    let statements = parsed.statements.iter();
    let shown = statements.map(|statement| without_places(&format!("{:?}", statement.kind)));
    let errors = parsed.errors.len() + parsed.more;
    (shown.collect(), errors, parsed.parameters)
}

/// A debug rendering without the places of a text and its length.
fn without_places(debug: &str) -> String {
    let parts = [("Span(", "))"), ("Span {", "}"), ("Source {", "}")];
    parts.iter().fold(debug.to_owned(), |shown, (open, close)| {
        let mut parts = shown.split(open);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |shown, part| {
            shown + part.split_once(close).map_or("", |(_, rest)| rest)
        })
    })
}

fn normal(sql: &str) -> String {
    checked(sql).unwrap_or_else(|| panic!("{sql} is not read"))
}

#[test]
fn a_statement_is_a_line() {
    for (sql, line) in [
        ("", ""),
        (" -- nothing\n;; /* at all */ ;", ""),
        ("SELECT 1", "SELECT 1;\n"),
        (
            "SELECT\ta,\r\n  b -- ;\nFROM /* ; */ t;SELECT 2",
            "SELECT a, b FROM t;\nSELECT 2;\n",
        ),
        ("SELECT a/* x */-1", "SELECT a -1;\n"),
        ("\u{feff}SELECT 1 ;", "SELECT 1;\n"),
        // `@;` would be a name.
        (
            "SELECT @ ; SELECT @@ ; SELECT #",
            "SELECT @ ;\nSELECT @@ ;\nSELECT # ;\n",
        ),
        ("SELECT\u{a0}1\u{2028};", "SELECT 1;\n"),
    ] {
        assert_eq!(normal(sql), line, "{sql}");
    }
}

#[test]
fn tokens_stay_as_they_are_written() {
    for sql in [
        "SELECT 'a  ''b'' -- c', N'd', x'0f', E'\\n', $$e  ;$$, $f$ $$ $f$, 1.50, .5, 1e-5, 0x1F;\n",
        "SELECT \"a  \"\"b\", `c  d`, t.[e  f], [G  H], [i], a[1][2], [1, 2], __$x, größe FROM [Order  Details];\n",
        "SELECT :region, x::INT, x :: INT, :region::TEXT, {'a': 1}.a, 1 - -1, a<>b, a->>'b' FROM t WHERE n=:n;\n",
    ] {
        assert_eq!(normal(sql), sql);
    }
}

#[test]
fn a_line_break_that_means_something_stays() {
    for (sql, line) in [
        ("SELECT 'a\n  b',\n  c", "SELECT 'a\n  b', c;\n"),
        ("SELECT\n\"a\n\n b\"", "SELECT \"a\n\n b\";\n"),
        ("SELECT\n$$a\r\nb$$", "SELECT $$a\r\nb$$;\n"),
        // On one line these would be names.
        ("SELECT [\n  a\n]\nFROM t", "SELECT [\na\n]\nFROM t;\n"),
        ("SELECT t.[a /* ] */ b]", "SELECT t.[a\nb];\n"),
        ("SELECT [a -- ]\n]", "SELECT [a\n];\n"),
        ("SELECT [\n  1,\n  2\n]", "SELECT [ 1, 2 ];\n"),
    ] {
        assert_eq!(normal(sql), line, "{sql}");
    }
}

#[test]
fn a_byte_order_mark_in_the_text_is_not_one_of_the_form() {
    assert_eq!(normal("\u{feff}\u{feff}SELECT 1"), " \u{feff}SELECT 1;\n");
    assert_eq!(normal(";[a b]"), "[a b];\n");
}

#[test]
fn what_is_not_read_as_tokens_has_no_form() {
    for sql in [
        "SELECT 'a",
        "SELECT 1; /* a",
        "SELECT $$a",
        "/*! a */",
        "SELECT \"a",
    ] {
        assert_eq!(checked(sql), None, "{sql}");
    }
}
