//! The file, which one server at a time appends to.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::text::{Recorded, batch};
use crate::simulator::protocol::ServerError;

/// What ends a batch.
const GO: &str = "GO\n";

/// What a record is written to.
pub(super) trait Medium: Write + fmt::Debug + Send {
    /// Cuts everything from a length on.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// Returns when everything is on the disk.
    fn sync(&mut self) -> io::Result<()>;

    /// An error, unless it is where it was opened and has this length.
    fn check(&self, length: u64) -> io::Result<()>;
}

/// A file and its path.
#[derive(Debug)]
struct Script {
    file: File,
    path: PathBuf,
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Medium for Script {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(SeekFrom::Start(length)).map(|_| ())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn check(&self, length: u64) -> io::Result<()> {
        let (held, named) = (self.file.metadata()?, std::fs::metadata(&self.path)?);
        if held.len() == length && is_same(&held, &named) {
            return Ok(());
        }
        Err(io::Error::other("another program has changed it"))
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    one.len() == other.len()
}

/// A script that is appended to.
#[derive(Debug)]
pub struct Record {
    appended: Mutex<Appended>,
}

#[derive(Debug)]
struct Appended {
    medium: Box<dyn Medium>,
    /// The length up to the last whole batch.
    length: u64,
    /// The length before it.
    before: u64,
    /// What stands before the next batch.
    separator: &'static str,
    /// Values that were spent and are not written yet, by database and what they were spent of.
    spent: BTreeMap<(String, String), Recorded>,
    /// Why nothing can be appended any more.
    broken: Option<String>,
}

impl Record {
    /// Opens a script to append to it, and reads what it holds. The file is locked as long as the record lives.
    ///
    /// # Errors
    ///
    /// The file does not exist, is no UTF-8, cannot be written, or another server records to it
    /// ([`io::ErrorKind::WouldBlock`]).
    pub fn open(path: &Path) -> io::Result<(Self, String)> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::WouldBlock,
                "another server records to it; stop that one, or record to a copy",
            ),
        })?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let path = path.to_path_buf();
        Ok((Self::new(Box::new(Script { file, path }), &text), text))
    }

    pub(super) fn new(medium: Box<dyn Medium>, text: &str) -> Self {
        let separator = match text {
            "" => "",
            _ if text.ends_with("\nGO\n") => "",
            _ if text.ends_with('\n') => GO,
            _ => "\nGO\n",
        };
        Self {
            appended: Mutex::new(Appended {
                medium,
                length: text.len() as u64,
                before: text.len() as u64,
                separator,
                spent: BTreeMap::new(),
                broken: None,
            }),
        }
    }

    /// Waits for the others' commits, and keeps them waiting while it lives.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn(self.appended.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The right to append the next batch. It is kept until everyone sees what the batch did.
#[derive(Debug)]
pub(crate) struct Turn<'a>(MutexGuard<'a, Appended>);

impl Turn<'_> {
    /// Appends a batch, which is on the disk when this returns; `transaction` has it begin and commit one.
    /// After an error (9001) nothing of it is in the file.
    pub(crate) fn append(
        &mut self,
        statements: &[Recorded],
        transaction: bool,
    ) -> Result<(), ServerError> {
        let appended = &mut *self.0;
        let mut text = appended.separator.to_owned();
        let spent: Vec<Recorded> = appended.spent.values().cloned().collect();
        for (statements, transaction) in [(&spent[..], false), (statements, transaction)] {
            if !statements.is_empty() {
                text.push_str(&batch(statements, transaction));
                text.push_str(GO);
            }
        }
        appended.write(&text).map_err(|error| unavailable(&error))?;
        appended.spent.clear();
        Ok(())
    }

    /// Removes the batch that was appended last, since what it did was not done.
    pub(crate) fn take_back(&mut self) {
        let appended = &mut *self.0;
        match appended.medium.cut(appended.before) {
            Ok(()) => appended.length = appended.before,
            Err(error) => {
                let why = format!("what was not committed cannot be removed: {error}");
                appended.broken = Some(why);
            }
        }
    }

    /// Appends that values were spent, which no commit did. What cannot be written now is written in front of
    /// the next batch.
    pub(crate) fn spend(&mut self, of: &str, spent: Recorded) {
        let database = spent.database.clone();
        self.0.spent.insert((database, of.to_owned()), spent);
    }

    /// Appends what was spent, where that is possible now.
    pub(crate) fn flush(&mut self) {
        if !self.0.spent.is_empty()
            && let Err(error) = self.append(&[], false)
        {
            tracing::warn!(%error, "spent values wait for the next commit to be recorded");
        }
    }
}

impl Appended {
    /// Writes a text with one call, or nothing of it.
    fn write(&mut self, text: &str) -> Result<(), String> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        self.medium
            .check(self.length)
            .map_err(|error| error.to_string())?;
        let written = self.medium.write_all(text.as_bytes());
        if let Err(error) = written.and_then(|()| self.medium.sync()) {
            if let Err(cut) = self.medium.cut(self.length) {
                let torn = format!("{error}, and what was written of it cannot be removed: {cut}");
                self.broken = Some(torn.clone());
                return Err(torn);
            }
            return Err(error.to_string());
        }
        self.before = self.length;
        self.length += text.len() as u64;
        self.separator = "";
        Ok(())
    }
}

fn unavailable(why: &str) -> ServerError {
    let mut error = ServerError::new(
        9001,
        format!("The log is not available: the script cannot be appended to: {why}."),
    );
    error.severity = 17;
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::record::disk::Disk;

    fn record(text: &str, room: usize, cuts: bool) -> (Record, Disk) {
        let disk = Disk::new(text, room, cuts);
        (disk.record().0, disk)
    }

    fn insert(text: &str) -> [Recorded; 1] {
        [Recorded::new("d", text.to_owned())]
    }

    #[test]
    fn a_batch_follows_the_script_whatever_its_end_is() {
        const BATCH: &str = "BEGIN\nUSE [d];\nDELETE t;\nEND\nGO\n";
        for (script, between) in [
            ("", ""),
            ("PRINT 1", "\nGO\n"),
            ("PRINT 1\n", "GO\n"),
            ("PRINT 1\nGO\n", ""),
        ] {
            let (record, disk) = record(script, 1000, true);
            record.turn().append(&insert("DELETE t"), false).unwrap();
            record.turn().append(&insert("DELETE t"), false).unwrap();
            assert_eq!(disk.text(), format!("{script}{between}{BATCH}{BATCH}"));
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let (record, disk) = record("PRINT 1\nGO\n", 60, true);
        let long = insert(&format!("PRINT '{}'", "x".repeat(60)));
        let error = record.turn().append(&long, false).unwrap_err();
        assert_eq!(error.number, 9001);
        assert_eq!(disk.text(), "PRINT 1\nGO\n");
        record.turn().append(&insert("DELETE t"), false).unwrap();
        assert!(disk.text().ends_with("DELETE t;\nEND\nGO\n"));
    }

    #[test]
    fn what_was_spent_waits_for_the_next_batch() {
        let (record, disk) = record("", 70, true);
        let spent = Recorded::new("d", format!("EXEC spent {}", "9".repeat(50)));
        record.turn().spend("t", spent);
        record.turn().flush();
        assert_eq!(disk.text(), "");
        record
            .turn()
            .spend("t", Recorded::new("d", "EXEC s".to_owned()));
        record.turn().append(&insert("DELETE t"), false).unwrap();
        let first = "BEGIN\nUSE [d];\nEXEC s;\nEND\nGO\n";
        assert_eq!(
            disk.text(),
            format!("{first}BEGIN\nUSE [d];\nDELETE t;\nEND\nGO\n")
        );
    }

    #[test]
    fn a_batch_can_be_taken_back() {
        let (record, disk) = record("", 1000, true);
        record.turn().append(&insert("DELETE t"), false).unwrap();
        let whole = disk.text();
        let mut turn = record.turn();
        turn.append(&insert("DELETE u"), false).unwrap();
        turn.take_back();
        drop(turn);
        assert_eq!(disk.text(), whole);
        record.turn().append(&insert("DELETE v"), false).unwrap();
        assert!(disk.text().starts_with(&whole) && !disk.text().contains("DELETE u"));
    }

    #[test]
    fn a_torn_batch_that_stays_ends_the_record() {
        let (record, disk) = record("", 20, false);
        let append = || record.turn().append(&insert("DELETE t"), false);
        assert_eq!(append().unwrap_err().number, 9001);
        let torn = disk.text();
        assert!(append().unwrap_err().message.contains("cannot be removed"));
        assert_eq!(disk.text(), torn);
    }

    #[test]
    fn a_script_that_another_program_changes_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("s.sql"), folder.path().join("moved.sql"));
        std::fs::write(&path, "PRINT 1\n").unwrap();
        let (record, _) = Record::open(&path).unwrap();
        let append = || record.turn().append(&insert("DELETE t"), false);
        append().unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        assert_eq!(append().unwrap_err().number, 9001);
        std::fs::write(&path, &whole).unwrap();
        assert!(append().unwrap_err().message.contains("another program"));
        std::fs::rename(&moved, &path).unwrap();
        append().unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}PRINT 2\n")).unwrap();
        assert!(append().unwrap_err().message.contains("another program"));
    }

    #[test]
    fn a_script_is_recorded_to_by_one_server_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sql");
        std::fs::write(&path, "PRINT 1").unwrap();
        let (first, text) = Record::open(&path).unwrap();
        assert_eq!(text, "PRINT 1");
        let second = Record::open(&path).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(Record::open(&path).is_ok());
        let missing = Record::open(&folder.path().join("none.sql")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
