//! The README's commands do what it says.

use std::process::Command;

use crate::simulate::Server;
use crate::support::{Ended, Project, root};

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

/// A shell in the project's folder that executes `text`; `$CDCQL` is the program.
fn shell(project: &Project, text: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", text]).current_dir(project.path());
    for (name, value) in project.command().get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.env("CDCQL", crate::support::CDCQL);
    shell
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
    for Shown { command, output } in shown {
        let text = command.replace("cargo run --", "\"$CDCQL\"");
        let text = format!("{{ {text}\n}} 2>&1");
        let ended = shell(&project, &text).output().unwrap();
        assert!(
            ended.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&ended.stdout)
        );
        snapbox::assert_data_eq!(String::from_utf8(ended.stdout).unwrap(), output);
    }
}

/// What is typed in a transcript of the REPL, and what it answers to all of it.
fn transcript(block: &str) -> (String, String) {
    let (mut typed, mut answered) = (String::new(), String::new());
    let mut goes_on = false;
    for line in block.lines() {
        let input = line.strip_prefix("cdcql> ");
        match input.or(goes_on.then_some(line)) {
            Some(input) => {
                typed += &format!("{input}\n");
                goes_on = !input.starts_with('\\') && !input.ends_with(';');
            }
            None => answered += &format!("{line}\n"),
        }
    }
    (typed, answered)
}

#[test]
fn the_repl_answers_as_the_readme_shows() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let block = blocks_in(&readme, "Asking", "repl")[0];
    let (typed, answered) = transcript(block);
    let project = Project::new();
    project.append_to_database(
        "UPDATE dbo.customers SET city = N'Smallville' WHERE first_name = N'Clark';",
    );
    let _ = project.run().succeeded();
    project.write("typed", &typed);
    let text = "\"$CDCQL\" --pipeline pipelines/customers.sql < typed 2>&1";
    let ended = shell(&project, text).output().unwrap();
    snapbox::assert_data_eq!(String::from_utf8(ended.stdout).unwrap(), answered);
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

/// The texts of the code blocks in `language` below the heading `section`.
fn blocks_in<'a>(readme: &'a str, section: &str, language: &str) -> Vec<&'a str> {
    let (_, rest) = readme.split_once(&format!("\n## {section}\n")).unwrap();
    let (body, _) = rest.split_once("\n## ").unwrap();
    body.split(&format!("```{language}\n"))
        .skip(1)
        .map(|block| block.split_once("```").unwrap().0)
        .collect()
}

/// The section about a server of one's own, on a server that is one's own: the embedded one, in another process.
#[test]
fn what_the_readme_says_of_ones_own_server_works() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let sql = blocks_in(&readme, "Your own server", "sql");
    let (enable, options) = (sql[0], sql[1]);
    let commands = blocks_in(&readme, "Your own server", "sh")[0];
    let project = Project::new();
    let table =
        "CREATE TABLE dbo.customers (customer_id INT NOT NULL PRIMARY KEY, city NVARCHAR(20) NULL);
                 INSERT INTO dbo.customers VALUES (1, N'Gotham City');\nGO\n";
    project.write("pipelines/app_db.sql", &format!("{table}{enable}"));
    let server = Server::start(&project, "password");
    let (host, port) = server.address.split_once(':').unwrap();
    let on_server = |text: &str| {
        text.replace(
            "db.example:1433/app_db",
            "db.example:1433/app_db?trust_server_certificate=true",
        )
        .replace(
            "'app_db', user",
            "'app_db', trust_server_certificate 'true', user",
        )
        .replace("reader", "sa")
        .replace("db.example:1433", &server.address)
        .replace("db.example", host)
        .replace("1433", port)
        .replace("cargo run --", "\"$CDCQL\"")
    };
    let run = |text: &str| {
        let mut shell = shell(&project, &format!("set -e\n{text}"));
        shell.env("APP_DB_PASSWORD", "password");
        Ended::from(shell.output().unwrap()).succeeded()
    };
    let copied = run(&on_server(commands));
    assert!(copied.stderr.contains("1 inserted"), "{}", copied.stderr);
    let file = project.read("pipelines/customers.sql");
    let flow = &file[file.find("CREATE TABLE").unwrap()..];
    let options = on_server(options);
    project.write("pipelines/customers.sql", &format!("{options}{flow}"));
    let again = run("\"$CDCQL\" run pipelines/customers.sql");
    assert!(again.stderr.contains("nothing new"), "{}", again.stderr);
}

/// Commands that stand in the text, and those that build or measure and are too long for a test: they are known here
/// by the test that runs what they do, or by what makes them right.
#[test]
fn no_command_of_the_readme_is_unknown() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let inline = readme.split('`').filter(|text| text.starts_with("cargo "));
    let in_shell = readme.split("```sh\n").skip(1).flat_map(|block| {
        let (block, _) = block.split_once("```").unwrap();
        block.lines()
    });
    for command in inline.chain(in_shell) {
        let known = match command {
            // story::the_demo_tells_the_story, query::the_repl_…, simulate::…, record::…
            "cargo run -- demo"
            | "cargo run --"
            | "cargo run -- simulate pipelines/app_db.sql"
            | "cargo run -- simulate pipelines/app_db.sql --record"
            | "cargo run -- simulate --help" => true,
            // The test above.
            "cargo run -- run pipelines/customers.sql" => true,
            // follow::…, status::…, doctor::…
            "cargo run -- run pipelines/customers.sql --follow"
            | "cargo run -- doctor pipelines/customers.sql"
            | "cargo run -- status pipelines/customers.sql" => true,
            "cargo test" | "cargo doc --no-deps --open" => true,
            "cargo install --path . --locked --profile dist" => manifest.contains("[profile.dist]"),
            _ if command.starts_with("export APP_DB_URL=") => true,
            _ => match command.strip_prefix("cargo bench --bench ") {
                Some(bench) => manifest.contains(&format!("[[bench]]\nname = \"{bench}\"")),
                None => false,
            },
        };
        assert!(known, "{command}");
    }
}
