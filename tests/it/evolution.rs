//! A source whose columns change.

use cdcql::simulator::CaptureBehaviour;
use cdcql::simulator::control::Fault;

use crate::follow::with_second_flow;
use crate::served::Served;

/// A pipeline whose target has this policy.
fn served(policy: &str) -> Served {
    let served = Served::new(CaptureBehaviour::default());
    let text = served.project.read("pipelines/p.sql");
    let table = format!("LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onSchemaChange' = '{policy}')");
    let text = text.replace("LOCATION 'lake/a'", &table);
    served.project.write("pipelines/p.sql", &text);
    served
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
    assert!(served.control.idle_entry());
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn a_copy_for_a_new_column_that_is_killed_is_made_by_the_next_run() {
    let served = served("add");
    let _ = served.run().succeeded();
    gets_a_column(&served);
    let mut held = served
        .simulator
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
    let served = with_second_flow(served("add"));
    let _ = served.run().succeeded();
    gets_a_column(&served);
    let mut held = served
        .simulator
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
    let served = served("evolve");
    let _ = served
        .run()
        .failed(3, &["is no policy", "'fail', 'ignore' or 'add'"]);
}
