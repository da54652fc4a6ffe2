//! The language as files that can be read: `tests/language/*.slt`, each a test of its own. How they are written is said
//! in `tests/language/README.md`.

mod rows;
mod world;

use std::collections::BTreeSet;

use sqllogictest::{
    ExpectedError, QueryExpect, Record, Runner, StatementExpect, parse_file,
    strict_column_validator,
};

use self::rows::Type;
use self::world::World;
use crate::support::root;

macro_rules! files {
    ($($name:ident),* $(,)?) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            holds(stringify!($name));
        })*
    };
}

files!(
    auto_cdc,
    changes,
    every_table,
    expectations,
    history,
    keywords,
    merge,
    names,
    parameters,
    refused,
    schema_change,
    time_travel,
);

#[test]
fn every_file_is_a_test() {
    let entries = std::fs::read_dir(root().join("tests/language")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files: BTreeSet<String> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_string())
        .collect();
    let tests = FILES.iter().map(ToString::to_string).collect();
    assert_eq!(files, tests, "files, and the tests that `files!` names");
}

/// Executes the records of a file, each by the connection that it names.
fn holds(name: &str) {
    let path = root().join(format!("tests/language/{name}.slt"));
    let records = parse_file::<Type>(&path).unwrap();
    assert!(records.iter().any(says_something), "{name} says nothing");
    let world = World::new();
    let mut runner = Runner::new(|| std::future::ready(world.session()));
    runner.with_column_validator(strict_column_validator);
    let mut failures = Vec::new();
    for record in records {
        if let Some(loose) = loose(&record) {
            panic!("{name}: {loose}");
        }
        if let Record::Statement { connection, .. }
        | Record::Query { connection, .. }
        | Record::Let { connection, .. } = &record
        {
            world.expect(connection);
        }
        failures.extend(runner.run(record).err());
    }
    let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn says_something(record: &Record<Type>) -> bool {
    matches!(record, Record::Query { .. } | Record::Statement { .. })
}

/// Why a record would pass whatever cdcql does.
fn loose(record: &Record<Type>) -> Option<String> {
    match record {
        Record::Statement {
            expected: StatementExpect::Error(ExpectedError::Empty),
            loc,
            ..
        }
        | Record::Query {
            expected: QueryExpect::Error(ExpectedError::Empty),
            loc,
            ..
        } => Some(format!("any error would do at {loc}")),
        Record::Halt { loc } => Some(format!("what follows {loc} would not be executed")),
        Record::Condition(condition) => Some(format!("{condition:?} would skip a record")),
        _ => None,
    }
}
