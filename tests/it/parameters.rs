//! Parameters of pipeline files: `:name` there, and `--set name=value`.

use std::io::Write as _;
use std::process::Stdio;

use crate::served::Served;
use crate::support::{Ended, Project};

const FILE: &str = "pipelines/p.sql";
const FLOW: &str = "\
CREATE CONNECTION db TYPE sqlserver OPTIONS (url env('DB_URL'));
CREATE STREAMING TABLE t LOCATION :place
FLOW AUTO CDC FROM (SELECT id, n FROM STREAM db.dbo.a CHANGES AS a WHERE a.n >= :Least AND a.on_sale <> :sold);
";

fn served() -> Served {
    let served = Served::new();
    served.project.write(FILE, FLOW);
    served
}

/// The arguments with those that give the flow's parameters their values.
fn set<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let given = [
        "--set",
        "place=lake/of_t",
        "--set",
        "LEAST=2",
        "--set",
        "sold=false",
    ];
    [arguments, &given].concat()
}

fn query(project: &Project, arguments: &[&str]) -> Ended {
    project.cdcql(&[&["query", "--format", "csv"], arguments].concat())
}

#[test]
fn a_run_puts_values_into_the_flows_query_and_its_location() {
    let served = served();
    let _ = served.cdcql(&set(&["run", FILE])).succeeded();
    assert!(
        served
            .project
            .path()
            .join("pipelines/lake/of_t/_delta_log")
            .exists()
    );
    let rows = || {
        let sql = "SELECT id, n FROM t WHERE id < :upto ORDER BY id";
        let asked = [
            "query",
            "--pipeline",
            FILE,
            "--format",
            "csv",
            "--set",
            "upto=100",
            "-c",
            sql,
        ];
        served.cdcql(&set(&asked)).succeeded().stdout
    };
    assert_eq!(rows(), "id,n\n2,2\n4,4\n");
    served
        .execute("UPDATE dbo.a SET n = 1 WHERE id = 2; UPDATE dbo.a SET on_sale = 1 WHERE id = 3;");
    let _ = served.cdcql(&set(&["run", FILE])).succeeded();
    assert_eq!(rows(), "id,n\n3,3\n4,4\n");
    for command in ["plan", "status", "verify", "maintain", "doctor", "check"] {
        let ended = served.cdcql(&set(&[command, FILE]));
        // The query is no mirror that could be verified.
        let code = if command == "verify" { 3 } else { 0 };
        assert_eq!(ended.code, Some(code), "{command}: {}", ended.stderr);
        assert!(!ended.stderr.contains("parameter"), "{}", ended.stderr);
    }
}

#[test]
fn parameters_without_a_value_are_told_at_once_with_their_places() {
    let served = served();
    for command in [
        "run", "check", "plan", "status", "verify", "maintain", "doctor",
    ] {
        let arguments = [command, FILE, "--set", "last=2", "--set", "place=lake/t"];
        let told = [
            "p.sql:3:81: error: the parameter `:Least` has no value",
            "did you mean `:last`, or --set Least=…?",
            "p.sql:3:105: error: the parameter `:sold` has no value",
            "give it one: --set sold=…",
            "^^^^^",
        ];
        let _ = served.cdcql(&arguments).failed(3, &told);
    }
    served.project.write(FILE, &format!("SELEC 1;\n{FLOW}"));
    let told = [
        ":1:1: error",
        ":3:35: error: the parameter `:place`",
        ":4:81:",
        ":4:105:",
    ];
    let _ = served.cdcql(&["check", FILE]).failed(3, &told);
}

#[test]
fn a_parameter_that_nothing_uses_is_wrong_usage() {
    let served = served();
    for command in [
        "run", "check", "plan", "status", "verify", "maintain", "doctor",
    ] {
        let arguments = set(&[command, FILE, "--set", "plaice=x"]);
        let told =
            "no statement uses the parameter ':plaice' that --set gives; did you mean ':place'?";
        let _ = served.cdcql(&arguments).failed(2, &[told]);
    }
    assert!(!served.project.path().join("pipelines/lake").exists());
    let _ = query(&served.project, &["-c", "SELECT 1", "--set", "x=1"])
        .failed(2, &["':x'", "there are no parameters"]);
}

#[test]
fn arguments_that_make_no_sense_are_wrong_usage() {
    let project = Project::new();
    for (arguments, told) in [
        (
            ["query", "-c", "SELECT :x", "--set", "x"],
            "such as region=EU",
        ),
        (
            ["query", "-c", "SELECT :x", "--set", "=1"],
            "such as region=EU",
        ),
        (
            ["--set", "x=1", "demo", "--quiet", "--memory=1GiB"],
            "read a pipeline file",
        ),
    ] {
        let _ = project.cdcql(&arguments).failed(2, &[told]);
    }
    let apart = ["--set", "x=1", "query", "-c", "SELECT :x, :y", "--set=y=2"];
    let _ = project.cdcql(&apart).failed(2, &["write all behind it"]);
    let twice = ["-c", "SELECT :x", "--set", "x=1", "--set", "X=2"];
    let _ = query(&project, &twice).failed(2, &["'X' more than one value"]);
}

#[test]
fn queries_take_parameters_and_values_are_never_sql() {
    let project = Project::new();
    let sql = "SELECT :a AS a, :b - 1 AS b, :c AS c, :d IS NULL AS d, :e AS e";
    let given = ["a=x' OR 1 = 1; --", "b=-5", "c='5'", "d=null", "e=true"];
    let given = given.iter().flat_map(|given| ["--set", given]);
    let arguments: Vec<&str> = ["-c", sql].into_iter().chain(given).collect();
    let ended = query(&project, &arguments).succeeded();
    assert_eq!(ended.stdout, "a,b,c,d,e\nx' OR 1 = 1; --,-6,5,true,true\n");
    project.write("q.sql", "SELECT :n + 1 AS n;");
    let both = [
        "-f",
        "q.sql",
        "-c",
        "SELECT :m AS m",
        "--set",
        "n=1",
        "--set",
        "m=x",
    ];
    assert_eq!(query(&project, &both).succeeded().stdout, "n\n2\nm\nx\n");
}

#[test]
fn the_repl_tells_what_a_parameter_lacks_and_goes_on() {
    let project = Project::new();
    let mut repl = project
        .command()
        .args(["--set", "x=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = repl.stdin.take().unwrap();
    input
        .write_all(b"SELECT :y;\nSELECT :x + 41 AS n;\n")
        .unwrap();
    drop(input);
    let ended = Ended::from(repl.wait_with_output().unwrap()).succeeded();
    assert!(ended.stderr.contains("--set y=…"), "{}", ended.stderr);
    assert!(ended.stdout.contains("42"), "{}", ended.stdout);
}

#[test]
fn the_condition_of_a_run_has_no_parameters() {
    let served = Served::new();
    let _ = served.run().succeeded();
    let part = [
        "run",
        FILE,
        "--flow",
        "a",
        "--snapshot",
        "--where",
        "n = :n",
    ];
    let _ = served
        .cdcql(&part)
        .failed(3, &["there are no parameters here", "write the value"]);
}
