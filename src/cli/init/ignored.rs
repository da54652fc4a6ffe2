//! The lake's folders among those that git ignores.

use std::fs::{read_to_string, write};
use std::io::ErrorKind;
use std::path::{Component, Path};

use super::text::folder;
use crate::error::Error;

/// Adds the lake's folder to the `.gitignore` beside `file`, if it lies there and is not in it; the folders of the schemas, if
/// the lake is the file's own folder.
pub(super) fn ignore(file: &Path, lake: &str, schemas: &[&str]) -> Result<(), Error> {
    let folders: Vec<String> = match folder_of(lake) {
        None => return Ok(()),
        Some(lake) if lake.is_empty() => schemas.iter().map(|schema| folder(schema)).collect(),
        Some(lake) => vec![lake],
    };
    let path = file.with_file_name(".gitignore");
    let failed = |source| Error::NotWritten {
        path: path.clone(),
        source,
    };
    let mut text = match read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let length = text.len();
    for folder in &folders {
        add(folder, &mut text);
    }
    match text.len() == length {
        true => Ok(()),
        false => write(&path, text).map_err(failed),
    }
}

/// Adds the line of a folder to the text of a `.gitignore` that has none.
fn add(folder: &str, text: &mut String) {
    let is_it = |line: &str| line.trim().trim_matches('/') == folder;
    if text.lines().any(is_it) {
        return;
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("/{folder}/\n"));
}

/// The lake's path from the file's folder, empty if it is that folder; `None` if it lies elsewhere.
fn folder_of(lake: &str) -> Option<String> {
    if lake.contains("://") {
        return None;
    }
    let mut parts = Vec::new();
    for part in Path::new(lake).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::folder_of;

    #[test]
    fn a_lake_beside_the_file_is_a_folder_there() {
        assert_eq!(folder_of("lake").as_deref(), Some("lake"));
        assert_eq!(folder_of("./data/lake/").as_deref(), Some("data/lake"));
        assert_eq!(folder_of(".").as_deref(), Some(""));
        assert_eq!(folder_of("../lake"), None);
        assert_eq!(folder_of("/lake"), None);
        assert_eq!(folder_of("s3://bucket/lake"), None);
    }
}
