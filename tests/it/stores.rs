//! Delta tables on object stores: Amazon's by moto, Azure's by Azurite, which `.ci/run` installs; elsewhere a store
//! that is missing is skipped, loudly, unless `CDCQL_TEST_CLIENTS` is `required`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use crate::clients::{Runtime, is_required};
use crate::follow::Follower;
use crate::served::Served;
use crate::support::Ended;

/// The account and the key that every Azurite has.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Makes a container of a store, whose URL without its scheme is the first argument and whose key is the second.
const MAKE_CONTAINER: &str = r#"
import base64, email.utils, hashlib, hmac, sys, urllib.request
store, key = sys.argv[1:]
account = store.rsplit("/", 1)[1]
headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
signed = "PUT" + "\n" * 12 + "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
signed += f"/{account}/{account}/lake\nrestype:container"
signature = base64.b64encode(hmac.digest(base64.b64decode(key), signed.encode(), hashlib.sha256)).decode()
headers |= {"Authorization": f"SharedKey {account}:{signature}", "Content-Length": "0"}
urllib.request.urlopen(urllib.request.Request(f"{store}/lake?restype=container", method="PUT", headers=headers))
"#;

/// A store of a kind, as it runs.
struct Store {
    child: Child,
    /// Its URL, without a slash at the end.
    url: String,
    /// Where tables are.
    root: &'static str,
    options: &'static str,
}

impl Drop for Store {
    fn drop(&mut self) {
        // Nothing is left to do where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Store {
    /// Amazon's, with the bucket `lake`; `None` if it is not installed.
    fn amazon() -> Option<Self> {
        let mut command = Runtime::Python.command();
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]);
        let (child, url) = start(command, "Running on ", "moto[server], of PyPI")?;
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        let request = "PUT /lake HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Some(Self {
            child,
            url,
            root: "s3://lake",
            options: "endpoint_url env('STORE_URL'), allow_http 'true', region 'us-east-1', \
                      access_key_id 'writer', secret_access_key secret('env', 'STORE_KEY')",
        })
    }

    /// Azure's, with the container `lake`; `None` if it is not installed.
    fn azure() -> Option<Self> {
        let modules = std::env::var_os("CDCQL_TEST_NODE_PATH").map(PathBuf::from);
        let program = modules.map(|modules| modules.join(".bin/azurite-blob"));
        let mut command = Command::new(program.unwrap_or_else(|| PathBuf::from("azurite-blob")));
        command.args([
            "--inMemoryPersistence",
            "--skipApiVersionCheck",
            "--blobPort",
            "0",
        ]);
        let (child, url) = start(command, "listens on ", "azurite, of npm")?;
        let url = format!("{url}/{ACCOUNT}");
        let made = Runtime::Python
            .command()
            .args(["-c", MAKE_CONTAINER, &url, KEY])
            .output();
        let _ = Ended::from(made.unwrap()).succeeded();
        Some(Self {
            child,
            url,
            root: "abfss://lake@devstoreaccount1.dfs.core.windows.net",
            options: "endpoint env('STORE_URL'), allow_http 'true', account_key secret('env', 'STORE_KEY')",
        })
    }

    /// A database whose table `a` is copied to this store, in the pipeline's own words.
    fn served(&self) -> Served {
        self.served_with("")
    }

    /// As [`Store::served`], with further options of the store.
    fn served_with(&self, more: &str) -> Served {
        let served = Served::new();
        let text = served.project.read("pipelines/p.sql");
        let options = self.options;
        let location = format!("LOCATION '{}/lake/a' OPTIONS ({options}{more})", self.root);
        let text = text.replace("LOCATION 'lake/a'", &location);
        assert!(text.contains("OPTIONS (endpoint"), "{text}");
        served.project.write("pipelines/p.sql", &text);
        served
    }

    fn command(&self, served: &Served, arguments: &[&str]) -> Command {
        let mut command = served.command(arguments);
        command.env("STORE_URL", &self.url).env("STORE_KEY", KEY);
        command
    }

    fn cdcql(&self, served: &Served, arguments: &[&str]) -> Ended {
        Ended::from(self.command(served, arguments).output().unwrap())
    }

    fn run(&self, served: &Served) -> Ended {
        self.cdcql(served, &["run", "pipelines/p.sql"])
    }

    fn query(&self, served: &Served, sql: &str) -> String {
        let arguments = [
            "query",
            "--pipeline",
            "pipelines/p.sql",
            "--format",
            "csv",
            "-c",
            sql,
        ];
        self.cdcql(served, &arguments).succeeded().stdout
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }

    fn assert_true(&self, served: &Served) {
        let copied = self.query(served, "SELECT * FROM a ORDER BY id");
        assert_eq!(
            copied,
            self.query(served, "SELECT * FROM db.dbo.a ORDER BY id")
        );
    }
}

/// Starts a store, and answers with it and the URL that follows `words` in what it says.
fn start(mut command: Command, words: &str, remedy: &str) -> Option<(Child, String)> {
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let child = command.spawn();
    drop(command);
    let mut said = String::new();
    if let Ok(child) = child {
        let mut lines = BufReader::new(reader);
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            if let Some((_, url)) = line.split_once(words) {
                let url = url.trim().trim_end_matches('/').to_string();
                // It would be ended by a pipe that nobody reads.
                thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
                return Some((child, url));
            }
            said.push_str(&line);
            line.clear();
        }
    }
    assert!(!is_required(remedy), "{remedy} does not start: {said}");
    None
}

fn stores() -> impl Iterator<Item = Store> {
    [Store::amazon(), Store::azure()].into_iter().flatten()
}

#[test]
fn a_table_is_copied_merged_into_maintained_and_read_again() {
    for store in stores() {
        let served = store.served();
        let doctor = ["doctor", "pipelines/p.sql", "--format", "csv"];
        let found = store.cdcql(&served, &doctor).succeeded().stdout;
        assert!(found.contains(",location,ok,"), "{found}");
        let first = store.run(&served).succeeded();
        assert!(first.stderr.contains("4 inserted"), "{}", first.stderr);
        served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1; DELETE FROM dbo.a WHERE id = 2;");
        let second = store.run(&served).succeeded();
        assert!(
            second.stderr.contains("1 updated, 1 deleted"),
            "{}",
            second.stderr
        );
        store.assert_true(&served);
        let third = store.run(&served).succeeded();
        assert!(third.stderr.contains("nothing new"), "{}", third.stderr);
        for n in 0..12 {
            served.execute(&format!("UPDATE dbo.a SET n = {n} WHERE id = 1;"));
        }
        let small = ["run", "pipelines/p.sql", "--window-transactions", "1"];
        let _ = store.cdcql(&served, &small).succeeded();
        let maintain = ["maintain", "pipelines/p.sql", "--vacuum", "--format", "csv"];
        let done = store.cdcql(&served, &maintain).succeeded();
        assert!(done.stdout.contains("checkpoint"), "{}", done.stdout);
        store.assert_true(&served);
    }
}

#[test]
fn tables_of_a_schema_lie_in_its_store() {
    for store in stores() {
        let served = store.served();
        let schema = format!(
            "CREATE SCHEMA raw LOCATION '{}/raw dir' OPTIONS ({});\n",
            store.root, store.options
        );
        let table = "CREATE TABLE raw.t (id INT, p VARCHAR) USING DELTA PARTITIONED BY (p);";
        served
            .project
            .write("pipelines/p.sql", &(schema.clone() + table));
        let _ = store.query(&served, "INSERT INTO raw.t VALUES (1, 'x/y'), (2, 'a b%')");
        // Found by its name alone.
        served.project.write("pipelines/p.sql", &schema);
        let rows = store.query(&served, "SELECT id, p FROM raw.t ORDER BY id");
        assert_eq!(rows, "id,p\n1,x/y\n2,a b%\n");
    }
}

#[test]
fn of_two_runs_at_once_each_window_is_applied_by_one() {
    for store in stores() {
        let served = store.served();
        let _ = store.run(&served).succeeded();
        for round in 0..3 {
            served.execute(&format!("UPDATE dbo.a SET n = n + 1; INSERT INTO dbo.a VALUES ({round} + 10, {round} + 100, 1, 0);"));
            let runs = [(); 3].map(|()| {
                let mut command = store.command(&served, &["run", "pipelines/p.sql"]);
                command
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap()
            });
            for run in runs {
                let _ = Ended::from(run.wait_with_output().unwrap()).succeeded();
            }
            let stands = format!("Delta version {} stands", round + 1);
            let again = store.run(&served).succeeded();
            assert!(again.stderr.contains(&stands), "{}", again.stderr);
            store.assert_true(&served);
        }
    }
}

#[test]
fn writers_at_once_lose_nothing() {
    for store in stores() {
        let served = store.served();
        let _ = store.run(&served).succeeded();
        served.execute("UPDATE dbo.a SET n = 7;");
        let inserts = (20..24).map(|id| format!("INSERT INTO a VALUES ({id}, {id}, 0, true)"));
        let mut commands: Vec<Command> = inserts
            .map(|sql| {
                let query = ["query", "--pipeline", "pipelines/p.sql", "-c", sql.as_str()];
                store.command(&served, &query)
            })
            .collect();
        commands.push(store.command(&served, &["run", "pipelines/p.sql"]));
        let writers: Vec<Child> = commands
            .into_iter()
            .map(|mut command| {
                command
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for writer in writers {
            let _ = Ended::from(writer.wait_with_output().unwrap()).succeeded();
        }
        let counts = "SELECT count(*) AS n, sum(CASE WHEN n = 7 THEN 1 END) AS seven FROM a";
        assert_eq!(store.query(&served, counts), "n,seven\n8,4\n");
    }
}

#[test]
fn what_keeps_a_store_from_being_used_is_told() {
    let Some(store) = Store::amazon() else { return };
    let served = store.served();
    let text = served.project.read("pipelines/p.sql");
    for (from, to, code, words) in [
        ("s3://lake", "s3://missing", 1, "s3://missing/lake/a"),
        (
            "allow_http 'true'",
            "allow_http 'true', regin 'x'",
            1,
            "did you mean `region`?",
        ),
        (
            "env('STORE_URL')",
            "'http://127.0.0.1:1', max_retries '1'",
            1,
            "s3://lake/lake/a",
        ),
        (
            "secret('env', 'STORE_KEY')",
            "secret('env', 'NO_SUCH_KEY')",
            3,
            "NO_SUCH_KEY",
        ),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        served.project.write("pipelines/p.sql", &changed);
        let ended = store.run(&served).failed(code, &[words]);
        assert!(!ended.stderr.contains(KEY), "{}", ended.stderr);
    }
}

/// Which side of a request is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The store does not get it.
    Before,
    /// The store does as it says, and its answer does not come back.
    After,
}

/// Passes everything on between a client and a store until a request that begins with certain words; from there on
/// nothing.
struct Holding {
    url: String,
    reached: mpsc::Receiver<()>,
}

impl Holding {
    fn at(store: &Store, side: Side, held: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (reach, reached) = mpsc::channel();
        let address = store.url.trim_start_matches("http://").to_string();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (address, reach) = (address.clone(), reach.clone());
                thread::spawn(move || pass_on(client, &address, (side, held), &reach));
            }
        });
        Self { url, reached }
    }
}

/// Passes on what a client and a server say to each other, until a request that is held.
fn pass_on(
    mut client: TcpStream,
    address: &str,
    (side, held): (Side, &str),
    reach: &mpsc::Sender<()>,
) {
    let mut server = TcpStream::connect(address).unwrap();
    let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let muted = Arc::new(AtomicBool::new(false));
    let (is_muted, answered) = (Arc::clone(&muted), reach.clone());
    thread::spawn(move || {
        let mut part = vec![0; 64 << 10];
        // Either side may hang up first.
        while let Ok(read @ 1..) = answers.read(&mut part) {
            if is_muted.load(Ordering::SeqCst) {
                let _ = answered.send(());
                return;
            }
            if back.write_all(&part[..read]).is_err() {
                return;
            }
        }
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut part = vec![0; 64 << 10];
    while let Ok(read @ 1..) = client.read(&mut part) {
        let mut found = part[..read].windows(held.len());
        if found.any(|bytes| bytes == held.as_bytes()) {
            match side {
                Side::Before => {
                    let _ = reach.send(());
                    // Until the client is gone.
                    while let Ok(1..) = client.read(&mut part) {}
                    return;
                }
                Side::After => muted.store(true, Ordering::SeqCst),
            }
        }
        if server.write_all(&part[..read]).is_err() {
            return;
        }
    }
}

const LOG_ENTRY: &str = "PUT /lake/lake/a/_delta_log/00000000000000000001.json";

/// Kills a run that has changes to write at a request to its store.
fn killed_at(store: &Store, served: &Served, side: Side, held: &'static str) {
    let held = Holding::at(store, side, held);
    let mut command = store.command(served, &["run", "pipelines/p.sql"]);
    command.env("STORE_URL", &held.url).stderr(Stdio::null());
    let mut killed = command.spawn().unwrap();
    held.reached.recv().unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
}

#[test]
fn a_run_that_is_killed_before_its_commit_is_as_if_it_had_not_been() {
    let Some(store) = Store::amazon() else { return };
    let served = store.served();
    let _ = store.run(&served).succeeded();
    served.execute("UPDATE dbo.a SET n = 50; DELETE FROM dbo.a WHERE id = 2;");
    for held in ["PUT /lake/lake/a/part-", LOG_ENTRY] {
        killed_at(&store, &served, Side::Before, held);
    }
    let dry = [
        "maintain",
        "pipelines/p.sql",
        "--vacuum",
        "--retain",
        "0",
        "--force",
        "--dry-run",
        "--format",
        "csv",
    ];
    let orphans = store.cdcql(&served, &dry).succeeded().stdout;
    assert!(orphans.contains("vacuum"), "{orphans}");
    let again = store.run(&served).succeeded();
    for words in ["3 updated, 1 deleted", "Delta version 1"] {
        assert!(again.stderr.contains(words), "{}", again.stderr);
    }
    store.assert_true(&served);
}

#[test]
fn a_run_that_is_killed_after_its_commit_is_not_repeated() {
    let Some(store) = Store::amazon() else { return };
    let served = store.served();
    let _ = store.run(&served).succeeded();
    served.execute("UPDATE dbo.a SET n = 50; DELETE FROM dbo.a WHERE id = 2;");
    killed_at(&store, &served, Side::After, LOG_ENTRY);
    let again = store.run(&served).succeeded();
    for words in ["nothing new", "Delta version 1 stands"] {
        assert!(again.stderr.contains(words), "{}", again.stderr);
    }
    store.assert_true(&served);
}

#[test]
fn a_flow_that_is_followed_outlasts_a_store_that_does_not_answer() {
    for store in stores() {
        let served = store.served_with(", timeout '1s', max_retries '0'");
        let arguments = ["run", "pipelines/p.sql", "--follow", "--every", "50ms"];
        let mut follower = Follower::spawn(store.command(&served, &arguments));
        follower.wait_for(&["a: first copy:"]);
        store.signal("-STOP");
        follower.wait_for(&["a: ", "trying again in 1"]);
        store.signal("-CONT");
        served.execute("UPDATE dbo.a SET n = 50 WHERE id = 1;");
        follower.wait_for(&["a: 0 inserted, 1 updated"]);
        let _ = follower.end("-TERM");
        store.assert_true(&served);
    }
}
