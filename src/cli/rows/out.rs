//! Where rows go: stdout, a file that is there when it is whole, or a pager.

use std::fs;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::super::pager::Pager;
use crate::error::Error;

/// The place that rows are written to.
#[derive(Debug)]
pub(in super::super) enum Out {
    /// Stdout, without a word when its reader goes away.
    Stdout {
        /// Whether its reader is gone.
        closed: bool,
    },
    /// Stdout of a terminal: a result that is longer than it goes through a pager.
    Terminal(Pager),
    /// A file, which gets its name when all is written.
    File {
        /// Its name.
        path: PathBuf,
        /// What is written by now.
        file: io::BufWriter<NamedTempFile>,
    },
    /// What is no file, and is written to as it is: a device, or a pipe with a name.
    Device(fs::File),
}

impl Out {
    /// Stdout as it is.
    pub(in super::super) fn stdout() -> Self {
        Self::Stdout { closed: false }
    }

    /// Stdout, through a pager where it is a terminal.
    pub(in super::super) fn paged() -> Self {
        match io::stdout().is_terminal() {
            true => Self::Terminal(Pager::default()),
            false => Self::stdout(),
        }
    }

    /// A file at `path`; what was there stays until the new one is whole.
    pub(in super::super) fn file(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File {
            path: path.to_path_buf(),
            source,
        };
        // What a link points to is replaced, and not the link.
        let found = fs::canonicalize(path).ok();
        let path = found.as_deref().unwrap_or(path);
        let there = fs::metadata(path).ok();
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            let device = fs::OpenOptions::new().write(true).open(path);
            return device.map(Self::Device).map_err(failed);
        }
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = beside(folder, there.map(|there| there.permissions())).map_err(failed)?;
        Ok(Self::File {
            path: path.to_path_buf(),
            file: io::BufWriter::new(file),
        })
    }

    pub(super) fn is_terminal(&self) -> bool {
        match self {
            Self::Stdout { .. } => io::stdout().is_terminal(),
            Self::Terminal(_) => true,
            Self::File { .. } | Self::Device(_) => false,
        }
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Forgets what is left of a result that did not end.
    pub(super) fn reset(&mut self) -> Result<(), Error> {
        match self {
            Self::Terminal(pager) => pager.reset().map_err(|source| Error::Output { source }),
            _ => Ok(()),
        }
    }

    /// Whether nobody reads it any more.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Stdout { closed } => *closed,
            Self::Terminal(pager) => pager.is_closed(),
            Self::File { .. } | Self::Device(_) => false,
        }
    }

    /// The width of the terminal that it is, in characters.
    pub(super) fn width(&self) -> Option<u16> {
        match self {
            Self::File { .. } | Self::Device(_) => None,
            _ if !self.is_terminal() => None,
            _ => terminal_size::terminal_size().map(|(width, _)| width.0),
        }
    }

    /// Ends a result: what was held back is shown.
    pub(super) fn end_result(&mut self) -> Result<(), Error> {
        let ended = match self {
            Self::Terminal(pager) => pager.end(),
            out => out.flush(),
        };
        ended.map_err(|source| Error::Output { source })
    }

    /// Ends all results: a file gets its name.
    pub(super) fn finish(self) -> Result<(), Error> {
        let Self::File { path, file } = self else {
            return Ok(());
        };
        let failed = |source| Error::File {
            path: path.clone(),
            source,
        };
        let file = file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// A temporary file in `folder`, with the rights of the file that it is to replace, or those of any new file.
fn beside(folder: &Path, rights: Option<fs::Permissions>) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    if rights.is_none() {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let file = builder.tempfile_in(folder)?;
    if let Some(rights) = rights {
        file.as_file().set_permissions(rights)?;
    }
    Ok(file)
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout { closed: true } => Ok(bytes.len()),
            Self::Stdout { closed } => match io::stdout().lock().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    *closed = true;
                    Ok(bytes.len())
                }
                written => written,
            },
            Self::Terminal(pager) => pager.write(bytes),
            Self::File { file, .. } => file.write(bytes),
            Self::Device(device) => device.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout { closed: true } => Ok(()),
            Self::Stdout { closed } => match io::stdout().lock().flush() {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    *closed = true;
                    Ok(())
                }
                flushed => flushed,
            },
            Self::Terminal(pager) => pager.flush(),
            Self::File { file, .. } => file.flush(),
            Self::Device(device) => device.flush(),
        }
    }
}
