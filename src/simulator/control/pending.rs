//! A fault, from its planning to its end.

use tokio::sync::watch;

use super::Fault;

/// A fault that waits for its statement, as the test holds it. Dropping it takes the fault back, and releases a
/// statement that it holds.
#[derive(Debug)]
#[must_use = "dropping it takes the fault back"]
pub struct PendingFault {
    struck: watch::Receiver<bool>,
    held: watch::Sender<bool>,
}

impl PendingFault {
    /// Waits until the fault strikes; at once if it has.
    ///
    /// # Errors
    ///
    /// The server has stopped, so that it never will.
    pub async fn struck(&mut self) -> Result<(), Stopped> {
        match self.struck.wait_for(|struck| *struck).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Stopped),
        }
    }

    /// Whether it has struck.
    pub fn has_struck(&self) -> bool {
        *self.struck.borrow()
    }

    /// Lets a statement go on that the fault holds.
    pub fn release(&self) {
        self.held.send_replace(false);
    }
}

/// The server stopped before a fault struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the simulator stopped before the fault struck")]
pub struct Stopped;

/// A fault that waits for its statement, as the server holds it.
pub(super) struct Planned {
    text: String,
    fault: Fault,
    struck: watch::Sender<bool>,
    held: watch::Receiver<bool>,
}

/// Plans a fault for a statement that contains `text`.
pub(super) fn plan(text: &str, fault: Fault) -> (Planned, PendingFault) {
    let (struck, struck_receiver) = watch::channel(false);
    let (held, held_receiver) = watch::channel(true);
    let planned = Planned {
        text: text.to_lowercase(),
        fault,
        struck,
        held: held_receiver,
    };
    let pending = PendingFault {
        struck: struck_receiver,
        held,
    };
    (planned, pending)
}

impl Planned {
    pub(super) fn is_for(&self, sql: &str) -> bool {
        sql.to_lowercase().contains(&self.text)
    }

    pub(super) fn is_withdrawn(&self) -> bool {
        self.held.has_changed().is_err()
    }

    pub(super) fn strike(self) -> Strike {
        self.struck.send_replace(true);
        Strike {
            fault: self.fault,
            held: self.held,
            _struck: self.struck,
        }
    }
}

/// A fault at work.
#[derive(Debug)]
pub(in crate::simulator) struct Strike {
    pub(in crate::simulator) fault: Fault,
    held: watch::Receiver<bool>,
    _struck: watch::Sender<bool>,
}

impl Strike {
    /// Whether the statement waits until it is released.
    pub(in crate::simulator) fn is_held(&self) -> bool {
        matches!(self.fault, Fault::Stall | Fault::LateAttention)
    }

    /// Waits until the fault is released or taken back.
    pub(in crate::simulator) async fn released(&self) {
        // An error means that it was taken back.
        let _ = self.held.clone().wait_for(|held| !*held).await;
    }
}
