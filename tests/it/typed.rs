//! What comes at the prompt: ahead of it, pasted, interrupted, and from terminals that no editor can use.

use std::process::Command;

use expectrl::ControlCode;
use expectrl::Expect as _;
use expectrl::process::unix::WaitStatus;

use crate::support::Project;
use crate::terminal::{leave, open, spawn};

/// Statements whose answers are not in their texts.
const ONE: &str = "SELECT 'o' || 'ne' AS x;";
const TWO: &str = "SELECT 't' || 'wo' AS x;";
const THREE: &str = "SELECT 'th' || 'ree' AS x;";

#[test]
fn what_is_typed_ahead_is_executed() {
    let project = Project::new();
    let mut terminal = open(&project, &[], |_| {});
    terminal.send(format!("{ONE}\r{TWO}\r{THREE}\r")).unwrap();
    for answer in ["| one |", "| two |", "| three |"] {
        terminal.expect(answer).unwrap();
    }
    terminal.expect("cdcql> ").unwrap();
    leave(terminal);
}

#[test]
fn commands_and_statements_are_pasted_together() {
    let project = Project::new();
    let mut terminal = open(&project, &[], |_| {});
    terminal
        .send(format!(
            "\x1b[200~\\format csv\r{ONE}\r\\x\r{TWO}\r\x1b[201~\r"
        ))
        .unwrap();
    for answer in [
        "format: csv",
        "x\r\none\r\n",
        "expanded display",
        "x\r\ntwo\r\n",
    ] {
        terminal.expect(answer).unwrap();
    }
    terminal.expect("cdcql> ").unwrap();
    leave(terminal);
}

#[test]
fn an_interrupt_ends_a_result_that_is_printed() {
    let project = Project::new();
    let mut terminal = open(&project, &[], |command| {
        command.env("PAGER", "");
    });
    let endless = "SELECT value AS n FROM range(0, 10000000000);";
    terminal.send_line(endless).unwrap();
    terminal.expect("| 9999 ").unwrap();
    terminal.send(ControlCode::EndOfText).unwrap();
    terminal.expect("interrupted").unwrap();
    terminal.expect("cdcql> ").unwrap();
    terminal.send_line(ONE).unwrap();
    terminal.expect("| one |").unwrap();
    leave(terminal);
}

#[test]
fn a_signal_to_end_ends_it_at_the_prompt() {
    let project = Project::new();
    let mut terminal = open(&project, &[], |_| {});
    // What is in a file by then is not left behind under another name.
    terminal.send_line("\\o out.csv").unwrap();
    terminal.expect("cdcql> ").unwrap();
    terminal.send("SELECT").unwrap();
    terminal.expect("SELECT").unwrap();
    let id = terminal.get_process().pid().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(sent.success());
    terminal.expect("interrupted").unwrap();
    terminal.expect(expectrl::Eof).unwrap();
    let ended = terminal.get_process().wait().unwrap();
    assert!(matches!(ended, WaitStatus::Exited(_, 130)), "{ended:?}");
    let left = std::fs::read_dir(project.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        left.iter()
            .all(|name| name == "pipelines" || name == "state"),
        "{left:?}"
    );
}

#[test]
fn a_terminal_that_no_editor_can_use_is_read_line_by_line() {
    let project = Project::new();
    let mut command = project.command();
    command.env("TERM", "dumb");
    let mut terminal = spawn(command);
    terminal.expect("cdcql> ").unwrap();
    terminal.send_line("SELECT 'x").unwrap();
    terminal.expect("...> ").unwrap();
    terminal.send(ControlCode::EndOfText).unwrap();
    terminal.expect("cdcql> ").unwrap();
    terminal.send_line(ONE).unwrap();
    terminal.expect("| one |").unwrap();
    terminal.expect("cdcql> ").unwrap();
    terminal.send(ControlCode::EndOfTransmission).unwrap();
    terminal.expect(expectrl::Eof).unwrap();
    let ended = terminal.get_process().wait().unwrap();
    assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
}

#[test]
fn words_of_other_shells_are_understood() {
    let project = Project::new();
    let mut terminal = open(&project, &[], |_| {});
    terminal.send_line("help").unwrap();
    terminal.expect("execute them once").unwrap();
    terminal.expect("cdcql> ").unwrap();
    terminal.send_line("EXIT;").unwrap();
    terminal.expect(expectrl::Eof).unwrap();
}

#[test]
fn the_log_has_colours_unless_they_are_not_wanted() {
    let project = Project::new();
    let log = |name: &str, value: &str| {
        let mut command = project.command();
        command.args(["-vv", "run", "pipelines/customers.sql"]);
        command.env("TERM", "xterm").env_remove("NO_COLOR");
        let mut terminal = spawn({
            command.env(name, value);
            command
        });
        let found = terminal.expect(expectrl::Eof).unwrap();
        String::from_utf8_lossy(found.get(0).unwrap()).into_owned()
    };
    let dimmed = "\x1b[2m";
    assert!(log("TERM", "xterm").contains(dimmed));
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let log = log(name, value);
        assert!(log.contains("DEBUG") && !log.contains(dimmed), "{log}");
    }
}
