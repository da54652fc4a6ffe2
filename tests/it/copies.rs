//! Copies of whole tables in chunks, which go on after an end.

use std::collections::BTreeSet;
use std::path::Path;

use cdcql::simulator::control::{Fault, PendingFault};

use crate::served::Served;

/// Forty rows in tables whose clustered keys are `key`, captured by their `id`.
fn script(columns: &str, key: &str, values: &str) -> String {
    format!(
        "CREATE TABLE dbo.a (id INT NOT NULL, {columns}, n INT NULL, CONSTRAINT pk PRIMARY KEY NONCLUSTERED (id));
         CREATE UNIQUE CLUSTERED INDEX cx ON dbo.a ({key}, id);
         GO
         INSERT INTO dbo.a SELECT s.value, {values}, s.value FROM GENERATE_SERIES(1, 40) AS s;
         GO
         EXEC sys.sp_cdc_enable_db;
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
         GO
         UPDATE dbo.a SET n = 0 WHERE id = 1;"
    )
}

/// A table whose rows are in the order of a number.
fn numbered() -> String {
    script("k INT NOT NULL", "k", "s.value")
}

const COPY: [&str; 6] = [
    "run",
    "pipelines/p.sql",
    "--chunk-rows",
    "7",
    "--parallel",
    "3",
];

/// The folder of staged chunks is gone.
fn assert_swept(served: &Served) {
    let folder = served.project.path().join("pipelines/lake/a/_cdcql");
    assert!(!folder.exists(), "{folder:?}");
}

#[test]
fn a_copy_follows_clustered_keys_of_all_kinds_in_the_servers_own_order() {
    let keys = [
        ("k INT NOT NULL", "k", "50 - s.value"),
        (
            "k BIGINT NOT NULL, l SMALLINT NOT NULL",
            "k, l",
            "s.value / 10, s.value % 10",
        ),
        (
            "k INT NOT NULL, l INT NOT NULL",
            "k DESC, l",
            "s.value % 3, s.value",
        ),
        ("k DECIMAL(9, 3) NOT NULL", "k", "s.value / 8.0"),
        (
            "k UNIQUEIDENTIFIER NOT NULL",
            "k",
            "CAST(CONCAT(RIGHT(CONCAT('0000000', s.value * 7919), 8), '-8B86-D011-B42D-', \
              RIGHT(CONCAT('00000000000', s.value * 31 % 41), 12)) AS UNIQUEIDENTIFIER)",
        ),
        (
            "k NVARCHAR(20) COLLATE Latin1_General_CI_AS NOT NULL",
            "k",
            "CHAR(65 + s.value % 26) + CASE s.value % 2 WHEN 0 THEN N'ä' ELSE N'Z' END",
        ),
        (
            "k VARCHAR(20) COLLATE SQL_Latin1_General_CP1_CI_AS NOT NULL",
            "k",
            "CHAR(97 + s.value % 26) + CHAR(223)",
        ),
        (
            "k VARBINARY(8) NOT NULL",
            "k",
            "CAST(s.value AS VARBINARY(8))",
        ),
        (
            "k DATE NOT NULL",
            "k",
            "DATEADD(DAY, s.value, CAST('1899-12-20' AS DATE))",
        ),
        (
            "k DATETIME2(7) NOT NULL, l INT NOT NULL",
            "k, l",
            "CAST(CONCAT('2026-01-01T00:00:00.0000', 10 + s.value / 4, s.value % 10) AS DATETIME2(7)), s.value",
        ),
        ("k BIT NOT NULL", "k", "s.value % 2"),
    ];
    for (columns, key, values) in keys {
        let served = Served::of(&script(columns, key, values));
        let bounds = served.asked("FETCH NEXT");
        let copied = served.cdcql(&COPY).succeeded();
        assert!(
            copied.stderr.contains("40 inserted"),
            "{key}: {}",
            copied.stderr
        );
        served.assert_true();
        assert!(
            bounds.is_none_or(|bounds| bounds.has_struck()),
            "{key}: no chunk was looked for"
        );
        assert_swept(&served);
    }
}

#[test]
fn a_table_that_has_no_key_to_follow_is_one_chunk() {
    let heap = "CREATE TABLE dbo.a (id INT NOT NULL, n INT NULL, CONSTRAINT pk PRIMARY KEY NONCLUSTERED (id));
        GO
        INSERT INTO dbo.a SELECT s.value, s.value FROM GENERATE_SERIES(1, 40) AS s;
        GO
        EXEC sys.sp_cdc_enable_db;
        EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;";
    let nullable = script("k INT NULL", "k", "NULLIF(s.value % 9, 0)");
    for script in [heap, &nullable] {
        let served = Served::of(script);
        let copied = served.cdcql(&COPY).succeeded();
        assert!(copied.stderr.contains("40 inserted"), "{}", copied.stderr);
        served.assert_true();
    }
}

/// Strikes the n-th statement with `text`; those before it get no more than messages.
pub(crate) fn on_nth(
    served: &Served,
    text: &str,
    nth: usize,
    fault: Fault,
) -> (Vec<PendingFault>, PendingFault) {
    let control = served.simulator().control();
    let others = (1..nth).map(|_| control.on_next(text, Fault::Interjections));
    (others.collect(), control.on_next(text, fault))
}

/// Kills a copy when three chunks are finished and the next is being read, and answers with how many rows it had.
fn killed_in_the_middle(served: &Served) {
    let copy = [
        "run",
        "pipelines/p.sql",
        "--chunk-rows",
        "7",
        "--parallel",
        "1",
    ];
    let chunk = "SELECT t.[id], t.[k], t.[n] FROM";
    // The first read of the table is of its first chunk.
    let (_others, mut held) = on_nth(served, chunk, 4, Fault::Stall);
    served.killed_at(&mut held, &copy);
    assert!(
        !served
            .project
            .path()
            .join("pipelines/lake/a/_delta_log")
            .exists()
    );
}

const GOING_ON: &str = "going on with the first copy of dbo.a, of which 21 rows are there";

#[test]
fn a_copy_that_was_killed_goes_on_behind_the_chunks_that_it_had_finished() {
    let served = Served::in_hand_of(&numbered());
    killed_in_the_middle(&served);
    served.execute(
        "UPDATE dbo.a SET n = -1 WHERE id IN (3, 30); DELETE FROM dbo.a WHERE id IN (4, 31);
         UPDATE dbo.a SET k = k + 100 WHERE id IN (5, 32); UPDATE dbo.a SET k = k - 100 WHERE id IN (6, 33);
         UPDATE dbo.a SET id = id + 1000 WHERE id IN (7, 34);
         INSERT INTO dbo.a VALUES (50, -3, 1), (51, 300, 2);
         INSERT INTO dbo.a VALUES (60, 3, 1); DELETE FROM dbo.a WHERE id = 60;",
    );
    let copied = served.cdcql(&COPY).succeeded();
    assert!(copied.stderr.contains(GOING_ON), "{}", copied.stderr);
    served.assert_true();
    assert_swept(&served);
    assert_eq!(served.commits(), 1);
    let again = served.cdcql(&COPY).succeeded();
    assert!(again.stderr.contains("nothing new"), "{}", again.stderr);
}

/// The data files in a folder.
fn files_in(folder: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".parquet")).collect()
}

#[test]
fn files_of_chunks_in_which_nothing_has_changed_are_the_tables_own() {
    let served = Served::in_hand_of(&numbered());
    killed_in_the_middle(&served);
    let table = served.project.path().join("pipelines/lake/a");
    let staged = files_in(&table.join("_cdcql/a"));
    // One of the three finished chunks has a row that changes, one of those that are to be read a new row.
    served.execute("UPDATE dbo.a SET n = -1 WHERE id = 3; INSERT INTO dbo.a VALUES (50, 38, 1);");
    let copied = served.cdcql(&COPY).succeeded();
    assert!(copied.stderr.contains(GOING_ON), "{}", copied.stderr);
    assert!(copied.stderr.contains("41 inserted"), "{}", copied.stderr);
    served.assert_true();
    let files = files_in(&table);
    assert_eq!(
        staged.intersection(&files).count(),
        2,
        "{staged:?} {files:?}"
    );
    // Those of four chunks, and the one that has the rows of the others.
    assert_eq!(files.len(), 5, "{files:?}");
    let explain = "EXPLAIN SELECT n FROM a WHERE id BETWEEN 8 AND 14";
    let query = ["query", "--pipeline", "pipelines/p.sql", "-c", explain];
    let told = served.cdcql(&query).succeeded().stderr;
    // The file that was written anew has smaller and larger ones.
    assert!(told.contains("2 read, 3 skipped"), "{told}");
    let found = served.csv("SELECT id, n FROM a WHERE k = 3 OR k = 38 ORDER BY id");
    assert_eq!(found, "id,n\n3,-1\n38,38\n50,1\n");
}

#[test]
fn what_was_copied_of_another_history_or_table_is_copied_again() {
    type Change = fn(&Served);
    let changes: [(&str, Change); 3] = [
        ("changes since then are lost", |served| {
            served.lose_changes();
        }),
        ("another capture instance", |served| {
            served.execute(
                "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'a', @capture_instance = N'all';
                 DELETE FROM dbo.a WHERE id = 3;",
            );
            served.execute(
                "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;",
            );
        }),
        ("a damaged manifest", |served| {
            served
                .project
                .write("pipelines/lake/a/_cdcql/a/copy.json", "{\"format\":");
        }),
    ];
    for (name, change) in changes {
        let served = Served::in_hand_of(&numbered());
        killed_in_the_middle(&served);
        change(&served);
        let copied = served.cdcql(&COPY).succeeded();
        assert!(
            !copied.stderr.contains("going on"),
            "{name}: {}",
            copied.stderr
        );
        served.assert_true();
        assert_swept(&served);
    }
}

#[test]
fn a_chunk_that_fails_is_read_again_alone() {
    let served = Served::in_hand_of(&numbered());
    let chunk = "SELECT t.[id], t.[k], t.[n] FROM";
    let _cut = on_nth(&served, chunk, 2, Fault::CutInRow { after: 3 });
    let _lock = on_nth(&served, chunk, 2, Fault::lock_timeout());
    let copy = [
        "run",
        "pipelines/p.sql",
        "--chunk-rows",
        "7",
        "--parallel",
        "1",
    ];
    let copied = served.cdcql(&copy).succeeded();
    assert_eq!(
        copied.stderr.matches("trying again").count(),
        2,
        "{}",
        copied.stderr
    );
    assert!(copied.stderr.contains("40 inserted"), "{}", copied.stderr);
    served.assert_true();
}

#[test]
fn rows_are_read_at_one_instant_where_the_database_allows_it() {
    let served = Served::new();
    served.execute("ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON;");
    let begun = served.asked("SET TRANSACTION ISOLATION LEVEL SNAPSHOT");
    let _ = served.run().succeeded();
    assert!(begun.is_none_or(|begun| begun.has_struck()));
    served.assert_true();
}

#[test]
fn a_table_is_copied_again_over_what_the_target_has_when_it_is_asked_for() {
    let served = Served::of(&numbered());
    let _ = served.run().succeeded();
    let meddle = "DELETE FROM a WHERE id < 5; UPDATE a SET n = 77 WHERE id = 9; INSERT INTO a VALUES (900, 1, 1);";
    let query = ["query", "--pipeline", "pipelines/p.sql", "-c"];
    let _ = served.cdcql(&[&query[..], &[meddle]].concat()).succeeded();
    served.execute("UPDATE dbo.a SET n = 8 WHERE id = 8; DELETE FROM dbo.a WHERE id = 7;");
    let commits = served.commits();
    let anew = served.cdcql(&[
        "run",
        "pipelines/p.sql",
        "--snapshot",
        "--flow",
        "A",
        "--chunk-rows",
        "7",
    ]);
    assert!(anew.succeeded().stderr.contains("2 deleted"));
    served.assert_true();
    assert_eq!(served.commits(), commits + 1);
    served.execute("UPDATE dbo.a SET n = 9 WHERE id = 8;");
    let _ = served.run().succeeded();
    served.assert_true();
    let unknown = served.cdcql(&["run", "pipelines/p.sql", "--flow", "b"]);
    let _ = unknown.failed(2, &["there is no flow 'b'"]);
    let follow = served.cdcql(&["run", "pipelines/p.sql", "--snapshot", "--follow"]);
    let _ = follow.failed(2, &["--snapshot", "--follow"]);
}

#[test]
fn rows_of_nobody_are_taken_over_where_that_is_said() {
    let served = Served::of(&numbered());
    let make = "CREATE TABLE b (id INT NOT NULL, k INT, n INT) USING DELTA LOCATION 'lake/a';
        INSERT INTO b VALUES (1, -1, -1), (2, 2, 2), (900, 900, 900);";
    let make = make.replace(
        "lake/a",
        served
            .project
            .path()
            .join("pipelines/lake/a")
            .to_str()
            .unwrap(),
    );
    let _ = served.cdcql(&["query", "-c", &make]).succeeded();
    let refused = served.run();
    let _ = refused.failed(1, &["holds rows but no checkpoint of this flow", "--adopt"]);
    let adopted = served
        .cdcql(&["run", "pipelines/p.sql", "--adopt"])
        .succeeded();
    assert!(adopted.stderr.contains("1 deleted"), "{}", adopted.stderr);
    served.assert_true();
    assert!(served.run().succeeded().stderr.contains("nothing new"));
}

#[test]
fn a_flow_that_cannot_delete_what_the_source_lacks_is_not_copied_again() {
    let served = Served::of(&numbered());
    let pipeline = served.project.read("pipelines/p.sql");
    let delete = "WHEN MATCHED AND change._change_type = 'delete' THEN DELETE\n";
    let kept = pipeline.replace(delete, "");
    assert_ne!(kept, pipeline);
    served.project.write("pipelines/p.sql", &kept);
    let _ = served.run().succeeded();
    let anew = served.cdcql(&["run", "pipelines/p.sql", "--snapshot"]);
    let _ = anew.failed(
        3,
        &[
            "--snapshot cannot delete what the source no longer has",
            "empty the target",
        ],
    );
    assert_swept(&served);
}

#[test]
fn rows_that_move_without_a_change_are_read_in_one_piece() {
    let unseen = script("k INT NOT NULL", "k", "s.value").replace(
        "@role_name = NULL;",
        "@role_name = NULL, @captured_column_list = N'id, n', @index_name = N'pk';",
    );
    let served = Served::of(&unseen);
    let looked = served.asked("FETCH NEXT");
    let copied = served.cdcql(&COPY).succeeded();
    let warning = "the clustered index of dbo.a has a column that is not captured";
    assert!(copied.stderr.contains(warning), "{}", copied.stderr);
    assert!(looked.is_none_or(|looked| !looked.has_struck()));
    assert_eq!(
        served.csv("SELECT id, n FROM a ORDER BY id"),
        served.csv("SELECT id, n FROM db.dbo.a ORDER BY id")
    );
}

#[test]
fn what_a_copy_has_left_that_was_committed_is_not_used_again() {
    let served = Served::in_hand_of(&numbered());
    killed_in_the_middle(&served);
    let folder = served.project.path().join("pipelines/lake/a/_cdcql/a");
    let left: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    let copied = served.cdcql(&COPY).succeeded();
    assert!(copied.stderr.contains(GOING_ON), "{}", copied.stderr);
    std::fs::create_dir_all(&folder).unwrap();
    for (path, bytes) in left {
        std::fs::write(path, bytes).unwrap();
    }
    let anew = served.cdcql(&[&COPY[..], &["--snapshot"]].concat());
    let anew = anew.succeeded();
    assert!(
        anew.stderr.contains("a: new copy of dbo.a"),
        "{}",
        anew.stderr
    );
    served.assert_true();
    assert_swept(&served);
}
