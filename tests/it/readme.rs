//! The README's commands do what it says.

use std::process::Command;

use crate::support::{Project, root};

/// One command of a console block and the output shown below it.
struct Shown {
    command: String,
    output: String,
}

/// The commands of every console block, in order.
fn shown_in(text: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut in_console = false;
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            in_console = language == "console";
        } else if in_console {
            match line.strip_prefix("$ ") {
                Some(command) => shown.push(Shown {
                    command: command.to_string(),
                    output: String::new(),
                }),
                None => {
                    let last = shown.last_mut().expect("output without a command");
                    last.output.push_str(line);
                    last.output.push('\n');
                }
            }
        }
    }
    shown
}

#[test]
fn every_command_of_the_readme_answers_as_shown() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let shown = shown_in(&readme);
    assert!(
        shown.len() >= 6,
        "the README shows {} commands",
        shown.len()
    );
    let project = Project::new();
    let program = project.command();
    for Shown { command, output } in shown {
        let text = command.replace("cargo run --", "\"$CDCQL\"");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("{{ {text}\n}} 2>&1")])
            .current_dir(project.path());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let ended = shell.env("CDCQL", crate::support::CDCQL).output().unwrap();
        assert!(
            ended.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&ended.stdout)
        );
        snapbox::assert_data_eq!(String::from_utf8(ended.stdout).unwrap(), output);
    }
}

#[test]
fn the_pipeline_in_the_readme_is_the_file() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("<!-- pipeline -->\n```sql\n").unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let file = std::fs::read_to_string(root().join("pipelines/customers.sql")).unwrap();
    assert_eq!(statements(shown), statements(&file));
}

/// A file without its comments and blank lines.
fn statements(text: &str) -> Vec<&str> {
    text.lines()
        .map(|line| line.split("--").next().unwrap_or_default().trim_end())
        .filter(|line| !line.is_empty())
        .collect()
}
