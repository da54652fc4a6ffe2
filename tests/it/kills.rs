//! The program is killed at each step between a look at the source and the commit; what the run had not committed is as if
//! it had not begun, and the next one does it. The steps of the commit itself are killed in `stores`.

use cdcql::simulator::control::Fault;

use crate::served::Served;

/// A step, by its name and by a part of the statement that the server holds while the program is killed.
type Step = (&'static str, &'static str);

const BINDING: Step = (
    "binding",
    "FROM cdc.change_tables AS ct LEFT JOIN sys.tables",
);
const LOOKING: Step = ("looking at the source", "AS is_newest");
/// Kills a run while the server holds `step`.
fn killed_at(served: &Served, (name, text): Step) {
    let mut held = served.simulator().control().on_next(text, Fault::Stall);
    served.killed_at(
        &mut held,
        &["run", "pipelines/p.sql", "--window-rows", "100"],
    );
    assert!(held.has_struck(), "{name}");
}

fn versions(served: &Served) -> usize {
    let log = served.project.path().join("pipelines/lake/a/_delta_log");
    std::fs::read_dir(log).map_or(0, Iterator::count)
}

#[test]
fn a_first_copy_that_is_killed_at_any_step_is_as_if_it_had_not_begun() {
    let served = Served::in_hand();
    for step in [
        BINDING,
        LOOKING,
        ("counting the rows", "SUM(p.rows)"),
        ("reading the table", "FROM [dbo].[a] AS t"),
        ("dating the copy", "AS server_utc OPTION"),
    ] {
        killed_at(&served, step);
        assert_eq!(versions(&served), 0, "{step:?}");
    }
    let run = served.run().succeeded();
    assert!(run.stderr.contains("4 inserted"), "{}", run.stderr);
    assert_eq!(versions(&served), 1);
    served.assert_true();
}

#[test]
fn a_window_that_is_killed_at_any_step_is_as_if_it_had_not_begun() {
    let served = Served::in_hand();
    let _ = served.run().succeeded();
    served.execute(
        "INSERT INTO dbo.a VALUES (5, 50, 5, 0); UPDATE dbo.a SET n = 9 WHERE id = 1;
         DELETE FROM dbo.a WHERE id = 2;",
    );
    for step in [
        BINDING,
        LOOKING,
        ("asking for news", "AS first_change"),
        ("measuring the window", "COUNT_BIG(*) AS seen"),
        (
            "reading the changes",
            "AS server_utc FROM cdc.change_tables",
        ),
    ] {
        killed_at(&served, step);
        assert_eq!(versions(&served), 1, "{step:?}");
    }
    let run = served.run().succeeded();
    let words = "1 inserted, 1 updated, 1 deleted";
    assert!(run.stderr.contains(words), "{}", run.stderr);
    assert_eq!(versions(&served), 2);
    served.assert_true();
}
