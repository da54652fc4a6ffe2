//! Every type of SQL Server, from a script through the wire to a query's answer.

use crate::support::Project;

const FILE: &str = "pipelines/p.sql";

/// A project with a database, and a pipeline file that connects to it.
fn project(database: &str) -> Project {
    let project = Project::new();
    project.write("pipelines/app_db.sql", database);
    project.write(
        FILE,
        "CREATE CONNECTION db TYPE sqlserver OPTIONS (url 'embedded:app_db.sql');\n",
    );
    project
}

/// The cells of the rows that a query prints.
fn cells(project: &Project, sql: &str) -> Vec<Vec<String>> {
    let answer = project
        .cdcql(&["query", "--pipeline", FILE, "-c", sql])
        .succeeded()
        .stdout;
    let rows = answer.lines().filter(|line| line.starts_with('|')).skip(1);
    rows.map(|line| {
        let inner = line.trim_matches('|');
        inner
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    })
    .collect()
}

/// A type, two values in T-SQL, and how a query shows them.
type Case = (&'static str, [&'static str; 2], [&'static str; 2]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("BIT", ["0", "1"], ["false", "true"]),
    ("TINYINT", ["0", "255"], ["0", "255"]),
    ("SMALLINT", ["-32768", "32767"], ["-32768", "32767"]),
    ("INT", ["-2147483648", "2147483647"], ["-2147483648", "2147483647"]),
    ("BIGINT", ["-9223372036854775808", "9223372036854775807"], ["-9223372036854775808", "9223372036854775807"]),
    ("REAL", ["0.1", "-1.5e10"], ["0.1", "-15000000000.0"]),
    ("FLOAT", ["0.1", "-1.7976931348623157e308"], ["0.1", "-1.7976931348623157e308"]),
    ("DECIMAL(38, 38)", ["0.99999999999999999999999999999999999999", "-0.00000000000000000000000000000000000001"],
        ["0.99999999999999999999999999999999999999", "-0.00000000000000000000000000000000000001"]),
    ("NUMERIC(38, 0)", ["99999999999999999999999999999999999999", "-1"], ["99999999999999999999999999999999999999", "-1"]),
    ("MONEY", ["-922337203685477.5808", "922337203685477.5807"], ["-922337203685477.5808", "922337203685477.5807"]),
    ("SMALLMONEY", ["-214748.3648", "214748.3647"], ["-214748.3648", "214748.3647"]),
    ("DATE", ["'0001-01-01'", "'9999-12-31'"], ["0001-01-01", "9999-12-31"]),
    ("TIME(7)", ["'00:00:00.0000001'", "'23:59:59.9999999'"], ["00:00:00.0000001", "23:59:59.9999999"]),
    ("SMALLDATETIME", ["'1900-01-01'", "'2079-06-06 23:59'"], ["1900-01-01T00:00:00", "2079-06-06T23:59:00"]),
    ("DATETIME", ["'1753-01-01'", "'9999-12-31 23:59:59.997'"], ["1753-01-01T00:00:00", "9999-12-31T23:59:59.997"]),
    ("DATETIME2(7)", ["'0001-01-01'", "'9999-12-31 23:59:59.9999999'"], ["0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"]),
    ("DATETIMEOFFSET(7)", ["'2024-05-05 12:00:00.1234567 +05:30'", "'9999-12-31 23:59:59 +00:00'"],
        ["2024-05-05T06:30:00.123456Z", "9999-12-31T23:59:59Z"]),
    ("CHAR(3)", ["'a'", "N'Жé'"], ["a", "?é"]),
    ("VARCHAR(20)", ["'Zoë €'", "''"], ["Zoë €", ""]),
    ("NCHAR(2)", ["N'Ж'", "N'😀'"], ["Ж", "😀"]),
    ("NVARCHAR(20)", ["N'ゴッサム 😀'", "CAST(0x00D8 AS NVARCHAR(1))"], ["ゴッサム 😀", "\u{fffd}"]),
    ("SYSNAME", ["N'x'", "N'y'"], ["x", "y"]),
    ("VARCHAR(20) COLLATE Japanese_CI_AS", ["N'ゴッサム表'", "N'é'"], ["ゴッサム表", "e"]),
    ("VARCHAR(20) COLLATE Cyrillic_General_CI_AS", ["N'Готэм'", "N'é'"], ["Готэм", "e"]),
    ("VARCHAR(20) COLLATE Greek_BIN2", ["N'Γκόθαμ'", "N'ж'"], ["Γκόθαμ", "?"]),
    ("VARCHAR(20) COLLATE Latin1_General_100_CI_AS_SC_UTF8", ["N'Gotham 表😀'", "N'ж'"], ["Gotham 表😀", "ж"]),
    ("BINARY(3)", ["0x01", "1"], ["010000", "000001"]),
    ("VARBINARY(8)", ["0x", "0xDEADBEEF"], ["", "deadbeef"]),
    ("UNIQUEIDENTIFIER", ["'00112233-4455-6677-8899-AABBCCDDEEFF'", "'{FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF}'"],
        ["00112233-4455-6677-8899-aabbccddeeff", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    ("ROWVERSION", ["DEFAULT", "DEFAULT"], ["00000000000007d1", "00000000000007d2"]),
    ("TEXT", ["'é'", "N'Ж'"], ["é", "?"]),
    ("NTEXT", ["N'Ж'", "N''"], ["Ж", ""]),
    ("IMAGE", ["0x00FF", "0x"], ["00ff", ""]),
    ("XML", ["N'<a b=''1''></a>'", "N'<ж/>'"], ["<a b=\"1\"/>", "<ж/>"]),
    ("VARCHAR(MAX)", ["'é'", "REPLICATE(CAST('é' AS VARCHAR(MAX)), 9)"], ["é", "ééééééééé"]),
    ("NVARCHAR(MAX)", ["N'😀'", "N'Ж'"], ["😀", "Ж"]),
    ("VARBINARY(MAX)", ["0x", "0x01"], ["", "01"]),
];

fn database() -> String {
    let columns: Vec<String> = (0..)
        .zip(CASES)
        .map(|(at, case)| format!("c{at} {}", case.0))
        .collect();
    let row = |row: usize| {
        let values: Vec<&str> = CASES.iter().map(|case| case.1[row]).collect();
        format!(
            "INSERT INTO dbo.a VALUES ({row}, {});\nGO\n",
            values.join(", ")
        )
    };
    format!(
        "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, {});
GO
EXEC sys.sp_cdc_enable_db;
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
GO
{}{}",
        columns.join(", "),
        row(0),
        row(1)
    )
}

/// Every value as the cases have it.
fn assert_cases(found: &[Vec<String>]) {
    assert_eq!(found.len(), 2);
    for (row, cells) in found.iter().enumerate() {
        assert_eq!(cells.len(), CASES.len());
        for (cell, case) in cells.iter().zip(CASES) {
            assert_eq!(cell, case.2[row], "{} {}", case.0, case.1[row]);
        }
    }
}

#[test]
fn every_type_and_its_edges_are_read_from_the_table_and_from_its_changes() {
    let project = project(&database());
    let columns: Vec<String> = (0..CASES.len()).map(|at| format!("c{at}")).collect();
    let columns = columns.join(", ");
    assert_cases(&cells(
        &project,
        &format!("SELECT {columns} FROM db.dbo.a ORDER BY id"),
    ));
    assert_cases(&cells(
        &project,
        &format!("SELECT {columns} FROM db.dbo.a CHANGES ORDER BY id"),
    ));
}

/// Types that no column of a Delta table holds, and what an error calls them.
const UNREAD: [(&str, &str); 3] = [
    ("SQL_VARIANT", "sql_variant"),
    ("HIERARCHYID", "hierarchyid"),
    ("GEOGRAPHY", "geography"),
];

/// A project with a table of two rows that has a column `odd` of such a type.
fn with_odd_column(sql_type: &str) -> Project {
    project(&format!(
        "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, odd {sql_type} NULL);
GO
INSERT INTO dbo.a (id) VALUES (1), (2);
"
    ))
}

#[test]
fn a_type_that_is_not_read_is_refused_by_the_columns_name() {
    for (sql_type, name) in UNREAD {
        let project = with_odd_column(sql_type);
        let ids = cells(&project, "SELECT id FROM db.dbo.a ORDER BY id");
        assert_eq!(ids, [["1"], ["2"]], "the other columns can be read");
        let sql = "SELECT odd FROM db.dbo.a";
        let ended = project.cdcql(&["query", "--pipeline", FILE, "-c", sql]);
        let message = format!("column odd of dbo.a has type {name}");
        let _ = ended.failed(3, &[&message]);
    }
}

#[test]
fn explain_plans_the_columns_that_a_merge_reads_and_no_others() {
    let project = with_odd_column("SQL_VARIANT");
    let text = project.read(FILE) + "CREATE TABLE t (id INT) USING DELTA LOCATION 'lake/t';\n";
    project.write(FILE, &text);
    let merge = "MERGE INTO t USING db.dbo.a AS s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)";
    let sql = format!("EXPLAIN {merge}");
    let plan = project
        .cdcql(&["query", "--pipeline", FILE, "-c", &sql])
        .succeeded()
        .stdout;
    assert!(plan.contains("DeltaWriteExec"), "{plan}");
    assert!(!plan.contains("odd"), "{plan}");
}
