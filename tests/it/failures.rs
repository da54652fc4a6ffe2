//! What goes wrong on the way and passes by itself, and what a killed process leaves behind.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::simulate::Server;
use crate::support::{Ended, Project};

/// A relay in front of a server that cuts each of its first connections after so many bytes of the server's.
struct Relay {
    address: String,
    cut: Arc<AtomicUsize>,
}

impl Relay {
    fn start(server: String, cuts: usize, after: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cut = Arc::new(AtomicUsize::new(0));
        let done = Arc::clone(&cut);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let upstream = TcpStream::connect(&server).unwrap();
                let limit = if done.load(Ordering::SeqCst) < cuts {
                    after
                } else {
                    usize::MAX
                };
                let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                thread::spawn(move || pass(from, to, usize::MAX));
                let done = Arc::clone(&done);
                thread::spawn(move || {
                    if pass(upstream, client, limit) {
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Self { address, cut }
    }
}

/// Passes bytes on until either end closes, or `limit` is reached; answers whether it was.
fn pass(mut from: TcpStream, mut to: TcpStream, mut limit: usize) -> bool {
    let mut buffer = [0; 4096];
    while limit > 0 {
        let wanted = buffer.len().min(limit);
        match from.read(&mut buffer[..wanted]) {
            Ok(read) if read > 0 && to.write_all(&buffer[..read]).is_ok() => limit -= read,
            _ => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
    limit == 0
}

/// The database of the tutorial with rows enough that their read can be cut in its midst.
fn with_many_rows() -> Project {
    let project = Project::new();
    project.append_to_database(
        "INSERT INTO dbo.customers (first_name, last_name, email, city)
         SELECT CONCAT(N'first', value), REPLICATE(N'l', 60), CONCAT(N'e', value), N'Nowhere' FROM GENERATE_SERIES(1, 20000);",
    );
    project
}

fn run(project: &Project, address: &str) -> Ended {
    let url = format!("sqlserver://sa:Pa55word!@{address}/app_db?trust_server_certificate=true");
    let mut command = project.command();
    command
        .args(["run", "pipelines/customers.sql"])
        .env("APP_DB_URL", url);
    Ended::from(command.output().unwrap())
}

#[test]
fn a_flow_whose_connection_breaks_begins_again() {
    let project = with_many_rows();
    let server = Server::start(&project, "Pa55word!");
    let relay = Relay::start(server.address.clone(), 2, 400_000);
    let ended = run(&project, &relay.address).succeeded();
    assert_eq!(relay.cut.load(Ordering::SeqCst), 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("broke"), "{}", ended.stderr);
    assert!(ended.stderr.contains("trying again in"), "{}", ended.stderr);
    assert!(ended.stderr.contains("20,003 inserted"), "{}", ended.stderr);
    assert_eq!(project.commits(), 1);
}

#[test]
fn a_window_whose_connection_breaks_is_applied_once() {
    let project = with_many_rows();
    let script = "pipelines/app_db.sql";
    let copied = project.read(script);
    project.append_to_database("UPDATE dbo.customers SET city = N'Metropolis';");
    let server = Server::start(&project, "Pa55word!");
    project.write(script, &copied);
    let _ = project.run();
    let relay = Relay::start(server.address.clone(), 1, 400_000);
    let ended = run(&project, &relay.address).succeeded();
    assert_eq!(relay.cut.load(Ordering::SeqCst), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("trying again in"), "{}", ended.stderr);
    assert!(ended.stderr.contains("20,002 updated"), "{}", ended.stderr);
    assert_eq!(project.commits(), 2);
}

#[test]
fn a_killed_run_leaves_nothing_that_the_next_run_does_not_delete() {
    let project = with_many_rows();
    let server = Server::start(&project, "Pa55word!");
    let temporary = project.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let url = format!(
        "sqlserver://sa:Pa55word!@{}/app_db?trust_server_certificate=true",
        server.address
    );
    let command = || {
        let mut command = project.command();
        command
            .args(["run", "pipelines/customers.sql"])
            .env("APP_DB_URL", &url)
            .env("TMPDIR", &temporary);
        command
    };
    let left = || fs::read_dir(&temporary).unwrap().count();
    let mut child = command().stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut progress = BufReader::new(child.stderr.take().unwrap());
    progress.read_line(&mut first).unwrap();
    assert!(first.contains("first copy"), "{first}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(left(), 1, "the killed run had a folder");
    let _ = Ended::from(command().output().unwrap()).succeeded();
    assert_eq!(left(), 0);
    assert_eq!(project.commits(), 1);
}

#[test]
fn a_location_that_cannot_be_written_is_found_out_before_the_table_is_read() {
    let project = with_many_rows();
    let file = "pipelines/customers.sql";
    let text = project
        .read(file)
        .replace("'lake/customers'", "'/proc/cdcql-lake/c'");
    project.write(file, &text);
    let ended = project
        .cdcql(&["run", file])
        .failed(1, &["customers.sql:12:12", "/proc/cdcql-lake/c"]);
    assert!(!ended.stderr.contains("first copy"), "{}", ended.stderr);
}

#[test]
fn an_interrupted_run_ends_with_exit_code_130_and_nothing_written() {
    let project = Project::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("sqlserver://sa:p@{}/app_db", silent.local_addr().unwrap());
    let mut command = project.command();
    command
        .args(["run", "pipelines/customers.sql"])
        .env("APP_DB_URL", url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // It is waiting for the server's first byte by then.
    let _connected = silent.accept().unwrap();
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    Ended::from(child.wait_with_output().unwrap()).failed(130, &["interrupted"]);
    assert!(!project.path().join("pipelines/lake").exists());
}
