//! What a flow's target should have, and flows of which that cannot be told.

use super::{agrees, differs, edit, listed, meddle, refused, repair, served};
use crate::served::Served;

const TYPES: &str = "\
CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, f FLOAT NULL, r REAL NULL, d DECIMAL(38, 10) NULL, m MONEY NULL,
    t DATETIME2(7) NULL, o DATETIMEOFFSET(7) NULL, day DATE NULL, at TIME(3) NULL, b BIT NULL, u UNIQUEIDENTIFIER NULL,
    notes NVARCHAR(MAX) NULL, data VARBINARY(MAX) NULL, doc XML NULL, place GEOGRAPHY NULL, name NCHAR(5) NULL);
GO
INSERT INTO dbo.a VALUES
    (1, 0.1, 0.1, 12345678901234567890.0123456789, 1.5, '2026-01-02T03:04:05.1234567', '2026-01-02T03:04:05.1234567+05:30',
     '0001-01-01', '23:59:59.999', 1, '6f9619ff-8b86-d011-b42d-00c04fc964ff', REPLICATE(CAST(N'long ' AS NVARCHAR(MAX)), 2000),
     0x0102, N'<a/>', 0xE6100000010C000000000000F03F0000000000000040, N'ab'),
    (2, -0.0, 1e30, -1, -922337203685477.5808, '9999-12-31T23:59:59.9999999', NULL, '9999-12-31', '00:00', 0, NULL, N'', 0x, NULL, NULL, N''),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
";

#[test]
fn values_of_all_types_are_the_same_from_both_sides() {
    let served = Served::of(TYPES);
    let _ = served.run().succeeded();
    let _ = agrees(&served);
    served.execute(
        "UPDATE dbo.a SET f = 0.30000000000000004 WHERE id = 1; INSERT INTO dbo.a (id, notes, f) VALUES (4, N'x', 0.0);
         UPDATE dbo.a SET d = 7 WHERE id = 2; DELETE FROM dbo.a WHERE id = 3;",
    );
    let _ = served.run().succeeded();
    let _ = agrees(&served);
    meddle(
        &served,
        "UPDATE a SET notes = concat(notes, ' '), f = 0.3 WHERE id = 1; UPDATE a SET f = -0.0, data = X'' WHERE id = 4",
    );
    assert_eq!(
        listed(&differs(&served)),
        ["id = 1: different f notes", "id = 4: different f data"]
    );
    let _ = repair(&served).succeeded();
    let _ = agrees(&served);
    served.assert_true();
}

const STARS: &str = "WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;";

#[test]
fn what_the_flow_computes_is_what_its_target_should_have() {
    let served = served();
    let computed = "WHEN MATCHED THEN UPDATE SET label = concat('no. ', change.code), total = CAST(change.n AS BIGINT) * 2
        WHEN NOT MATCHED AND NOT (change._change_type = 'delete')
        THEN INSERT (total, id, label) VALUES (CAST(change.n AS BIGINT) * 2, change.id, concat('no. ', change.code));";
    edit(&served, &[(STARS, computed)]);
    let _ = served.run().succeeded();
    served.execute(
        "UPDATE dbo.a SET n = 70 WHERE id = 2; UPDATE dbo.a SET on_sale = 1 WHERE id = 3;",
    );
    assert_eq!(agrees(&served)["left_out"], 1);
    let _ = served.run().succeeded();
    let _ = agrees(&served);
    meddle(&served, "UPDATE a SET total = 7 WHERE id = 2");
    assert_eq!(listed(&differs(&served)), ["id = 2: different total"]);
    let _ = repair(&served).succeeded();
    let _ = agrees(&served);
}

#[test]
fn a_flow_whose_target_is_more_than_its_sources_rows_is_refused_with_the_place() {
    let flows = [
        (
            "WHEN MATCHED AND change.n > 3 THEN UPDATE SET *
             WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;",
            "this clause treats some rows unlike others",
        ),
        (
            "WHEN MATCHED THEN UPDATE SET *
             WHEN NOT MATCHED AND change._change_type = 'insert' THEN INSERT *;",
            "a WHEN asks what kind of change a row is",
        ),
        (
            "WHEN MATCHED THEN UPDATE SET n = target.n + change.n
             WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT (id, n) VALUES (change.id, change.n);",
            "column 'n' does not get the same from UPDATE and INSERT",
        ),
        (
            "WHEN MATCHED THEN UPDATE SET n = change.n, at = change._commit_timestamp
             WHEN NOT MATCHED THEN INSERT (id, n, at) VALUES (change.id, change.n, change._commit_timestamp);",
            "column 'at' has the change's _commit_timestamp",
        ),
        (
            "WHEN MATCHED THEN UPDATE SET n = change.n, at = now()
             WHEN NOT MATCHED THEN INSERT (id, n, at) VALUES (change.id, change.n, now());",
            "column 'at' has the answer of now() then",
        ),
        (
            "WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;",
            "it does not update every row",
        ),
        (
            "WHEN MATCHED THEN UPDATE SET n = change.n
             WHEN NOT MATCHED THEN INSERT (id, n) VALUES (CAST(change.id + 1 AS INT), change.n);",
            "column 'id' does not get 'id', which ON compares it with",
        ),
    ];
    for (clauses, words) in flows {
        let served = served();
        edit(&served, &[(STARS, clauses)]);
        let _ = served.run().succeeded();
        let cannot = "verify cannot tell what rows the target should have";
        refused(&served, 3, &[cannot, words, "p.sql:"]);
    }
    let served = served();
    let first = "WHEN MATCHED AND change._change_type = 'delete' THEN DELETE\n";
    edit(&served, &[(first, "")]);
    let _ = served.run().succeeded();
    refused(&served, 3, &["the first WHEN MATCHED does not delete"]);
}

#[test]
fn rows_that_may_have_moved_unseen_are_not_deleted() {
    let script = "\
        CREATE TABLE dbo.a (id INT NOT NULL, k INT NOT NULL, n INT NULL, CONSTRAINT pk PRIMARY KEY NONCLUSTERED (id));
        CREATE UNIQUE CLUSTERED INDEX cx ON dbo.a (k, id);
        GO
        INSERT INTO dbo.a VALUES (1, 1, 1), (2, 2, 2);
        GO
        EXEC sys.sp_cdc_enable_db;
        EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL,
            @captured_column_list = N'id, n';";
    let served = Served::of(script);
    let _ = served.run().succeeded();
    meddle(&served, "INSERT INTO a VALUES (900, 1)");
    assert_eq!(listed(&differs(&served)), ["id = 900: only in target"]);
    let commits = served.commits();
    let repaired = repair(&served);
    assert_eq!(repaired.code, Some(3), "{}", repaired.stderr);
    let words = "its clustered index has a column that is not captured";
    assert!(repaired.stderr.contains(words), "{}", repaired.stderr);
    assert_eq!(served.commits(), commits);
}

#[test]
fn a_table_that_does_not_fit_in_memory_is_compared_on_the_disk() {
    let script = "\
        CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NULL, t NVARCHAR(500) NULL);
        GO
        INSERT INTO dbo.a SELECT s.value, s.value, REPLICATE(N'text ', 100) FROM GENERATE_SERIES(1, 30000) AS s;
        GO
        EXEC sys.sp_cdc_enable_db;
        EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;";
    let served = Served::of(script);
    let _ = served.run().succeeded();
    meddle(&served, "UPDATE a SET n = -1");
    let verify = ["verify", "pipelines/p.sql", "--memory", "16MiB"];
    let ended = served.cdcql(&verify);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let words = "30000 keys differ, of which 100 are listed";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    let _ = repair(&served).succeeded();
    let _ = agrees(&served);
}
