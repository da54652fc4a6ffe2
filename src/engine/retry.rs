//! Trying again, where that is exact.

use std::time::Duration;

use crate::error::Error;

/// How often work begins again after another writer committed first.
const MAX_CONFLICTS: u32 = 10;
/// How often work begins again after a failure that passes by itself.
const MAX_FAILURES: u32 = 7;
/// The first pause after such a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why work begins again.
#[derive(Debug)]
pub struct Again<'a> {
    /// What ended the try before.
    pub error: &'a Error,
    /// How many tries there were, from 1.
    pub attempt: u32,
    /// The pause before the next one; none after a conflict.
    pub pause: Duration,
}

/// How often work has failed, by the reason to begin it again.
#[derive(Debug, Default)]
pub struct Tries {
    conflicts: u32,
    failures: u32,
}

impl Tries {
    /// Pauses until work that failed with `error` may begin again, of which `tell` hears before.
    ///
    /// # Errors
    /// `error` itself, if it does not pass or has come too often.
    pub async fn pause_after(
        &mut self,
        error: Error,
        tell: &impl Fn(Again<'_>),
    ) -> Result<(), Error> {
        let Some(pause) = self.pause(&error) else {
            return Err(error);
        };
        tell(Again {
            error: &error,
            attempt: self.conflicts + self.failures,
            pause,
        });
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// The pause before work that failed with `error` begins again; `None` if it does not.
    fn pause(&mut self, error: &Error) -> Option<Duration> {
        if error.is_conflict() && self.conflicts < MAX_CONFLICTS {
            self.conflicts += 1;
            return Some(Duration::ZERO);
        }
        if error.is_transient() && self.failures < MAX_FAILURES {
            let pause = FIRST_PAUSE.saturating_mul(1 << self.failures);
            self.failures += 1;
            return Some(pause.min(LONGEST_PAUSE));
        }
        None
    }
}

/// Does `work` until it succeeds, fails for good, or has failed too often; `tell` hears of each new try.
///
/// `work` must have no effect when it fails: reads, and windows whose commit was not made.
pub async fn retried<T>(
    tell: impl Fn(Again<'_>),
    mut work: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut tries = Tries::default();
    loop {
        match work().await {
            Ok(done) => return Ok(done),
            Err(error) => tries.pause_after(error, &tell).await?,
        }
    }
}

/// Tells the log.
pub fn log_retry(again: Again<'_>) {
    let error = again.error;
    tracing::warn!(%error, pause = ?again.pause, "trying again");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::SourceError;

    /// The pauses of work that always fails with the server's error `number`.
    fn pauses(number: u32) -> Vec<Duration> {
        let error = Error::Source(SourceError::Server {
            action: "reading dbo.t".to_string(),
            number,
            state: 1,
            message: "it failed".to_string(),
        });
        let mut tries = Tries::default();
        std::iter::from_fn(|| tries.pause(&error)).collect()
    }

    #[test]
    fn what_passes_by_itself_is_tried_again_with_growing_pauses_and_not_forever() {
        for number in [
            1205, 1222, 3961, 40613, 40197, 40501, 49918, 49919, 49920, 10928, 10929,
        ] {
            let pauses = pauses(number);
            assert_eq!(pauses.len(), MAX_FAILURES as usize, "{number}");
            assert!(pauses[0] > Duration::ZERO && pauses.is_sorted());
            assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));
        }
    }

    #[test]
    fn what_stays_wrong_is_not_tried_again() {
        for number in [207, 208, 229, 4060, 18456] {
            assert!(pauses(number).is_empty(), "{number}");
        }
    }
}
