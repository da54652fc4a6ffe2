use super::*;

const HOUR: i64 = 60 * MINUTE_MS;

fn zone(name: &str) -> Zone {
    Zone::Rules(name.parse().unwrap())
}

fn ms(text: &str) -> i64 {
    let at: NaiveDateTime = text.parse().unwrap();
    at.and_utc().timestamp_millis()
}

#[test]
fn zones_have_two_kinds_of_names() {
    for (name, iana) in [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("UTC", "UTC"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("Pacific Standard Time", "America/Los_Angeles"),
        ("Lord Howe Standard Time", "Australia/Lord_Howe"),
        ("GMT Standard Time", "Europe/London"),
    ] {
        let zone: TimeZone = name.parse().unwrap();
        assert_eq!(zone.to_string(), iana, "{name}");
    }
    for name in [
        "UTC+12",
        "UTC-11",
        "India Standard Time",
        "Tonga Standard Time",
    ] {
        assert!(name.parse::<TimeZone>().is_ok(), "{name}");
    }
    let error = "Europe/Berln".parse::<TimeZone>().unwrap_err();
    assert!(error.contains("did you mean 'Europe/Berlin'?"), "{error}");
    assert!("".parse::<TimeZone>().is_err());
    assert!("Ünïcode".parse::<TimeZone>().is_err());
}

#[test]
fn an_hour_that_comes_twice_is_found_with_both_instants() {
    let local = ms("2024-10-27T02:30:00");
    let fold = Fold {
        begin_ms: ms("2024-10-27T02:00:00"),
        end_ms: ms("2024-10-27T03:00:00"),
    };
    let (earlier, later) = (ms("2024-10-27T00:30:00"), ms("2024-10-27T01:30:00"));
    let berlin = zone("Europe/Berlin");
    let twice = Instant::Twice {
        fold,
        earlier,
        later,
    };
    assert_eq!(berlin.instant(local), twice);
    let fold = |passed| Some((fold, passed));
    let at = |utc| (berlin.local(utc).ms, berlin.local(utc).fold);
    assert_eq!(at(earlier), (local, fold(false)));
    assert_eq!(at(later), (local, fold(true)));
    assert_eq!(at(later + HOUR), (local + HOUR, None));
    // Half an hour.
    let Instant::Twice { fold, .. } =
        zone("Australia/Lord_Howe").instant(ms("2024-04-07T01:45:00"))
    else {
        panic!("comes once");
    };
    assert_eq!(fold.begin_ms, ms("2024-04-07T01:30:00"));
    assert_eq!(fold.end_ms, ms("2024-04-07T02:00:00"));
}

#[test]
fn an_hour_that_is_left_out_is_read_as_if_clocks_had_not_been_set_on() {
    let berlin = zone("Europe/Berlin");
    let instant = |text| berlin.instant(ms(text));
    assert_eq!(
        instant("2024-03-31T02:30:00"),
        Instant::Once(ms("2024-03-31T01:30:00"))
    );
    assert_eq!(
        instant("2024-03-31T03:30:00"),
        Instant::Once(ms("2024-03-31T01:30:00"))
    );
    // 2011-12-30 was no day there.
    let apia = zone("Pacific/Apia").instant(ms("2011-12-30T12:00:00"));
    assert_eq!(apia, Instant::Once(ms("2011-12-30T22:00:00")));
}

#[test]
fn every_instant_of_a_year_comes_back_from_its_local_time() {
    for name in ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"] {
        let zone = zone(name);
        let mut utc = ms("2024-01-01T00:00:00");
        while utc < ms("2025-01-01T00:00:00") {
            let local = zone.local(utc);
            let back = match (zone.instant(local.ms), local.fold) {
                (Instant::Once(at), None) => at,
                (Instant::Twice { earlier, .. }, Some((_, false))) => earlier,
                (Instant::Twice { later, .. }, Some((_, true))) => later,
                odd => panic!("{odd:?}"),
            };
            assert_eq!(back, utc, "{name}");
            utc += QUARTER_MS;
        }
    }
}

#[test]
fn extreme_times_are_no_panic() {
    for ms in [
        i64::MIN,
        i64::MIN / 1_000,
        -62_135_596_800_000,
        253_402_300_799_999,
        i64::MAX,
    ] {
        for zone in [zone("Europe/Berlin"), Zone::Offset(HOUR)] {
            assert!(zone.local(ms).fold.is_none());
            assert!(matches!(zone.instant(ms), Instant::Once(_)));
        }
    }
}

#[test]
fn a_clock_agrees_to_a_minute_and_around_a_change() {
    let berlin: TimeZone = "Europe/Berlin".parse().unwrap();
    let agrees = |utc: &str, ahead| {
        let utc_ms = ms(utc);
        let local_ms = utc_ms + ahead;
        berlin.agrees(Clocks { local_ms, utc_ms })
    };
    assert!(agrees("2024-01-01T00:00:00", HOUR + 3));
    assert!(!agrees("2024-01-01T00:00:00", 2 * HOUR));
    assert!(!agrees("2024-01-01T00:00:00", HOUR + 2 * MINUTE_MS));
    assert!(agrees("2024-03-31T01:00:00", HOUR));
    assert!(!agrees("2024-03-31T01:02:00", HOUR));
}

#[test]
fn the_offset_is_whole_minutes() {
    let offset = |local_ms, utc_ms| Clocks { local_ms, utc_ms }.offset_ms();
    assert_eq!(offset(1_000, 1_003), 0);
    assert_eq!(offset(7_200_000 + 3, 0), 7_200_000);
    assert_eq!(offset(-12_600_000 - 2, 0), -12_600_000);
    assert_eq!(shown_offset(-12_600_000), "-03:30");
    assert_eq!(shown_offset(7_200_000), "+02:00");
}
