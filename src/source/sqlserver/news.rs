//! One look at a database for many tables: how far capture is, and which of the tables have changed.

use std::fmt::Write as _;

use crate::change::{Commit, Lsn, LsnRange};

use super::captured::CapturedTable;
use super::cell::{Cells, Parameter};
use super::change_rows::{check_minimum, check_visible};
use super::commits::commit;
use super::error::SourceError;
use super::pool::Pool;
use super::relation::{AFTER, UPTO, explained};

/// Tables of one statement: its text, and so the server's plan, is the same as long as they are.
const TABLES_PER_STATEMENT: usize = 100;

/// The newest and the oldest row of the mapping. The table, not `sys.fn_cdc_get_max_lsn()`: the same value without its
/// locks. Each end is one row, so that its columns belong together.
const HEAD: &str = "\
SELECT 1 AS is_newest, hi.start_lsn, hi.tran_end_time, hi.tran_id, \
CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128)) AS updateability \
FROM (SELECT TOP (1) m.start_lsn, m.tran_end_time, m.tran_id FROM cdc.lsn_time_mapping AS m \
ORDER BY m.start_lsn DESC) AS hi \
UNION ALL \
SELECT 0, lo.start_lsn, lo.tran_end_time, lo.tran_id, NULL \
FROM (SELECT TOP (1) m.start_lsn, m.tran_end_time, m.tran_id FROM cdc.lsn_time_mapping AS m \
ORDER BY m.start_lsn ASC) AS lo OPTION (MAXDOP 1)";

/// `Updateability` of a database on a replica.
pub(super) const READ_ONLY: &str = "READ_ONLY";

/// Both ends of the history that a database maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The newest commit that capture has reached.
    pub newest: Commit,
    /// The oldest commit that clean-up has left.
    pub oldest: Commit,
    /// Whether the server that answered is a replica, which may be behind.
    pub is_replica: bool,
}

/// A table, and from where on its changes are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The table.
    pub table: &'a CapturedTable,
    /// A commit LSN whose changes are known.
    pub after: Lsn,
}

/// What is new of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The capture instance's first LSN; `None` without permission.
    minimum: Option<Lsn>,
    /// The newest commit that the server which answered has captured.
    visible: Option<Lsn>,
    /// The commit at the LSN that was asked from; `None` if the mapping does not have it.
    pub anchor: Option<Commit>,
    /// The first change past it.
    pub first_change: Option<Lsn>,
    /// The object_id of the newest capture instance's change table.
    pub newest_instance: Option<i32>,
    /// When the live table and the change table were last altered.
    modified: [Option<i64>; 2],
}

impl News {
    /// The newest commit that the server which answered has captured.
    pub fn visible(&self) -> Lsn {
        self.visible.unwrap_or(Lsn::ZERO)
    }

    /// Whether a table may have other columns or types than when it was looked up. The changes up to the `upto` of this
    /// look were made by what was seen then or is seen now.
    pub fn is_altered(&self, table: &CapturedTable) -> bool {
        self.modified != table.modified
    }

    /// Refuses a window whose changes the server does not have from its start to its end.
    ///
    /// # Errors
    /// `ChangesLost` if the window's start has been cleaned up; `Connection` if the server that answered has not
    /// captured up to the window's end; `Permission` if the login may not see the table's changes.
    pub fn check(&self, table: &CapturedTable, window: LsnRange) -> Result<(), SourceError> {
        check_minimum(table, window, self.minimum)?;
        check_visible(window, self.visible)
    }
}

pub(super) async fn head(pool: &Pool) -> Result<Option<Head>, SourceError> {
    let action = "reading the newest commit";
    let (mut newest, mut oldest, mut is_replica) = (None, None, false);
    for row in pool.rows(action, HEAD, &[]).await? {
        let cells = Cells::new(&row, action);
        let Some(commit) = commit(&cells, 1)? else {
            continue;
        };
        if cells.flag(0)? {
            newest = Some(commit);
            is_replica = cells.text(4)? == Some(READ_ONLY);
        } else {
            oldest = Some(commit);
        }
    }
    Ok(newest.zip(oldest).map(|(newest, oldest)| Head {
        newest,
        oldest,
        is_replica,
    }))
}

/// What is new of each table up to `upto`, in the order of `asked`; an error outside concerns them all.
pub(super) async fn news(
    pool: &Pool,
    asked: &[Asked<'_>],
    upto: Lsn,
) -> Result<Vec<Result<News, SourceError>>, SourceError> {
    let mut answers = Vec::with_capacity(asked.len());
    for tables in asked.chunks(TABLES_PER_STATEMENT) {
        match together(pool, tables, upto).await {
            Ok(found) => answers.extend(found),
            Err(error) if error.is_transient() && !may_be_of_one(&error) => return Err(error),
            // What keeps one table from being read says nothing of the others.
            Err(_) => {
                for table in tables {
                    answers.push(alone(pool, *table, upto).await);
                }
            }
        }
    }
    for (answer, asked) in answers.iter_mut().zip(asked) {
        let Ok(news) = answer.as_mut() else {
            continue;
        };
        match first_of_function(pool, *asked, upto, news).await {
            Ok(first) => news.first_change = news.first_change.or(first),
            Err(error) if error.is_transient() && !may_be_of_one(&error) => return Err(error),
            Err(error) => *answer = Err(error),
        }
    }
    Ok(answers)
}

/// Whether an error that passes by itself says nothing of the other tables: a lock that was not given (1222), a deadlock
/// (1205), bounds that the function does not take.
fn may_be_of_one(error: &SourceError) -> bool {
    matches!(error.number(), Some(1205 | 1222)) || matches!(error, SourceError::OutOfRange { .. })
}

/// The first change past what is known, of a table whose changes come from the function.
///
/// It is asked alone, and only for what the instance has: outside of that it fails, and with it the whole statement.
async fn first_of_function(
    pool: &Pool,
    asked: Asked<'_>,
    upto: Lsn,
    news: &News,
) -> Result<Option<Lsn>, SourceError> {
    let table = asked.table;
    let window = LsnRange::new(asked.after, upto).filter(|window| !window.is_empty());
    let window = window.filter(|window| news.check(table, *window).is_ok());
    let (Some(window), true) = (window, table.relation.is_function()) else {
        return Ok(None);
    };
    let action = format!("looking for changes of {}", table.name);
    let sql = format!(
        "SELECT TOP (1) c.[__$start_lsn] {} ORDER BY c.[__$start_lsn] OPTION (MAXDOP 1)",
        table.relation.rows(AFTER, UPTO)
    );
    let bounds = [window.after(), window.upto()].map(Parameter::Lsn);
    let rows = pool.rows(&action, &sql, &[&bounds[0], &bounds[1]]).await;
    let rows = rows.map_err(|error| explained(table, error))?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let first = Cells::new(row, &action).lsn(0)?;
    let hidden = || SourceError::ChangesHidden {
        table: table.name.clone(),
    };
    first.map(Some).ok_or_else(hidden)
}

async fn alone(pool: &Pool, asked: Asked<'_>, upto: Lsn) -> Result<News, SourceError> {
    let found = together(pool, &[asked], upto).await;
    let found = found.map_err(|error| explained(asked.table, error))?;
    let found = found.into_iter().next();
    found.unwrap_or_else(|| Err(dropped(asked.table)))
}

async fn together(
    pool: &Pool,
    asked: &[Asked<'_>],
    upto: Lsn,
) -> Result<Vec<Result<News, SourceError>>, SourceError> {
    let action = match asked {
        [one] => format!("looking for changes of {}", one.table.name),
        _ => "looking for changes".to_string(),
    };
    let bounds = std::iter::once(upto).chain(asked.iter().map(|asked| asked.after));
    let bounds: Vec<Parameter> = bounds.map(Parameter::Lsn).collect();
    let bounds: Vec<&dyn tiberius::ToSql> = bounds.iter().map(|bound| bound as _).collect();
    let rows = pool.rows(&action, &statement(asked), &bounds).await?;
    let mut found: Vec<_> = asked
        .iter()
        .map(|asked| Err(dropped(asked.table)))
        .collect();
    for row in rows {
        let cells = Cells::new(&row, &action);
        let place = usize::try_from(cells.required_int(0)?).unwrap_or(usize::MAX);
        if let (Some(answer), Some(asked)) = (found.get_mut(place), asked.get(place)) {
            *answer = news_of(asked.after, &cells);
        }
    }
    Ok(found)
}

fn news_of(after: Lsn, cells: &Cells<'_>) -> Result<News, SourceError> {
    let anchor = match cells.millis(4)? {
        None => None,
        Some(end_time_ms) => Some(Commit {
            lsn: after,
            end_time_ms,
            tran_id: cells.bytes(5)?.unwrap_or_default().to_vec(),
        }),
    };
    Ok(News {
        minimum: cells.lsn(1)?,
        visible: cells.lsn(2)?,
        first_change: cells.lsn(3)?,
        anchor,
        newest_instance: cells.integer(6)?.and_then(|id| i32::try_from(id).ok()),
        modified: [cells.millis(7)?, cells.millis(8)?],
    })
}

fn dropped(table: &CapturedTable) -> SourceError {
    SourceError::InstanceDropped {
        table: table.name.clone(),
        instance: table.instance.clone(),
    }
}

/// One branch for each table: the instance's first LSN, the newest commit that this server has captured, the first
/// change up to `@P1`, the commit at the table's own LSN (`@P2` and on), the newest of its instances, and when the table
/// and the change table were last altered.
///
/// Each change is sought forward from the LSN, never backward from the newest row, which capture may hold.
fn statement(asked: &[Asked<'_>]) -> String {
    let mut sql = String::new();
    for (place, asked) in asked.iter().enumerate() {
        let separator = if place == 0 { "" } else { " UNION ALL " };
        let after = format!("CAST(@P{} AS binary(10))", place + 2);
        let first_change = match asked.table.relation.is_function() {
            true => "CAST(NULL AS binary(10))".to_string(),
            false => format!(
                "(SELECT TOP (1) c.[__$start_lsn] {} ORDER BY c.[__$start_lsn])",
                asked.table.relation.rows(&after, "CAST(@P1 AS binary(10))")
            ),
        };
        // Writing to a string cannot fail.
        let _ = write!(
            sql,
            "{separator}SELECT {place} AS flow, ct.start_lsn, \
             (SELECT TOP (1) m.start_lsn FROM cdc.lsn_time_mapping AS m ORDER BY m.start_lsn DESC) AS visible_max, \
             {first_change} AS first_change, \
             (SELECT m.tran_end_time FROM cdc.lsn_time_mapping AS m WHERE m.start_lsn = {after}) AS anchor_time, \
             (SELECT m.tran_id FROM cdc.lsn_time_mapping AS m WHERE m.start_lsn = {after}) AS anchor_tran_id, \
             (SELECT TOP (1) n.object_id FROM cdc.change_tables AS n WHERE n.source_object_id = {source} \
             ORDER BY n.start_lsn DESC, n.create_date DESC) AS newest_instance, \
             (SELECT s.modify_date FROM sys.tables AS s WHERE s.object_id = {source}) AS source_modified, \
             (SELECT x.modify_date FROM sys.tables AS x WHERE x.object_id = {instance}) AS change_modified \
             FROM cdc.change_tables AS ct WHERE ct.object_id = {instance}",
            source = asked.table.source_object_id,
            instance = asked.table.change_object_id,
        );
    }
    sql.push_str(" OPTION (MAXDOP 1)");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlserver::captured::tests::customers;

    #[test]
    fn every_table_is_a_branch_with_an_lsn_of_its_own() {
        let table = customers();
        let asked = Asked {
            table: &table,
            after: Lsn::ZERO,
        };
        let sql = statement(&[asked, asked]);
        assert_eq!(sql.matches(" UNION ALL ").count(), 1, "{sql}");
        for part in [
            "SELECT 1 AS flow",
            "> CAST(@P2 AS binary(10)) AND c.[__$start_lsn] <= CAST(@P1 AS binary(10))",
            "> CAST(@P3 AS binary(10)) AND c.[__$start_lsn] <= CAST(@P1 AS binary(10))",
        ] {
            assert!(sql.contains(part), "{part} in {sql}");
        }
    }
}
