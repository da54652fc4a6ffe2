//! What follows from the facts of a table.

use super::database::DatabaseFacts;
use super::remedy::{NewInstance, UNLIMITED_LARGE_VALUES, change_table};
use super::table::{ColumnFacts, InstanceFacts, TableFacts};
use crate::change::{Check, CheckState, Finding};
use crate::source::sqlserver::ident::{TableName, quote};
use crate::source::sqlserver::types::SqlType;

/// A table has two capture instances at most.
const INSTANCES: usize = 2;

/// The findings of a table.
pub(super) fn table(database: &DatabaseFacts, facts: &TableFacts) -> Vec<Finding> {
    let mut findings = vec![readable(database, facts)];
    findings.extend(storage(facts));
    findings.extend(captured(database, facts));
    findings.extend(columns(database, facts));
    findings.push(row_filter(database, facts));
    let findings = findings.into_iter();
    findings.map(|finding| finding.of(&facts.name)).collect()
}

/// A table that was there a moment ago.
pub(super) fn gone(table: &TableName) -> Finding {
    failing(Check::Table, "was dropped while it was looked at").of(table)
}

fn ok(check: Check, seen: impl Into<String>) -> Finding {
    Finding::new(check, CheckState::Ok, seen)
}

fn warning(check: Check, seen: impl Into<String>) -> Finding {
    Finding::new(check, CheckState::Warning, seen)
}

fn failing(check: Check, seen: impl Into<String>) -> Finding {
    Finding::new(check, CheckState::Failing, seen)
}

/// Columns' names, with commas between; `None` if there are none.
fn names<'a>(columns: impl Iterator<Item = &'a ColumnFacts>) -> Option<String> {
    let names = columns.map(|column| column.column.name.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    Some(names).filter(|names| !names.is_empty())
}

fn readable(database: &DatabaseFacts, facts: &TableFacts) -> Finding {
    let unread = facts.columns.iter().filter(|column| !column.can_select);
    match names(unread) {
        None => ok(Check::Table, "can be read"),
        Some(columns) => failing(
            Check::Table,
            format!("this login may not read {columns}, which a first copy and a read by key need"),
        )
        .mended_by(database.grantee().select(&facts.name)),
    }
}

/// Tables that no instance can be made of.
fn storage(facts: &TableFacts) -> Option<Finding> {
    if facts.memory_optimized {
        return Some(failing(
            Check::Storage,
            "is memory-optimized, and SQL Server captures no such table: copy it by other means",
        ));
    }
    let index = facts.columnstore.as_ref()?;
    Some(
        failing(
            Check::Storage,
            "has a clustered columnstore index, and SQL Server captures no such table: make it a rowstore table",
        )
        .mended_by(format!("DROP INDEX {} ON {};", quote(index), facts.name.quoted())),
    )
}

fn captured(database: &DatabaseFacts, facts: &TableFacts) -> Vec<Finding> {
    let Some(instances) = &facts.instances else {
        return vec![Finding::new(
            Check::Instance,
            CheckState::Unknown,
            "known when cdc.change_tables can be read: look again then",
        )];
    };
    let Some(newest) = instances.first() else {
        return vec![not_captured(database, facts)];
    };
    let mut findings = Vec::new();
    for instance in instances {
        findings.push(started(instance));
        findings.push(changes(database, facts, instance));
        findings.extend(gating_role(database, instance));
    }
    if instances.len() > 1 {
        // Which of them a flow reads, its checkpoint decides: binding it tells whether that can be read.
        let failing = findings.iter_mut();
        let failing = failing.filter(|finding| finding.state == CheckState::Failing);
        failing.for_each(|finding| finding.state = CheckState::Warning);
    }
    findings.push(key(database, facts, newest));
    findings.push(partition_switch(database, facts, newest));
    findings
}

fn not_captured(database: &DatabaseFacts, facts: &TableFacts) -> Finding {
    let index = if facts.primary_key.is_some() {
        None
    } else {
        facts.unique_index.as_deref()
    };
    let new = NewInstance {
        table: &facts.name,
        name: &format!("{}_{}", facts.name.schema, facts.name.name),
        role: None,
        index,
        without_switch: false,
    };
    failing(
        Check::Instance,
        "is not captured; an owner of the database may enable it",
    )
    .mended_by(new.enable(&database.grantee()))
}

fn started(instance: &InstanceFacts) -> Finding {
    if instance.started {
        return ok(Check::Instance, instance.name.clone());
    }
    failing(
        Check::Instance,
        format!(
            "{} has not started yet: wait for a scan of the log, or look at the capture job",
            instance.name
        ),
    )
}

/// Whether the instance's changes can be read, by its table or, where that is refused, by its function.
fn changes(database: &DatabaseFacts, facts: &TableFacts, instance: &InstanceFacts) -> Finding {
    let derived = change_table(&instance.name);
    let name = instance.change_table.as_deref().unwrap_or(&derived);
    let name = TableName::new("cdc", name);
    if instance.can_read {
        return ok(Check::ChangeTable, format!("{name} can be read"));
    }
    let in_role = instance.role.is_none() || instance.in_role;
    let by_function = in_role && facts.columns.iter().all(|column| column.can_select);
    let remedy = database.grantee().select(&name);
    if by_function {
        let seen = format!(
            "this login may not read {name}: its changes are read by the function of the instance, which does not tell in \
             which order a transaction changed a row"
        );
        return warning(Check::ChangeTable, seen).mended_by(remedy);
    }
    let seen = format!("this login may not read {name}");
    failing(Check::ChangeTable, seen).mended_by(remedy)
}

/// The role that guards the instance's function: needless where the change table itself can be read.
fn gating_role(database: &DatabaseFacts, instance: &InstanceFacts) -> Option<Finding> {
    let role = instance.role.as_ref()?;
    Some(if instance.in_role {
        ok(
            Check::GatingRole,
            format!("{role} of {}: this login is in it", instance.name),
        )
    } else if instance.can_read || database.owner {
        ok(
            Check::GatingRole,
            format!(
                "{role} of {}: not needed beside the change table",
                instance.name
            ),
        )
    } else {
        failing(
            Check::GatingRole,
            format!("this login is not in {role}, which {} names", instance.name),
        )
        .mended_by(database.grantee().in_role(role))
    })
}

fn key(database: &DatabaseFacts, facts: &TableFacts, newest: &InstanceFacts) -> Finding {
    if let Some(index) = &newest.index {
        return ok(Check::Key, index.clone());
    }
    let index = facts.primary_key.as_ref().or(facts.unique_index.as_ref());
    let seen = format!("{} was enabled without a unique index", newest.name);
    match index {
        Some(index) => failing(
            Check::Key,
            format!("{seen}, and the table has {index}: capture it once more with that"),
        )
        .mended_by(again(database, facts, newest, Some(index), false)),
        None => failing(
            Check::Key,
            format!("{seen}, and the table has none: give it a primary key first"),
        ),
    }
}

fn partition_switch(
    database: &DatabaseFacts,
    facts: &TableFacts,
    newest: &InstanceFacts,
) -> Finding {
    if facts.partitions <= 1 {
        return ok(Check::PartitionSwitch, "the table has one partition");
    }
    if !newest.switches {
        return ok(
            Check::PartitionSwitch,
            format!("{} refuses it", newest.name),
        );
    }
    warning(
        Check::PartitionSwitch,
        format!(
            "{} allows it, and no change tells of the rows: capture the table once more without",
            newest.name
        ),
    )
    .mended_by(again(
        database,
        facts,
        newest,
        newest.index.as_deref(),
        true,
    ))
}

/// A second instance beside the newest one; empty if there are two already.
fn again(
    database: &DatabaseFacts,
    facts: &TableFacts,
    newest: &InstanceFacts,
    index: Option<&str>,
    without_switch: bool,
) -> String {
    let instances = facts.instances.iter().flatten();
    if instances.count() >= INSTANCES {
        return String::new();
    }
    let new = NewInstance {
        table: &facts.name,
        name: &format!("{}_2", newest.name),
        role: newest.role.as_deref(),
        index,
        without_switch,
    };
    new.enable(&database.grantee())
}

fn columns(database: &DatabaseFacts, facts: &TableFacts) -> Vec<Finding> {
    vec![
        types(facts),
        computed(facts),
        collations(database, facts),
        masks(database, facts),
        large_values(database, facts),
    ]
}

fn types(facts: &TableFacts) -> Finding {
    let unread = facts.columns.iter();
    let unread = unread.filter(|facts| !facts.column.sql_type.is_supported());
    let named = unread.map(|facts| format!("{} ({})", facts.column.name, facts.column.sql_type));
    let named = named.collect::<Vec<_>>().join(", ");
    if named.is_empty() {
        return ok(Check::Columns, "can be read");
    }
    warning(
        Check::Columns,
        format!("cannot be read: {named}; a flow leaves them out with * EXCEPT (…)"),
    )
}

fn computed(facts: &TableFacts) -> Finding {
    match names(facts.columns.iter().filter(|column| column.computed)) {
        None => ok(Check::Computed, "none"),
        Some(columns) => warning(
            Check::Computed,
            format!("changes never hold {columns}: left out, compute them in the flow"),
        ),
    }
}

/// Text that is not Unicode goes through the database's code page on its way into a change table.
fn collations(database: &DatabaseFacts, facts: &TableFacts) -> Finding {
    let mut alterations = Vec::new();
    let mut named = Vec::new();
    for facts_of in &facts.columns {
        let column = &facts_of.column;
        let (
            SqlType::Text {
                unicode: Some(unicode),
                ..
            },
            Some(collation),
        ) = (&column.sql_type, &column.collation)
        else {
            continue;
        };
        if collation.name == database.collation || facts_of.computed {
            continue;
        }
        named.push(format!("{} ({})", column.name, collation.name));
        alterations.push(format!(
            "ALTER TABLE {} ALTER COLUMN {} {unicode} COLLATE {} {};",
            facts.name.quoted(),
            quote(&column.name),
            collation.name,
            if column.nullable { "NULL" } else { "NOT NULL" },
        ));
    }
    if named.is_empty() {
        return ok(Check::Collation, "as the database's, or Unicode");
    }
    warning(
        Check::Collation,
        format!(
            "another than the database's ({}): {}; SQL Server may spoil letters beyond ASCII in the change table: make them \
             Unicode",
            database.collation,
            named.join(", ")
        ),
    )
    .mended_by(alterations.join("\n"))
}

fn masks(database: &DatabaseFacts, facts: &TableFacts) -> Finding {
    let masked = || facts.columns.iter().filter(|facts| facts.column.masked);
    let Some(columns) = names(masked()) else {
        return ok(Check::Masking, "nothing is masked for this login");
    };
    let by_table = masked().all(|column| column.unmasks_by_column);
    warning(
        Check::Masking,
        format!("{columns} masked for this login: a flow that reads them is refused"),
    )
    .mended_by(database.grantee().unmask(&facts.name, by_table))
}

fn large_values(database: &DatabaseFacts, facts: &TableFacts) -> Finding {
    let large = facts.columns.iter();
    let large = large.filter(|column| column.column.sql_type.is_large());
    let Some(columns) = names(large) else {
        return ok(Check::LargeValues, "no large column is captured");
    };
    match database.largest {
        Some(-1) => ok(Check::LargeValues, "values of any size are captured"),
        Some(bytes) => warning(
            Check::LargeValues,
            format!(
                "a statement of the application that writes more than {bytes} bytes to {columns} fails (error 7139)"
            ),
        )
        .mended_by(UNLIMITED_LARGE_VALUES),
        None => Finding::new(
            Check::LargeValues,
            CheckState::Unknown,
            format!("this server does not tell how large values of {columns} may be"),
        ),
    }
}

fn row_filter(database: &DatabaseFacts, facts: &TableFacts) -> Finding {
    if let Some(policy) = &facts.row_filter {
        return warning(
            Check::RowFilter,
            format!(
                "security policy {policy} filters the rows: a first copy lacks those that it hides from this login, and \
                 changes tell of all: let its predicate pass this login"
            ),
        );
    }
    if database.sees_definitions {
        return ok(Check::RowFilter, "no policy filters the rows");
    }
    Finding::new(
        Check::RowFilter,
        CheckState::Unknown,
        "this login may not see policies",
    )
    .mended_by(database.grantee().on_database("VIEW DEFINITION"))
}

#[cfg(test)]
mod tests;
