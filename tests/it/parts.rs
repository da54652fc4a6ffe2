//! Copies of a part of a table: `run --flow NAME --snapshot --where CONDITION`.

use cdcql::simulator::control::Fault;

use crate::copies::on_nth;
use crate::served::Served;
use crate::support::Ended;

/// Sixty rows in three regions.
const SCRIPT: &str = "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, region NVARCHAR(4) NULL, n INT NULL);
        GO
        INSERT INTO dbo.a SELECT s.value, CASE s.value % 3 WHEN 0 THEN N'EU' WHEN 1 THEN N'US' END, s.value
        FROM GENERATE_SERIES(1, 60) AS s;
        GO
        EXEC sys.sp_cdc_enable_db;
        EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
        GO
        UPDATE dbo.a SET n = 0 WHERE id = 1;";

fn served() -> Served {
    copied(Served::of(SCRIPT))
}

fn in_hand() -> Served {
    copied(Served::in_hand_of(SCRIPT))
}

fn copied(served: Served) -> Served {
    let _ = served.run().succeeded();
    served
}

fn copy_again(served: &Served, condition: &str) -> Ended {
    served.cdcql(&arguments(condition))
}

fn arguments(condition: &str) -> [&str; 10] {
    [
        "run",
        "pipelines/p.sql",
        "--flow",
        "a",
        "--snapshot",
        "--chunk-rows",
        "7",
        "--parallel=2",
        "--where",
        condition,
    ]
}

/// Changes the target by hand.
fn meddle(served: &Served, sql: &str) {
    let query = ["query", "--pipeline", "pipelines/p.sql", "-c", sql];
    let _ = served.cdcql(&query).succeeded();
}

#[test]
fn the_rows_of_a_part_are_the_sources_afterwards_and_the_others_what_they_were() {
    let served = served();
    meddle(
        &served,
        "UPDATE a SET n = -1 WHERE id IN (3, 4); DELETE FROM a WHERE id IN (6, 7);
         INSERT INTO a VALUES (103, 'EU', 0), (104, 'US', 0), (105, NULL, 0);",
    );
    let copied = copy_again(&served, "region = 'EU'").succeeded();
    let summary = "1 inserted, 19 updated, 1 deleted";
    assert!(copied.stderr.contains(summary), "{}", copied.stderr);
    let rows =
        served.csv("SELECT id, region, n FROM a WHERE id IN (3, 4, 6, 7) OR id > 100 ORDER BY id");
    assert_eq!(
        rows,
        "id,region,n\n3,EU,3\n4,US,-1\n6,EU,6\n104,US,0\n105,,0\n"
    );
}

#[test]
fn the_changes_since_the_checkpoint_come_whole_with_a_part() {
    let served = in_hand();
    served.execute(
        "UPDATE dbo.a SET region = N'US', n = 300 WHERE id = 3; UPDATE dbo.a SET region = N'EU' WHERE id = 4;
         DELETE FROM dbo.a WHERE id IN (6, 7); INSERT INTO dbo.a VALUES (61, N'EU', 1), (62, N'US', 2);",
    );
    let mut reads = served
        .simulator()
        .control()
        .on_next("FROM [dbo].[a] AS t", Fault::Stall);
    let change = "UPDATE dbo.a SET region = N'US' WHERE id = 9; UPDATE dbo.a SET region = N'EU' WHERE id = 10;
                  DELETE FROM dbo.a WHERE id = 12; INSERT INTO dbo.a VALUES (63, N'EU', 3);";
    // Killed when it comes to read; what changes between the two runs is as good as changed in the middle of one.
    served.killed_at(&mut reads, &arguments("region = 'EU'"));
    served.execute(change);
    let _ = copy_again(&served, "region = 'EU'").succeeded();
    served.assert_true();
}

#[test]
fn a_row_that_the_target_alone_has_in_the_part_is_not_deleted_but_set_right() {
    let served = served();
    // In the source they are outside of it.
    meddle(
        &served,
        "UPDATE a SET region = 'EU', n = 9 WHERE id IN (4, 5, 7, 8);
         INSERT INTO a VALUES (103, 'EU', 0)",
    );
    let copied = copy_again(&served, "region = 'EU' AND n < 1000").succeeded();
    let summary = "24 updated, 1 deleted";
    assert!(copied.stderr.contains(summary), "{}", copied.stderr);
    served.assert_true();
}

#[test]
fn what_the_server_can_tell_of_the_condition_it_is_asked() {
    let served = served();
    meddle(&served, "UPDATE a SET n = -1");
    let asked = served.asked("t.[id] > CAST(@P1 AS int)");
    let condition = "id > 30 AND (n + id) % 2 = 0 AND lower(region) LIKE 'e%'";
    let _ = copy_again(&served, condition).succeeded();
    assert!(asked.is_none_or(|asked| asked.has_struck()));
    let rows = served.csv("SELECT count(*) AS rows FROM a WHERE n = id AND region = 'EU'");
    // The multiples of three above 30: those were found by the source's values.
    assert_eq!(rows, "rows\n10\n");
    let rest = served.csv("SELECT count(*) AS rows FROM a WHERE n = -1");
    assert_eq!(rest, "rows\n50\n");
}

#[test]
fn a_part_goes_on_where_it_was_ended_but_not_as_another_one() {
    let served = in_hand();
    meddle(&served, "UPDATE a SET n = -1");
    let killed = || {
        let mut copy = arguments("id <= 40");
        copy[7] = "--parallel=1";
        let chunk = "SELECT t.[id], t.[region], t.[n] FROM";
        let (_others, mut held) = on_nth(&served, chunk, 3, Fault::Stall);
        served.killed_at(&mut held, &copy);
    };
    let going_on = "going on with the new copy of dbo.a, of which 14 rows are there";
    killed();
    let other = copy_again(&served, "id <= 30").succeeded();
    assert!(!other.stderr.contains("going on"), "{}", other.stderr);
    let rows = "SELECT count(*) AS rows FROM a WHERE n = -1";
    assert_eq!(served.csv(rows), "rows\n30\n");
    killed();
    let same = copy_again(&served, "id <= 40").succeeded();
    assert!(same.stderr.contains(going_on), "{}", same.stderr);
    assert_eq!(served.csv(rows), "rows\n20\n");
}

#[test]
fn conditions_that_cannot_be_asked_are_refused_with_their_place() {
    let served = served();
    let refused = [
        ("region = ", "--where:1:"),
        ("regoin = 'EU'", "region"),
        ("_change_type = 'insert'", "has the change's _change_type"),
        ("now() > TIMESTAMP '2020-01-01'", "now()"),
        ("id IN (SELECT id FROM a)", "the answer of a query"),
        ("id = 1 ORDER BY id", "one condition, and nothing behind it"),
        (
            "id = 1; DROP TABLE a",
            "one condition, and nothing behind it",
        ),
        ("id = 1 UNION ALL SELECT * FROM a", "one condition"),
    ];
    let before = served.commits();
    for (condition, words) in refused {
        let _ = copy_again(&served, condition).failed(3, &[words]);
    }
    assert_eq!(served.commits(), before);
    let _ = served
        .cdcql(&["run", "pipelines/p.sql", "--snapshot", "--where", "id = 1"])
        .failed(2, &["--flow"]);
}

#[test]
fn a_part_needs_columns_that_the_target_keeps_and_a_whole_copy_before() {
    let served = served();
    let text = served.project.read("pipelines/p.sql");
    let changed = text
        .replace(
            "UPDATE SET *",
            "UPDATE SET region = upper(change.region), n = change.n",
        )
        .replace(
            "INSERT *",
            "INSERT (id, region, n) VALUES (change.id, upper(change.region), change.n)",
        );
    served.project.write("pipelines/p.sql", &changed);
    let _ = copy_again(&served, "region = 'EU'").failed(
        3,
        &["no column of the target always has the source's 'region' as it is"],
    );
    let _ = copy_again(&served, "n > 3 OR id = 1").succeeded();
    served
        .project
        .write("pipelines/p.sql", &text.replace("'lake/a'", "'lake/other'"));
    let _ = copy_again(&served, "id = 1").failed(1, &["no copy of its table yet"]);
}

#[test]
fn a_copy_for_a_new_column_is_of_the_whole_table_though_a_part_was_asked_for() {
    let served = served();
    let table = "LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onSchemaChange' = 'add')";
    served.edit("LOCATION 'lake/a'", table);
    served.execute("ALTER TABLE dbo.a ADD note NVARCHAR(9) NOT NULL DEFAULT N'none';");
    served.execute(
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL,
         @capture_instance = N'second';",
    );
    served.goes_on();
    let _ = copy_again(&served, "id = 1").succeeded();
    served.assert_true();
    assert!(served.run().succeeded().stderr.contains("nothing new"));
}
