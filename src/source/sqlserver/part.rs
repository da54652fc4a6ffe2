//! A part of a table: the rows for which a condition holds, and rows by their keys.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, lit};

use super::captured::CapturedTable;
use super::catalogue::{SourceColumn, SourceTable, TableEntry, source_table};
use super::caution::Cautions;
use super::chunks::TableChunks;
use super::error::SourceError;
use super::filter::{self, Translator};
use super::key_range::Conditions;
use super::live::LiveRows;
use super::scan::start;

/// How many values of keys one question has.
const MOST_VALUES: usize = 128;

impl TableChunks {
    /// The chunks of a part of `table`: they have the rows for which `condition` holds, and may have others, as far as
    /// the server cannot tell. It names the columns as they are captured.
    ///
    /// # Errors
    /// Whatever reading the live table's columns may give.
    pub async fn only(
        self,
        table: &CapturedTable,
        condition: &Expr,
    ) -> std::result::Result<Self, SourceError> {
        let mut chunks = self.comparable(table).await?;
        chunks.limits = Some(chunks.limits_of(condition));
        Ok(chunks)
    }

    /// The same chunks of `table`, whose server is also told what to compare columns with: for [`TableChunks::rows_of_keys`].
    ///
    /// # Errors
    /// Whatever reading the live table's columns may give.
    pub async fn comparable(
        mut self,
        table: &CapturedTable,
    ) -> std::result::Result<Self, SourceError> {
        let entry = TableEntry {
            name: table.name.clone(),
            object_id: table.source_object_id,
        };
        let live = source_table(&self.pool, &entry).await?;
        let columns = self.table.columns.iter().map(|own| {
            let mut columns = live.columns.iter();
            // One whose type has changed since is read as changes are, and not compared.
            let same =
                |other: &&SourceColumn| other.name == own.name && other.sql_type == own.sql_type;
            columns.find(same).unwrap_or(own).clone()
        });
        let (name, columns) = (table.name.clone(), columns.collect());
        self.table = Arc::new(SourceTable::new(name, columns, Cautions::default()));
        Ok(self)
    }

    /// What the server can tell of `condition`.
    fn limits_of(&self, condition: &Expr) -> Conditions {
        let mut translator = Translator::new(&self.table.columns);
        let parts = split_conjunction(condition).into_iter();
        let parts = parts.filter_map(|part| {
            let part = self.by_live_names(part).ok()?;
            let predicate = translator.translate(&part)?;
            Some(predicate.sql)
        });
        Conditions {
            sql: parts.collect(),
            parameters: translator.into_parameters(),
        }
    }

    /// An expression over captured names as one over the live table's.
    fn by_live_names(&self, part: &Expr) -> Result<Expr> {
        let named = part.clone().transform(|part| match &part {
            Expr::Column(column) => {
                let place = self.schema.index_of(&column.name)?;
                let name = &self.table.columns[place].name;
                Ok(Transformed::yes(Expr::Column(Column::from_name(name))))
            }
            _ => Ok(Transformed::no(part)),
        });
        named.map(|named| named.data)
    }

    /// How many keys may be looked up at once.
    pub fn keys_at_once(&self, key: usize) -> usize {
        (MOST_VALUES / key.max(1)).max(1)
    }

    /// The rows with these keys, each an array by the captured name of its column, and maybe others; of chunks that are
    /// [`TableChunks::comparable`], whatever the condition of a part says.
    ///
    /// # Errors
    /// `NoReadBack` where rows cannot be looked up by their key; inside the stream, whatever reading a table may give.
    pub fn rows_of_keys(
        &self,
        keys: &[(String, ArrayRef)],
    ) -> std::result::Result<SendableRecordBatchStream, SourceError> {
        let places = keys.iter().map(|(name, _)| self.schema.index_of(name).ok());
        let places: Option<Vec<usize>> = places.collect();
        let values: Vec<ArrayRef> = keys.iter().map(|(_, values)| Arc::clone(values)).collect();
        let asked: Vec<usize> = (0..values.first().map_or(0, |values| values.len())).collect();
        let filter = match &places {
            Some(places) => key_filter(&self.table.columns, places, &values, &asked)?,
            None => None,
        };
        let Some(filter) = filter else {
            let names: Vec<&str> = keys.iter().map(|(name, _)| name.as_str()).collect();
            return Err(SourceError::NoReadBack {
                table: self.table.name.clone(),
                why: format!(
                    "rows cannot be looked up by their key ({})",
                    names.join(", ")
                ),
            });
        };
        let rows = LiveRows::matching(
            self.pool.clone(),
            Arc::clone(&self.table),
            self.schema(),
            filter,
            self.floor,
        )?;
        Ok(start(Arc::new(rows.of_a_copy())))
    }
}

/// A condition that holds for the rows with the keys at `asked`, and maybe for more; `None` if the server cannot compare
/// one of them. `places` are the key's among `columns`. It is filled up with the last key, so that questions of many
/// lengths are one text.
pub(super) fn key_filter(
    columns: &[SourceColumn],
    places: &[usize],
    keys: &[ArrayRef],
    asked: &[usize],
) -> std::result::Result<Option<Expr>, SourceError> {
    let names: Vec<Expr> = places
        .iter()
        .map(|place| Expr::Column(Column::from_name(&columns[*place].name)))
        .collect();
    let last = asked.last().into_iter();
    let fill = asked.len().next_power_of_two() - asked.len();
    let asked = asked.iter().chain(last.cycle().take(fill));
    let values = asked.map(|row| {
        let values = keys.iter();
        let values = values.map(|key| {
            let value = ScalarValue::try_from_array(key, *row);
            Ok(Expr::Literal(value.map_err(batch_error)?, None))
        });
        values.collect::<std::result::Result<Vec<_>, SourceError>>()
    });
    let values = values.collect::<std::result::Result<Vec<_>, _>>()?;
    for (name, value) in values.iter().flat_map(|values| names.iter().zip(values)) {
        let equal = name.clone().eq(value.clone());
        let support = filter::support(columns, &[&equal]);
        if support.contains(&TableProviderFilterPushDown::Unsupported) {
            return Ok(None);
        }
    }
    Ok(Some(match names.as_slice() {
        [name] => name
            .clone()
            .in_list(values.into_iter().flatten().collect(), false),
        names => {
            let row = |values: Vec<Expr>| {
                let equal = names.iter().cloned().zip(values);
                equal.map(|(name, value)| name.eq(value)).reduce(Expr::and)
            };
            let rows = values.into_iter().filter_map(row);
            rows.reduce(Expr::or).unwrap_or(lit(false))
        }
    }))
}

fn batch_error(error: DataFusionError) -> SourceError {
    SourceError::Batch {
        source: ArrowError::ExternalError(Box::new(error)),
    }
}
