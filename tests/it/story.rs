//! The tutorial: a table becomes a Delta table and stays true to it.

use crate::support::Project;

pub(crate) const AFTER_FIRST_RUN: &str = "\
+-------------+------------+-----------+---------------------------+-------------+
| customer_id | first_name | last_name | email                     | city        |
+-------------+------------+-----------+---------------------------+-------------+
| 1           | Bruce      | Wayne     | bruce@wayne.example       | Gotham City |
| 2           | Clark      | Kent      | clark@dailyplanet.example | Metropolis  |
| 3           | Diana      | Prince    | diana@themyscira.example  | UNKNOWN     |
+-------------+------------+-----------+---------------------------+-------------+
";

pub(crate) const AFTER_LEX: &str = "\
+-------------+------------+-----------+--------------------------+-------------+
| customer_id | first_name | last_name | email                    | city        |
+-------------+------------+-----------+--------------------------+-------------+
| 1           | Bruce      | Wayne     | bruce@wayne.example      | Gotham City |
| 2           | Clark      | Kent      | clark@lexcorp.example    | Metropolis  |
| 3           | Diana      | Prince    | diana@themyscira.example | UNKNOWN     |
| 4           | Lex        | Luthor    | lex@lexcorp.example      | Metropolis  |
+-------------+------------+-----------+--------------------------+-------------+
";

pub(crate) const AFTER_CYBORG: &str = "\
+-------------+------------+-----------+---------------------------+-------------+
| customer_id | first_name | last_name | email                     | city        |
+-------------+------------+-----------+---------------------------+-------------+
| 1           | Bruce      | Wayne     | bruce@wayne.example       | Gotham City |
| 2           | Clark      | Kent      | clark@dailyplanet.example | Smallville  |
| 3           | Diana      | Prince    | diana@themyscira.example  | UNKNOWN     |
+-------------+------------+-----------+---------------------------+-------------+
";

/// Lex Luthor inserts himself and changes Clark's email.
pub(crate) const LEX: &str = "\
INSERT INTO dbo.customers (first_name, last_name, email, city)
VALUES (N'Lex', N'Luthor', N'lex@lexcorp.example', N'Metropolis');
UPDATE dbo.customers SET email = N'clark@lexcorp.example' WHERE first_name = N'Clark';";

/// Cyborg deletes Lex, sets Clark's email back and his city to Smallville.
pub(crate) const CYBORG: &str = "\
DELETE FROM dbo.customers WHERE first_name = N'Lex';
UPDATE dbo.customers SET email = N'clark@dailyplanet.example', city = N'Smallville'
WHERE first_name = N'Clark';";

#[test]
fn a_table_becomes_a_delta_table_and_stays_true_to_it() {
    let project = Project::new();
    let first = project.run();
    assert_eq!(first.stdout, "");
    assert!(
        first
            .stderr
            .contains("first copy: 3 inserted, 0 updated, 0 deleted"),
        "{}",
        first.stderr
    );
    assert_eq!(project.customers(), AFTER_FIRST_RUN);

    project.append_to_database(LEX);
    let second = project.run();
    assert!(
        second.stderr.contains("1 inserted, 1 updated, 0 deleted"),
        "{}",
        second.stderr
    );
    assert_eq!(project.customers(), AFTER_LEX);

    project.append_to_database(CYBORG);
    let third = project.run();
    assert!(
        third.stderr.contains("0 inserted, 1 updated, 1 deleted"),
        "{}",
        third.stderr
    );
    assert_eq!(project.customers(), AFTER_CYBORG);
    assert_eq!(project.commits(), 3);
}

#[test]
fn a_run_with_nothing_new_commits_nothing_and_says_so() {
    let project = Project::new();
    let _ = project.run();
    let again = project.run();
    assert_eq!(project.commits(), 1);
    assert!(again.stderr.contains("nothing new"), "{}", again.stderr);
    assert_eq!(project.customers(), AFTER_FIRST_RUN);
}

#[test]
fn all_changes_of_several_steps_in_one_window_end_in_the_same_table() {
    let project = Project::new();
    let _ = project.run();
    project.append_to_database(LEX);
    project.append_to_database(CYBORG);
    let _ = project.run();
    assert_eq!(project.customers(), AFTER_CYBORG);
    assert_eq!(project.commits(), 2);
}

#[test]
fn a_row_inserted_and_deleted_in_one_transaction_leaves_no_trace() {
    let project = Project::new();
    let _ = project.run();
    project.append_to_database(
        "BEGIN TRANSACTION;
         INSERT INTO dbo.customers (first_name, last_name, email, city)
         VALUES (N'Brainiac', N'Coluan', N'b@colu.example', N'Colu');
         DELETE FROM dbo.customers WHERE first_name = N'Brainiac';
         DELETE FROM dbo.customers WHERE first_name = N'Diana';
         COMMIT;",
    );
    let _ = project.run();
    assert!(!project.customers().contains("Brainiac"));
    assert!(!project.customers().contains("Diana"));
}

#[test]
fn an_edited_script_is_replaced_history_and_stops_the_flow() {
    let project = Project::new();
    let _ = project.run();
    let name = "pipelines/app_db.sql";
    let edited = project.read(name).replace("Metropolis", "Star City");
    project.write(name, &edited);
    project.cdcql(&["run", "pipelines/customers.sql"]).failed(
        5,
        &["history of database 'app_db' was replaced", "copied again"],
    );
    assert_eq!(project.customers(), AFTER_FIRST_RUN);
    assert_eq!(project.commits(), 1);
}

#[test]
fn the_demo_tells_the_story() {
    let project = Project::new();
    let demo = project.cdcql(&["demo"]).succeeded();
    let tables: Vec<usize> = [AFTER_FIRST_RUN, AFTER_LEX, AFTER_CYBORG]
        .iter()
        .map(|table| {
            demo.stdout
                .find(*table)
                .unwrap_or_else(|| panic!("{}", demo.stdout))
        })
        .collect();
    assert!(tables.is_sorted(), "{tables:?}");
    assert!(demo.stdout.contains("All is well"), "{}", demo.stdout);
    assert!(
        !project.path().join("pipelines/lake").exists(),
        "the demo leaves nothing behind"
    );
}
