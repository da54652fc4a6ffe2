//! Faults on demand: what a real server does to its clients once in a while, when a test says so.
//!
//! A [`Control`] belongs to a running [`Simulator`](super::Simulator) and is no part of the wire: clients cannot
//! reach it. Nothing here depends on time. A fault strikes a statement that is named by a part of its text, a
//! login, or a session; what waits, waits until it is released; and a test can await the moment when a fault
//! strikes, and the sessions that are there.

mod fault;
mod logins;
mod pending;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

pub use fault::Fault;
pub(in crate::simulator) use fault::deadlock;
pub use logins::LoginFault;
pub(in crate::simulator) use pending::Strike;
pub use pending::{PendingFault, Stopped};

use pending::Planned;

/// What of a client's conversation is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Nothing.
    Nothing,
    /// The login.
    LoginOnly,
    /// Everything from the login on.
    Everything,
    /// Everything from the first byte on, as in TDS 8.0.
    Strict,
}

/// A client that is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSession {
    /// `@@SPID`.
    pub id: u16,
    /// The login's name, as the client spells it.
    pub user: String,
    /// What the client calls itself (`APP_NAME()`).
    pub application: String,
    /// What is encrypted.
    pub encryption: Encryption,
    /// Whether the client said that it only reads (`ApplicationIntent=ReadOnly`).
    pub read_only: bool,
}

/// Makes a running simulator fail; clones control the same one.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` once the server has stopped.
    planned: Mutex<Option<Vec<Planned>>>,
    logins: watch::Sender<Option<LoginFault>>,
    sessions: watch::Sender<Vec<ClientSession>>,
    kills: Mutex<Vec<(u16, Arc<Notify>)>>,
    cancelled: watch::Sender<usize>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("sessions", &*self.shared.sessions.borrow())
            .field("logins", &*self.shared.logins.borrow())
            .finish_non_exhaustive()
    }
}

impl Default for Control {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                planned: Mutex::new(Some(Vec::new())),
                logins: watch::Sender::new(None),
                sessions: watch::Sender::default(),
                kills: Mutex::default(),
                cancelled: watch::Sender::default(),
            }),
        }
    }
}

impl Control {
    /// Strikes the next statement (a batch, or a procedure call's text) that contains `text`, whatever its
    /// case; an empty text is any statement. Faults for the same statement strike one each, oldest first.
    pub fn on_next(&self, text: &str, fault: Fault) -> PendingFault {
        let (planned, pending) = pending::plan(text, fault);
        if let Some(all) = lock(&self.shared.planned).as_mut() {
            all.push(planned);
        }
        pending
    }

    /// What happens to logins from now on; `None` lets them in again. Passwords are checked first.
    pub fn set_logins(&self, fault: Option<LoginFault>) {
        self.shared.logins.send_replace(fault);
    }

    /// The clients that are logged in, by session id. The receiver can be awaited for a change.
    pub fn sessions(&self) -> watch::Receiver<Vec<ClientSession>> {
        self.shared.sessions.subscribe()
    }

    /// Ends a session, as KILL does: a request that runs ends with error 596 of severity 21, then the
    /// connection is closed; its transaction is rolled back. Whether there was such a session.
    pub fn kill(&self, session: u16) -> bool {
        let kills = lock(&self.shared.kills);
        let found = kills.iter().find(|(id, _)| *id == session);
        if let Some((_, kill)) = found {
            kill.notify_one();
        }
        found.is_some()
    }

    /// Ends every session, as a failover or a restart does; how many there were.
    pub fn kill_all(&self) -> usize {
        let kills = lock(&self.shared.kills);
        for (_, kill) in kills.iter() {
            kill.notify_one();
        }
        kills.len()
    }

    /// How many running requests were ended by their client's attention. The receiver can be awaited for a change.
    pub fn cancelled(&self) -> watch::Receiver<usize> {
        self.shared.cancelled.subscribe()
    }

    /// Counts a request that was ended by its client's attention.
    pub(super) fn note_cancelled(&self) {
        self.shared.cancelled.send_modify(|count| *count += 1);
    }

    /// The fault for this statement, if there is one; it strikes now.
    pub(super) fn strike(&self, sql: &str) -> Option<Strike> {
        let mut planned = lock(&self.shared.planned);
        let planned = planned.as_mut()?;
        planned.retain(|planned| !planned.is_withdrawn());
        let at = planned.iter().position(|planned| planned.is_for(sql))?;
        Some(planned.remove(at).strike())
    }

    /// Gives up every fault that has not struck: the server stops.
    pub(super) fn stop(&self) {
        *lock(&self.shared.planned) = None;
    }

    /// What happens to a login now.
    pub(super) fn login_fault(&self) -> Option<LoginFault> {
        self.shared.logins.borrow().clone()
    }

    /// Makes a client known for as long as the guard lives.
    pub(super) fn register(&self, session: ClientSession) -> Registered {
        let id = session.id;
        let kill = Arc::new(Notify::new());
        lock(&self.shared.kills).push((id, Arc::clone(&kill)));
        self.shared.sessions.send_modify(|sessions| {
            sessions.push(session);
            sessions.sort_by_key(|session| session.id);
        });
        Registered {
            control: self.clone(),
            id,
            kill,
        }
    }
}

/// A client's entry, which it loses when this is dropped.
pub(super) struct Registered {
    control: Control,
    id: u16,
    kill: Arc<Notify>,
}

impl Registered {
    /// Waits until the session is killed.
    pub(super) fn killed(&self) -> impl Future<Output = ()> + Send + use<> {
        let kill = Arc::clone(&self.kill);
        async move { kill.notified().await }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let shared = &self.control.shared;
        lock(&shared.kills).retain(|(_, kill)| !Arc::ptr_eq(kill, &self.kill));
        shared.sessions.send_modify(|sessions| {
            if let Some(at) = sessions.iter().position(|session| session.id == self.id) {
                sessions.remove(at);
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
