//! Waiting for the capture job, within a bound.

use std::time::Duration;

use super::event::{Event, Reporter};
use super::flow::Flow;
use crate::change::{Commit, Lsn};
use crate::error::Error;
use crate::source::sqlserver::Fence;

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(500);

/// What a flow waits for.
enum Awaited {
    /// The newest commit, once it is at or past an LSN.
    Past(Lsn),
    /// A commit past what was read from the table.
    Read(Fence),
}

/// The newest commit at or past `floor`, which the capture job writes within `bound`.
pub(super) async fn commit_past(
    flow: &Flow,
    floor: Lsn,
    bound: Duration,
    reporter: &Reporter,
) -> Result<Commit, Error> {
    wait(flow, Awaited::Past(floor), bound, reporter).await
}

/// A commit at or past `floor` that capture has come to within `bound`, and that is newer than any row of the flow's
/// table that has been read by now.
pub(super) async fn fence(
    flow: &Flow,
    floor: Lsn,
    bound: Duration,
    reporter: &Reporter,
) -> Result<Commit, Error> {
    let fence = flow.database.fence(floor);
    wait(flow, Awaited::Read(fence), bound, reporter).await
}

async fn wait(
    flow: &Flow,
    mut awaited: Awaited,
    bound: Duration,
    reporter: &Reporter,
) -> Result<Commit, Error> {
    let deadline = tokio::time::Instant::now() + bound;
    let mut told = false;
    loop {
        let is_late = tokio::time::Instant::now() >= deadline;
        match awaited.look(flow).await {
            Ok(Some(commit)) => return Ok(commit),
            Ok(None) if is_late => return Err(awaited.missing(flow, bound)),
            Ok(None) => {}
            // The rows that were read are good for as long as the wait.
            Err(error) if error.is_transient() && awaited.is_read() && !is_late => {
                tracing::warn!(flow = %flow.name, %error, "trying again to look how far capture is");
            }
            Err(error) => return Err(error),
        }
        if !told {
            reporter.report(Event::WaitingForCapture {
                flow: flow.name.clone(),
            });
            told = true;
        }
        tokio::time::sleep(POLL).await;
    }
}

impl Awaited {
    fn is_read(&self) -> bool {
        matches!(self, Self::Read(_))
    }

    async fn look(&mut self, flow: &Flow) -> Result<Option<Commit>, Error> {
        match self {
            Self::Past(floor) => {
                let newest = flow.database.head().await?.map(|head| head.newest);
                Ok(newest.filter(|newest| newest.lsn >= *floor))
            }
            Self::Read(fence) => Ok(fence.look().await?),
        }
    }

    fn missing(&self, flow: &Flow, waited: Duration) -> Error {
        let (missing, hint) = match self {
            Self::Past(floor) => (format!("wrote no commit at or past {floor}"), ""),
            Self::Read(fence) => {
                let (missing, hint) = fence.missing();
                (missing.to_string(), hint)
            }
        };
        Error::CaptureNotRunning {
            flow: flow.name.clone(),
            database: flow.database.shown_name(),
            missing,
            hint,
            waited,
        }
    }
}
