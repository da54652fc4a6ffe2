//! How much a window may hold, and where it ends for that.

use crate::change::{Commit, LsnRange};

use super::captured::CapturedTable;
use super::cell::{Cells, Parameter};
use super::error::SourceError;
use super::ident::quote;
use super::pool::Pool;
use super::relation::{AFTER, UPTO, explained};

/// How much a window may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// Rows of the change table; a larger transaction is one window all the same.
    pub rows: u32,
    /// Bytes of these rows; a larger transaction is one window all the same.
    pub bytes: u64,
    /// Transactions that changed the table.
    pub transactions: Option<u32>,
}

/// Where a window that begins like `window` has to end before it: at the commit with which a limit is reached.
///
/// The server is asked for the bytes only where as many rows, as wide as they may be, would reach that limit: it has to
/// read them for it. `None` if the window may go on to its end.
pub(super) async fn cut(
    pool: &Pool,
    table: &CapturedTable,
    window: LsnRange,
    limits: WindowLimits,
) -> Result<Option<Commit>, SourceError> {
    let (mut end, rows) = cut_at(pool, table, window, &counted(table, "TOP", limits.rows)).await?;
    let mut end = end.take_if(|_| rows >= u64::from(limits.rows));
    let upto = |end: &Option<Commit>| {
        let upto = end.as_ref().map_or(window.upto(), |end| end.lsn);
        LsnRange::new(window.after(), upto).unwrap_or(window)
    };
    if rows.saturating_mul(most_bytes(table)) >= limits.bytes {
        let sooner = cut_at(pool, table, upto(&end), &measured(table, limits.bytes)).await?;
        end = sooner.0.or(end);
    }
    if let Some(transactions) = limits.transactions {
        let distinct = counted(table, "DISTINCT TOP", transactions);
        let (sooner, seen) = cut_at(pool, table, upto(&end), &distinct).await?;
        end = sooner.filter(|_| seen >= u64::from(transactions)).or(end);
    }
    Ok(end.filter(|end| end.lsn < window.upto()))
}

/// The commit of the last of the first `limit` rows or transactions, and how many there are.
fn counted(table: &CapturedTable, top: &str, limit: u32) -> String {
    format!(
        "SELECT MAX(w.lsn) AS lsn, COUNT_BIG(*) AS seen \
         FROM (SELECT {top} ({limit}) c.[__$start_lsn] AS lsn {} ORDER BY c.[__$start_lsn]) AS w",
        table.relation.rows(AFTER, UPTO)
    )
}

/// The commit with which the rows have `limit` bytes; NULL if they have fewer.
fn measured(table: &CapturedTable, limit: u64) -> String {
    let varying = table
        .columns
        .iter()
        .filter(|column| column.sql_type.varies());
    let varying = varying.map(|column| {
        let name = quote(&column.name);
        format!(" + COALESCE(CAST(DATALENGTH(c.{name}) AS bigint), 0)")
    });
    format!(
        "SELECT MIN(w.lsn) AS lsn, CAST(0 AS bigint) AS seen FROM (SELECT c.[__$start_lsn] AS lsn, \
         SUM(CAST({ROW_BYTES} AS bigint){}) OVER (ORDER BY c.[__$start_lsn] ROWS UNBOUNDED PRECEDING) AS bytes \
         {}) AS w WHERE w.bytes >= {limit}",
        varying.collect::<String>(),
        table.relation.rows(AFTER, UPTO)
    )
}

/// Bytes of a row besides those that vary, about.
const ROW_BYTES: u64 = 64;

/// How many bytes a row may have.
fn most_bytes(table: &CapturedTable) -> u64 {
    let columns = table
        .columns
        .iter()
        .map(|column| column.sql_type.most_bytes());
    columns.fold(ROW_BYTES, u64::saturating_add)
}

/// The commit that `ends` a window, if there is one, and what it counts.
///
/// Its row of the mapping comes with it: another statement may be answered by a replica that is behind.
async fn cut_at(
    pool: &Pool,
    table: &CapturedTable,
    window: LsnRange,
    ends: &str,
) -> Result<(Option<Commit>, u64), SourceError> {
    let action = format!("measuring the changes of {}", table.name);
    let sql = format!(
        "SELECT cut.lsn, cut.seen, m.tran_end_time, m.tran_id FROM ({ends}) AS cut \
         LEFT JOIN cdc.lsn_time_mapping AS m ON m.start_lsn = cut.lsn OPTION (MAXDOP 1)"
    );
    let bounds = [window.after(), window.upto()].map(Parameter::Lsn);
    let rows = pool.rows(&action, &sql, &[&bounds[0], &bounds[1]]).await;
    let rows = rows.map_err(|error| explained(table, error))?;
    let Some(row) = rows.first() else {
        return Ok((None, 0));
    };
    let cells = Cells::new(row, &action);
    let seen = cells.integer(1)?.unwrap_or(0).unsigned_abs();
    let Some(lsn) = cells.lsn(0)? else {
        return Ok((None, seen));
    };
    let Some(end_time_ms) = cells.millis(2)? else {
        return Err(SourceError::CommitUnknown {
            table: table.name.clone(),
            lsn,
        });
    };
    let tran_id = cells.bytes(3)?.unwrap_or_default().to_vec();
    let commit = Commit {
        lsn,
        end_time_ms,
        tran_id,
    };
    Ok((Some(commit), seen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::captured::tests::customers;

    #[test]
    fn the_bytes_of_a_window_are_those_of_what_varies() {
        let mut table = customers();
        let sql = measured(&table, 1_000);
        let sum = "SUM(CAST(64 AS bigint) + COALESCE(CAST(DATALENGTH(c.[name]) AS bigint), 0) \
                   + COALESCE(CAST(DATALENGTH(c.[notes]) AS bigint), 0)) OVER";
        assert!(
            sql.contains(sum) && sql.ends_with("WHERE w.bytes >= 1000"),
            "{sql}"
        );
        assert!(most_bytes(&table) > 1 << 31);
        table.columns.truncate(2);
        assert_eq!(most_bytes(&table), ROW_BYTES + 128);
    }
}
