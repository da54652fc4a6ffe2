//! Where a table lies: a local path or the URL of an object store.

use std::path::{Path, PathBuf};

use deltalake::logstore::object_store_factories;
use url::Url;

use super::SinkError;

/// Schemes of object stores that cdcql can be built for, and the cargo feature of each.
const STORE_FEATURES: [(&str, &str); 8] = [
    ("s3", "s3"),
    ("s3a", "s3"),
    ("az", "azure"),
    ("adl", "azure"),
    ("abfs", "azure"),
    ("abfss", "azure"),
    ("azure", "azure"),
    ("gs", "gcs"),
];

/// Whether a table's folder can have this name.
pub fn is_folder_name(name: &str) -> bool {
    !name.contains(['/', '\\']) && !matches!(name, "" | "." | "..")
}

/// The URL of `location`, without touching the storage.
///
/// A text without a scheme is a local path; it need not exist.
pub(super) fn table_url(location: &str) -> Result<Url, SinkError> {
    match Url::parse(location) {
        // A single letter is the drive of a Windows path.
        Ok(url) if url.scheme().len() > 1 => store_url(location, url),
        _ => path_url(location, Path::new(location)),
    }
}

fn store_url(location: &str, url: Url) -> Result<Url, SinkError> {
    if url.scheme() == "file" {
        let path = url
            .to_file_path()
            .map_err(|()| SinkError::InvalidLocation {
                location: location.to_string(),
                reason: "it does not name a local path".to_string(),
            })?;
        return path_url(location, &path);
    }
    let known = object_store_factories()
        .iter()
        .any(|store| store.key().scheme() == url.scheme());
    if known {
        return Ok(url);
    }
    let reason = STORE_FEATURES
        .iter()
        .find(|(scheme, _)| *scheme == url.scheme())
        .map_or_else(
            || format!("no storage is known for '{}:'", url.scheme()),
            |(_, feature)| format!("this build lacks the cargo feature '{feature}'"),
        );
    Err(SinkError::InvalidLocation {
        location: location.to_string(),
        reason,
    })
}

fn path_url(location: &str, path: &Path) -> Result<Url, SinkError> {
    let invalid = |reason: String| SinkError::InvalidLocation {
        location: location.to_string(),
        reason,
    };
    let path: PathBuf = std::path::absolute(path).map_err(|error| invalid(error.to_string()))?;
    if path.is_file() {
        return Err(SinkError::NotADeltaTable {
            location: location.to_string(),
            reason: "it is a file".to_string(),
            source: None,
        });
    }
    Url::from_directory_path(&path).map_err(|()| invalid("it is not an absolute path".to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_directory_url_without_being_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a lake/täble");
        let url = table_url(path.to_str().unwrap()).unwrap();
        assert_eq!(url.scheme(), "file");
        assert!(url.path().ends_with("/a%20lake/t%C3%A4ble/"), "{url}");
        assert!(!path.exists());
        assert_eq!(table_url(url.as_str()).unwrap(), url);
    }

    #[test]
    fn a_file_is_no_table() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = table_url(file.path().to_str().unwrap()).unwrap_err();
        assert!(matches!(error, SinkError::NotADeltaTable { .. }), "{error}");
    }

    #[test]
    fn an_unknown_scheme_names_itself() {
        let error = table_url("ftp://host/table").unwrap_err();
        assert!(error.to_string().contains("'ftp:'"), "{error}");
    }
}
