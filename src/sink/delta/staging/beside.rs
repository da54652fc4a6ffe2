//! Work that keeps a processor busy, beside the tasks that feed it.

use std::future::{Future, poll_fn};

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does `work` on a thread that the runtime does not count on meanwhile, if it has several. It is for a task of its own:
/// whatever else that does waits.
///
/// A task that hands a batch on is often woken by the one that takes it, and tokio has a woken task wait for the very thread
/// that woke it: reading and encoding would take turns on one thread, however many are idle. Where `work` waits, it waits as
/// any future does, and can be dropped.
pub(super) async fn beside<T>(work: impl Future<Output = T>) -> T {
    let is_shared = |handle: Handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread;
    if !Handle::try_current().is_ok_and(is_shared) {
        return work.await;
    }
    let mut work = Box::pin(work);
    poll_fn(|context| tokio::task::block_in_place(|| work.as_mut().poll(context))).await
}
