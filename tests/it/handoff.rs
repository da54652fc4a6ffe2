//! A copy while others write: every version of the target is a state that the source had, and none is older than the one
//! before it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use cdcql::simulator::control::Fault;

use crate::served::Served;

const SCRIPT: &str = "\
CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NOT NULL);
GO
INSERT INTO dbo.a SELECT s.value, 100 FROM GENERATE_SERIES(1, 30) AS s;
INSERT INTO dbo.a VALUES (0, 0), (2000, 0);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
";

type Rows = BTreeMap<i64, i64>;

/// The rows before the first transaction.
fn beginning() -> Rows {
    let rows = (1..=30).map(|id| (id, 100));
    rows.chain([(0, 0), (2000, 0)]).collect()
}

/// The `i`-th transaction: row 0 counts, one unit goes from one row to another, a sentinel stays for two transactions and
/// another for none, and one row takes the next key.
fn transaction(i: i64) -> String {
    format!(
        "BEGIN TRAN; UPDATE dbo.a SET n = {i} WHERE id = 0; UPDATE dbo.a SET n = n - 1 WHERE id = {};
         UPDATE dbo.a SET n = n + 1 WHERE id = {}; INSERT INTO dbo.a (id, n) VALUES ({}, {i}); DELETE FROM dbo.a WHERE id = {};
         INSERT INTO dbo.a (id, n) VALUES (5000, 1); DELETE FROM dbo.a WHERE id = 5000;
         UPDATE dbo.a SET id = {} WHERE id = {}; COMMIT;",
        1 + i * 7 % 30,
        1 + i * 11 % 30,
        1000 + i,
        1000 + i - 2,
        2000 + i,
        2000 + i - 1
    )
}

fn apply(rows: &mut Rows, i: i64) {
    rows.insert(0, i);
    *rows.get_mut(&(1 + i * 7 % 30)).unwrap() -= 1;
    *rows.get_mut(&(1 + i * 11 % 30)).unwrap() += 1;
    rows.insert(1000 + i, i);
    rows.remove(&(1000 + i - 2));
    let runner = rows.remove(&(2000 + i - 1)).unwrap();
    rows.insert(2000 + i, runner);
}

struct Written {
    served: Served,
    transactions: i64,
    /// The first transaction that also writes `note`, which is as `n` then.
    noted_from: Option<i64>,
}

impl Written {
    fn write(&mut self, count: i64) {
        for _ in 0..count {
            self.transactions += 1;
            let i = self.transactions;
            let mut sql = transaction(i);
            if self.noted_from.is_some() {
                for (plain, noted) in [
                    ("SET n = n - 1", "SET n = n - 1, note = n - 1"),
                    ("SET n = n + 1", "SET n = n + 1, note = n + 1"),
                    (
                        " WHERE id = 0;",
                        " WHERE id = 0; UPDATE dbo.a SET note = n WHERE id = 0;",
                    ),
                ] {
                    sql = sql.replace(plain, noted);
                }
            }
            self.served.execute(&sql);
        }
    }

    /// Runs the pipeline, and writes three transactions each time that the server is asked for the table's rows or
    /// changes; how often that was.
    fn run_among_writers(&mut self, arguments: &[&str]) -> usize {
        let mut command = self.served.command(&["run", "pipelines/p.sql"]);
        command.args(arguments).stderr(Stdio::null());
        let mut run = {
            let _entered = self.served.runtime.enter();
            tokio::process::Command::from(command).spawn().unwrap()
        };
        let mut times = 0;
        loop {
            let control = self.served.simulator().control();
            let mut rows = control.on_next("FROM [dbo].[a] AS t", Fault::Stall);
            let mut changes = control.on_next("FROM cdc.[dbo_a_CT] AS c", Fault::Stall);
            let mut newer = control.on_next("FROM cdc.[second_CT] AS c", Fault::Stall);
            let ended = self.served.runtime.block_on(async {
                tokio::select! {
                    struck = rows.struck() => { struck.unwrap(); None }
                    struck = changes.struck() => { struck.unwrap(); None }
                    struck = newer.struck() => { struck.unwrap(); None }
                    ended = run.wait() => Some(ended.unwrap()),
                }
            });
            if let Some(ended) = ended {
                assert!(ended.success());
                return times;
            }
            self.write(3);
            times += 1;
        }
    }

    /// Runs the pipeline while transactions are written one after the other, as fast as the server takes them.
    fn run_beside_a_writer(&mut self, arguments: &[&str]) {
        let mut command = self.served.command(&["run", "pipelines/p.sql"]);
        command.args(arguments).stderr(Stdio::null());
        let mut run = command.spawn().unwrap();
        let ended = loop {
            self.write(1);
            if let Some(ended) = run.try_wait().unwrap() {
                break ended;
            }
        };
        assert!(ended.success());
    }

    fn new(served: Served) -> Self {
        Self {
            served,
            transactions: 0,
            noted_from: None,
        }
    }

    /// Each version is a state of the source, and none is older than the one before it; if they `advance`, each is newer.
    /// The transaction of the last one.
    fn assert_states(&self, advance: bool) -> usize {
        let mut states = vec![beginning()];
        for i in 1..=self.transactions {
            let mut next = states[states.len() - 1].clone();
            apply(&mut next, i);
            states.push(next);
        }
        let mut reached = 0;
        for version in 0..self.served.commits() {
            let rows = self.version(version);
            let tick = usize::try_from(rows[&0]).unwrap();
            assert_eq!(rows, states[tick], "version {version}, transaction {tick}");
            let is_past = tick > reached || !advance && tick == reached;
            assert!(is_past, "version {version} is at {tick} after {reached}");
            reached = tick;
        }
        reached
    }

    /// The rows of a version.
    fn version(&self, version: usize) -> Rows {
        let sql = format!("SELECT id, n FROM a VERSION AS OF {version}");
        let rows = self.served.csv(&sql);
        let rows = rows.lines().skip(1).map(|line| {
            let (id, n) = line.split_once(',').unwrap();
            (id.parse().unwrap(), n.parse().unwrap())
        });
        rows.collect()
    }
}

#[test]
fn every_version_is_a_state_of_the_source_and_none_is_older_than_the_one_before_it() {
    let served = Served::in_hand_of(SCRIPT);
    let mut written = Written::new(served);
    let copy = ["--chunk-rows", "6", "--parallel", "2"];
    // Statements that come while the test writes are not held, so that it is not always the same number.
    assert!(written.run_among_writers(&copy) >= 3);
    assert_eq!(written.served.commits(), 1);
    for windows in ["1", "3", "100"] {
        written.write(2);
        assert!(written.run_among_writers(&["--window-transactions", windows]) > 0);
    }
    assert!(written.assert_states(true) > 20);
}

#[test]
fn what_a_writer_that_never_rests_has_written_is_copied_as_of_one_state() {
    let mut written = Written::new(Served::of(SCRIPT));
    written.run_beside_a_writer(&["--chunk-rows", "6", "--parallel", "2"]);
    assert_eq!(written.served.commits(), 1);
    for _ in 0..3 {
        written.run_beside_a_writer(&[]);
    }
    assert!(written.assert_states(true) > 3);
}

#[test]
fn rows_that_are_read_again_for_a_new_column_are_of_one_state_too() {
    let served = Served::in_hand_of(SCRIPT);
    let table = "LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onSchemaChange' = 'add', 'cdcql.backfillColumns' = 'false')";
    served.edit("LOCATION 'lake/a'", table);
    let mut written = Written::new(served);
    let _ = written.served.run().succeeded();
    written.write(3);
    let _ = written.served.run().succeeded();
    written
        .served
        .execute("ALTER TABLE dbo.a ADD note INT NULL;");
    written.noted_from = Some(written.transactions + 1);
    written.write(3);
    assert!(written.run_among_writers(&[]) > 0);
    written.served.execute(
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
         @capture_instance = N'second';",
    );
    written.write(2);
    assert!(written.run_among_writers(&["--window-transactions", "2"]) > 2);
    let _ = written.served.run().succeeded();
    let _ = written.assert_states(false);
    let noted = written.noted_from.unwrap();
    let told = (noted..=written.transactions).flat_map(|i| [1 + i * 7 % 30, 1 + i * 11 % 30]);
    let told: BTreeSet<i64> = told.chain([0]).collect();
    let rows = written
        .served
        .csv("SELECT id, n, note FROM a WHERE id <= 30");
    for row in rows.lines().skip(1) {
        let row: Vec<&str> = row.split(',').collect();
        let id: i64 = row[0].parse().unwrap();
        assert_eq!(
            row[2],
            if told.contains(&id) { row[1] } else { "" },
            "{row:?}"
        );
    }
}
