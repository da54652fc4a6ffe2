//! The check that the joins of a flow's query have made no two rows of one.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::{Result, exec_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Error;
use crate::sql::SINGLE_ROW;

/// `SINGLE_ROW(value, rows, key …)`: `value`, where there is one row of the key.
pub(super) fn single_row() -> ScalarUDF {
    ScalarUDF::from(SingleRow {
        signature: Signature::variadic_any(Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleRow {
    signature: Signature,
}

impl ScalarUDFImpl for SingleRow {
    fn name(&self) -> &str {
        SINGLE_ROW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [value, rows, key @ ..] = arrays.as_slice() else {
            return exec_err!("{SINGLE_ROW} takes a value, a count and a key");
        };
        let Some(rows) = rows.as_primitive_opt::<Int64Type>() else {
            return exec_err!("{SINGLE_ROW} takes a count of rows");
        };
        match rows.values().iter().position(|rows| *rows > 1) {
            None => Ok(ColumnarValue::Array(Arc::clone(value))),
            Some(place) => {
                let key = key
                    .iter()
                    .map(|column| array_value_to_string(column, place));
                let key = key.collect::<std::result::Result<Vec<_>, _>>()?.join(", ");
                Err(DataFusionError::External(Box::new(Error::TwoRows { key })))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn a_second_row_of_a_key_is_an_error_that_names_it() {
        let context = SessionContext::new();
        context.register_udf(single_row());
        let rows = |keys: &str| {
            let sql = format!(
                "SELECT {SINGLE_ROW}(a > 0, count(*) OVER (PARTITION BY a, b), a, b) AS found FROM (VALUES {keys}) AS t (a, b)"
            );
            let context = context.clone();
            async move { context.sql(&sql).await?.collect().await }
        };
        let found = rows("(1, 'x'), (0, 'x'), (1, 'y')").await.unwrap();
        let count = |batch: &datafusion::arrow::array::RecordBatch| {
            batch.column(0).as_boolean().true_count()
        };
        assert_eq!(found.iter().map(count).sum::<usize>(), 2);
        let error = Error::from(rows("(1, 'x'), (2, 'z'), (1, 'x')").await.unwrap_err());
        assert!(
            matches!(&error, Error::TwoRows { key } if key == "1, x"),
            "{error}"
        );
    }
}
