//! Values that SQL Server may leave out of an update: `(max)` types, `text`, `ntext`, `image`, `xml`, places.
//!
//! NULL in the image after an update means NULL only if the column's bit of the update mask is set; otherwise the
//! value is what it was, whatever that is: what the target has, unless the row has come from another key. In the image
//! before an update and in a delete NULL says nothing: old large types are never there
//! ([cdc.<capture_instance>_CT](https://learn.microsoft.com/sql/relational-databases/system-tables/cdc-capture-instance-ct-transact-sql)).
//!
//! Until it reaches the flow such a column is a struct of `value` and `state` (see [`KNOWN`] and what follows it), which
//! is NULL in images that tell nothing. The flow gets either that, of which its MERGE makes the target's value where it
//! is kept, or the value alone.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int8Array, StructArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Int8Type};
use datafusion::common::{Result, exec_err, internal_err, plan_err};
use datafusion::functions::core::expr_fn::{get_field, named_struct};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
    when,
};

use super::error::SourceError;

/// The value is what `value` says.
pub(super) const KNOWN: i8 = 0;
/// The value is the target's; where the target has no row, it is not known.
pub(super) const KEPT: i8 = 1;
/// The value is the target's; where the target has no row, it is what `value` says.
pub(super) const SPARE: i8 = 2;
/// The value is not known, and is not the target's either: the row had another key.
pub(super) const MISSING: i8 = 3;

const VALUE: &str = "value";
const STATE: &str = "state";

/// The key of a field's metadata that marks a column of large values.
const MARK: &str = "cdcql.large";

/// In what form net changes carry large values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LargeValues {
    /// As values; those that an update lacks are read from the live table, and a row that is not there any more is left
    /// out: its delete follows.
    ReadBack,
    /// For [`kept_or_updated`] and [`inserted`].
    Kept {
        /// Whether those that are not known are read from the live table, for rows that the target does not have.
        read_back: bool,
    },
}

impl LargeValues {
    pub(super) fn reads_back(self) -> bool {
        match self {
            Self::ReadBack => true,
            Self::Kept { read_back } => read_back,
        }
    }

    /// The type of a column whose values are of `data_type`.
    pub(super) fn form(self, data_type: &DataType) -> DataType {
        match self {
            Self::ReadBack => data_type.clone(),
            Self::Kept { .. } => kept_type(data_type),
        }
    }
}

/// `field`, marked as a column of large values; see [`is_large`].
pub(super) fn marked(field: Field) -> Field {
    field.with_metadata(HashMap::from([(MARK.to_string(), "true".to_string())]))
}

/// Whether a field is a column of large values, unless an expression has made it.
pub fn is_large(field: &Field) -> bool {
    field.metadata().contains_key(MARK)
}

/// `field` as a table has it, without the mark.
pub fn unmarked(field: &Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.remove(MARK);
    field.clone().with_metadata(metadata)
}

fn kept_type(data_type: &DataType) -> DataType {
    let fields = vec![
        Field::new(VALUE, data_type.clone(), true),
        Field::new(STATE, DataType::Int8, true),
    ];
    DataType::Struct(fields.into())
}

/// The type of the values of a column of net changes that may be kept ones.
pub fn kept_value_type(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Struct(fields) => match fields.as_ref() {
            [value, state] if value.name() == VALUE && state.name() == STATE => {
                Some(value.data_type())
            }
            _ => None,
        },
        _ => None,
    }
}

/// What an UPDATE makes of a column in [`LargeValues::Kept`] form: its value, or what the target has.
///
/// # Errors
/// As [`inserted`], for a row that had another key.
pub fn kept_or_updated(column: Expr, target: Expr, missing: &MissingValues) -> Result<Expr> {
    let kept = get_field(column.clone(), STATE).in_list(vec![lit(KEPT), lit(SPARE)], false);
    when(kept, target).otherwise(inserted(column, missing))
}

/// What an INSERT makes of such a column: its value.
///
/// When it is executed it fails if there is none, which `missing` tells then.
pub fn inserted(column: Expr, missing: &MissingValues) -> Expr {
    let function = Inserted {
        missing: missing.clone(),
        // It may fail, so it must be asked where it stands, and only about the rows that are inserted.
        signature: Signature::any(1, Volatility::Volatile),
    };
    ScalarUDF::new_from_impl(function).call(vec![column])
}

/// Whether the execution of a plan has failed for large values that neither the changes nor the target have.
///
/// Not every writer hands on the errors of the plans that it runs.
#[derive(Debug, Clone, Default)]
pub struct MissingValues {
    found: Arc<AtomicBool>,
}

impl MissingValues {
    /// Whether it has.
    pub fn found(&self) -> bool {
        self.found.load(Ordering::Acquire)
    }
}

/// The type of images of a column of `value`s.
pub(super) fn image_type(value: &DataType) -> DataType {
    kept_type(value)
}

/// An expression of values that are known.
pub(super) fn known(value: Expr) -> Expr {
    named_struct(vec![lit(VALUE), value, lit(STATE), lit(KNOWN)])
}

/// An expression of values in the form that net changes have.
pub(super) fn formed(value: Expr, form: LargeValues) -> Expr {
    match form {
        LargeValues::ReadBack => value,
        LargeValues::Kept { .. } => known(value),
    }
}

/// `values` as images in these states, of which those that are `told` tell something.
pub(super) fn image_array(
    values: ArrayRef,
    states: Int8Array,
    told: Option<NullBuffer>,
) -> ArrayRef {
    with_states(values, states, told)
}

/// What net changes have of the last `images` that tell something; where none did they are in state `untold`. The value of
/// a row that is `deleted` is NULL, where it is not known, for whoever needs one.
pub(super) fn kept_array(
    images: &ArrayRef,
    deleted: &BooleanArray,
    untold: i8,
) -> Result<ArrayRef> {
    let (values, states) = parts(images)?;
    let state = (0..images.len()).map(|row| {
        let told = images.is_valid(row).then(|| states.value(row));
        match told.unwrap_or(untold) {
            KEPT | MISSING if deleted.value(row) => SPARE,
            state => state,
        }
    });
    let states = Int8Array::from_iter_values(state);
    Ok(with_states(Arc::clone(values), states, None))
}

/// Values that are all in one state.
pub(super) fn in_state(values: ArrayRef, state: i8) -> ArrayRef {
    let states = Int8Array::from_value(state, values.len());
    with_states(values, states, None)
}

/// Whether a value in this state has to be read back where it is needed.
pub(super) fn is_lacking(state: i8) -> bool {
    matches!(state, KEPT | MISSING)
}

fn with_states(values: ArrayRef, states: Int8Array, told: Option<NullBuffer>) -> ArrayRef {
    let DataType::Struct(fields) = kept_type(values.data_type()) else {
        return values;
    };
    Arc::new(StructArray::new(
        fields,
        vec![values, Arc::new(states)],
        told,
    ))
}

/// Values and states of a column of net changes.
pub(super) fn parts(kept: &ArrayRef) -> Result<(&ArrayRef, &Int8Array)> {
    let columns = kept.as_struct_opt().map(StructArray::columns);
    match columns {
        Some([value, state]) => match state.as_primitive_opt::<Int8Type>() {
            Some(state) => Ok((value, state)),
            None => internal_err!("the states of large values are no numbers"),
        },
        _ => internal_err!("a large column of net changes is no struct"),
    }
}

/// See [`inserted`].
#[derive(Debug)]
struct Inserted {
    missing: MissingValues,
    signature: Signature,
}

impl PartialEq for Inserted {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.missing.found, &other.missing.found)
    }
}

impl Eq for Inserted {}

impl Hash for Inserted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.missing.found).hash(state);
    }
}

impl ScalarUDFImpl for Inserted {
    fn name(&self) -> &str {
        "inserted_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [argument] if kept_value_type(argument).is_some() => {
                Ok(kept_value_type(argument).unwrap_or(argument).clone())
            }
            _ => plan_err!("{} takes a large value", self.name()),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [column] = columns.as_slice() else {
            return exec_err!("{} takes one argument", self.name());
        };
        let (values, states) = parts(column)?;
        if states.values().iter().copied().any(is_lacking) {
            self.missing.found.store(true, Ordering::Release);
            return Err(SourceError::MissingValues.into());
        }
        Ok(ColumnarValue::Array(Arc::clone(values)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringArray;

    use super::*;

    #[test]
    fn what_images_do_not_tell_is_kept_but_for_deletes() {
        let values = StringArray::from(vec![Some("a"), None, None, None, None, None]);
        let values: ArrayRef = Arc::new(values);
        let told = NullBuffer::from(vec![true, true, true, false, false, true]);
        let states = Int8Array::from(vec![KNOWN, KNOWN, MISSING, KNOWN, KNOWN, MISSING]);
        let images = image_array(Arc::clone(&values), states, Some(told));
        assert_eq!(images.data_type(), &image_type(values.data_type()));
        let deleted = BooleanArray::from(vec![false, false, false, false, true, true]);
        let kept = kept_array(&images, &deleted, KEPT).unwrap();
        let (found, states) = parts(&kept).unwrap();
        assert_eq!(found, &values);
        assert_eq!(
            states.values().as_ref(),
            [KNOWN, KNOWN, MISSING, KEPT, SPARE, SPARE]
        );
        assert_eq!(kept_value_type(kept.data_type()), Some(&DataType::Utf8));
    }

    #[test]
    fn a_mark_is_put_on_and_taken_off() {
        let field = Field::new("notes", DataType::Utf8, true);
        let large = marked(field.clone());
        assert!(is_large(&large) && !is_large(&field));
        assert_eq!(unmarked(&large), field);
    }
}
