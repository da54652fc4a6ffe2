//! What the formats of results keep, and where results go.

use std::io::{Read as _, pipe};

use crate::support::{Ended, Project};

fn answer(project: &Project, format: &str, sql: &str) -> String {
    let ended = project.cdcql(&["query", "--format", format, "-c", sql]);
    ended.succeeded().stdout
}

#[test]
fn nested_values_are_json_among_separated_values() {
    let project = Project::new();
    let sql = "SELECT 1 AS n, named_struct('srid', 4326, 'wkb', X'00ff') AS place, \
               [1, NULL, 3] AS list, CAST(NULL AS INT[]) AS none";
    assert_eq!(
        answer(&project, "csv", sql),
        "n,place,list,none\n\
         1,\"{\"\"srid\"\":4326,\"\"wkb\"\":\"\"00ff\"\"}\",\"[1,null,3]\",\n"
    );
    assert_eq!(
        answer(&project, "tsv", sql),
        "n\tplace\tlist\tnone\n\
         1\t\"{\"\"srid\"\":4326,\"\"wkb\"\":\"\"00ff\"\"}\"\t[1,null,3]\t\n"
    );
}

#[test]
fn null_is_no_empty_text_among_separated_values() {
    let project = Project::new();
    let sql = "SELECT NULL AS a, '' AS b, 'x;y' AS c, E'two\nlines' AS d, 'tab\there' AS e";
    assert_eq!(
        answer(&project, "csv", sql),
        "a,b,c,d,e\n,\"\",x;y,\"two\nlines\",tab\there\n"
    );
    assert_eq!(
        answer(&project, "tsv", sql),
        "a\tb\tc\td\te\n\t\"\"\tx;y\t\"two\nlines\"\t\"tab\there\"\n"
    );
    assert_eq!(answer(&project, "csv", "SELECT NULL AS a"), "a\n\"\"\n");
}

#[test]
fn numbers_that_json_does_not_have_are_texts() {
    let project = Project::new();
    let sql =
        "SELECT 'NaN'::double AS a, ['-inf'::float, 1.5::float, NULL] AS b, 'inf'::double AS c";
    assert_eq!(
        answer(&project, "ndjson", sql),
        "{\"a\":\"NaN\",\"b\":[\"-Infinity\",1.5,null],\"c\":\"Infinity\"}\n"
    );
}

#[test]
fn a_date_that_no_calendar_has_is_no_value_of_any_format() {
    let project = Project::new();
    let date = "arrow_cast(2000000000, 'Date32')";
    for (sql, formats) in [
        (
            format!("SELECT {date} AS d"),
            &["json", "ndjson", "csv", "table", "markdown"][..],
        ),
        (format!("SELECT [{date}] AS d"), &["json", "ndjson", "csv"]),
    ] {
        for format in formats {
            let ended = project.cdcql(&["query", "--format", format, "-c", &sql]);
            assert_eq!(ended.code, Some(1), "{sql} as {format}");
            assert!(ended.stderr.contains("2000000000"), "{}", ended.stderr);
            assert!(!ended.stdout.contains("2000000000"), "{}", ended.stdout);
        }
    }
}

#[test]
fn nobody_has_to_read_what_is_said_of_a_command() {
    let project = Project::new();
    let unread = |arguments: &[&str]| {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = project.command();
        let ended = command.args(arguments).stderr(writer).output().unwrap();
        Ended::from(ended)
    };
    let run = ["run", "pipelines/customers.sql"];
    let _ = unread(&run).succeeded();
    assert_eq!(project.commits(), 1);
    let _ = unread(&["-vv", "run", "pipelines/customers.sql"]).succeeded();
    let _ = unread(&["--log-format", "json", "run", "pipelines/customers.sql"]).succeeded();
    assert_eq!(unread(&["query", "-c", "SELECT nope"]).code, Some(3));
    assert_eq!(unread(&["check", "pipelines/none.sql"]).code, Some(1));
    let _ = unread(&["query", "-c", "EXPLAIN SELECT 1"]).succeeded();
}

#[test]
fn a_device_is_written_to_as_it_is() {
    let project = Project::new();
    let (mut reader, writer) = pipe().unwrap();
    let mut command = project.command();
    command.args(["query", "--format", "csv", "-o", "/dev/stdout"]);
    command.args(["-c", "SELECT 1 AS n"]).stdout(writer);
    assert!(command.status().unwrap().success());
    drop(command);
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert_eq!(read, "n\n1\n");

    // A file that is stdout keeps what is in it.
    project.write("out", "before\n");
    let file = std::fs::OpenOptions::new()
        .append(true)
        .open(project.path().join("out"));
    let mut command = project.command();
    command.args(["query", "--format", "csv", "-o", "/dev/stdout"]);
    command.args(["-c", "SELECT 1 AS n"]).stdout(file.unwrap());
    assert!(command.status().unwrap().success());
    assert_eq!(project.read("out"), "before\nn\n1\n");

    // A folder of devices has files too.
    let shared = std::path::Path::new("/dev/shm");
    if shared.is_dir() {
        let folder = tempfile::tempdir_in(shared).unwrap();
        let out = folder.path().join("out.csv");
        for _ in 0..2 {
            let name = out.to_str().unwrap();
            let query = [
                "query",
                "-o",
                name,
                "--format",
                "csv",
                "-c",
                "SELECT 1 AS n",
            ];
            let _ = project.cdcql(&query).succeeded();
            assert_eq!(std::fs::read_to_string(&out).unwrap(), "n\n1\n");
        }
    }

    let nowhere = ["query", "-o", "none/out", "-c", "SELECT 1 AS n"];
    let ended = project
        .cdcql(&nowhere)
        .failed(1, &["cannot write none/out"]);
    assert!(!ended.stderr.contains(".tmp"), "{}", ended.stderr);
}
