//! `cdcql.onGap`: changes are lost, and the flow does what its table says.

use crate::follow::Follower;
use crate::served::Served;
use crate::support::Project;

const RECAPTURE: [&str; 2] = [
    "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'a', @capture_instance = N'all';",
    "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;",
];

fn served(policy: &str) -> Served {
    let served = Served::new();
    let table = format!("LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onGap' = '{policy}')");
    served.edit("LOCATION 'lake/a'", &table);
    served
}

/// Makes changes that the server then forgets: row 2 is deleted, row 5 is new, row 1 changes.
fn lose_changes(served: &Served) {
    served.execute("DELETE FROM dbo.a WHERE id = 2; INSERT INTO dbo.a VALUES (5, 50, 5, 0);");
    served.lose_changes();
}

/// Makes the same changes while the table is not captured.
fn recapture(served: &Served) {
    served.execute(RECAPTURE[0]);
    served.execute(
        "DELETE FROM dbo.a WHERE id = 2; INSERT INTO dbo.a VALUES (5, 50, 5, 0);
         UPDATE dbo.a SET n = 269 WHERE id = 1;",
    );
    served.execute(RECAPTURE[1]);
}

/// The newest commit of the target that has gone over a gap.
fn gap(served: &Served) -> String {
    let log = served.project.path().join("pipelines/lake/a/_delta_log");
    let commits = std::fs::read_dir(log)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut commits: Vec<_> = commits.collect();
    commits.sort();
    let commits = commits
        .into_iter()
        .rev()
        .map(|commit| std::fs::read_to_string(commit).unwrap());
    let mut lines =
        commits.flat_map(|commit| commit.lines().map(str::to_string).collect::<Vec<_>>());
    lines.find(|line| line.contains("\"cdcql.gap\"")).unwrap()
}

#[test]
fn by_default_a_flow_stops_with_exit_code_5() {
    for lose in [lose_changes, recapture] {
        let served = served("fail");
        let _ = served.run().succeeded();
        let before = served.rows("a");
        lose(&served);
        let _ = served.run().failed(5, &["a"]);
        assert_eq!(served.rows("a"), before);
    }
}

#[test]
fn a_table_that_is_copied_again_loses_what_its_source_lost() {
    for lose in [lose_changes, recapture] {
        let served = served("resnapshot");
        let _ = served.run().succeeded();
        lose(&served);
        let again = served.run().succeeded();
        for words in ["the table is copied again", "1 inserted", "1 deleted"] {
            assert!(again.stderr.contains(words), "{}", again.stderr);
        }
        served.assert_true();
        assert!(
            gap(&served).contains("\"policy\":\"resnapshot\""),
            "{}",
            gap(&served)
        );
        served.execute("UPDATE dbo.a SET n = 7 WHERE id = 3;");
        let next = served.run().succeeded();
        assert!(
            next.stderr.contains("0 inserted, 1 updated, 0 deleted"),
            "{}",
            next.stderr
        );
        served.assert_true();
    }
}

#[test]
fn a_flow_that_goes_on_applies_what_the_source_still_has() {
    for lose in [lose_changes, recapture] {
        let served = served("continue");
        let _ = served.run().succeeded();
        lose(&served);
        served.execute("UPDATE dbo.a SET n = 7 WHERE id = 3;");
        let again = served.run().succeeded();
        let words = "going on with what the source still has";
        assert!(again.stderr.contains(words), "{}", again.stderr);
        let rows = served.rows("a").replace(' ', "");
        for row in ["|2|20|2|", "|3|30|7|"] {
            assert!(rows.contains(row), "{rows}");
        }
        assert!(!rows.contains("|5|"), "{rows}");
        assert!(
            gap(&served).contains("\"policy\":\"continue\""),
            "{}",
            gap(&served)
        );
        let next = served.run().succeeded();
        assert!(next.stderr.contains("nothing new"), "{}", next.stderr);
    }
}

#[test]
fn a_table_that_is_followed_is_copied_again() {
    let served = served("resnapshot");
    let mut follower =
        Follower::spawn(served.command(&["run", "pipelines/p.sql", "--follow", "--every", "50ms"]));
    follower.wait_for(&["a: first copy:"]);
    recapture(&served);
    follower.wait_for(&["the table is copied again"]);
    follower.wait_for(&["a: new copy:"]);
    // That copy may have been made before the table was captured again, and another one take a change in.
    let is_followed = (7..12).any(|n| {
        served.execute(&format!("UPDATE dbo.a SET n = {n} WHERE id = 3;"));
        let told = follower.wait_for(&["inserted", "updated"]);
        told.contains("a: 0 inserted, 1 updated")
    });
    assert!(is_followed);
    let _ = follower.end("-TERM");
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn a_target_whose_rows_were_replaced_is_copied_again() {
    let served = served("resnapshot");
    let _ = served.run().succeeded();
    served.execute("DELETE FROM dbo.a WHERE id = 2;");
    let _ = served.run().succeeded();
    let lake = served.project.path().join("pipelines/lake/a");
    served.runtime.block_on(async {
        let url = deltalake::table::builder::parse_table_uri(lake.to_str().unwrap()).unwrap();
        let table = deltalake::open_table(url).await.unwrap();
        let _ = table.restore().with_version_to_restore(0).await.unwrap();
    });
    let again = served.run().succeeded();
    assert!(
        again.stderr.contains("the table is copied again"),
        "{}",
        again.stderr
    );
    served.assert_true();
}

#[test]
fn a_source_with_another_history_is_copied_again() {
    let project = Project::new();
    let text = project.read("pipelines/customers.sql");
    let table = "LOCATION 'lake/customers' TBLPROPERTIES ('cdcql.onGap' = 'resnapshot')";
    project.write(
        "pipelines/customers.sql",
        &text.replace("LOCATION 'lake/customers'", table),
    );
    let _ = project.run().succeeded();
    let script = project.read("pipelines/app_db.sql");
    project.write("pipelines/app_db.sql", &script.replacen("Kent", "Lane", 1));
    let again = project.run().succeeded();
    assert!(
        again.stderr.contains("the table is copied again"),
        "{}",
        again.stderr
    );
    let of_source = project.query("SELECT * FROM app_db.dbo.customers ORDER BY 1");
    assert_eq!(
        project.query("SELECT * FROM customers ORDER BY 1"),
        of_source
    );
}

#[test]
fn a_flow_that_may_not_delete_what_is_gone_is_refused() {
    for (from, to, words) in [
        (
            "THEN DELETE",
            "THEN UPDATE SET n = 0",
            "the first WHEN MATCHED does not delete",
        ),
        (
            "ON target.id = change.id",
            "ON target.id = change.id AND target.n > 0",
            "ON has to compare",
        ),
        (
            "ON target.id = change.id",
            "ON target.code = change.code",
            "ON has to compare",
        ),
        (
            "USING STREAM db.dbo.a CHANGES AS change",
            "USING (SELECT * FROM STREAM db.dbo.a CHANGES) AS change",
            "the source is a query",
        ),
        (
            "'resnapshot'",
            "'copy'",
            "write 'fail', 'resnapshot' or 'continue'",
        ),
    ] {
        let served = served("resnapshot");
        let text = served.project.read("pipelines/p.sql");
        assert!(text.contains(from), "{text}");
        served
            .project
            .write("pipelines/p.sql", &text.replacen(from, to, 1));
        let _ = served.run().failed(3, &[words]);
    }
}

#[test]
fn keys_of_text_and_of_several_columns_are_compared_byte_by_byte() {
    let served = served("resnapshot");
    served.execute(
        "CREATE TABLE dbo.b (k NVARCHAR(10) NOT NULL, p INT NOT NULL, d DECIMAL(9, 2) NOT NULL, v INT NULL,
             PRIMARY KEY (k, p, d));
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'b', @role_name = NULL;
         INSERT INTO dbo.b VALUES (N'a', 1, 1.5, 1), (N'é', 1, 2.5, 2), (N'c', 2, 3.5, 3), (N'd', 2, 4.5, 4);",
    );
    let flow = "CREATE CONNECTION db TYPE sqlserver OPTIONS (url env('DB_URL'));
         CREATE TABLE IF NOT EXISTS b USING DELTA PARTITIONED BY (p) LOCATION 'lake/b'
             TBLPROPERTIES ('cdcql.onGap' = 'resnapshot');
         MERGE INTO b USING STREAM db.dbo.b CHANGES AS change
             ON change.K = b.k AND (b.p = change.p AND b.d = change.d)
         WHEN MATCHED AND (change._change_type = 'delete') THEN DELETE
         WHEN MATCHED THEN UPDATE SET *
         WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;";
    served.project.write("pipelines/p.sql", flow);
    let _ = served.run().succeeded();
    served.execute(&RECAPTURE[0].replace("N'a'", "N'b'"));
    served.execute(
        "UPDATE dbo.b SET k = N'A' WHERE k = N'a'; DELETE FROM dbo.b WHERE k = N'é';
         UPDATE dbo.b SET p = 1 WHERE k = N'c'; UPDATE dbo.b SET v = 40 WHERE k = N'd';",
    );
    served.execute(&RECAPTURE[1].replace("N'a'", "N'b'"));
    let again = served.run().succeeded();
    assert!(
        again.stderr.contains("2 inserted, 1 updated, 3 deleted"),
        "{}",
        again.stderr
    );
    let of = |table: &str| {
        let sql = format!("SELECT * FROM {table} ORDER BY v");
        let query = ["query", "--pipeline", "pipelines/p.sql", "-c", &sql];
        served.cdcql(&query).succeeded().stdout
    };
    assert_eq!(of("b"), of("db.dbo.b"));
}
