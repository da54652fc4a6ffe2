//! Repairs beside runs, and what is none of a flow's.

use std::process::Stdio;

use serde_json::json;

use super::{VERIFY, agrees, differs, edit, flow_of, listed, meddle, repair, served};
use crate::follow::Follower;
use crate::served::Served;

#[test]
fn a_repair_beside_a_flow_that_is_followed_and_busy_is_made() {
    let served = served();
    let follow = ["run", "pipelines/p.sql", "--follow", "--every", "50ms"];
    let mut follower = Follower::spawn(served.command(&follow));
    follower.wait_for(&["a: first copy:"]);
    meddle(
        &served,
        "DELETE FROM a WHERE id = 3; INSERT INTO a SELECT * FROM a WHERE id = 4; INSERT INTO a VALUES (900, 1, 1, true);",
    );
    let mut command = served.command(&[&VERIFY[..], &["--repair"]].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut verify = command.spawn().unwrap();
    let mut n = 100;
    while verify.try_wait().unwrap().is_none() {
        n += 1;
        served.execute(&format!("UPDATE dbo.a SET n = {n} WHERE id = 1;"));
    }
    let ended = crate::support::Ended::from(verify.wait_with_output().unwrap());
    let flow = flow_of(&ended.succeeded().stdout);
    assert_eq!(flow["state"], "repaired", "{flow}");
    assert_eq!(flow["repaired"], 3, "{flow}");
    let _ = follower.end("-TERM");
    let _ = served.run().succeeded();
    served.assert_true();
    let _ = agrees(&served);
}

#[test]
fn columns_that_a_flow_does_not_write_are_not_compared_and_kept() {
    let served = served();
    let columns = "a (id INT, n INT, mark STRING) USING DELTA";
    let stars = "WHEN MATCHED THEN UPDATE SET *
WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT *;";
    let named = "WHEN MATCHED THEN UPDATE SET n = change.n
        WHEN NOT MATCHED AND change._change_type <> 'delete' THEN INSERT (id, n) VALUES (change.id, change.n);";
    edit(&served, &[("a USING DELTA", columns), (stars, named)]);
    let _ = served.run().succeeded();
    meddle(&served, "UPDATE a SET mark = 'mine' WHERE id = 2");
    assert_eq!(agrees(&served)["uncompared"], json!(["mark"]));
    meddle(&served, "UPDATE a SET n = 0 WHERE id = 2");
    assert_eq!(listed(&differs(&served)), ["id = 2: different n"]);
    let _ = repair(&served).succeeded();
    let _ = agrees(&served);
    let row = served.csv("SELECT n, mark FROM a WHERE id = 2");
    assert_eq!(row, "n,mark\n2,mine\n");
}

#[test]
fn columns_that_the_source_has_lost_are_not_compared_and_kept() {
    for policy in ["ignore", "add"] {
        let served = served();
        let location =
            format!("LOCATION 'lake/a' TBLPROPERTIES ('cdcql.onSchemaChange' = '{policy}')");
        edit(&served, &[("LOCATION 'lake/a'", &location)]);
        let _ = served.run().succeeded();
        assert_eq!(agrees(&served)["uncompared"], json!([]));
        served.execute("ALTER TABLE dbo.a DROP COLUMN n;");
        served.execute(
            "UPDATE dbo.a SET on_sale = 1 WHERE id = 1; INSERT INTO dbo.a VALUES (7, 70, 1);",
        );
        let _ = served.run().succeeded();
        assert_eq!(agrees(&served)["uncompared"], json!(["n"]));
        meddle(
            &served,
            "UPDATE a SET code = 1 WHERE id = 3; DELETE FROM a WHERE id = 4",
        );
        let unlike = ["id = 3: different code", "id = 4: only in source"];
        assert_eq!(listed(&differs(&served)), unlike);
        let _ = repair(&served).succeeded();
        let _ = agrees(&served);
        let rows = served.csv("SELECT id, n FROM a ORDER BY id");
        assert_eq!(rows, "id,n\n1,\n2,2\n3,3\n4,\n7,\n", "{policy}");
        let anew = served.cdcql(&["run", "pipelines/p.sql", "--snapshot"]);
        let _ = anew.succeeded();
        assert_eq!(
            served.csv("SELECT id, n FROM a ORDER BY id"),
            rows,
            "{policy}"
        );
        let csv = served.cdcql(&["verify", "pipelines/p.sql", "--format", "csv"]);
        assert!(csv.stdout.contains(",,n,"), "{}", csv.stdout);
        let table = served.cdcql(&["verify", "pipelines/p.sql"]).succeeded();
        assert!(table.stderr.contains("a: not compared"), "{}", table.stderr);
    }
}

#[test]
fn a_table_without_rows_has_none_too_many() {
    let served = served();
    let _ = served.run().succeeded();
    served.execute("DELETE FROM dbo.a;");
    assert_eq!(agrees(&served)["left_out"], 4);
    let _ = served.run().succeeded();
    assert_eq!(agrees(&served)["target_rows"], 0);
    meddle(&served, "INSERT INTO a VALUES (900, 1, 1, true);");
    assert_eq!(listed(&differs(&served)), ["id = 900: only in target"]);
    let _ = repair(&served).succeeded();
    assert_eq!(agrees(&served)["target_rows"], 0);
}

/// A table of three rows whose key begins with `k`.
fn keyed(column: &str, values: [&str; 3]) -> Served {
    let [first, second, third] = values;
    let script = format!(
        "CREATE TABLE dbo.a (k {column} NOT NULL, id INT NOT NULL, n INT NULL, PRIMARY KEY (k, id));
        GO
        INSERT INTO dbo.a VALUES ({first}, 1, 1); INSERT INTO dbo.a VALUES ({second}, 2, 2);
        INSERT INTO dbo.a VALUES ({third}, 3, 3);
        GO
        EXEC sys.sp_cdc_enable_db;
        EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'a', @role_name = NULL;"
    );
    let served = Served::of(&script);
    let on = "ON target.id = change.id";
    edit(
        &served,
        &[(on, "ON target.k = change.k AND target.id = change.id")],
    );
    served
}

fn keys_are_told_apart(column: &str, values: [&str; 3], partitioned: bool) {
    let served = keyed(column, values);
    if partitioned {
        edit(
            &served,
            &[("USING DELTA", "USING DELTA PARTITIONED BY (k)")],
        );
    }
    let case = format!("{column} {values:?} {partitioned}");
    let _ = served.run().succeeded();
    let flow = flow_of(&served.cdcql(&VERIFY).stdout);
    assert_eq!(flow["state"], "agrees", "{case} {flow}");
    let [first, second, third] = values;
    served.execute(&format!(
        "UPDATE dbo.a SET k = {second} WHERE id = 1; UPDATE dbo.a SET n = 30 WHERE k = {third};
         DELETE FROM dbo.a WHERE id = 2; INSERT INTO dbo.a VALUES ({first}, 4, 4);"
    ));
    let flow = flow_of(&served.cdcql(&VERIFY).stdout);
    assert_eq!(
        (&flow["state"], &flow["left_out"]),
        (&"agrees".into(), &5.into()),
        "{case} {flow}"
    );
    let _ = served.run().succeeded();
    let _ = agrees(&served);
    meddle(
        &served,
        "UPDATE a SET n = 0 WHERE id = 3; DELETE FROM a WHERE id = 1; INSERT INTO a SELECT k, 9, n FROM a WHERE id = 4",
    );
    let flow = differs(&served);
    let counts = ["only_in_source", "only_in_target", "different"].map(|name| flow[name].clone());
    assert_eq!(counts, [json!(1), json!(1), json!(1)], "{case} {flow}");
    // Each is listed as the condition that finds it.
    for one in flow["differences"].as_array().unwrap() {
        let count = i32::from(one["rows"] != "only in source");
        let found = served.csv(&format!(
            "SELECT count(*) AS c FROM a WHERE {}",
            one["key"].as_str().unwrap()
        ));
        assert_eq!(found, format!("c\n{count}\n"), "{case} {one}");
    }
    let _ = repair(&served).succeeded();
    let _ = agrees(&served);
    served.assert_true();
}

#[test]
fn keys_of_all_types_are_told_apart() {
    for (column, values) in [
        ("CHAR(5)", ["'a'", "'A '", "''"]),
        (
            "DATETIME",
            [
                "'2026-01-01T00:00:00.003'",
                "'2026-01-01T00:00:00.007'",
                "'1753-01-01'",
            ],
        ),
        (
            "DATETIMEOFFSET(3)",
            [
                "'2026-01-01T00:00:00.001+05:30'",
                "'2026-01-01T00:00:00.001Z'",
                "'0001-01-01Z'",
            ],
        ),
        (
            "UNIQUEIDENTIFIER",
            [
                "'6f9619ff-8b86-d011-b42d-00c04fc964ff'",
                "'00000000-0000-0000-0000-000000000001'",
                "'ff000000-0000-0000-0000-000000000000'",
            ],
        ),
        ("VARBINARY(8)", ["0x00", "0x0000", "0x"]),
        ("FLOAT", ["0.1", "-1e300", "0"]),
        ("MONEY", ["1.5", "-922337203685477.5808", "0"]),
        ("TIME(3)", ["'23:59:59.999'", "'00:00'", "'12:00'"]),
    ] {
        keys_are_told_apart(column, values, false);
    }
}

#[test]
fn keys_that_part_a_table_are_told_apart() {
    for (column, values) in [
        ("NVARCHAR(20)", ["N'a=b/c'", "N'ä b'", "N' '"]),
        ("DATE", ["'0001-01-01'", "'9999-12-31'", "'1970-01-01'"]),
        ("DECIMAL(9, 3)", ["1.5", "-1.500", "0"]),
        (
            "DATETIME2(6)",
            [
                "'2026-01-01T00:00:00.000001'",
                "'2026-01-01T00:00:00.1'",
                "'1753-01-01'",
            ],
        ),
    ] {
        keys_are_told_apart(column, values, true);
    }
}
