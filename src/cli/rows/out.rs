//! Where rows go: stdout, a file that is there when it is whole, or a pager.

use std::fs;
use std::io::{self, IsTerminal as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::super::pager::Pager;
use crate::error::Error;

/// Paths of what the process has open: they may lead to a file, which is written to and not replaced.
const OPEN_ALREADY: [&str; 4] = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc/self/fd"];

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
    Device {
        /// The open device.
        device: fs::File,
        /// Whether its reader is gone.
        closed: bool,
    },
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
        let failed = |source| unwritable(path, source);
        if OPEN_ALREADY.iter().any(|open| path.starts_with(open)) {
            let device = fs::OpenOptions::new().append(true).open(path);
            return device.map(Self::device).map_err(failed);
        }
        // What a link points to is replaced, and not the link.
        let found = fs::canonicalize(path).ok();
        let path = found.as_deref().unwrap_or(path);
        let there = fs::metadata(path).ok();
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            let device = fs::OpenOptions::new().write(true).open(path);
            return device.map(Self::device).map_err(failed);
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

    fn device(device: fs::File) -> Self {
        Self::Device {
            device,
            closed: false,
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        match self {
            Self::Stdout { .. } => io::stdout().is_terminal(),
            Self::Terminal(_) => true,
            Self::File { .. } | Self::Device { .. } => false,
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

    /// Bytes of a file that are written; 0 for anything else.
    pub(super) fn length(&mut self) -> Result<u64, Error> {
        match self {
            Self::File { path, file } => {
                let length = file.stream_position();
                length.map_err(|source| unwritable(path, source))
            }
            _ => Ok(0),
        }
    }

    /// Takes back what a file has behind so many bytes.
    pub(super) fn cut(&mut self, length: u64) -> Result<(), Error> {
        let Self::File { path, file } = self else {
            return Ok(());
        };
        let cut = file.seek(SeekFrom::Start(length));
        cut.and_then(|_| file.get_ref().as_file().set_len(length))
            .map_err(|source| unwritable(path, source))
    }

    /// Whether nobody reads it any more.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Stdout { closed } | Self::Device { closed, .. } => *closed,
            Self::Terminal(pager) => pager.is_closed(),
            Self::File { .. } => false,
        }
    }

    /// The width of the terminal that it is, in characters.
    pub(super) fn width(&self) -> Option<u16> {
        match self {
            Self::File { .. } | Self::Device { .. } => None,
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
        let failed = |source| unwritable(&path, source);
        let file = file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// The error of a file that cannot be written, without the name that it had meanwhile.
fn unwritable(path: &Path, source: io::Error) -> Error {
    let kind = source.kind();
    let cause = match source.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        // A temporary file's error tells its name.
        None if kind != io::ErrorKind::Other => io::Error::from(kind),
        None => source,
    };
    let text = format!("cannot write {}: {cause}", path.display());
    Error::Output {
        source: io::Error::new(kind, text),
    }
}

/// Writes to what a reader may leave; the rest is dropped then.
fn write_until_closed(
    closed: &mut bool,
    bytes: &[u8],
    write: impl FnOnce(&[u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    if *closed {
        return Ok(bytes.len());
    }
    match write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            *closed = true;
            Ok(bytes.len())
        }
        written => written,
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
            Self::Stdout { closed } => {
                write_until_closed(closed, bytes, |bytes| io::stdout().lock().write(bytes))
            }
            Self::Terminal(pager) => pager.write(bytes),
            Self::File { file, .. } => file.write(bytes),
            Self::Device { device, closed } => {
                write_until_closed(closed, bytes, |bytes| device.write(bytes))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout { closed } => {
                write_until_closed(closed, &[], |_| io::stdout().lock().flush().map(|()| 0))
                    .map(|_| ())
            }
            Self::Terminal(pager) => pager.flush(),
            Self::File { file, .. } => file.flush(),
            Self::Device { .. } => Ok(()),
        }
    }
}
