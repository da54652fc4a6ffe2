//! Which flow waits for which: one that looks up another's target is at work when that one is not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ResolvedTableReference, Result as DataFusionResult};
use datafusion::logical_expr::LogicalPlan;
use tokio::sync::watch;

use super::flow::Flow;
use crate::engine::{Engine, LAKE, MAIN};
use crate::error::Error;
use crate::sql::{Statement, StatementKind, table_references};

/// For each flow, the places of those whose targets it looks up.
pub(super) type Lookups = Vec<Vec<usize>>;

/// What each of the MERGE `statements` looks up of the others' targets, by what it says.
pub(super) fn lookups_of(engine: &Engine, statements: &[Statement]) -> Lookups {
    let target = |statement: &Statement| match &statement.kind {
        StatementKind::Merge(merge) => Some(engine.resolve(&merge.target)),
        _ => None,
    };
    let targets: Vec<_> = statements.iter().map(target).collect();
    let named = statements.iter().enumerate().map(|(place, statement)| {
        let tables = table_references(statement).into_iter();
        let tables: Vec<_> = tables
            .map(|table| Some(engine.resolve(&table.table)))
            .collect();
        let others = targets.iter().enumerate();
        // Its own target is no lookup, though a second flow should write it.
        let own = &targets[place];
        others
            .filter(|(other, target)| {
                *other != place && *target != own && target.is_some() && tables.contains(target)
            })
            .map(|(other, _)| other)
            .collect()
    });
    named.collect()
}

/// The same by the plans of the flows, which also have what views read.
pub(super) fn lookups(flows: &[Arc<Flow>]) -> Lookups {
    let looked_up = flows.iter().enumerate().map(|(place, flow)| {
        let others = flows.iter().enumerate();
        others
            .filter(|(other, found)| *other != place && flow.reads.contains(&found.target))
            .map(|(other, _)| other)
            .collect()
    });
    looked_up.collect()
}

/// The tables that a plan reads.
pub(super) fn reads(plan: &LogicalPlan) -> DataFusionResult<Vec<ResolvedTableReference>> {
    let mut found = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found.push(scan.table_name.clone().resolve(LAKE, MAIN));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The columns of `table` that an optimised plan reads, by their places.
pub(super) fn columns_read(
    plan: &LogicalPlan,
    table: &ResolvedTableReference,
) -> DataFusionResult<BTreeSet<usize>> {
    let mut found = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && scan.table_name.clone().resolve(LAKE, MAIN) == *table
        {
            match &scan.projection {
                Some(projection) => found.extend(projection),
                None => found.extend(0..scan.source.schema().fields().len()),
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The places in an order in which each comes after those that it looks up.
///
/// # Errors
/// `Invalid` if flows look up each other's targets.
pub(super) fn in_order(lookups: &Lookups, statements: &[&Statement]) -> Result<Vec<usize>, Error> {
    let mut order = Vec::with_capacity(lookups.len());
    let mut is_placed = vec![false; lookups.len()];
    while order.len() < lookups.len() {
        let is_next = |place: &usize| {
            !is_placed[*place] && lookups[*place].iter().all(|other| is_placed[*other])
        };
        let Some(next) = (0..lookups.len()).find(is_next) else {
            let left = is_placed.iter().position(|is_placed| !is_placed);
            return Err(circle(statements[left.unwrap_or_default()]));
        };
        is_placed[next] = true;
        order.push(next);
    }
    Ok(order)
}

fn circle(statement: &Statement) -> Error {
    let span = match &statement.kind {
        StatementKind::Merge(merge) => merge.target_span,
        _ => statement.span,
    };
    Error::invalid(statement.diagnostic(
        span,
        "this flow looks up the target of a flow that, itself or by others, looks up this one's",
        Some("let one of them read the source's table instead".to_string()),
    ))
}

/// How a flow does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its target holds what it should.
    Done,
    /// It is at work, or is to be.
    Busy,
    /// It has done all up to its last look, and does what came since when this is over.
    Held {
        /// Until when.
        until: Instant,
    },
    /// It has failed for good.
    Stopped,
}

/// How all flows do, for those that look up their targets.
#[derive(Debug)]
pub(super) struct Turns {
    lookups: Lookups,
    standings: Vec<watch::Sender<Standing>>,
}

impl Turns {
    /// The turns of flows that stand like `standing`.
    pub(super) fn new(lookups: Lookups, standing: Standing) -> Self {
        let standings = lookups.iter().map(|_| watch::Sender::new(standing));
        Self {
            standings: standings.collect(),
            lookups,
        }
    }

    pub(super) fn set(&self, place: usize, standing: Standing) {
        if let Some(sender) = self.standings.get(place) {
            sender.send_replace(standing);
        }
    }

    /// The flows that the one at `place` looks up, as they stand now.
    pub(super) fn ahead(&self, place: usize) -> Ahead {
        let others = self.lookups.get(place).into_iter().flatten();
        let standing = |place: &usize| {
            let now = self.standings.get(*place)?.subscribe();
            let found = *now.borrow();
            Some((*place, found, now))
        };
        Ahead {
            place,
            others: others.filter_map(standing).collect(),
        }
    }
}

/// The flows that the one at `place` looks up.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) place: usize,
    /// The place of each, how it stood when that one was to begin, and how it stands.
    others: Vec<(usize, Standing, watch::Receiver<Standing>)>,
}

impl Ahead {
    /// Waits until none of them is at work, and each that was held has looked at the source since.
    ///
    /// # Errors
    /// The place of one that has failed for good.
    pub(super) async fn wait(self) -> Result<(), usize> {
        for (place, found, mut now) in self.others {
            let ended = now.wait_for(|now| match now {
                Standing::Busy => false,
                Standing::Held { .. } => *now != found,
                Standing::Done | Standing::Stopped => true,
            });
            // Where the turns are gone, so is everything that waits.
            if ended.await.is_ok_and(|now| *now == Standing::Stopped) {
                return Err(place);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    /// The turns of two flows, of which the second looks up the first; and whether it may begin that looked when that one
    /// stood like `found`, and which stands like `now` since.
    fn may_begin(found: Standing, now: Standing) -> Option<Result<(), usize>> {
        let turns = Turns::new(vec![vec![], vec![0]], found);
        let ahead = turns.ahead(1);
        turns.set(0, now);
        ahead.wait().now_or_never()
    }

    #[test]
    fn a_flow_goes_after_those_it_looks_up() {
        use Standing::{Busy, Done, Held, Stopped};
        let until = Instant::now();
        let (held, held_again) = (
            Held { until },
            Held {
                until: until + Duration::from_secs(1),
            },
        );
        for found in [Busy, Done, held] {
            assert_eq!(may_begin(found, Busy), None);
            assert_eq!(may_begin(found, Done), Some(Ok(())));
            assert_eq!(may_begin(found, held_again), Some(Ok(())));
            assert_eq!(may_begin(found, Stopped), Some(Err(0)));
        }
        assert_eq!(may_begin(held, held), None);
    }
}
