//! Columns that come to a target whose rows are not copied again for them.

use cdcql::simulator::control::Fault;

use crate::served::Served;

const SCRIPT: &str = "\
CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NULL, t VARCHAR(10) NULL);
GO
INSERT INTO dbo.a SELECT s.value, s.value, 'old' FROM GENERATE_SERIES(1, 12) AS s;
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
";

const SECOND: &str = "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
                      @capture_instance = N'second';";
const ADD: &str = "ALTER TABLE dbo.a ADD note NVARCHAR(20) NOT NULL DEFAULT N'none';";
const DROP_FIRST: &str = "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'a', @capture_instance = N'dbo_a';";

fn of(script: &str, policy: &str) -> Served {
    let served = Served::of(script);
    set(&served, policy);
    served
}

/// A pipeline whose table says `policy` of columns, and that they are not filled.
fn set(served: &Served, policy: &str) {
    let table = format!(
        "LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onSchemaChange' = '{policy}', 'cdcql.backfillColumns' = 'false')"
    );
    served.edit("LOCATION 'lake/a'", &table);
}

fn filling(served: &Served) {
    served.edit(
        "'cdcql.backfillColumns' = 'false'",
        "'cdcql.backfillColumns' = 'true'",
    );
}

/// Changes before, between and after a new column and the capture instance that has it.
fn changes(served: &Served) {
    served.execute("UPDATE dbo.a SET n = 100 WHERE id = 1;");
    served.execute(ADD);
    served.execute(
        "UPDATE dbo.a SET n = 20, note = N'two' WHERE id = 2; UPDATE dbo.a SET n = 30 WHERE id = 3;
         UPDATE dbo.a SET id = 40, note = N'moved' WHERE id = 4; DELETE FROM dbo.a WHERE id = 5;
         UPDATE dbo.a SET n = 60, note = N'early' WHERE id IN (6, 7, 8); INSERT INTO dbo.a VALUES (50, 50, 'x', N'fifty');
         INSERT INTO dbo.a VALUES (51, 51, 'x', N'short'); DELETE FROM dbo.a WHERE id = 51;
         DELETE FROM dbo.a WHERE id = 9; INSERT INTO dbo.a VALUES (9, 90, 'again', N'nine');
         UPDATE dbo.a SET note = N'unseen' WHERE id = 10;",
    );
    served.execute(SECOND);
    served.execute(
        "UPDATE dbo.a SET note = N'late' WHERE id = 6; DELETE FROM dbo.a WHERE id = 7; UPDATE dbo.a SET id = 80 WHERE id = 8;
         INSERT INTO dbo.a VALUES (60, 60, 'y', N'sixty'); UPDATE dbo.a SET note = N'eleven' WHERE id = 11;",
    );
}

/// The rows that no change tells of since the column came, which have NULL in it.
const UNTOLD: &str = "id IN (1, 10, 12)";

/// The target has what the source has, but for the new column in rows that are `untold`.
fn assert_told(served: &Served, untold: &str) {
    let own = served.csv("SELECT id, n, t, note FROM a ORDER BY id");
    let source = format!(
        "SELECT id, n, t, CASE WHEN {untold} THEN NULL ELSE note END AS note FROM db.dbo.a ORDER BY id"
    );
    assert_eq!(own, served.csv(&source));
}

fn done(served: &Served) {
    let commits = served.commits();
    assert!(served.run().succeeded().stderr.contains("nothing new"));
    assert_eq!(served.commits(), commits);
}

#[test]
fn rows_that_changed_without_the_new_column_get_its_values_and_the_others_have_null() {
    for policy in ["add", "evolve"] {
        let served = of(SCRIPT, policy);
        let _ = served.run().succeeded();
        changes(&served);
        let run = served.run().succeeded();
        for words in [
            "a: copy of changed rows of dbo.a",
            "a: copy of changed rows: 0 inserted",
        ] {
            assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
        }
        assert_told(&served, UNTOLD);
        done(&served);
        served.execute("UPDATE dbo.a SET n = 11 WHERE id = 1; DELETE FROM dbo.a WHERE id = 12;");
        let _ = served.run().succeeded();
        assert_told(&served, "id = 10");
        let verified = served.cdcql(&["verify", "pipelines/p.sql"]);
        assert!(verified.stdout.contains("10"), "{}", verified.stdout);
        let filled = [
            "run",
            "pipelines/p.sql",
            "--flow",
            "a",
            "--snapshot",
            "--where",
            "id = 10",
        ];
        let _ = served.cdcql(&filled).succeeded();
        served.assert_true();
    }
}

#[test]
fn changes_that_the_flow_had_applied_before_are_told_too() {
    let served = of(SCRIPT, "add");
    let _ = served.run().succeeded();
    served.execute(ADD);
    served.execute("UPDATE dbo.a SET n = 20, note = N'two' WHERE id = 2;");
    let _ = served.run().succeeded();
    served.execute("UPDATE dbo.a SET n = 30, note = N'three' WHERE id = 3;");
    let _ = served.run().succeeded();
    served.execute(SECOND);
    served.goes_on();
    let _ = served.run().succeeded();
    assert_told(&served, "id NOT IN (2, 3)");
    done(&served);
}

#[test]
fn many_rows_are_read_by_their_keys_a_few_at_once() {
    let script = SCRIPT.replace("(1, 12)", "(1, 3000)");
    let served = of(&script, "add");
    let _ = served.run().succeeded();
    served.execute(ADD);
    served.execute(
        "UPDATE dbo.a SET n = -n, note = CONCAT(N'n', id) WHERE id % 3 = 0; UPDATE dbo.a SET n = n + 1 WHERE id % 9 = 0;",
    );
    served.execute(SECOND);
    served.execute(
        "DELETE FROM dbo.a WHERE id % 7 = 0; UPDATE dbo.a SET t = 'new' WHERE id % 5 = 0;",
    );
    let _ = served.run().succeeded();
    assert_told(&served, "id % 3 <> 0 AND id % 5 <> 0");
}

#[test]
fn a_key_of_several_columns_finds_its_rows() {
    let script = "CREATE TABLE dbo.a (id INT NOT NULL, k NVARCHAR(10) COLLATE Latin1_General_CI_AS NOT NULL, n INT NULL, \
        t VARCHAR(10) NULL, CONSTRAINT pk PRIMARY KEY (id, k));
        GO
        INSERT INTO dbo.a SELECT s.value, N'Key', s.value, 'old' FROM GENERATE_SERIES(1, 300) AS s;
        GO
        EXEC sys.sp_cdc_enable_db;
        EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;";
    let served = of(script, "add");
    served.edit(
        "ON target.id = change.id",
        "ON target.id = change.id AND target.k = change.k",
    );
    let _ = served.run().succeeded();
    served.execute(ADD);
    served.execute("UPDATE dbo.a SET n = -n, note = N'x' WHERE id % 2 = 0; UPDATE dbo.a SET k = N'KEY', note = N'y' WHERE id = 10;");
    served.execute(SECOND);
    served.execute("UPDATE dbo.a SET k = N'other' WHERE id = 20;");
    let _ = served.run().succeeded();
    assert_told(&served, "id % 2 <> 0");
    assert_eq!(
        served.csv("SELECT k, note FROM a WHERE id = 10"),
        "k,note\nKEY,y\n"
    );
}

#[test]
fn a_large_new_column_has_the_values_of_rows_that_changed() {
    let served = of(SCRIPT, "add");
    let _ = served.run().succeeded();
    served.execute("ALTER TABLE dbo.a ADD note NVARCHAR(MAX) NULL;");
    served.execute(
        "UPDATE dbo.a SET n = 20, note = REPLICATE(N'x', 3000) WHERE id IN (2, 3); UPDATE dbo.a SET n = 40 WHERE id = 4;",
    );
    served.execute(SECOND);
    served.execute("UPDATE dbo.a SET n = 21 WHERE id IN (2, 5); UPDATE dbo.a SET note = N'short' WHERE id IN (3, 6);");
    let _ = served.run().succeeded();
    served.assert_true();
    served.execute("UPDATE dbo.a SET n = 22 WHERE id IN (2, 5);");
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn what_is_killed_is_done_by_the_next_run() {
    let served = Served::in_hand_of(SCRIPT);
    set(&served, "add");
    let _ = served.run().succeeded();
    changes(&served);
    for step in [
        "FROM cdc.[dbo_a_CT] AS c",
        "FROM [dbo].[a] AS t",
        "sys.dm_cdc_log_scan_sessions AS x WHERE",
        "FROM cdc.[second_CT] AS c",
    ] {
        let mut held = served.simulator().control().on_next(step, Fault::Stall);
        served.killed_at(&mut held, &["run", "pipelines/p.sql"]);
        assert!(held.has_struck(), "{step}");
        served.execute(
            "UPDATE dbo.a SET note = CONCAT(note, N'!') WHERE id IN (2, 12); UPDATE dbo.a SET n = n + 1 WHERE id = 3;",
        );
    }
    let _ = served.run().succeeded();
    assert_told(&served, "id IN (1, 10)");
    done(&served);
}

#[test]
fn a_sign_that_was_not_taken_away_has_the_rows_read_once_more() {
    let served = of(SCRIPT, "add");
    let _ = served.run().succeeded();
    changes(&served);
    let _ = served.run().succeeded();
    let rows = served.rows("a");
    let last = format!(
        "pipelines/lake/a/_delta_log/{:020}.json",
        served.commits() - 1
    );
    assert!(served.project.read(&last).contains("SET TBLPROPERTIES"));
    std::fs::remove_file(served.project.path().join(&last)).unwrap();
    let again = served.run().succeeded();
    assert!(
        again.stderr.contains("copy of changed rows"),
        "{}",
        again.stderr
    );
    assert_eq!(served.rows("a"), rows);
    done(&served);
}

/// Lets clean-up take what a flow has read that leaves new columns out, and has come past `SECOND`.
fn clean_what_was_read(served: &Served) {
    served.grows_old("dbo.a", "n");
    let _ = served.run().succeeded();
    served.clean_up();
}

#[test]
fn what_cannot_be_told_stops_the_flow_before_it_gets_a_column() {
    type Loss = fn(&Served);
    let gone = "the capture instance that recorded its changes until then is gone";
    let cleaned = "clean-up has taken changes since then from capture instance dbo_a";
    let untold = "cdc.ddl_history does not tell this login when they came";
    let losses: [(&str, &str, Loss); 3] = [
        (gone, SCRIPT, |served| served.execute(DROP_FIRST)),
        (cleaned, SCRIPT, clean_what_was_read),
        (
            untold,
            "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NULL, t VARCHAR(10) NULL, note NVARCHAR(20) NULL);
             GO
             INSERT INTO dbo.a VALUES (1, 1, 'old', N'one'), (2, 2, 'old', N'two'), (3, 3, 'old', N'three');
             GO
             EXEC sys.sp_cdc_enable_db;
             EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
             @captured_column_list = N'id, n, t';",
            clean_what_was_read,
        ),
    ];
    for (reason, script, lose) in losses {
        let served = of(script, "ignore");
        let _ = served.run().succeeded();
        if script == SCRIPT {
            served.execute(ADD);
        }
        served.execute("UPDATE dbo.a SET n = 20, note = N'two' WHERE id = 2;");
        served.execute(SECOND);
        served.execute("UPDATE dbo.a SET t = 'x' WHERE id = 3;");
        let _ = served.run().succeeded();
        lose(&served);
        served.edit("'ignore'", "'add'");
        let commits = served.commits();
        let words = [
            reason,
            "since column 'note' came",
            "--snapshot",
            "leave the property out",
        ];
        let _ = served.run().failed(5, &words);
        let planned = served.cdcql(&["plan", "pipelines/p.sql"]);
        assert_eq!(planned.code, Some(5));
        assert!(planned.stdout.contains(reason), "{}", planned.stdout);
        assert_eq!(served.commits(), commits, "{reason}");
        let anew = served.cdcql(&["run", "pipelines/p.sql", "--snapshot"]);
        let _ = anew.succeeded();
        served.assert_true();
        done(&served);
    }
}

#[test]
fn a_column_that_was_not_captured_is_told_by_all_changes_that_the_flow_has_read() {
    let script = "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NULL, t VARCHAR(10) NULL, note NVARCHAR(20) NULL);
        GO
        INSERT INTO dbo.a SELECT s.value, s.value, 'old', N'note' FROM GENERATE_SERIES(1, 5) AS s;
        GO
        EXEC sys.sp_cdc_enable_db;
        EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
        @captured_column_list = N'id, n, t';";
    let served = of(script, "add");
    let _ = served.run().succeeded();
    served.execute("UPDATE dbo.a SET n = 20, note = N'two' WHERE id = 2;");
    let _ = served.run().succeeded();
    served.execute("ALTER TABLE dbo.a ADD other INT NULL;");
    served.execute(
        "UPDATE dbo.a SET n = 30 WHERE id = 3; UPDATE dbo.a SET note = N'unseen' WHERE id = 4;",
    );
    let _ = served.run().succeeded();
    served.execute(SECOND);
    served.goes_on();
    let _ = served.run().succeeded();
    assert_told(&served, "id IN (1, 4, 5)");
}

#[test]
fn rows_can_be_filled_after_all_and_a_copy_that_was_begun_need_not_be_made() {
    let served = Served::in_hand_of(SCRIPT);
    set(&served, "add");
    let _ = served.run().succeeded();
    changes(&served);
    let mut held = served
        .simulator()
        .control()
        .on_next("FROM [dbo].[a] AS t", Fault::Stall);
    served.killed_at(&mut held, &["run", "pipelines/p.sql"]);
    filling(&served);
    let copied = served.run().succeeded();
    assert!(
        copied.stderr.contains("a: new copy of dbo.a"),
        "{}",
        copied.stderr
    );
    served.assert_true();

    let served = Served::in_hand_of(SCRIPT);
    set(&served, "add");
    let text = served.project.read("pipelines/p.sql");
    filling(&served);
    let _ = served.run().succeeded();
    changes(&served);
    let mut held = served
        .simulator()
        .control()
        .on_next("FROM [dbo].[a] AS t", Fault::Stall);
    served.killed_at(&mut held, &["run", "pipelines/p.sql"]);
    served.project.write("pipelines/p.sql", &text);
    let read = served.run().succeeded();
    assert!(
        read.stderr.contains("a: copy of changed rows of dbo.a"),
        "{}",
        read.stderr
    );
    assert_told(&served, UNTOLD);
    done(&served);
}

#[test]
fn a_merge_with_schema_evolution_need_not_fill_rows_nor_delete_them() {
    let served = of(SCRIPT, "fail");
    let text = served.project.read("pipelines/p.sql");
    let text = text
        .replace("MERGE INTO", "MERGE WITH SCHEMA EVOLUTION INTO")
        .replace(
            "WHEN MATCHED AND change._change_type = 'delete' THEN DELETE\n",
            "",
        );
    served.project.write("pipelines/p.sql", &text);
    let _ = served.run().succeeded();
    served.execute(ADD);
    served.execute("UPDATE dbo.a SET n = 20, note = N'two' WHERE id = 2;");
    served.execute(SECOND);
    let _ = served.run().succeeded();
    assert_told(&served, "id <> 2");
    let kinds = text.replace(
        "WHEN MATCHED THEN UPDATE",
        "WHEN MATCHED AND change._change_type = 'update_postimage' THEN UPDATE",
    );
    let served = of(SCRIPT, "fail");
    served.project.write("pipelines/p.sql", &kinds);
    let _ = served.run().succeeded();
    changes(&served);
    let words = [
        "'cdcql.backfillColumns' = 'false' cannot read changed rows again",
        "a WHEN asks what kind of change a row is",
    ];
    let _ = served.run().failed(3, &words);
}

#[test]
fn a_truth_value_that_there_is_not_is_refused() {
    let served = of(SCRIPT, "add");
    served.edit(
        "'cdcql.backfillColumns' = 'false'",
        "'cdcql.backfillColumns' = 'no'",
    );
    let words = [
        "cdcql.backfillColumns = 'no' is no truth value",
        "'true' or 'false'",
    ];
    let _ = served.run().failed(3, &words);
}

#[test]
fn rows_that_a_policy_may_hide_are_not_looked_for() {
    let served = of(SCRIPT, "add");
    let _ = served.run().succeeded();
    served.execute(ADD);
    served.execute("UPDATE dbo.a SET n = 20, note = N'two' WHERE id = 2;");
    served.execute(
        "CREATE FUNCTION dbo.f(@id INT) RETURNS TABLE WITH SCHEMABINDING AS RETURN SELECT 1 AS x WHERE @id < 100;",
    );
    served.execute(
        "CREATE SECURITY POLICY dbo.p ADD FILTER PREDICATE dbo.f(id) ON dbo.a WITH (STATE = ON);",
    );
    served.execute(SECOND);
    served.goes_on();
    let _ = served.run().failed(
        5,
        &["a security policy may hide rows of it from this login"],
    );
}

#[test]
fn plan_tells_which_rows_are_read_again() {
    let served = of(SCRIPT, "ignore");
    let _ = served.run().succeeded();
    served.execute(ADD);
    served.execute("UPDATE dbo.a SET n = 20, note = N'two' WHERE id IN (2, 3);");
    served.execute(SECOND);
    served.execute("UPDATE dbo.a SET t = 'x' WHERE id = 4;");
    let _ = served.run().succeeded();
    served.edit("'ignore'", "'add'");
    let commits = served.commits();
    let planned = served
        .cdcql(&["plan", "pipelines/p.sql"])
        .succeeded()
        .stdout;
    for words in [
        "a: rows read again",
        "by capture instance dbo_a (6 rows)",
        "note (STRING, not in the target): the target gets it, NULL in rows that have not changed since it came",
        "setting       cdcql.backfillColumns = false\n",
    ] {
        assert!(planned.contains(words), "{words}: {planned}");
    }
    let planned = served.cdcql(&["plan", "pipelines/p.sql", "--format", "json"]);
    let planned = planned.succeeded().stdout;
    for words in [
        "\"action\":\"copy_of_changed_rows\"",
        "\"effect\":\"added as null\"",
    ] {
        assert!(planned.contains(words), "{words}: {planned}");
    }
    assert_eq!(served.commits(), commits);
    let _ = served.run().succeeded();
    assert_told(&served, "id NOT IN (2, 3, 4)");
}
