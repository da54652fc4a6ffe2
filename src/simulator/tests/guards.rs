//! Masks, security policies, partitions, encrypted columns, and the types of .NET.

use super::{database, log_in, ok, open, run};
use crate::simulator::Database;
use crate::simulator::session::Session;

const READER: &str = "CREATE LOGIN reader WITH PASSWORD = N'Read3r', CHECK_POLICY = OFF
    CREATE USER reader FOR LOGIN reader
    GRANT SELECT ON dbo.t TO reader";

async fn both(script: &str) -> (Session, Session, Database) {
    let database = database(&format!("{script}\n{READER}")).await;
    let reader = log_in(&database, "reader").unwrap();
    (open(&database), reader, database)
}

#[tokio::test]
async fn who_has_no_unmask_sees_masks() {
    let (mut owner, mut s, _) = both(
        "CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY,
           a nvarchar(3) MASKED WITH (FUNCTION = 'default()') NULL,
           b decimal(9, 2) MASKED WITH (FUNCTION = 'default()') NULL,
           c datetime2 MASKED WITH (FUNCTION = 'default()') NULL)
         INSERT INTO dbo.t VALUES (1, N'abc', 1.5, '2024-01-01'), (2, NULL, NULL, NULL)",
    )
    .await;
    let sql = "SELECT a, b, CAST(c AS date) AS c FROM dbo.t ORDER BY k";
    assert_eq!(
        ok(&mut owner, sql).await.lines(),
        ["abc|1.50|2024-01-01", "NULL|NULL|NULL"]
    );
    assert_eq!(
        ok(&mut s, sql).await.lines(),
        ["xxx|0.00|1900-01-01", "NULL|NULL|NULL"]
    );
    for other in [
        "SELECT k FROM dbo.t WHERE a = N'abc'",
        "SELECT k FROM dbo.t ORDER BY b",
        "SELECT MAX(b) FROM dbo.t",
        "SELECT a + N'x' FROM dbo.t",
        "SELECT k FROM (SELECT k, a FROM dbo.t) AS d WHERE a = N'abc'",
    ] {
        assert_eq!(run(&mut s, other).await.numbers(), [40510], "{other}");
    }
    let catalogue = "SELECT name, is_masked FROM sys.columns WHERE object_id = OBJECT_ID('dbo.t') AND column_id < 3 ORDER BY column_id";
    assert_eq!(ok(&mut s, catalogue).await.lines(), ["k|0", "a|1"]);
    let may = "SELECT HAS_PERMS_BY_NAME('dbo.t', 'OBJECT', 'UNMASK', 'a', 'COLUMN')";
    assert_eq!(ok(&mut s, may).await.value(), "0");
    ok(&mut owner, "GRANT UNMASK ON dbo.t TO reader").await;
    assert_eq!(ok(&mut s, may).await.value(), "1");
    assert_eq!(
        ok(&mut s, "SELECT a FROM dbo.t WHERE k = 1").await.value(),
        "abc"
    );
    let other = "CREATE TABLE dbo.u (a int MASKED WITH (FUNCTION = 'random(1, 9)'))";
    assert_eq!(run(&mut owner, other).await.numbers(), [40510]);
}

#[tokio::test]
async fn a_policy_filters_rows_and_is_seen_by_who_may_see_definitions() {
    let (mut owner, mut s, _) = both(
        "CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY, of_user nvarchar(20))
         INSERT INTO dbo.t VALUES (1, N'reader'), (2, N'dbo')
         GO
         CREATE FUNCTION dbo.mine(@name AS nvarchar(20)) RETURNS TABLE WITH SCHEMABINDING AS
         RETURN (SELECT 1 AS ok WHERE @name = USER_NAME())
         GO
         CREATE SECURITY POLICY dbo.p ADD FILTER PREDICATE dbo.mine(of_user) ON dbo.t WITH (STATE = ON)
         GO",
    )
    .await;
    let sql = "SELECT k FROM dbo.t ORDER BY k";
    assert_eq!(ok(&mut s, sql).await.lines(), ["1"]);
    assert_eq!(
        ok(&mut owner, sql).await.lines(),
        ["2"],
        "an owner is filtered too"
    );
    assert_eq!(
        run(&mut owner, "DELETE FROM dbo.t").await.numbers(),
        [40510]
    );
    assert_eq!(run(&mut owner, "DROP TABLE dbo.t").await.numbers(), [3729]);
    let policies = "SELECT p.name, r.predicate_type FROM sys.security_policies AS p JOIN sys.security_predicates AS r
        ON r.object_id = p.object_id WHERE r.target_object_id = OBJECT_ID('dbo.t') AND p.is_enabled = 1";
    assert_eq!(ok(&mut owner, policies).await.lines(), ["p|0"]);
    assert_eq!(ok(&mut s, policies).await.rows().len(), 0);
    ok(&mut owner, "GRANT VIEW DEFINITION TO reader").await;
    assert_eq!(ok(&mut s, policies).await.lines(), ["p|0"]);
    ok(&mut owner, "ALTER SECURITY POLICY dbo.p WITH (STATE = OFF)").await;
    assert_eq!(ok(&mut s, sql).await.lines(), ["1", "2"]);
    ok(&mut owner, "DROP SECURITY POLICY dbo.p").await;
    ok(&mut owner, "DROP SECURITY POLICY IF EXISTS dbo.p").await;
    ok(&mut owner, "DELETE FROM dbo.t").await;
    for (wrong, number) in [
        (
            "CREATE FUNCTION dbo.f(@a int) RETURNS int AS BEGIN RETURN 1 END",
            40510,
        ),
        (
            "CREATE FUNCTION dbo.f(@a int) RETURNS TABLE AS RETURN SELECT 1 AS x FROM dbo.t WHERE k = 1",
            40510,
        ),
        (
            "SELECT 1 CREATE FUNCTION dbo.f(@a int) RETURNS TABLE AS RETURN SELECT 1 AS x WHERE @a = 1",
            111,
        ),
        (
            "CREATE SECURITY POLICY dbo.q ADD FILTER PREDICATE dbo.nothing(k) ON dbo.t",
            208,
        ),
        (
            "CREATE SECURITY POLICY dbo.q ADD FILTER PREDICATE dbo.mine(nothing) ON dbo.t",
            207,
        ),
        (
            "CREATE SECURITY POLICY dbo.q ADD BLOCK PREDICATE dbo.mine(of_user) ON dbo.t",
            40510,
        ),
        ("DROP SECURITY POLICY dbo.q", 15151),
    ] {
        assert_eq!(run(&mut owner, wrong).await.numbers(), [number], "{wrong}");
    }
}

#[tokio::test]
async fn partitions_are_counted_by_their_function() {
    let (mut owner, mut s, _) = both(
        "CREATE PARTITION FUNCTION f (date) AS RANGE RIGHT FOR VALUES ('2024-01-01', '2023-01-01')
         CREATE PARTITION SCHEME s AS PARTITION f ALL TO ([PRIMARY])
         CREATE TABLE dbo.t (k int NOT NULL, at date NOT NULL, PRIMARY KEY (k, at)) ON s (at)
         INSERT INTO dbo.t VALUES (1, '2022-12-31'), (2, '2023-01-01'), (3, '2023-12-31'), (4, '2025-01-01')",
    )
    .await;
    let counts = "SELECT partition_number, rows FROM sys.partitions WHERE object_id = OBJECT_ID('dbo.t') AND index_id IN (0, 1) ORDER BY partition_number";
    assert_eq!(ok(&mut s, counts).await.lines(), ["1|1", "2|2", "3|1"]);
    for (wrong, number) in [
        (
            "CREATE TABLE dbo.u (k int PRIMARY KEY, at date) ON s (at)",
            1908,
        ),
        ("CREATE TABLE dbo.u (k int, at datetime) ON s (at)", 7726),
        ("CREATE TABLE dbo.u (k int, at date) ON nothing (at)", 1921),
        (
            "CREATE PARTITION SCHEME u AS PARTITION nothing ALL TO ([PRIMARY])",
            15151,
        ),
        (
            "CREATE PARTITION FUNCTION g (int) AS RANGE FOR VALUES (1, 1)",
            7705,
        ),
        (
            "CREATE PARTITION FUNCTION g (float) AS RANGE FOR VALUES (1)",
            40510,
        ),
        ("ALTER TABLE dbo.t SWITCH PARTITION 1 TO dbo.u", 40510),
    ] {
        assert_eq!(run(&mut owner, wrong).await.numbers(), [number], "{wrong}");
    }
}

#[tokio::test]
async fn an_encrypted_column_takes_no_plain_values() {
    let (mut owner, mut s, _) = both(
        "CREATE COLUMN MASTER KEY m WITH (KEY_STORE_PROVIDER_NAME = N'x', KEY_PATH = N'y')
         CREATE COLUMN ENCRYPTION KEY c WITH VALUES (COLUMN_MASTER_KEY = m, ALGORITHM = 'RSA_OAEP', ENCRYPTED_VALUE = 0x01)
         CREATE TABLE dbo.t (k int NOT NULL PRIMARY KEY, s char(11) COLLATE Latin1_General_BIN2
           ENCRYPTED WITH (COLUMN_ENCRYPTION_KEY = c, ENCRYPTION_TYPE = RANDOMIZED, ALGORITHM = 'AEAD_AES_256_CBC_HMAC_SHA_256') NULL)
         INSERT INTO dbo.t (k) VALUES (1)",
    )
    .await;
    let catalogue = "SELECT encryption_type, encryption_type_desc FROM sys.columns WHERE object_id = OBJECT_ID('dbo.t') ORDER BY column_id";
    assert_eq!(
        ok(&mut s, catalogue).await.lines(),
        ["NULL|NULL", "2|RANDOMIZED"]
    );
    for (wrong, number) in [
        ("INSERT INTO dbo.t VALUES (2, '123')", 206),
        ("UPDATE dbo.t SET s = '123'", 206),
        (
            "CREATE TABLE dbo.u (a int ENCRYPTED WITH (COLUMN_ENCRYPTION_KEY = d, ENCRYPTION_TYPE = RANDOMIZED))",
            15151,
        ),
        (
            "CREATE TABLE dbo.u (a int ENCRYPTED WITH (COLUMN_ENCRYPTION_KEY = c))",
            102,
        ),
    ] {
        assert_eq!(run(&mut owner, wrong).await.numbers(), [number], "{wrong}");
    }
}

#[tokio::test]
async fn methods_are_those_of_their_types() {
    let mut s = open(
        &database(
            "CREATE TABLE dbo.t (h hierarchyid, g geography, n int, v sql_variant)
             INSERT INTO dbo.t VALUES ('/1/3/', 0xE6100000010C0000000000404A400000000000802A40, 1, CAST(1.5 AS real))",
        )
        .await,
    );
    let sql = "SELECT t.h.ToString(), t.[g].STSrid, t.g.AsBinaryZM(), SQL_VARIANT_PROPERTY(t.v, 'BaseType'), SQL_VARIANT_PROPERTY(t.n, 'Precision'), SQL_VARIANT_PROPERTY(t.v, 'x') FROM dbo.t AS t";
    assert_eq!(
        ok(&mut s, sql).await.lines(),
        ["/1/3/|4326|0x01010000000000000000802A400000000000404A40|real|10|NULL"]
    );
    for (wrong, number) in [
        ("SELECT t.n.STSrid FROM dbo.t AS t", 258),
        ("SELECT t.n.ToString() FROM dbo.t AS t", 258),
        ("SELECT t.g.ToString() FROM dbo.t AS t", 40510),
        ("SELECT t.g.STArea() FROM dbo.t AS t", 4121),
        (
            "UPDATE dbo.t SET g = 0xE61000000104 SELECT t.g.AsBinaryZM() FROM dbo.t AS t",
            40510,
        ),
    ] {
        assert_eq!(run(&mut s, wrong).await.numbers(), [number], "{wrong}");
    }
}
