//! The columns in which a flow's source and its target differ, and what a run makes of that.

use std::collections::BTreeSet;
use std::fmt;

use datafusion::arrow::datatypes::{Field, Schema};

use super::super::bind::Sides;
use super::super::columns::lost_columns;
use super::super::schema::{find, same_type, source_query, type_name, without_change_columns};
use crate::change::OnSchemaChange;
use crate::engine::{Engine, Overlay};
use crate::error::Error;
use crate::sink::delta::widens;

/// A column that source and target do not have alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDifference {
    /// The column.
    pub column: String,
    /// Its type in what the flow reads; `None` if that lacks it, or has lost it.
    pub source_type: Option<String>,
    /// Its type in the target, or in what is declared of it; `None` if that lacks it.
    pub target_type: Option<String>,
    /// What a run makes of it.
    pub effect: ColumnEffect,
}

/// What a run makes of a column that source and target do not have alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnEffect {
    /// The target gets it, and the table is copied again.
    Added,
    /// The target gets it, and it is NULL in rows that have not changed since it came to the source.
    AddedAsNull,
    /// The target gets its type, and is written anew.
    Widened,
    /// It stays out of the target.
    LeftOut,
    /// It is NULL in rows that change from now on.
    Null,
    /// The flow does not write it.
    Kept,
    /// The flow stops.
    Stops,
    /// No change tells of it: a capture instance that records it has to be enabled.
    NotCaptured,
}

impl fmt::Display for ColumnEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::AddedAsNull => "added as null",
            Self::Widened => "widened",
            Self::LeftOut => "left out",
            Self::Null => "null",
            Self::Kept => "kept",
            Self::Stops => "stops",
            Self::NotCaptured => "not captured",
        })
    }
}

/// The differences of a flow whose MERGE has stars; one that lists its columns takes what it names, and a table that is
/// still to be made, without declared columns, takes all.
pub(super) async fn differences(
    engine: &Engine,
    sides: &Sides,
    overlay: Overlay,
) -> Result<Vec<ColumnDifference>, Error> {
    let declared = sides.declaration.columns.clone();
    let known = sides.opened.schema().or_else(|| declared.clone());
    let (true, Some(target)) = (sides.merge.has_stars(), known) else {
        return Ok(Vec::new());
    };
    let target = match &sides.history {
        Some(history) => history.without(&target),
        None => target,
    };
    let query = source_query(&sides.statement, &sides.merge)?;
    let (_, plan) = engine.plan(&sides.statement, query, overlay).await?;
    let source = without_change_columns(plan.schema().as_arrow());
    let policy = Policy {
        on_change: sides.declaration.on_schema_change,
        is_declared: declared.is_some(),
        backfills: sides.declaration.backfill_columns,
        lost: lost_columns(&sides.table),
    };
    let left_out = |column: &str| sides.merge.leaves_out(column);
    Ok(compared(&source, &target, &policy, &left_out))
}

struct Policy<'a> {
    on_change: OnSchemaChange,
    is_declared: bool,
    backfills: bool,
    lost: BTreeSet<&'a str>,
}

impl Policy<'_> {
    /// What becomes of a column that the target lacks.
    fn of_new(&self) -> ColumnEffect {
        match self.on_change {
            _ if self.is_declared => ColumnEffect::LeftOut,
            OnSchemaChange::Ignore => ColumnEffect::LeftOut,
            OnSchemaChange::Add | OnSchemaChange::Evolve if self.backfills => ColumnEffect::Added,
            OnSchemaChange::Add | OnSchemaChange::Evolve => ColumnEffect::AddedAsNull,
            OnSchemaChange::Fail => ColumnEffect::Stops,
        }
    }

    /// What becomes of one that has another type.
    fn of_other_type(&self, own: &Field, source: &Field) -> ColumnEffect {
        let evolves = self.on_change == OnSchemaChange::Evolve && !self.is_declared;
        match evolves && widens(own.data_type(), source.data_type()) {
            true => ColumnEffect::Widened,
            false => ColumnEffect::Stops,
        }
    }

    /// What becomes of one that the source lacks.
    fn of_absent(&self) -> ColumnEffect {
        match self.on_change {
            OnSchemaChange::Ignore | OnSchemaChange::Add | OnSchemaChange::Evolve => {
                ColumnEffect::Null
            }
            OnSchemaChange::Fail => ColumnEffect::Stops,
        }
    }
}

fn compared(
    source: &Schema,
    target: &Schema,
    policy: &Policy<'_>,
    left_out: &dyn Fn(&str) -> bool,
) -> Vec<ColumnDifference> {
    let typed = |field: &Field| type_name(field.data_type());
    let mut found = Vec::new();
    for field in source.fields() {
        let is_lost = policy.lost.contains(field.name().as_str());
        let own = find(target, field.name());
        let effect = match own {
            None if is_lost && policy.on_change != OnSchemaChange::Fail => continue,
            None => policy.of_new(),
            Some(_) if is_lost && left_out(field.name()) => ColumnEffect::Kept,
            Some(_) if is_lost => policy.of_absent(),
            Some(own) if same_type(own.data_type(), field.data_type()) => continue,
            Some(own) => policy.of_other_type(own, field),
        };
        found.push(ColumnDifference {
            column: field.name().clone(),
            source_type: (!is_lost).then(|| typed(field)),
            target_type: own.map(typed),
            effect,
        });
    }
    let absent = target.fields().iter();
    let absent = absent.filter(|field| find(source, field.name()).is_none());
    found.extend(absent.map(|field| ColumnDifference {
        column: field.name().clone(),
        source_type: None,
        target_type: Some(typed(field)),
        effect: match left_out(field.name()) {
            true => ColumnEffect::Kept,
            false => policy.of_absent(),
        },
    }));
    found
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        let fields = columns
            .iter()
            .map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        Schema::new(fields.collect::<Vec<_>>())
    }

    fn effects(
        policy: OnSchemaChange,
        is_declared: bool,
        backfills: bool,
    ) -> Vec<(String, ColumnEffect)> {
        let (int, text) = (DataType::Int32, DataType::Utf8);
        let source = schema(&[
            ("id", int.clone()),
            ("new", int.clone()),
            ("gone", int.clone()),
            ("n", int.clone()),
            ("w", DataType::Int64),
        ]);
        let target = schema(&[
            ("ID", int.clone()),
            ("gone", int.clone()),
            ("n", text),
            ("w", int.clone()),
            ("old", int.clone()),
            ("own", int),
        ]);
        let policy = Policy {
            on_change: policy,
            is_declared,
            backfills,
            lost: BTreeSet::from(["gone"]),
        };
        let found = compared(&source, &target, &policy, &|column| column == "own");
        found
            .into_iter()
            .map(|found| (found.column, found.effect))
            .collect()
    }

    #[test]
    fn each_policy_tells_what_a_run_makes_of_a_difference() {
        use ColumnEffect::{Added, AddedAsNull, Kept, LeftOut, Null, Stops, Widened};
        for (policy, is_declared, new, absent, wider) in [
            (OnSchemaChange::Fail, false, Stops, Stops, Stops),
            (OnSchemaChange::Fail, true, LeftOut, Stops, Stops),
            (OnSchemaChange::Ignore, false, LeftOut, Null, Stops),
            (OnSchemaChange::Add, false, Added, Null, Stops),
            (OnSchemaChange::Evolve, false, Added, Null, Widened),
            (OnSchemaChange::Evolve, true, LeftOut, Null, Stops),
        ] {
            let expected = [
                ("new", new),
                ("gone", absent),
                ("n", Stops),
                ("w", wider),
                ("old", absent),
                ("own", Kept),
            ];
            let expected = expected.map(|(column, effect)| (column.to_string(), effect));
            assert_eq!(effects(policy, is_declared, true), expected, "{policy}");
            let not_filled = expected.map(|(column, effect)| match effect {
                Added => (column, AddedAsNull),
                effect => (column, effect),
            });
            assert_eq!(effects(policy, is_declared, false), not_filled, "{policy}");
        }
    }
}
