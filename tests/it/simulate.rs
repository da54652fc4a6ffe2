//! The stand-in alone, as a server that another process connects to.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tiberius::{AuthMethod, Client, Config, Row};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use crate::support::{Ended, Project};

/// A client of a server.
pub(crate) type Connection = Client<Compat<TcpStream>>;

/// A running `cdcql simulate`, stopped when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Serves the tutorial's database on a free port with a known password.
    pub(crate) fn start(project: &Project, password: &str) -> Self {
        Self::start_script(project, "pipelines/app_db.sql", password, &[])
    }

    /// Serves a script's database in the same way, with further arguments.
    pub(crate) fn start_script(
        project: &Project,
        script: &str,
        password: &str,
        arguments: &[&str],
    ) -> Self {
        let mut command: Command = project.command();
        let mut child = command
            .args(["simulate", script, "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("CDCQL_SIMULATOR_PASSWORD", password)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .split_whitespace()
            .map(|word| word.trim_end_matches(','))
            .find(|word| word.starts_with("127.0.0.1:"))
            .unwrap_or_else(|| panic!("no address in {line:?}"))
            .to_string();
        Self { child, address }
    }

    /// A connection of the login sa to the database app_db.
    pub(crate) async fn connect(&self, password: &str) -> Connection {
        self.connect_to("app_db", password).await
    }

    /// A connection of the login sa.
    pub(crate) async fn connect_to(&self, database: &str, password: &str) -> Connection {
        connect(&self.address, database, password).await
    }

    /// The rows of every table of a database, as text and in the order of the text.
    pub(crate) async fn tables(&self, database: &str, password: &str) -> Vec<String> {
        let mut client = self.connect_to(database, password).await;
        let mut found = Vec::new();
        let names =
            "SELECT QUOTENAME(SCHEMA_NAME(schema_id)) + '.' + QUOTENAME(name) FROM sys.tables";
        for name in rows(&mut client, names).await {
            let name: &str = name.get(0).unwrap();
            for row in rows(&mut client, &format!("SELECT * FROM {name}")).await {
                let values = row.cells().map(|(_, value)| match format!("{value:?}") {
                    // What the client takes a NULL for depends on the form of the row.
                    null if null.ends_with("(None)") => "NULL".to_owned(),
                    value => value,
                });
                let values: Vec<String> = values.collect();
                found.push(format!("{name}: {}", values.join(", ")));
            }
        }
        found.sort();
        found
    }

    /// Kills the server's process, whatever it does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The server's process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn run(
        &self,
        project: &Project,
        login: &str,
        database: &str,
        options: &str,
    ) -> Ended {
        let url = format!("sqlserver://{login}@{}/{database}{options}", self.address);
        let mut command = project.command();
        command
            .args(["run", "pipelines/customers.sql"])
            .env("APP_DB_URL", url);
        Ended::from(command.output().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection of the login sa to a database of the server at `address`.
pub(crate) async fn connect(address: &str, database: &str, password: &str) -> Connection {
    let mut config = Config::new();
    let (host, port) = address.split_once(':').unwrap();
    config.host(host);
    config.port(port.parse().unwrap());
    config.database(database);
    config.authentication(AuthMethod::sql_server("sa", password));
    config.trust_cert();
    let socket = TcpStream::connect(config.get_addr()).await.unwrap();
    Box::pin(Client::connect(config, socket.compat_write()))
        .await
        .unwrap()
}

/// The rows of a query.
pub(crate) async fn rows(client: &mut Connection, sql: &str) -> Vec<Row> {
    let results = client.simple_query(sql).await.unwrap();
    results.into_first_result().await.unwrap()
}

#[test]
fn a_run_against_another_process_reads_the_same_table() {
    let project = Project::new();
    let server = Server::start(&project, "Pa55word!");
    let trust = "?trust_server_certificate=true";
    let first = server
        .run(&project, "sa:Pa55word!", "app_db", trust)
        .succeeded();
    assert!(first.stderr.contains("3 inserted"), "{}", first.stderr);
    let again = server
        .run(&project, "sa:Pa55word!", "app_db", trust)
        .succeeded();
    assert!(again.stderr.contains("nothing new"), "{}", again.stderr);
}

#[test]
fn a_wrong_password_is_error_18456_and_is_not_repeated() {
    let project = Project::new();
    let server = Server::start(&project, "Pa55word!");
    let ended = server
        .run(
            &project,
            "sa:wr0ng-guess",
            "app_db",
            "?trust_server_certificate=true",
        )
        .failed(1, &["18456", "customers.sql:"]);
    assert!(!ended.stderr.contains("wr0ng-guess"), "{}", ended.stderr);
}

#[test]
fn an_unknown_database_is_named() {
    let project = Project::new();
    let server = Server::start(&project, "Pa55word!");
    server
        .run(
            &project,
            "sa:Pa55word!",
            "no_such_db",
            "?trust_server_certificate=true",
        )
        .failed(1, &["no_such_db"]);
}

#[test]
fn an_untrusted_certificate_is_refused_with_the_remedy() {
    let project = Project::new();
    let server = Server::start(&project, "Pa55word!");
    server
        .run(&project, "sa:Pa55word!", "app_db", "")
        .failed(1, &["certificate", "trust_server_certificate"]);
}

#[test]
fn a_login_of_the_script_copies_what_it_may_read() {
    let project = Project::new();
    project.append_to_database(
        "CREATE LOGIN reader WITH PASSWORD = N'Read3r!'\n\
         CREATE USER reader FOR LOGIN reader\n\
         GRANT SELECT ON SCHEMA::cdc TO reader\n\
         GRANT VIEW DATABASE STATE TO reader",
    );
    let trust = "?trust_server_certificate=true";
    let server = Server::start(&project, "Pa55word!");
    server
        .run(&project, "reader:wrong", "app_db", trust)
        .failed(1, &["18456"]);
    let hidden = server
        .run(&project, "reader:Read3r!", "app_db", trust)
        .failed(3, &["dbo.customers", "that this login can see"]);
    assert!(!hidden.stderr.contains("first copy"), "{}", hidden.stderr);
    drop(server);
    project.append_to_database("GRANT SELECT ON dbo.customers TO reader");
    let server = Server::start(&project, "Pa55word!");
    let first = server
        .run(&project, "reader:Read3r!", "app_db", trust)
        .succeeded();
    assert!(first.stderr.contains("3 inserted"), "{}", first.stderr);
}

#[test]
fn the_help_says_what_the_stand_in_is_not() {
    let help = Project::new().cdcql(&["simulate", "--help"]).succeeded();
    for word in [
        "for trying and testing",
        "MERGE",
        "foreign",
        "bulk load",
        "--record",
        "refused with the reason",
    ] {
        assert!(help.stdout.contains(word), "{word} in {}", help.stdout);
    }
}
