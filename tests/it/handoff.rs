//! A copy while others write: every version of the target is a state that the source had, and none is older than the one
//! before it.

use std::collections::BTreeMap;
use std::process::Stdio;

use cdcql::simulator::SimulatorOptions;
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
         UPDATE dbo.a SET n = n + 1 WHERE id = {}; INSERT INTO dbo.a VALUES ({}, {i}); DELETE FROM dbo.a WHERE id = {};
         INSERT INTO dbo.a VALUES (5000, 1); DELETE FROM dbo.a WHERE id = 5000;
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
}

impl Written {
    fn write(&mut self, count: i64) {
        for _ in 0..count {
            self.transactions += 1;
            self.served.execute(&transaction(self.transactions));
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
            let control = self.served.simulator.control();
            let mut rows = control.on_next("FROM [dbo].[a] AS t", Fault::Stall);
            let mut changes = control.on_next("FROM cdc.[dbo_a_CT] AS c", Fault::Stall);
            let ended = self.served.runtime.block_on(async {
                tokio::select! {
                    struck = rows.struck() => { struck.unwrap(); None }
                    struck = changes.struck() => { struck.unwrap(); None }
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
    let served = Served::of(SCRIPT, SimulatorOptions::default());
    let mut written = Written {
        served,
        transactions: 0,
    };
    let copy = ["--chunk-rows", "6", "--parallel", "2"];
    // Statements that come while the test writes are not held, so that it is not always the same number.
    assert!(written.run_among_writers(&copy) >= 3);
    assert_eq!(written.served.commits(), 1);
    for windows in ["1", "3", "100"] {
        written.write(2);
        assert!(written.run_among_writers(&["--window-transactions", windows]) > 0);
    }
    let mut states = vec![beginning()];
    for i in 1..=written.transactions {
        let mut next = states[states.len() - 1].clone();
        apply(&mut next, i);
        states.push(next);
    }
    let mut reached = 0;
    for version in 0..written.served.commits() {
        let rows = written.version(version);
        let tick = usize::try_from(rows[&0]).unwrap();
        assert_eq!(rows, states[tick], "version {version}, transaction {tick}");
        assert!(
            tick > reached,
            "version {version} is at {tick} after {reached}"
        );
        reached = tick;
    }
    assert!(reached > 20, "{reached}");
}
