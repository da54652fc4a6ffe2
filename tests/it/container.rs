//! What the image is built from, as far as that can be told without Docker.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::root;

/// What the `Dockerfile` takes from the repository, and where to.
fn copied() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("pipelines/docker/Dockerfile")).unwrap();
    let mut copied = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("COPY ") else {
            continue;
        };
        let mut words: Vec<&str> = rest.split_whitespace().collect();
        if words[0].starts_with("--from=") {
            continue;
        }
        let to = words.pop().unwrap();
        let into_folder = to.ends_with('/');
        copied.extend(words.into_iter().map(|from| {
            let name = Path::new(from).file_name().unwrap().to_str().unwrap();
            let to = match into_folder {
                true => format!("{to}{name}"),
                false => to.to_string(),
            };
            (from.to_string(), to)
        }));
    }
    copied
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

/// The files that those of a folder take in when they are built.
fn included(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(included(&path));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for begin in ["include_str!(\"", "include_bytes!(\""] {
            let names = text.split(begin).skip(1);
            let names = names.map(|rest| rest.split('"').next().unwrap());
            found.extend(names.map(|name| folder.join(name)));
        }
    }
    found
}

#[test]
fn the_image_has_all_that_the_program_is_built_from() {
    let copied = copied();
    assert!(copied.len() > 5, "{copied:?}");
    let folder = TempDir::new().unwrap();
    for (from, to) in &copied {
        copy(&root().join(from), &folder.path().join(to));
    }

    // Cargo looks for the files of targets whose paths the manifest does not tell, whichever of them is built.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let read = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    let files = included(&folder.path().join("src"));
    assert!(!files.is_empty());
    for file in files {
        assert!(file.exists(), "{} is not copied", file.display());
    }
}

#[test]
fn nothing_that_the_image_is_built_from_is_kept_from_docker() {
    let ignored = "pipelines/docker/Dockerfile.dockerignore";
    let ignored = fs::read_to_string(root().join(ignored)).unwrap();
    let mut rules = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(rules.next(), Some("*"));
    let let_in: BTreeSet<&str> = rules.map(|rule| rule.strip_prefix('!').unwrap()).collect();
    let copied = copied();
    let taken: BTreeSet<&str> = copied.iter().map(|(from, _)| from.as_str()).collect();
    assert_eq!(let_in, taken);
}
