//! Killed at any point, the next run ends in the same table.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;

use crate::story::{CYBORG, LEX};
use crate::support::Project;

/// Starts a run and kills it as soon as it has printed `lines` lines of progress.
fn kill_after(project: &Project, lines: usize) {
    let mut child = project
        .command()
        .args(["-vv", "run", "pipelines/customers.sql"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap()).lines();
    for _ in 0..lines {
        if progress.next().is_none() {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn expected() -> String {
    let project = Project::new();
    let _ = project.run();
    project.append_to_database(LEX);
    project.append_to_database(CYBORG);
    let _ = project.run();
    project.customers()
}

/// The kill falls at another line of the log each time, so before, within and after the commit.
#[test]
fn a_first_copy_that_was_killed_is_made_whole_by_the_next_run() {
    let clean = Project::new();
    let _ = clean.run();
    for lines in [1, 2, 3, 5, 8, 13, 21] {
        let project = Project::new();
        kill_after(&project, lines);
        let _ = project.run();
        assert_eq!(
            project.customers(),
            clean.customers(),
            "killed after {lines} lines"
        );
    }
}

#[test]
fn a_merge_that_was_killed_is_made_whole_by_the_next_run() {
    let expected = expected();
    for lines in [1, 2, 3, 5, 8, 13, 21] {
        let project = Project::new();
        let _ = project.run();
        project.append_to_database(LEX);
        project.append_to_database(CYBORG);
        kill_after(&project, lines);
        let _ = project.run();
        assert_eq!(project.customers(), expected, "killed after {lines} lines");
    }
}

#[test]
fn two_runs_at_once_apply_each_window_once() {
    let project = Project::new();
    let _ = project.run();
    project.append_to_database(LEX);
    let ended = thread::scope(|scope| {
        let runs: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| project.cdcql(&["run", "pipelines/customers.sql"])))
            .collect();
        runs.into_iter()
            .map(|run| run.join().unwrap())
            .collect::<Vec<_>>()
    });
    for run in &ended {
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }
    assert_eq!(project.commits(), 2, "{ended:?}");
    assert!(project.customers().contains("Luthor"));
}
