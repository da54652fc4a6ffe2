//! The README's language is the parser's: what it shows is read, and what can be written is in it.

use super::text;
use crate::sql::cdc_clauses::CLAUSES;
use crate::sql::table::{PROPERTIES, STREAMING_CLAUSES, TABLE_CLAUSES};
use crate::sql::{CONNECTION_OPTIONS, Parameters, parse_all};

const README: &str = include_str!("../../../README.md");

/// The blocks of SQL, but for those in others' languages: T-SQL, and what is compared with ours.
fn blocks() -> Vec<&'static str> {
    let blocks = README.split("```sql\n").skip(1);
    let blocks = blocks.map(|block| block.split_once("```").unwrap().0);
    let others = ["EXEC sys.", "GRANT ", "-- Databricks", "-- Spark"];
    let is_ours = |block: &&str| !others.iter().any(|other| block.contains(other));
    blocks.filter(is_ours).collect()
}

#[test]
fn every_statement_of_the_readme_is_read() {
    let mut parameters = Parameters::default();
    assert!(parameters.set("region", "EU"));
    let blocks = blocks();
    assert!(blocks.len() >= 8, "{}", blocks.len());
    for block in blocks {
        let parsed = parse_all(&text(block), &parameters);
        assert!(parsed.errors.is_empty(), "{block}\n{:?}", parsed.errors);
        assert!(!parsed.statements.is_empty(), "{block}");
    }
}

#[test]
fn every_clause_option_and_property_is_in_the_readme() {
    let clauses = [CLAUSES, STREAMING_CLAUSES, TABLE_CLAUSES, PROPERTIES].concat();
    let lacks: Vec<_> = clauses
        .into_iter()
        .chain(CONNECTION_OPTIONS.iter().copied())
        .filter(|word| !README.contains(word))
        .collect();
    assert!(lacks.is_empty(), "{lacks:?}");
}
