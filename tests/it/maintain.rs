//! `cdcql maintain`: faster tables with the same rows.

use crate::support::{Ended, Project};

const DATABASE: &str = "\
CREATE TABLE dbo.a (id INT NOT NULL PRIMARY KEY, n INT NOT NULL);
CREATE TABLE dbo.b (id INT NOT NULL PRIMARY KEY, n INT NOT NULL);
GO
INSERT INTO dbo.a VALUES (1, 1), (2, 2), (3, 3);
INSERT INTO dbo.b VALUES (1, 1);
GO
EXEC sys.sp_cdc_enable_db;
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;
GO
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'b', @role_name = NULL;
GO
";

/// A project whose `p.sql` copies the tables `a` and `b`.
fn project() -> Project {
    let project = Project::new();
    project.write("pipelines/app_db.sql", DATABASE);
    let connection =
        "CREATE CONNECTION db TYPE sqlserver OPTIONS (url env('DB_URL', 'embedded:app_db.sql'));\n";
    let flow = |table: &str| {
        format!(
            "CREATE TABLE IF NOT EXISTS {table} USING DELTA LOCATION 'lake/{table}';
             MERGE INTO {table} AS target USING STREAM db.dbo.{table} CHANGES AS change ON target.id = change.id
             WHEN MATCHED AND change._change_type = 'delete' THEN DELETE
             WHEN MATCHED THEN UPDATE SET *
             WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;\n"
        )
    };
    project.write(
        "pipelines/p.sql",
        &format!("{connection}{}{}", flow("a"), flow("b")),
    );
    project
}

fn run(project: &Project) -> Ended {
    project.cdcql(&["run", "pipelines/p.sql"]).succeeded()
}

/// Runs `maintain` without a way to the source.
fn maintain(project: &Project, arguments: &[&str]) -> Ended {
    let mut command = project.command();
    command
        .args(["maintain", "pipelines/p.sql"])
        .args(arguments)
        .env("DB_URL", "sqlserver://127.0.0.1:1/nowhere");
    Ended::from(command.output().unwrap())
}

fn rows(project: &Project) -> String {
    let sql = "SELECT 'a' AS t, * FROM a UNION ALL SELECT 'b', * FROM b ORDER BY 1, 2";
    let arguments = ["query", "--pipeline", "pipelines/p.sql", "-c", sql];
    project.cdcql(&arguments).succeeded().stdout
}

/// The files of a table and of its log, by name.
fn files(project: &Project, table: &str) -> Vec<String> {
    let folder = project.path().join("pipelines/lake").join(table);
    let mut names = Vec::new();
    for folder in [folder.clone(), folder.join("_delta_log")] {
        let entries = std::fs::read_dir(folder).unwrap();
        names.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    }
    names.sort();
    names
}

/// A first copy, and five windows that each add a small file to `a`.
fn with_small_files() -> Project {
    let project = project();
    let _ = run(&project);
    for id in 10..15 {
        project.append_to_database(&format!("INSERT INTO dbo.a VALUES ({id}, 0);"));
        let _ = run(&project);
    }
    project
}

#[test]
fn many_windows_become_one_file_with_the_same_rows_and_the_flow_goes_on() {
    let project = with_small_files();
    let (before, names) = (rows(&project), files(&project, "a"));

    let told = maintain(&project, &["--dry-run", "--format", "csv"]).succeeded();
    let told_line = told.stdout.lines().nth(1).unwrap();
    assert_eq!(
        told.stdout.lines().next(),
        Some("table,action,files,bytes,rows,deleted_rows,files_after,bytes_after,version")
    );
    assert!(told_line.starts_with("a,rewrite,6,"), "{told_line}");
    assert!(told_line.ends_with(",8,0,,,"), "{told_line}");
    assert!(
        told.stderr.contains("a: would rewrite 6 files ("),
        "{}",
        told.stderr
    );
    assert!(told.stderr.contains("b: nothing to do"), "{}", told.stderr);
    assert_eq!(files(&project, "a"), names, "a dry run changes nothing");

    let done = maintain(&project, &["--format", "json"]).succeeded();
    let lines: Vec<serde_json::Value> = done
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{}", done.stdout);
    for (name, value) in [
        ("files", 6),
        ("rows", 8),
        ("deleted_rows", 0),
        ("files_after", 1),
        ("version", 6),
    ] {
        assert_eq!(lines[0][name], value, "{name}");
    }
    assert_eq!(rows(&project), before);
    let again = maintain(&project, &["--format", "csv"]).succeeded();
    assert_eq!(again.stdout.lines().count(), 1, "{}", again.stdout);
    assert!(
        again.stderr.contains("a: nothing to do"),
        "{}",
        again.stderr
    );

    project.append_to_database(
        "UPDATE dbo.a SET n = 9 WHERE id = 12; DELETE FROM dbo.a WHERE id = 1;",
    );
    let merged = run(&project);
    assert!(
        merged
            .stderr
            .contains("a: 0 inserted, 1 updated, 1 deleted"),
        "{}",
        merged.stderr
    );
    let now = rows(&project);
    assert!(
        now.contains("| a | 12 | 9 |") && !now.contains("| a | 1  |"),
        "{now}"
    );
}

#[test]
fn one_flow_alone_can_be_maintained_and_an_unknown_one_is_named() {
    let project = with_small_files();
    let names = files(&project, "a");
    let other = maintain(&project, &["--flow", "B"]).succeeded();
    assert!(!other.stderr.contains("a: "), "{}", other.stderr);
    assert_eq!(files(&project, "a"), names);
    let unknown = maintain(&project, &["--flow", "b", "--flow", "aa"]);
    let _ = unknown.failed(2, &["there is no flow 'aa'; did you mean 'a'?"]);
    let quiet = maintain(&project, &["-q", "--flow", "a", "--format", "csv"]).succeeded();
    assert_eq!(quiet.stderr, "");
    assert!(quiet.stdout.contains("\na,rewrite,6,"), "{}", quiet.stdout);
}

#[test]
fn a_vacuum_below_the_retention_is_refused_before_anything_is_done() {
    let project = with_small_files();
    let names = files(&project, "a");
    let refused = maintain(&project, &["--vacuum", "--retain", "1"]);
    let words = ["p.sql:", "168 hours", "delta.deletedFileRetentionDuration"];
    let _ = refused.failed(2, &words);
    for arguments in [["--retain", "1"].as_slice(), &["--vacuum", "--force"]] {
        let _ = maintain(&project, arguments).failed(2, &["--help"]);
    }
    assert_eq!(files(&project, "a"), names);

    let before = rows(&project);
    let kept = maintain(&project, &["--vacuum"]).succeeded();
    assert!(!kept.stdout.contains("vacuum"), "{}", kept.stdout);
    let forced = ["--vacuum", "--retain", "0", "--force"];
    let deleted = maintain(&project, &forced).succeeded();
    assert!(
        deleted.stderr.contains("a: 6 files (")
            && deleted.stderr.contains("that no version needed"),
        "{}",
        deleted.stderr
    );
    let parquet = files(&project, "a");
    let parquet = parquet.iter().filter(|name| name.starts_with("part-"));
    assert_eq!(parquet.count(), 1);
    assert_eq!(rows(&project), before);
}

#[test]
fn a_file_without_a_flow_maintains_the_tables_that_it_declares() {
    let project = with_small_files();
    project.write(
        "pipelines/p.sql",
        "CREATE TABLE IF NOT EXISTS a USING DELTA LOCATION 'lake/a';
         CREATE TABLE IF NOT EXISTS later USING DELTA LOCATION 'lake/later';",
    );
    let done = maintain(&project, &["--format", "csv"]).succeeded();
    assert!(done.stdout.contains("\na,rewrite,6,"), "{}", done.stdout);
    assert!(
        done.stderr.contains("later: no table yet at "),
        "{}",
        done.stderr
    );
    assert!(!project.path().join("pipelines/lake/later").exists());
    let unknown = maintain(&project, &["--flow", "a"]);
    let _ = unknown.failed(2, &["there is no flow 'a'"]);
}

#[test]
fn a_table_that_fails_is_named_with_its_place_and_holds_no_other() {
    let project = with_small_files();
    let log = project.path().join("pipelines/lake/b/_delta_log");
    std::fs::write(log.join("00000000000000000000.json"), "no commit").unwrap();
    let ended = maintain(&project, &["--format", "csv"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stdout.contains("\na,rewrite,6,"), "{}", ended.stdout);
    assert!(ended.stderr.contains("p.sql:8:"), "{}", ended.stderr);
    assert!(ended.stderr.contains("lake/b"), "{}", ended.stderr);

    project.write("pipelines/p.sql", "SELECT 1;");
    let _ = maintain(&project, &[]).failed(3, &["p.sql:1:1"]);
}
