//! A pager for what is longer than the terminal.

use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

/// The pager where `PAGER` does not name one: quits at once where all fits, and leaves the text on the screen.
const PAGER: &str = "less -FRSX";

/// What a shell ends with that cannot start a program.
const NOT_STARTED: [Option<i32>; 2] = [Some(126), Some(127)];
/// Bytes that a pipe may hold which nobody reads.
const PIPE: usize = 1 << 20;

/// A terminal whose text goes through `$PAGER` from the first line on that does not fit.
#[derive(Debug, Default)]
pub(super) struct Pager {
    /// What is held back until it is known whether it fits.
    held: Vec<u8>,
    lines: usize,
    running: Option<(Child, ChildStdin)>,
    /// What the pager was given first, as long as it may not have taken it.
    sent: Vec<u8>,
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
        let held = std::mem::take(&mut self.held);
        match self.running.is_some() {
            true => self.wait()?,
            false => {
                let mut out = io::stdout().lock();
                out.write_all(&held)?;
                out.flush()?;
            }
        }
        self.reset()
    }

    /// Forgets what is held back, and waits until the person has left the pager.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.wait()?;
        self.held.clear();
        self.lines = 0;
        self.closed = false;
        Ok(())
    }

    /// Waits for the pager to end; what one that could not be started was given is shown without it.
    fn wait(&mut self) -> io::Result<()> {
        let sent = std::mem::take(&mut self.sent);
        let Some((mut child, stdin)) = self.running.take() else {
            return Ok(());
        };
        drop(stdin);
        if NOT_STARTED.contains(&child.wait()?.code()) {
            self.missing = true;
            io::stdout().lock().write_all(&sent)?;
        }
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
        self.sent.clear();
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
        if self.sent.len() <= PIPE {
            self.sent.extend_from_slice(bytes);
        }
        match stdin.write_all(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.wait()?;
                // Without a pager it goes on without one; else the person has seen enough.
                self.closed = !self.missing;
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
