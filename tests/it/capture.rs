//! Runs against a server whose capture job is held, idle, cleaned up after, taken back in time, or unlike
//! today's.

use std::process::Stdio;
use std::time::Duration;

use cdcql::simulator::{Behaviour, CaptureBehaviour, CaptureJob, CommandId, CommitTimes};

use crate::served::Served;
use crate::support::Ended;

#[test]
fn a_run_has_what_was_captured_and_the_rest_later() {
    let served = Served::in_hand();
    let _ = served.run().succeeded();
    served.capture().hold();
    let before = served.rows("a");
    served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1; INSERT INTO dbo.a VALUES (5, 50, 5, 0);");
    let lagging = served.run().succeeded();
    assert!(lagging.stderr.contains("nothing new"), "{}", lagging.stderr);
    assert_eq!(served.rows("a"), before);
    served.runtime.block_on(served.capture().step());
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn an_idle_entry_is_no_change_and_hides_none() {
    let served = Served::new();
    let _ = served.run().succeeded();
    served.goes_on();
    let idle = served.run().succeeded();
    assert!(idle.stderr.contains("nothing new"), "{}", idle.stderr);
    served.execute("DELETE FROM dbo.a WHERE id = 3;");
    served.goes_on();
    let changed = served.run().succeeded();
    assert!(changed.stderr.contains("1 deleted"), "{}", changed.stderr);
    served.assert_true();
}

#[test]
fn a_restored_database_stops_the_flow() {
    let served = Served::in_hand();
    let kept = served.capture().keep();
    served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1;");
    let _ = served.run().succeeded();
    let before = served.rows("a");
    served.runtime.block_on(served.capture().restore(&kept));
    let replaced = "history of database 'app_db' was replaced";
    let older = "the newest commit of the source is older";
    let _ = served.run().failed(5, &[replaced, older]);
    // The same LSN again, of another transaction.
    served.execute("UPDATE dbo.a SET n = 51 WHERE id = 1;");
    let other = "the source has another transaction at that LSN";
    let _ = served.run().failed(5, &[replaced, other]);
    assert_eq!(served.rows("a"), before);
}

#[test]
fn changes_that_were_cleaned_up_unread_stop_the_flow_at_once() {
    let served = Served::new();
    let _ = served.run().succeeded();
    let before = served.rows("a");
    for n in 0..3 {
        served.execute(&format!("UPDATE dbo.a SET n = {n} + 100 WHERE id = 1;"));
    }
    served.lose_changes();
    let reasons = [
        "changes of dbo.a after",
        "are no longer on the server: capture instance 'dbo_a' now begins at",
    ];
    let _ = served.run().failed(5, &reasons);
    assert_eq!(served.rows("a"), before);
}

#[test]
fn a_quiet_table_is_handed_to_its_second_capture_instance_before_the_first_is_dropped() {
    let served = Served::new();
    let _ = served.run().succeeded();
    served.execute(
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL, \
         @capture_instance = N'second';",
    );
    served.goes_on();
    let handed = served.run().succeeded();
    assert!(handed.stderr.contains("nothing new"), "{}", handed.stderr);
    served.execute(
        "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'a', \
         @capture_instance = N'dbo_a';",
    );
    let alone = served.run().succeeded();
    assert!(alone.stderr.contains("nothing new"), "{}", alone.stderr);
    served.execute("DELETE FROM dbo.a WHERE id = 3;");
    let changed = served.run().succeeded();
    assert!(changed.stderr.contains("1 deleted"), "{}", changed.stderr);
    served.assert_true();
}

#[test]
fn keys_that_take_each_others_place_are_copied() {
    let served = Served::new();
    let _ = served.run().succeeded();
    served.execute("UPDATE dbo.a SET id = id + 1; UPDATE dbo.a SET id = 7 - id, n = n + 10;");
    let _ = served.run().succeeded();
    served.assert_true();
}

#[test]
fn a_server_unlike_todays_is_copied_as_truly() {
    let plain = CaptureBehaviour::default;
    let servers = [
        CaptureBehaviour {
            command_id: CommandId::Absent,
            ..plain()
        },
        CaptureBehaviour {
            command_id: CommandId::Unindexed,
            interleaved: true,
            lsn_gaps: true,
            ..plain()
        },
        CaptureBehaviour {
            commit_times: CommitTimes::Equal { commits: 5 },
            trace_flag_8207: true,
            ..plain()
        },
        CaptureBehaviour {
            commit_times: CommitTimes::Back {
                commits: 3,
                by: Duration::from_secs(3600),
            },
            deletes_lose_values: true,
            start_lsn_by_scan: true,
            ..plain()
        },
    ];
    for (capture, interjections) in servers.into_iter().zip([true, false].into_iter().cycle()) {
        let served = Served::behaving(Behaviour {
            seed: Some(11),
            capture: capture.clone(),
            interjections,
            ..Behaviour::default()
        });
        let first = served.run().succeeded();
        let warnings = [
            (CommandId::Absent, "has no __$command_id"),
            (
                CommandId::Unindexed,
                "lacks __$command_id, so that the server sorts every window",
            ),
        ];
        for (order, warning) in warnings {
            let said = first.stderr.matches(warning).count();
            assert_eq!(
                said,
                usize::from(capture.command_id == order),
                "{}",
                first.stderr
            );
        }
        served.assert_true();
        served.execute(
            "UPDATE dbo.a SET code = code + 1; UPDATE dbo.a SET id = id + 100 WHERE id = 2;
             DELETE FROM dbo.a WHERE id = 3; INSERT INTO dbo.a VALUES (3, 33, NULL, 1);
             BEGIN TRAN UPDATE dbo.a SET n = 9 WHERE id = 1 UPDATE dbo.a SET n = 8 WHERE id = 1
             INSERT INTO dbo.a VALUES (7, 70, 7, 0) DELETE FROM dbo.a WHERE id = 7
             DELETE FROM dbo.a WHERE id = 4 INSERT INTO dbo.a VALUES (4, 44, 4, 0) COMMIT;",
        );
        let _ = served.run().succeeded();
        assert_eq!(served.rows("a"), served.rows("db.dbo.a"), "{capture:?}");
        served.execute("UPDATE dbo.a SET on_sale = 1 - on_sale; DELETE FROM dbo.a WHERE id = 102;");
        let _ = served.run().succeeded();
        assert_eq!(served.rows("a"), served.rows("db.dbo.a"), "{capture:?}");
    }
}

#[test]
fn a_scan_that_keeps_readers_waiting_delays_a_run() {
    let served = Served::behaving(Behaviour {
        writers_block_readers: true,
        ..Behaviour::default()
    });
    let _ = served.run().succeeded();
    served.capture().hold();
    served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1; DELETE FROM dbo.a WHERE id = 2;");
    let scan = served.capture().fix_log_end();
    let mut command = served.command(&["run", "pipelines/p.sql"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let waiting = command.spawn().unwrap();
    served.runtime.block_on(served.capture().reader_waits());
    served.capture().time_out_readers();
    served.runtime.block_on(scan.write());
    let ended = Ended::from(waiting.wait_with_output().unwrap()).succeeded();
    let again = ["1222", "trying again", "1 updated", "1 deleted"];
    for words in again {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    served.assert_true();
}

#[test]
fn a_server_that_captures_on_a_tick_is_copied() {
    let served = Served::behaving(Behaviour {
        capture_job: CaptureJob::Every(Duration::from_millis(5)),
        ..Behaviour::default()
    });
    let _ = served.run().succeeded();
    served.execute("DELETE FROM dbo.a WHERE id = 1;");
    served
        .runtime
        .block_on(served.capture().caught_up())
        .unwrap();
    let _ = served.run().succeeded();
    served.assert_true();
}
