//! The REPL as a person has it, through a pseudo-terminal.

use std::process::Command;
use std::time::Duration;

use expectrl::process::unix::UnixProcess;
use expectrl::{ControlCode, Expect as _, Session};

use cdcql::simulator::control::Fault;

use crate::served::Served;
use crate::support::Project;

/// How long the REPL may take until it has said something; what hangs ends by it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Terminal = Session<UnixProcess, expectrl::process::unix::PtyStream>;

/// A program in a terminal of 100 columns and 24 lines.
pub(crate) fn spawn(command: Command) -> Terminal {
    let mut terminal = Session::spawn(command).unwrap();
    terminal.set_expect_timeout(Some(PATIENCE));
    terminal.get_process_mut().set_window_size(100, 24).unwrap();
    terminal
}

/// The REPL in a terminal, without colours unless they are asked for.
pub(crate) fn open(
    project: &Project,
    arguments: &[&str],
    change: impl FnOnce(&mut Command),
) -> Terminal {
    let mut command = project.command();
    command.args(arguments);
    command.env("TERM", "xterm").env("NO_COLOR", "1");
    change(&mut command);
    let mut terminal = spawn(command);
    terminal.expect("cdcql> ").unwrap();
    terminal
}

fn plain(project: &Project) -> Terminal {
    let pipeline = ["--pipeline", "pipelines/customers.sql"];
    open(project, &pipeline, |_| {})
}

/// What is shown up to `part`, and that.
fn shown(terminal: &mut Terminal, part: &str) -> String {
    let found = terminal.expect(part).unwrap();
    let before = String::from_utf8_lossy(found.before()).into_owned();
    before + part
}

/// Drops what is typed, and waits for the next prompt.
fn drop_line(terminal: &mut Terminal) {
    terminal.send(ControlCode::EndOfText).unwrap();
    terminal.expect("cdcql> ").unwrap();
}

pub(crate) fn leave(mut terminal: Terminal) {
    terminal.send_line("\\q").unwrap();
    terminal.expect(expectrl::Eof).unwrap();
}

#[test]
fn the_end_of_the_input_ends_it() {
    let project = Project::new();
    let mut terminal = plain(&project);
    terminal.send(ControlCode::EndOfTransmission).unwrap();
    terminal.expect(expectrl::Eof).unwrap();
}

#[test]
fn a_statement_goes_on_until_its_semicolon() {
    let project = Project::new();
    let mut terminal = plain(&project);
    terminal.send_line("SELECT ';' AS a,").unwrap();
    terminal.send_line("  7 * 6 AS answer -- ;").unwrap();
    terminal.send_line(";").unwrap();
    let answer = shown(&mut terminal, "| ; | 42     |");
    assert!(answer.contains("answer"), "{answer}");
    leave(terminal);
}

#[test]
fn names_are_completed() {
    let project = Project::new();
    let mut terminal = plain(&project);
    terminal.send("SELECT count(*) FROM app_db.db\t").unwrap();
    terminal.expect("app_db.dbo.").unwrap();
    terminal.send("cust\t").unwrap();
    terminal.expect("customers").unwrap();
    terminal.send_line(";").unwrap();
    terminal.expect("| 3 ").unwrap();
    terminal.expect("cdcql> ").unwrap();
    terminal.send("\\tim\t").unwrap();
    terminal.expect("\\timing").unwrap();
    terminal.send_line("").unwrap();
    terminal.expect("timing is on").unwrap();
    leave(terminal);
}

#[test]
fn columns_of_the_tables_in_the_statement_are_completed_once_they_are_known() {
    let project = Project::new();
    let mut terminal = plain(&project);
    // They are asked for beside the prompt, and are there one of the next times.
    let completed = (0..100).any(|_| {
        terminal
            .send("SELECT first_n\t FROM app_db.dbo.customers;")
            .unwrap();
        terminal.send(ControlCode::StartOfHeading).unwrap();
        for _ in 0.."SELECT first_n".len() {
            terminal.send(ControlCode::Acknowledge).unwrap();
        }
        terminal.send("\t").unwrap();
        terminal.send_line("").unwrap();
        let found = terminal.expect(expectrl::Any::boxed(vec![
            Box::new("Bruce"),
            Box::new("No field named"),
        ]));
        let said = String::from_utf8_lossy(found.unwrap().get(0).unwrap()).into_owned();
        terminal.expect("cdcql> ").unwrap();
        said == "Bruce"
    });
    assert!(completed);
    leave(terminal);
}

#[test]
fn an_interrupt_ends_the_query_and_not_the_repl() {
    let project = Project::new();
    let mut terminal = plain(&project);
    let endless =
        "SELECT sum(a.value * b.value % 7) FROM range(0, 10000000) a, range(0, 10000000) b;";
    terminal.send_line(endless).unwrap();
    // It is told how far it is after two seconds, so that it is at work by then.
    terminal.expect("rows read").unwrap();
    terminal.send(ControlCode::EndOfText).unwrap();
    terminal.expect("interrupted").unwrap();
    terminal.expect("cdcql> ").unwrap();
    terminal.send_line("SELECT 6 * 7 AS answer;").unwrap();
    terminal.expect("| 42 ").unwrap();
    leave(terminal);
}

#[test]
fn a_result_longer_than_the_terminal_goes_through_the_pager() {
    let project = Project::new();
    let mut terminal = open(&project, &[], |command| {
        command.env("PAGER", "sed s/^/paged:/");
    });
    terminal
        .send_line("SELECT value AS n FROM range(0, 5);")
        .unwrap();
    let short = shown(&mut terminal, "cdcql> ");
    assert!(!short.contains("paged:"), "{short}");
    terminal
        .send_line("SELECT value AS n FROM range(0, 50);")
        .unwrap();
    terminal.expect("paged:+").unwrap();
    terminal.expect("paged:| 49 |").unwrap();
    terminal.expect("cdcql> ").unwrap();
    leave(terminal);
}

#[test]
fn a_pager_that_is_left_early_or_is_not_there_does_not_hold_what_comes_after() {
    let project = Project::new();
    for (pager, said) in [("head -3", "cdcql> "), ("no-such-pager", "199999")] {
        let mut terminal = open(&project, &[], |command| {
            command.env("PAGER", pager);
        });
        terminal.send_line("\\format csv").unwrap();
        terminal.expect("format: csv").unwrap();
        terminal.expect("cdcql> ").unwrap();
        let rows = "SELECT value AS n FROM range(0, 200000);";
        terminal.send_line(rows).unwrap();
        terminal.expect(said).unwrap();
        terminal.send_line("SELECT 6 * 7 AS answer;").unwrap();
        terminal.expect("42").unwrap();
        leave(terminal);
    }
}

#[test]
fn what_was_typed_is_there_the_next_time_but_no_secrets() {
    let project = Project::new();
    let mut terminal = plain(&project);
    terminal.send_line("SELECT 'seen' AS memory;").unwrap();
    terminal.expect("cdcql> ").unwrap();
    terminal
        .send_line("SELECT 'my password' AS memory;")
        .unwrap();
    terminal.expect("cdcql> ").unwrap();
    leave(terminal);
    let mut terminal = plain(&project);
    // Before the command to leave.
    terminal.send("\x1b[A\x1b[A").unwrap();
    let last = shown(&mut terminal, "memory;");
    assert!(
        last.contains("seen") && !last.contains("password"),
        "{last}"
    );
    drop_line(&mut terminal);
    leave(terminal);
}

#[test]
fn statements_have_colours_unless_they_are_not_wanted() {
    let project = Project::new();
    let mut terminal = open(&project, &[], |command| {
        command.env_remove("NO_COLOR");
    });
    terminal.send("SELECT 'x'").unwrap();
    terminal.expect("\x1b[32m'x'\x1b[0m").unwrap();
    drop_line(&mut terminal);
    leave(terminal);
    let mut terminal = open(&project, &[], |_| {});
    terminal.send("SELECT 'x'").unwrap();
    let plain = shown(&mut terminal, "'x'");
    assert!(!plain.contains("\x1b[32m"), "{plain:?}");
    drop_line(&mut terminal);
    leave(terminal);
}

#[test]
fn a_file_that_was_edited_is_read_again_with_what_was_typed() {
    let project = Project::new();
    let file = "a file.sql";
    let pipeline =
        "CREATE CONNECTION app_db TYPE sqlserver OPTIONS (url 'embedded:pipelines/app_db.sql');
        CREATE STREAMING TABLE people LOCATION 'lake/people' FLOW AUTO CDC FROM STREAM app_db.dbo.customers CHANGES;";
    project.write(file, &pipeline.replace(" LOCATION 'lake/people'", ""));
    let mut terminal = open(&project, &[], |_| {});
    let mut say = |line: &str, answer: &str| {
        terminal.send_line(line).unwrap();
        // The prompt is drawn again with each letter; it is new on a new line.
        terminal.expect("\n").unwrap();
        let said = shown(&mut terminal, answer);
        terminal.expect("cdcql> ").unwrap();
        said
    };
    say("CREATE VIEW typed AS SELECT 6 * 7 AS answer;", "");
    // The blank is completed with a backslash before it.
    say("\\i 'a file.sql'", "has no place");
    project.write(file, &pipeline.replace("people", "persons"));
    say("\\i \"a file.sql\"", "");
    say("\\d", "persons");
    project.write(file, "CREATE NONSENSE;");
    say("\\i a\\ file.sql", "error");
    say("\\d", "persons");
    project.write(file, pipeline);
    say("\\i a\t", "");
    let tables = say("\\d", "typed");
    assert!(!tables.contains("persons"), "{tables}");
    say("\\run", "people: first copy");
    say("SELECT answer FROM typed;", "| 42 ");
    leave(terminal);
}

#[test]
fn what_is_told_of_the_flows_goes_where_results_go() {
    let project = Project::new();
    let mut terminal = plain(&project);
    for line in [
        "\\o lag.csv",
        "\\format csv",
        "\\lag",
        "\\o plan.txt",
        "\\plan customers",
        "\\o",
    ] {
        terminal.send_line(line).unwrap();
        let said = shown(&mut terminal, "cdcql> ");
        assert!(!said.contains("not copied"), "{said}");
    }
    leave(terminal);
    let lag = project.read("lag.csv");
    assert!(lag.contains("\ncustomers,not copied,"), "{lag}");
    let plan = project.read("plan.txt");
    assert!(plan.starts_with("customers: not copied\n"), "{plan}");
}

#[test]
fn wide_rows_fit_the_terminal() {
    let project = Project::new();
    let mut terminal = plain(&project);
    terminal
        .send_line("SELECT repeat('a ', 100) AS long, 1 AS n;")
        .unwrap();
    let answer = shown(&mut terminal, "cdcql> ");
    let widest = answer.lines().filter(|line| line.starts_with(['|', '+']));
    let widest = widest
        .map(|line| line.trim_end().chars().count())
        .max()
        .unwrap();
    assert!(widest <= 100, "{widest}: {answer}");
    leave(terminal);
}

#[test]
fn an_interrupt_cancels_the_query_on_the_server_too() {
    let served = Served::in_hand();
    let mut held = served
        .simulator()
        .control()
        .on_next("FROM [dbo].[a]", Fault::Stall);
    let mut command = served.command(&["--pipeline", "pipelines/p.sql"]);
    command.env("TERM", "xterm").env("NO_COLOR", "1");
    let mut terminal = spawn(command);
    terminal.expect("cdcql> ").unwrap();
    terminal
        .send_line("SELECT count(id) AS n FROM db.dbo.a;")
        .unwrap();
    served.runtime.block_on(held.struck()).unwrap();
    terminal.send(ControlCode::EndOfText).unwrap();
    terminal.expect("interrupted").unwrap();
    let mut cancelled = served.simulator().control().cancelled();
    let cancelled = cancelled.wait_for(|so_far| *so_far > 0);
    let _ = served.runtime.block_on(cancelled).unwrap();
    terminal.expect("cdcql> ").unwrap();
    terminal
        .send_line("SELECT count(code) AS n FROM db.dbo.a;")
        .unwrap();
    terminal.expect("| 4 |").unwrap();
    leave(terminal);
    drop(held);
}
