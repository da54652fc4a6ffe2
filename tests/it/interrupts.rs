//! Signals to a command whose server says nothing any more, not even that a statement has been cancelled: the command
//! ends all the same, and the target is as it was.

use cdcql::simulator::control::Fault;

use crate::follow::Follower;
use crate::served::Served;

/// What reads the rows of the table, what reads its changes, and what looks for news.
const ROWS: &str = "FROM [dbo].[a]";
const CHANGES: &str = "SELECT c.[__$start_lsn], c.[__$operation]";
const LOOK: &str = "AS is_newest";

const ONCE: [&str; 2] = ["run", "pipelines/p.sql"];
const FOLLOW: [&str; 3] = ["run", "pipelines/p.sql", "--follow"];

/// A command that would wait for an answer of the server for a day.
fn start(served: &Served, arguments: &[&str]) -> Follower {
    let options = "trust_server_certificate=true&command_timeout=86400&retry_timeout=86400";
    let mut command = served.command(arguments);
    command.env("DB_URL", served.url(options));
    Follower::spawn(command)
}

/// Interrupts a command at a statement that is answered no earlier than the command has ended.
fn interrupt(served: &Served, arguments: &[&str], statement: &str) {
    for signal in ["-INT", "-TERM"] {
        let control = served.simulator().control();
        let mut silent = control.on_next(statement, Fault::LateAttention);
        let mut running = start(served, arguments);
        running.reach(&served.runtime, &mut silent);
        running.end(signal).failed(130, &["interrupted"]);
        drop(silent);
    }
}

#[test]
fn a_first_copy_ends_at_a_signal_although_the_server_never_answers() {
    let served = Served::in_hand();
    for arguments in [&ONCE[..], &FOLLOW] {
        interrupt(&served, arguments, ROWS);
        let lake = served.project.path().join("pipelines/lake/a/_delta_log");
        let left = std::fs::read_dir(lake).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{arguments:?}");
    }
    served.run().succeeded();
    served.assert_true();
}

#[test]
fn a_run_ends_at_a_signal_although_the_server_never_answers() {
    let served = Served::in_hand();
    served.run().succeeded();
    let copied = served.rows("a");
    served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1;");
    for arguments in [&ONCE[..], &FOLLOW] {
        for statement in [CHANGES, LOOK] {
            interrupt(&served, arguments, statement);
            assert_eq!(served.commits(), 1, "{arguments:?} {statement}");
            assert_eq!(served.rows("a"), copied, "{arguments:?} {statement}");
        }
    }
    served.run().succeeded();
    served.assert_true();
}
