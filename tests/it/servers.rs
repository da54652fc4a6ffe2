//! The tutorial on servers of other kinds, as a login that may read, see how capture does, and nothing else.

use std::net::TcpStream;

use crate::simulate::Server;
use crate::story::{AFTER_CYBORG, AFTER_FIRST_RUN, AFTER_LEX, CYBORG, LEX};
use crate::support::Project;

const LOGIN: &str = "reader:Read3r!";

/// The login, in a language of its own.
fn reader(language: &str) -> String {
    format!(
        "CREATE LOGIN reader WITH PASSWORD = N'Read3r!', DEFAULT_LANGUAGE = {language}
         CREATE USER reader FOR LOGIN reader
         GRANT SELECT ON SCHEMA::cdc TO reader
         GRANT SELECT ON dbo.customers TO reader
         GRANT VIEW DATABASE STATE TO reader"
    )
}

/// The three runs of the tutorial against a server that is started with these arguments.
fn tell(language: &str, arguments: &[&str]) {
    let project = Project::new();
    project.append_to_database(&reader(language));
    let run = || {
        let server = Server::start_script(&project, "pipelines/app_db.sql", "Pa55word!", arguments);
        let trust = "?trust_server_certificate=true";
        server.run(&project, LOGIN, "app_db", trust).succeeded()
    };
    let first = run();
    assert!(first.stderr.contains("3 inserted"), "{}", first.stderr);
    assert_eq!(project.customers(), AFTER_FIRST_RUN);
    for (statements, counts, rows) in [
        (LEX, "1 inserted, 1 updated, 0 deleted", AFTER_LEX),
        (CYBORG, "0 inserted, 1 updated, 1 deleted", AFTER_CYBORG),
    ] {
        project.append_to_database(statements);
        let next = run();
        assert!(next.stderr.contains(counts), "{}", next.stderr);
        assert_eq!(project.customers(), rows);
    }
    assert!(run().stderr.contains("nothing new"));
}

#[test]
fn a_server_that_tells_cases_apart_has_the_same_rows() {
    for collation in ["Latin1_General_CS_AS", "Latin1_General_BIN2"] {
        tell("us_english", &["--collation", collation]);
    }
}

/// Runs that are sent to a replica that is behind, to the database itself, and to the replica again; the first copy is
/// one of the database itself, since nothing moves the clock that one from the replica waits for.
fn tell_replicas(lag: &str) {
    let project = Project::new();
    project.append_to_database(&reader("us_english"));
    for (statements, rows) in [
        ("", AFTER_FIRST_RUN),
        (LEX, AFTER_LEX),
        (CYBORG, AFTER_CYBORG),
    ] {
        project.append_to_database(statements);
        let script = "pipelines/app_db.sql";
        let server = Server::start_script(&project, script, "Pa55word!", &["--replica-lag", lag]);
        let trust = "?trust_server_certificate=true";
        let run = || server.run(&project, LOGIN, "app_db", trust);
        // Every second connection is the replica's.
        if !statements.is_empty() {
            drop(TcpStream::connect(&server.address).unwrap());
            let behind = run();
            assert!(matches!(behind.code, Some(0 | 1)), "lag {lag}: {behind:?}");
        }
        run().succeeded();
        assert_eq!(project.customers(), rows, "lag {lag}");
        let again = run();
        assert!(matches!(again.code, Some(0 | 1)), "lag {lag}: {again:?}");
        assert_eq!(project.customers(), rows, "lag {lag}");
    }
}

#[test]
fn replicas_that_are_behind_lose_and_repeat_nothing() {
    for lag in ["4", "16"] {
        tell_replicas(lag);
    }
}

#[test]
fn a_collation_that_there_is_not_is_refused() {
    let project = Project::new();
    let arguments = [
        "simulate",
        "pipelines/app_db.sql",
        "--collation",
        "Klingon_CS",
    ];
    project
        .cdcql(&arguments)
        .failed(2, &["Klingon_CS", "no such collation"]);
}

#[test]
fn a_german_login_copies_the_same_rows() {
    tell("Deutsch", &[]);
}
