//! Where batches run.
//!
//! A batch does not run on the threads that serve connections: it may compute for a long time, and it
//! needs a stack as deep as its longest expression. It has a thread of its own instead, one of a bounded
//! number, and an [`Interrupt`] by which its client stops it.

mod interrupt;
mod threads;

pub(crate) use interrupt::{Interrupt, interrupted};
pub(crate) use threads::seat;
