//! How a database's tables are partitioned, and what hides their rows and values.

use crate::simulator::protocol::SqlType;
use crate::simulator::types::Value;

/// A partition function: RANGE LEFT or RIGHT over ascending boundaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionFunction {
    /// Its name.
    pub(crate) name: String,
    /// The type of the column that it takes.
    pub(crate) sql_type: SqlType,
    /// The boundaries, ascending: whole numbers, or dates as days.
    pub(crate) boundaries: Vec<i64>,
    /// Whether a boundary belongs to the partition on its right.
    pub(crate) right: bool,
}

impl PartitionFunction {
    /// How many partitions there are.
    pub(crate) fn partitions(&self) -> usize {
        self.boundaries.len() + 1
    }

    /// The partition of a value, from 0; NULL is in the first one.
    pub(crate) fn partition(&self, value: &Value) -> usize {
        let value = match value {
            Value::Int(int) => *int,
            Value::Date(days) => i64::from(*days),
            _ => return 0,
        };
        let before = |boundary: &i64| match self.right {
            true => *boundary <= value,
            false => *boundary < value,
        };
        self.boundaries.partition_point(before)
    }
}

/// A function that a policy may filter rows with: `SELECT 1 WHERE condition`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Predicate {
    /// Its schema's name.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) name: String,
    /// Its parameters with their `@`, in lower case.
    pub(crate) parameters: Vec<String>,
    /// The condition in T-SQL.
    pub(crate) condition: String,
}

/// A filter predicate of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The table whose rows it filters.
    pub(crate) table: i32,
    /// Schema and name of the predicate.
    pub(crate) predicate: (String, String),
    /// The columns that are its arguments.
    pub(crate) columns: Vec<String>,
}

/// A security policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Its schema's name.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) name: String,
    /// `object_id`.
    pub(crate) object_id: i32,
    /// STATE = ON.
    pub(crate) enabled: bool,
    /// Its filters.
    pub(crate) filters: Vec<Filter>,
}

/// A database's partition functions and schemes, security policies and keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Protections {
    /// The partition functions.
    pub(crate) functions: Vec<PartitionFunction>,
    /// The partition schemes: their names, and those of their functions.
    pub(crate) schemes: Vec<(String, String)>,
    /// The predicates.
    pub(crate) predicates: Vec<Predicate>,
    /// The policies.
    pub(crate) policies: Vec<Policy>,
    /// The names of column encryption keys.
    pub(crate) keys: Vec<String>,
}

impl Protections {
    /// The function of a partition scheme.
    pub(crate) fn function_of(&self, scheme: &str) -> Option<&PartitionFunction> {
        let of = |name: &str, known: &str| name.eq_ignore_ascii_case(known);
        let (_, function) = self.schemes.iter().find(|(name, _)| of(name, scheme))?;
        self.functions
            .iter()
            .find(|known| of(&known.name, function))
    }

    /// The predicate of a schema and name.
    pub(crate) fn predicate(&self, schema: &str, name: &str) -> Option<&Predicate> {
        self.predicates.iter().find(|known| {
            known.schema.eq_ignore_ascii_case(schema) && known.name.eq_ignore_ascii_case(name)
        })
    }

    /// The filters in force on a table's rows.
    pub(crate) fn filters_of(&self, table: i32) -> impl Iterator<Item = &Filter> {
        let enabled = self.policies.iter().filter(|policy| policy.enabled);
        let filters = enabled.flat_map(|policy| &policy.filters);
        filters.filter(move |filter| filter.table == table)
    }

    /// The policy that names a table.
    pub(crate) fn policy_on(&self, table: i32) -> Option<&Policy> {
        let on = |policy: &&Policy| policy.filters.iter().any(|filter| filter.table == table);
        self.policies.iter().find(on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_belongs_to_one_side() {
        let function = |right| PartitionFunction {
            name: "f".to_owned(),
            sql_type: SqlType::Int,
            boundaries: vec![10, 20],
            right,
        };
        let of = |right, value| function(right).partition(&value);
        assert_eq!(of(true, Value::Int(9)), 0);
        assert_eq!(of(true, Value::Int(10)), 1);
        assert_eq!(of(false, Value::Int(10)), 0);
        assert_eq!(of(false, Value::Int(21)), 2);
        assert_eq!(of(true, Value::Null), 0);
        assert_eq!(function(true).partitions(), 3);
    }
}
