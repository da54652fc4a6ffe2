//! Imports flow one way: main -> cli -> pipeline -> engine -> {sql, source, sink} -> change.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the rooms that it may not name.
const FORBIDDEN: [(&str, &[&str]); 9] = [
    (
        "change",
        &[
            "sql",
            "source",
            "sink",
            "engine",
            "pipeline",
            "cli",
            "simulator",
            "error",
        ],
    ),
    (
        "sql",
        &[
            "source",
            "sink",
            "engine",
            "pipeline",
            "cli",
            "simulator",
            "error",
        ],
    ),
    (
        "source",
        &[
            "sql",
            "sink",
            "engine",
            "pipeline",
            "cli",
            "simulator",
            "error",
        ],
    ),
    (
        "sink",
        &[
            "sql",
            "source",
            "engine",
            "pipeline",
            "cli",
            "simulator",
            "error",
        ],
    ),
    ("engine", &["pipeline", "cli", "simulator"]),
    ("pipeline", &["cli", "simulator"]),
    (
        "simulator",
        &[
            "change", "sql", "source", "sink", "engine", "pipeline", "cli", "error",
        ],
    ),
    ("error.rs", &["engine", "pipeline", "cli", "simulator"]),
    (
        "nearest.rs",
        &[
            "change",
            "sql",
            "source",
            "sink",
            "engine",
            "pipeline",
            "cli",
            "simulator",
            "error",
        ],
    ),
];

/// Crates that only one room may use.
const OWNED: [(&str, &str); 8] = [
    ("tiberius", "source"),
    ("deltalake", "sink"),
    ("clap", "cli"),
    ("clap_complete", "cli"),
    ("clap_mangen", "cli"),
    ("toml", "cli"),
    ("rustyline", "cli"),
    ("indicatif", "cli"),
];

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_path_buf()];
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        files.extend(sources(&entry.unwrap().path()));
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files
}

/// A file's lines before its tests; test code may stand on the other side of a seam. Files and folders
/// named `tests` are test code as a whole.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    if file
        .iter()
        .any(|part| part == "tests" || part == "tests.rs")
    {
        return Vec::new();
    }
    fs::read_to_string(file)
        .unwrap()
        .lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line.to_string()))
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn no_room_imports_upward_or_sideways() {
    let mut found = Vec::new();
    for (room, forbidden) in FORBIDDEN {
        let files = sources(&root().join(room));
        assert!(!files.is_empty(), "room {room} has no files");
        for file in files {
            for (number, line) in code_lines(&file) {
                for other in forbidden {
                    if line.contains(&format!("crate::{other}")) {
                        found.push(format!("{}:{number}: {line}", file.display()));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn only_one_room_names_each_outside_world() {
    let mut found = Vec::new();
    for (name, room) in OWNED {
        for file in sources(&root()) {
            if file.starts_with(root().join(room)) {
                continue;
            }
            for (number, line) in code_lines(&file) {
                if line.contains(&format!("{name}::")) {
                    found.push(format!("{}:{number}: {line}", file.display()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
