//! ROW and NBCROW: rows of a record batch, a piece at a time.

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::record_batch::RecordBatch;

use super::type_info::has_bare_form;
use super::values::{Unfit, Values};
use crate::simulator::behaviour::Chance;
use crate::simulator::protocol::{Collation, Column, Length, Parameter, ServerError, SqlType};

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
    /// What chooses between the forms of rows and of (max) values.
    chance: Option<Chance>,
}

#[derive(Debug)]
struct ColumnValues {
    column: Column,
    values: Values,
    nulls: Option<NullBuffer>,
    sized: bool,
}

impl ColumnValues {
    fn new(column: &Column, array: &ArrayRef) -> Result<Self, ServerError> {
        let values = Values::new(column.sql_type, column.collation, array).map_err(|cause| {
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
        Ok(Self {
            column: column.clone(),
            values,
            nulls,
            sized,
        })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn put(&self, out: &mut Vec<u8>, row: usize) -> Result<(), ServerError> {
        self.values
            .put(out, row, self.sized)
            .map_err(|unfit| unfit_error(&self.column, unfit))
    }

    fn put_in_some_form(
        &self,
        out: &mut Vec<u8>,
        row: usize,
        chance: &mut Option<Chance>,
    ) -> Result<(), ServerError> {
        let start = out.len();
        self.put(out, row)?;
        if let Some(chance) = chance
            && is_chunked(self.column.sql_type)
            && chance.once_in(2)
        {
            chunk_without_length(out, start, self.column.sql_type, chance);
        }
        Ok(())
    }
}

/// Whether values go in chunks.
fn is_chunked(sql_type: SqlType) -> bool {
    matches!(
        sql_type,
        SqlType::VarChar(Length::Max)
            | SqlType::NVarChar(Length::Max)
            | SqlType::VarBinary(Length::Max)
    )
}

/// Makes of a value of known length in one chunk, which begins at `start`, one of unknown length, and of two
/// chunks where it can be parted. Characters stay whole, as clients such as FreeTDS need it.
fn chunk_without_length(out: &mut Vec<u8>, start: usize, sql_type: SqlType, chance: &mut Chance) {
    const UNKNOWN: u64 = 0xffff_ffff_ffff_fffe;
    let Some(total) = out.get(start..).and_then(|value| value.first_chunk::<8>()) else {
        return;
    };
    let length = u64::from_le_bytes(*total) as usize;
    out[start..start + 8].copy_from_slice(&UNKNOWN.to_le_bytes());
    if length < 2 {
        return;
    }
    let value = &out[start + 12..start + 12 + length];
    let Some(first) = parting(value, 1 + chance.below(length - 1), sql_type) else {
        return;
    };
    // A chunk's length is four bytes.
    let (head, tail) = (first as u32, (length - first) as u32);
    out[start + 8..start + 12].copy_from_slice(&head.to_le_bytes());
    let at = start + 12 + first;
    out.splice(at..at, tail.to_le_bytes());
}

/// Where a value can be parted, at `wish` or close before it.
fn parting(value: &[u8], wish: usize, sql_type: SqlType) -> Option<usize> {
    let at = match sql_type {
        SqlType::NVarChar(_) => {
            let even = wish & !1;
            let unit = value.get(even..even + 2)?;
            let is_low_surrogate = matches!(unit[1], 0xdc..=0xdf);
            even - if is_low_surrogate { 2 } else { 0 }
        }
        SqlType::VarChar(_) => {
            let around = value.get(wish - 1..=wish)?;
            return around.is_ascii().then_some(wish);
        }
        _ => wish,
    };
    (at > 0).then_some(at)
}

/// Appends the value of a parameter, after its type with a length.
///
/// # Errors
///
/// It is not a value of its type.
pub(super) fn put_value(out: &mut Vec<u8>, parameter: &Parameter) -> Result<(), ServerError> {
    let column = Column {
        name: parameter.name.clone(),
        sql_type: parameter.sql_type,
        collation: Collation::SERVER,
        nullable: true,
        identity: false,
    };
    let values = ColumnValues::new(&column, &parameter.value)?;
    if values.is_null(0) {
        out.extend_from_slice(values.values.null());
        return Ok(());
    }
    values.put(out, 0)
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
            .map(|(column, array)| ColumnValues::new(column, array))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            may_use_bitmap: knows_bitmap && columns.iter().any(|column| column.nulls.is_some()),
            columns,
            next: 0,
            count: batch.num_rows(),
            chance: None,
        })
    }

    /// Lets chance choose between the forms of rows and of (max) values.
    pub(super) fn with_chance(mut self, chance: Option<Chance>) -> Self {
        self.chance = chance;
        self
    }

    /// How many rows are left.
    pub(super) fn left(&self) -> usize {
        self.count - self.next
    }

    /// Leaves all but the next rows out.
    pub(super) fn keep(&mut self, rows: usize) {
        self.count = self.count.min(self.next + rows);
    }

    /// Takes back what was left out: so many rows follow the ones put.
    pub(super) fn keep_again(&mut self, rows: usize) {
        self.count = self.next + rows;
    }

    /// Appends the first half of the next row, if there is one.
    pub(super) fn put_half(&mut self, out: &mut Vec<u8>) -> Result<(), ServerError> {
        let start = out.len();
        if self.next < self.count {
            self.put_row(out, self.next)?;
            out.truncate(start + (out.len() - start).div_ceil(2));
        }
        Ok(())
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

    fn put_row(&mut self, out: &mut Vec<u8>, row: usize) -> Result<(), ServerError> {
        let mut chance = self.chance.take();
        let with_bitmap = self.may_use_bitmap
            && match &mut chance {
                Some(chance) => chance.once_in(2),
                None => self.is_shorter_with_bitmap(row),
            };
        let put = if with_bitmap {
            self.put_row_with_bitmap(out, row, &mut chance)
        } else {
            self.put_plain_row(out, row, &mut chance)
        };
        self.chance = chance;
        put
    }

    fn put_plain_row(
        &self,
        out: &mut Vec<u8>,
        row: usize,
        chance: &mut Option<Chance>,
    ) -> Result<(), ServerError> {
        out.push(ROW);
        for column in &self.columns {
            if column.is_null(row) {
                out.extend_from_slice(column.values.null());
            } else {
                column.put_in_some_form(out, row, chance)?;
            }
        }
        Ok(())
    }

    fn is_shorter_with_bitmap(&self, row: usize) -> bool {
        let nulls = self.columns.iter().filter(|column| column.is_null(row));
        let bytes: usize = nulls.map(|column| column.values.null().len()).sum();
        bytes > self.columns.len().div_ceil(8)
    }

    fn put_row_with_bitmap(
        &self,
        out: &mut Vec<u8>,
        row: usize,
        chance: &mut Option<Chance>,
    ) -> Result<(), ServerError> {
        out.push(NBC_ROW);
        let bitmap = out.len();
        out.resize(bitmap + self.columns.len().div_ceil(8), 0);
        for (index, column) in self.columns.iter().enumerate() {
            if column.is_null(row) {
                out[bitmap + index / 8] |= 1 << (index % 8);
            } else {
                column.put_in_some_form(out, row, chance)?;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        BinaryArray, Decimal128Array, FixedSizeBinaryArray, Int32Array, StringArray,
        TimestampMicrosecondArray,
    };
    use datafusion::arrow::datatypes::{Field, Schema};

    use super::*;

    fn column(sql_type: SqlType, nullable: bool) -> Column {
        Column {
            name: "bar".to_owned(),
            sql_type,
            collation: Collation::SERVER,
            nullable,
            identity: false,
        }
    }

    fn rows(columns: &[Column], arrays: Vec<ArrayRef>) -> Result<Vec<u8>, ServerError> {
        let fields: Vec<Field> = arrays
            .iter()
            .map(|array| Field::new("", array.data_type().clone(), true))
            .collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let mut out = Vec::new();
        while Rows::new(columns, &batch, true)?.put(&mut out, usize::MAX)? {}
        Ok(out)
    }

    fn one(sql_type: SqlType, array: ArrayRef) -> Result<Vec<u8>, ServerError> {
        rows(&[column(sql_type, true)], vec![array])
    }

    fn text(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn a_row_is_that_of_the_specification() {
        // The "SQL Batch Server Response" example of MS-TDS.
        let bar = SqlType::VarChar(Length::Limited(3));
        assert_eq!(one(bar, text(&["foo"])).unwrap(), b"\xd1\x03\x00foo");
    }

    #[test]
    fn nulls_are_a_bitmap_where_that_is_shorter() {
        let ints = || Arc::new(Int32Array::from(vec![None, Some(1)])) as ArrayRef;
        let int = column(SqlType::Int, true);
        let row = rows(std::slice::from_ref(&int), vec![ints()]).unwrap();
        assert_eq!(row, b"\xd1\x00\xd1\x04\x01\0\0\0");
        let both = rows(&[int.clone(), int.clone()], vec![ints(), ints()]).unwrap();
        assert_eq!(both, b"\xd2\x03\xd1\x04\x01\0\0\0\x04\x01\0\0\0");
        let max = column(SqlType::NVarChar(Length::Max), true);
        let nothing = Arc::new(StringArray::from(vec![None, Some("x")])) as ArrayRef;
        let mixed = rows(&[int, max], vec![ints(), nothing]).unwrap();
        assert_eq!(mixed[..2], *b"\xd2\x03");
    }

    #[test]
    fn max_values_are_chunked() {
        let max = SqlType::NVarChar(Length::Max);
        assert_eq!(
            one(max, text(&["ab", ""])).unwrap(),
            b"\xd1\x04\0\0\0\0\0\0\0\x04\0\0\0a\0b\0\0\0\0\0\xd1\0\0\0\0\0\0\0\0\0\0\0\0"
        );
    }

    #[test]
    fn fixed_lengths_are_padded() {
        assert_eq!(
            one(SqlType::Char(3), text(&["a"])).unwrap(),
            b"\xd1\x03\0a  "
        );
        assert_eq!(
            one(SqlType::NChar(2), text(&["a"])).unwrap(),
            b"\xd1\x04\0a\0 \0"
        );
        let bytes = Arc::new(BinaryArray::from(vec![&b"a"[..]]));
        assert_eq!(one(SqlType::Binary(3), bytes).unwrap(), b"\xd1\x03\0a\0\0");
    }

    #[test]
    fn numbers_have_their_own_byte_orders() {
        let decimals = |precision, scale, value: i128| {
            let array = Decimal128Array::from(vec![value]);
            Arc::new(array.with_precision_and_scale(precision, scale).unwrap()) as ArrayRef
        };
        let decimal = SqlType::Decimal {
            precision: 5,
            scale: 2,
        };
        assert_eq!(
            one(decimal, decimals(5, 2, -12345)).unwrap(),
            b"\xd1\x05\x00\x39\x30\0\0"
        );
        assert_eq!(
            one(SqlType::Money, decimals(19, 4, 10_000)).unwrap(),
            b"\xd1\x08\0\0\0\0\x10\x27\0\0"
        );
        assert_eq!(
            one(SqlType::Money, decimals(19, 4, -1)).unwrap(),
            b"\xd1\x08\xff\xff\xff\xff\xff\xff\xff\xff"
        );
        assert_eq!(
            one(SqlType::SmallMoney, decimals(10, 4, 10_000)).unwrap(),
            b"\xd1\x04\x10\x27\0\0"
        );
        // 00112233-4455-6677-8899-aabbccddeeff, the bytes that count most in front.
        let form = b"\xaa\xbb\xcc\xdd\xee\xff\x88\x99\x77\x66\x55\x44\x33\x22\x11\x00";
        let id = Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once(form)).unwrap());
        assert_eq!(
            one(SqlType::UniqueIdentifier, id).unwrap(),
            b"\xd1\x10\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff"
        );
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error_and_leaves_no_row() {
        let number = |sql_type, array| one(sql_type, array).unwrap_err().number;
        assert_eq!(
            number(SqlType::VarChar(Length::Limited(2)), text(&["abc"])),
            8152
        );
        let far = || Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]));
        let beyond = std::iter::once([0xff_u8; 8]);
        let beyond = Arc::new(FixedSizeBinaryArray::try_from_iter(beyond).unwrap());
        assert_eq!(number(SqlType::DateTime2(7), beyond), 8115);
        assert_eq!(number(SqlType::DateTime, far()), 8115);
        assert_eq!(number(SqlType::SmallDateTime, far()), 8115);
        let bare = [column(SqlType::Int, false)];
        let null = Arc::new(Int32Array::from(vec![None::<i32>]));
        assert_eq!(rows(&bare, vec![null]).unwrap_err().number, 3624);
        assert_eq!(rows(&[], vec![text(&["a"])]).unwrap_err().number, 3624);
        assert_eq!(number(SqlType::Int, text(&["not a number"])), 3624);
    }

    #[test]
    fn chance_takes_both_forms_of_rows_and_of_chunked_values() {
        let columns = [
            column(SqlType::Int, true),
            column(SqlType::NVarChar(Length::Max), true),
        ];
        let ints = Arc::new(Int32Array::from(vec![None; 64])) as ArrayRef;
        let fields = vec![
            Field::new("a", ints.data_type().clone(), true),
            Field::new("b", datafusion::arrow::datatypes::DataType::Utf8, true),
        ];
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(schema, vec![ints, text(&["abc"; 64])]).unwrap();
        let rows = Rows::new(&columns, &batch, true).unwrap();
        let mut rows = rows.with_chance(Some(Chance::new(1)));
        let mut forms = std::collections::BTreeSet::new();
        while rows.left() > 0 {
            let mut out = Vec::new();
            rows.put(&mut out, 1).unwrap();
            let (kind, value) = (out[0], &out[2..]);
            let whole = b"\x06\0\0\0\0\0\0\0\x06\0\0\0a\0b\0c\0\0\0\0\0";
            let is_whole = value == whole;
            if value[8] == 6 {
                assert!(value[8..] == whole[8..]);
            } else {
                assert_eq!(value[..8], 0xffff_ffff_ffff_fffe_u64.to_le_bytes());
                let first = usize::from(value[8]);
                let second = &value[12 + first..];
                assert_eq!(usize::from(second[0]), 6 - first);
                let joined = [&value[12..12 + first], &second[4..second.len() - 4]].concat();
                assert_eq!(joined, b"a\0b\0c\0");
                assert!(value.ends_with(&[0; 4]));
            }
            forms.insert((kind, is_whole));
        }
        assert_eq!(forms.len(), 4, "{forms:?}");
    }

    #[test]
    fn a_value_is_parted_between_characters_alone() {
        let wide = SqlType::NVarChar(Length::Max);
        let text: Vec<u8> = "a😀b".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let places = |value: &[u8], sql_type| {
            let wishes = 1..value.len();
            wishes
                .map(|wish| parting(value, wish, sql_type))
                .collect::<Vec<_>>()
        };
        let (none, after_a, before_b) = (None, Some(2), Some(6));
        let expected = [none, after_a, after_a, after_a, after_a, before_b, before_b];
        assert_eq!(places(&text, wide), expected);
        let narrow = SqlType::VarChar(Length::Max);
        assert_eq!(places(b"ab\xe9c", narrow), [Some(1), None, None]);
        let bytes = SqlType::VarBinary(Length::Max);
        assert_eq!(places(b"\xff\xff\xff", bytes), [Some(1), Some(2)]);
    }

    #[test]
    fn rows_stop_when_there_are_enough_bytes() {
        let columns = [column(SqlType::Int, false)];
        let array = Arc::new(Int32Array::from(vec![1, 2, 3]));
        let schema = Schema::new(vec![Field::new("", array.data_type().clone(), false)]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![array]).unwrap();
        let mut rows = Rows::new(&columns, &batch, true).unwrap();
        let mut out = Vec::new();
        assert!(rows.put(&mut out, 6).unwrap());
        assert_eq!(out.len(), 10);
        assert!(!rows.put(&mut out, usize::MAX).unwrap());
        assert_eq!(out, b"\xd1\x01\0\0\0\xd1\x02\0\0\0\xd1\x03\0\0\0");
    }
}
