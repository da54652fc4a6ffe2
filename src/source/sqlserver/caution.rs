//! What a table's rows or changes may lack without an error of the server.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::ident::TableName;

/// Something that cannot be refused, since it need not be wrong, and that a person has to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Caution {
    /// The instance allows SWITCH, which is not captured, and the table has partitions.
    PartitionSwitch { table: TableName, instance: String },
    /// A security policy filters the table's rows.
    RowFilter { table: TableName, policy: String },
    /// A first copy has read far fewer rows than the server counts, and who reads may not see policies.
    RowsMissing {
        table: TableName,
        read: u64,
        counted: u64,
    },
    /// Rows can move while they are read, and no change tells of it.
    MovesUnseen { table: TableName },
    /// Columns are read as masks.
    Masked { table: TableName, columns: String },
    /// The login may not see the tables of some capture instances.
    HiddenTables { instances: String },
    /// The rules of the server's zone are not known, and its clock is not at UTC.
    PresentOffset { why: String, offset: String },
    /// A change table does not have a computed column.
    Computed { table: TableName, column: String },
    /// In what order the changes of one transaction come.
    Order {
        table: TableName,
        instance: String,
        order: RowOrder,
    },
}

/// What the order of an instance's changes lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum RowOrder {
    /// They come from the function, which has no `__$command_id`.
    OfFunction,
    /// The change table has no `__$command_id`.
    WithoutCommandId,
    /// The clustered index lacks it.
    NotIndexed,
}

/// What may come of changes that are ordered without `__$command_id`.
const UNORDERED: &str = "the changes of one transaction are put in order by __$seqval and operation, in which the \
    delete and the insert that an update was logged as may change places";

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartitionSwitch { table, instance } => write!(
                f,
                "{table} has partitions, and its capture instance '{instance}' allows ALTER TABLE … SWITCH, whose rows no \
                 change tells of: enable capture with @allow_partition_switch = 0, or copy the table again after each \
                 SWITCH"
            ),
            Self::RowFilter { table, policy } => write!(
                f,
                "security policy {policy} filters the rows of {table}: a first copy and queries lack those that it \
                 hides from this login, while changes tell of all: let its predicate pass this login"
            ),
            Self::RowsMissing {
                table,
                read,
                counted,
            } => write!(
                f,
                "{read} rows of {table} were read where the server counts {counted}: a security policy may hide the others, \
                 and this login may not see policies: let the policy's predicate pass this login, or grant it VIEW DEFINITION \
                 on the database to be told"
            ),
            Self::MovesUnseen { table } => write!(
                f,
                "the clustered index of {table} has a column that is not captured, so that a copy may miss a row that moves \
                 while it is read: ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON, or enable capture of the table anew \
                 with that column"
            ),
            Self::Masked { table, columns } => write!(
                f,
                "{columns} of {table} masked for this login: what is read are masks, no values: GRANT UNMASK to it"
            ),
            Self::HiddenTables { instances } => write!(
                f,
                "the tables of capture instances {instances} are hidden from this login, so that they are not among the \
                 tables of any schema: GRANT SELECT on them, if they should be"
            ),
            Self::PresentOffset { why, offset } => write!(
                f,
                "{why}: commits are dated by the offset that its clock has now, {offset}, so that those on the other side \
                 of a change of the clocks are an hour off: name the zone in the connection's options, such as time_zone \
                 'Europe/Berlin' or 'W. Europe Standard Time', or 'Etc/GMT-2' for clocks that are always at +02:00"
            ),
            Self::Computed { table, column } => write!(
                f,
                "computed column {column} of {table} left out: a change table does not record it; compute it in the flow"
            ),
            Self::Order {
                table,
                instance,
                order,
            } => match order {
                RowOrder::OfFunction => write!(
                    f,
                    "this login may not read the change table of capture instance '{instance}' ({table}): its changes are \
                     read through cdc.fn_cdc_get_all_changes_{instance}, which has no __$command_id, so that {UNORDERED}: \
                     GRANT SELECT on the change table to the login"
                ),
                RowOrder::WithoutCommandId => write!(
                    f,
                    "the change table of capture instance '{instance}' ({table}) has no __$command_id, so that {UNORDERED}: \
                     update the server and enable capture of the table anew"
                ),
                RowOrder::NotIndexed => write!(
                    f,
                    "the clustered index of the change table of capture instance '{instance}' ({table}) lacks \
                     __$command_id, so that the server sorts every window: enable capture of the table anew"
                ),
            },
        }
    }
}

/// Says each caution once; clones share what was said.
#[derive(Debug, Clone, Default)]
pub(super) struct Cautions {
    said: Arc<Mutex<HashSet<Caution>>>,
}

/// So many are remembered; what comes later is said again when it recurs.
const REMEMBERED: usize = 4096;

impl Cautions {
    pub(super) fn say(&self, caution: &Caution) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.contains(caution) {
            return;
        }
        if said.len() < REMEMBERED {
            said.insert(caution.clone());
        }
        drop(said);
        tracing::warn!("{caution}");
    }
}
