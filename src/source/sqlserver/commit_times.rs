//! The times of the commits that a read of changes comes by.

use std::collections::VecDeque;

use crate::change::{Lsn, LsnRange};

use super::captured::CapturedTable;
use super::cell::{Cells, Parameter};
use super::change_rows::check_visible;
use super::dates::Dates;
use super::error::SourceError;
use super::pool::Lease;
use super::zone::Known;

/// How far the server that answers has captured, and the ends of commits from `@P1` up to `@P2`, one page at a time.
const COMMIT_TIMES: &str = "\
SELECT TOP (1) m.start_lsn FROM cdc.lsn_time_mapping AS m ORDER BY m.start_lsn DESC OPTION (MAXDOP 1);\n\
SELECT TOP (2000) m.start_lsn, m.tran_end_time FROM cdc.lsn_time_mapping AS m \
WHERE m.start_lsn >= CAST(@P1 AS binary(10)) AND m.start_lsn <= CAST(@P2 AS binary(10)) \
ORDER BY m.start_lsn OPTION (MAXDOP 1);";

/// The times of commits, asked for in ascending order and held one page at a time.
pub(super) struct CommitTimes<'a> {
    lease: Lease,
    known: &'a Known,
    /// As the guard before the rows found the server's clock.
    dates: Option<Dates>,
    upto: Lsn,
    page: VecDeque<(Lsn, i64)>,
}

impl<'a> CommitTimes<'a> {
    pub(super) fn new(lease: Lease, known: &'a Known, upto: Lsn) -> Self {
        Self {
            lease,
            known,
            dates: None,
            upto,
            page: VecDeque::new(),
        }
    }

    /// What is known of the server's zone.
    pub(super) fn known(&self) -> &'a Known {
        self.known
    }

    /// Dates commits so from now on.
    pub(super) fn dated_by(&mut self, dates: Dates) {
        self.dates = Some(dates);
    }

    /// Keeps the connection for the next borrower.
    pub(super) fn give_back(self) {
        self.lease.give_back();
    }

    /// When commit `lsn` ended, in microseconds of UTC.
    pub(super) async fn micros(
        &mut self,
        table: &CapturedTable,
        lsn: Lsn,
    ) -> Result<i64, SourceError> {
        self.drop_before(lsn);
        if self.page.is_empty() {
            self.fetch(lsn).await?;
        }
        match self.page.front() {
            Some((known, utc_ms)) if *known == lsn => Ok(utc_ms.saturating_mul(1000)),
            _ => Err(SourceError::CommitUnknown {
                table: table.name.clone(),
                lsn,
            }),
        }
    }

    fn drop_before(&mut self, lsn: Lsn) {
        while self.page.front().is_some_and(|(known, _)| *known < lsn) {
            self.page.pop_front();
        }
    }

    async fn fetch(&mut self, from: Lsn) -> Result<(), SourceError> {
        let action = "reading the times of commits";
        let bounds = [from, self.upto].map(Parameter::Lsn);
        let results = self
            .lease
            .results(action, COMMIT_TIMES, &[&bounds[0], &bounds[1]])
            .await?;
        let newest = results.first().and_then(|rows| rows.first());
        let visible = newest
            .map(|row| Cells::new(row, action).lsn(0))
            .transpose()?;
        // Behind a listener it need not be the server that the rows come from.
        let upto = LsnRange::new(self.upto, self.upto).unwrap_or_default();
        check_visible(upto, visible.flatten())?;
        let mut page = Vec::new();
        for row in results.get(1).into_iter().flatten() {
            let cells = Cells::new(row, action);
            let lsn = cells.lsn(0)?.unwrap_or(Lsn::ZERO);
            page.push((lsn, cells.required_millis(1)?));
        }
        if let Some(dates) = &self.dates {
            dates.all_utc_ms(&mut self.lease, &mut page).await?;
            self.page.extend(page);
        }
        Ok(())
    }
}
