//! Tables of which a login does not see everything: masks, security policies, partitions, heaps.

use crate::support::{Ended, Project};

const FILE: &str = "pipelines/p.sql";

const CAPTURE: &str = "\
EXEC sys.sp_cdc_enable_db;
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
GO
";

/// A database with the table `dbo.a`, and a flow that copies it with these stars.
fn project(script: &str, star: &str) -> Project {
    let project = Project::new();
    project.write("pipelines/app_db.sql", script);
    project.write(
        FILE,
        &format!(
            "CREATE CONNECTION db TYPE sqlserver OPTIONS (url 'embedded:app_db.sql');
CREATE TABLE IF NOT EXISTS a USING DELTA LOCATION 'lake/a';
MERGE INTO a AS target USING STREAM db.dbo.a CHANGES AS change ON target.id = change.id
WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET {star}
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT {star};
"
        ),
    );
    project
}

fn query(project: &Project, sql: &str) -> Ended {
    let arguments = ["query", "--pipeline", FILE, "--format", "csv", "-c", sql];
    project.cdcql(&arguments)
}

fn said(ended: &Ended, what: &str) -> usize {
    ended.stderr.matches(what).count()
}

fn masked() -> String {
    format!(
        "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NOT NULL, email NVARCHAR(50) MASKED WITH (FUNCTION = 'default()') NULL);
GO
INSERT INTO dbo.a VALUES (1, 10, N'a@example.com'), (2, 20, NULL);
GO
{CAPTURE}UPDATE dbo.a SET email = N'b@example.com' WHERE id = 1;
"
    )
}

#[test]
fn a_flow_refuses_a_column_that_is_masked_for_its_login() {
    let refused = project(&masked(), "*");
    let words = [
        "column email of dbo.a has type nvarchar(50), whose values are masked for this login",
        "GRANT UNMASK to the login, or leave it out with `* EXCEPT (email)`",
    ];
    let _ = refused.cdcql(&["run", FILE]).failed(3, &words);
    let left_out = project(&masked(), "* EXCEPT (email)");
    let ended = left_out.cdcql(&["run", FILE]).succeeded();
    assert_eq!(said(&ended, "masked"), 0, "{}", ended.stderr);
    let rows = query(&left_out, "SELECT * FROM a ORDER BY id").succeeded();
    assert_eq!(rows.stdout, "id,n\n1,10\n2,20\n");
}

#[test]
fn a_query_of_a_masked_column_says_so_and_changes_have_the_values() {
    let project = project(&masked(), "*");
    let sql = "SELECT id, email FROM db.dbo.a UNION ALL SELECT id, email FROM db.dbo.a ORDER BY id";
    let ended = query(&project, sql).succeeded();
    assert_eq!(ended.stdout, "id,email\n1,xxxx\n1,xxxx\n2,\n2,\n");
    assert_eq!(
        said(&ended, "email of dbo.a masked for this login"),
        1,
        "{}",
        ended.stderr
    );
    let others = query(&project, "SELECT id, n FROM db.dbo.a ORDER BY id").succeeded();
    assert_eq!(others.stderr, "");
    let sql = "SELECT DISTINCT email FROM db.dbo.a CHANGES WHERE _change_type = 'update_postimage'";
    let ended = query(&project, sql).succeeded();
    assert_eq!(ended.stdout, "email\nb@example.com\n");
}

#[test]
fn a_login_with_unmask_copies_the_values() {
    let script = masked() + "GO\nGRANT UNMASK TO public;\n";
    let project = project(&script, "*");
    let ended = project.cdcql(&["run", FILE]).succeeded();
    assert_eq!(said(&ended, "masked"), 0, "{}", ended.stderr);
    let rows = query(&project, "SELECT email FROM a ORDER BY id").succeeded();
    assert_eq!(rows.stdout, "email\nb@example.com\n\"\"\n");
}

/// A table of which its policy shows half the rows.
fn filtered(more: &str) -> String {
    format!(
        "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, tenant INT NOT NULL);
GO
INSERT INTO dbo.a VALUES (1, 1), (2, 2), (3, 1), (4, 2);
GO
{CAPTURE}CREATE FUNCTION dbo.of_tenant(@tenant AS INT) RETURNS TABLE WITH SCHEMABINDING AS
RETURN SELECT 1 AS ok WHERE @tenant = 1 OR IS_ROLEMEMBER('db_owner') = 1;
GO
CREATE SECURITY POLICY dbo.tenants ADD FILTER PREDICATE dbo.of_tenant(tenant) ON dbo.a WITH (STATE = ON);
GO
{more}"
    )
}

#[test]
fn rows_that_a_policy_hides_from_who_may_not_see_policies_are_missed() {
    let project = project(&filtered(""), "*");
    let ended = project.cdcql(&["run", FILE]).succeeded();
    let missed = "2 rows of dbo.a were read where the server counts 4";
    assert_eq!(said(&ended, missed), 1, "{}", ended.stderr);
    assert_eq!(said(&ended, "VIEW DEFINITION"), 1, "{}", ended.stderr);
    project.append_to_database("INSERT INTO dbo.a VALUES (6, 2);");
    let _ = project.cdcql(&["run", FILE]).succeeded();
    let rows = query(&project, "SELECT * FROM a ORDER BY id").succeeded();
    assert_eq!(
        rows.stdout, "id,tenant\n1,1\n3,1\n6,2\n",
        "a change tells of a hidden row"
    );
}

#[test]
fn a_policy_that_can_be_seen_is_named() {
    let project = project(&filtered("GRANT VIEW DEFINITION TO public;\n"), "*");
    let ended = project.cdcql(&["run", FILE]).succeeded();
    let named = "security policy dbo.tenants filters the rows of dbo.a";
    assert_eq!(said(&ended, named), 1, "{}", ended.stderr);
    assert_eq!(said(&ended, "the server counts"), 0, "{}", ended.stderr);
    let off = "GRANT VIEW DEFINITION TO public;\nGO\nALTER SECURITY POLICY dbo.tenants WITH (STATE = OFF);\n";
    let project = self::project(&filtered(off), "*");
    let ended = project.cdcql(&["run", FILE]).succeeded();
    assert_eq!(said(&ended, "policy"), 0, "{}", ended.stderr);
    let rows = query(&project, "SELECT count(*) AS n FROM a").succeeded();
    assert_eq!(rows.stdout, "n\n4\n");
}

fn partitioned(allow_switch: &str) -> String {
    format!(
        "CREATE PARTITION FUNCTION by_year (INT) AS RANGE RIGHT FOR VALUES (2023, 2024);
GO
CREATE PARTITION SCHEME years AS PARTITION by_year ALL TO ([PRIMARY]);
GO
CREATE TABLE dbo.a (id INT NOT NULL, year INT NOT NULL, PRIMARY KEY (id, year)) ON years (year);
GO
INSERT INTO dbo.a VALUES (1, 2022), (2, 2023), (3, 2024), (4, 2025);
GO
EXEC sys.sp_cdc_enable_db;
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, @allow_partition_switch = {allow_switch};
GO
"
    )
}

#[test]
fn an_instance_that_allows_switch_of_partitions_is_said_once() {
    let flow = |project: &Project| {
        let text = project.read(FILE).replace(
            "target.id = change.id",
            "target.id = change.id AND target.year = change.year",
        );
        project.write(FILE, &text);
        project.cdcql(&["run", FILE]).succeeded()
    };
    let warning =
        "dbo.a has partitions, and its capture instance 'dbo_a' allows ALTER TABLE … SWITCH";
    let allowed = flow(&project(&partitioned("1"), "*"));
    assert_eq!(said(&allowed, warning), 1, "{}", allowed.stderr);
    assert_eq!(said(&allowed, "@allow_partition_switch = 0"), 1);
    let refused = flow(&project(&partitioned("0"), "*"));
    assert_eq!(said(&refused, "SWITCH"), 0, "{}", refused.stderr);
}

#[test]
fn a_heap_flows_by_a_unique_index_and_without_one_is_read_alone() {
    let heap = |index: &str, with: &str| {
        format!(
            "CREATE TABLE dbo.a (id INT NOT NULL, n INT NULL);
GO
{index}INSERT INTO dbo.a VALUES (1, 10), (2, 20);
GO
EXEC sys.sp_cdc_enable_db;
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL{with};
GO
UPDATE dbo.a SET n = 11 WHERE id = 1;
"
        )
    };
    let keyless = project(&heap("", ""), "*");
    let words = [
        "dbo.a has no unique key",
        "give it a primary key, or enable capture with @index_name",
    ];
    let _ = keyless.cdcql(&["run", FILE]).failed(3, &words);
    let rows = query(&keyless, "SELECT id, n FROM db.dbo.a ORDER BY id").succeeded();
    assert_eq!(rows.stdout, "id,n\n1,11\n2,20\n");
    let changes = "SELECT id, n FROM db.dbo.a CHANGES WHERE _change_type = 'update_postimage'";
    assert_eq!(query(&keyless, changes).succeeded().stdout, "id,n\n1,11\n");
    let index = "CREATE UNIQUE NONCLUSTERED INDEX u ON dbo.a (id);\nGO\n";
    let keyed = project(&heap(index, ", @index_name = N'u'"), "*");
    let _ = keyed.cdcql(&["run", FILE]).succeeded();
    let rows = query(&keyed, "SELECT * FROM a ORDER BY id").succeeded();
    assert_eq!(rows.stdout, "id,n\n1,11\n2,20\n");
}
