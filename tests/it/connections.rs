//! The ways to a server, and what a run outlasts on them.

use cdcql::simulator::control::{ClientSession, Encryption, Fault, LoginFault};
use cdcql::simulator::protocol::ServerError;
use cdcql::simulator::{Behaviour, Certificate, SimulatorOptions, Tls};

use crate::follow::Follower;
use crate::served::Served;
use crate::support::Ended;

/// What reads the rows of the table, and what reads its changes.
const ROWS: &str = "FROM [dbo].[a]";
const CHANGES: &str = "SELECT c.[__$start_lsn], c.[__$operation]";

fn error_of(number: u32, message: &str) -> ServerError {
    ServerError {
        number,
        severity: 16,
        state: 1,
        line: 1,
        message: message.to_owned(),
    }
}

fn served() -> Served {
    Served::in_hand()
}

fn offering(tls: Tls, certificate: Certificate) -> Served {
    Served::with(SimulatorOptions {
        tls,
        certificate,
        behaviour: Behaviour {
            seed: Some(11),
            ..Behaviour::default()
        },
        ..SimulatorOptions::default()
    })
}

/// The program with these arguments, and these options of its connection.
fn start(served: &Served, options: &str, arguments: &[&str]) -> Follower {
    let mut command = served.command(arguments);
    command.env("DB_URL", served.url(options));
    Follower::spawn(command)
}

fn run(served: &Served, options: &str) -> Follower {
    start(served, options, &["run", "pipelines/p.sql"])
}

/// Runs the pipeline, and answers with what the server knows of its client while that reads the table.
fn session_of_a_run(served: &Served, options: &str) -> (Encryption, bool) {
    let control = served.simulator().control();
    let mut reading = control.on_next(ROWS, Fault::Stall);
    let mut running = run(served, options);
    running.reach(&served.runtime, &mut reading);
    let session = control.sessions().borrow()[0].clone();
    reading.release();
    running.ended().succeeded();
    (session.encryption, session.read_only)
}

#[test]
fn each_kind_of_encryption_reaches_the_server_as_it_is_called() {
    for (tls, options, encryption) in [
        (
            Tls::Strict,
            "encrypt=strict&ca_file=ca.pem",
            Encryption::Strict,
        ),
        (
            Tls::Optional,
            "encrypt=strict&ca_file=ca.pem",
            Encryption::Strict,
        ),
        (Tls::Required, "ca_file=ca.pem", Encryption::Everything),
        (
            Tls::Optional,
            "encrypt=required&ca_file=ca.pem",
            Encryption::Everything,
        ),
        (
            Tls::Optional,
            "encrypt=login&ca_file=ca.pem",
            Encryption::LoginOnly,
        ),
        (Tls::Optional, "encrypt=off", Encryption::Nothing),
    ] {
        let served = offering(tls, Certificate::SelfSigned);
        served.trust("ca.pem");
        let session = session_of_a_run(&served, options);
        assert_eq!(session, (encryption, false), "{options}");
        assert_eq!(served.commits(), 1);
    }
}

#[test]
fn a_certificate_is_checked_by_an_authority_of_ones_own() {
    for (tls, encrypt) in [(Tls::Strict, "strict"), (Tls::Required, "required")] {
        let served = offering(tls, Certificate::ByAuthority);
        served.trust("ca.pem");
        let other = offering(Tls::Required, Certificate::ByAuthority);
        other.trust("ca.pem");
        served
            .project
            .write("other.pem", &other.project.read("ca.pem"));
        let trusting = |ca| {
            let options = format!("encrypt={encrypt}&ca_file={ca}");
            run(&served, &options).ended()
        };
        let refused = trusting("other.pem").failed(1, &["no encrypted connection", "ca_file"]);
        assert!(
            !refused.stderr.contains("trying again"),
            "{}",
            refused.stderr
        );
        trusting("ca.pem").succeeded();
        let without = run(&served, &format!("encrypt={encrypt}")).ended();
        without.failed(1, &["no encrypted connection", "certificate"]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_certificate_of_another_host_is_refused() {
    let served = Served::with(SimulatorOptions {
        listen: ([0, 0, 0, 0], 0).into(),
        ..SimulatorOptions::default()
    });
    served.trust("ca.pem");
    for (host, code) in [("127.0.0.2", 1), ("localhost", 0)] {
        let url = served.url("ca_file=ca.pem").replace("0.0.0.0", host);
        let mut command = served.command(&["run", "pipelines/p.sql"]);
        let ended = Ended::from(command.env("DB_URL", url).output().unwrap());
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    }
}

#[test]
fn strict_encryption_that_one_side_lacks_is_refused_with_the_remedy() {
    let plain = offering(Tls::Off, Certificate::SelfSigned);
    let ended = run(&plain, "encrypt=strict").ended();
    ended.failed(1, &["TDS 8.0", "encrypt = required"]);
    let strict = offering(Tls::Strict, Certificate::SelfSigned);
    let ended = run(&strict, "trust_server_certificate=true").ended();
    ended.failed(1, &["handshake"]);
}

#[test]
fn readers_are_sent_to_the_replica_and_writers_stay() {
    let server = || {
        Served::with(SimulatorOptions {
            password: Some("Pa55word!".to_owned()),
            ..SimulatorOptions::default()
        })
    };
    let (primary, replica) = (server(), server());
    let address = replica.simulator().address();
    let control = primary.simulator().control();
    control.set_logins(Some(LoginFault::RedirectReaders {
        host: address.ip().to_string(),
        port: address.port(),
    }));
    let replicas = replica.simulator().control();
    let mut reading = replicas.on_next(ROWS, Fault::Stall);
    let options = "trust_server_certificate=true&application_intent=read_only";
    let mut running = run(&primary, options);
    running.reach(&replica.runtime, &mut reading);
    assert!(control.sessions().borrow().is_empty());
    let all_read = |session: &ClientSession| session.read_only;
    assert!(replicas.sessions().borrow().iter().all(all_read));
    reading.release();
    let ended = running.ended().succeeded();
    assert!(ended.stderr.contains("4 inserted"), "{}", ended.stderr);
    // The same rows, and another table.
    let pipeline = primary.project.read("pipelines/p.sql");
    let other = pipeline.replace("lake/a", "lake/other");
    primary.project.write("pipelines/p.sql", &other);
    let session = session_of_a_run(&primary, "trust_server_certificate=true");
    assert_eq!(session, (Encryption::Everything, false));
}

#[test]
fn redirections_in_a_circle_end() {
    let served = served();
    let address = served.simulator().address();
    let control = served.simulator().control();
    control.set_logins(Some(LoginFault::Redirect {
        host: address.ip().to_string(),
        port: address.port(),
    }));
    let ended = served.run().failed(1, &["redirects in circles"]);
    assert!(!ended.stderr.contains("trying again"), "{}", ended.stderr);
}

#[test]
fn a_redirection_that_anybody_may_have_forged_is_not_followed() {
    let server = || {
        Served::with(SimulatorOptions {
            password: Some("Pa55word!".to_owned()),
            tls: Tls::Optional,
            ..SimulatorOptions::default()
        })
    };
    let (first, other) = (server(), server());
    let address = other.simulator().address();
    first
        .simulator()
        .control()
        .set_logins(Some(LoginFault::Redirect {
            host: address.ip().to_string(),
            port: address.port(),
        }));
    let both = format!(
        "{}{}",
        first.simulator().certificate_pem(),
        other.simulator().certificate_pem()
    );
    first.project.write("both.pem", &both);
    let ended = run(&first, "encrypt=login&ca_file=both.pem").ended();
    let ended = ended.failed(1, &["redirects to another server", "encrypt = required"]);
    assert!(!ended.stderr.contains("trying again"), "{}", ended.stderr);
    for options in [
        "encrypt=required&ca_file=both.pem",
        "encrypt=login&trust_server_certificate=true",
    ] {
        run(&first, options).ended().succeeded();
    }
}

/// A line of `/proc/net/tcp` has the local address, the remote one, the state (01: established), the queues, and the
/// timer that runs (02: of keep-alive) with the hundredths of a second that it has left.
#[cfg(target_os = "linux")]
#[test]
fn the_operating_system_asks_after_thirty_seconds_whether_the_server_is_there() {
    let served = served();
    let mut reading = served.simulator().control().on_next(ROWS, Fault::Stall);
    let mut running = run(&served, "trust_server_certificate=true");
    running.reach(&served.runtime, &mut reading);
    let remote = format!(":{:04X}", served.simulator().address().port());
    let timers = || -> Vec<(String, u32)> {
        let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let connections = connections.lines().map(str::split_whitespace);
        connections
            .map(Iterator::collect::<Vec<_>>)
            .filter(|parts| parts.len() > 5 && parts[2].ends_with(&remote) && parts[3] == "01")
            .map(|parts| parts[5].split_once(':').unwrap())
            .map(|(timer, left)| (timer.to_owned(), u32::from_str_radix(left, 16).unwrap()))
            .collect()
    };
    let mut running_timers = timers();
    // What was sent last may not be acknowledged yet (01).
    while running_timers.iter().any(|(timer, _)| timer == "01") {
        running_timers = timers();
    }
    assert!(!running_timers.is_empty());
    for (timer, left) in running_timers {
        assert!(timer == "02" && left <= 3000, "{timer} {left}");
    }
    reading.release();
    running.ended().succeeded();
}

#[test]
fn a_killed_session_a_deadlock_and_a_silent_server_are_outlasted() {
    let served = served();
    served.run().succeeded();
    let control = served.simulator().control();
    let trust = "trust_server_certificate=true&command_timeout=1";
    for (number, kind) in ["killed", "deadlock", "silent", "cut"]
        .into_iter()
        .enumerate()
    {
        served.execute("UPDATE dbo.a SET n = n + 1 WHERE id = 1;");
        let fault = match kind {
            "killed" | "silent" => Fault::Stall,
            "deadlock" => Fault::DeadlockVictim,
            _ => Fault::CutInRow { after: 1 },
        };
        let mut reading = control.on_next(CHANGES, fault);
        let mut running = run(&served, trust);
        running.reach(&served.runtime, &mut reading);
        if kind == "killed" {
            control.kill_all();
        }
        let ended = running.ended().succeeded();
        assert!(
            ended.stderr.contains("trying again"),
            "{kind}: {}",
            ended.stderr
        );
        assert!(
            ended.stderr.contains("1 updated"),
            "{kind}: {}",
            ended.stderr
        );
        assert_eq!(served.commits(), number + 2, "{kind}");
    }
    served.assert_true();
}

#[test]
fn logins_that_are_refused_during_a_failover_are_tried_again() {
    let served = served();
    let control = served.simulator().control();
    // At the first connection, by an error that no wrong name gives.
    control.set_logins(Some(LoginFault::database_unavailable("app_db")));
    let mut running = run(&served, "trust_server_certificate=true");
    running.wait_for(&["trying again"]);
    control.set_logins(None);
    running.ended().succeeded();
    // In the midst, by one that a wrong name may give, from a database that was open a moment ago.
    served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1;");
    let mut reading = control.on_next(CHANGES, Fault::Stall);
    let mut running = run(&served, "trust_server_certificate=true");
    running.reach(&served.runtime, &mut reading);
    let error = error_of(
        4060,
        "Cannot open database \"app_db\" requested by the login.",
    );
    control.set_logins(Some(LoginFault::Refuse(error)));
    control.kill_all();
    running.wait_for(&["trying again"]);
    running.wait_for(&["4060"]);
    control.set_logins(None);
    let ended = running.ended().succeeded();
    assert!(ended.stderr.contains("1 updated"), "{}", ended.stderr);
    served.assert_true();
}

#[test]
fn what_does_not_pass_in_its_time_ends_with_its_causes() {
    let served = served();
    served.run().succeeded();
    let control = served.simulator().control();
    served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1;");
    let mut reading = control.on_next(CHANGES, Fault::Stall);
    let options = "trust_server_certificate=true&retry_timeout=1";
    let mut running = run(&served, options);
    running.reach(&served.runtime, &mut reading);
    control.set_logins(Some(LoginFault::Close));
    control.kill_all();
    let ended = running.ended();
    let ended = ended.failed(
        1,
        &["trying again", "handshake", "although it did a moment ago"],
    );
    assert!(
        ended.stderr.matches("trying again").count() > 1,
        "{}",
        ended.stderr
    );
    control.set_logins(Some(LoginFault::database_unavailable("app_db")));
    let ended = run(&served, options).ended();
    ended.failed(1, &["trying again", "40613", "not currently available"]);
    assert_eq!(served.commits(), 1);
}

#[test]
fn errors_of_permission_login_and_syntax_are_not_tried_again() {
    let served = served();
    let control = served.simulator().control();
    for number in [229, 102, 208] {
        let error = error_of(number, "It is so.");
        let _fault = control.on_next(ROWS, Fault::Error(error));
        let ended = served.run();
        let ended = ended.failed(1, &[&number.to_string(), "It is so."]);
        assert!(!ended.stderr.contains("trying again"), "{}", ended.stderr);
    }
    for number in [18456, 4060] {
        let error = error_of(number, "It is so.");
        control.set_logins(Some(LoginFault::Refuse(error)));
        let ended = served.run();
        let ended = ended.failed(1, &[&number.to_string(), "It is so."]);
        assert!(!ended.stderr.contains("trying again"), "{}", ended.stderr);
    }
}

#[test]
fn an_interrupted_command_cancels_its_query_by_attention_and_commits_nothing() {
    let served = served();
    served.run().succeeded();
    served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1;");
    let control = served.simulator().control();
    let once = ["run", "pipelines/p.sql"];
    let follow = ["run", "pipelines/p.sql", "--follow"];
    let query = "SELECT * FROM db.dbo.a CHANGES";
    let query = ["query", "--pipeline", "pipelines/p.sql", "-c", query];
    let mut count = 0;
    for arguments in [&once[..], &follow, &query] {
        for encrypt in ["required", "off"] {
            for signal in ["-INT", "-TERM"] {
                let mut reading = control.on_next(CHANGES, Fault::Stall);
                let options = format!("trust_server_certificate=true&encrypt={encrypt}");
                let mut running = start(&served, &options, arguments);
                running.reach(&served.runtime, &mut reading);
                running.end(signal).failed(130, &["interrupted"]);
                count += 1;
                assert_eq!(
                    *control.cancelled().borrow(),
                    count,
                    "{arguments:?} {encrypt}"
                );
                let mut sessions = control.sessions();
                let left = sessions.wait_for(Vec::is_empty);
                served.runtime.block_on(left).unwrap();
                drop(reading);
            }
        }
    }
    assert_eq!(served.commits(), 1);
    let ended = served.run().succeeded();
    assert!(ended.stderr.contains("1 updated"), "{}", ended.stderr);
    served.assert_true();
}

#[test]
fn an_access_token_logs_in_and_is_never_shown() {
    let served = served();
    let pipeline = served.project.read("pipelines/p.sql");
    let host = served.simulator().address();
    let options = format!(
        "host '{}', port '{}', database 'app_db', access_token 'eyJ0.hush', trust_server_certificate 'true'",
        host.ip(),
        host.port()
    );
    let pipeline = pipeline.replace("url env('DB_URL')", &options);
    assert!(pipeline.contains("hush"));
    served.project.write("pipelines/p.sql", &pipeline);
    // The stand-in knows no tokens, so that it refuses the login.
    let ended = served.run().failed(1, &["18456", "renew the access token"]);
    assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
    let broken = pipeline.replace("access_token", "acces_token");
    served.project.write("pipelines/p.sql", &broken);
    let ended = served.run().failed(3, &["acces_token", "access_token"]);
    assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
}
