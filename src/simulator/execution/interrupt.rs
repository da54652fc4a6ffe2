//! Stopping a batch.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Runtime;
use tokio::sync::Notify;

thread_local! {
    /// The interrupt of what runs on this thread.
    static CURRENT: RefCell<Option<Interrupt>> = const { RefCell::new(None) };
}

/// A wish that something stops. It is heard wherever the work waits or yields, and where long
/// computations ask for it with [`interrupted`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: AtomicBool,
    notify: Notify,
}

/// Interrupts when it is dropped.
#[derive(Debug)]
pub(crate) struct OnDrop(Interrupt);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.shared.wanted.store(true, Ordering::Relaxed);
        self.0.shared.notify.notify_one();
    }
}

impl Interrupt {
    /// A guard whose end interrupts; after the work is done that means nothing.
    pub(crate) fn on_drop(&self) -> OnDrop {
        OnDrop(self.clone())
    }

    /// Runs a future to its end, or to the interrupt, which drops it.
    pub(crate) fn block_on<T>(
        &self,
        runtime: &Runtime,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        CURRENT.set(Some(self.clone()));
        let result = runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.shared.notify.notified() => None,
                result = future => Some(result),
            }
        });
        CURRENT.set(None);
        result
    }
}

/// Whether what runs on this thread shall stop.
pub(crate) fn interrupted() -> bool {
    CURRENT.with_borrow(|current| {
        current
            .as_ref()
            .is_some_and(|interrupt| interrupt.shared.wanted.load(Ordering::Relaxed))
    })
}
