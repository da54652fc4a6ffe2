//! The lake's folder among those that git ignores.

use std::fs::{read_to_string, write};
use std::io::ErrorKind;
use std::path::{Component, Path};

use crate::error::Error;

/// Adds the lake's folder to the `.gitignore` beside `file`, if it lies there and is not in it.
pub(super) fn ignore(file: &Path, lake: &str) -> Result<(), Error> {
    let Some(folder) = folder_of(lake) else {
        return Ok(());
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
    let is_it = |line: &str| line.trim().trim_matches('/') == folder;
    if text.lines().any(is_it) {
        return Ok(());
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("/{folder}/\n"));
    write(&path, text).map_err(failed)
}

/// The lake's path from the file's folder, unless it lies elsewhere.
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
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::folder_of;

    #[test]
    fn a_lake_beside_the_file_is_a_folder_there() {
        assert_eq!(folder_of("lake").as_deref(), Some("lake"));
        assert_eq!(folder_of("./data/lake/").as_deref(), Some("data/lake"));
        assert_eq!(folder_of("../lake"), None);
        assert_eq!(folder_of("/lake"), None);
        assert_eq!(folder_of("s3://bucket/lake"), None);
    }
}
