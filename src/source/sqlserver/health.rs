//! How a database's capture does, and how far readers may be behind it; nothing that a window needs.

use super::captured::CapturedTable;
use super::cell::{Cells, Parameter};
use super::dates::Dates;
use super::error::SourceError;
use super::news::{self, Head};
use super::pool::Pool;
use super::relation::{AFTER, UPTO, explained};
use crate::change::LsnRange;

/// How many minutes the clean-up job keeps changes: the table of the jobs, since `sys.sp_cdc_help_jobs` needs db_owner.
/// The second is Azure SQL Database's.
const RETENTION: [&str; 2] = [
    "SELECT j.retention FROM msdb.dbo.cdc_jobs AS j \
     WHERE j.database_id = DB_ID() AND j.job_type = N'cleanup' OPTION (MAXDOP 1)",
    "SELECT j.retention FROM cdc.cdc_jobs AS j WHERE j.job_type = N'cleanup' OPTION (MAXDOP 1)",
];

/// How many transactions a scan of the log takes at most, as [`RETENTION`] is asked for.
const MAXTRANS: [&str; 2] = [
    "SELECT j.maxtrans FROM msdb.dbo.cdc_jobs AS j \
     WHERE j.database_id = DB_ID() AND j.job_type = N'capture' OPTION (MAXDOP 1)",
    "SELECT j.maxtrans FROM cdc.cdc_jobs AS j WHERE j.job_type = N'capture' OPTION (MAXDOP 1)",
];

/// What a database says of its capture.
#[derive(Debug, Clone)]
pub struct Health {
    /// Both ends of the history; `None` while capture is warming up.
    pub head: Option<Head>,
    /// The server's clock, in milliseconds since 1970-01-01T00:00:00 UTC.
    pub now_utc_ms: i64,
    /// What makes instants of the commits' times.
    pub dates: Dates,
    /// How many minutes of changes clean-up keeps, counted back from the newest commit; `None` if the login may not
    /// know.
    pub retention_minutes: Option<i64>,
}

pub(super) async fn health(pool: &Pool) -> Result<Health, SourceError> {
    let head = news::head(pool).await?;
    let (dates, clocks) = Dates::now(pool).await?;
    Ok(Health {
        head,
        now_utc_ms: clocks.utc_ms,
        dates,
        retention_minutes: retention(pool).await?,
    })
}

async fn retention(pool: &Pool) -> Result<Option<i64>, SourceError> {
    job_setting(pool, "reading the retention of changes", RETENTION).await
}

/// How many transactions one scan of the log takes at most; `None` if the login may not know, or no job captures.
pub(super) async fn maxtrans(pool: &Pool) -> Result<Option<i64>, SourceError> {
    job_setting(pool, "reading the size of a scan", MAXTRANS).await
}

/// The answer of the first of two statements that the server has the table for and the login may read.
async fn job_setting(
    pool: &Pool,
    action: &str,
    statements: [&str; 2],
) -> Result<Option<i64>, SourceError> {
    for sql in statements {
        match pool.rows(action, sql, &[]).await {
            Ok(rows) => match rows.first() {
                Some(row) => return Cells::new(row, action).integer(0),
                None => continue,
            },
            Err(error) if is_hidden(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The object is not there (208), nor its database (916, and 40515 in Azure SQL Database, which names no other), or the
/// login may not read it (229, 262, 297, 300).
pub(super) fn is_hidden(error: &SourceError) -> bool {
    matches!(
        error.number(),
        Some(208 | 229 | 262 | 297 | 300 | 916 | 40_515)
    )
}

/// How many rows a table's changes in `window` have, counted up to `limit`.
pub(super) async fn rows_in(
    pool: &Pool,
    table: &CapturedTable,
    window: LsnRange,
    limit: u32,
) -> Result<u64, SourceError> {
    let action = format!("counting the changes of {}", table.name);
    let sql = format!(
        "SELECT COUNT_BIG(*) AS behind, COUNT_BIG(b.lsn) AS told FROM (SELECT TOP ({limit}) c.[__$start_lsn] AS lsn {} \
         ORDER BY c.[__$start_lsn]) AS b OPTION (MAXDOP 1)",
        table.relation.rows(AFTER, UPTO)
    );
    let bounds = [window.after(), window.upto()].map(Parameter::Lsn);
    let rows = pool.rows(&action, &sql, &[&bounds[0], &bounds[1]]).await;
    let rows = rows.map_err(|error| explained(table, error))?;
    let Some(row) = rows.first() else {
        return Ok(0);
    };
    let cells = Cells::new(row, &action);
    let count = cells.integer(0)?;
    // The row by which the function refuses has no LSN.
    if count != cells.integer(1)? {
        return Err(SourceError::ChangesHidden {
            table: table.name.clone(),
        });
    }
    Ok(count
        .and_then(|count| u64::try_from(count).ok())
        .unwrap_or_default())
}
