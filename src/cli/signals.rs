//! Signals that end a command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a command that was told to end may take for it.
pub(super) const GRACE: Duration = Duration::from_millis(1200);
/// How long its tasks may take to be dropped then. Both together are less than two seconds.
pub(super) const FAREWELL: Duration = Duration::from_millis(500);

/// How long an interrupt may take until it is sent again.
#[cfg(unix)]
const AGAIN: Duration = Duration::from_millis(200);

/// Waits for Ctrl-C, or for SIGTERM where there is one.
pub(super) async fn ending() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // Where the second cannot be listened to, the first ends the command still.
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Has SIGTERM be Ctrl-C from now on, where there is one, and tells by the flag that the command is to end by it: an
/// editor that reads from the terminal gives it back as it was for Ctrl-C alone.
pub(super) fn termination() -> Arc<AtomicBool> {
    let is_ending = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // From here on neither signal ends the process by itself.
        let interrupt = signal(SignalKind::interrupt());
        if let (Ok(mut terminate), Ok(_)) = (signal(SignalKind::terminate()), interrupt) {
            let is_ending = Arc::clone(&is_ending);
            tokio::spawn(async move {
                if terminate.recv().await.is_some() {
                    is_ending.store(true, Ordering::Relaxed);
                    interrupt_until_the_end().await;
                }
            });
        }
    }
    is_ending
}

/// Interrupts this process again and again: one signal may come while the editor takes the terminal over, and be lost.
#[cfg(unix)]
async fn interrupt_until_the_end() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let mut times = tokio::time::interval(AGAIN);
    loop {
        times.tick().await;
        if let Err(error) = kill(Pid::this(), Signal::SIGINT) {
            tracing::warn!(%error, "SIGTERM does not end this");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_was_told_to_end_is_gone_within_two_seconds() {
        assert!(GRACE + FAREWELL < Duration::from_secs(2));
    }
}
