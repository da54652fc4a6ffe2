//! Values on the command line: sizes, intervals, names.

use std::time::Duration;

/// A collation by its name.
#[cfg(feature = "simulator")]
pub(super) fn collation(name: &str) -> Result<crate::simulator::protocol::Collation, String> {
    crate::simulator::protocol::Collation::named(name)
        .ok_or_else(|| "no such collation, or one whose code page the simulator lacks".to_owned())
}

/// `name=value`.
pub(super) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a name, `=` and a value, such as region=EU".to_owned()),
    }
}

/// An interval that a server can be asked at.
pub(super) fn cadence(text: &str) -> Result<Duration, String> {
    match interval(text)? {
        every if every < SHORTEST_CADENCE => Err("at least 10ms".to_owned()),
        every => Ok(every),
    }
}

/// The least that `--every` takes.
const SHORTEST_CADENCE: Duration = Duration::from_millis(10);

/// A number with `KiB`, `MiB` or `GiB`, or of bytes.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" => Some(0),
        "kib" | "k" => Some(10),
        "mib" | "m" => Some(20),
        "gib" | "g" => Some(30),
        _ => None,
    };
    let bytes = shift.and_then(|shift| number.parse::<usize>().ok()?.checked_mul(1 << shift));
    bytes.ok_or_else(|| "a number of bytes, or one with KiB, MiB or GiB, such as 512MiB".to_owned())
}

/// What [`bytes`] reads, as much as is needed for work.
pub(super) fn size(text: &str) -> Result<usize, String> {
    match bytes(text)? {
        bytes if bytes >= LEAST_MEMORY => Ok(bytes),
        _ => Err("less than 16 MiB is not enough".to_owned()),
    }
}

/// The least that `--memory` takes.
const LEAST_MEMORY: usize = 16 << 20;

/// A number with `ms`, `s` or `m`; 0 needs no unit.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "" if number == "0" => 1,
        _ => return Err("a number with ms, s or m, such as 500ms".to_owned()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| "a number with ms, s or m, such as 500ms".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{cadence, interval, size};

    #[test]
    fn a_server_is_not_asked_without_pause() {
        assert_eq!(cadence("10ms"), Ok(Duration::from_millis(10)));
        assert!(cadence("0").is_err() && cadence("9ms").is_err());
    }

    #[test]
    fn sizes_have_a_unit_or_none() {
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("2 GiB"), Ok(2 << 30));
        assert_eq!(size("16777216"), Ok(16 << 20));
        for text in [
            "",
            "MiB",
            "-1GiB",
            "1TB",
            "1MiB",
            "99999999999999999999",
            "99999999999GiB",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn intervals_have_a_unit() {
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(interval("0"), Ok(Duration::ZERO));
        for text in ["5", "s", "-1s", "1h", "99999999999999999999s"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
