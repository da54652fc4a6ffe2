//! A server in a process of its own, and what this process has used.
#![allow(dead_code)] // Each bench uses a part of this.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PASSWORD: &str = "benchmark";

/// A running `cdcql simulate`, stopped when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens, with the login.
    pub(crate) url: String,
}

impl Server {
    /// Replays `script` and serves it on a free port.
    pub(crate) fn start(folder: &Path, script: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let path = folder.join("bench_db.sql");
        fs::write(&path, script)?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_cdcql"))
            .arg("simulate")
            .arg(&path)
            .args(["--listen", "127.0.0.1:0"])
            // What is committed can be read at once.
            .args(["--capture-interval", "0"])
            .env("CDCQL_SIMULATOR_PASSWORD", PASSWORD)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stderr.take().ok_or("no stderr")?).read_line(&mut line)?;
        let address = line
            .split_whitespace()
            .map(|word| word.trim_end_matches(','))
            .find(|word| word.starts_with("127.0.0.1:"))
            .ok_or_else(|| format!("the server did not start: {line}"))?
            .to_string();
        let url =
            format!("sqlserver://sa:{PASSWORD}@{address}/bench_db?trust_server_certificate=true");
        Ok(Self { child, url })
    }

    /// Its process, as `/proc` names it.
    pub(crate) fn process(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number of rows in the environment variable `CDCQL_BENCH_ROWS`, or `default`.
pub(crate) fn rows_from_environment(default: u64) -> u64 {
    std::env::var("CDCQL_BENCH_ROWS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// The most memory that a process has had resident, in MiB; 0 where the system does not tell. `self` is
/// this one.
pub(crate) fn peak_memory(process: &str) -> u64 {
    fs::read_to_string(format!("/proc/{process}/status"))
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(0, |kibibytes| kibibytes / 1024)
}

/// Processor time of a process, in user and kernel mode, in the kernel's ticks of 10 ms
/// (proc_pid_stat(5), fields 14 and 15); `self` is this one.
pub(crate) fn processor_time(process: &str) -> Result<Duration, Box<dyn std::error::Error>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the program's name in parentheses, which may hold blanks.
    let (_, fields) = stat.rsplit_once(')').ok_or("no program's name")?;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u64>)
        .sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Forgets the most memory that this process has had resident, so that what follows is measured by itself.
pub(crate) fn reset_peak_memory() {
    // Where the system does not know how, the figure is that of the whole process.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// What a piece of work took.
pub(crate) struct Usage {
    /// Its seconds by the clock.
    pub(crate) seconds: f64,
    /// Its process's processor time in seconds.
    pub(crate) processor: f64,
    read: u64,
    written: u64,
    /// The most memory that its process had resident, in MiB.
    pub(crate) peak: u64,
}

/// A piece of work under way.
pub(crate) struct Running {
    start: Instant,
    processor: f64,
    read: u64,
    written: u64,
}

impl Usage {
    /// Begins to measure.
    pub(crate) fn start() -> Running {
        let (read, written) = transferred();
        let processor = own_processor_seconds();
        let start = Instant::now();
        Running {
            start,
            processor,
            read,
            written,
        }
    }

    /// The figures as a line of text.
    pub(crate) fn to_line(&self) -> String {
        format!(
            "{} {} {} {} {}",
            self.seconds, self.processor, self.read, self.written, self.peak
        )
    }

    /// The figures of a line of text.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        Some(Self {
            seconds: words.next()?.parse().ok()?,
            processor: words.next()?.parse().ok()?,
            read: words.next()?.parse().ok()?,
            written: words.next()?.parse().ok()?,
            peak: words.next()?.parse().ok()?,
        })
    }

    /// Prints the figures of `who`.
    pub(crate) fn print(&self, who: &str) {
        println!(
            "  {who}: {:.3} s, {} MiB read, {} MiB written, peak memory {} MiB",
            self.seconds,
            self.read >> 20,
            self.written >> 20,
            self.peak
        );
    }

    /// Prints how many times as much `peer` took.
    pub(crate) fn print_ratios(&self, peer: &Self) {
        let ratio = |own: u64, peer: u64| peer as f64 / own.max(1) as f64;
        println!(
            "  ratio: {:.1} of the time, {:.1} read, {:.1} written, {:.1} memory",
            peer.seconds / self.seconds,
            ratio(self.read, peer.read),
            ratio(self.written, peer.written),
            ratio(self.peak, peer.peak)
        );
    }
}

impl Running {
    /// Ends the measuring.
    pub(crate) fn end(self) -> Usage {
        let seconds = self.start.elapsed().as_secs_f64();
        let processor = own_processor_seconds() - self.processor;
        let (read, written) = transferred();
        Usage {
            seconds,
            processor,
            read: read - self.read,
            written: written - self.written,
            peak: peak_memory("self"),
        }
    }
}

/// 0 where the system does not tell.
fn own_processor_seconds() -> f64 {
    processor_time("self").map_or(0.0, |time| time.as_secs_f64())
}

/// Bytes that this process has read and written so far, from and to whatever it was.
fn transferred() -> (u64, u64) {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    };
    (value("rchar:"), value("wchar:"))
}

/// Runs this program again with more of an environment, in a process of its own, so that no other's memory is counted;
/// what it says that it took.
pub(crate) fn run_apart(
    environment: &[(&str, &std::ffi::OsStr)],
) -> Result<Usage, Box<dyn std::error::Error>> {
    let output = Command::new(std::env::current_exe()?)
        .envs(environment.iter().copied())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("a run failed".into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(Usage::read(&text).ok_or("a run did not say what it took")?)
}
