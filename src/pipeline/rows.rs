//! The rows of a step, as the table that its flow's statement reads.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use super::flow::Flow;
use super::history::Begun;
use super::part::Part;
use super::reconcile::{Keys, Reconciled};
use crate::change::{Commit, Lsn, LsnRange};
use crate::error::Error;
use crate::sink::delta::{Adopted, DeltaTableProvider, DeltaTarget};
use crate::source::sqlserver::{CopiedRows, LargeValues};
use crate::sql::StatementKind;

/// The rows of a step.
pub(super) enum Rows {
    /// The net changes of a window.
    Window(LsnRange),
    /// A copy of the table.
    Copy {
        rows: CopiedRows,
        /// The others, whose files the target takes.
        adopted: Option<Adopted>,
        /// Whether the target has rows already.
        is_over: bool,
        /// From the commit before the rows to the copy's end.
        window: LsnRange,
        end: Commit,
        /// The keys of the target's rows, of which the source may not have some that the copy lacks.
        keys: Option<Keys>,
        /// The part that was copied, if it is not the whole table.
        part: Option<Arc<Part>>,
    },
}

impl Rows {
    /// The flow's statement over such rows.
    pub(super) fn kind(&self, flow: &Flow) -> StatementKind {
        match self {
            Self::Copy { is_over: true, .. } => flow.kind_over(),
            _ => flow.kind(),
        }
    }

    /// The rows as a table, with large values as `large` says.
    pub(super) async fn table(
        &self,
        flow: &Flow,
        target: &DeltaTarget,
        large: LargeValues,
    ) -> Result<Arc<dyn TableProvider>, Error> {
        let (database, table) = (&flow.database, &flow.table);
        match self {
            Self::Window(window) => Ok(database.net_changes(table, *window, large).await?),
            Self::Copy {
                rows,
                window,
                end,
                keys,
                part,
                ..
            } => {
                let copy = database.first_copy(table, rows.clone(), *window, end, large);
                let copy = copy.await?;
                match keys {
                    Some(keys) => {
                        let keys = (keys.clone(), part.as_deref());
                        reconciled(target, copy, keys, end.lsn).await
                    }
                    None => Ok(copy),
                }
            }
        }
    }

    /// The files that the target takes as they are.
    pub(super) fn adopted(&self) -> Option<Adopted> {
        match self {
            Self::Copy { adopted, .. } => adopted.clone(),
            Self::Window(_) => None,
        }
    }

    /// From the commit before the rows to the last one that they tell of.
    pub(super) fn window(&self) -> LsnRange {
        match self {
            Self::Window(window) | Self::Copy { window, .. } => *window,
        }
    }

    /// The rows as the images that a history is made from, which begin where `begun` says.
    pub(super) async fn images(
        &self,
        flow: &Flow,
        begun: Begun,
    ) -> Result<Arc<dyn TableProvider>, Error> {
        let (database, table) = (&flow.database, &flow.table);
        match self {
            Self::Window(window) => Ok(database.commit_images(table, *window).await?),
            Self::Copy { rows, window, .. } => {
                let images = database.copied_images(table, rows, *window, begun.micros);
                Ok(images.await?)
            }
        }
    }

    /// Where the images begin.
    pub(super) async fn begun(&self, flow: &Flow) -> Result<Begun, Error> {
        let after = self.window().after();
        let is_copy = matches!(self, Self::Copy { .. });
        let micros = match is_copy {
            true => {
                let time = flow.database.time_of(after).await?;
                time.ok_or(Error::Internal("a copy ends before the first commit"))?
            }
            false => 0,
        };
        let has_period = flow.history.as_ref().is_some_and(|shape| shape.has_period);
        let earliest = match has_period {
            true => flow.database.time_before(self.window()).await?,
            false => None,
        };
        let earliest = match is_copy && has_period {
            true => Some(earliest.map_or(micros, |earliest| earliest.min(micros))),
            false => earliest,
        };
        Ok(Begun {
            after,
            micros,
            earliest,
            is_copy,
        })
    }
}

/// `copy`, and a delete for each key that only `target` has, in the part of it that was copied.
async fn reconciled(
    target: &DeltaTarget,
    copy: Arc<dyn TableProvider>,
    (keys, part): (Keys, Option<&Part>),
    end: Lsn,
) -> Result<Arc<dyn TableProvider>, Error> {
    let target = DeltaTableProvider::try_new(target.clone(), None).await?;
    let target: Arc<dyn TableProvider> = Arc::new(target);
    let target = match part {
        Some(part) => part.of(&target)?,
        None => target,
    };
    Ok(Arc::new(Reconciled {
        copy,
        target,
        keys,
        end,
    }))
}
