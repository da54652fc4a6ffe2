//! The capture instances of a table: which there are, which one a window needs, and how its rows may be read.

use crate::change::Lsn;

use super::catalogue::TableEntry;
use super::caution::{Caution, Cautions};
use super::cell::{Cells, Parameter};
use super::error::SourceError;
use super::ident::TableName;
use super::pool::Pool;
use super::relation::{ALL_CHANGES, ChangeRelation};

/// The capture instances of one source table (`@P1`: its object_id), newest first. The change table's name
/// is looked up, never derived: it is NULL where the login may not see it. The function's name is derived, as the
/// server does it. The times of the last ALTER are that of the source table and that of the change table. Partitions can be counted by everybody who sees the table; a security policy only by who may see
/// definitions, so that its absence here proves nothing.
fn statement() -> String {
    format!(
        "SELECT ct.capture_instance, ct.object_id, x.name AS change_table, ct.start_lsn, \
         CAST(ct.partition_switch AS int) AS partition_switch, \
         (SELECT COUNT_BIG(*) FROM sys.partitions AS p WHERE p.object_id = @P1 AND p.index_id IN (0, 1)) AS partitions, \
         (SELECT MIN(SCHEMA_NAME(q.schema_id) + N'.' + q.name) FROM sys.security_predicates AS r \
         JOIN sys.security_policies AS q ON q.object_id = r.object_id \
         WHERE r.target_object_id = @P1 AND r.predicate_type = 0 AND q.is_enabled = 1) AS row_filter, \
         HAS_PERMS_BY_NAME(N'cdc.' + QUOTENAME(x.name), N'OBJECT', N'SELECT') AS reads_table, \
         OBJECT_ID(N'cdc.' + QUOTENAME(N'{ALL_CHANGES}' + ct.capture_instance), N'IF') AS function_id, \
         (SELECT s.modify_date FROM sys.tables AS s WHERE s.object_id = @P1) AS source_modified, \
         x.modify_date AS change_modified \
         FROM cdc.change_tables AS ct \
         LEFT JOIN sys.tables AS x ON x.object_id = ct.object_id \
         WHERE ct.source_object_id = @P1 \
         ORDER BY ct.start_lsn DESC, ct.create_date DESC OPTION (MAXDOP 1)"
    )
}

/// A capture instance of a table.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) change_object_id: i32,
    /// Absent where the login may not see it.
    pub(super) change_table: Option<String>,
    /// Whether the login may read the change table.
    pub(super) reads_table: bool,
    /// The object_id of the function that answers with all changes; absent where the login may not call it.
    pub(super) function_id: Option<i32>,
    pub(super) start_lsn: Option<Lsn>,
    /// Whether it allows SWITCH, and the table has partitions that can be.
    pub(super) switches: bool,
    /// A policy that filters the source table's rows.
    pub(super) row_filter: Option<String>,
    /// When the source table and the change table were last altered, in milliseconds of the server's local time; absent
    /// where the login may not see it.
    pub(super) modified: [Option<i64>; 2],
}

impl Instance {
    /// Says what rows of `table` its changes, or a first copy, may lack.
    pub(super) fn caution(&self, table: &TableName, cautions: &Cautions) {
        if self.switches {
            cautions.say(&Caution::PartitionSwitch {
                table: table.clone(),
                instance: self.name.clone(),
            });
        }
        if let Some(policy) = &self.row_filter {
            cautions.say(&Caution::RowFilter {
                table: table.clone(),
                policy: policy.clone(),
            });
        }
    }

    /// What the rows of its changes are read from; `None` if the login may read neither the change table nor call the
    /// function.
    pub(super) fn relation(&self) -> Option<ChangeRelation> {
        match (&self.change_table, self.function_id) {
            (Some(name), function) if self.reads_table || function.is_none() => {
                Some(ChangeRelation::Table { name: name.clone() })
            }
            (_, Some(object_id)) => Some(ChangeRelation::Function {
                name: format!("{ALL_CHANGES}{}", self.name),
                object_id,
            }),
            (_, None) => None,
        }
    }
}

/// All instances of a table, newest first.
pub(super) async fn instances(
    pool: &Pool,
    table: &TableEntry,
) -> Result<Vec<Instance>, SourceError> {
    let action = format!("reading the capture instances of {}", table.name);
    let source_id = Parameter::Int(table.object_id);
    let rows = pool.rows(&action, &statement(), &[&source_id]).await?;
    let object_id = |id: Option<i64>| id.and_then(|id| i32::try_from(id).ok());
    rows.iter()
        .map(|row| {
            let cells = Cells::new(row, &action);
            Ok(Instance {
                name: cells.required_text(0)?.to_string(),
                change_object_id: cells.required_int(1)?,
                change_table: cells.text(2)?.map(str::to_string),
                start_lsn: cells.lsn(3)?,
                switches: cells.flag(4)? && cells.integer(5)?.is_some_and(|count| count > 1),
                row_filter: cells.text(6)?.map(str::to_string),
                reads_table: cells.flag(7)?,
                function_id: object_id(cells.integer(8)?),
                modified: [cells.millis(9)?, cells.millis(10)?],
            })
        })
        .collect()
}

/// The newest that reaches back to a window after `after`, else the newest; without `after`, the newest that has
/// started.
pub(super) fn choose(mut instances: Vec<Instance>, after: Option<Lsn>) -> Option<Instance> {
    let reaches = |instance: &Instance| match (after, instance.start_lsn) {
        (Some(after), Some(start)) => after.increment().is_some_and(|first| start <= first),
        (Some(_), None) => false,
        // An instance that has not started yet is of no use while another has.
        (None, start) => start.is_some(),
    };
    let index = instances.iter().position(reaches).unwrap_or(0);
    (index < instances.len()).then(|| instances.swap_remove(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str, start: Option<&str>) -> Instance {
        Instance {
            name: name.to_string(),
            change_object_id: 1,
            change_table: Some(name.to_string()),
            reads_table: true,
            function_id: Some(2),
            start_lsn: start.map(|lsn| lsn.parse().unwrap()),
            switches: false,
            row_filter: None,
            modified: [None; 2],
        }
    }

    #[test]
    fn the_newest_instance_that_reaches_back_is_chosen() {
        let both = || {
            vec![
                instance("new", Some("0:50:1")),
                instance("old", Some("0:20:1")),
            ]
        };
        let chosen = |after: Option<&str>| {
            choose(both(), after.map(|lsn| lsn.parse().unwrap()))
                .unwrap()
                .name
        };
        assert_eq!(chosen(None), "new");
        assert_eq!(chosen(Some("0:60:0")), "new");
        assert_eq!(
            chosen(Some("0:50:0")),
            "new",
            "the first LSN it has comes next"
        );
        assert_eq!(chosen(Some("0:30:0")), "old");
        assert_eq!(
            chosen(Some("0:10:0")),
            "new",
            "nothing reaches back: the check will say so"
        );
    }

    #[test]
    fn an_instance_that_has_not_started_waits_its_turn() {
        let fresh = || instance("fresh", None);
        let chosen = choose(vec![fresh(), instance("old", Some("0:20:1"))], None).unwrap();
        assert_eq!(chosen.name, "old");
        assert_eq!(choose(vec![fresh()], None).unwrap().name, "fresh");
        assert!(choose(vec![], None).is_none());
    }

    #[test]
    fn the_function_is_read_where_the_table_may_not_be() {
        let relation = |change: fn(&mut Instance)| {
            let mut instance = instance("a", None);
            change(&mut instance);
            instance.relation()
        };
        let table = Some(ChangeRelation::Table { name: "a".into() });
        let function = Some(ChangeRelation::Function {
            name: "fn_cdc_get_all_changes_a".into(),
            object_id: 2,
        });
        assert_eq!(relation(|_| {}), table);
        assert_eq!(relation(|instance| instance.reads_table = false), function);
        assert_eq!(relation(|instance| instance.change_table = None), function);
        // The server refuses it, and says why.
        let seen =
            relation(|instance| (instance.reads_table, instance.function_id) = (false, None));
        assert_eq!(seen, table);
        let hidden =
            relation(|instance| (instance.change_table, instance.function_id) = (None, None));
        assert_eq!(hidden, None);
    }
}
