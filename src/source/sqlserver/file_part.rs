//! A part of a file, as a file of its own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

/// The bytes of `range` of a file. Several parts of one file are read at the same time: each has its own position.
#[derive(Debug)]
pub(super) struct FilePart {
    file: Arc<File>,
    range: Range<u64>,
    /// Counted from the beginning of the part.
    position: u64,
}

impl FilePart {
    pub(super) fn new(file: Arc<File>, range: Range<u64>) -> Self {
        Self {
            file,
            range,
            position: 0,
        }
    }

    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl Read for FilePart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len().saturating_sub(self.position);
        let wanted = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = read_at(
            &self.file,
            &mut buffer[..wanted],
            self.range.start + self.position,
        )?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for FilePart {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "a seek before the beginning")
        })?;
        Ok(self.position)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn parts_of_one_file_have_their_own_ends_and_positions() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"headabcdefgtail").unwrap();
        let file = Arc::new(file);
        let part = || FilePart::new(Arc::clone(&file), 4..11);
        let (mut one, mut other) = (part(), part());
        let mut text = String::new();
        one.seek(SeekFrom::End(-2)).unwrap();
        other.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcdefg");
        text.clear();
        one.read_to_string(&mut text).unwrap();
        assert_eq!(text, "fg");
        assert!(one.seek(SeekFrom::Current(-8)).is_err());
        assert_eq!(one.seek(SeekFrom::Start(20)).unwrap(), 20);
        assert_eq!(one.read(&mut [0; 4]).unwrap(), 0);
    }
}
