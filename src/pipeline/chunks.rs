//! The chunks of a flow's table, one after the other, and what is done where reading one fails.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::event::Reporter;
use super::flow::Flow;
use super::part::PartFilter;
use super::run::event_of;
use crate::engine::{Again, Tries};
use crate::error::Error;
use crate::source::sqlserver::{KeyBound, KeyRange, SourceError, TableChunks};

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
    /// The chunks past a key, each of which is looked for when a reader is free.
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
        chunks.boxed()
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
