//! Long sums and products, as one call: a chain of calls would be looked at again and again on its way to
//! a plan, in a time that grows with the square of its length.

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::DataType;

use super::compare::{joined, joined_type};
use super::{Function, incompatible, literal_text, stopped};
use crate::simulator::execution::interrupted;
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::tsql::arithmetic::{Operand, Operation, compute};
use crate::simulator::types::{Mode, Value, convert_array, values_of};

/// `__chain('signs', first, …)`: operands with the signs between them, from left to right.
pub(crate) const CHAIN: &str = "__chain";

pub(super) fn function(name: &str) -> Option<Function> {
    (name == CHAIN).then(|| {
        Function::arrays(
            CHAIN,
            (2, usize::MAX),
            |types, literals| {
                let signs = literal_text(literals, 0).unwrap_or_default();
                let mut result = types[1];
                for (sign, next) in operations(&signs).zip(&types[2..]) {
                    result = Step::new(sign?, result, *next)?.result;
                }
                Ok(result)
            },
            |arrays, types, _| evaluate(arrays, types),
        )
    })
}

fn operations(signs: &str) -> impl Iterator<Item = Result<Operation, ServerError>> {
    signs.chars().map(|sign| {
        Operation::of_sign(&sign.to_string())
            .ok_or_else(|| ServerError::unsupported("this operator"))
    })
}

fn evaluate(arrays: &[ArrayRef], types: &[SqlType]) -> Result<ArrayRef, ServerError> {
    let signs = values_of(&arrays[0])?.into_iter().next();
    let signs = signs.as_ref().and_then(Value::as_text).unwrap_or_default();
    let (mut value, mut of) = (ArrayRef::clone(&arrays[1]), types[1]);
    for ((sign, array), next) in operations(signs).zip(&arrays[2..]).zip(&types[2..]) {
        if interrupted() {
            return Err(stopped());
        }
        let step = Step::new(sign?, of, *next)?;
        value = step.take(&value, of, array, *next)?;
        of = step.result;
    }
    Ok(value)
}

/// One operation: what its operands become, and its result's type.
struct Step {
    operation: Operation,
    operands: (SqlType, SqlType),
    result: SqlType,
    joins: bool,
}

impl Step {
    fn new(operation: Operation, left: SqlType, right: SqlType) -> Result<Self, ServerError> {
        let both = |is: fn(&SqlType) -> bool| is(&left) && is(&right);
        if operation == Operation::Add && (both(SqlType::is_text) || both(SqlType::is_binary)) {
            return Ok(Self {
                operation,
                operands: (left, right),
                result: joined_type(left, right),
                joins: true,
            });
        }
        let number = |own: SqlType, other: SqlType| {
            if own.is_text() || own.is_binary() {
                other
            } else {
                own
            }
        };
        let operands = (number(left, right), number(right, left));
        let operand = |sql_type| Operand {
            sql_type,
            digits: None,
        };
        let result = operation
            .result(operand(operands.0), operand(operands.1))
            .ok_or_else(|| incompatible(left, right, operation.name()))?;
        Ok(Self {
            operation,
            operands,
            result,
            joins: false,
        })
    }

    fn take(
        &self,
        left: &ArrayRef,
        left_type: SqlType,
        right: &ArrayRef,
        right_type: SqlType,
    ) -> Result<ArrayRef, ServerError> {
        if self.joins {
            return joined(left, right, self.result);
        }
        let number = |array: &ArrayRef, of: SqlType, to: SqlType| {
            if of == to && *array.data_type() != DataType::Null {
                Ok(ArrayRef::clone(array))
            } else {
                convert_array(array, of, to, 0, Mode::Cast)
            }
        };
        let left = number(left, left_type, self.operands.0)?;
        let right = number(right, right_type, self.operands.1)?;
        compute(
            self.operation,
            (&left, self.operands.0),
            (&right, self.operands.1),
            self.result,
        )
    }
}
