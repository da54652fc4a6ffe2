//! Queries over SQL Server and Delta together, from the command line and the REPL.

use std::io::Write;
use std::process::Stdio;

use crate::story::LEX;
use crate::support::{Ended, Project};

#[test]
fn source_and_target_join_in_one_query() {
    let project = Project::new();
    let _ = project.run();
    project.append_to_database(LEX);
    let answer = project.query(
        "SELECT s.customer_id, t.email AS old, s.email AS new \
         FROM app_db.dbo.customers AS s LEFT JOIN customers AS t ON t.customer_id = s.customer_id \
         WHERE t.email IS NULL OR t.email <> s.email ORDER BY s.customer_id",
    );
    assert_eq!(
        answer,
        "\
+-------------+---------------------------+-----------------------+
| customer_id | old                       | new                   |
+-------------+---------------------------+-----------------------+
| 2           | clark@dailyplanet.example | clark@lexcorp.example |
| 4           |                           | lex@lexcorp.example   |
+-------------+---------------------------+-----------------------+
"
    );
}

#[test]
fn rows_can_be_printed_for_programs() {
    let project = Project::new();
    let query = "SELECT 1 AS n, 1.50 AS d, NULL AS x, 'a,\"b' AS t, X'00FF' AS b, \
                 TIMESTAMP '2024-01-01T00:00:00.5' AS at";
    let answer = |format: &str| {
        let mut command = project.command();
        command.args(["query", "--format", format, "-c", query]);
        Ended::from(command.output().unwrap()).succeeded().stdout
    };
    let object = "{\"n\":1,\"d\":1.5,\"x\":null,\"t\":\"a,\\\"b\",\"b\":\"00ff\",\
                  \"at\":\"2024-01-01T00:00:00.500\"}";
    assert_eq!(answer("ndjson"), format!("{object}\n"));
    assert_eq!(answer("json"), format!("[{object}]\n"));
    assert_eq!(
        answer("tsv"),
        "n\td\tx\tt\tb\tat\n1\t1.5\t\t\"a,\"\"b\"\t00ff\t2024-01-01T00:00:00.500\n"
    );
    assert_eq!(
        answer("markdown"),
        "| n | d | x | t | b | at |\n| --- | --- | --- | --- | --- | --- |\n\
         | 1 | 1.5 |  | a,\"b | 00ff | 2024-01-01T00:00:00.500 |\n"
    );
    assert_eq!(
        answer("csv"),
        "n,d,x,t,b,at\n1,1.5,,\"a,\"\"b\",00ff,2024-01-01T00:00:00.500\n"
    );
}

#[test]
fn every_format_says_that_there_are_no_rows_in_its_own_way() {
    let project = Project::new();
    for (format, answer) in [
        ("csv", "n,t\n"),
        ("ndjson", ""),
        ("json", "[]\n"),
        ("markdown", "| n | t |\n| --- | --- |\n"),
        ("table", "+---+---+\n| n | t |\n+---+---+\n+---+---+\n"),
    ] {
        let query = "SELECT 1 AS n, 'a|b' AS t WHERE false";
        let ended = project.cdcql(&["query", "--format", format, "-c", query]);
        assert_eq!(ended.succeeded().stdout, answer, "{format}");
    }
}

/// Writes twenty thousand rows to a file.
fn twenty_thousand(project: &Project, format: &str) {
    let sql = "SELECT value AS n, 'x' || value AS t FROM range(0, 20000)";
    let out = format!("out.{format}");
    let arguments = ["query", "--format", format, "-o", &out, "-c", sql];
    let ended = project.cdcql(&arguments).succeeded();
    assert_eq!(ended.stdout, "");
}

#[test]
fn rows_are_written_to_a_file_which_is_there_when_it_is_whole() {
    let project = Project::new();
    twenty_thousand(&project, "csv");
    assert_eq!(project.read("out.csv").lines().count(), 20_001);
    let failing = "SELECT 1 / (value - 9000) FROM range(0, 10000)";
    let failing = ["query", "--format", "csv", "-o", "out.csv", "-c", failing];
    let _ = project.cdcql(&failing).failed(1, &["ivide"]);
    assert_eq!(project.read("out.csv").lines().count(), 20_001);
    let two = [
        "query",
        "--format",
        "parquet",
        "-o",
        "out",
        "-c",
        "SELECT 1 AS n; SELECT 2 AS n",
    ];
    let _ = project.cdcql(&two).failed(1, &["holds one result"]);
    let nowhere = ["query", "-o", "no/such/out.csv", "-c", "SELECT 1"];
    let _ = project.cdcql(&nowhere).failed(1, &["no/such/out.csv"]);
}

#[test]
fn a_file_of_the_repl_is_whole_or_as_it_was() {
    let project = Project::new();
    let typed = "\\o out.csv\n\\format csv\nSELECT 1 AS n;\n\\o\n\
                 \\o out.csv\nSELECT 1 / (value - 90000) AS n FROM range(0, 100000);\n\\o\n\
                 \\o out.parquet\n\\format parquet\nSELECT 1 AS n;\n\\format csv\nSELECT 2 AS n;\n\\o\n";
    let ended = repl(&project, &[], typed).succeeded();
    assert_eq!(project.read("out.csv"), "n\n1\n");
    for part in [
        "is not whole: the file is as it was",
        "a parquet file holds one result",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    let bytes = std::fs::read(project.path().join("out.parquet")).unwrap();
    assert!(bytes.ends_with(b"PAR1"));
}

#[test]
fn a_result_that_ends_early_leaves_those_before_it_in_the_file() {
    let project = Project::new();
    let typed = "\\o out.csv\n\\format csv\nSELECT 1 AS n;\n\
                 SELECT 1 / (value - 90000) AS n FROM range(0, 100000);\nSELECT 2 AS n;\n\\o\n";
    let ended = repl(&project, &[], typed).succeeded();
    assert!(ended.stderr.contains("ivide"), "{}", ended.stderr);
    assert_eq!(project.read("out.csv"), "n\n1\nn\n2\n");
}

#[test]
fn a_file_in_scope_is_the_same_by_every_path() {
    let project = Project::new();
    let typed = "\\i pipelines/customers.sql\n\\i ./pipelines/../pipelines/customers.sql\n\\run\n";
    let ended = repl(&project, &[], typed).succeeded();
    assert!(!ended.stderr.contains("error"), "{}", ended.stderr);
    assert_eq!(project.commits(), 1);
    let typed = "\\o ~/home.csv\n\\format csv\nSELECT 1 AS n;\n\\o\n";
    let _ = repl(&project, &[], typed).succeeded();
    assert_eq!(project.read("home.csv"), "n\n1\n");
}

#[test]
fn the_repl_runs_the_flows_of_a_file_that_has_queries_too() {
    let project = Project::new();
    let file = project.read("pipelines/customers.sql");
    project.write(
        "pipelines/customers.sql",
        &format!("{file}\nSELECT 'asked' AS said;\n"),
    );
    let typed = "\\i pipelines/customers.sql\n\\run\n\\run customers\n\\run nothing\nSELECT count(*) FROM customers;\n";
    let ended = repl(&project, &[], typed).succeeded();
    assert!(ended.stdout.contains("| asked |"), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("| 3  "),
        "{}\n{}",
        ended.stdout,
        ended.stderr
    );
    for part in ["3 inserted", "nothing new", "'nothing'"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn files_for_programs_are_read_by_others() {
    let Some(python) = std::env::var_os("CDCQL_TEST_PYTHON") else {
        eprintln!("skipped: CDCQL_TEST_PYTHON does not name a Python with pyarrow");
        return;
    };
    let project = Project::new();
    twenty_thousand(&project, "arrow");
    twenty_thousand(&project, "parquet");
    let script = "import duckdb, sys\n\
                  for table in ['out.parquet']:\n\
                  \x20   print(duckdb.sql(f\"SELECT count(*), sum(n), max(t) FROM '{table}'\").fetchall())\n\
                  import pyarrow as pa\n\
                  t = pa.ipc.open_file('out.arrow').read_all()\n\
                  print(t.num_rows, t.column('t')[19999])";
    let read = std::process::Command::new(python)
        .args(["-c", script])
        .current_dir(project.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&read.stdout).into_owned();
    let complained = String::from_utf8_lossy(&read.stderr).into_owned();
    assert_eq!(
        told, "[(20000, 199990000, 'x9999')]\n20000 x19999\n",
        "{complained}"
    );
}

#[test]
fn the_change_feed_has_every_image_in_commit_order() {
    let project = Project::new();
    project.append_to_database(LEX);
    let answer = project.query(
        "SELECT customer_id, email, _change_type FROM app_db.dbo.customers CHANGES \
         WHERE customer_id IN (2, 4)",
    );
    assert_eq!(
        answer,
        "\
+-------------+---------------------------+------------------+
| customer_id | email                     | _change_type     |
+-------------+---------------------------+------------------+
| 2           | clark@dailyplanet.example | insert           |
| 4           | lex@lexcorp.example       | insert           |
| 2           | clark@dailyplanet.example | update_preimage  |
| 2           | clark@lexcorp.example     | update_postimage |
+-------------+---------------------------+------------------+
"
    );
}

#[test]
fn a_change_feed_is_bounded_by_versions_of_its_own() {
    let project = Project::new();
    project.append_to_database(LEX);
    let versions = project.query(
        "SELECT DISTINCT _commit_version FROM app_db.dbo.customers CHANGES ORDER BY _commit_version",
    );
    let versions: Vec<&str> = versions
        .split('|')
        .map(str::trim)
        .filter(|cell| cell.len() == 20 && cell.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .collect();
    assert_eq!(versions.len(), 4, "{versions:?}");
    let count = |bounds: &str| {
        let answer = project.query(&format!(
            "SELECT count(*) AS n FROM app_db.dbo.customers CHANGES {bounds}"
        ));
        let digits = answer
            .lines()
            .nth(3)
            .unwrap()
            .trim_matches(['|', ' '])
            .to_string();
        digits.parse::<u64>().unwrap()
    };
    assert_eq!(count(""), 5);
    assert_eq!(count(&format!("FROM VERSION '{}'", versions[1])), 4);
    assert_eq!(
        count(&format!("FROM VERSION '{}' EXCLUSIVE", versions[1])),
        3
    );
    assert_eq!(
        count(&format!(
            "FROM VERSION '{}' TO '{}'",
            versions[1], versions[2]
        )),
        2
    );
    assert_eq!(
        count(&format!(
            "FROM VERSION '{}' TO '{}' EXCLUSIVE",
            versions[1], versions[2]
        )),
        1
    );
}

#[test]
fn a_change_feed_is_bounded_by_instants() {
    let project = Project::new();
    project.append_to_database(LEX);
    let column = |sql: &str| -> Vec<String> {
        let answer = project.query(sql);
        let rows = answer.lines().filter(|line| line.starts_with('|')).skip(1);
        rows.map(|line| line.trim_matches(['|', ' ']).to_string())
            .collect()
    };
    let changes = |bounds: &str| {
        column(&format!(
            "SELECT _commit_timestamp FROM app_db.dbo.customers CHANGES {bounds}"
        ))
    };
    let instants = changes("");
    let at = instants.last().unwrap();
    assert!(at.ends_with('Z'), "{at}");
    let last = instants.iter().filter(|instant| *instant == at).count();
    assert!(last < instants.len());
    assert_eq!(changes(&format!("FROM TIMESTAMP '{at}'")).len(), last);
    assert!(changes(&format!("FROM TIMESTAMP '{at}' EXCLUSIVE")).is_empty());
    let before = changes(&format!(
        "FROM TIMESTAMP '{}' TO '{at}' EXCLUSIVE",
        instants[0]
    ));
    assert_eq!(before.len(), instants.len() - last);
}

#[test]
fn filters_and_limits_of_live_and_raw_tables_are_sent_and_explained() {
    let project = Project::new();
    let plan = |sql: &str| project.query(&format!("EXPLAIN {sql}"));
    let live = plan("SELECT city FROM app_db.dbo.customers WHERE customer_id = 1 LIMIT 3");
    let sent = "SELECT TOP (@P2) t.[city] FROM [dbo].[customers] AS t WHERE t.[customer_id] = CAST(@P1 AS int) \
                OPTION (MAXDOP 1) [@P1 = 1, @P2 = 3]";
    assert!(live.contains(sent), "{live}");
    let raw = "SELECT \"__$operation\" FROM app_db.cdc.dbo_customers_CT WHERE \"__$operation\" <> 3 \
               AND \"__$start_lsn\" > X'00000000000000000000'";
    let sent =
        "WHERE t.[__$operation] <> CAST(@P1 AS int) AND t.[__$start_lsn] > CAST(@P2 AS binary(10))";
    let explained = plan(raw);
    assert!(explained.contains(sent), "{explained}");
    assert_eq!(project.query(raw).lines().count(), 6, "two inserts");
    let feed = plan("SELECT city FROM app_db.dbo.customers CHANGES");
    assert!(feed.contains("FROM cdc.[dbo_customers_CT] AS c"), "{feed}");
}

#[test]
fn the_raw_change_table_keeps_sql_servers_names() {
    let project = Project::new();
    let answer = project.query(
        "SELECT \"__$operation\", customer_id FROM app_db.cdc.dbo_customers_CT ORDER BY \"__$start_lsn\"",
    );
    assert!(
        answer.contains("| __$operation | customer_id |"),
        "{answer}"
    );
    assert_eq!(answer.lines().count(), 6, "two inserts: {answer}");
}

#[test]
fn an_earlier_version_of_the_target_can_be_read() {
    let project = Project::new();
    let _ = project.run();
    project.append_to_database(LEX);
    let _ = project.run();
    let answer = project.query("SELECT count(*) AS n FROM customers VERSION AS OF 0");
    assert!(answer.contains("| 3 |"), "{answer}");
}

#[test]
fn stdout_has_data_alone_and_an_error_its_exit_code() {
    let project = Project::new();
    let _ = project.run();
    project
        .cdcql(&[
            "query",
            "--pipeline",
            "pipelines/customers.sql",
            "-c",
            "SELECT nonsense FROM customers",
        ])
        .failed(3, &["nonsense"]);
}

#[test]
fn a_stream_outside_a_flow_is_refused_and_changes_is_named() {
    let project = Project::new();
    project
        .cdcql(&[
            "query",
            "--pipeline",
            "pipelines/customers.sql",
            "-c",
            "SELECT * FROM STREAM app_db.dbo.customers CHANGES",
        ])
        .failed(3, &["STREAM", "CHANGES"]);
}

fn repl(project: &Project, arguments: &[&str], input: &str) -> Ended {
    let mut child = project
        .command()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    Ended::from(child.wait_with_output().unwrap())
}

#[test]
fn the_repl_reads_several_lines_and_survives_errors() {
    let project = Project::new();
    let _ = project.run();
    let ended = repl(
        &project,
        &["--pipeline", "pipelines/customers.sql"],
        "SELECT\n  count(*) AS n\nFROM customers;\nSELECT nonsense;\nSELECT ';' AS semicolon;\n",
    )
    .succeeded();
    assert!(ended.stdout.contains("| n |"), "{}", ended.stdout);
    assert!(ended.stdout.contains("| 3 |"), "{}", ended.stdout);
    assert!(ended.stdout.contains("| semicolon |"), "{}", ended.stdout);
    assert!(ended.stderr.contains("nonsense"), "{}", ended.stderr);
}

#[test]
fn the_repl_opens_without_a_file_and_takes_connections() {
    let project = Project::new();
    let ended = repl(
        &project,
        &[],
        "CREATE CONNECTION db TYPE sqlserver OPTIONS (url 'embedded:pipelines/app_db.sql');\n\
         SELECT city FROM db.dbo.customers WHERE customer_id = 1;\n",
    )
    .succeeded();
    assert!(
        ended.stdout.contains("Gotham City"),
        "{}\n{}",
        ended.stdout,
        ended.stderr
    );
}

#[test]
fn rows_of_a_delta_table_are_updated_and_deleted() {
    let project = Project::new();
    let _ = project.run();
    let count = |sql: &str| {
        let answer = project.query(sql);
        let mut lines = answer.lines().skip(3);
        lines.next().unwrap().trim_matches(['|', ' ']).to_string()
    };
    let names = || count("SELECT string_agg(first_name, ';' ORDER BY customer_id) FROM customers");
    let before = names();
    // The optimizer makes nothing of these, which must not be taken for everything.
    assert_eq!(count("DELETE FROM customers WHERE false"), "0");
    assert_eq!(count("DELETE FROM customers WHERE first_name = NULL"), "0");
    assert_eq!(
        count("UPDATE customers SET first_name = 'x' WHERE 1 = 0"),
        "0"
    );
    assert_eq!((names(), project.commits()), (before, 1));

    let update = "UPDATE customers AS c SET first_name = upper(c.first_name) || '!', email = first_name WHERE c.customer_id >= 2";
    assert_eq!(count(update), "2");
    assert_eq!(
        count(
            "SELECT string_agg(first_name || email, ';' ORDER BY customer_id) FROM customers WHERE customer_id = 2"
        ),
        "CLARK!Clark"
    );
    assert_eq!(count("DELETE FROM customers WHERE Customer_ID = 2"), "1");
    assert_eq!(count("SELECT count(*) FROM customers"), "2");
    assert_eq!(count("TRUNCATE TABLE customers"), "2");
    assert_eq!(count("SELECT count(*) FROM customers"), "0");
    assert_eq!(project.commits(), 4);
    let explained = project.query("EXPLAIN DELETE FROM customers WHERE customer_id = 2");
    assert!(explained.contains("delete where"), "{explained}");
}

#[test]
fn the_pipeline_may_stand_before_the_query() {
    let project = Project::new();
    let _ = project.run();
    let ask = [
        "query",
        "--format",
        "csv",
        "-c",
        "SELECT count(*) AS n FROM customers",
    ];
    let before = [["--pipeline", "pipelines/customers.sql"].as_slice(), &ask].concat();
    assert_eq!(project.cdcql(&before).succeeded().stdout, "n\n3\n");
    let missing = [["--pipeline", "missing.sql"].as_slice(), &ask].concat();
    let _ = project.cdcql(&missing).failed(1, &["missing.sql"]);
    let twice = [
        before.as_slice(),
        &["--pipeline", "pipelines/customers.sql"],
    ]
    .concat();
    let _ = project
        .cdcql(&twice)
        .failed(2, &["both before the command and behind it"]);
}

#[test]
fn a_pipeline_before_a_command_that_takes_none_is_wrong_usage() {
    let project = Project::new();
    let given = |command: &[&str]| {
        let pipeline = ["--pipeline", "pipelines/customers.sql"];
        project.cdcql(&[pipeline.as_slice(), command].concat())
    };
    for command in [
        "run", "check", "plan", "status", "doctor", "verify", "maintain",
    ] {
        let told = format!("{command} takes its file without it: cdcql {command} FILE");
        let _ = given(&[command, "pipelines/customers.sql"]).failed(2, &[&told]);
    }
    assert_eq!(project.commits(), 0);
    for command in [["man"].as_slice(), &["demo"], &["init", "made"]] {
        let _ = given(command).failed(2, &["this command reads no pipeline file"]);
    }
}

#[test]
fn statements_of_the_command_line_may_begin_with_a_comment() {
    let project = Project::new();
    let ask = |arguments: &[&str]| {
        let ended = project.cdcql(&[["query", "--format", "csv"].as_slice(), arguments].concat());
        ended.succeeded().stdout
    };
    assert_eq!(ask(&["-c", "-- nothing"]), "");
    assert_eq!(ask(&["--command", "-- one\nSELECT 1 AS n"]), "n\n1\n");
    assert_eq!(ask(&["-c", "--", "-c", "SELECT 1 AS n"]), "n\n1\n");
    // They look like options that are looked for before all others.
    assert_eq!(ask(&["-c", "--config=none\nSELECT 1 AS n"]), "n\n1\n");
    assert_eq!(ask(&["-qc", "--config", "-c", "SELECT 1 AS n"]), "n\n1\n");
    let with_parameter = ["--set", "n=1", "-c", "--set=m\nSELECT :n AS n"];
    assert_eq!(ask(&with_parameter), "n\n1\n");
    let _ = project
        .cdcql(&["query", "-c"])
        .failed(2, &["a value is required for '--command <SQL>'"]);
}

#[test]
fn a_dash_is_the_file_that_comes_through_standard_input() {
    let project = Project::new();
    let ask = ["query", "--format", "csv", "-f", "-", "-c", "SELECT 2 AS n"];
    // Its relative paths start at the working directory.
    let typed = "CREATE CONNECTION db TYPE sqlserver OPTIONS (url 'embedded:pipelines/app_db.sql');\n\
                 SELECT city FROM db.dbo.customers WHERE customer_id = 1;\n";
    let ended = repl(&project, &ask, typed).succeeded();
    assert_eq!(ended.stdout, "city\nGotham City\nn\n2\n");
    let _ = repl(&project, &ask, "SELECT 1;\nSELEC 1;\n").failed(3, &["<stdin>:2:1: error"]);
    project.write("-", "SELECT 3 AS n");
    let file = ["query", "--format", "csv", "-f", "./-"];
    assert_eq!(project.cdcql(&file).succeeded().stdout, "n\n3\n");
}
