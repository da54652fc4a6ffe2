//! What holds for every text of the pipeline language: it is read or refused, in a short time, and every error of it can be
//! shown. A text in its normal form says what the text says.

pub mod options;
pub mod tokens;

use cdcql::sql::{
    Absent, Diagnostic, Parameters, Parsed, SourceText, Statement, StatementKind, expand_stars,
    is_complete, parse, parse_all, printed, resolve_names, table_references,
};

/// Does with a text all that can be done without tables. Panics where something does not hold.
pub fn read(sql: &str) {
    let text = text(sql);
    is_complete(sql);
    if let Err(errors) = parse(&text) {
        assert!(!errors.is_empty());
        errors.iter().for_each(show);
    }
    let parsed = parse_all(&text, &parameters());
    parsed.errors.iter().for_each(show);
    if let Some(printed) = printed(&text) {
        stays(sql, &parsed, &printed);
    }
    parsed.statements.into_iter().for_each(look_at);
}

/// The text of a file.
pub fn text(sql: &str) -> SourceText {
    SourceText {
        name: "f.sql".to_owned(),
        text: sql.to_owned(),
    }
}

/// One parameter of each kind.
pub fn parameters() -> Parameters {
    let mut parameters = Parameters::default();
    for (name, value) in [
        ("region", "EU"),
        ("n", "5"),
        ("b", "true"),
        ("nothing", "null"),
    ] {
        assert!(parameters.set(name, value));
    }
    parameters
}

fn show(error: &Diagnostic) {
    assert!(error.to_string().starts_with("f.sql:"));
    assert!(error.span().line > 0, "an error has a place: {error}");
    let message = error.message();
    assert!(
        !message.is_empty() && !message.contains('\u{1f}'),
        "{error}"
    );
    assert!(!message.contains("the parser failed"), "{error}");
}

fn look_at(mut statement: Statement) {
    _ = format!("{statement:?}");
    table_references(&statement);
    _ = statement.find("a.b");
    if let StatementKind::EveryTable(every) = &statement.kind {
        let any = statement.for_any_table(every, 1);
        for statements in [any, statement.for_table(every, "Order Details")] {
            match statements {
                Ok(statements) => statements.into_iter().for_each(look_at),
                Err(errors) => errors.iter().for_each(show),
            }
        }
    }
    let columns = ["A", "a", "Customer_Id"].map(str::to_owned);
    let named = resolve_names(&mut statement, &|_| Some(columns.to_vec()));
    if let Err(error) = named {
        show(&error);
    }
    if let StatementKind::Merge(merge) = &mut statement.kind {
        match expand_stars(merge, &columns, &columns[1..], Absent::Null) {
            Ok(_) => _ = merge.to_statement().to_string(),
            Err(error) => show(&error),
        }
    }
}

/// The normal form of a text says the same, and is its own normal form.
fn stays(sql: &str, parsed: &Parsed, form: &str) {
    assert_eq!(printed(&text(form)).as_deref(), Some(form));
    // Places are told from other parts of a debug rendering by these.
    if ["Span", "Source"].iter().any(|word| sql.contains(word)) {
        return;
    }
    let again = parse_all(&text(form), &parameters());
    assert_eq!(said(parsed), said(&again), "printed as {form}");
}

/// What a text says: its statements without their places, how many errors it has, and its parameters.
fn said(parsed: &Parsed) -> (Vec<String>, usize, &[String]) {
    let statements = parsed.statements.iter();
    let shown = statements.map(|statement| without_places(&format!("{:?}", statement.kind)));
    let errors = parsed.errors.len() + parsed.more;
    (shown.collect(), errors, &parsed.parameters)
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
