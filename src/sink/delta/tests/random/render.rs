//! Random tables and merges as SQL.

use std::collections::HashSet;
use std::fmt;

use super::super::contract::{Case, Step};
use super::grammar::{Action, Clause, Condition, Key, Kind, Merge, Operand, Plan, Row, Value};

impl Kind {
    fn sql(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Long => "BIGINT",
            Self::Text => "VARCHAR",
            Self::Money => "DECIMAL(18, 2)",
            Self::Day => "DATE",
            Self::Instant => "TIMESTAMP",
            Self::Double => "DOUBLE",
            Self::Truth => "BOOLEAN",
            Self::Bytes => "BYTEA",
        }
    }

    fn values(self) -> [&'static str; 7] {
        match self {
            Self::Int => ["1", "2", "3", "4", "-5", "6", "7"],
            Self::Long => [
                "1",
                "2",
                "3",
                "9007199254740993",
                "9007199254740992",
                "-6",
                "7",
            ],
            Self::Text => ["'a'", "'b'", "'a b'", "'x/y%='", "'größe'", "'B'", "'A'"],
            Self::Money => [
                "1",
                "2",
                "-3.5",
                "'90071992547409.93'",
                "'90071992547409.92'",
                "0",
                "7",
            ],
            Self::Day => [
                "'2024-01-01'",
                "'2024-01-02'",
                "'1969-12-31'",
                "'0001-01-01'",
                "'1970-01-01'",
                "'9999-12-31'",
                "'2024-02-29'",
            ],
            Self::Instant => [
                "'2024-01-01T00:00:00'",
                "'2024-01-01T00:00:00.000001'",
                "'1969-12-31T23:59:59.999999'",
                "'2024-01-01T00:00:00.123456'",
                "'2024-01-01T00:00:00.123'",
                "'1970-01-01T00:00:00'",
                "'2200-01-01T00:00:00'",
            ],
            Self::Double => ["1", "0.1", "'NaN'", "0.0", "'-0.0'", "'Infinity'", "-2.5"],
            Self::Truth => ["true", "false", "true", "false", "true", "false", "true"],
            Self::Bytes => [
                "X'00'", "X'00ff'", "X'61'", "X'ff'", "X'80'", "X'6162'", "X'7f'",
            ],
        }
    }

    fn literal(self, value: u8) -> String {
        let text = match usize::from(value).checked_sub(1) {
            Some(place) => self.values()[place % 7],
            None => "NULL",
        };
        match self {
            // As the table has it, so that files are ruled out by it.
            Self::Instant => format!("arrow_cast({text}, 'Timestamp(Microsecond, None)')"),
            _ => format!("CAST({text} AS {})", self.sql()),
        }
    }

    /// A value made from both rows.
    fn both(self, column: &str) -> String {
        match self {
            Self::Int | Self::Long => format!("(t.{column} % 100 + s.{column} % 100)"),
            Self::Text => format!("left(t.{column} || s.{column}, 5)"),
            _ => format!("CASE WHEN t.{column} < s.{column} THEN t.{column} ELSE s.{column} END"),
        }
    }
}

impl Plan {
    pub(super) fn case(&self) -> Case {
        let names = (0..self.kinds.len()).map(|place| format!("c{place}"));
        let columns = self.kinds.iter().zip(names.clone());
        let columns: Vec<_> = columns
            .map(|(kind, name)| format!("{name} {}", kind.sql()))
            .collect();
        let mut case = Case::new(&columns.join(", "));
        case.partition = names.skip(self.kinds.len() - self.partitions).collect();
        if self.feed {
            case = case.property("delta.enableChangeDataFeed", "true");
        }
        for rows in &self.files {
            case = case.file(&self.values(rows));
        }
        for merge in &self.merges {
            case.steps.push(Step {
                source: self.source(merge),
                merge: self.merge(merge),
                expected: None,
            });
        }
        case
    }

    /// False if the values of a partition column are written otherwise in a path: deltalake's reader of the change feed
    /// does not find such files, whoever wrote them.
    pub(super) fn plain_paths(&self) -> bool {
        let mut partition = self.kinds.iter().rev().take(self.partitions);
        let plain = [Kind::Int, Kind::Long, Kind::Money, Kind::Day, Kind::Truth];
        partition.all(|kind| plain.contains(kind))
    }

    fn values(&self, rows: &[Row]) -> String {
        let rows = rows.iter().map(|row| {
            let cells = self.kinds.iter().zip(row);
            let cells: Vec<_> = cells.map(|(kind, cell)| kind.literal(*cell)).collect();
            format!("({})", cells.join(", "))
        });
        format!("VALUES {}", rows.collect::<Vec<_>>().join(", "))
    }

    fn source(&self, merge: &Merge) -> String {
        let mut seen = HashSet::new();
        let key = |row: &Row| {
            let keys = merge.keys.iter();
            // Two of the numbers may be one value.
            keys.map(|key| {
                self.kinds[self.column(key.column)].literal(row[self.column(key.column)])
            })
            .collect::<Vec<_>>()
        };
        let rows = merge.rows.iter();
        let rows = rows.filter(|row| !merge.distinct || seen.insert(key(row)));
        let rows: Vec<Row> = rows.cloned().collect();
        let names: Vec<_> = (0..self.kinds.len())
            .map(|place| format!("c{place}"))
            .collect();
        let (rows, none) = match rows.as_slice() {
            [] => (vec![vec![0; self.kinds.len()]], " WHERE false"),
            _ => (rows, ""),
        };
        format!(
            "SELECT * FROM ({}) AS s({}){none}",
            self.values(&rows),
            names.join(", ")
        )
    }

    fn column(&self, column: usize) -> usize {
        column % self.kinds.len()
    }

    fn merge(&self, merge: &Merge) -> String {
        let keys = merge.keys.iter().map(|key| self.key(key));
        let keys = keys.chain(merge.and.as_ref().map(|and| self.condition(and, true)));
        let on: Vec<_> = keys.collect();
        let mut sql = format!("MERGE INTO t USING s ON {}", on.join(" AND "));
        for clause in &merge.matched {
            sql += &format!(" WHEN MATCHED{}", self.clause(clause, true));
        }
        for clause in &merge.unmatched {
            sql += &format!(" WHEN NOT MATCHED{}", self.clause(clause, false));
        }
        if merge.matched.is_empty() && merge.unmatched.is_empty() {
            sql += " WHEN MATCHED THEN DELETE";
        }
        sql
    }

    fn key(&self, key: &Key) -> String {
        let place = self.column(key.column);
        // Not all bytes are text.
        let cast = key.cast && self.kinds[place] != Kind::Bytes;
        let side = |side: &str| match cast {
            true => format!("CAST({side}.c{place} AS VARCHAR)"),
            false => format!("{side}.c{place}"),
        };
        let operator = if key.nulls_match {
            "IS NOT DISTINCT FROM"
        } else {
            "="
        };
        // IS NOT DISTINCT FROM would take all that follows for its right side.
        match key.swapped {
            true => format!("({} {operator} {})", side("s"), side("t")),
            false => format!("({} {operator} {})", side("t"), side("s")),
        }
    }

    fn clause(&self, clause: &Clause, matched: bool) -> String {
        let condition = clause.condition.as_ref();
        let condition =
            condition.map(|condition| format!(" AND {}", self.condition(condition, matched)));
        let condition = condition.unwrap_or_default();
        let values = match &clause.action {
            Action::Delete => return format!("{condition} THEN DELETE"),
            Action::Set(values) => values,
        };
        let mut seen = HashSet::new();
        let values = values
            .iter()
            .map(|(column, value)| (self.column(*column), value));
        let values = values.filter(|(column, _)| seen.insert(*column));
        let values = values
            .map(|(column, value)| (format!("c{column}"), self.value(column, value, matched)));
        if matched {
            let values = values.map(|(column, value)| format!("{column} = {value}"));
            return format!(
                "{condition} THEN UPDATE SET {}",
                values.collect::<Vec<_>>().join(", ")
            );
        }
        let (columns, values): (Vec<_>, Vec<_>) = values.unzip();
        format!(
            "{condition} THEN INSERT ({}) VALUES ({})",
            columns.join(", "),
            values.join(", ")
        )
    }

    fn value(&self, column: usize, value: &Value, matched: bool) -> String {
        let kind = self.kinds[column];
        match value {
            Value::Null => kind.literal(0),
            Value::Literal(value) => kind.literal(*value),
            Value::Target if matched => format!("t.c{column}"),
            Value::Both if matched => kind.both(&format!("c{column}")),
            Value::Either if matched => format!("coalesce(s.c{column}, t.c{column})"),
            _ => format!("s.c{column}"),
        }
    }

    fn condition(&self, condition: &Condition, matched: bool) -> String {
        let inner = |condition| self.condition(condition, matched);
        match condition {
            Condition::Compare(column, operator, left, right) => {
                let [left, right] = [left, right].map(|side| self.operand(*column, side, matched));
                format!("{left} {operator} {right}")
            }
            Condition::IsNull(column, side) => {
                format!("{} IS NULL", self.operand(*column, side, matched))
            }
            Condition::Not(one) => format!("NOT ({})", inner(one)),
            Condition::And(one, other) => format!("({} AND {})", inner(one), inner(other)),
            Condition::Or(one, other) => format!("({} OR {})", inner(one), inner(other)),
        }
    }

    fn operand(&self, column: usize, operand: &Operand, matched: bool) -> String {
        let column = self.column(column);
        match operand {
            // deltalake cannot write an instant in a condition into its log.
            Operand::Literal(value) if self.kinds[column] != Kind::Instant => {
                self.kinds[column].literal(*value)
            }
            Operand::Target if matched => format!("t.c{column}"),
            _ => format!("s.c{column}"),
        }
    }
}

/// The case as SQL, and which way each merge goes.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rewrites: Vec<_> = self.merges.iter().map(|merge| merge.rewrites).collect();
        write!(
            f,
            "vectors: {}, rewrites: {rewrites:?}, {:#?}",
            self.vectors,
            self.case()
        )
    }
}
