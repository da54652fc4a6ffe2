//! The server: its databases by name.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::clock::{Clock, ServerClock};
use super::database::{DatabaseCell, Instant, Settings};
use super::state::State;
use crate::simulator::behaviour::Behaviour;
use crate::simulator::capture::CaptureJob;
use crate::simulator::protocol::{Collation, ServerError};
use crate::simulator::record::Record;
use crate::simulator::security::{Logins, Rights};

/// The databases that every server has, with ids from 1.
const SYSTEM_DATABASES: [&str; 4] = ["master", "tempdb", "model", "msdb"];

/// A server's databases.
#[derive(Debug)]
pub(crate) struct Server {
    collation: Collation,
    databases: RwLock<Vec<Arc<DatabaseCell>>>,
    settings: RwLock<Settings>,
    logins: Mutex<Logins>,
    instant: Instant,
}

impl Server {
    /// A server with the system databases alone, in a collation that other databases have unless they name one.
    pub(crate) fn new(collation: Collation) -> Self {
        let instant = Instant::default();
        let databases = (1..)
            .zip(SYSTEM_DATABASES)
            .map(|(id, name)| {
                let mut state = State::new(name, id);
                state.collation = collation;
                Arc::new(DatabaseCell::new(state, &Settings::default(), &instant))
            })
            .collect();
        Self {
            collation,
            databases: RwLock::new(databases),
            settings: RwLock::default(),
            logins: Mutex::default(),
            instant,
        }
    }

    /// The server's collation.
    pub(crate) fn collation(&self) -> Collation {
        self.collation
    }

    /// Changes how every database behaves, those that come included.
    pub(crate) fn behave(&self, behaviour: &Behaviour, schedule: CaptureJob, clock: Clock) {
        self.configure(|settings| {
            settings.behaviour = behaviour.capture.clone();
            settings.schedule = schedule;
            settings.clock = ServerClock {
                moved_by: clock,
                zone: behaviour.zone,
                ahead: 0,
            };
            settings.lag = behaviour.replica_lag;
            settings.blocks = behaviour.writers_block_readers;
            settings.seed = behaviour.seed.unwrap_or_default();
        });
    }

    /// Moves the clock of every database on.
    pub(crate) fn move_clock(&self, micros: i64) {
        self.configure(|settings| {
            settings.clock.ahead = settings.clock.ahead.saturating_add(micros);
        });
    }

    /// Records every commit from now on.
    pub(crate) fn record_to(&self, record: Arc<Record>) {
        self.configure(|settings| settings.record = Some(record));
    }

    /// Where commits are recorded; `None` where they are not.
    pub(crate) fn record(&self) -> Option<Arc<Record>> {
        let settings = self.settings.read();
        let settings = settings.unwrap_or_else(PoisonError::into_inner);
        settings.record.clone()
    }

    fn configure(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut settings);
        for database in self.databases() {
            database.configure(&settings);
        }
    }

    /// Reads or changes the logins.
    pub(crate) fn logins<T>(&self, work: impl FnOnce(&mut Logins) -> T) -> T {
        work(&mut self.logins.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether every server has the database of this name.
    pub(crate) fn is_system(name: &str) -> bool {
        SYSTEM_DATABASES.contains(&name)
    }

    /// What a login may do in a database; `None` if it has no user there, or was dropped.
    pub(crate) fn rights(&self, login: &str, state: &State) -> Option<Rights> {
        let (is_known, is_sysadmin) =
            self.logins(|logins| (logins.is_known(login), logins.is_sysadmin(login)));
        if is_sysadmin {
            return Some(Rights::all());
        }
        if !is_known {
            return None;
        }
        let system = Self::is_system(&state.name);
        Rights::of_login(&state.principals, login, system)
    }

    /// Every database, in the order of their ids.
    pub(crate) fn databases(&self) -> Vec<Arc<DatabaseCell>> {
        self.databases
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Every database as it was at one instant: what one of them shows was committed when what another shows
    /// was.
    pub(crate) fn states(&self) -> Vec<Arc<State>> {
        let databases = self.databases();
        let _alone = self.instant.write().unwrap_or_else(PoisonError::into_inner);
        databases.iter().map(|cell| cell.committed()).collect()
    }

    /// A database by name, as the server's collation compares names.
    pub(crate) fn database(&self, name: &str) -> Option<Arc<DatabaseCell>> {
        self.databases()
            .into_iter()
            .find(|database| self.collation.is_same_name(database.name(), name))
    }

    /// Creates an empty database, in the server's collation unless one is named, once `record` has noted it;
    /// error 1801 for one that there is.
    pub(crate) fn create(
        &self,
        name: &str,
        collation: Option<Collation>,
        record: impl FnOnce() -> Result<(), ServerError>,
    ) -> Result<(), ServerError> {
        // Before the databases, as whoever changes the settings takes them.
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let mut databases = self
            .databases
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let lower = name.to_lowercase();
        if databases.iter().any(|d| d.name().to_lowercase() == lower) {
            return Err(ServerError::new(
                1801,
                format!("Database '{name}' already exists. Choose a different database name."),
            ));
        }
        let id = databases
            .iter()
            .map(|database| database.committed().id)
            .max()
            .unwrap_or(0)
            + 1;
        record()?;
        let mut state = State::new(name, id);
        state.collation = collation.unwrap_or(self.collation);
        databases.push(Arc::new(DatabaseCell::new(state, &settings, &self.instant)));
        Ok(())
    }

    /// Removes a database once `record` has noted it; errors 3701 where there is none, 3708 for one that every
    /// server has, 3702 while a session is in it.
    pub(crate) fn remove(
        &self,
        name: &str,
        record: impl FnOnce() -> Result<(), ServerError>,
    ) -> Result<(), ServerError> {
        let mut databases = self
            .databases
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let is_named = |cell: &Arc<DatabaseCell>| self.collation.is_same_name(cell.name(), name);
        let Some(at) = databases.iter().position(is_named) else {
            return Err(ServerError::cannot_drop("database", name));
        };
        let cell = &databases[at];
        if Self::is_system(cell.name()) {
            let text =
                format!("Cannot drop the database '{name}' because it is a system database.");
            return Err(ServerError::new(3708, text));
        }
        if cell.is_in_use() {
            let text = format!("Cannot drop database \"{name}\" because it is currently in use.");
            return Err(ServerError::new(3702, text));
        }
        record()?;
        // A transaction that has read it comes after its end, where it cannot be read again.
        cell.amend(|state| state.version += 1);
        databases.remove(at);
        Ok(())
    }
}
