//! Defaults of options: the command line before the environment, that before the file, the file before what is built in.

use crate::support::{Ended, Project};

const QUERY: [&str; 3] = ["query", "-c", "SELECT 1 AS n"];

const TABLE: &str = "+---+\n| n |\n+---+\n| 1 |\n+---+\n";
const CSV: &str = "n\n1\n";
const JSON: &str = "[{\"n\":1}]\n";

/// The program with an environment variable.
fn with(project: &Project, arguments: &[&str], name: &str, value: &str) -> Ended {
    let mut command = project.command();
    command.args(arguments).env(name, value);
    Ended::from(command.output().unwrap())
}

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let project = Project::new();
    assert_eq!(project.cdcql(&QUERY).succeeded().stdout, TABLE);
    project.write("cdcql.toml", "[query]\nformat = \"csv\"\n");
    assert_eq!(project.cdcql(&QUERY).succeeded().stdout, CSV);
    let named = with(&project, &QUERY, "CDCQL_QUERY_FORMAT", "json");
    assert_eq!(named.succeeded().stdout, JSON);
    let empty = with(&project, &QUERY, "CDCQL_QUERY_FORMAT", "");
    assert_eq!(empty.succeeded().stdout, CSV);
    let given = [QUERY.as_slice(), &["--format", "table"]].concat();
    let given = with(&project, &given, "CDCQL_QUERY_FORMAT", "json");
    assert_eq!(given.succeeded().stdout, TABLE);
}

#[test]
fn another_file_is_read_in_the_place_of_the_one_in_the_working_directory() {
    let project = Project::new();
    project.write("cdcql.toml", "[query]\nformat = \"csv\"\n");
    project.write("other.toml", "[query]\nformat = \"json\"\n");
    project.write("none.toml", "");
    let of_variable = with(&project, &QUERY, "CDCQL_CONFIG", "other.toml");
    assert_eq!(of_variable.succeeded().stdout, JSON);
    for option in [
        ["--config", "none.toml"].as_slice(),
        &["--config=none.toml"],
    ] {
        let arguments = [QUERY.as_slice(), option].concat();
        let of_line = with(&project, &arguments, "CDCQL_CONFIG", "other.toml");
        assert_eq!(of_line.succeeded().stdout, TABLE);
    }
    let before = [["--config", "other.toml"].as_slice(), &QUERY].concat();
    assert_eq!(project.cdcql(&before).succeeded().stdout, JSON);
    let missing = [QUERY.as_slice(), &["--config", "missing.toml"]].concat();
    let _ = project.cdcql(&missing).failed(2, &["missing.toml"]);
}

#[test]
fn help_shows_the_default_that_holds() {
    let project = Project::new();
    let built_in = project.cdcql(&["run", "--help"]).succeeded().stdout;
    assert!(built_in.contains("[default: 2GiB]"), "{built_in}");
    project.write(
        "cdcql.toml",
        "memory = \"3GiB\"\nlog_format = 'json'\n[run]\nparallel = 7\nchunk_rows = 1_000\nevery = \"30s\"\n",
    );
    let help = project.cdcql(&["run", "--help"]).succeeded().stdout;
    for words in ["3GiB", "json", "7", "1000", "30s"] {
        assert!(help.contains(&format!("[default: {words}]")), "{help}");
    }
    // --every is for --follow, and its default for the runs that have it.
    let run = project.cdcql(&["run", "pipelines/customers.sql"]);
    let told = run.succeeded().stderr;
    assert!(told.lines().all(|line| line.starts_with('{')), "{told}");
    let verify = project.cdcql(&["help", "verify"]).succeeded().stdout;
    assert!(!verify.contains("[default: 7]"), "{verify}");
}

#[test]
fn what_the_file_sets_is_what_a_run_does() {
    let project = Project::new();
    project.write("cdcql.toml", "[run]\nwindow_rows = 1\n");
    let _ = project.run();
    project.append_to_database(
        "UPDATE dbo.customers SET city = N'a' WHERE customer_id = 1;\nGO\nUPDATE dbo.customers SET city = N'b' WHERE customer_id = 2;\n",
    );
    let _ = project.run();
    assert_eq!(project.commits(), 3, "a window for each transaction");
}

#[test]
fn everything_that_is_wrong_with_the_file_is_told_with_its_place() {
    let project = Project::new();
    project.write(
        "cdcql.toml",
        "memroy = '1GiB'\nparallel = 3\n\n[run]\nparalel = 8\nwindow_rows = 0\nmemory = '1GiB'\nfollow = true\nflow = ['a']\n\
         [query]\nformat = 'xml'\n[simulate]\npassword = 'hush'\n[runn]\nparallel = 1\n[check]\nformat = 'csv'\n[init]\nlake = 'l'\n",
    );
    let told = project.cdcql(&QUERY).failed(2, &[]).stderr;
    let lines: Vec<&str> = told.lines().collect();
    let expected = [
        "cdcql.toml:1:1: error: there is no option 'memroy' of all commands; did you mean 'memory'?",
        "cdcql.toml:2:1: error: parallel is no option of all commands: write it below [run] or [verify]",
        "cdcql.toml:5:1: error: run has no option 'paralel'; did you mean 'parallel'?",
        "cdcql.toml:6:15: error: window_rows: '0' is no value of --window-rows: 0 is not in 1..=4294967295",
        "cdcql.toml:7:1: error: memory is an option of all commands: write it above the first table",
        "cdcql.toml:8:1: error: follow has no default of one's own: write --follow on the command line",
        "cdcql.toml:9:1: error: flow has no default of one's own: write --flow on the command line",
        "cdcql.toml:11:10: error: format: 'xml' is not one of ",
        "cdcql.toml:13:1: error: password has no default of one's own: write --password on the command line, or set the environment variable CDCQL_SIMULATOR_PASSWORD",
        "cdcql.toml:14:2: error: there is no command 'runn'; did you mean 'run'?",
        "cdcql.toml:17:1: error: check has no option 'format'",
        "cdcql.toml:19:1: error: lake has no default of one's own: write --lake on the command line",
    ];
    assert_eq!(lines.len(), expected.len(), "{told}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
    assert!(!told.contains("hush"), "{told}");
    // Help is there still.
    let _ = project.cdcql(&["run", "--help"]).succeeded();
}

#[test]
fn what_is_no_toml_and_no_value_of_a_variable_is_told() {
    let project = Project::new();
    let wrong = with(&project, &QUERY, "CDCQL_MEMORY", "much");
    let _ = wrong.failed(2, &["the environment variable CDCQL_MEMORY: 'much'"]);
    project.write("cdcql.toml", "[run]\nparallel = \n");
    let _ = project.cdcql(&QUERY).failed(2, &["cdcql.toml:2:"]);
}

#[test]
fn every_command_is_named_that_has_an_option_which_stands_above_the_tables() {
    let project = Project::new();
    project.write("cdcql.toml", "format = 'csv'\n");
    let tables = "write it below [plan], [status], [doctor], [verify], [query] or [maintain]";
    let told = format!("cdcql.toml:1:1: error: format is no option of all commands: {tables}");
    let _ = project.cdcql(&QUERY).failed(2, &[&told]);
}

/// What the program warns of when a variable is set.
fn warned(name: &str) -> String {
    let ended = with(&Project::new(), &QUERY, name, "hush").succeeded();
    assert_eq!(ended.stdout, TABLE, "{name}");
    assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn a_variable_that_is_almost_one_of_an_option_is_warned_of() {
    for (name, meant) in [
        ("CDCQL_QUERY_FORMT", "CDCQL_QUERY_FORMAT"),
        ("CDCQL_MEMRY", "CDCQL_MEMORY"),
        ("CDCQL_CONFGI", "CDCQL_CONFIG"),
        ("CDCQL_SIMULATER_PASSWORD", "CDCQL_SIMULATOR_PASSWORD"),
    ] {
        let told = format!(
            "warning: the environment variable {name} has no effect; did you mean {meant}?\n"
        );
        assert_eq!(warned(name), told);
    }
}

#[test]
fn a_variable_that_names_an_option_without_a_default_is_warned_of() {
    for (name, remedy) in [
        ("CDCQL_QUIET", "write --quiet on the command line"),
        ("CDCQL_QUERY_OUTPUT", "write --output on the command line"),
        ("CDCQL_RUN_FOLLOW", "write --follow on the command line"),
        (
            "CDCQL_SIMULATE_PASSWORD",
            "write --password on the command line, or set the environment variable CDCQL_SIMULATOR_PASSWORD",
        ),
        (
            "CDCQL_RUN_MEMORY",
            "--memory is an option of all commands: set CDCQL_MEMORY",
        ),
    ] {
        let told = format!("warning: the environment variable {name} has no effect: {remedy}\n");
        assert_eq!(warned(name), told);
    }
}

#[test]
fn variables_of_ones_own_are_not_warned_of() {
    for name in [
        "CDCQL_PASSWORD",
        "CDCQL_PASSWORD_2",
        "CDCQL_DB_URL",
        "CDCQL_TEST_ROWS",
        "CDCQL_BENCH_PARALLEL",
        "CDCQL_SIMULATOR_PASSWORD",
    ] {
        assert_eq!(warned(name), "", "{name}");
    }
    let empty = with(&Project::new(), &QUERY, "CDCQL_MEMRY", "").succeeded();
    assert_eq!(empty.stderr, "");
}

#[test]
fn warnings_of_variables_are_quiet_and_json_as_the_log_is() {
    let project = Project::new();
    let warned = |option: &str| {
        let arguments = [QUERY.as_slice(), &[option]].concat();
        let ended = with(&project, &arguments, "CDCQL_MEMRY", "1GiB");
        ended.succeeded().stderr
    };
    assert_eq!(warned("--quiet"), "");
    let line = warned("--log-format=json");
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["level"], "WARN");
    let message = object["message"].as_str().unwrap();
    assert!(message.contains("did you mean CDCQL_MEMORY?"), "{message}");
    let page = with(&project, &["man"], "CDCQL_MEMRY", "1GiB").succeeded();
    assert_eq!(page.stderr, "");
}
