//! What is expected of a flow's rows, counted as they pass.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::compute::and;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::{Result, exec_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Error;
use crate::sql::{EXPECT, Expectation, OnViolation, Span};

/// How many rows were not as they are expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations {
    /// The expectation.
    pub expectation: String,
    /// What became of the rows.
    pub on_violation: OnViolation,
    /// How many there were.
    pub rows: u64,
}

/// The expectations of one execution, with what has been counted of them.
#[derive(Debug)]
pub struct Expectations(Vec<Counted>);

#[derive(Debug)]
struct Counted {
    name: String,
    on_violation: OnViolation,
    span: Span,
    rows: AtomicU64,
}

impl Expectations {
    /// Expectations of which nothing is counted yet.
    pub fn new(expectations: &[Expectation]) -> Arc<Self> {
        let counted = expectations.iter().map(|expectation| Counted {
            name: expectation.name.value.clone(),
            on_violation: expectation.on_violation,
            span: expectation.span,
            rows: AtomicU64::new(0),
        });
        Arc::new(Self(counted.collect()))
    }

    /// What has been counted, of each expectation.
    pub fn violations(&self) -> Vec<Violations> {
        let counted = self.0.iter().map(|counted| Violations {
            expectation: counted.name.clone(),
            on_violation: counted.on_violation,
            rows: counted.rows.load(Ordering::Relaxed),
        });
        counted.collect()
    }

    /// The function [`EXPECT`] that counts here.
    pub fn function(self: &Arc<Self>) -> ScalarUDF {
        ScalarUDF::from(Expect {
            signature: Signature::variadic_any(Volatility::Volatile),
            expectations: Arc::clone(self),
        })
    }

    /// Whether each row is kept, of which these expectations hold, or do not.
    fn judge(&self, holds: &[ArrayRef], key: &[ArrayRef], rows: usize) -> Result<BooleanArray> {
        let mut kept = BooleanArray::from(vec![true; rows]);
        for (counted, holds) in self.0.iter().zip(holds) {
            let Some(holds) = holds.as_boolean_opt() else {
                return exec_err!("{EXPECT} takes conditions");
            };
            let violations = rows - holds.true_count();
            counted.rows.fetch_add(violations as u64, Ordering::Relaxed);
            match counted.on_violation {
                _ if violations == 0 => {}
                OnViolation::Keep => {}
                OnViolation::DropRow => kept = and(&kept, holds)?,
                OnViolation::FailUpdate => return Err(failed(counted, holds, key)),
            }
        }
        Ok(kept)
    }
}

fn failed(counted: &Counted, holds: &BooleanArray, key: &[ArrayRef]) -> DataFusionError {
    let place = (0..holds.len()).find(|row| holds.is_null(*row) || !holds.value(*row));
    let place = place.unwrap_or_default();
    let key = key
        .iter()
        .map(|column| array_value_to_string(column, place));
    let key = key.map(|value| value.unwrap_or_default());
    DataFusionError::External(Box::new(Error::Unexpected {
        expectation: counted.name.clone(),
        span: counted.span,
        key: key.collect::<Vec<_>>().join(", "),
    }))
}

#[derive(Debug)]
struct Expect {
    signature: Signature,
    expectations: Arc<Expectations>,
}

impl PartialEq for Expect {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.expectations, &other.expectations)
    }
}

impl Eq for Expect {}

impl Hash for Expect {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.expectations).hash(state);
    }
}

impl ScalarUDFImpl for Expect {
    fn name(&self) -> &str {
        EXPECT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let arrays = arguments.args.iter().map(|value| value.to_array(rows));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let Some((holds, key)) = arrays.split_at_checked(self.expectations.0.len()) else {
            return exec_err!("{EXPECT} takes a condition for each expectation");
        };
        let kept = self.expectations.judge(holds, key, rows)?;
        Ok(ColumnarValue::Array(Arc::new(kept)))
    }
}
