//! Ranges of a table's rows by its clustered key, which the server alone compares and puts in order.

use std::io::Cursor;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::ScalarValue;

use super::catalogue::SourceColumn;
use super::cell::Parameter;
use super::filter::{ALIAS, KeyValue, key_value};
use super::ident::quote;

/// The clustered key of a row.
///
/// Where the type of a key's last column has more digits than are kept, it stands for the first key that reads the same.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyBound {
    /// One row of the key's columns.
    row: RecordBatch,
}

impl KeyBound {
    pub(super) fn new(row: RecordBatch) -> Self {
        Self { row }
    }

    /// Its values as text: an Arrow stream of one row, in hexadecimal digits.
    pub fn to_text(&self) -> Option<String> {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &self.row.schema()).ok()?;
        writer
            .write(&self.row)
            .and_then(|()| writer.finish())
            .ok()?;
        drop(writer);
        Some(hex::encode(bytes))
    }

    /// What [`KeyBound::to_text`] has written; `None` for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = hex::decode(text).ok()?;
        let mut reader = StreamReader::try_new(Cursor::new(bytes), None).ok()?;
        let row = reader.next()?.ok()?;
        (row.num_rows() == 1).then_some(Self { row })
    }

    fn values(&self, key: &[SourceColumn]) -> Option<Vec<KeyValue>> {
        if self.row.num_columns() != key.len() {
            return None;
        }
        let values = key.iter().zip(self.row.columns());
        let values = values.map(|(column, value)| {
            let value = ScalarValue::try_from_array(value, 0).ok()?;
            key_value(column, &value)
        });
        let values: Vec<KeyValue> = values.collect::<Option<_>>()?;
        // Behind a value that stands for many, the next column's says nothing of which of two keys is first.
        let (_, before) = values.split_last()?;
        let is_in_order = !before.iter().any(|value| value.is_first_of_many);
        is_in_order.then_some(values)
    }

    /// Whether it can be sent to the server as it is.
    pub(super) fn is_exact(&self, key: &[SourceColumn]) -> bool {
        self.values(key).is_some()
    }
}

/// The rows past one key up to another; without an end, all on that side.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeyRange {
    /// Exclusive.
    pub after: Option<KeyBound>,
    /// Inclusive.
    pub upto: Option<KeyBound>,
}

/// Conditions that limit a table to a range, and the values of their parameters, `@P1` first.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    pub(super) sql: Vec<String>,
    pub(super) parameters: Vec<Parameter>,
}

impl Conditions {
    /// Those of a range besides; `None` where a bound cannot be sent.
    pub(super) fn within(self, range: &KeyRange, key: &[SourceColumn]) -> Option<Self> {
        let mut conditions = self;
        for (bound, past, sign) in [(&range.after, ">", ">"), (&range.upto, "<", "<=")] {
            let Some(bound) = bound else {
                continue;
            };
            let names = key
                .iter()
                .map(|column| format!("{ALIAS}.{}", quote(&column.name)));
            let mut parts = Vec::with_capacity(key.len());
            for (name, value) in names.zip(bound.values(key)?) {
                let parameter = format!("@P{}", conditions.parameters.len() + 1);
                parts.push((name, value.cast(&parameter)));
                conditions.parameters.push(Parameter::Value(value.value));
            }
            conditions.sql.push(beyond(&parts, past, sign));
        }
        Some(conditions)
    }
}

/// Rows whose key is `past` the values, or `last` of them in its last column. The comparison of the first column by
/// itself says nothing new, but lets the server seek.
fn beyond(parts: &[(String, String)], past: &str, last: &str) -> String {
    match parts {
        [] => "1 = 1".to_string(),
        [(name, value)] => format!("{name} {last} {value}"),
        [(name, value), rest @ ..] => format!(
            "{name} {past}= {value} AND ({name} {past} {value} OR ({}))",
            beyond(rest, past, last)
        ),
    }
}

/// The schema of a key.
pub(super) fn key_schema(key: &[SourceColumn]) -> SchemaRef {
    let fields = key.iter();
    let fields = fields.map(|column| Field::new(&column.name, column.sql_type.arrow(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int32Array, StringArray};

    use super::*;
    use crate::source::sqlserver::types::SqlType;

    fn key() -> Vec<SourceColumn> {
        let column = |name: &str, sql_type| SourceColumn {
            comparable: true,
            ..SourceColumn::read_only(name, sql_type)
        };
        vec![
            column("a", SqlType::Int),
            column("b", SqlType::UniqueIdentifier),
            column("c", SqlType::Int),
        ]
    }

    fn bound(a: i32, b: &str, c: i32) -> KeyBound {
        let columns: [ArrayRef; 3] = [
            Arc::new(Int32Array::from(vec![a])),
            Arc::new(StringArray::from(vec![b])),
            Arc::new(Int32Array::from(vec![c])),
        ];
        KeyBound::new(RecordBatch::try_new(key_schema(&key()), columns.into()).unwrap())
    }

    const ID: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";

    #[test]
    fn a_range_is_compared_column_by_column() {
        let range = KeyRange {
            after: Some(bound(1, ID, 3)),
            upto: None,
        };
        let conditions = Conditions::default().within(&range, &key()).unwrap();
        assert_eq!(
            conditions.sql,
            [
                "t.[a] >= CAST(@P1 AS int) AND (t.[a] > CAST(@P1 AS int) OR (\
                 t.[b] >= CAST(@P2 AS uniqueidentifier) AND (t.[b] > CAST(@P2 AS uniqueidentifier) OR (\
                 t.[c] > CAST(@P3 AS int)))))"
            ]
        );
        let range = KeyRange {
            after: Some(bound(1, ID, 3)),
            upto: Some(bound(4, ID, 6)),
        };
        let conditions = Conditions::default().within(&range, &key()).unwrap();
        assert_eq!(conditions.parameters.len(), 6);
        assert!(conditions.sql[1].starts_with("t.[a] <= CAST(@P4 AS int) AND (t.[a] < "));
        assert!(conditions.sql[1].contains("t.[c] <= CAST(@P6 AS int)"));
        assert_eq!(
            Conditions::default()
                .within(&KeyRange::default(), &key())
                .unwrap()
                .sql
                .len(),
            0
        );
    }

    #[test]
    fn a_bound_is_the_same_after_it_was_text() {
        let one = bound(1, ID, 3);
        assert_eq!(
            KeyBound::from_text(&one.to_text().unwrap()),
            Some(one.clone())
        );
        assert_ne!(
            Some(bound(2, ID, 3)),
            KeyBound::from_text(&one.to_text().unwrap())
        );
        for text in ["", "00", "zz", &"ff".repeat(300)] {
            assert_eq!(KeyBound::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_bound_that_the_key_cannot_have_is_not_sent() {
        assert!(bound(1, ID, 3).is_exact(&key()));
        assert!(!bound(1, "no identifier", 3).is_exact(&key()));
        assert!(!bound(1, ID, 3).is_exact(&key()[..2]));
    }
}
