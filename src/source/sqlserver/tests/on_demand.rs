//! What the source makes of a server's faults: a clear error or the right rows, never wrong ones.

use std::time::Duration;

use super::*;
use crate::simulator::control::{Fault, LoginFault};
use crate::simulator::protocol::{Collation, ServerError};
use crate::simulator::{Behaviour, Control, Database as Simulated, Simulator, SimulatorOptions};
use crate::source::sqlserver::ErrorKind;

const SCRIPT: &str =
    "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a nvarchar(max) NULL, b varbinary(max) NULL);
INSERT INTO dbo.t VALUES (1, N'Bruce', 0x00);
INSERT INTO dbo.t VALUES (2, NULL, NULL);
INSERT INTO dbo.t VALUES (3, N'', 0x);
INSERT INTO dbo.t VALUES (4, N'Zoë 😀', 0xdeadbeef);";

const ROWS: [&str; 4] = ["1|Bruce|00", "2|-|-", "3||", "4|Zoë 😀|deadbeef"];

/// What reads the table's rows on the server.
const READ: &str = "FROM [dbo].[t]";

struct Served {
    simulator: Simulator,
    control: Control,
    database: Database,
}

async fn simulator(script: &str, behaviour: Behaviour) -> Simulator {
    let simulated = Simulated::from_script_with("d", "t.sql", script, &behaviour)
        .await
        .unwrap();
    let options = SimulatorOptions {
        behaviour,
        ..SimulatorOptions::default()
    };
    Simulator::start(simulated, options).await.unwrap()
}

async fn connect(simulator: &Simulator) -> Result<Database, SourceError> {
    Database::connect(ConnectionConfig::from_url(&simulator.url()).unwrap()).await
}

async fn served() -> Served {
    let simulator = simulator(SCRIPT, Behaviour::default()).await;
    let database = connect(&simulator).await.unwrap();
    Served {
        control: simulator.control(),
        simulator,
        database,
    }
}

async fn read(database: &Database) -> Result<Vec<String>, DataFusionError> {
    let table = database.table("dbo", "t").await?.unwrap();
    rows(table, "SELECT * FROM t ORDER BY id").await
}

#[tokio::test]
async fn a_connection_cut_in_a_row_is_a_connection_error() {
    let served = served().await;
    for after in [0, 2, 3] {
        let _fault = served.control.on_next(READ, Fault::CutInRow { after });
        let error = read(&served.database).await.unwrap_err();
        assert_eq!(inner(&error).kind(), ErrorKind::Connection, "{error}");
    }
    assert_eq!(read(&served.database).await.unwrap(), ROWS);
}

#[tokio::test]
async fn a_session_killed_while_it_reads_is_an_error_and_the_next_read_succeeds() {
    let served = served().await;
    let mut fault = served.control.on_next(READ, Fault::Stall);
    let kill = async {
        fault.struck().await.unwrap();
        served.control.kill_all();
    };
    let (answer, ()) = tokio::join!(Box::pin(read(&served.database)), kill);
    let error = answer.unwrap_err();
    assert_eq!(inner(&error).number(), Some(596), "{error}");
    assert_eq!(read(&served.database).await.unwrap(), ROWS);
}

#[tokio::test]
async fn sessions_killed_between_reads_are_opened_again() {
    let served = served().await;
    assert_eq!(read(&served.database).await.unwrap(), ROWS);
    served.control.kill_all();
    let mut sessions = served.control.sessions();
    sessions.wait_for(Vec::is_empty).await.unwrap();
    assert_eq!(read(&served.database).await.unwrap(), ROWS);
}

#[tokio::test]
async fn a_server_that_stalls_is_a_timeout_even_when_it_acknowledges_late() {
    let served = served().await;
    let url = format!("{}&command_timeout=1", served.simulator.url());
    let config = ConnectionConfig::from_url(&url).unwrap();
    let hasty = Database::connect(config).await.unwrap();
    for fault in [Fault::Stall, Fault::LateAttention] {
        let _fault = served.control.on_next(READ, fault);
        let read = tokio::time::timeout(Duration::from_secs(30), read(&hasty));
        let error = read.await.unwrap().unwrap_err();
        assert!(
            matches!(inner(&error), SourceError::Timeout { seconds: 1, .. }),
            "{error}"
        );
    }
    assert_eq!(read(&served.database).await.unwrap(), ROWS);
}

#[tokio::test]
async fn errors_of_locks_keep_their_numbers() {
    let served = served().await;
    for (fault, number) in [(Fault::lock_timeout(), 1222), (Fault::DeadlockVictim, 1205)] {
        let _fault = served.control.on_next(READ, fault);
        let error = read(&served.database).await.unwrap_err();
        assert_eq!(inner(&error).number(), Some(number), "{error}");
    }
    assert_eq!(read(&served.database).await.unwrap(), ROWS);
}

#[tokio::test]
async fn a_german_login_reads_the_same_rows_and_keeps_numbers() {
    let script = format!(
        "{SCRIPT}
        CREATE LOGIN deutsch WITH PASSWORD = N'Pa55word', DEFAULT_LANGUAGE = German
        CREATE USER deutsch FOR LOGIN deutsch
        GRANT SELECT ON dbo.t TO deutsch"
    );
    let simulator = simulator(&script, Behaviour::default()).await;
    let address = simulator.address();
    let url = format!("sqlserver://deutsch:Pa55word@{address}/d?trust_server_certificate=true");
    let config = ConnectionConfig::from_url(&url).unwrap();
    // The first statement of a connection is still answered in German.
    let control = simulator.control();
    let fault = control.on_next("SET LANGUAGE", Fault::lock_timeout());
    let error = Database::connect(config.clone()).await.unwrap_err();
    assert!(fault.has_struck());
    assert_eq!(error.number(), Some(1222), "{error}");
    assert!(error.to_string().contains("Sperranforderung"), "{error}");
    let database = Database::connect(config).await.unwrap();
    let fault = control.on_next(READ, Fault::lock_timeout());
    let error = read(&database).await.unwrap_err();
    assert!(fault.has_struck());
    assert_eq!(inner(&error).number(), Some(1222), "{error}");
    assert_eq!(read(&database).await.unwrap(), ROWS);
}

#[tokio::test]
async fn an_error_after_all_rows_voids_them() {
    let served = served().await;
    let error = ServerError::new(824, "torn page");
    let _fault = served
        .control
        .on_next(READ, Fault::ErrorAfterRows { rows: 4, error });
    let error = read(&served.database).await.unwrap_err();
    assert_eq!(inner(&error).number(), Some(824), "{error}");
}

#[tokio::test]
async fn messages_between_rows_are_not_rows() {
    let served = served().await;
    let _fault = served.control.on_next(READ, Fault::Interjections);
    assert_eq!(read(&served.database).await.unwrap(), ROWS);
}

#[tokio::test]
async fn a_refused_login_keeps_its_number() {
    let served = served().await;
    let refusal = LoginFault::database_unavailable("d");
    served.control.set_logins(Some(refusal));
    let error = connect(&served.simulator).await.unwrap_err();
    assert_eq!(error.number(), Some(40613), "{error}");
    served.control.set_logins(Some(LoginFault::Close));
    let error = connect(&served.simulator).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    served.control.set_logins(None);
    assert!(connect(&served.simulator).await.is_ok());
}

#[tokio::test]
async fn a_login_sent_elsewhere_goes_there_or_says_so() {
    let (first, second) = (served().await, served().await);
    first.control.set_logins(Some(LoginFault::Redirect {
        host: "127.0.0.1".to_owned(),
        port: second.simulator.address().port(),
    }));
    // The other server has another password, which tells that the client got there.
    let error = connect(&first.simulator).await.unwrap_err();
    assert_eq!(error.number(), Some(18456), "{error}");
}

#[tokio::test]
async fn rows_are_the_same_however_they_are_sent() {
    for seed in 0..8 {
        let behaviour = Behaviour {
            seed: Some(seed),
            short_packets: true,
            ..Behaviour::default()
        };
        let simulator = simulator(SCRIPT, behaviour).await;
        let database = connect(&simulator).await.unwrap();
        for _ in 0..4 {
            assert_eq!(read(&database).await.unwrap(), ROWS, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn rows_are_the_same_where_names_tell_cases_apart() {
    for collation in ["Latin1_General_CS_AS", "Latin1_General_BIN2"] {
        let behaviour = Behaviour {
            server_collation: Collation::named(collation).unwrap(),
            ..Behaviour::default()
        };
        let simulator = simulator(SCRIPT, behaviour).await;
        let database = connect(&simulator).await.unwrap();
        assert_eq!(read(&database).await.unwrap(), ROWS, "{collation}");
        let table = database.table("dbo", "t").await.unwrap().unwrap();
        let filtered = rows(table, "SELECT id FROM t WHERE a = 'Bruce'").await;
        assert_eq!(filtered.unwrap(), ["1"], "{collation}");
        // The name is sent as the server spells it.
        let table = database.table("DBO", "T").await.unwrap().unwrap();
        assert_eq!(
            rows(table, "SELECT id FROM t WHERE id > 3").await.unwrap(),
            ["4"]
        );
    }
}

#[tokio::test]
async fn a_row_of_eight_megabytes_is_read_whole() {
    let script = "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a nvarchar(max) NULL);
        INSERT INTO dbo.t VALUES (1, REPLICATE(CAST(N'ab' AS nvarchar(max)), 524288));
        UPDATE dbo.t SET a = a + a;
        UPDATE dbo.t SET a = a + a;
        INSERT INTO dbo.t VALUES (2, N'next');";
    let simulator = simulator(script, Behaviour::default()).await;
    let database = connect(&simulator).await.unwrap();
    let read = read(&database).await.unwrap();
    assert_eq!(read.len(), 2);
    assert!(read[0] == format!("1|{}", "ab".repeat(2_097_152)));
    assert_eq!(read[1], "2|next");
}
