//! Windows: how much one holds, and that they follow one another without a gap.

use crate::served::Served;

/// Six transactions, of which the fourth has five changes.
const CHANGES: [&str; 6] = [
    "UPDATE dbo.a SET n = 10 WHERE id = 1;",
    "INSERT INTO dbo.a VALUES (5, 50, 5, 0);",
    "UPDATE dbo.a SET id = 9 WHERE id = 2;",
    "BEGIN TRAN UPDATE dbo.a SET n = 11 WHERE id = 1 UPDATE dbo.a SET n = 12 WHERE id = 1
     DELETE FROM dbo.a WHERE id = 5 INSERT INTO dbo.a VALUES (5, 51, 6, 1) COMMIT;",
    "DELETE FROM dbo.a WHERE id = 9;",
    "UPDATE dbo.a SET n = 13 WHERE id = 1;",
];

fn commits(served: &Served) -> usize {
    let log = served.project.path().join("pipelines/lake/a/_delta_log");
    let names = std::fs::read_dir(log).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_str().unwrap().ends_with(".json"))
        .count()
}

/// The table after the changes in windows as `arguments` have them, and how many there were.
fn applied(arguments: &[&str]) -> (String, usize) {
    let served = Served::new();
    let _ = served.run().succeeded();
    let before = commits(&served);
    for change in CHANGES {
        served.execute(change);
    }
    let run = [&["run", "pipelines/p.sql"], arguments].concat();
    let ended = served.cdcql(&run).succeeded();
    let windows = commits(&served) - before;
    if windows > 1 {
        let told = format!("in {windows} windows");
        assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    }
    served.assert_true();
    let again = served.cdcql(&run).succeeded();
    assert!(again.stderr.contains("nothing new"), "{}", again.stderr);
    (served.rows("a"), windows)
}

#[test]
fn windows_of_every_size_give_the_same_rows() {
    let (whole, windows) = applied(&[]);
    assert_eq!(windows, 1);
    for (arguments, expected) in [
        (["--window-transactions", "1"], 6),
        (["--window-transactions", "2"], 3),
        (["--window-transactions", "4"], 2),
        (["--window-transactions", "6"], 1),
        (["--window-rows", "1"], 6),
        (["--window-rows", "3"], 3),
        (["--window-rows", "1000"], 1),
        // Each row has 64 bytes: there is no column whose length varies.
        (["--window-bytes", "64"], 6),
        (["--window-bytes", "192"], 3),
        (["--window-bytes", "1MiB"], 1),
    ] {
        let (rows, windows) = applied(&arguments);
        assert_eq!(
            (rows.as_str(), windows),
            (whole.as_str(), expected),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_window_of_nothing_is_refused() {
    let served = Served::new();
    for flag in ["--window-rows", "--window-transactions"] {
        let _ = served
            .cdcql(&["run", "pipelines/p.sql", flag, "0"])
            .failed(2, &[flag]);
    }
}
