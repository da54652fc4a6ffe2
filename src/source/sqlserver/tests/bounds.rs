//! The ends of a change feed, by version and by instant, on servers of several time zones.

use std::time::Duration;

use super::*;
use crate::simulator::{
    Behaviour, CaptureBehaviour, CommitTimes, Database as Simulated, LocalTime, ServerZone,
    Simulator, SimulatorOptions,
};
use crate::source::sqlserver::{FeedBound, FeedBounds};

/// Three commits with changes, a second or more apart.
const SCRIPT: &str = "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a nvarchar(9) NULL);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't', @role_name = NULL;
GO
INSERT INTO dbo.t VALUES (1, N'a');
GO
INSERT INTO dbo.t VALUES (2, N'b');
GO
INSERT INTO dbo.t VALUES (3, N'c');
";

async fn server(utc_offset: i16) -> (Simulator, Database) {
    let behaviour = Behaviour {
        zone: ServerZone {
            local: LocalTime::Ahead(utc_offset),
            id: None,
        },
        ..Behaviour::default()
    };
    started(behaviour).await
}

async fn started(behaviour: Behaviour) -> (Simulator, Database) {
    let simulated = Simulated::from_script_with("d", "t.sql", SCRIPT, &behaviour)
        .await
        .unwrap();
    let options = SimulatorOptions {
        behaviour,
        ..SimulatorOptions::default()
    };
    let simulator = Simulator::start(simulated, options).await.unwrap();
    let config = ConnectionConfig::from_url(&simulator.url()).unwrap();
    let database = Database::connect(config).await.unwrap();
    (simulator, database)
}

async fn feed(database: &Database, bounds: FeedBounds, sql: &str) -> Vec<String> {
    let table = database.captured_table("dbo", "t").await.unwrap();
    let feed = database.change_feed(&table, bounds).await.unwrap();
    rows(feed, sql).await.unwrap()
}

async fn ids(database: &Database, from: Option<FeedBound>, to: Option<FeedBound>) -> String {
    let bounds = FeedBounds { from, to };
    feed(database, bounds, "SELECT id FROM t").await.join(" ")
}

/// When each change was committed, in microseconds of UTC.
async fn instants(database: &Database) -> Vec<i64> {
    let sql = "SELECT CAST(_commit_timestamp AS BIGINT) FROM t";
    let answer = feed(database, FeedBounds::default(), sql).await;
    answer.iter().map(|cell| cell.parse().unwrap()).collect()
}

/// 2024-01-01T00:00:00, when the clocks of these servers begin in their local time.
const BEGIN: i64 = 1_704_067_200_000_000;

#[tokio::test]
async fn a_feed_is_bounded_by_instants_whatever_the_servers_zone() {
    for utc_offset in [0, 330, -480] {
        let (_simulator, database) = server(utc_offset).await;
        let at = instants(&database).await;
        let since_begin = at[0] + i64::from(utc_offset) * 60_000_000 - BEGIN;
        assert!(
            (0..60_000_000).contains(&since_begin),
            "{utc_offset}: {at:?}"
        );
        let bound = |micros: i64, inclusive| Some(FeedBound::Timestamp { micros, inclusive });
        let cases = [
            (bound(at[1], true), None, "2 3"),
            (bound(at[1], false), None, "3"),
            (None, bound(at[1], true), "1 2"),
            (None, bound(at[1], false), "1"),
            (bound(at[1] + 1, true), None, "3"),
            (bound(at[1] - 1, false), None, "2 3"),
            (None, bound(at[1] + 1, false), "1 2"),
            (None, bound(at[1] - 1, true), "1"),
            (bound(at[1], true), bound(at[1], true), "2"),
            (
                bound(at[0] + 500_000, true),
                bound(at[2] - 500_000, true),
                "2",
            ),
            (bound(at[2], false), None, ""),
            (None, bound(at[0], false), ""),
            (bound(at[2], true), bound(at[0], true), ""),
            (bound(i64::MIN, true), bound(i64::MAX, true), "1 2 3"),
        ];
        for (from, to, expected) in cases {
            let found = ids(&database, from, to).await;
            assert_eq!(found, expected, "{utc_offset}: {from:?} {to:?}");
        }
    }
}

#[tokio::test]
async fn a_feed_is_bounded_by_versions_and_by_both() {
    let (_simulator, database) = server(120).await;
    let at = instants(&database).await;
    let versions = feed(
        &database,
        FeedBounds::default(),
        "SELECT _commit_version FROM t",
    )
    .await;
    let version = |index: usize, inclusive| {
        let lsn = versions[index].parse().unwrap();
        Some(FeedBound::Version { lsn, inclusive })
    };
    let until = Some(FeedBound::Timestamp {
        micros: at[1],
        inclusive: true,
    });
    assert_eq!(ids(&database, version(1, true), None).await, "2 3");
    assert_eq!(
        ids(&database, version(0, false), version(2, false)).await,
        "2"
    );
    assert_eq!(ids(&database, version(0, false), until).await, "2");
}

#[tokio::test]
async fn explain_shows_what_is_sent_for_a_feed() {
    let (_simulator, database) = server(0).await;
    let sql = "EXPLAIN SELECT id FROM t LIMIT 2";
    let plan = feed(&database, FeedBounds::default(), sql).await.join("\n");
    for part in [
        "limit=2",
        "SELECT TOP (@P4) c.[__$start_lsn], c.[__$operation], c.[id] FROM cdc.[dbo_t_CT] AS c \
         WHERE c.[__$start_lsn] > CAST(@P1 AS binary(10))",
    ] {
        assert!(plan.contains(part), "{plan}");
    }
    let limited = feed(&database, FeedBounds::default(), "SELECT id FROM t LIMIT 2").await;
    assert_eq!(limited, ["1", "2"]);
}

#[tokio::test]
async fn no_commit_of_a_clock_that_was_set_back_is_left_out() {
    let behaviour = Behaviour {
        capture: CaptureBehaviour {
            commit_times: CommitTimes::Back {
                commits: 1,
                by: Duration::from_secs(3600),
            },
            ..CaptureBehaviour::default()
        },
        ..Behaviour::default()
    };
    let (_simulator, database) = started(behaviour).await;
    let at = instants(&database).await;
    let wanted = |bounds: &dyn Fn(i64) -> bool| {
        (1..)
            .zip(&at)
            .filter(|(_, at)| bounds(**at))
            .map(|(id, _)| id)
            .collect::<Vec<i32>>()
    };
    assert!(!at.is_sorted(), "{at:?}");
    for instant in &at {
        let bound = Some(FeedBound::Timestamp {
            micros: *instant,
            inclusive: true,
        });
        for (from, to, within) in [
            (bound, None, wanted(&|at| at >= *instant)),
            (None, bound, wanted(&|at| at <= *instant)),
        ] {
            let found = ids(&database, from, to).await;
            for id in within {
                assert!(
                    found.contains(&id.to_string()),
                    "{id} of {at:?} {from:?} {to:?}: {found}"
                );
            }
        }
    }
}
