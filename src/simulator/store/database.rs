//! A database: its committed state and its writer's seat.

use std::sync::{Arc, PoisonError, RwLock};

use super::state::State;
use super::write::Writer;

/// A database that sessions share.
#[derive(Debug)]
pub(crate) struct DatabaseCell {
    name: String,
    committed: RwLock<Arc<State>>,
    /// One transaction writes at a time; the seat holds what only writers use.
    pub(super) writer: Arc<tokio::sync::Mutex<Writer>>,
}

impl DatabaseCell {
    pub(super) fn new(state: State) -> Self {
        Self {
            name: state.name.clone(),
            committed: RwLock::new(Arc::new(state)),
            writer: Arc::default(),
        }
    }

    /// Its name, as created.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What is committed now.
    pub(crate) fn committed(&self) -> Arc<State> {
        Arc::clone(
            &self
                .committed
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    pub(super) fn publish(&self, state: State) {
        *self
            .committed
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }
}
