//! Large values, which SQL Server may leave out of updates that do not change them.

use cdcql::simulator::{Behaviour, CaptureBehaviour, SimulatorOptions};

use crate::follow::Follower;
use crate::served::Served;

const SCRIPT: &str = "\
CREATE TABLE dbo.a (id VARCHAR(20) COLLATE Latin1_General_CI_AS NOT NULL, part INT NOT NULL, n INT NULL,
    notes NVARCHAR(MAX) NULL, data VARBINARY(MAX) NULL, doc XML NULL, old NTEXT NULL, place GEOGRAPHY NULL,
    PRIMARY KEY (id, part));
GO
INSERT INTO dbo.a VALUES
    ('a', 1, 1, N'first', 0x01, N'<a/>', N'old one', 0xE6100000010C000000000000F03F0000000000000040),
    ('b', 1, 2, N'second', 0x02, N'<b/>', N'old two', NULL),
    ('c', 1, 3, NULL, NULL, NULL, NULL, NULL),
    ('d', 1, 4, N'fourth', 0x04, NULL, NULL, NULL);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
GO
INSERT INTO dbo.a VALUES ('e', 1, 5, REPLICATE(CAST(N'long ' AS NVARCHAR(MAX)), 200), NULL, NULL, NULL, NULL);
";

const KEYED: [(&str, &str); 1] = [(
    "ON target.id = change.id",
    "ON target.id = change.id AND target.part = change.part",
)];

const READ_BACK: (&str, &str) = (
    "LOCATION 'lake/a'",
    "LOCATION 'lake/a' TBLPROPERTIES ('cdcql.readBack' = 'true')",
);

/// Servers whose images after an update have the large values that it did not change, and servers whose images lack them.
fn servers() -> [Served; 2] {
    [false, true].map(|omits| {
        served(CaptureBehaviour {
            updates_omit_unchanged_values: omits,
            ..CaptureBehaviour::default()
        })
    })
}

fn served(capture: CaptureBehaviour) -> Served {
    let options = SimulatorOptions {
        behaviour: Behaviour {
            seed: Some(11),
            capture,
            ..Behaviour::default()
        },
        ..SimulatorOptions::default()
    };
    let served = Served::of_server(SCRIPT, options);
    edit(&served, &KEYED);
    served
}

/// A server whose keys move in place, in images that lack what did not change.
fn moving() -> Served {
    served(CaptureBehaviour {
        updates_omit_unchanged_values: true,
        trace_flag_8207: true,
        ..CaptureBehaviour::default()
    })
}

fn edit(served: &Served, replacements: &[(&str, &str)]) {
    let mut text = served.project.read("pipelines/p.sql");
    for (from, to) in replacements {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    served.project.write("pipelines/p.sql", &text);
}

#[test]
fn what_updates_do_not_change_is_kept() {
    for served in servers() {
        let _ = served.run().succeeded();
        served.assert_true();
        for changes in [
            "UPDATE dbo.a SET n = n + 10;",
            "UPDATE dbo.a SET notes = N'other' WHERE id = 'a'; UPDATE dbo.a SET n = 0 WHERE id = 'a';
             UPDATE dbo.a SET n = 0 WHERE id = 'b'; UPDATE dbo.a SET data = 0xFF WHERE id = 'b';
             UPDATE dbo.a SET n = -1 WHERE id = 'b';",
            "UPDATE dbo.a SET notes = NULL, doc = N'<c>1</c>' WHERE id IN ('a', 'c');
             UPDATE dbo.a SET n = n + 1, place = 0xE6100000010C00000000000008400000000000001040 WHERE id = 'd'; UPDATE dbo.a SET n = 7;",
            "DELETE FROM dbo.a WHERE id = 'a'; INSERT INTO dbo.a (id, part, n) VALUES ('a', 1, 9);
             UPDATE dbo.a SET n = 10 WHERE id = 'a'; DELETE FROM dbo.a WHERE id = 'd';
             UPDATE dbo.a SET old = N'newer' WHERE id = 'b'; UPDATE dbo.a SET part = 2 WHERE id = 'b';",
            "INSERT INTO dbo.a (id, part, notes) VALUES ('f', 1, N'x'); UPDATE dbo.a SET n = 1 WHERE id = 'f';
             DELETE FROM dbo.a WHERE id = 'c'; UPDATE dbo.a SET n = NULL;",
        ] {
            served.execute(changes);
            let _ = served.run().succeeded();
            served.assert_true();
        }
    }
}

#[test]
fn what_changes_during_a_first_copy_lack_comes_from_its_snapshot() {
    for served in servers() {
        served.capture().hold();
        served.execute("UPDATE dbo.a SET n = 10 WHERE id = 'a'; UPDATE dbo.a SET old = NULL, n = 1 WHERE id = 'b';");
        let command = served.command(&["--log-format", "json", "run", "pipelines/p.sql"]);
        let mut run = Follower::spawn(command);
        run.wait_for(&["waiting_for_capture"]);
        served.execute(
            "UPDATE dbo.a SET n = 11 WHERE id = 'c'; UPDATE dbo.a SET notes = N'late' WHERE id = 'd';
             UPDATE dbo.a SET n = 12 WHERE id = 'd'; DELETE FROM dbo.a WHERE id = 'e';",
        );
        for n in 0..3 {
            served.execute(&format!("UPDATE dbo.a SET n = {n} WHERE id = 'c';"));
            served.runtime.block_on(served.capture().step());
        }
        let _ = run.ended().succeeded();
        let _ = served.run().succeeded();
        served.assert_true();
    }
}

#[test]
fn a_copy_over_a_gap_has_large_values() {
    for served in servers() {
        edit(
            &served,
            &[(
                "LOCATION 'lake/a'",
                "LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onGap' = 'resnapshot')",
            )],
        );
        let _ = served.run().succeeded();
        served.execute("EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'a', @capture_instance = N'all';");
        served.execute("DELETE FROM dbo.a WHERE id = 'a'; UPDATE dbo.a SET notes = N'gap', data = NULL WHERE id = 'b';");
        served.execute("EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;");
        served.execute("UPDATE dbo.a SET n = 77;");
        let _ = served.run().succeeded();
        served.assert_true();
    }
}

#[test]
fn what_the_target_does_not_have_either_is_read_back() {
    let served = moving();
    let _ = served.run().succeeded();
    served.execute(
        "UPDATE dbo.a SET id = 'A' WHERE id = 'a'; UPDATE dbo.a SET n = 0 WHERE id = 'b';",
    );
    let _ = served.run().succeeded();
    served.assert_true();
    assert!(served.rows("a").contains("first"));
}

#[test]
fn what_a_snapshot_does_not_have_either_is_read_back() {
    let served = moving();
    served.capture().hold();
    let command = served.command(&["--log-format", "json", "run", "pipelines/p.sql"]);
    let mut run = Follower::spawn(command);
    run.wait_for(&["waiting_for_capture"]);
    served.execute("UPDATE dbo.a SET id = 'A' WHERE id = 'a';");
    for n in 0..3 {
        served.execute(&format!("UPDATE dbo.a SET n = {n} WHERE id = 'c';"));
        served.runtime.block_on(served.capture().step());
    }
    let _ = run.ended().succeeded();
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn a_target_that_is_joined_whole_needs_values_read_back() {
    for served in [moving()].into_iter().chain(servers()) {
        let on =
            "ON target.id >= change.id AND target.id <= change.id AND target.part >= change.part
            AND target.part <= change.part";
        edit(&served, &[(KEYED[0].1, on)]);
        let _ = served.run().failed(
            3,
            &[
                "ON does not compare the source's key",
                "'cdcql.readBack' = 'true'",
            ],
        );
        edit(&served, &[READ_BACK]);
        let _ = served.run().succeeded();
        served.execute("UPDATE dbo.a SET n = n + 10; UPDATE dbo.a SET id = 'A' WHERE id = 'a';");
        let _ = served.run().succeeded();
        served.assert_true();
    }
}

#[test]
fn a_row_that_comes_to_the_key_of_another_has_its_own_values() {
    let served = moving();
    let _ = served.run().succeeded();
    served.execute("DELETE FROM dbo.a WHERE id = 'b'; UPDATE dbo.a SET id = 'b' WHERE id = 'a'; UPDATE dbo.a SET n = 5 WHERE id = 'b';");
    let _ = served.run().succeeded();
    served.assert_true();
    assert!(!served.rows("a").contains("second"));
}

#[test]
fn a_row_that_cannot_be_read_back_is_left_out_until_its_delete() {
    let served = moving();
    let _ = served.run().succeeded();
    served.execute(
        "UPDATE dbo.a SET id = 'A' WHERE id = 'a'; UPDATE dbo.a SET id = 'z' WHERE id = 'b';",
    );
    served.capture().hold();
    served.execute("DELETE FROM dbo.a WHERE id = 'A';");
    let _ = served.run().succeeded();
    served.assert_true();
    served.capture().release();
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn an_expression_over_a_large_column_needs_it_read_back() {
    const COMPUTED: &str =
        "USING (SELECT id, part, n, upper(notes) AS notes, data, doc, old, place, _change_type
        FROM STREAM db.dbo.a CHANGES) AS change";
    for (served, text) in servers().into_iter().zip([
        COMPUTED,
        "WHEN MATCHED AND change.notes <> 'x' THEN UPDATE SET *",
    ]) {
        let from = if text == COMPUTED {
            "USING STREAM db.dbo.a CHANGES AS change"
        } else {
            "WHEN MATCHED THEN UPDATE SET *"
        };
        edit(&served, &[(from, text)]);
        let refused = served.run().failed(
            3,
            &[
                "the value of 'notes' out of an update",
                "p.sql:",
                "'cdcql.readBack' = 'true'",
            ],
        );
        assert!(
            !served
                .project
                .path()
                .join("pipelines/lake/a/_delta_log")
                .exists(),
            "{}",
            refused.stderr
        );
    }
    for served in servers() {
        edit(
            &served,
            &[
                ("USING STREAM db.dbo.a CHANGES AS change", COMPUTED),
                (
                    "LOCATION 'lake/a'",
                    "LOCATION 'lake/a' TBLPROPERTIES ('cdcql.readBack' = 'true')",
                ),
            ],
        );
        let computed =
            "(SELECT id, part, n, upper(notes) AS notes, data, doc, old, place FROM db.dbo.a)";
        let _ = served.run().succeeded();
        assert_eq!(served.rows("a"), served.rows(computed));
        served.execute(
            "UPDATE dbo.a SET n = n + 10; UPDATE dbo.a SET notes = N'Other' WHERE id = 'c';",
        );
        let _ = served.run().succeeded();
        assert_eq!(served.rows("a"), served.rows(computed));
    }
}

#[test]
fn a_soft_delete_keeps_what_the_delete_lacks() {
    let served = served(CaptureBehaviour::default());
    edit(
        &served,
        &[(
            "THEN DELETE",
            "THEN UPDATE SET n = -1, old = change.old, notes = change.notes",
        )],
    );
    let _ = served.run().succeeded();
    served.execute("DELETE FROM dbo.a WHERE id = 'a';");
    let _ = served.run().succeeded();
    let rows = served.rows("a");
    let row = rows.lines().find(|line| line.contains("| a ")).unwrap();
    assert!(
        row.contains("-1") && row.contains("first") && row.contains("old one"),
        "{row}"
    );
}

#[test]
fn a_window_has_a_bounded_number_of_bytes() {
    for served in servers() {
        let _ = served.run().succeeded();
        let before = served.commits();
        for n in 0..4 {
            served.execute(&format!("UPDATE dbo.a SET notes = REPLICATE(CAST(N'{n}' AS NVARCHAR(MAX)), 5000) WHERE id = 'a';"));
        }
        // The first transaction has 10,000 bytes, since the old value is short; the others have 20,000.
        let run = ["run", "pipelines/p.sql", "--window-bytes", "16KiB"];
        let _ = served.cdcql(&run).succeeded();
        assert_eq!(served.commits() - before, 3);
        served.assert_true();
    }
}

#[test]
fn where_the_target_need_not_have_what_an_update_leaves_out_it_is_read_back() {
    let cases = [
        (
            "USING STREAM db.dbo.a CHANGES AS change",
            "USING (SELECT * FROM STREAM db.dbo.a CHANGES WHERE n > 0) AS change",
            "the source is a query",
        ),
        (
            "WHEN MATCHED THEN UPDATE SET *",
            "WHEN MATCHED AND change.n > target.n THEN UPDATE SET *",
            "the last WHEN MATCHED has a condition",
        ),
        (
            "WHEN MATCHED THEN UPDATE SET *",
            "WHEN MATCHED AND change.n = 1 THEN UPDATE SET * EXCEPT (notes) WHEN MATCHED THEN UPDATE SET *",
            "not every UPDATE and INSERT",
        ),
    ];
    let served = served(CaptureBehaviour::default());
    let text = served.project.read("pipelines/p.sql");
    for (from, to, reason) in cases {
        served.project.write("pipelines/p.sql", &text);
        edit(&served, &[(from, to)]);
        let refused = served.run().failed(
            3,
            &[reason, "out of an update", "'cdcql.readBack' = 'true'"],
        );
        assert!(!refused.stderr.contains("first copy"), "{}", refused.stderr);
    }
}

#[test]
fn a_row_that_comes_and_goes_within_a_window_is_deleted() {
    for read_back in [false, true] {
        let served = moving();
        if read_back {
            edit(&served, &[READ_BACK]);
        }
        let _ = served.run().succeeded();
        served.execute("UPDATE dbo.a SET id = 'q' WHERE id = 'a'; UPDATE dbo.a SET id = 'a' WHERE id = 'q'; DELETE FROM dbo.a WHERE id = 'a';
            DELETE FROM dbo.a WHERE id = 'b'; UPDATE dbo.a SET id = 'b' WHERE id = 'd'; DELETE FROM dbo.a WHERE id = 'b';
            UPDATE dbo.a SET id = 'E' WHERE id = 'e';");
        let _ = served.run().succeeded();
        served.assert_true();
    }
}

#[test]
fn a_query_that_only_decides_by_a_large_column_needs_it_read_back() {
    let query = "USING (SELECT s.id, s.part, s.n, s._change_type FROM STREAM db.dbo.a CHANGES AS s
        WHERE EXISTS (SELECT 1 FROM a AS other WHERE s.notes IS NOT NULL OR other.n = 0)) AS change";
    let served = served(CaptureBehaviour::default());
    let _ = served.run().succeeded();
    edit(
        &served,
        &[
            ("USING STREAM db.dbo.a CHANGES AS change", query),
            ("UPDATE SET *", "UPDATE SET n = change.n"),
            (
                "INSERT *",
                "INSERT (id, part, n) VALUES (change.id, change.part, change.n)",
            ),
        ],
    );
    let _ = served.run().failed(
        3,
        &[
            "the value of 'notes' out of an update",
            "the source is a query",
        ],
    );
}

#[test]
fn values_are_read_back_whatever_their_size() {
    let served = moving();
    edit(&served, &[READ_BACK]);
    for n in 0..6 {
        // The first answers are small, and then one for several keys is too large.
        let size = if n < 4 { 1 } else { 5_000_000 };
        served.execute(&format!(
            "INSERT INTO dbo.a (id, part, n, notes) VALUES ('k{n}', 1, 0, REPLICATE(CAST(N'{n}' AS NVARCHAR(MAX)), {size}));"
        ));
    }
    let _ = served.run().succeeded();
    served.execute("UPDATE dbo.a SET n = n + 1;");
    let _ = served.run().succeeded();
    let sums = |table: &str| {
        let sql =
            format!("SELECT count(*) AS c, sum(n) AS n, sum(length(notes)) AS l FROM {table}");
        served
            .cdcql(&["query", "--pipeline", "pipelines/p.sql", "-c", &sql])
            .succeeded()
            .stdout
    };
    assert_eq!(sums("a"), sums("db.dbo.a"));
}
