//! `cdcql status`: where flows stand.

use crate::served::Served;

const STATUS: [&str; 4] = ["status", "pipelines/p.sql", "--format", "json"];

fn told(served: &Served, words: &[&str]) {
    let status = served.cdcql(&STATUS).succeeded().stdout;
    assert_eq!(status.lines().count(), 1, "{status}");
    for word in words {
        assert!(status.contains(word), "no {word} in {status}");
    }
}

#[test]
fn a_flow_is_behind_until_it_has_run() {
    let served = Served::new();
    told(
        &served,
        &[
            "\"state\":\"not copied\"",
            "\"version\":null",
            "\"checkpoint_lsn\":null",
        ],
    );
    let _ = served.run().succeeded();
    told(
        &served,
        &[
            "\"state\":\"up to date\"",
            "\"version\":0",
            "\"rows_behind\":0",
            "\"reader_lag_seconds\":0",
        ],
    );
    served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1; DELETE FROM dbo.a WHERE id = 2;");
    // Nothing was run, and nothing changes by asking.
    for _ in 0..2 {
        told(
            &served,
            &[
                "\"state\":\"behind\"",
                "\"rows_behind\":3",
                "\"hours_to_purge\":71.9",
                "\"capture_lag_seconds\":",
            ],
        );
    }
    let _ = served.run().succeeded();
    told(&served, &["\"state\":\"up to date\"", "\"version\":1"]);
}

#[test]
fn a_flow_that_has_lost_changes_is_told_with_exit_code_5() {
    let served = Served::new();
    let _ = served.run().succeeded();
    served.lose_changes();
    let ended = served.cdcql(&STATUS);
    assert_eq!(ended.code, Some(5), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("\"state\":\"changes lost\""),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stderr.contains("are no longer on the server"),
        "{}",
        ended.stderr
    );
}
