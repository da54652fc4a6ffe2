//! Tables that cannot be copied as they are, and files.

use super::{CAPTURE, FILE, GRANTS, LOGIN, Look, Patient, TABLE, USER};

fn with_table(table: &str) -> Patient {
    let script = format!("{table}\nGO\n");
    let capture = CAPTURE.replace("INSERT INTO dbo.a VALUES (2, 20);\nGO\n", "");
    Patient::new(&[&script, &capture, LOGIN, USER, GRANTS])
}

#[test]
fn masks_are_taken_off_and_hold_only_the_flow_that_reads_them() {
    let patient = with_table(
        "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, email NVARCHAR(50) MASKED WITH (FUNCTION = 'default()') NULL);",
    );
    let file = patient.served.project.read(FILE);
    let left_out = file
        .replace("SET *", "SET * EXCEPT (email)")
        .replace("INSERT *", "INSERT * EXCEPT (email)");
    patient.served.project.write(FILE, &left_out);
    let look = patient.look();
    assert_eq!(look.code, Some(0), "{look:#?}");
    assert_eq!(look.state("masking"), "warning");
    patient.served.project.write(FILE, &file);
    let (first, last) = patient.mend(&["failing", "warning"]);
    assert_eq!(first.code, Some(3), "{first:#?}");
    assert_eq!(first.checks(&["failing"]), ["masking"]);
    assert_eq!(
        first.remedy("masking"),
        "GRANT UNMASK ON OBJECT::[dbo].[a] TO [read]]er];"
    );
    last.is_well();
}

#[test]
fn what_changes_do_not_hold_or_spoil_is_a_warning() {
    let patient = with_table(
        "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NOT NULL, twice AS n * 2,
         name VARCHAR(20) COLLATE Cyrillic_General_CI_AS NOT NULL, same NVARCHAR(20) COLLATE Cyrillic_General_CI_AS NULL);",
    );
    let look = patient.look();
    assert_eq!(look.code, Some(0), "{look:#?}");
    assert_eq!(
        look.checks(&["warning"]),
        ["computed columns", "collations"]
    );
    assert!(look.seen("computed columns").contains("twice"));
    assert_eq!(
        look.remedy("collations"),
        "ALTER TABLE [dbo].[a] ALTER COLUMN [name] nvarchar(20) COLLATE Cyrillic_General_CI_AS NOT NULL;"
    );
    patient.served.execute(look.remedy("collations"));
    assert_eq!(patient.look().checks(&["warning"]), ["computed columns"]);
}

#[test]
fn an_instance_without_a_key_is_made_once_more_with_the_index() {
    let patient = with_table(
        "CREATE TABLE dbo.a (id INT NOT NULL, n INT NULL);\nGO\nCREATE UNIQUE NONCLUSTERED INDEX [by id] ON dbo.a (id);",
    );
    let (first, last) = patient.mend(&["failing", "warning"]);
    assert_eq!(first.code, Some(3), "{first:#?}");
    assert_eq!(first.checks(&["failing"]), ["key"]);
    assert_eq!(
        first.remedy("key"),
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
         @capture_instance = N'dbo_a_2', @index_name = N'by id';\n\
         GRANT SELECT ON OBJECT::[cdc].[dbo_a_2_CT] TO [read]]er];"
    );
    last.is_well();
    assert_eq!(last.seen("key"), "by id");
}

#[test]
fn a_key_that_does_not_do_is_told_with_its_column() {
    let patient = with_table(
        "CREATE TABLE dbo.a (id INT NOT NULL, at DATETIME2(7) NOT NULL, CONSTRAINT pk_a PRIMARY KEY (id, at));",
    );
    let look = patient.look();
    assert_eq!(look.code, Some(3), "{look:#?}");
    assert_eq!(look.checks(&["failing"]), ["key"]);
    assert!(
        look.seen("key")
            .contains("key column at of dbo.a has type datetime2(7)")
    );
}

#[test]
fn an_instance_that_lets_partitions_be_switched_is_made_once_more_without() {
    let patient = with_table(
        "CREATE PARTITION FUNCTION by_year (INT) AS RANGE RIGHT FOR VALUES (2023, 2024);
GO
CREATE PARTITION SCHEME years AS PARTITION by_year ALL TO ([PRIMARY]);
GO
CREATE TABLE dbo.a (id INT NOT NULL, year INT NOT NULL, CONSTRAINT pk_a PRIMARY KEY (id, year)) ON years (year);",
    );
    let file = patient.served.project.read(FILE);
    let file = file.replace("= change.id", "= change.id AND target.year = change.year");
    patient.served.project.write(FILE, &file);
    let (first, last) = patient.mend(&["failing", "warning"]);
    assert_eq!(first.checks(&["failing", "warning"]), ["partition switch"]);
    assert!(
        first
            .remedy("partition switch")
            .contains(", @index_name = N'pk_a', @allow_partition_switch = 0;")
    );
    last.is_well();
}

#[test]
fn policies_are_told_to_who_may_see_them_and_unknown_to_others() {
    let patient =
        with_table("CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, tenant INT NOT NULL);");
    let policy = [
        "CREATE FUNCTION dbo.of_tenant(@tenant AS INT) RETURNS TABLE WITH SCHEMABINDING AS RETURN SELECT 1 AS ok WHERE @tenant = 1;",
        "CREATE SECURITY POLICY dbo.tenants ADD FILTER PREDICATE dbo.of_tenant(tenant) ON dbo.a WITH (STATE = ON);",
        "REVOKE VIEW DEFINITION FROM [read]]er];",
    ];
    for statement in policy {
        patient.served.execute(statement);
    }
    let look = patient.look();
    assert_eq!(look.state("row-level security"), "unknown");
    let remedy = look.remedy("row-level security");
    assert_eq!(remedy, "GRANT VIEW DEFINITION TO [read]]er];");
    patient.served.execute(remedy);
    let look = patient.look();
    assert_eq!(look.code, Some(0));
    assert_eq!(look.state("row-level security"), "warning");
    assert!(look.seen("row-level security").contains("dbo.tenants"));
}

#[test]
fn a_table_that_is_not_there_is_told_with_the_nearest_name() {
    let patient = Patient::new(&[TABLE, CAPTURE, LOGIN, USER, GRANTS]);
    let file = patient
        .served
        .project
        .read(FILE)
        .replace("db.dbo.a", "db.dbo.aa");
    patient.served.project.write(FILE, &file);
    let look = patient.look();
    assert_eq!(look.code, Some(3), "{look:#?}");
    assert_eq!(look.checks(&["failing"]), ["table"]);
    assert!(look.seen("table").contains("did you mean 'dbo.a'?"));
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_one_that_does_not_fit_a_finding() {
    let patient = Patient::healthy();
    let file = patient.served.project.read(FILE);
    patient
        .served
        .project
        .write(FILE, &file.replace("target.id =", "target.nosuch ="));
    let look = patient.look();
    assert_eq!(look.code, Some(3), "{look:#?}");
    assert_eq!(look.checks(&["failing"]), ["flow"]);
    assert!(look.seen("flow").contains("nosuch"), "{look:#?}");
    patient
        .served
        .project
        .write(FILE, &file.replace("MERGE INTO", "MERGE ONTO"));
    let _ = patient.cdcql(&["doctor", FILE]).failed(3, &["p.sql:3"]);
}

#[test]
fn two_flows_of_a_file_are_told_by_themselves() {
    let patient = Patient::healthy();
    let file = patient.served.project.read(FILE);
    let second = file[file.find("CREATE TABLE").unwrap()..]
        .replace("'lake/a'", "'lake/b'")
        .replace("EXISTS a", "EXISTS b")
        .replace("INTO a", "INTO b")
        .replace("db.dbo.a", "db.dbo.zzzzzz");
    patient
        .served
        .project
        .write(FILE, &format!("{file}{second}"));
    let look: Look = patient.look();
    assert_eq!(look.code, Some(3), "{look:#?}");
    assert_eq!(look.checks(&["failing"]), ["table"]);
    assert_eq!(look.finding("table")["table"], "dbo.zzzzzz");
    assert_eq!(look.finding("flow")["table"], "dbo.a");
    assert_eq!(look.state("flow"), "ok");
    assert_eq!(
        look.remedy("table"),
        "GRANT SELECT ON OBJECT::[dbo].[zzzzzz] TO [read]]er];"
    );
}
