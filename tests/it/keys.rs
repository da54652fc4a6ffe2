//! A table whose newer capture instance tells rows apart by another key.

use crate::follow::Follower;
use crate::served::Served;

const SCRIPT: &str = "\
CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, code INT NOT NULL, n INT NULL, CONSTRAINT u UNIQUE (code));
GO
INSERT INTO dbo.a VALUES (1, 10, 1), (2, 20, 2), (3, 30, 3), (4, 40, 4);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
";

const SECOND: &str = "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
                      @capture_instance = N'second', @index_name = N'u';";
const MOVES: &str = "UPDATE dbo.a SET code = 11 WHERE id = 1; UPDATE dbo.a SET id = 5 WHERE id = 2; DELETE FROM dbo.a WHERE id = 3;";

const WORDS: [&str; 5] = [
    "pipelines/p.sql:3:30: error: capture instance 'second' of dbo.a has the key (code)",
    "the target was written by the key (id)",
    "changes are netted by the key of the capture instance",
    "write ON target.code = change.code and nothing else",
    "@index_name of a unique index of (id)",
];

fn disable(served: &Served, instance: &str) {
    served.execute(&format!(
        "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'a', @capture_instance = N'{instance}';"
    ));
}

/// A flow that has come to an instance with another key, with changes that move both.
fn rekeyed(policy: &str) -> Served {
    let served = Served::of(SCRIPT);
    let table = format!("LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onSchemaChange' = '{policy}')");
    served.edit("LOCATION 'lake/a'", &table);
    let _ = served.run().succeeded();
    served.execute(SECOND);
    served.execute("UPDATE dbo.a SET n = 11, code = 12 WHERE id = 1;");
    served
}

fn by(served: &Served, on: &str) {
    served.edit("ON target.id = change.id", on);
}

#[test]
fn another_key_stops_a_flow_that_comes_to_it() {
    for policy in ["fail", "add"] {
        for drops in [false, true] {
            let served = rekeyed(policy);
            let first = served.run();
            if policy == "add" {
                // It looks at once whether the newer instance brings columns.
                let _ = first.failed(3, &WORDS);
            } else {
                let _ = first.succeeded();
            }
            served.assert_true();
            let (rows, commits) = (served.rows("a"), served.commits());
            if drops {
                disable(&served, "dbo_a");
            }
            served.execute(MOVES);
            let _ = served.run().failed(3, &WORDS);
            assert_eq!((served.rows("a"), served.commits()), (rows, commits));
            let planned = served.cdcql(&["plan", "pipelines/p.sql"]);
            assert_eq!(planned.code, Some(3));
            for words in ["key           code (unique index u)", "has the key (code)"] {
                assert!(
                    planned.stdout.contains(words),
                    "{words}: {}",
                    planned.stdout
                );
            }
        }
    }
}

#[test]
fn plan_tells_of_another_key_before_the_flow_comes_to_it() {
    let served = rekeyed("fail");
    let planned = served
        .cdcql(&["plan", "pipelines/p.sql"])
        .succeeded()
        .stdout;
    let words =
        "; the newer capture instance second has code, and stops the flow when it comes to it";
    assert!(planned.contains(words), "{planned}");
    let planned = served.cdcql(&["plan", "pipelines/p.sql", "--format", "json"]);
    let planned = planned.succeeded().stdout;
    let words = "\"newer_key\":{\"capture_instance\":\"second\",\"key\":[\"code\"],\"stops\":true}";
    assert!(planned.contains(words), "{planned}");
}

#[test]
fn a_flow_goes_on_by_another_key_that_its_on_compares() {
    let served = rekeyed("fail");
    let _ = served.run().succeeded();
    by(&served, "ON target.code = change.code");
    served.execute(MOVES);
    let _ = served.run().succeeded();
    served.assert_true();
    served
        .execute("UPDATE dbo.a SET code = 10 WHERE id = 1; UPDATE dbo.a SET id = 2 WHERE id = 5;");
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn the_former_key_is_kept_by_an_instance_that_has_it() {
    let served = rekeyed("fail");
    let _ = served.run().succeeded();
    let _ = served.run().failed(3, &WORDS);
    disable(&served, "second");
    served.execute(MOVES);
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn a_flow_that_is_followed_stops_where_it_comes_to_another_key() {
    let served = Served::of(SCRIPT);
    let follow = ["run", "pipelines/p.sql", "--follow", "--every", "50ms"];
    let mut follower = Follower::spawn(served.command(&follow));
    follower.wait_for(&["a: first copy:"]);
    served.execute(SECOND);
    served.execute("UPDATE dbo.a SET n = 12 WHERE id = 1;");
    follower.wait_for(&[
        "a: stopped:",
        "capture instance 'second' of dbo.a has the key (code)",
    ]);
    assert_eq!(follower.ended().code, Some(3));
    served.assert_true();
}
