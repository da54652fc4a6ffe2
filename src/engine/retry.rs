//! Trying again, where that is exact.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::error::Error;
use crate::source::sqlserver::ConnectionConfig;

/// How often work begins again after another writer committed first.
const MAX_CONFLICTS: u32 = 10;
/// The first pause after a failure that passes by itself; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// No pause is longer, but for what is added at random.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Pauses after failures, each twice as long as the one before. To each, up to as much again is added at random, so that
/// many clients of a server that comes back do not come all at once.
#[derive(Debug)]
pub struct Pauses {
    first: Duration,
    longest: Duration,
    series: ExponentialBackoff,
}

impl Pauses {
    /// Pauses from `first` on; none is longer than `longest`, but for what is added at random.
    pub fn between(first: Duration, longest: Duration) -> Self {
        let series = ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(longest)
            .without_max_times()
            .with_jitter()
            .build();
        Self {
            first,
            longest,
            series,
        }
    }

    /// The next pause.
    pub fn take(&mut self) -> Duration {
        // The series has no end.
        self.series.next().unwrap_or(self.longest)
    }

    /// The next pause is a first one again.
    pub fn begin_again(&mut self) {
        *self = Self::between(self.first, self.longest);
    }
}

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
#[derive(Debug)]
pub struct Tries {
    /// How long after the first failure the last try begins.
    time: Duration,
    conflicts: u32,
    failures: u32,
    first_failure: Option<Instant>,
    pauses: Pauses,
}

impl Default for Tries {
    /// As a connection has it that says nothing about it.
    fn default() -> Self {
        Self::within(ConnectionConfig::RETRY_TIME)
    }
}

impl Tries {
    /// Work that fails with what passes by itself is begun again for `time` after its first failure: once at least, the
    /// last time when `time` is over; not at all if that is zero.
    pub fn within(time: Duration) -> Self {
        Self {
            time,
            conflicts: 0,
            failures: 0,
            first_failure: None,
            pauses: Pauses::between(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// Pauses until work that failed with `error` may begin again, of which `tell` hears before.
    ///
    /// # Errors
    /// `error` itself, if it does not pass, or has come too often or for too long.
    pub async fn pause_after(
        &mut self,
        error: Error,
        tell: &impl Fn(Again<'_>),
    ) -> Result<(), Error> {
        let Some(pause) = self.pause(&error, Instant::now()) else {
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

    /// The pause before work that failed with `error` at `now` begins again; `None` if it does not.
    fn pause(&mut self, error: &Error, now: Instant) -> Option<Duration> {
        if error.is_conflict() && self.conflicts < MAX_CONFLICTS {
            self.conflicts += 1;
            return Some(Duration::ZERO);
        }
        if !error.is_transient() {
            return None;
        }
        let since = *self.first_failure.get_or_insert(now);
        let left = self.time.saturating_sub(now.duration_since(since));
        if left.is_zero() {
            return None;
        }
        self.failures += 1;
        Some(self.pauses.take().min(left))
    }
}

/// Does `work` until it succeeds, fails for good, or has failed for `time`; `tell` hears of each new try.
///
/// `work` must have no effect when it fails: reads, and windows whose commit was not made.
pub async fn retried<T>(
    time: Duration,
    tell: impl Fn(Again<'_>),
    mut work: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut tries = Tries::within(time);
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

    fn error(number: u32) -> Error {
        Error::Source(SourceError::Server {
            action: "reading dbo.t".to_string(),
            number,
            state: 1,
            message: "it failed".to_string(),
        })
    }

    /// The pauses of work that always fails with the server's error `number`, each time after `work`.
    fn pauses(number: u32, time: Duration, work: Duration) -> Vec<Duration> {
        let (error, mut tries) = (error(number), Tries::within(time));
        let mut now = Instant::now();
        std::iter::from_fn(|| {
            now += work;
            let pause = tries.pause(&error, now)?;
            now += pause;
            Some(pause)
        })
        .collect()
    }

    #[test]
    fn what_passes_by_itself_is_tried_again_with_growing_pauses_for_a_minute() {
        for number in [
            596, 1205, 1222, 3961, 40613, 40197, 40501, 49918, 49919, 49920, 10928, 10929,
        ] {
            let pauses = pauses(number, ConnectionConfig::RETRY_TIME, Duration::ZERO);
            assert_eq!(
                pauses.iter().sum::<Duration>(),
                ConnectionConfig::RETRY_TIME
            );
            let bounds = std::iter::successors(Some(FIRST_PAUSE), |pause| {
                Some((*pause * 2).min(LONGEST_PAUSE))
            });
            let last = pauses.len() - 1;
            for (place, (pause, least)) in pauses.iter().zip(bounds).enumerate() {
                assert!(*pause <= least * 2, "{number}: {pauses:?}");
                assert!(*pause >= least || place == last, "{number}: {pauses:?}");
            }
        }
    }

    #[test]
    fn two_clients_pause_for_different_times() {
        let once = || pauses(1205, ConnectionConfig::RETRY_TIME, Duration::ZERO);
        assert_ne!(once(), once());
    }

    #[test]
    fn pauses_that_begin_again_are_short_again_and_others() {
        let (first, longest) = (Duration::from_millis(250), Duration::from_secs(10));
        let mut pauses = Pauses::between(first, longest);
        let mut series = || {
            pauses.begin_again();
            (0..9).map(|_| pauses.take()).collect::<Vec<_>>()
        };
        let (one, other) = (series(), series());
        assert_ne!(one, other);
        for pauses in [one, other] {
            let mut least = first;
            for pause in pauses {
                assert!(pause >= least && pause <= least * 2, "{pause:?}");
                least = (least * 2).min(longest);
            }
        }
    }

    #[test]
    fn work_that_takes_longer_than_the_time_is_tried_again_once() {
        let minute = Duration::from_secs(60);
        assert_eq!(pauses(1205, minute, minute * 5).len(), 1);
        assert!(pauses(1205, Duration::ZERO, minute).is_empty());
    }

    #[test]
    fn a_silent_server_is_asked_again() {
        let error = Error::Source(SourceError::Timeout {
            action: "reading dbo.t".to_string(),
            seconds: 300,
        });
        let pause = Tries::default().pause(&error, Instant::now());
        assert!(pause.is_some());
    }

    #[test]
    fn what_stays_wrong_is_not_tried_again() {
        for number in [102, 156, 207, 208, 229, 4060, 18456] {
            let pauses = pauses(number, ConnectionConfig::RETRY_TIME, Duration::ZERO);
            assert!(pauses.is_empty(), "{number}");
        }
    }
}
