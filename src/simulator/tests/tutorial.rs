//! The tutorial's script.

use super::{Database, open, run};
use crate::simulator::SimulatorError;

const SCRIPT: &str = include_str!("../../../pipelines/app_db.sql");

async fn changes(script: &str) -> Vec<String> {
    let database = super::database(script).await;
    let mut session = open(&database);
    run(&mut session, "SELECT * FROM cdc.dbo_customers_CT")
        .await
        .lines()
}

async fn commits(script: &str) -> Vec<String> {
    let database = super::database(script).await;
    let mut session = open(&database);
    run(&mut session, "SELECT * FROM cdc.lsn_time_mapping")
        .await
        .lines()
}

#[tokio::test]
async fn the_table_has_three_customers_and_the_change_table_two() {
    let mut session = open(&super::database(SCRIPT).await);
    let customers = run(&mut session, "SELECT * FROM dbo.customers").await;
    assert_eq!(
        customers.lines(),
        [
            "1|Bruce|Wayne|bruce@wayne.example|Gotham City",
            "2|Clark|Kent|clark@dailyplanet.example|Metropolis",
            "3|Diana|Prince|diana@themyscira.example|UNKNOWN",
        ]
    );
    let changes = run(&mut session, "SELECT * FROM cdc.dbo_customers_CT").await;
    assert_eq!(
        changes.lines(),
        [
            "0x0000002A000000300003|NULL|0x0000002A000000300002|2|0x1F|2|Clark|Kent|clark@dailyplanet.example|Metropolis|1",
            "0x0000002A000000380003|NULL|0x0000002A000000380002|2|0x1F|3|Diana|Prince|diana@themyscira.example|UNKNOWN|1",
        ]
    );
    assert_eq!(
        changes.names(),
        [
            "__$start_lsn",
            "__$end_lsn",
            "__$seqval",
            "__$operation",
            "__$update_mask",
            "customer_id",
            "first_name",
            "last_name",
            "email",
            "city",
            "__$command_id",
        ]
    );
}

#[tokio::test]
async fn the_same_script_is_the_same_database() {
    assert_eq!(changes(SCRIPT).await, changes(SCRIPT).await);
    assert_eq!(commits(SCRIPT).await, commits(SCRIPT).await);
    let spaced = SCRIPT.replace("GO\n", "\n  go  -- next\n\n/* a comment */\n");
    assert_eq!(commits(SCRIPT).await, commits(&spaced).await);
}

#[tokio::test]
async fn appended_statements_only_add() {
    let longer =
        format!("{SCRIPT}\nUPDATE dbo.customers SET city = N'Smallville' WHERE customer_id = 2;\n");
    let (before, after) = (commits(SCRIPT).await, commits(&longer).await);
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(after.len(), before.len() + 1);
    let (before, after) = (changes(SCRIPT).await, changes(&longer).await);
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(after.len(), before.len() + 2);
}

#[tokio::test]
async fn an_edit_changes_every_later_transaction_id() {
    let edited = SCRIPT.replace("Metropolis", "Smallville");
    let ids = |commits: Vec<String>| -> Vec<String> {
        let id = |commit: &String| commit.split('|').nth(3).unwrap().to_owned();
        commits.iter().map(id).collect()
    };
    let (before, after) = (ids(commits(SCRIPT).await), ids(commits(&edited).await));
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1], after[1]);
    assert_ne!(before[2], after[2]);
}

#[tokio::test]
async fn the_wire_goes_on_where_the_script_ends() {
    let statement = "UPDATE dbo.customers SET city = N'Smallville' WHERE customer_id = 2";
    let mut session = open(&super::database(SCRIPT).await);
    run(&mut session, "SELECT COUNT(*) FROM dbo.customers").await;
    run(&mut session, statement).await;
    let wire = run(&mut session, "SELECT * FROM cdc.lsn_time_mapping").await;
    assert_eq!(wire.lines(), commits(&format!("{SCRIPT}{statement}")).await);
}

#[tokio::test]
async fn errors_name_file_line_and_statement() {
    let script = "SELECT 1\nGO\n\nINSERT INTO dbo.nothing\nVALUES (1)\nGO\n";
    let error = Database::from_script("app_db", "bad.sql", script)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "bad.sql:4: the script stops at `INSERT INTO dbo.nothing`"
    );
    let SimulatorError::Script { source, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((source.number, source.line), (208, 4));
}

#[tokio::test]
async fn a_script_must_end_outside_transactions() {
    let error = Database::from_script("d", "open.sql", "BEGIN TRAN\nCREATE TABLE t (a int)")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "open.sql:2: the script stops at `CREATE TABLE t (a int)`"
    );
}
