//! Whether a flow's target has the rows that its source has.
//!
//! The two are compared as of the commit that the target holds, its checkpoint, though the source is read later: rows whose
//! keys have changes past the checkpoint, up to a fence past the read, are left out, and all others are what they were then. What
//! the target should have is what the flow's INSERT makes of the source's rows, so the flow must make of each row one row,
//! whatever has happened before.
//!
//! 1. Each side is read once and becomes a digest: how many rows each of 65,536 buckets of keys has, and a sum of their
//!    hashes ([`digest`]). Where those agree, the tables do, and nothing more is asked.
//! 2. Else the source's rows in the other buckets are read again and kept beside, in a temporary file where they need
//!    it; a fence past that read is found; and both sides' rows in these buckets are put in order by their keys,
//!    with the keys that changed meanwhile, and compared one by one ([`compare`]).
//!
//! Nothing is written. [`repair`] copies the rows that differ again, in a commit that keeps the checkpoint.

mod compare;
mod digest;
mod repair;
mod sides;
mod verifiable;

use std::sync::Arc;
use std::time::Duration;

use self::compare::{Unlikes, compare};
use self::digest::Buckets;
use self::repair::{MOST_BYTES, MOST_REPAIRED, Repair};
use self::sides::Sides;
use self::verifiable::verifiable;
use super::altered::check_columns;
use super::bind::Pipeline;
use super::capture::fence;
use super::chunks::Chunks;
use super::event::Reporter;
use super::flow::Flow;
use super::look::{Job, Work, look_for};
use super::run::RunOptions;
use crate::change::{Checkpoint, Lsn, LsnRange};
use crate::engine::{log_retry, retried};
use crate::error::Error;
use crate::sink::delta::{DeltaTarget, Spool};

/// Keys of a flow that are told one by one; beyond that they are counted.
pub const MOST_LISTED: usize = 100;

/// How flows are verified.
#[derive(Debug, Clone, Copy)]
pub struct VerifyOptions {
    /// Whether what differs is copied again.
    pub repair: bool,
    /// How many chunks of one table are read at once.
    pub parallel: u8,
    /// How many rows a chunk has; what fits, if `None`.
    pub chunk_rows: Option<u32>,
    /// How long is waited for a commit past what was read.
    pub capture_wait: Duration,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            repair: false,
            parallel: RunOptions::PARALLEL,
            chunk_rows: None,
            capture_wait: RunOptions::CAPTURE_WAIT,
        }
    }
}

/// What was found of a flow.
#[derive(Debug)]
pub struct Verification {
    /// The flow.
    pub flow: String,
    /// Where its target lies.
    pub location: String,
    /// The target's version that was read.
    pub version: Option<u64>,
    /// The commit that it holds, and as of which it was compared.
    pub checkpoint: Option<Lsn>,
    /// How the two compare, or the error that kept them from being compared.
    pub result: Result<Compared, Error>,
}

/// How the rows of a target compare with those of its source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compared {
    /// The rows that were read from the source.
    pub source_rows: u64,
    /// The rows that the target has.
    pub target_rows: u64,
    /// Keys that are not the same, but have changed since the checkpoint: nothing can be said of them yet.
    pub left_out: u64,
    /// Keys that the target lacks.
    pub only_in_source: u64,
    /// Keys that the source lacks.
    pub only_in_target: u64,
    /// Keys whose rows are not the same.
    pub different: u64,
    /// Keys that the target has more than once.
    pub repeated: u64,
    /// The first of these keys, at most [`MOST_LISTED`], in their order.
    pub differences: Vec<Difference>,
    /// How many of these keys were copied again.
    pub repaired: u64,
    /// The target's columns that were not compared: the flow writes nothing to them, or the source does not have them.
    pub uncompared: Vec<String>,
}

impl Compared {
    /// How many keys are not the same.
    pub fn unlike(&self) -> u64 {
        self.only_in_source + self.only_in_target + self.different + self.repeated
    }

    /// Whether the target has what the source has, as far as can be said, by now.
    pub fn agrees(&self) -> bool {
        self.unlike() == self.repaired
    }

    fn count_mut(&mut self, unlike: Unlike) -> &mut u64 {
        match unlike {
            Unlike::OnlyInSource => &mut self.only_in_source,
            Unlike::OnlyInTarget => &mut self.only_in_target,
            Unlike::Different => &mut self.different,
            Unlike::Repeated => &mut self.repeated,
        }
    }
}

/// A key whose rows are not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key, as the SQL condition that finds it in the target.
    pub key: String,
    /// How they are not the same.
    pub unlike: Unlike,
    /// The key in the row format.
    bytes: Vec<u8>,
    /// The columns in which they differ, where both sides have the key.
    pub columns: Vec<String>,
}

/// How the rows of a key are not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlike {
    /// The target has none.
    OnlyInSource,
    /// The source has none.
    OnlyInTarget,
    /// Both have one, with other values.
    Different,
    /// The target has more than one.
    Repeated,
}

impl Pipeline {
    /// Compares what every flow's target has with its source, in the order of the file. Unless it is repaired, nothing is
    /// written.
    pub async fn verify(&self, options: VerifyOptions, reporter: &Reporter) -> Vec<Verification> {
        let mut verifications = Vec::with_capacity(self.flows().len());
        for flow in self.flows() {
            let mut verification = Verification {
                flow: flow.name.clone(),
                location: flow.declaration.location.clone(),
                version: None,
                checkpoint: None,
                result: Ok(Compared::default()),
            };
            let compared = self.verify_flow(flow, options, reporter, &mut verification);
            let compared = Box::pin(compared).await;
            let placed = |error: Error| error.at(&flow.statement, flow.merge.target_span);
            verification.result = compared.map_err(placed);
            verifications.push(verification);
        }
        verifications
    }

    async fn verify_flow(
        &self,
        flow: &Arc<Flow>,
        options: VerifyOptions,
        reporter: &Reporter,
        verification: &mut Verification,
    ) -> Result<Compared, Error> {
        let time = flow.database.retry_time();
        let work = retried(time, log_retry, async || look_for(flow, None).await).await?;
        verification.version = work.target.version();
        let (target, checkpoint) = standing(flow, work)?;
        verification.checkpoint = Some(checkpoint.lsn);
        let verifiable = verifiable(self.engine(), flow, &target).await?;
        let uncompared = verifiable.uncompared.clone();
        let at = (&target, checkpoint.lsn);
        let sides = Sides::try_new(self.engine(), flow, verifiable, at, options.parallel);
        let sides = Arc::new(sides.await?);
        let chunks = chunks_of(flow, checkpoint.lsn, options, reporter).await?;
        if options.repair {
            check_repairable(flow, &chunks)?;
        }
        let (mut compared, buckets) = digests(&sides, &chunks).await?;
        compared.uncompared = uncompared;
        if buckets.is_empty() {
            return Ok(compared);
        }
        let rows = Rows {
            spool: sides.read_again(&chunks, &buckets).await?,
            buckets,
        };
        let fence = fence(flow, checkpoint.lsn, options.capture_wait, reporter).await?;
        check_columns(flow).await?;
        let window = LsnRange::new(checkpoint.lsn, fence.lsn)
            .ok_or(Error::Internal("the fence of a comparison lies before it"))?;
        let unlikes = rows_compared(&sides, &chunks, &rows, (window, options), &mut compared);
        let unlikes = unlikes.await?;
        if options.repair && compared.unlike() > 0 {
            let repair = Repair {
                sides: &sides,
                rows: &rows.spool,
                unlikes,
                target,
                checkpoint,
                known: fence.lsn,
            };
            self.repair(repair, &mut compared).await?;
        }
        Ok(compared)
    }
}

/// The source's rows in the buckets that differ.
struct Rows {
    spool: Spool,
    buckets: Buckets,
}

/// How many rows the sides have, and the buckets in which they differ.
async fn digests(sides: &Arc<Sides>, chunks: &Arc<Chunks>) -> Result<(Compared, Buckets), Error> {
    let (source, held) =
        futures::try_join!(sides.digest_of_source(chunks), sides.digest_of_target())?;
    chunks.table.check_count(source.rows());
    let compared = Compared {
        source_rows: source.rows(),
        target_rows: held.rows(),
        ..Compared::default()
    };
    Ok((compared, source.unlike(&held)))
}

/// Compares rows, once more where what passes by itself keeps the changes in `window` from being read.
async fn rows_compared(
    sides: &Sides,
    chunks: &Chunks,
    rows: &Rows,
    (window, options): (LsnRange, VerifyOptions),
    compared: &mut Compared,
) -> Result<Unlikes, Error> {
    let room = match options.repair {
        true => (MOST_REPAIRED, MOST_BYTES),
        false => (0, 0),
    };
    let mut tries = chunks.tries();
    loop {
        let (mut found, mut unlikes) = (compared.clone(), Unlikes::new(room.0, room.1));
        match compare(sides, rows, window, &mut found, &mut unlikes).await {
            Ok(()) => {
                *compared = found;
                return Ok(unlikes);
            }
            Err(error) => chunks.pause(&mut tries, error).await?,
        }
    }
}

/// Refuses to delete rows that the source may have, though they were not read.
fn check_repairable(flow: &Flow, chunks: &Chunks) -> Result<(), Error> {
    let (statement, span) = (&flow.statement, flow.merge.target_span);
    match chunks.table.may_miss() {
        None => Ok(()),
        Some(reason) => Err(Error::invalid(statement.diagnostic(
            span,
            format!("--repair cannot tell what the source's table lacks: {reason}"),
            Some("verify without --repair, and mend what is listed by hand".to_string()),
        ))),
    }
}

/// A flow's target, and the commit that it holds.
fn standing(flow: &Flow, work: Work) -> Result<(DeltaTarget, Checkpoint), Error> {
    let location = flow.declaration.location.clone();
    match work.job {
        Job::Window { checkpoint, .. }
        | Job::Move { checkpoint, .. }
        | Job::Nothing { checkpoint }
        | Job::Copy {
            over: Some(checkpoint),
            ..
        } => Ok((work.target, checkpoint)),
        Job::Copy { .. } | Job::Begin { .. } if work.target.is_empty() => {
            Err(Error::TableNotCreated {
                table: flow.name.clone(),
                location,
            })
        }
        Job::Copy { .. } | Job::Begin { .. } => Err(Error::TargetNotEmpty {
            flow: flow.name.clone(),
            location,
        }),
    }
}

async fn chunks_of(
    flow: &Arc<Flow>,
    floor: Lsn,
    options: VerifyOptions,
    reporter: &Reporter,
) -> Result<Arc<Chunks>, Error> {
    let (table, columns) = (&flow.table, &flow.columns);
    let chunks = flow
        .database
        .table_chunks(table, columns, floor, options.chunk_rows);
    Ok(Arc::new(Chunks {
        flow: Arc::clone(flow),
        table: Arc::new(chunks.await?),
        filter: None,
        reporter: reporter.clone(),
    }))
}
