//! `cdcql init`: the file that it writes is one's own server's, and runs.

use expectrl::{ControlCode, Expect as _};

use crate::served::Served;
use crate::support::{Ended, Project};
use crate::terminal::spawn;

/// The embedded shop, whose file lies in a folder of its own.
const SHOP: [&str; 4] = ["init", "mine", "--url", "embedded:../pipelines/shop.sql"];

#[test]
fn every_captured_table_is_copied_and_one_without_a_key_says_why_it_is_not() {
    let project = Project::new();
    let told = project.cdcql(&SHOP).succeeded();
    assert_eq!(told.stdout, "");
    for words in [
        "2 tables to copy",
        "1 left out",
        "cdcql run mine/pipeline.sql",
    ] {
        assert!(told.stderr.contains(words), "{}", told.stderr);
    }
    let file = project.read("mine/pipeline.sql");
    assert!(file.contains("-- dbo.audit_log is left out: "), "{file}");
    assert!(
        file.contains("-- CREATE STREAMING TABLE dbo.audit_log\n"),
        "{file}"
    );
    assert!(
        file.contains("-- Rows are told apart by order_id.\n"),
        "{file}"
    );
    assert_eq!(project.read("mine/.gitignore"), "/lake/\n");
    let run = ["run", "mine/pipeline.sql"];
    let _ = project.cdcql(&run).succeeded();
    let again = project.cdcql(&run).succeeded().stderr;
    assert_eq!(again.matches("nothing new").count(), 2, "{again}");
    let sql = "SELECT count(*) AS n, sum(net) AS net FROM dbo.orders";
    let query = [
        "query",
        "--pipeline",
        "mine/pipeline.sql",
        "--format",
        "csv",
        "-c",
        sql,
    ];
    let rows = project.cdcql(&query).succeeded().stdout;
    assert_eq!(rows, "n,net\n3,130.00\n");
    assert!(
        project
            .path()
            .join("mine/lake/dbo/orders/_delta_log")
            .is_dir()
    );
}

#[test]
fn nothing_is_overwritten() {
    let project = Project::new();
    let _ = project.cdcql(&SHOP).succeeded();
    project.write("mine/pipeline.sql", "SELECT 1;");
    let again = project.cdcql(&SHOP);
    let _ = again.failed(2, &["mine/pipeline.sql exists already"]);
    assert_eq!(project.read("mine/pipeline.sql"), "SELECT 1;");
    assert_eq!(project.read("mine/.gitignore"), "/lake/\n");
    project.write("mine/.gitignore", "target\nlake");
    let other = ["init", "mine/other.sql", SHOP[2], SHOP[3]];
    let _ = project.cdcql(&other).succeeded();
    assert_eq!(project.read("mine/.gitignore"), "target\nlake");
    let third = [other.as_slice(), &["--lake", "data"]].concat();
    let third = third.into_iter().map(|a| {
        if a == "mine/other.sql" {
            "mine/third.sql"
        } else {
            a
        }
    });
    let _ = project.cdcql(&third.collect::<Vec<_>>()).succeeded();
    assert_eq!(project.read("mine/.gitignore"), "target\nlake\n/data/\n");
}

#[test]
fn a_lake_that_is_the_files_own_folder_has_each_schemas_folder_ignored() {
    let project = Project::new();
    let here = [SHOP.as_slice(), &["--lake", "."]].concat();
    let _ = project.cdcql(&here).succeeded();
    assert_eq!(project.read("mine/.gitignore"), "/dbo/\n");
    let _ = project.cdcql(&["run", "mine/pipeline.sql"]).succeeded();
    assert!(project.path().join("mine/dbo/orders/_delta_log").is_dir());
}

#[test]
fn a_lake_at_no_place_is_wrong_usage() {
    let project = Project::new();
    for lake in ["", " ", "s3://"] {
        let nowhere = [SHOP.as_slice(), &["--lake", lake]].concat();
        let told = project.cdcql(&nowhere);
        let _ = told.failed(2, &["--lake <LOCATION>", "s3://bucket/lake"]);
    }
    assert!(!project.path().join("mine").exists());
}

#[test]
fn tables_and_schemas_are_chosen_by_their_names() {
    let project = Project::new();
    let with = |more: &[&str]| project.cdcql(&[SHOP.as_slice(), more].concat());
    let _ = with(&["--table", "dbo.ordrs"]).failed(3, &["did you mean 'dbo.orders'?"]);
    let _ = with(&["--schema", "dbi"]).failed(3, &["did you mean 'dbo'?"]);
    assert!(!project.path().join("mine").exists());
    let _ = with(&["--table", "orders", "--table", "DBO.Orders"]).succeeded();
    let file = project.read("mine/pipeline.sql");
    assert_eq!(file.matches("CREATE STREAMING TABLE").count(), 1, "{file}");
}

#[test]
fn what_is_missing_is_wrong_usage_without_a_terminal() {
    let project = Project::new();
    let _ = project.cdcql(&["init"]).failed(2, &["--host is missing"]);
    let host = ["init", "--host", "db"];
    let _ = project.cdcql(&host).failed(2, &["--database is missing"]);
    let database = ["init", "--host", "db", "--database", "app"];
    let _ = project.cdcql(&database).failed(2, &["--user is missing"]);
    let user = [database.as_slice(), &["--user", "reader"]].concat();
    let _ = project
        .cdcql(&user)
        .failed(2, &["variable CDCQL_PASSWORD is not set"]);
    let secret = ["init", "--url", "sqlserver://reader:hush@db/app"];
    let told = project.cdcql(&secret).failed(2, &["--password-env"]);
    assert!(!told.stderr.contains("hush"), "{}", told.stderr);
    assert!(!project.path().join("pipeline.sql").exists());
}

#[test]
fn what_is_no_url_of_a_connection_is_told_what_one_looks_like() {
    let project = Project::new();
    let shape = "sqlserver://LOGIN@HOST[:PORT]/DATABASE";
    let no_urls = [
        "db.example",
        "",
        "reader:hush@db/app",
        "postgres://reader:hush@db/app",
    ];
    for url in no_urls {
        let told = project.cdcql(&["init", "--url", url]);
        let told = told.failed(2, &["--url <URL>", shape]);
        assert!(!told.stderr.contains("is missing"), "{}", told.stderr);
        assert!(!told.stderr.contains("hush"), "{}", told.stderr);
    }
    for url in ["sqlserver://reader@db.example", "sqlserver://reader@db/"] {
        let told = project.cdcql(&["init", "--url", url]);
        let _ = told.failed(2, &["the database at the URL's end", shape]);
    }
}

#[test]
fn what_fails_before_there_is_a_file_has_no_place_in_it() {
    let project = Project::new();
    let nowhere = ["init", "mine", "--url", "embedded:nowhere.sql"];
    let unopened = "error: connection 'nowhere' cannot be opened";
    let told = project.cdcql(&nowhere);
    let told = told.failed(1, &[unopened, "cannot read"]);
    assert!(!told.stderr.contains("pipeline.sql"), "{}", told.stderr);
    let url = "sqlserver://reader@db.example/app?encrypt=perhaps";
    let mut wrong = project.command();
    wrong.args(["init", "mine", "--url", url]);
    wrong.env("CDCQL_PASSWORD", "secret");
    let told = Ended::from(wrong.output().unwrap());
    let told = told.failed(3, &["error: option 'encrypt'"]);
    assert!(!told.stderr.contains("pipeline.sql"), "{}", told.stderr);
    assert!(!project.path().join("mine").exists());
}

/// Names that need quotes, a schema that the lake has already, and a table that cannot be copied.
const ODD: &str = "\
CREATE SCHEMA main;
GO
CREATE SCHEMA [order];
GO
CREATE TABLE main.t (id INT NOT NULL PRIMARY KEY);
CREATE TABLE [order].[Order \"Details\" it's] (id INT NOT NULL PRIMARY KEY, n INT NULL);
CREATE TABLE dbo.[a/b] (id INT NOT NULL PRIMARY KEY);
CREATE TABLE dbo.uncaptured (id INT NOT NULL PRIMARY KEY);
GO
EXEC sys.sp_cdc_enable_db;
EXEC sys.sp_cdc_enable_table @source_schema = N'main', @source_name = N't', @role_name = NULL;
EXEC sys.sp_cdc_enable_table @source_schema = N'order', @source_name = N'Order \"Details\" it''s', @role_name = NULL, @capture_instance = N'details';
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a/b', @role_name = NULL, @capture_instance = N'ab';
GO
INSERT INTO main.t VALUES (1);
INSERT INTO [order].[Order \"Details\" it's] VALUES (1, 2);
";

/// Runs `init` at a server, whose password is in a variable, and then what it has written.
fn at(served: &Served, arguments: &[&str]) -> String {
    let user = served.simulator().user();
    let arguments = [&["init", "own.sql", "--user", user], arguments].concat();
    let cdcql = |arguments: &[&str]| {
        let mut command = served.command(arguments);
        command.env("SHOP_PASSWORD", served.simulator().password());
        Ended::from(command.output().unwrap()).succeeded()
    };
    let password = ["--password-env", "SHOP_PASSWORD"];
    let _ = cdcql(&[arguments.as_slice(), &password].concat());
    let file = served.project.read("own.sql");
    assert!(!file.contains(served.simulator().password()), "{file}");
    let _ = cdcql(&["run", "own.sql"]);
    let _ = cdcql(&["verify", "own.sql"]);
    file
}

#[test]
fn a_file_for_a_server_has_every_name_in_its_quotes_and_no_password() {
    let served = Served::in_hand_of(ODD);
    let address = served.simulator().address();
    let url = format!("sqlserver://{address}/app_db?trust_server_certificate=true");
    let file = at(&served, &["--url", &url]);
    for words in [
        "password secret('env', 'SHOP_PASSWORD')",
        "CREATE SCHEMA main_copy LOCATION 'lake/main';",
        "CREATE STREAMING TABLE \"order\".\"Order \"\"Details\"\" it's\"\n",
        "-- dbo.a/b is left out: its name cannot be that of a folder",
    ] {
        assert!(file.contains(words), "no {words:?} in:\n{file}");
    }
    assert!(!file.contains("uncaptured"), "{file}");
}

#[test]
fn what_is_missing_is_asked_for_on_a_terminal() {
    let served = Served::in_hand();
    let mut command = served.command(&["init", "mine"]);
    command.env("CDCQL_PASSWORD", served.simulator().password());
    let mut terminal = spawn(command);
    let url = format!(
        "sqlserver://{}/app_db?trust_server_certificate=true",
        served.simulator().address()
    );
    for (question, answer) in [
        ("server (a name, or a URL): ", url.as_str()),
        ("user: ", "  "),
        ("user: ", served.simulator().user()),
    ] {
        terminal.expect(question).unwrap();
        terminal.send_line(answer).unwrap();
    }
    terminal.expect("1 table to copy").unwrap();
    terminal.expect(expectrl::Eof).unwrap();
    let mut run = served.command(&["run", "mine/pipeline.sql"]);
    run.env("CDCQL_PASSWORD", served.simulator().password());
    let _ = Ended::from(run.output().unwrap()).succeeded();
    let mut command = served.command(&["init", "other", "--host", "db"]);
    command.env("CDCQL_PASSWORD", "secret");
    let mut terminal = spawn(command);
    terminal.expect("database: ").unwrap();
    terminal.send(ControlCode::EndOfTransmission).unwrap();
    terminal.expect("interrupted").unwrap();
    terminal.expect(expectrl::Eof).unwrap();
    assert!(!served.project.path().join("other").exists());
}

#[test]
fn a_database_that_the_url_does_not_name_is_asked_for_on_a_terminal() {
    let served = Served::in_hand();
    let (address, user) = (served.simulator().address(), served.simulator().user());
    let url = format!("sqlserver://{address}?trust_server_certificate=true");
    let mut command = served.command(&["init", "mine", "--url", &url, "--user", user]);
    command.env("CDCQL_PASSWORD", served.simulator().password());
    let mut terminal = spawn(command);
    terminal.expect("database: ").unwrap();
    terminal.send_line("app_db").unwrap();
    terminal.expect("1 table to copy").unwrap();
    terminal.expect(expectrl::Eof).unwrap();
    let file = served.project.read("mine/pipeline.sql");
    assert!(file.contains("  database 'app_db',\n"), "{file}");
    assert!(file.contains("FROM STREAM app_db.dbo.a "), "{file}");
}

#[test]
fn nothing_is_asked_for_while_the_password_is_missing() {
    let project = Project::new();
    let partly: [&[&str]; 3] = [&[], &["--host", "db"], &["--url", "sqlserver://db/app"]];
    for given in partly {
        let mut command = project.command();
        command.arg("init").args(given).env_remove("CDCQL_PASSWORD");
        let mut terminal = spawn(command);
        let said = "error: the environment variable CDCQL_PASSWORD is not set";
        let found = terminal.expect(said).unwrap();
        let before = String::from_utf8_lossy(found.before()).into_owned();
        assert_eq!(before, "");
        terminal.expect(expectrl::Eof).unwrap();
    }
    assert!(!project.path().join("pipeline.sql").exists());
}

#[test]
fn a_database_without_capture_is_told_how_to_begin() {
    let project = Project::new();
    project.write(
        "bare.sql",
        "CREATE TABLE dbo.t (id INT NOT NULL PRIMARY KEY);\nGO\n",
    );
    let told = project.cdcql(&["init", "mine", "--url", "embedded:../bare.sql"]);
    let _ = told.failed(3, &["sp_cdc_enable_db"]);
    assert!(!project.path().join("mine/pipeline.sql").exists());
}
