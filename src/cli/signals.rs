//! Signals that end a command.

use std::time::Duration;

/// How long a command that was told to end may take for it.
pub(super) const GRACE: Duration = Duration::from_millis(1200);
/// How long its tasks may take to be dropped then. Both together are less than two seconds.
pub(super) const FAREWELL: Duration = Duration::from_millis(500);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_was_told_to_end_is_gone_within_two_seconds() {
        assert!(GRACE + FAREWELL < Duration::from_secs(2));
    }
}
