//! A pager for what is longer than the terminal.

use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

/// The pager where `PAGER` does not name one: quits at once where all fits, and leaves the text on the screen.
const PAGER: &str = "less -FRSX";

/// A terminal whose text goes through `$PAGER` from the first line on that does not fit.
#[derive(Debug, Default)]
pub(super) struct Pager {
    /// What is held back until it is known whether it fits.
    held: Vec<u8>,
    lines: usize,
    running: Option<(Child, ChildStdin)>,
    /// Whether the pager was left before it had everything.
    closed: bool,
    /// Whether the pager could not be started.
    missing: bool,
}

impl Pager {
    /// Whether the person has left the pager.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Shows what is held back, and waits until the person has left the pager.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.lines = 0;
        let held = std::mem::take(&mut self.held);
        match self.running.take() {
            Some((mut child, stdin)) => {
                drop(stdin);
                child.wait()?;
            }
            None => {
                let mut out = io::stdout().lock();
                out.write_all(&held)?;
                out.flush()?;
            }
        }
        self.closed = false;
        Ok(())
    }

    fn is_full(&self) -> bool {
        let height = terminal_size::terminal_size().map_or(24, |(_, height)| height.0);
        self.lines + 1 >= usize::from(height)
    }

    /// Starts the pager; without one, text goes to the terminal as it is.
    fn start(&mut self) -> io::Result<()> {
        let command = std::env::var("PAGER").unwrap_or_else(|_| PAGER.to_string());
        let started = match command.trim() {
            "" => None,
            command => Command::new("sh")
                .args(["-c", command])
                .stdin(Stdio::piped())
                .spawn()
                .ok(),
        };
        let held = std::mem::take(&mut self.held);
        match started.and_then(|mut child| child.stdin.take().map(|stdin| (child, stdin))) {
            Some(running) => {
                self.running = Some(running);
                self.send(&held)
            }
            None => {
                self.missing = true;
                io::stdout().lock().write_all(&held)
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some((_, stdin)) = &mut self.running else {
            return Ok(());
        };
        match stdin.write_all(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            sent => sent,
        }
    }
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Ok(bytes.len());
        }
        if self.missing {
            io::stdout().lock().write_all(bytes)?;
        } else if self.running.is_some() {
            self.send(bytes)?;
        } else {
            self.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
            self.held.extend_from_slice(bytes);
            if self.is_full() {
                self.start()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.running {
            Some((_, stdin)) => match stdin.flush() {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                flushed => flushed,
            },
            None => Ok(()),
        }
    }
}
