//! Logins, users, roles and what they may do.

use super::{database, log_in, ok, open, run};
use crate::simulator::Database;
use crate::simulator::session::Session;

const SCRIPT: &str = "CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY)
    CREATE TABLE dbo.u (k int NOT NULL PRIMARY KEY)
    INSERT INTO dbo.t VALUES (1)
    CREATE LOGIN reader WITH PASSWORD = N'Read3r', CHECK_POLICY = OFF
    CREATE USER reader FOR LOGIN reader
    EXEC sys.sp_cdc_enable_db
    EXEC sys.sp_cdc_enable_table N'dbo', N't', N'gate'
    EXEC sys.sp_cdc_enable_table N'dbo', N'u', NULL
    INSERT INTO dbo.t VALUES (2)";

async fn reader() -> (Session, Session, Database) {
    let database = database(SCRIPT).await;
    let reader = log_in(&database, "reader").unwrap();
    (open(&database), reader, database)
}

async fn value(session: &mut Session, sql: &str) -> String {
    ok(session, sql).await.value().to_owned()
}

#[tokio::test]
async fn a_login_reads_what_it_was_granted_and_nothing_else() {
    let (mut owner, mut s, _) = reader().await;
    assert_eq!(run(&mut s, "SELECT k FROM dbo.t").await.numbers(), [229]);
    ok(&mut owner, "GRANT SELECT ON OBJECT::dbo.t TO reader").await;
    assert_eq!(
        ok(&mut s, "SELECT k FROM dbo.t ORDER BY k").await.lines(),
        ["1", "2"]
    );
    assert_eq!(run(&mut s, "SELECT k FROM dbo.u").await.numbers(), [229]);
    assert_eq!(
        run(&mut s, "INSERT INTO dbo.t VALUES (3)").await.numbers(),
        [229]
    );
    assert_eq!(run(&mut s, "DELETE FROM dbo.t").await.numbers(), [229]);
    ok(&mut owner, "DENY SELECT ON dbo.t TO public").await;
    assert_eq!(run(&mut s, "SELECT k FROM dbo.t").await.numbers(), [229]);
    ok(&mut owner, "REVOKE SELECT ON dbo.t FROM public CASCADE").await;
    ok(&mut s, "SELECT k FROM dbo.t").await;
}

#[tokio::test]
async fn roles_pass_their_permissions_on() {
    let (mut owner, mut s, _) = reader().await;
    ok(
        &mut owner,
        "CREATE ROLE inner_role CREATE ROLE outer_role
         ALTER ROLE outer_role ADD MEMBER inner_role
         ALTER ROLE inner_role ADD MEMBER reader
         GRANT SELECT, INSERT ON SCHEMA::dbo TO outer_role",
    )
    .await;
    ok(&mut s, "INSERT INTO dbo.u VALUES (1)").await;
    ok(&mut s, "SELECT * FROM dbo.u").await;
    ok(&mut owner, "ALTER ROLE inner_role DROP MEMBER reader").await;
    assert_eq!(run(&mut s, "SELECT * FROM dbo.u").await.numbers(), [229]);
    ok(&mut owner, "ALTER ROLE db_datareader ADD MEMBER reader").await;
    ok(&mut s, "SELECT * FROM dbo.u").await;
    ok(&mut owner, "ALTER ROLE db_owner ADD MEMBER reader").await;
    ok(&mut s, "CREATE TABLE dbo.mine (k int)").await;
}

#[tokio::test]
async fn what_may_not_be_read_is_not_seen() {
    let (mut owner, mut s, _) = reader().await;
    let tables = "SELECT name FROM sys.tables ORDER BY name";
    assert_eq!(ok(&mut s, tables).await.rows().len(), 0);
    assert_eq!(value(&mut s, "SELECT OBJECT_ID('dbo.t')").await, "NULL");
    ok(&mut owner, "GRANT SELECT ON dbo.t TO reader").await;
    ok(&mut owner, "GRANT VIEW DEFINITION ON dbo.u TO reader").await;
    assert_eq!(ok(&mut s, tables).await.lines(), ["t", "u"]);
    assert_ne!(value(&mut s, "SELECT OBJECT_ID('dbo.t')").await, "NULL");
    assert_eq!(
        value(&mut s, "SELECT COUNT(*) FROM INFORMATION_SCHEMA.COLUMNS").await,
        "2"
    );
    assert_eq!(run(&mut s, "SELECT * FROM dbo.u").await.numbers(), [229]);
}

#[tokio::test]
async fn permissions_are_told_as_they_are() {
    let (mut owner, mut s, _) = reader().await;
    ok(&mut owner, "GRANT SELECT ON dbo.t TO reader").await;
    ok(&mut owner, "GRANT VIEW DATABASE STATE TO reader").await;
    let asked = "SELECT HAS_PERMS_BY_NAME(N'dbo.t', 'OBJECT', 'SELECT'), HAS_PERMS_BY_NAME(N'dbo.t', 'OBJECT', 'DELETE'),
        HAS_PERMS_BY_NAME(N'dbo.u', 'OBJECT', 'SELECT'), HAS_PERMS_BY_NAME(N'cdc', 'SCHEMA', 'SELECT'),
        HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'VIEW DATABASE STATE'),
        HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'VIEW DATABASE PERFORMANCE STATE'),
        HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'VIEW DEFINITION'),
        HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE'),
        IS_ROLEMEMBER(N'db_owner'), IS_ROLEMEMBER(N'gate'), IS_ROLEMEMBER(N'nothing'), USER_NAME(), SUSER_SNAME()";
    assert_eq!(
        ok(&mut s, asked).await.lines(),
        ["1|0|NULL|0|1|1|0|0|0|0|NULL|reader|reader"]
    );
    assert_eq!(
        ok(&mut owner, asked).await.lines(),
        ["1|1|1|1|1|1|1|1|1|0|NULL|dbo|sa"]
    );
    let granted = "SELECT p.permission_name, p.state_desc FROM sys.database_permissions p
        JOIN sys.database_principals g ON g.principal_id = p.grantee_principal_id
        WHERE g.name = 'reader' ORDER BY p.permission_name";
    assert_eq!(
        ok(&mut owner, granted).await.lines(),
        ["SELECT|GRANT", "VIEW DATABASE STATE|GRANT"]
    );
}

#[tokio::test]
async fn changes_are_for_who_reads_the_table_and_is_in_the_gating_role() {
    let (mut owner, mut s, _) = reader().await;
    let low = "SELECT sys.fn_cdc_get_min_lsn('dbo_t')";
    let real = value(&mut owner, low).await;
    let zero = format!("0x{}", "0".repeat(20));
    let newest = value(&mut owner, "SELECT sys.fn_cdc_get_max_lsn()").await;
    let all = format!("SELECT k FROM cdc.fn_cdc_get_all_changes_dbo_t({real}, {newest}, 'all')");
    let net = format!("SELECT k FROM cdc.fn_cdc_get_net_changes_dbo_t({real}, {newest}, 'all')");
    assert_eq!(value(&mut s, low).await, zero);
    ok(&mut owner, "GRANT SELECT ON dbo.t TO reader").await;
    assert_eq!(value(&mut s, low).await, zero, "not in the gating role");
    let function = "SELECT COALESCE(OBJECT_ID(N'cdc.[fn_cdc_get_all_changes_dbo_t]', N'IF'), 0)";
    assert_eq!(value(&mut s, function).await, "0");
    assert_eq!(run(&mut s, &all).await.numbers(), [229]);
    assert_eq!(run(&mut s, &net).await.numbers(), [208]);
    ok(&mut owner, "ALTER ROLE gate ADD MEMBER reader").await;
    assert_eq!(value(&mut s, low).await, real);
    assert_eq!(ok(&mut s, &all).await.lines(), ["2"]);
    assert_eq!(ok(&mut s, &net).await.lines(), ["2"]);
    let columns = "SELECT c.name, TYPE_NAME(c.user_type_id) FROM sys.columns AS c JOIN sys.objects AS o
        ON o.object_id = c.object_id WHERE o.type = 'IF' AND o.name = N'fn_cdc_get_all_changes_dbo_t'
        AND o.object_id = OBJECT_ID(N'cdc.fn_cdc_get_all_changes_dbo_t') ORDER BY c.column_id";
    assert_eq!(
        ok(&mut s, columns).await.lines(),
        [
            "__$start_lsn|binary",
            "__$seqval|binary",
            "__$operation|int",
            "__$update_mask|varbinary",
            "k|int"
        ]
    );
    // The role opens the function, not the table behind it.
    assert_eq!(
        run(&mut s, "SELECT k FROM cdc.dbo_t_CT").await.numbers(),
        [229]
    );
    ok(&mut owner, "GRANT SELECT ON SCHEMA::cdc TO reader").await;
    ok(&mut s, "SELECT k FROM cdc.dbo_t_CT").await;
}

#[tokio::test]
async fn the_server_is_for_its_owners() {
    let (mut owner, mut s, database) = reader().await;
    for (statement, number) in [
        ("CREATE TABLE dbo.mine (k int)", 262),
        ("ALTER TABLE dbo.t ADD n int", 1088),
        ("TRUNCATE TABLE dbo.t", 1088),
        ("DROP TABLE dbo.t", 3701),
        ("CREATE DATABASE mine", 262),
        ("DROP DATABASE app_db", 3701),
        ("CREATE LOGIN other WITH PASSWORD = 'x'", 15247),
        ("GRANT SELECT ON dbo.t TO reader", 15247),
        ("EXEC sys.sp_cdc_disable_db", 22902),
        ("EXEC sys.sp_cdc_disable_table N'dbo', N't', N'all'", 22904),
        ("SELECT * FROM sys.dm_cdc_log_scan_sessions", 262),
        ("SELECT * FROM msdb.dbo.cdc_jobs", 229),
        ("SELECT * FROM sys.dm_server_services", 300),
    ] {
        assert_eq!(
            run(&mut s, statement).await.numbers(),
            [number],
            "{statement}"
        );
    }
    ok(&mut owner, "GRANT VIEW DATABASE STATE TO reader").await;
    ok(&mut s, "SELECT * FROM sys.dm_cdc_log_scan_sessions").await;
    ok(&mut owner, "CREATE DATABASE other").await;
    assert_eq!(run(&mut s, "USE other").await.numbers(), [916]);
    assert_eq!(
        run(&mut s, "SELECT * FROM other.dbo.t").await.numbers(),
        [916]
    );
    ok(&mut owner, "CREATE LOGIN stranger WITH PASSWORD = 'x'").await;
    assert_eq!(log_in(&database, "stranger").unwrap_err().number, 4060);
    ok(&mut owner, "ALTER SERVER ROLE sysadmin ADD MEMBER stranger").await;
    ok(
        &mut log_in(&database, "stranger").unwrap(),
        "SELECT * FROM dbo.t",
    )
    .await;
}

#[tokio::test]
async fn principals_have_one_name_each() {
    let (mut owner, _, _) = reader().await;
    for (statement, number) in [
        ("CREATE LOGIN READER WITH PASSWORD = 'x'", 15025),
        ("CREATE LOGIN SA WITH PASSWORD = 'x'", 15025),
        ("CREATE USER reader WITHOUT LOGIN", 15023),
        ("CREATE USER other FOR LOGIN reader", 15063),
        ("CREATE USER other FOR LOGIN nobody", 15007),
        ("ALTER ROLE nothing ADD MEMBER reader", 15151),
        ("GRANT SELECT ON dbo.nothing TO reader", 15151),
        ("GRANT SELECT ON dbo.t TO nobody", 15151),
        ("DROP USER nobody", 15151),
        ("DROP LOGIN nobody", 15151),
    ] {
        assert_eq!(
            run(&mut owner, statement).await.numbers(),
            [number],
            "{statement}"
        );
    }
    ok(&mut owner, "DROP USER IF EXISTS nobody").await;
    ok(&mut owner, "DROP USER reader DROP LOGIN reader").await;
}

#[tokio::test]
async fn a_change_reads_nothing_that_its_login_may_not_read() {
    let (mut owner, mut s, _) = reader().await;
    ok(
        &mut owner,
        "CREATE TABLE dbo.secret (k int NOT NULL PRIMARY KEY, word varchar(20) NULL)
        INSERT INTO dbo.secret VALUES (1, 'hidden')",
    )
    .await;
    let told = [
        "DELETE FROM dbo.secret WHERE CAST(word AS int) = 1",
        "UPDATE dbo.secret SET k = CAST(word AS int)",
        "DELETE s FROM dbo.secret AS s WHERE CAST(s.word AS int) = 1",
        "UPDATE s SET k = 2 FROM dbo.secret AS s JOIN dbo.secret AS o ON CAST(s.word AS int) = 1",
    ];
    for sql in told {
        assert_eq!(run(&mut s, sql).await.numbers(), [229], "{sql}");
    }
    ok(
        &mut owner,
        "GRANT UPDATE, DELETE ON dbo.secret TO reader DENY SELECT ON dbo.secret TO reader",
    )
    .await;
    for sql in told {
        let answer = run(&mut s, sql).await;
        assert_eq!(answer.numbers(), [229], "{sql}");
        assert!(answer.errors[0].message.contains("SELECT"), "{sql}");
    }
    ok(&mut s, "UPDATE dbo.secret SET word = 'shown'").await;
    ok(&mut s, "DELETE FROM dbo.secret").await;
}

#[tokio::test]
async fn a_change_that_is_not_permitted_waits_for_no_writer() {
    let (mut owner, mut s, _) = reader().await;
    ok(&mut owner, "BEGIN TRAN INSERT INTO dbo.u VALUES (9)").await;
    assert_eq!(run(&mut s, "DELETE FROM dbo.t").await.numbers(), [229]);
}

#[tokio::test]
async fn what_was_granted_on_capture_ends_with_it() {
    let (mut owner, mut s, _) = reader().await;
    ok(&mut owner, "GRANT SELECT ON SCHEMA::cdc TO reader").await;
    let changes = "SELECT COUNT(*) FROM cdc.dbo_u_CT";
    ok(&mut s, changes).await;
    ok(&mut owner, "EXEC sys.sp_cdc_disable_db CREATE SCHEMA later").await;
    ok(
        &mut owner,
        "CREATE TABLE later.x (k int NULL) EXEC sys.sp_cdc_enable_db
        EXEC sys.sp_cdc_enable_table N'dbo', N'u', NULL",
    )
    .await;
    for sql in [changes, "SELECT k FROM later.x"] {
        assert_eq!(run(&mut s, sql).await.numbers(), [229], "{sql}");
    }
}

#[tokio::test]
async fn a_login_that_is_dropped_while_connected_may_do_nothing() {
    let (mut owner, mut s, database) = reader().await;
    ok(&mut owner, "GRANT SELECT ON OBJECT::dbo.t TO reader").await;
    ok(&mut s, "SELECT k FROM dbo.t").await;
    ok(&mut owner, "DROP LOGIN reader").await;
    for (statement, number) in [
        ("SELECT k FROM dbo.t", 916),
        ("DELETE FROM dbo.t", 916),
        ("CREATE LOGIN other WITH PASSWORD = 'x'", 15247),
        ("CREATE DATABASE mine", 262),
    ] {
        assert_eq!(
            run(&mut s, statement).await.numbers(),
            [number],
            "{statement}"
        );
    }
    assert_eq!(log_in(&database, "reader").unwrap_err().number, 4060);
    let asked = "SELECT IS_SRVROLEMEMBER('sysadmin', 'reader'), IS_SRVROLEMEMBER('sysadmin')";
    assert_eq!(ok(&mut owner, asked).await.lines(), ["0|1"]);
}

#[tokio::test]
async fn a_table_of_the_server_is_read_by_who_was_granted_it() {
    let (mut owner, mut s, _) = reader().await;
    let jobs = "SELECT COUNT(*) FROM msdb.dbo.cdc_jobs";
    ok(
        &mut owner,
        "USE msdb; CREATE USER [reader] FOR LOGIN [reader]; GRANT SELECT ON OBJECT::dbo.cdc_jobs TO [reader]; USE master",
    )
    .await;
    assert_eq!(run(&mut s, jobs).await.numbers(), [0; 0]);
    ok(
        &mut owner,
        "USE msdb; DENY SELECT ON OBJECT::dbo.cdc_jobs TO [reader]",
    )
    .await;
    assert_eq!(run(&mut s, jobs).await.numbers(), [229]);
    let elsewhere = "USE master; GRANT SELECT ON OBJECT::dbo.cdc_jobs TO public";
    assert_eq!(run(&mut owner, elsewhere).await.numbers(), [15151]);
}
