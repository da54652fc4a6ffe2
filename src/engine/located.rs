//! Where tables lie, and how their stores are reached.

use std::path::{Path, PathBuf};

use super::Engine;
use crate::error::Error;
use crate::sink::delta::StorageOptions;
use crate::sql::{Const, GivenOption};

/// Where a table lies.
pub(super) enum Located {
    /// An absolute path or a URL.
    Known(String),
    /// What was written, in an engine that need not know its value.
    Unknown(String),
}

impl Located {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Known(text) | Self::Unknown(text) => text,
        }
    }
}

impl Engine {
    /// The options of a store, their values looked up.
    pub(super) fn storage_of(
        &self,
        options: &[GivenOption],
        base: &Path,
    ) -> Result<StorageOptions, Error> {
        let options = options.iter().map(|option| {
            let value = self.values.of(&option.value, base)?;
            Ok((option.name.clone(), value.unwrap_or_default()))
        });
        options.collect()
    }

    /// A location of `name` as an absolute path or a URL.
    pub(super) fn resolve_location(
        &self,
        location: &Const,
        base: &Path,
        name: &str,
    ) -> Result<Located, Error> {
        let Some(text) = self.values.of(location, base)? else {
            return Ok(Located::Unknown(location.to_string()));
        };
        absolute_location(&text, base, name).map(Located::Known)
    }
}

fn absolute_location(text: &str, base: &Path, name: &str) -> Result<String, Error> {
    if text.trim().is_empty() {
        return Err(Error::EmptyLocation {
            name: name.to_string(),
        });
    }
    if text.contains("://") {
        return Ok(text.to_string());
    }
    let path: PathBuf = base.join(text);
    Ok(std::path::absolute(&path)
        .map_err(|source| Error::File { path, source })?
        .to_string_lossy()
        .into_owned())
}
