//! What the grammar alone tells: versions, completions, manual pages.

use std::process::Stdio;

use crate::support::{Ended, Project};

const COMMANDS: [&str; 9] = [
    "run", "check", "plan", "status", "doctor", "verify", "query", "maintain", "man",
];

#[test]
fn versions_are_those_of_what_it_is_made_of() {
    let project = Project::new();
    let long = project.cdcql(&["--version"]).succeeded().stdout;
    let lines: Vec<&str> = long.lines().collect();
    let [own, datafusion, deltalake] = lines.as_slice() else {
        panic!("{long}");
    };
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(*own, format!("cdcql {number}"));
    let datafusion_number = datafusion.strip_prefix("DataFusion ").unwrap();
    assert_eq!(datafusion_number, datafusion::DATAFUSION_VERSION);
    let deltalake_number = deltalake.strip_prefix("deltalake ").unwrap();
    assert_eq!(deltalake_number, deltalake::crate_version());
    let short = project.cdcql(&["-V"]).succeeded().stdout;
    assert_eq!(short, format!("cdcql {number}\n"));
}

#[test]
fn every_shell_gets_its_completions() {
    let project = Project::new();
    let _ = project
        .cdcql(&["completions", "tcsh"])
        .failed(2, &["invalid value 'tcsh'"]);
    // The grammar is there whatever a file of defaults says.
    project.write("cdcql.toml", "[[[");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = project.cdcql(&["completions", shell]).succeeded().stdout;
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
        assert!(script.contains("window-rows"), "{shell}");
    }
}

#[test]
fn completions_are_read_by_bash() {
    let project = Project::new();
    let script = project.cdcql(&["completions", "bash"]).succeeded().stdout;
    project.write("completions.sh", &script);
    let read = "set -eu; . ./completions.sh; complete -p cdcql";
    let mut bash = std::process::Command::new("bash");
    let told = bash.args(["-c", read]).current_dir(project.path()).output();
    let told = Ended::from(told.unwrap()).succeeded();
    assert!(told.stdout.contains("cdcql"), "{}", told.stdout);
}

#[test]
fn every_command_has_a_manual_page() {
    let project = Project::new();
    let own = project.cdcql(&["man"]).succeeded().stdout;
    assert!(own.contains(".TH cdcql 1"), "{own}");
    for command in COMMANDS {
        assert!(own.contains(command), "{command}");
        let page = project.cdcql(&["man", command]).succeeded().stdout;
        assert!(page.contains(&format!(".TH cdcql-{command} 1")), "{page}");
    }
    let page = project.cdcql(&["man", "run"]).succeeded().stdout;
    assert!(page.contains("window\\-rows"), "{page}");
    let _ = project
        .cdcql(&["man", "runn"])
        .failed(2, &["did you mean 'run'?"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let project = Project::new();
    for arguments in [["completions", "zsh"].as_slice(), &["man"]] {
        let mut command = project.command();
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let ended = Ended::from(child.wait_with_output().unwrap()).succeeded();
        assert_eq!(ended.stderr, "");
    }
}
