//! What steers a flow: everything that somebody could say and that changes what it does.

use datafusion::common::ResolvedTableReference;
use datafusion::sql::sqlparser::ast::Ident;

use super::super::pace::in_words;
use super::super::run::RunOptions;
use crate::engine::{Engine, TableDeclaration};
use crate::sql::{
    AutoCdc, CreateTable, MergeStatement, OnViolation, RelationKind, Statement, StatementKind,
    StreamStart, Track,
};

/// Something that steers a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As it is written: a property, a clause, or an option of `run`.
    pub name: String,
    /// What holds.
    pub value: String,
    /// Whether the file says so; else it is the default.
    pub is_given: bool,
}

/// The settings of a flow that writes `target`: those of its stream, of its table, and those of a run without options.
pub(super) fn settings(
    engine: &Engine,
    statements: &[Statement],
    target: &ResolvedTableReference,
    declaration: &TableDeclaration,
    merge: &MergeStatement,
) -> Vec<Setting> {
    let definition = statements
        .iter()
        .find_map(|statement| match &statement.kind {
            StatementKind::CreateTable(definition) => {
                (engine.resolve(&definition.name) == *target).then_some(&**definition)
            }
            _ => None,
        });
    let mut settings = vec![start(merge)];
    settings.extend(merge.auto.as_ref().map(keys));
    settings.extend(merge.auto.iter().flat_map(kept_versions));
    settings.extend(expected(declaration));
    settings.extend(merge.comment.as_ref().map(|comment| Setting {
        name: "COMMENT of the flow".to_string(),
        value: comment.clone(),
        is_given: true,
    }));
    settings.extend(properties(definition, declaration));
    settings.push(trigger(declaration));
    settings.extend(of_run(engine));
    settings
}

fn start(merge: &MergeStatement) -> Setting {
    let start = merge.stream.as_ref().map(|stream| stream.start.clone());
    let start = start.unwrap_or_default();
    let value = match &start {
        StreamStart::Copy => "with a copy of the table".to_string(),
        StreamStart::Now => "with the first change after its first run".to_string(),
        StreamStart::From(_) => {
            let text = RelationKind::Stream(start.clone()).to_string();
            format!("with the changes {}", text.trim_start_matches("STREAM "))
        }
    };
    Setting {
        name: "begins".to_string(),
        value,
        is_given: start != StreamStart::Copy,
    }
}

/// What tells the rows of an AUTO CDC apart.
fn keys(auto: &AutoCdc) -> Setting {
    let given = auto.keys.as_ref().map(|keys| {
        let keys: Vec<_> = keys.iter().map(|key| key.value.as_str()).collect();
        keys.join(", ")
    });
    Setting {
        name: "KEYS".to_string(),
        is_given: given.is_some(),
        value: given.unwrap_or_else(|| "the source's unique key".to_string()),
    }
}

/// What an AUTO CDC keeps of rows that have changed.
fn kept_versions(auto: &AutoCdc) -> Vec<Setting> {
    let setting = |name: &str, value: String, is_given| Setting {
        name: name.to_string(),
        value,
        is_given,
    };
    const STORED: &str = "STORED AS";
    let Some(history) = &auto.history else {
        return vec![setting(STORED, "SCD TYPE 1".to_string(), false)];
    };
    let names = |columns: &[Ident]| {
        let names = columns.iter().map(|column| column.value.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let track = match &history.track {
        None => "every commit of a row".to_string(),
        Some(Track::Columns(columns)) => format!("ON ({})", names(columns)),
        Some(Track::Except(columns)) if columns.is_empty() => "ON *".to_string(),
        Some(Track::Except(columns)) => format!("ON * EXCEPT ({})", names(columns)),
    };
    vec![
        setting(STORED, "SCD TYPE 2".to_string(), true),
        setting("TRACK HISTORY", track, history.track.is_some()),
    ]
}

/// What the table says of its rows.
fn expected(declaration: &TableDeclaration) -> Vec<Setting> {
    let setting = |name: &str, value: String| Setting {
        name: name.to_string(),
        value,
        is_given: true,
    };
    let period = declaration.period.iter();
    let period =
        period.map(|(from, to)| setting("PERIOD FOR SYSTEM_TIME", format!("{from}, {to}")));
    let expectations = declaration.expectations.iter().map(|expectation| {
        let violation = match expectation.on_violation {
            OnViolation::Keep => "counted",
            OnViolation::DropRow => "DROP ROW",
            OnViolation::FailUpdate => "FAIL UPDATE",
        };
        let value = format!("{}, violations: {violation}", expectation.condition);
        setting(&format!("EXPECT {}", expectation.name.value), value)
    });
    period.chain(expectations).collect()
}

/// How often it is executed under `run --follow`.
fn trigger(declaration: &TableDeclaration) -> Setting {
    let interval = declaration.at_most_every;
    Setting {
        name: "TRIGGER".to_string(),
        value: interval.map_or("on every change".to_string(), |interval| {
            format!("on changes, at most every {}", in_words(interval))
        }),
        is_given: interval.is_some(),
    }
}

fn properties(definition: Option<&CreateTable>, declaration: &TableDeclaration) -> Vec<Setting> {
    const DELETION_VECTORS: &str = "cdcql.deletionVectors";
    let given = definition.map(|definition| definition.properties.as_slice());
    let given = given.unwrap_or_default();
    let is_given = |name: &str| {
        let mut given = given.iter();
        given.any(|property| property.name.eq_ignore_ascii_case(name))
    };
    let setting = |name: &str, value: String| Setting {
        name: name.to_string(),
        value,
        is_given: is_given(name),
    };
    let own = &declaration.options.properties;
    let vectors = own.iter().find(|(name, _)| name == DELETION_VECTORS);
    let vectors = vectors.map_or("auto", |(_, value)| value.as_str());
    let mut settings = vec![
        setting("cdcql.onGap", declaration.on_gap.to_string()),
        setting(
            "cdcql.onSchemaChange",
            declaration.on_schema_change.to_string(),
        ),
        setting(
            "cdcql.backfillColumns",
            declaration.backfill_columns.to_string(),
        ),
        setting("cdcql.readBack", declaration.read_back.to_string()),
        setting(DELETION_VECTORS, vectors.to_string()),
    ];
    let others = own.iter().filter(|(name, _)| name != DELETION_VECTORS);
    settings.extend(others.map(|(name, value)| setting(name, value.clone())));
    let partitions = &declaration.options.partition_columns;
    if !partitions.is_empty() {
        settings.push(Setting {
            name: "PARTITIONED BY".to_string(),
            value: partitions.join(", "),
            is_given: true,
        });
    }
    settings
}

fn of_run(engine: &Engine) -> Vec<Setting> {
    let options = RunOptions::default();
    let transactions = options.limits.transactions;
    let values = [
        ("--snapshot", options.anew.to_string()),
        ("--adopt", options.adopts.to_string()),
        ("--window-rows", options.limits.rows.to_string()),
        ("--window-bytes", size(options.limits.bytes)),
        (
            "--window-transactions",
            transactions.map_or("any number".to_string(), |most| most.to_string()),
        ),
        ("--parallel", options.parallel.to_string()),
        ("--chunk-rows", "what is likely to have 128 MiB".to_string()),
        ("--memory", size(engine.memory_limit() as u64)),
    ];
    let settings = values.into_iter().map(|(name, value)| Setting {
        name: name.to_string(),
        value,
        is_given: false,
    });
    settings.collect()
}

/// A size as options take it.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = units
        .into_iter()
        .find(|(_, shift)| bytes >= 1 << shift && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(
        || bytes.to_string(),
        |(unit, shift)| format!("{}{unit}", bytes >> shift),
    )
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_written_as_options_take_them() {
        for (bytes, text) in [
            (4 << 30, "4GiB"),
            (1536 << 20, "1536MiB"),
            (1000, "1000"),
            (0, "0"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
