//! Threads with deep stacks, one for each batch that runs.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Bytes of a thread's stack. The system gives memory only for what was used.
const STACK: usize = 256 << 20;

/// Batches that run at one time; one more waits. It is above the number of connections, since batches wait
/// for each other's transactions.
const RUNNING: usize = 320;

/// Threads that are kept without work.
const IDLE: usize = 4;

/// Threads of a runtime for what blocks, such as reading sorted rows back from a file.
const BLOCKING: usize = 4;

/// Work, and how its thread is given more.
struct Job {
    work: Box<dyn FnOnce(&Runtime) + Send>,
    next: Sender<Job>,
}

static PERMITS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(RUNNING)));
static WAITING: Mutex<Vec<Sender<Job>>> = Mutex::new(Vec::new());

/// A thread that waits for work.
pub(crate) struct Seat {
    jobs: Sender<Job>,
    permit: OwnedSemaphorePermit,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}

/// Takes a thread, when fewer than the most are taken.
///
/// # Errors
///
/// The system gives no thread.
pub(crate) async fn seat() -> io::Result<Seat> {
    let permit = Arc::clone(&PERMITS)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let jobs = match waiting {
        Some(jobs) => jobs,
        None => start()?,
    };
    Ok(Seat { jobs, permit })
}

impl Seat {
    /// Does the work there. What comes out is dropped there if nobody waits for it any more; nothing
    /// comes out of work that panics.
    pub(crate) fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Runtime) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        let permit = self.permit;
        let work = Box::new(move |runtime: &Runtime| {
            let result = work(runtime);
            drop(permit);
            let _ = sender.send(result);
        });
        let next = self.jobs.clone();
        // A thread that waits has not ended; without one the receiver hears that nothing comes.
        let _ = self.jobs.send(Job { work, next });
        receiver
    }
}

fn start() -> io::Result<Sender<Job>> {
    let (sender, receiver) = channel();
    let runtime = Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(BLOCKING)
        .build()?;
    thread::Builder::new()
        .name("simulator".to_owned())
        .stack_size(STACK)
        .spawn(move || serve(&runtime, &receiver))?;
    Ok(sender)
}

fn serve(runtime: &Runtime, jobs: &Receiver<Job>) {
    while let Ok(Job { work, next }) = jobs.recv() {
        work(runtime);
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= IDLE {
            return;
        }
        waiting.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_comes_back() {
        for n in 0..20 {
            let done = seat().await.unwrap().run(move |_| n + 1);
            assert_eq!(done.await.unwrap(), n + 1);
        }
    }

    #[tokio::test]
    async fn panics_stay_within_their_work() {
        let lost = seat().await.unwrap().run(|_| {
            assert!(std::hint::black_box(false), "broken on purpose");
        });
        assert!(lost.await.is_err());
        let done = seat().await.unwrap().run(|_| 1);
        assert_eq!(done.await.unwrap(), 1);
    }
}
