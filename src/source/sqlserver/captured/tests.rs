use super::*;

/// `dbo.customers(id int, name nvarchar(64), notes nvarchar(max))`, keyed by `id`.
pub(in crate::source::sqlserver) fn customers() -> CapturedTable {
    let column = |name: &str, ordinal, sql_type| CapturedColumn {
        name: name.to_string(),
        source_name: Some(name.to_string()),
        sql_type,
        ordinal,
        nullable: name != "id",
        masked: false,
    };
    let text = |name: &str, large| SqlType::Text {
        name: name.to_string(),
        large,
        unicode: None,
    };
    let columns = vec![
        column("id", 1, SqlType::Int),
        column("name", 2, text("nvarchar(64)", false)),
        column("notes", 3, text("nvarchar(max)", true)),
    ];
    let name = TableName::new("dbo", "customers");
    CapturedTable {
        schema: feed_schema(&name, &columns).unwrap(),
        name,
        instance: "dbo_customers".to_string(),
        relation: ChangeRelation::Table {
            name: "dbo_customers_CT".to_string(),
        },
        change_object_id: 7,
        source_object_id: 3,
        columns,
        key: vec![0],
        missing_key: None,
        start_lsn: "0:20:1".parse().unwrap(),
        row_filter: false,
        has_command_id: true,
        modified: [None; 2],
    }
}

#[test]
fn a_key_is_never_cut_short() {
    let column = |name: &str, column_id| IndexColumn {
        name: name.to_string(),
        column_id,
    };
    let index = [column("b", 2), column("a", 1)];
    assert_eq!(key_of(&index, &[Some(1), Some(2)], &[]), (vec![1, 0], None));
    assert_eq!(
        key_of(&index, &[Some(2)], &[1]).1,
        Some(("a".to_string(), KeyProblem::Computed))
    );
    assert_eq!(
        key_of(&index, &[Some(2)], &[]),
        (vec![], Some(("a".to_string(), KeyProblem::NotCaptured)))
    );
}

#[test]
fn the_feed_has_nullable_columns_and_three_of_its_own() {
    let schema = customers().schema_ref();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            "id",
            "name",
            "notes",
            "_change_type",
            "_commit_version",
            "_commit_timestamp"
        ]
    );
    assert!(schema.field(0).is_nullable());
    assert!(!schema.field(3).is_nullable());
}

#[test]
fn a_reserved_name_is_refused() {
    let mut columns = customers().columns;
    columns[1].name = "_commit_version".to_string();
    let error = feed_schema(&TableName::new("dbo", "t"), &columns).unwrap_err();
    assert!(matches!(error, SourceError::ReservedColumn { .. }));
}
