//! A disk that gets full, for tests.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::file::{Medium, Record};

/// A disk with room for so many bytes.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    held: Arc<Mutex<Held>>,
    cuts: bool,
}

#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    room: usize,
}

impl Disk {
    /// A disk that holds a text; `cuts` says whether what was written can be removed again.
    pub(crate) fn new(text: &str, room: usize, cuts: bool) -> Self {
        let bytes = text.as_bytes().to_vec();
        Self {
            held: Arc::new(Mutex::new(Held { bytes, room })),
            cuts,
        }
    }

    /// The record that it holds.
    pub(crate) fn record(&self) -> (Record, String) {
        let text = self.text();
        (Record::new(Box::new(self.clone()), &text), text)
    }

    /// What it holds.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.held.lock().unwrap().bytes.clone()).unwrap()
    }

    /// Gives it another room.
    pub(crate) fn resize(&self, room: usize) {
        self.held.lock().unwrap().room = room;
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.held.lock().unwrap();
        let free = held.room.saturating_sub(held.bytes.len());
        if free == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(free);
        held.bytes.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Medium for Disk {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        if !self.cuts {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let length = usize::try_from(length).unwrap();
        self.held.lock().unwrap().bytes.truncate(length);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn check(&self, length: u64) -> io::Result<()> {
        assert_eq!(self.text().len() as u64, length);
        Ok(())
    }
}
