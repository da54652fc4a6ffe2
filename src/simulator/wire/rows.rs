//! ROW and NBCROW: rows of a record batch, a piece at a time.

use datafusion::arrow::array::Array;
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::record_batch::RecordBatch;

use super::type_info::has_bare_form;
use super::values::{Unfit, Values};
use crate::simulator::protocol::{Column, ServerError};

const ROW: u8 = 0xd1;
const NBC_ROW: u8 = 0xd2;

/// Rows on their way to the wire.
#[derive(Debug)]
pub(super) struct Rows {
    columns: Vec<ColumnValues>,
    next: usize,
    count: usize,
    /// Whether some value is NULL, and the client knows NBCROW.
    may_use_bitmap: bool,
}

#[derive(Debug)]
struct ColumnValues {
    column: Column,
    values: Values,
    nulls: Option<NullBuffer>,
    sized: bool,
}

impl ColumnValues {
    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn put(&self, out: &mut Vec<u8>, row: usize) -> Result<(), ServerError> {
        self.values
            .put(out, row, self.sized)
            .map_err(|unfit| unfit_error(&self.column, unfit))
    }
}

impl Rows {
    /// # Errors
    ///
    /// The batch is not of these columns: a fault of the database, told to the client as such.
    pub(super) fn new(
        columns: &[Column],
        batch: &RecordBatch,
        knows_bitmap: bool,
    ) -> Result<Self, ServerError> {
        if columns.len() != batch.num_columns() {
            return Err(internal_error(format!(
                "a row of {} values is not a row of {} columns",
                batch.num_columns(),
                columns.len()
            )));
        }
        let columns = columns
            .iter()
            .zip(batch.columns())
            .map(|(column, array)| {
                let values = Values::new(column.sql_type, array).map_err(|cause| {
                    internal_error(format!(
                        "column '{}' has a wrong form: {cause}",
                        column.name
                    ))
                })?;
                let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
                let sized = column.nullable || !has_bare_form(column.sql_type);
                if nulls.is_some() && !sized {
                    return Err(null_error(column));
                }
                Ok(ColumnValues {
                    column: column.clone(),
                    values,
                    nulls,
                    sized,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            may_use_bitmap: knows_bitmap && columns.iter().any(|column| column.nulls.is_some()),
            columns,
            next: 0,
            count: batch.num_rows(),
        })
    }

    /// Appends rows until `out` has `enough` bytes; says whether some are left.
    ///
    /// # Errors
    ///
    /// A value does not fit its column's type; the row is left out.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, enough: usize) -> Result<bool, ServerError> {
        while self.next < self.count && out.len() < enough {
            let start = out.len();
            if let Err(error) = self.put_row(out, self.next) {
                out.truncate(start);
                return Err(error);
            }
            self.next += 1;
        }
        Ok(self.next < self.count)
    }

    fn put_row(&self, out: &mut Vec<u8>, row: usize) -> Result<(), ServerError> {
        if self.may_use_bitmap && self.is_shorter_with_bitmap(row) {
            return self.put_row_with_bitmap(out, row);
        }
        out.push(ROW);
        for column in &self.columns {
            if column.is_null(row) {
                out.extend_from_slice(column.values.null());
            } else {
                column.put(out, row)?;
            }
        }
        Ok(())
    }

    fn is_shorter_with_bitmap(&self, row: usize) -> bool {
        let nulls = self.columns.iter().filter(|column| column.is_null(row));
        let bytes: usize = nulls.map(|column| column.values.null().len()).sum();
        bytes > self.columns.len().div_ceil(8)
    }

    fn put_row_with_bitmap(&self, out: &mut Vec<u8>, row: usize) -> Result<(), ServerError> {
        out.push(NBC_ROW);
        let bitmap = out.len();
        out.resize(bitmap + self.columns.len().div_ceil(8), 0);
        for (index, column) in self.columns.iter().enumerate() {
            if column.is_null(row) {
                out[bitmap + index / 8] |= 1 << (index % 8);
            } else {
                column.put(out, row)?;
            }
        }
        Ok(())
    }
}

fn unfit_error(column: &Column, unfit: Unfit) -> ServerError {
    let (number, message) = match unfit {
        Unfit::OutOfRange => (
            8115,
            format!(
                "Arithmetic overflow error converting expression to the type of column '{}'.",
                column.name
            ),
        ),
        Unfit::TooLong => (
            8152,
            format!(
                "String or binary data would be truncated in column '{}'.",
                column.name
            ),
        ),
        Unfit::NotText => (
            8169,
            "Conversion failed when converting from a character string to uniqueidentifier."
                .to_owned(),
        ),
    };
    ServerError {
        number,
        severity: 16,
        state: 1,
        line: 1,
        message,
    }
}

fn null_error(column: &Column) -> ServerError {
    internal_error(format!(
        "column '{}' is NOT NULL and holds NULL",
        column.name
    ))
}

/// 3624, SQL Server's failed assertion.
fn internal_error(cause: String) -> ServerError {
    ServerError {
        number: 3624,
        severity: 16,
        state: 1,
        line: 1,
        message: format!("A system assertion check has failed: {cause}."),
    }
}
