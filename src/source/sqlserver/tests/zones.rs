//! Commits on both sides of changes of the clocks, and in the hour that comes twice.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::simulator::{
    Behaviour, Database as Simulated, LocalTime, ServerZone, Simulator, SimulatorOptions,
};
use crate::source::sqlserver::{CapturedTable, ErrorKind, FeedBound, FeedBounds};

const SCRIPT: &str = "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't', @role_name = NULL;
";

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// How long a statement takes by the simulator's clock.
const STEP: i64 = 1_000_000;

/// 2024-10-27T00:00:00 UTC: in Berlin it is 02:00, and an hour later 02:00 again.
const AUTUMN: i64 = 1_729_987_200_000_000;

const BERLIN: ServerZone = ServerZone {
    local: LocalTime::Rules(chrono_tz::Europe::Berlin),
    id: Some("W. Europe Standard Time"),
};

/// A server whose clock shows the time of a zone.
struct Zoned {
    simulator: Simulator,
    database: Database,
    table: CapturedTable,
    /// The instant of its clock, in microseconds of UTC, after the last change.
    now: i64,
    changes: i32,
}

impl Zoned {
    /// With one change, made early in 2024.
    async fn start(zone: ServerZone, options: &str) -> Result<Self, SourceError> {
        let behaviour = Behaviour {
            zone,
            ..Behaviour::default()
        };
        let simulated = Simulated::from_script_with("d", "t.sql", SCRIPT, &behaviour)
            .await
            .unwrap();
        let options_of_server = SimulatorOptions {
            behaviour,
            ..SimulatorOptions::default()
        };
        let simulator = Simulator::start(simulated, options_of_server)
            .await
            .unwrap();
        let url = format!("{}{options}", simulator.url());
        let database = Database::connect(ConnectionConfig::from_url(&url)?).await?;
        let table = database.captured_table("dbo", "t").await?;
        let mut zoned = Self {
            simulator,
            database,
            table,
            now: 0,
            changes: 0,
        };
        zoned.insert().await;
        zoned.now = zoned.instants(FeedBounds::default()).await[0];
        Ok(zoned)
    }

    /// Commits a change as soon after the last one as the server can.
    async fn insert(&mut self) {
        self.changes += 1;
        let sql = format!("INSERT INTO dbo.t VALUES ({})", self.changes);
        self.database.execute_batch(&sql).await.unwrap();
        self.now += STEP;
    }

    /// Commits a change at an instant.
    async fn insert_at(&mut self, utc: i64) {
        let wait = u64::try_from(utc - STEP - self.now).unwrap();
        self.simulator.move_clock(Duration::from_micros(wait));
        self.now = utc - STEP;
        self.insert().await;
    }

    async fn feed(&self, bounds: FeedBounds, sql: &str) -> Vec<String> {
        let feed = self.database.change_feed(&self.table, bounds);
        let feed = feed.await.unwrap();
        rows(feed, sql).await.unwrap()
    }

    async fn ids(&self, bounds: FeedBounds) -> Vec<i32> {
        let ids = self.feed(bounds, "SELECT id FROM t").await;
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    /// When each change was committed, in microseconds of UTC.
    async fn instants(&self, bounds: FeedBounds) -> Vec<i64> {
        let sql = "SELECT CAST(_commit_timestamp AS BIGINT) FROM t";
        let answer = self.feed(bounds, sql).await;
        answer.iter().map(|cell| cell.parse().unwrap()).collect()
    }

    /// The feeds that begin at each change.
    async fn beginnings(&self) -> Vec<FeedBounds> {
        let all = FeedBounds::default();
        let versions = self.feed(all, "SELECT _commit_version FROM t").await;
        let from = |lsn: &String| FeedBounds {
            from: Some(FeedBound::Version {
                lsn: lsn.parse().unwrap(),
                inclusive: true,
            }),
            to: None,
        };
        versions.iter().map(from).collect()
    }

    /// Asserts that instants divide the changes, of which these are the times, as they should.
    async fn assert_bounds(&self, times: &[i64]) {
        let bounds = |at: &i64| [(*at, true), (*at, false), (at - STEP / 2, true)];
        for (micros, inclusive) in times.iter().flat_map(bounds) {
            let bound = Some(FeedBound::Timestamp { micros, inclusive });
            let wanted = |belongs: &dyn Fn(i64) -> bool| -> Vec<i32> {
                let of = (1..).zip(times).filter(|(_, at)| belongs(**at));
                of.map(|(id, _)| id).collect()
            };
            let equal = |at: i64| inclusive && at == micros;
            let (from, to) = (bound, None);
            let after = self.ids(FeedBounds { from, to }).await;
            assert_eq!(
                after,
                wanted(&|at| at > micros || equal(at)),
                "from {micros}"
            );
            let (from, to) = (None, bound);
            let before = self.ids(FeedBounds { from, to }).await;
            assert_eq!(
                before,
                wanted(&|at| at < micros || equal(at)),
                "to {micros}"
            );
        }
    }
}

/// Changes before and after clocks are set on, and before, while and after they are set back.
fn around_both_changes(first: i64) -> Vec<i64> {
    let autumn = [-90, 1, 20, 59, 61, 65, 119, 121, 180].map(|minutes| AUTUMN + minutes * MINUTE);
    // 2024-03-31T01:00:00 UTC.
    let spring = 1_711_846_800_000_000;
    let spring = [-HOUR, -MINUTE, MINUTE, HOUR].map(|around| spring + around);
    [&[first][..], &[first + 30 * DAY], &spring, &autumn].concat()
}

#[tokio::test]
async fn commits_on_both_sides_of_every_change_of_the_clocks_are_dated_right() {
    let rules = BERLIN.local;
    let told_by_nobody = ServerZone {
        local: rules,
        id: None,
    };
    for (zone, options) in [
        (BERLIN, ""),
        (told_by_nobody, "&time_zone=Europe/Berlin"),
        (told_by_nobody, "&time_zone=W.%20Europe%20Standard%20Time"),
    ] {
        let mut server = Zoned::start(zone, options).await.unwrap();
        let times = around_both_changes(server.now);
        for at in &times[1..] {
            server.insert_at(*at).await;
        }
        assert_eq!(server.instants(FeedBounds::default()).await, times);
    }
}

#[tokio::test]
async fn a_read_that_begins_in_the_hour_that_comes_twice_dates_commits_as_any_other() {
    let mut server = Zoned::start(BERLIN, "").await.unwrap();
    for minutes in [10, 40, 63, 70, 110, 130] {
        server.insert_at(AUTUMN + minutes * MINUTE).await;
    }
    let all = server.instants(FeedBounds::default()).await;
    for (index, bounds) in server.beginnings().await.into_iter().enumerate() {
        // Another connection knows nothing of what this one has seen.
        let config = ConnectionConfig::from_url(&server.simulator.url()).unwrap();
        server.database = Database::connect(config).await.unwrap();
        assert_eq!(server.instants(bounds).await, all[index..]);
    }
}

#[tokio::test]
async fn the_clocks_are_seen_to_be_set_back_while_they_are() {
    let mut server = Zoned::start(BERLIN, "").await.unwrap();
    let mut times = vec![server.now];
    for minutes in [5, 58, 62, 64, 118, 125] {
        times.push(AUTUMN + minutes * MINUTE);
        server.insert_at(AUTUMN + minutes * MINUTE).await;
        assert_eq!(server.instants(FeedBounds::default()).await, times);
        let health = server.database.health().await.unwrap();
        let newest = health.head.unwrap().newest;
        let at = health.dates.utc_ms(newest.lsn, newest.end_time_ms).await;
        assert_eq!(at.unwrap() * 1_000, server.now);
        assert_eq!(health.now_utc_ms * 1_000, server.now);
    }
    server.assert_bounds(&times).await;
}

#[tokio::test]
async fn a_commit_in_that_hour_is_of_the_first_time_round_where_none_tells() {
    let mut server = Zoned::start(BERLIN, "").await.unwrap();
    let mut times = vec![server.now];
    for minutes in [70, 80, 130] {
        server.insert_at(AUTUMN + minutes * MINUTE).await;
        let is_taken_early = minutes < 120;
        let early = if is_taken_early { HOUR } else { 0 };
        times.push(AUTUMN + minutes * MINUTE - early);
    }
    assert_eq!(server.instants(FeedBounds::default()).await, times);
    server.assert_bounds(&times).await;
}

#[tokio::test]
async fn a_zone_that_the_servers_clock_contradicts_is_refused() {
    let options = "&time_zone=America/New_York";
    let error = Zoned::start(BERLIN, options).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let message = error.to_string();
    for part in [
        "time_zone 'America/New_York'",
        "at -05:00",
        "clock is at +01:00",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

/// What was logged while a server was read.
async fn warnings(zone: ServerZone, options: &str) -> String {
    let log: &'static Mutex<Vec<u8>> = Box::leak(Box::default());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || Writer(log))
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Zoned::start(zone, options).await.unwrap();
    assert_eq!(server.instants(FeedBounds::default()).await, [server.now]);
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let ours = log.lines().filter(|line| line.contains("cdcql"));
    ours.collect::<Vec<_>>().join("\n")
}

struct Writer(&'static Mutex<Vec<u8>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_offset_that_stands_for_a_zone_is_said_once_unless_it_is_zero() {
    let ahead = |minutes, id| ServerZone {
        local: LocalTime::Ahead(minutes),
        id,
    };
    let berlin = "Europe/Berlin";
    for (zone, options, part) in [
        (ahead(120, None), "", "does not tell its zone"),
        (
            ahead(120, Some("Mars Standard Time")),
            "",
            "'Mars Standard Time'",
        ),
        (
            ahead(120, Some("UTC")),
            "",
            "zone is UTC, which is at +00:00 now",
        ),
    ] {
        let said = warnings(zone, options).await;
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(part) && said.contains("+02:00"), "{said}");
        assert!(said.contains(berlin), "{said}");
    }
    for (zone, options) in [
        (ahead(0, None), ""),
        (BERLIN, ""),
        (ahead(120, None), "&time_zone=Etc/GMT-2"),
    ] {
        assert_eq!(warnings(zone, options).await, "");
    }
}
