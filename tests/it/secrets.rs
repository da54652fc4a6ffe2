//! A secret is never printed, logged or stored.

use std::fs;
use std::path::Path;

use crate::simulate::Server;
use crate::support::{Ended, Project};

const SECRET: &str = "Hush-7f3a91!";

/// Everything, and the driver's own log by each of its names.
const LOG_ALL: &str = "trace,tiberius=trace,tiberius::tds=trace,tiberius::tds::stream=trace,\
                       tiberius::tds::stream::token=trace,tiberius::client=trace,tiberius::client::connection=trace";

fn files_with(secret: &str, path: &Path, found: &mut Vec<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            files_with(secret, &entry.unwrap().path(), found);
        }
    } else if String::from_utf8_lossy(&fs::read(path).unwrap()).contains(secret) {
        found.push(path.display().to_string());
    }
}

/// Runs with everything logged, once well and once with a broken file, in each way to give a secret.
#[test]
fn a_password_appears_in_no_output_log_or_file() {
    let project = Project::new();
    let server = Server::start(&project, SECRET);
    let (host, port) = server.address.split_once(':').unwrap();
    let connection = |password: &str| {
        format!(
            "CREATE CONNECTION app_db TYPE sqlserver OPTIONS (host '{host}', port '{port}', database 'app_db', \
             user 'sa', password {password}, trust_server_certificate 'true');\n"
        )
    };
    let original = project.read("pipelines/customers.sql");
    let rest = &original[original.find("CREATE TABLE").unwrap()..];
    project.write("pipelines/password.txt", &format!("{SECRET}\n"));
    let sources = [
        "secret('env', 'TEST_SECRET')",
        "secret('file', 'password.txt')",
        "env('TEST_SECRET')",
    ];
    for (number, source) in sources.iter().enumerate() {
        let file = format!("pipelines/secret{number}.sql");
        project.write(
            &file,
            &(connection(source) + &rest.replace("lake/customers", &format!("lake/{number}"))),
        );
        let ended = run(&project, &file);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_quiet(&ended);
        project.write(
            &file,
            &(connection(source) + &rest.replace("customer_id", "nonsense")),
        );
        let broken = run(&project, &file);
        assert_eq!(broken.code, Some(3), "{}", broken.stderr);
        assert_quiet(&broken);
    }
    fs::remove_file(project.path().join("pipelines/password.txt")).unwrap();
    let mut found = Vec::new();
    files_with(SECRET, project.path(), &mut found);
    assert_eq!(found, Vec::<String>::new());
}

/// The server's own words repeat a user's and a database's name; an error shows where each is kept instead.
#[test]
fn a_host_a_user_or_a_database_that_is_a_secret_is_not_shown() {
    let project = Project::new();
    let server = Server::start(&project, SECRET);
    let (host, port) = server.address.split_once(':').unwrap();
    project.write(
        "pipelines/hidden.sql",
        "CREATE CONNECTION app_db TYPE sqlserver OPTIONS (host secret('env', 'H'), port secret('env', 'P'), \
         database secret('env', 'D'), user secret('env', 'U'), password secret('env', 'W'), \
         trust_server_certificate 'true');",
    );
    let hidden = ["hidden-host.invalid", "64999", "hidden_db", "hidden_user"];
    for (host, port, database, user, password, named) in [
        (hidden[0], port, "app_db", "sa", SECRET, "H"),
        (host, hidden[1], "app_db", "sa", SECRET, "P"),
        (host, port, hidden[2], "sa", SECRET, "D"),
        (host, port, "app_db", hidden[3], SECRET, "U"),
    ] {
        let mut command = project.command();
        command
            .args(["-vvv", "run", "pipelines/hidden.sql"])
            .env("RUST_LOG", LOG_ALL)
            .envs([
                ("H", host),
                ("P", port),
                ("D", database),
                ("U", user),
                ("W", password),
            ]);
        let ended = Ended::from(command.output().unwrap());
        let ended = ended.failed(1, &[&format!("the value of secret('env', '{named}')")]);
        for secret in hidden {
            assert!(!ended.stderr.contains(secret), "{secret}: {}", ended.stderr);
        }
        assert_quiet(&ended);
    }
}

/// The server knows the database's name, and errors about its tables would tell it.
#[test]
fn a_database_that_is_a_secret_is_not_shown_once_it_is_open_either() {
    let project = Project::new();
    project.write(
        "hidden.sql",
        "CREATE TABLE dbo.uncaptured (id INT NOT NULL PRIMARY KEY);\n",
    );
    let server = Server::start_script(&project, "hidden.sql", SECRET, &[]);
    let address = &server.address;
    let (host, port) = address.split_once(':').unwrap();
    let parts = format!(
        "host '{host}', port '{port}', database secret('env', 'D'), user 'sa', password secret('env', 'W'), \
         trust_server_certificate 'true'"
    );
    for options in [parts.as_str(), "url secret('env', 'URL')"] {
        for (table, message) in [
            ("absent", "has no table"),
            ("uncaptured", "sp_cdc_enable_db"),
        ] {
            project.write(
                "pipelines/p.sql",
                &format!(
                    "CREATE CONNECTION c TYPE sqlserver OPTIONS ({options});
CREATE TABLE IF NOT EXISTS t USING DELTA LOCATION 'lake/t';
MERGE INTO t USING STREAM c.dbo.{table} CHANGES AS change ON t.id = change.id
WHEN NOT MATCHED THEN INSERT *;"
                ),
            );
            let mut command = project.command();
            command
                .args(["-vvv", "run", "pipelines/p.sql"])
                .env("RUST_LOG", LOG_ALL)
                .envs([("D", "hidden"), ("W", SECRET)])
                .env(
                    "URL",
                    format!(
                        "sqlserver://sa:{SECRET}@{address}/hidden?trust_server_certificate=true"
                    ),
                );
            let ended = Ended::from(command.output().unwrap());
            let ended = ended.failed(3, &["database the value of secret('env', '", message]);
            assert!(!ended.stderr.contains("hidden"), "{}", ended.stderr);
            assert_quiet(&ended);
        }
    }
}

fn run(project: &Project, file: &str) -> Ended {
    let mut command = project.command();
    command
        .args(["-vvv", "run", file])
        .env("TEST_SECRET", SECRET)
        .env("RUST_LOG", LOG_ALL);
    Ended::from(command.output().unwrap())
}

fn assert_quiet(ended: &Ended) {
    assert!(!ended.stdout.contains(SECRET), "{}", ended.stdout);
    assert!(!ended.stderr.contains(SECRET), "the secret is in the log");
}
