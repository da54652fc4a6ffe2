//! What a database says of itself, its capture and the login.

use tiberius::Row;

use super::is_hidden;
use super::judgement;
use super::remedy::Grantee;
use crate::change::{Check, CheckState, Finding};
use crate::source::sqlserver::cell::Cells;
use crate::source::sqlserver::error::SourceError;
use crate::source::sqlserver::health::health;
use crate::source::sqlserver::ident::TableName;
use crate::source::sqlserver::news::{Head, READ_ONLY};
use crate::source::sqlserver::pool::Pool;

/// The tables of schema `cdc` that are read beside the change tables.
pub(super) const METADATA: [&str; 4] = [
    "change_tables",
    "captured_columns",
    "index_columns",
    "lsn_time_mapping",
];

/// Everything that every login may ask. A permission that the release does not know, or on what is not there, is NULL.
const DATABASE: &str = "\
SELECT CAST(SERVERPROPERTY('EngineEdition') AS int) AS engine_edition, \
CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS product_version, \
d.name, d.collation_name, CAST(d.is_cdc_enabled AS int) AS is_cdc_enabled, \
CAST(d.snapshot_isolation_state AS int) AS snapshot_isolation_state, \
CAST(d.is_published AS int) AS is_published, d.log_reuse_wait_desc, \
CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128)) AS updateability, \
USER_NAME() AS user_name, SUSER_SNAME() AS login_name, IS_ROLEMEMBER(N'db_owner') AS is_owner, \
HAS_PERMS_BY_NAME(N'cdc.change_tables', 'OBJECT', 'SELECT') AS reads_change_tables, \
HAS_PERMS_BY_NAME(N'cdc.captured_columns', 'OBJECT', 'SELECT') AS reads_captured_columns, \
HAS_PERMS_BY_NAME(N'cdc.index_columns', 'OBJECT', 'SELECT') AS reads_index_columns, \
HAS_PERMS_BY_NAME(N'cdc.lsn_time_mapping', 'OBJECT', 'SELECT') AS reads_lsn_time_mapping, \
HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'VIEW DATABASE STATE') AS views_state, \
HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'VIEW DATABASE PERFORMANCE STATE') AS views_performance_state, \
HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'VIEW DEFINITION') AS views_definitions \
FROM sys.databases AS d WHERE d.name = DB_NAME() OPTION (MAXDOP 1)";

/// The largest value, in bytes, that an application may write to a large column of a captured table; -1 for any.
const LARGEST: &str = "\
SELECT CAST(c.value_in_use AS bigint) AS value_in_use FROM sys.configurations AS c \
WHERE c.name = N'max text repl size (B)' OPTION (MAXDOP 1)";

/// The jobs of a database: of the boxed product, of Azure SQL Database.
const JOBS: [&str; 2] = [
    "SELECT j.job_type FROM msdb.dbo.cdc_jobs AS j \
     WHERE j.database_id = DB_ID() OPTION (MAXDOP 1)",
    "SELECT j.job_type FROM cdc.cdc_jobs AS j OPTION (MAXDOP 1)",
];

/// The service that runs jobs, for who may see the server's state.
const AGENT: &str = "\
SELECT x.servicename, x.status_desc FROM sys.dm_server_services AS x \
WHERE x.servicename LIKE N'SQL Server Agent%' OPTION (MAXDOP 1)";

/// The newest scan of the log, and how many errors it met.
const LAST_SCAN: &str = "\
SELECT TOP (1) x.session_id, x.error_count FROM sys.dm_cdc_log_scan_sessions AS x \
WHERE x.session_id <> 0 ORDER BY x.session_id DESC OPTION (MAXDOP 1)";

/// The newest error of a scan.
const LAST_ERROR: &str = "\
SELECT TOP (1) e.session_id, e.error_number, e.error_message FROM sys.dm_cdc_errors AS e \
ORDER BY e.entry_time DESC OPTION (MAXDOP 1)";

/// `SERVERPROPERTY('EngineEdition')` of Azure SQL Database, whose scheduler is its own.
pub(super) const AZURE: i64 = 5;
/// The same of Express, which captures nothing.
pub(super) const EXPRESS: i64 = 4;

/// What is known of a database; `None` for what the login may not know.
#[derive(Debug, Clone)]
pub(super) struct DatabaseFacts {
    pub(super) engine_edition: i64,
    pub(super) version: String,
    pub(super) name: String,
    pub(super) collation: String,
    pub(super) cdc_enabled: bool,
    pub(super) snapshot_allowed: bool,
    /// Whether the log reader of replication fills the change tables, and no job of capture.
    pub(super) published: bool,
    pub(super) log_reuse: String,
    pub(super) read_only: bool,
    pub(super) user: String,
    pub(super) login: String,
    pub(super) owner: bool,
    /// The tables of schema `cdc` that the login may not read.
    pub(super) unread_metadata: Vec<&'static str>,
    /// Whether it may see scans of the log.
    pub(super) sees_scans: bool,
    /// Whether the release has the narrower permission for that.
    pub(super) has_performance_state: bool,
    pub(super) sees_definitions: bool,
    pub(super) largest: Option<i64>,
    pub(super) has_capture_job: Option<bool>,
    /// The agent's service, and its state.
    pub(super) agent: Option<(String, String)>,
    /// The number and text of an error that the newest scan met.
    pub(super) scan_error: Option<(i64, String)>,
    pub(super) reach: Option<Reach>,
}

impl DatabaseFacts {
    pub(super) fn grantee(&self) -> Grantee {
        let user = (!self.owner).then(|| self.user.clone());
        Grantee { user }
    }
}

/// What the checks of a database have found, and what those of its tables go by.
#[derive(Debug, Clone)]
pub struct DatabaseChecks {
    pub(super) facts: DatabaseFacts,
    /// The findings.
    pub findings: Vec<Finding>,
}

impl DatabaseChecks {
    /// Both ends of its history; `None` if the login may not know, or nothing is captured.
    pub fn head(&self) -> Option<&Head> {
        self.facts.reach.as_ref()?.head.as_ref()
    }

    /// A table that is not there, or that the login may not see; `error` says so.
    pub(in crate::source::sqlserver) fn missing_table(
        &self,
        wanted: &TableName,
        error: &SourceError,
    ) -> Finding {
        let finding = Finding::new(Check::Table, CheckState::Failing, error.to_string()).of(wanted);
        match error {
            SourceError::NoSuchTable {
                suggestion: None, ..
            } => finding.mended_by(self.facts.grantee().select(wanted)),
            _ => finding,
        }
    }

    /// Whether a reader that is `lag_ms` behind the newest commit has time enough until clean-up.
    pub fn retention_for(&self, lag_ms: i64) -> Finding {
        judgement::retention_for(&self.facts, lag_ms)
    }
}

/// Asks a database for all that concerns it.
///
/// # Errors
/// The connection breaks, or an answer is not understood; what is refused is a finding.
pub(in crate::source::sqlserver) async fn database(
    pool: &Pool,
) -> Result<DatabaseChecks, SourceError> {
    let action = "reading the database's properties";
    let rows = pool.rows(action, DATABASE, &[]).await?;
    let row = rows.first().ok_or_else(|| SourceError::UnexpectedAnswer {
        action: action.to_string(),
        reason: "sys.databases does not show the current database".to_string(),
    })?;
    let mut facts = own_facts(&Cells::new(row, action))?;
    // Before they are quoted, after which a secret may look like none.
    for name in [&mut facts.name, &mut facts.user, &mut facts.login] {
        *name = pool.config().masked(name);
    }
    let largest = first(pool, "reading max text repl size", LARGEST).await?;
    facts.largest = match &largest {
        Asked::Row(row) => Cells::new(row, action).integer(0)?,
        Asked::Nothing | Asked::Hidden => None,
    };
    if facts.cdc_enabled {
        ask_capture(pool, &mut facts).await?;
    }
    let findings = judgement::database(&facts);
    Ok(DatabaseChecks { facts, findings })
}

fn own_facts(cells: &Cells<'_>) -> Result<DatabaseFacts, SourceError> {
    let mut unread_metadata = Vec::new();
    for (index, table) in (12..).zip(METADATA) {
        if !cells.flag(index)? {
            unread_metadata.push(table);
        }
    }
    Ok(DatabaseFacts {
        engine_edition: cells.integer(0)?.unwrap_or_default(),
        version: cells.text(1)?.unwrap_or_default().to_string(),
        name: cells.required_text(2)?.to_string(),
        collation: cells.text(3)?.unwrap_or_default().to_string(),
        cdc_enabled: cells.flag(4)?,
        snapshot_allowed: cells.flag(5)?,
        published: cells.flag(6)?,
        log_reuse: cells.text(7)?.unwrap_or_default().to_string(),
        read_only: cells.text(8)? == Some(READ_ONLY),
        user: cells.required_text(9)?.to_string(),
        login: cells.text(10)?.unwrap_or_default().to_string(),
        owner: cells.flag(11)?,
        unread_metadata,
        sees_scans: cells.flag(16)? || cells.flag(17)?,
        has_performance_state: cells.integer(17)?.is_some(),
        sees_definitions: cells.flag(18)?,
        largest: None,
        has_capture_job: None,
        agent: None,
        scan_error: None,
        reach: None,
    })
}

/// Fills in what is known of capture.
async fn ask_capture(pool: &Pool, facts: &mut DatabaseFacts) -> Result<(), SourceError> {
    facts.has_capture_job = has_capture_job(pool, facts.engine_edition).await?;
    let action = "reading the state of SQL Server Agent";
    if let Asked::Row(row) = first(pool, action, AGENT).await? {
        let cells = Cells::new(&row, action);
        let state = cells.text(1)?.unwrap_or_default().to_string();
        facts.agent = Some((cells.required_text(0)?.to_string(), state));
    }
    if facts.sees_scans {
        facts.scan_error = scan_error(pool).await?;
    }
    if !facts.unread_metadata.contains(&"lsn_time_mapping") {
        facts.reach = Some(reach(pool).await?);
    }
    Ok(())
}

/// Whether a job captures; `None` if the login may not know.
async fn has_capture_job(pool: &Pool, engine_edition: i64) -> Result<Option<bool>, SourceError> {
    let action = "reading the jobs of capture";
    let sql = if engine_edition == AZURE {
        JOBS[1]
    } else {
        JOBS[0]
    };
    let rows = match pool.rows(action, sql, &[]).await {
        Ok(rows) => rows,
        Err(error) if is_hidden(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    for row in &rows {
        if Cells::new(row, action).text(0)? == Some("capture") {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

/// The error of the newest scan. One of an earlier scan has been overcome since.
async fn scan_error(pool: &Pool) -> Result<Option<(i64, String)>, SourceError> {
    let action = "reading the errors of capture";
    let Asked::Row(scan) = first(pool, action, LAST_SCAN).await? else {
        return Ok(None);
    };
    let Asked::Row(error) = first(pool, action, LAST_ERROR).await? else {
        return Ok(None);
    };
    let (scan, error) = (Cells::new(&scan, action), Cells::new(&error, action));
    let failed = scan.integer(1)?.is_some_and(|errors| errors > 0);
    if !failed || error.integer(0)? < scan.integer(0)? {
        return Ok(None);
    }
    let message = error.text(2)?.unwrap_or_default().to_string();
    Ok(Some((error.integer(1)?.unwrap_or_default(), message)))
}

/// The answer to a statement that may be refused.
enum Asked {
    Row(Row),
    Nothing,
    Hidden,
}

async fn first(pool: &Pool, action: &str, sql: &str) -> Result<Asked, SourceError> {
    match pool.rows(action, sql, &[]).await {
        Ok(rows) => Ok(rows.into_iter().next().map_or(Asked::Nothing, Asked::Row)),
        Err(error) if is_hidden(&error) => Ok(Asked::Hidden),
        Err(error) => Err(error),
    }
}

/// How far capture has come.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    /// Both ends of the history; `None` while capture is warming up.
    pub(super) head: Option<Head>,
    /// How old the newest commit is, by the server's clock.
    pub(super) age_ms: i64,
    /// How many minutes clean-up keeps, if the login may know.
    pub(super) retention_minutes: Option<i64>,
}

async fn reach(pool: &Pool) -> Result<Reach, SourceError> {
    let health = health(pool).await?;
    let age_ms = match &health.head {
        None => 0,
        Some(Head { newest, .. }) => {
            let made = health.dates.utc_ms(newest.lsn, newest.end_time_ms).await?;
            health.now_utc_ms - made
        }
    };
    Ok(Reach {
        head: health.head,
        age_ms,
        retention_minutes: health.retention_minutes,
    })
}
