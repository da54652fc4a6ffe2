//! How often a flow is executed that is followed, by the TRIGGER of its table.

use std::time::{Duration, Instant};

/// Until when a flow waits whose execution `began` and has ended by `now`; `None` if it may go on at once.
///
/// From one beginning to the next there are `at_most_every` at least, if there is such a thing; an execution that took longer
/// has waited already.
pub(super) fn held_until(
    began: Instant,
    now: Instant,
    at_most_every: Option<Duration>,
) -> Option<Instant> {
    let until = began.checked_add(at_most_every?)?;
    (until > now).then_some(until)
}

/// An interval in words: `90 seconds`, `5 minutes`, `1 day`.
pub(super) fn in_words(interval: Duration) -> String {
    let seconds = interval.as_secs();
    let units = [("day", 24 * 60 * 60), ("hour", 60 * 60), ("minute", 60)];
    let whole = units
        .into_iter()
        .find(|(_, length)| seconds.is_multiple_of(*length));
    let (unit, length) = whole.unwrap_or(("second", 1));
    match seconds / length {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn without_a_trigger_nothing_waits() {
        let began = Instant::now();
        assert_eq!(held_until(began, began, None), None);
    }

    #[test]
    fn an_execution_waits_for_the_rest_of_the_interval_since_the_last_began() {
        let began = Instant::now();
        let every = Some(30 * SECOND);
        for elapsed in [0, 1, 29] {
            let held = held_until(began, began + elapsed * SECOND, every);
            assert_eq!(held, Some(began + 30 * SECOND));
        }
    }

    #[test]
    fn one_that_took_the_interval_or_longer_is_followed_at_once() {
        let began = Instant::now();
        for elapsed in [30, 31, 300] {
            let now = began + elapsed * SECOND;
            assert_eq!(held_until(began, now, Some(30 * SECOND)), None);
        }
    }

    #[test]
    fn the_longest_interval_is_held() {
        let began = Instant::now();
        let longest = Some(Duration::from_secs(u32::MAX.into()));
        assert!(held_until(began, began, longest).is_some());
    }

    #[test]
    fn intervals_are_told_in_the_largest_unit_that_fits() {
        for (seconds, words) in [
            (1, "1 second"),
            (30, "30 seconds"),
            (90, "90 seconds"),
            (60, "1 minute"),
            (300, "5 minutes"),
            (7200, "2 hours"),
            (86_400, "1 day"),
        ] {
            assert_eq!(in_words(seconds * SECOND), words);
        }
    }
}
