use super::*;
use crate::source::sqlserver::catalogue::SourceColumn;
use crate::source::sqlserver::checks::judgement::tests::known;

fn column(name: &str, sql_type: SqlType) -> ColumnFacts {
    ColumnFacts {
        column: SourceColumn::read_only(name, sql_type),
        computed: false,
        can_select: true,
        unmasks_by_column: true,
    }
}

/// A table in whose capture nothing is wrong.
fn well() -> TableFacts {
    TableFacts {
        name: TableName::new("dbo", "t"),
        memory_optimized: false,
        columnstore: None,
        primary_key: Some("pk".to_string()),
        unique_index: None,
        partitions: 1,
        row_filter: None,
        columns: vec![column("id", SqlType::Int)],
        instances: Some(vec![instance("dbo_t")]),
    }
}

fn instance(name: &str) -> InstanceFacts {
    InstanceFacts {
        name: name.to_string(),
        object_id: 1,
        change_table: Some(format!("{name}_CT")),
        started: true,
        switches: true,
        index: Some("pk".to_string()),
        role: None,
        in_role: false,
        can_read: true,
    }
}

fn found(facts: &TableFacts, check: Check) -> Option<Finding> {
    let mut findings = table(&known(0), facts).into_iter();
    findings.find(|finding| finding.check == check)
}

#[test]
fn what_is_well_is_ok_in_every_check() {
    let findings = table(&known(0), &well());
    let wrong = findings.iter().find(|f| f.state != CheckState::Ok);
    assert_eq!(wrong, None);
    assert!(findings.iter().all(|f| f.table.as_deref() == Some("dbo.t")));
}

#[test]
fn tables_that_no_server_captures_are_told_with_what_they_are() {
    let columnstore = TableFacts {
        columnstore: Some("c]ci".to_string()),
        instances: Some(Vec::new()),
        ..well()
    };
    let finding = found(&columnstore, Check::Storage).unwrap();
    assert_eq!(finding.state, CheckState::Failing);
    assert_eq!(finding.remedy.unwrap(), "DROP INDEX [c]]ci] ON [dbo].[t];");
    assert_eq!(
        found(&columnstore, Check::Instance).unwrap().state,
        CheckState::Failing
    );
    let in_memory = TableFacts {
        memory_optimized: true,
        ..well()
    };
    let finding = found(&in_memory, Check::Storage).unwrap();
    assert_eq!((finding.state, finding.remedy), (CheckState::Failing, None));
}

#[test]
fn large_columns_are_told_how_much_the_server_takes() {
    let mut facts = well();
    facts.columns.push(column("document", SqlType::Xml));
    let mut database = known(0);
    let verdict = |database: &DatabaseFacts| large_values(database, &facts);
    assert_eq!(verdict(&database).state, CheckState::Ok);
    database.largest = Some(65_536);
    let warned = verdict(&database);
    assert_eq!(warned.state, CheckState::Warning);
    assert!(warned.seen.contains("more than 65536 bytes to document"));
    assert_eq!(warned.remedy.as_deref(), Some(UNLIMITED_LARGE_VALUES));
    database.largest = None;
    assert_eq!(verdict(&database).state, CheckState::Unknown);
}

#[test]
fn columns_that_cannot_be_read_are_named_with_their_types() {
    let mut facts = well();
    let strange = SqlType::Unsupported("shape of somebody".to_string());
    facts.columns.push(column("odd", strange));
    let finding = found(&facts, Check::Columns).unwrap();
    assert_eq!(finding.state, CheckState::Warning);
    assert!(finding.seen.contains("odd (shape of somebody)"));
}

#[test]
fn no_third_instance_is_asked_for() {
    let mut facts = TableFacts {
        partitions: 2,
        ..well()
    };
    let mended = found(&facts, Check::PartitionSwitch).unwrap();
    assert!(
        mended
            .remedy
            .unwrap()
            .contains("@allow_partition_switch = 0")
    );
    facts.instances = Some(vec![instance("dbo_t_2"), instance("dbo_t")]);
    let finding = found(&facts, Check::PartitionSwitch).unwrap();
    assert_eq!((finding.state, finding.remedy), (CheckState::Warning, None));
}

#[test]
fn every_instance_has_its_own_grant() {
    let mut hidden = instance("d]bo_t_2");
    (hidden.change_table, hidden.can_read) = (None, false);
    let facts = TableFacts {
        instances: Some(vec![hidden, instance("dbo_t")]),
        ..well()
    };
    let findings = table(&known(0), &facts).into_iter();
    let states: Vec<_> = findings
        .filter(|finding| finding.check == Check::ChangeTable)
        .map(|finding| (finding.state, finding.remedy))
        .collect();
    let grant = "GRANT SELECT ON OBJECT::[cdc].[d]]bo_t_2_CT] TO [reader];";
    assert_eq!(
        states,
        [
            (CheckState::Warning, Some(grant.to_string())),
            (CheckState::Ok, None)
        ]
    );
}

#[test]
fn a_column_that_the_login_may_not_read_asks_for_the_table() {
    let mut facts = well();
    facts.columns[0].can_select = false;
    let finding = found(&facts, Check::Table).unwrap();
    assert_eq!(finding.state, CheckState::Failing);
    assert_eq!(
        finding.remedy.unwrap(),
        "GRANT SELECT ON OBJECT::[dbo].[t] TO [reader];"
    );
}
