//! The catalogue procedures, as drivers call them.

use std::sync::Arc;

use datafusion::arrow::array::Int32Array;

use super::{ok, run, run_with, session};
use crate::simulator::protocol::{Parameter, SqlType};

const SCRIPT: &str = "
CREATE TABLE dbo.orders (
    order_id INT IDENTITY PRIMARY KEY,
    code     NVARCHAR(20) NOT NULL CONSTRAINT uq_code UNIQUE,
    amount   DECIMAL(18, 2) NULL DEFAULT 0,
    at       DATETIME2(3) NOT NULL,
    note     NVARCHAR(MAX) NULL
);
CREATE TABLE dbo.heap_ (a REAL NULL);
GO
EXEC sys.sp_cdc_enable_db;
GO
EXEC sys.sp_cdc_enable_table N'dbo', N'orders', NULL, @supports_net_changes = 1;
GO
";

#[tokio::test]
async fn sp_tables_takes_patterns_and_kinds() {
    let mut session = session(SCRIPT).await;
    let answer = ok(&mut session, "EXEC sp_tables 'ord%'").await;
    assert_eq!(answer.lines(), ["app_db|dbo|orders|TABLE|NULL"]);
    let answer = ok(&mut session, "EXEC sp_tables N'heap[_]', N'dbo', N'app_db'").await;
    assert_eq!(answer.lines(), ["app_db|dbo|heap_|TABLE|NULL"]);
    let answer = ok(&mut session, "EXEC sp_tables 'heap%', @fUsePattern = 0").await;
    assert!(answer.lines().is_empty());
    let views =
        "EXEC app_db.sys.sp_tables @table_owner = 'INFORMATION_SCHEMA', @table_type = \"'VIEW'\"";
    let answer = ok(&mut session, views).await;
    assert!(
        answer
            .lines()
            .contains(&"app_db|INFORMATION_SCHEMA|COLUMNS|VIEW|NULL".to_owned())
    );
    let kinds = ok(&mut session, "EXEC sp_tables '', '', '', '%'").await;
    assert_eq!(
        kinds.lines(),
        [
            "NULL|NULL|NULL|SYSTEM TABLE|NULL",
            "NULL|NULL|NULL|TABLE|NULL",
            "NULL|NULL|NULL|VIEW|NULL"
        ]
    );
    let answer = run(&mut session, "EXEC sp_tables 'x', 'dbo', 'elsewhere'").await;
    assert_eq!(answer.numbers(), [15250]);
}

#[tokio::test]
async fn sp_columns_100_describes_every_column_for_odbc_3() {
    let mut session = session(SCRIPT).await;
    let answer = ok(
        &mut session,
        "EXEC sp_columns_100 'orders', 'dbo', @ODBCVer = 3",
    )
    .await;
    let rows = answer.rows();
    let of = |name: &str| {
        let at = answer.names().iter().position(|n| *n == name).unwrap();
        rows.iter()
            .map(|row| row[at].as_str())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(answer.names().len(), 29);
    assert_eq!(of("COLUMN_NAME"), "order_id code amount at note");
    assert_eq!(of("DATA_TYPE"), "4 -9 3 93 -9");
    assert_eq!(
        of("TYPE_NAME"),
        "int identity nvarchar decimal datetime2 nvarchar"
    );
    assert_eq!(of("PRECISION"), "10 20 18 23 0");
    assert_eq!(of("LENGTH"), "4 40 20 16 0");
    assert_eq!(of("SCALE"), "0 NULL 2 3 NULL");
    assert_eq!(of("RADIX"), "10 NULL 10 NULL NULL");
    assert_eq!(of("NULLABLE"), "0 0 1 0 1");
    assert_eq!(of("COLUMN_DEF"), "NULL NULL ((0)) NULL NULL");
    assert_eq!(of("SQL_DATETIME_SUB"), "NULL NULL NULL 3 NULL");
    assert_eq!(of("CHAR_OCTET_LENGTH"), "NULL 40 NULL NULL 0");
    assert_eq!(of("ORDINAL_POSITION"), "1 2 3 4 5");
    assert_eq!(of("SS_IS_IDENTITY"), "1 0 0 0 0");
    assert_eq!(of("SS_DATA_TYPE"), "56 39 106 0 39");
}

#[tokio::test]
async fn sp_columns_knows_no_types_after_2005() {
    let mut session = session(SCRIPT).await;
    let answer = ok(
        &mut session,
        "EXEC sp_columns 'orders', @column_name = 'at'",
    )
    .await;
    let row = &answer.rows()[0];
    assert_eq!(answer.names().len(), 19);
    assert_eq!(
        (row[4].as_str(), row[6].as_str(), row[7].as_str()),
        ("-9", "23", "46")
    );
    let answer = ok(&mut session, "EXEC sp_columns 'heap_'").await;
    let row = &answer.rows()[0];
    assert_eq!((row[6].as_str(), row[9].as_str()), ("7", "10"));
}

#[tokio::test]
async fn keys_and_indexes_are_listed() {
    let mut session = session(SCRIPT).await;
    let keys = ok(&mut session, "EXEC sp_pkeys 'orders', 'dbo', 'app_db'").await;
    let line = keys.lines().join("");
    assert!(
        line.starts_with("app_db|dbo|orders|order_id|1|PK__orders__"),
        "{line}"
    );
    let indexes = ok(&mut session, "EXEC sp_statistics_100 'orders'").await;
    let of = |row: &Vec<String>| [3, 5, 6, 7, 8].map(|at| row[at].clone()).join("|");
    let lines: Vec<String> = indexes.rows().iter().map(of).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], "NULL|NULL|0|NULL|NULL");
    assert!(lines[1].ends_with("|1|1|order_id"), "{lines:?}");
    assert_eq!(lines[2], "0|uq_code|3|1|code");
    assert!(
        ok(&mut session, "EXEC sp_fkeys 'orders'")
            .await
            .lines()
            .is_empty()
    );
}

#[tokio::test]
async fn the_types_are_listed_in_the_order_of_their_numbers() {
    let mut session = session(SCRIPT).await;
    let answer = ok(&mut session, "sp_datatype_info_100 @ODBCVer = 3").await;
    let numbers: Vec<i64> = answer
        .rows()
        .iter()
        .map(|row| row[1].parse().unwrap())
        .collect();
    assert!(numbers.is_sorted());
    let date = ok(&mut session, "EXEC sp_datatype_info_100 91, 3").await;
    assert_eq!(
        date.lines(),
        ["date|91|10|'|'|NULL|1|0|3|NULL|0|NULL|date|NULL|NULL|9|1|NULL|NULL|0"]
    );
    let old = ok(&mut session, "EXEC sp_datatype_info").await;
    assert!(old.rows().iter().all(|row| row[0] != "datetime2"));
}

#[tokio::test]
async fn a_table_variable_takes_the_rows_of_a_procedure_for_one_batch() {
    let mut session = session(SCRIPT).await;
    let batch =
        "DECLARE @keys TABLE (q SYSNAME, o SYSNAME, t SYSNAME, c SYSNAME, n SMALLINT, k SYSNAME);
                 INSERT INTO @keys EXEC sp_pkeys N'orders';
                 SELECT c, n FROM @keys ORDER BY n";
    assert_eq!(ok(&mut session, batch).await.lines(), ["order_id|1"]);
    let jobs = "DECLARE @t TABLE (id UNIQUEIDENTIFIER, kind NVARCHAR(20), name SYSNAME, a INT, b INT, c BIT, d BIGINT, e BIGINT, f BIGINT);
                INSERT @t EXEC app_db.sys.sp_cdc_help_jobs;
                SELECT kind FROM @t ORDER BY kind";
    assert_eq!(ok(&mut session, jobs).await.lines(), ["capture", "cleanup"]);
    let gone = run(&mut session, "SELECT * FROM @keys").await;
    assert_eq!(gone.numbers(), [1087]);
    let misfit = "DECLARE @t TABLE (a INT); INSERT INTO @t EXEC sp_pkeys N'orders'";
    assert_eq!(run(&mut session, misfit).await.numbers(), [213]);
    let other = "DECLARE @t TABLE (a INT); INSERT INTO @t VALUES (1)";
    assert_eq!(run(&mut session, other).await.numbers(), [40510]);
}

#[tokio::test]
async fn tables_without_permission_are_not_listed() {
    let script = format!(
        "{SCRIPT}
        CREATE LOGIN reader WITH PASSWORD = 'Reader-1';
        GO
        CREATE USER reader FOR LOGIN reader;
        GRANT SELECT ON dbo.heap_ TO reader;"
    );
    let database = super::database(&script).await;
    let login = crate::simulator::session::Login {
        session_id: 52,
        user: "reader".to_owned(),
        ..Default::default()
    };
    let mut reader = database.session(login).unwrap();
    let tables = ok(&mut reader, "EXEC sp_tables @table_owner = 'dbo'").await;
    assert_eq!(tables.lines(), ["app_db|dbo|heap_|TABLE|NULL"]);
    assert!(
        ok(&mut reader, "EXEC sp_columns_100 'orders'")
            .await
            .lines()
            .is_empty()
    );
}

#[tokio::test]
async fn who_may_read_changes_is_told_of_their_instance_alone() {
    let script = format!(
        "{SCRIPT}
        EXEC sys.sp_cdc_enable_table N'dbo', N'heap_', N'gate';
        GO
        CREATE LOGIN reader WITH PASSWORD = 'Reader-1';
        GO
        CREATE USER reader FOR LOGIN reader;
        GRANT SELECT ON dbo.orders TO reader;"
    );
    let database = super::database(&script).await;
    let login = crate::simulator::session::Login {
        session_id: 52,
        user: "reader".to_owned(),
        ..Default::default()
    };
    let mut reader = database.session(login).unwrap();
    let told = ok(&mut reader, "EXEC sys.sp_cdc_help_change_data_capture").await;
    let names: Vec<&str> = told.rows().iter().map(|row| row[2].as_str()).collect();
    assert_eq!(names, ["dbo_orders"]);
    let jobs = run(&mut reader, "EXEC sys.sp_cdc_help_jobs").await;
    assert_eq!(jobs.numbers(), [22904]);
}

#[tokio::test]
async fn arguments_of_another_kind_are_converted_or_refused() {
    let mut s = session("EXEC sys.sp_cdc_enable_db").await;
    ok(
        &mut s,
        "EXEC sys.sp_cdc_change_job N'capture', @maxtrans = N'1000'",
    )
    .await;
    let maxtrans = "SELECT maxtrans FROM msdb.dbo.cdc_jobs WHERE job_type = 'capture'";
    assert_eq!(ok(&mut s, maxtrans).await.value(), "1000");
    for (arguments, number) in [
        ("@maxtrans = N'many'", 8114),
        ("@maxtrans = 3000000000", 8114),
        ("@maxtrans = 1, @maxtrans = 2", 8143),
        ("@job_type = 0x01", 8114),
    ] {
        let sql = format!("EXEC sys.sp_cdc_change_job {arguments}");
        assert_eq!(run(&mut s, &sql).await.numbers(), [number], "{sql}");
    }
}

#[tokio::test]
async fn sp_columns_100_says_which_columns_are_computed() {
    let mut session = session("CREATE TABLE dbo.sums (a int NULL, b AS a + 1)").await;
    let answer = ok(&mut session, "EXEC sp_columns_100 'sums'").await;
    let names = answer.names();
    let at = names.iter().position(|name| *name == "SS_IS_COMPUTED");
    let computed: Vec<_> = answer.rows().iter().map(|row| &row[at.unwrap()]).collect();
    assert_eq!(computed, ["0", "1"]);
}

#[tokio::test]
async fn a_variable_is_never_assigned_in_silence() {
    let mut s = session("CREATE TABLE dbo.t (k int)").await;
    let n = Parameter {
        name: "@n".to_owned(),
        sql_type: SqlType::Int,
        value: Arc::new(Int32Array::from(vec![7])),
        output: true,
    };
    for sql in [
        "SELECT @n = COUNT(*) FROM dbo.t",
        "SELECT @n = 1",
        "SELECT TOP (1) @n = k FROM dbo.t",
        "SELECT DISTINCT @n += k FROM dbo.t",
        "UPDATE dbo.t SET k = 1, @n = 2",
        "SET @n = 1",
        "EXEC sp_tables @table_name = @n OUTPUT",
    ] {
        let answer = run_with(&mut s, sql, std::slice::from_ref(&n)).await;
        assert_eq!(answer.numbers(), [40510], "{sql}");
    }
    assert_eq!(run(&mut s, "SET @n = 1").await.numbers(), [137]);
    let asked = "SELECT [@n] = @n + 1";
    let answer = run_with(&mut s, asked, std::slice::from_ref(&n)).await;
    assert_eq!((answer.names(), answer.value()), (vec!["@n"], "8"));
}
