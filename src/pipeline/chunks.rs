//! The chunks of a flow's table, one after the other, and what is done where reading one fails.

use std::sync::Arc;

use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;

use super::event::Reporter;
use super::flow::Flow;
use super::part::PartFilter;
use super::run::event_of;
use crate::engine::{Again, Tries};
use crate::error::Error;
use crate::source::sqlserver::{KeyBound, KeyRange, SourceError, TableChunks};

/// How many chunks that nobody reads yet are known, besides the one that is being looked for.
const FOUND_AHEAD: usize = 1;

/// A flow's table by its chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    pub(super) flow: Arc<Flow>,
    pub(super) table: Arc<TableChunks>,
    /// Of a part of the table, what the server may not have left out.
    pub(super) filter: Option<PartFilter>,
    pub(super) reporter: Reporter,
}

/// A chunk that is to be read.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) number: u32,
    pub(super) range: KeyRange,
}

impl Chunks {
    /// The chunks past a key. The next one is looked for while those before are read, so that no reader waits for it.
    pub(super) fn ahead(
        self: &Arc<Self>,
        number: u32,
        after: Option<KeyBound>,
    ) -> BoxStream<'static, Result<Ahead, Error>> {
        let begin = (Arc::clone(self), Some((number, after)));
        let chunks = stream::try_unfold(begin, |(chunks, next)| async move {
            let Some((number, after)) = next else {
                return Ok(None);
            };
            let upto = chunks.end_of_chunk(after.as_ref()).await?;
            let next = upto.clone().map(|upto| (number + 1, Some(upto)));
            let range = KeyRange { after, upto };
            Ok(Some((Ahead { number, range }, (chunks, next))))
        });
        let (sender, receiver) = mpsc::channel::<Result<Ahead, Error>>(FOUND_AHEAD);
        let finder = SpawnedTask::spawn(async move {
            let mut chunks = std::pin::pin!(chunks);
            while let Some(found) = chunks.next().await {
                // Nobody who reads wants more.
                if sender.send(found).await.is_err() {
                    break;
                }
            }
        });
        // Dropping the stream ends the task.
        let found = stream::try_unfold((receiver, finder), |(mut receiver, finder)| async move {
            if let Some(found) = receiver.recv().await {
                return found.map(|ahead| Some((ahead, (receiver, finder))));
            }
            // A task that did not come to its end has not found all.
            finder.join_unwind().await.map_err(|_| Error::Interrupted)?;
            Ok(None)
        });
        found.boxed()
    }

    /// The rows of a chunk.
    pub(super) fn rows(&self, range: &KeyRange) -> Result<SendableRecordBatchStream, SourceError> {
        let rows = self.table.rows(range)?;
        Ok(match &self.filter {
            Some(filter) => filter.applied(rows),
            None => rows,
        })
    }

    async fn end_of_chunk(&self, after: Option<&KeyBound>) -> Result<Option<KeyBound>, Error> {
        let mut tries = self.tries();
        loop {
            match self.table.end_of_chunk(after).await {
                Ok(end) => return Ok(end),
                Err(error) => self.pause(&mut tries, error.into()).await?,
            }
        }
    }

    pub(super) fn tries(&self) -> Tries {
        Tries::within(self.flow.database.retry_time())
    }

    /// Waits before a chunk is read again that failed with `error`, or gives it back.
    pub(super) async fn pause(&self, tries: &mut Tries, error: Error) -> Result<(), Error> {
        let tell = |again: Again<'_>| {
            self.reporter.report(event_of(&self.flow.name, &again));
        };
        tries.pause_after(error, &tell).await
    }
}
