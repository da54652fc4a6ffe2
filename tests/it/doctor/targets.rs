//! Targets, servers that do not answer, and the forms of the output.

use std::fs;
use std::net::TcpListener;

use super::{FILE, Patient};

#[test]
fn a_location_that_cannot_be_written_is_told() {
    let patient = Patient::healthy();
    let file = patient.served.project.read(FILE);
    // A file is no folder, not even for root.
    let below_a_file = file.replace("'lake/a'", "'p.sql/lake'");
    patient.served.project.write(FILE, &below_a_file);
    let look = patient.look();
    assert_eq!(look.code, Some(1), "{look:#?}");
    assert_eq!(look.state("location"), "failing");
    assert!(look.seen("location").contains("p.sql/lake"), "{look:#?}");
    assert_eq!(look.state("change table"), "ok");
    patient.served.project.write(FILE, &file);
    patient.look().is_well();
}

#[test]
fn a_target_with_features_that_are_not_known_is_told() {
    let patient = Patient::healthy();
    let _ = patient.run().succeeded();
    let log = patient
        .served
        .project
        .path()
        .join("pipelines/lake/a/_delta_log");
    let commit = log.join("00000000000000000001.json");
    let protocol = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors","teleportation"]}}"#;
    fs::write(commit, format!("{protocol}\n")).unwrap();
    let look = patient.look();
    assert_ne!(look.code, Some(0), "{look:#?}");
    assert_eq!(look.state("table features"), "failing");
    assert!(
        look.seen("table features").contains("teleportation"),
        "{look:#?}"
    );
}

#[test]
fn a_server_that_does_not_answer_holds_no_look_at_the_rest() {
    let patient = Patient::healthy();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let file = patient.served.project.read(FILE);
    let other = file
        .replace(
            "env('DB_URL')",
            &format!("'sqlserver://u:p@127.0.0.1:{port}/d?retry_timeout=0'"),
        )
        .replace("CONNECTION db", "CONNECTION other")
        .replace("'lake/a'", "'lake/b'")
        .replace("EXISTS a", "EXISTS b")
        .replace("INTO a", "INTO b")
        .replace("db.dbo.a", "other.dbo.a");
    patient
        .served
        .project
        .write(FILE, &format!("{other}{file}"));
    let look = patient.look();
    assert_eq!(look.code, Some(1), "{look:#?}");
    assert_eq!(look.checks(&["failing"]), ["connection"]);
    assert_eq!(look.finding("connection")["connection"], "other");
    assert_eq!(look.finding("change table")["connection"], "db");
    let targets = look.findings.iter();
    let targets = targets.filter(|finding| finding["check"] == "location");
    assert_eq!(targets.count(), 2);
}

#[test]
fn lines_have_the_remedy_below_and_rows_in_a_column() {
    let patient = Patient::healthy();
    patient
        .served
        .execute("ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION OFF;");
    let lines = patient.cdcql(&["doctor", FILE]).succeeded().stdout;
    let first: Vec<_> = lines.lines().take(2).collect();
    assert_eq!(
        first,
        [
            "warning  db: snapshot isolation: not allowed: a first copy reads under READ COMMITTED, and may wait for writers",
            "             ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON;",
        ]
    );
    assert!(lines.contains("\nok       db.dbo.a: change table: cdc.dbo_a_CT can be read\n"));
    let quiet = patient.cdcql(&["doctor", FILE, "-q"]).succeeded().stdout;
    assert!(!quiet.contains("ok  ") && quiet.starts_with(first[0]));
    let rows = patient
        .cdcql(&["doctor", FILE, "--format", "csv"])
        .succeeded()
        .stdout;
    assert_eq!(
        rows.lines().next(),
        Some("connection,table,check,state,seen,remedy")
    );
    assert!(
        rows.contains("\ndb,dbo.a,change table,ok,cdc.dbo_a_CT can be read,\n"),
        "{rows}"
    );
}

#[test]
fn what_was_given_as_a_secret_is_not_printed() {
    let patient = Patient::healthy();
    let address = patient.served.simulator().address();
    let file = patient.served.project.read(FILE).replace(
        "(url env('DB_URL'))",
        &format!(
            "(host '{}', port '{}', database secret('env', 'DB'), user secret('env', 'LOGIN'), password secret('env', 'PASSWORD'), \
             trust_server_certificate 'true')",
            address.ip(),
            address.port()
        ),
    );
    patient.served.project.write(FILE, &file);
    patient
        .served
        .execute("REVOKE SELECT ON OBJECT::cdc.dbo_a_CT FROM [read]]er];");
    let mut command = patient.served.command(&["doctor", FILE]);
    command
        .env("DB", "app_db")
        .env("LOGIN", "read]er")
        .env("PASSWORD", "Read3r");
    let ended = crate::support::Ended::from(command.output().unwrap());
    let told = format!("{}{}", ended.stdout, ended.stderr);
    assert!(
        told.contains("GRANT SELECT ON OBJECT::[cdc].[dbo_a_CT] TO"),
        "{told}"
    );
    for secret in ["app_db", "read]er", "read]]er", "Read3r"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}
