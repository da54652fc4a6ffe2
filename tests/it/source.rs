//! The database that a test copies from: one of the embedded server, or of the server that `CDCQL_TEST_SERVED_BY` names.

mod real;

use cdcql::simulator::control::{Fault, PendingFault};
use cdcql::simulator::{
    Behaviour, CaptureBehaviour, CaptureControl, Database, Simulator, SimulatorOptions,
};
use cdcql::source::sqlserver;

use real::RealDatabase;

/// The URL of a SQL Server in whose place the embedded one does not stand; set by `tests/sqlserver`.
const SERVED_BY: &str = "CDCQL_TEST_SERVED_BY";

/// A served database, whose changes have been captured when a statement that made them is over.
pub(crate) enum Source {
    Embedded {
        simulator: Box<Simulator>,
        /// Whether the test has a hand on the server, which only the embedded one gives.
        in_hand: bool,
    },
    Real(RealDatabase),
}

impl Source {
    /// The database that `script` makes, on either server; an embedded one behaves so.
    pub(crate) async fn anywhere(script: &str, behaviour: Behaviour) -> Self {
        match std::env::var(SERVED_BY) {
            Ok(url) => Self::Real(RealDatabase::create(&url, script).await),
            Err(_) => Self::Embedded {
                simulator: embedded(
                    script,
                    SimulatorOptions {
                        behaviour,
                        ..SimulatorOptions::default()
                    },
                )
                .await,
                in_hand: false,
            },
        }
    }

    /// The database that `script` makes, on an embedded server that the test has a hand on.
    pub(crate) async fn in_hand(script: &str, options: SimulatorOptions) -> Self {
        Self::Embedded {
            simulator: embedded(script, options).await,
            in_hand: true,
        }
    }

    /// How an embedded server behaves that uses none of its freedom in capture.
    pub(crate) fn orderly() -> Behaviour {
        Behaviour {
            seed: Some(11),
            capture: CaptureBehaviour::default(),
            ..Behaviour::default()
        }
    }

    /// The URL of a login that may do everything.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Embedded { simulator, .. } => simulator.url(),
            Self::Real(database) => database.url(),
        }
    }

    /// The embedded server.
    pub(crate) fn simulator(&self) -> &Simulator {
        match self {
            Self::Embedded {
                simulator,
                in_hand: true,
            } => simulator,
            _ => {
                panic!("a test that needs a hand on the server has to ask for one where it begins")
            }
        }
    }

    /// Whether the server is asked something with `text` in it; `None` where nobody can tell.
    pub(crate) fn asked(&self, text: &str) -> Option<PendingFault> {
        match self {
            Self::Embedded { simulator, .. } => {
                Some(simulator.control().on_next(text, Fault::Interjections))
            }
            Self::Real(_) => None,
        }
    }

    /// The capture of the embedded server.
    pub(crate) fn capture(&self) -> CaptureControl {
        self.simulator().capture_of("app_db").unwrap()
    }

    /// Executes one batch, and waits until what it changed is captured.
    pub(crate) async fn execute(&self, batch: &str) {
        match self {
            Self::Embedded { simulator, .. } => {
                let config = sqlserver::ConnectionConfig::from_url(&simulator.url()).unwrap();
                let database = sqlserver::Database::connect(config).await.unwrap();
                database.execute_batch(batch).await.unwrap();
            }
            Self::Real(database) => database.execute(batch).await,
        }
    }

    /// Lets clean-up take what is old: on a real server, all that came before the newest commit.
    pub(crate) async fn clean_up(&self) {
        match self {
            Self::Embedded { simulator, .. } => {
                let capture = simulator.capture_of("app_db").unwrap();
                capture.clean_up().unwrap();
            }
            Self::Real(database) => database.clean_up().await,
        }
    }

    /// Lets capture come to a later commit, though no table of the test has changed.
    pub(crate) async fn goes_on(&self) {
        match self {
            Self::Embedded { simulator, .. } => {
                let capture = simulator.capture_of("app_db").unwrap();
                assert!(capture.idle_entry());
            }
            Self::Real(database) => database.goes_on().await,
        }
    }
}

async fn embedded(script: &str, options: SimulatorOptions) -> Box<Simulator> {
    let database = Database::from_script_with("app_db", "a.sql", script, &options.behaviour);
    let started = Simulator::start(database.await.unwrap(), options).await;
    Box::new(started.unwrap())
}
