//! A source whose columns change.

use cdcql::simulator::control::Fault;

use crate::follow::with_second_flow;
use crate::served::Served;

/// A pipeline whose target has this policy.
fn served(policy: &str) -> Served {
    with(policy, Served::new())
}

/// The same of a server that the test has a hand on.
fn in_hand(policy: &str) -> Served {
    with(policy, Served::in_hand())
}

fn with(policy: &str, served: Served) -> Served {
    set_policy(&served, policy);
    served
}

fn set_policy(served: &Served, policy: &str) {
    let table = format!("LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onSchemaChange' = '{policy}')");
    served.edit("LOCATION 'lake/a'", &table);
}

const SECOND: &str = "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
                      @capture_instance = N'second';";

/// A new column, with values before, between and after the new capture instance.
fn gets_a_column(served: &Served) {
    served.execute("UPDATE dbo.a SET n = 41 WHERE id = 1;");
    served.execute("ALTER TABLE dbo.a ADD note NVARCHAR(20) NOT NULL DEFAULT N'none';");
    served.execute(
        "UPDATE dbo.a SET note = N'between' WHERE id = 2; INSERT INTO dbo.a VALUES (5, 50, 5, 0, N'new');
         INSERT INTO dbo.a VALUES (6, 60, 6, 0, N'short'); DELETE FROM dbo.a WHERE id = 6;",
    );
    served.execute(SECOND);
    served
        .execute("UPDATE dbo.a SET note = N'after' WHERE id = 3; DELETE FROM dbo.a WHERE id = 4;");
}

fn assert_same(served: &Served, columns: &str) {
    let rows = |table: &str| {
        let sql = format!("SELECT {columns} FROM {table} ORDER BY id");
        let query = ["query", "--pipeline", "pipelines/p.sql", "-c", &sql];
        served.cdcql(&query).succeeded().stdout
    };
    assert_eq!(rows("a"), rows("db.dbo.a"));
}

#[test]
fn a_new_column_comes_to_the_target_with_the_values_of_all_rows() {
    let served = served("add");
    let _ = served.run().succeeded();
    gets_a_column(&served);
    let extended = served.run().succeeded();
    assert!(
        extended.stderr.contains("a: new copy of dbo.a"),
        "{}",
        extended.stderr
    );
    served.assert_true();
    served.execute("UPDATE dbo.a SET note = N'later' WHERE id = 1;");
    let later = served.run().succeeded();
    assert!(
        later.stderr.contains("0 inserted, 1 updated, 0 deleted"),
        "{}",
        later.stderr
    );
    served.assert_true();
}

#[test]
fn a_new_column_waits_for_a_capture_instance_that_has_it() {
    let served = served("add");
    let _ = served.run().succeeded();
    served.execute("ALTER TABLE dbo.a ADD note NVARCHAR(20) NULL;");
    served.execute("UPDATE dbo.a SET note = N'x', n = 9 WHERE id = 1;");
    let _ = served.run().succeeded();
    assert_same(&served, "id, code, n, on_sale");
    served.execute(SECOND);
    served.goes_on();
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn a_copy_for_a_new_column_that_is_killed_is_made_by_the_next_run() {
    let served = in_hand("add");
    let _ = served.run().succeeded();
    gets_a_column(&served);
    let mut held = served
        .simulator()
        .control()
        .on_next("FROM [dbo].[a] AS t", Fault::Stall);
    served.killed_at(&mut held, &["run", "pipelines/p.sql"]);
    served.execute("UPDATE dbo.a SET note = N'meanwhile' WHERE id = 2;");
    let _ = served.run().succeeded();
    served.assert_true();
    let version = served.commits();
    assert!(served.run().succeeded().stderr.contains("nothing new"));
    assert_eq!(served.commits(), version);
}

#[test]
fn a_copy_for_a_new_column_leaves_other_flows_their_windows() {
    let served = with_second_flow(in_hand("add"));
    let _ = served.run().succeeded();
    gets_a_column(&served);
    let mut held = served
        .simulator()
        .control()
        .on_next("FROM [dbo].[a] AS t", Fault::Stall);
    served.killed_at(&mut held, &["run", "pipelines/p.sql", "--flow", "a"]);
    served.execute("INSERT INTO dbo.b VALUES (77, 7);");
    let _ = served.run().succeeded();
    served.assert_true();
    assert_eq!(served.rows("b"), served.rows("db.dbo.b"));
}

#[test]
fn a_new_column_can_be_left_out() {
    let served = served("ignore");
    let _ = served.run().succeeded();
    gets_a_column(&served);
    let _ = served.run().succeeded();
    assert_same(&served, "id, code, n, on_sale");
    served.execute("UPDATE dbo.a SET note = N'later', n = 77 WHERE id = 1;");
    let _ = served.run().succeeded();
    assert_same(&served, "id, code, n, on_sale");
}

#[test]
fn a_new_column_stops_a_flow_that_says_nothing_and_names_the_remedies() {
    let served = served("fail");
    let _ = served.run().succeeded();
    gets_a_column(&served);
    // The older instance goes on.
    let _ = served.run().succeeded();
    let words = [
        "the source has a column 'note' that the target lacks",
        "'cdcql.onSchemaChange' = 'add'",
        "'ignore'",
    ];
    let _ = served.run().failed(3, &words);
}

#[test]
fn a_column_that_the_source_has_lost_is_null_in_rows_that_change() {
    for policy in ["add", "ignore"] {
        let served = served(policy);
        let _ = served.run().succeeded();
        served.execute("ALTER TABLE dbo.a DROP COLUMN n;");
        served.execute(
            "UPDATE dbo.a SET on_sale = 1 WHERE id = 1; INSERT INTO dbo.a VALUES (7, 70, 1);",
        );
        let _ = served.run().succeeded();
        served.execute(SECOND);
        served.execute(
            "UPDATE dbo.a SET on_sale = 0 WHERE id = 2; INSERT INTO dbo.a VALUES (8, 80, 0);",
        );
        let _ = served.run().succeeded();
        let _ = served.run().succeeded();
        assert_same(&served, "id, code, on_sale");
        let rows = served.csv("SELECT id, n FROM a ORDER BY id");
        assert_eq!(rows, "id,n\n1,\n2,\n3,3\n4,4\n7,\n8,\n", "{policy}");
    }
}

/// A table of three numbers, of which some rows have changed.
fn numbers(policy: &str) -> Served {
    let script = "CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NULL, price DECIMAL(6, 2) NULL, f REAL NULL);
        GO
        INSERT INTO dbo.a SELECT s.value, s.value, s.value / 4.0, s.value / 8.0 FROM GENERATE_SERIES(1, 2000) AS s;
        GO
        EXEC sys.sp_cdc_enable_db;
        EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;";
    let served = Served::of(script);
    set_policy(&served, policy);
    let _ = served.run().succeeded();
    served.execute(
        "UPDATE dbo.a SET n = -n WHERE id % 100 = 7; DELETE FROM dbo.a WHERE id % 100 = 8;",
    );
    let _ = served.run().succeeded();
    served
}

fn types(served: &Served) -> String {
    let columns = "SELECT arrow_typeof(n) AS n, arrow_typeof(price) AS price, arrow_typeof(f) AS f FROM a LIMIT 1";
    served
        .csv(columns)
        .lines()
        .nth(1)
        .unwrap_or_default()
        .to_string()
}

#[test]
fn wider_types_come_to_the_target_with_all_its_rows() {
    let served = numbers("evolve");
    assert_eq!(types(&served), "Int32,\"Decimal128(6, 2)\",Float32");
    let before = served.csv("SELECT * FROM a ORDER BY id");
    served.execute("ALTER TABLE dbo.a ALTER COLUMN n BIGINT NULL; ALTER TABLE dbo.a ALTER COLUMN price DECIMAL(12, 4) NULL;");
    served.execute("ALTER TABLE dbo.a ALTER COLUMN f FLOAT NULL;");
    served.execute("UPDATE dbo.a SET n = 5000000000, price = 12345678.0625, f = 0.1 WHERE id = 5; DELETE FROM dbo.a WHERE id = 9;");
    let commits = served.commits();
    let run = served.run().succeeded();
    assert!(
        run.stderr.contains("0 inserted, 1 updated, 1 deleted"),
        "{}",
        run.stderr
    );
    // One for the types, one for the rows.
    assert_eq!(served.commits(), commits + 2);
    assert_eq!(types(&served), "Int64,\"Decimal128(12, 4)\",Float64");
    served.assert_true();
    let version = commits - 1;
    let then = served.csv(&format!(
        "SELECT * FROM a VERSION AS OF {version} ORDER BY id"
    ));
    assert_eq!(then, before);
    let _ = served.cdcql(&["verify", "pipelines/p.sql"]).succeeded();
    let _ = served.cdcql(&["maintain", "pipelines/p.sql"]).succeeded();
    served.assert_true();
}

#[test]
fn wider_types_and_new_columns_come_in_one_run() {
    let served = served("evolve");
    let _ = served.run().succeeded();
    gets_a_column(&served);
    served.execute("ALTER TABLE dbo.a ALTER COLUMN n BIGINT NULL; UPDATE dbo.a SET n = 5000000000 WHERE id = 1;");
    let _ = served.run().succeeded();
    served.assert_true();
    let commits = served.commits();
    assert!(served.run().succeeded().stderr.contains("nothing new"));
    assert_eq!(served.commits(), commits);
}

#[test]
fn types_that_are_no_wider_stop_a_flow_and_so_do_wider_ones_where_nobody_has_said_so() {
    let served = numbers("evolve");
    served.execute("ALTER TABLE dbo.a ALTER COLUMN n SMALLINT NULL;");
    let commits = served.commits();
    let narrower = "column 'n' is SMALLINT in the source but INT in the target";
    let _ = served.run().failed(
        3,
        &[
            narrower,
            "for another type list the columns and their casts",
        ],
    );
    for policy in ["fail", "ignore", "add"] {
        let served = numbers(policy);
        served.execute("ALTER TABLE dbo.a ALTER COLUMN price DECIMAL(8, 2) NULL;");
        let wider = "column 'price' is DECIMAL(8, 2) in the source but DECIMAL(6, 2) in the target";
        let _ = served.run().failed(3, &[wider, "'evolve'"]);
    }
    assert_eq!(served.commits(), commits);
}

#[test]
fn a_table_that_is_not_the_flows_own_gets_no_wider_types() {
    let served = numbers("evolve");
    let log = served.project.path().join("pipelines/lake/b");
    let make = format!(
        "CREATE TABLE b (id INT NOT NULL, n SMALLINT, price DECIMAL(5, 1), f REAL) USING DELTA LOCATION '{}';
         INSERT INTO b VALUES (1, 10, 1.5, 0);",
        log.display()
    );
    let _ = served.cdcql(&["query", "-c", &make]).succeeded();
    served.edit("'lake/a'", "'lake/b'");
    let adopted = served.cdcql(&["run", "pipelines/p.sql", "--adopt"]);
    let _ = adopted.failed(
        3,
        &["column 'price' is DECIMAL(6, 2) in the source but DECIMAL(5, 1)"],
    );
}

#[test]
fn a_target_that_is_made_anew_has_no_column_that_the_source_has_lost() {
    for policy in ["add", "ignore"] {
        let served = served(policy);
        served.execute("ALTER TABLE dbo.a DROP COLUMN n;");
        let _ = served.run().succeeded();
        served.assert_true();
        served.execute("UPDATE dbo.a SET on_sale = 1 WHERE id = 1;");
        let _ = served.run().succeeded();
        served.assert_true();
    }
}

#[test]
fn a_policy_that_there_is_not_is_refused() {
    let served = served("evolves");
    let words = ["is no policy", "'fail', 'ignore', 'add' or 'evolve'"];
    let _ = served.run().failed(3, &words);
}

#[test]
fn a_table_that_is_not_the_flows_own_gets_no_columns() {
    let served = served("add");
    let folder = served.project.path().join("pipelines/lake/a");
    let make = format!(
        "CREATE TABLE b (id INT NOT NULL, code INT) USING DELTA LOCATION '{}'; INSERT INTO b VALUES (1, 10);",
        folder.display()
    );
    let _ = served.cdcql(&["query", "-c", &make]).succeeded();
    let before = served.commits();
    let refused = "holds rows but no checkpoint of this flow";
    let _ = served.run().failed(1, &[refused]);
    assert_eq!(served.commits(), before);
    let adopted = served.cdcql(&["run", "pipelines/p.sql", "--adopt"]);
    let _ = adopted.succeeded();
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn a_flow_that_tells_kinds_of_changes_apart_is_not_copied_again() {
    let served = served("add");
    let matched = "WHEN MATCHED THEN UPDATE";
    let kinds = "WHEN MATCHED AND change._change_type = 'update_postimage' THEN UPDATE";
    served.edit(matched, kinds);
    let _ = served.run().succeeded();
    let anew = served.cdcql(&["run", "pipelines/p.sql", "--snapshot"]);
    let _ = anew.failed(3, &["a WHEN asks what kind of change a row is"]);
    gets_a_column(&served);
    let _ = served
        .run()
        .failed(3, &["a WHEN asks what kind of change a row is", "'ignore'"]);
}

#[test]
fn a_flow_that_begins_without_a_copy_makes_none_for_a_new_column() {
    let served = served("add");
    served.edit(" CHANGES AS", " CHANGES WITH (snapshot = false) AS");
    let _ = served
        .run()
        .failed(3, &["begins without a copy of its table", "'ignore'"]);
}

#[test]
fn a_merge_with_schema_evolution_adds_columns_by_itself() {
    let served = served("fail");
    let text = served.project.read("pipelines/p.sql");
    let evolving = text.replace("MERGE INTO", "MERGE WITH SCHEMA EVOLUTION INTO");
    served.project.write("pipelines/p.sql", &evolving);
    let _ = served.run().succeeded();
    gets_a_column(&served);
    let _ = served.run().succeeded();
    served.assert_true();
    let starless = evolving
        .replace("UPDATE SET *", "UPDATE SET n = change.n")
        .replace("INSERT *", "INSERT (id, n) VALUES (change.id, change.n)");
    served.project.write("pipelines/p.sql", &starless);
    let _ = served
        .run()
        .failed(3, &["WITH SCHEMA EVOLUTION adds the columns of a star"]);
    let query = "MERGE WITH SCHEMA EVOLUTION INTO a AS t USING a AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET *";
    let query = ["query", "--pipeline", "pipelines/p.sql", "-c", query];
    let _ = served.cdcql(&query).failed(3, &["is for flows"]);
}

#[test]
fn a_column_that_has_another_name_stops_a_flow_whose_target_has_the_old_one() {
    for policy in ["add", "ignore", "evolve"] {
        let served = served(policy);
        let _ = served.run().succeeded();
        served.execute("EXEC sp_rename 'dbo.a.n', 'amount', 'COLUMN';");
        served.execute("UPDATE dbo.a SET amount = 7 WHERE id = 1;");
        // The older instance goes on under the old name.
        let _ = served.run().succeeded();
        assert!(served.csv("SELECT n FROM a WHERE id = 1").contains('7'));
        served.execute(SECOND);
        served.goes_on();
        let words = "the source's column 'n' is called 'amount' now";
        let commits = served.commits();
        let ended = served.run();
        let ended = if ended.code == Some(0) {
            served.run()
        } else {
            ended
        };
        let _ = ended.failed(3, &[words, "n = change.amount"]);
        assert!(
            served.commits() <= commits + 1,
            "no more than the checkpoint moved"
        );
        let text = served.project.read("pipelines/p.sql");
        let row =
            "(id, code, n, on_sale) VALUES (change.id, change.code, change.amount, change.on_sale)";
        let set = "SET code = change.code, n = change.amount, on_sale = change.on_sale";
        let text = text
            .replace("SET *", set)
            .replace("INSERT *", &format!("INSERT {row}"));
        served.project.write("pipelines/p.sql", &text);
        served.execute("UPDATE dbo.a SET amount = 8 WHERE id = 2;");
        let _ = served.run().succeeded();
        let rows = served.csv("SELECT n FROM a ORDER BY id");
        assert_eq!(
            rows,
            served.csv("SELECT amount AS n FROM db.dbo.a ORDER BY id")
        );
    }
}

#[test]
fn what_was_done_to_the_table_is_quoted_where_a_flow_stops_for_it() {
    let served = served("fail");
    let _ = served.run().succeeded();
    served.execute("ALTER TABLE dbo.a ALTER COLUMN n BIGINT NULL;");
    let words = [
        "the source executed: ALTER TABLE dbo.a ALTER COLUMN n BIGINT NULL",
        "'evolve'",
    ];
    let _ = served.run().failed(3, &words);
}
