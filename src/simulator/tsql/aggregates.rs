//! SUM, AVG, MIN and MAX with T-SQL's types, bounds and order of texts.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type,
};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
};

use super::arithmetic::digits;
use super::functions::external;
use crate::simulator::errors::overflow;
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::types::{
    Typed, Value, array_of, collation_of, equality_key, field, label_of, sql_type_of, typed_of,
    with_label,
};

/// The aggregate of a name in lower case, where T-SQL's differs from DataFusion's.
pub(super) fn aggregate(name: &str) -> Option<Arc<AggregateUDF>> {
    let kind = match name {
        "sum" => Kind::Sum,
        "avg" => Kind::Average,
        "min" => Kind::Least,
        "max" => Kind::Greatest,
        _ => return None,
    };
    let aggregate = Aggregate {
        kind,
        signature: Signature::any(1, Volatility::Immutable),
    };
    Some(Arc::new(AggregateUDF::from(aggregate)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    Average,
    Least,
    Greatest,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Average => "avg",
            Self::Least => "min",
            Self::Greatest => "max",
        }
    }

    fn is_extreme(self) -> bool {
        matches!(self, Self::Least | Self::Greatest)
    }

    /// The type of the result; error 8117 for a type that it does not take.
    fn result(self, of: SqlType) -> std::result::Result<SqlType, ServerError> {
        let refused = || {
            ServerError::new(
                8117,
                format!(
                    "Operand data type {} is invalid for {} operator.",
                    of.base_name(),
                    self.name()
                ),
            )
        };
        Ok(match of {
            SqlType::Bit => return Err(refused()),
            of if !of.is_comparable() || of == SqlType::SqlVariant => return Err(refused()),
            of if self.is_extreme() => of,
            SqlType::TinyInt | SqlType::SmallInt | SqlType::Int => SqlType::Int,
            SqlType::BigInt => SqlType::BigInt,
            SqlType::Decimal { scale, .. } => SqlType::Decimal {
                precision: 38,
                scale: if self == Self::Average {
                    scale.max(6)
                } else {
                    scale
                },
            },
            SqlType::Money | SqlType::SmallMoney => SqlType::Money,
            SqlType::Real | SqlType::Float => SqlType::Float,
            _ => return Err(refused()),
        })
    }
}

/// The type of the only argument; a bare NULL is an int.
fn argument(fields: &[FieldRef]) -> SqlType {
    match fields.first() {
        Some(field) if *field.data_type() != DataType::Null => sql_type_of(field),
        _ => SqlType::Int,
    }
}

/// Whether values are compared otherwise than their Arrow forms are.
fn has_own_order(sql_type: SqlType) -> bool {
    sql_type.is_text()
}

#[derive(Debug, PartialEq, Eq)]
struct Aggregate {
    kind: Kind,
    signature: Signature,
}

impl Hash for Aggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl Aggregate {
    /// DataFusion's aggregate, where it does the same.
    fn same(&self, args: &AccumulatorArgs<'_>) -> Option<Arc<AggregateUDF>> {
        if has_own_order(argument(args.expr_fields)) {
            return None;
        }
        match self.kind {
            Kind::Least => Some(min_udaf()),
            Kind::Greatest => Some(max_udaf()),
            Kind::Sum | Kind::Average => None,
        }
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let of = arguments.first().map_or(SqlType::Int, SqlType::of_arrow);
        let result = self.kind.result(of).map_err(external)?;
        Ok(result.arrow_form())
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let result = self.kind.result(argument(fields)).map_err(external)?;
        let result = field(self.name(), result, true, false);
        Ok(Arc::new(match fields.first() {
            Some(of) if sql_type_of(&result).is_text() => {
                with_label(result, collation_of(of), label_of(of))
            }
            _ => result,
        }))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if let Some(same) = self.same(&args) {
            return same.accumulator(args);
        }
        let of = argument(args.expr_fields);
        if self.kind.is_extreme() {
            return Ok(Box::new(Extreme {
                of: args
                    .expr_fields
                    .first()
                    .map_or(of.into(), |field| typed_of(field)),
                greatest: self.kind == Kind::Greatest,
                found: None,
            }));
        }
        Ok(Box::new(Total {
            of,
            result: self.kind.result(of).map_err(external)?,
            average: self.kind == Kind::Average,
            digits: 0,
            float: 0.0,
            count: 0,
            distinct: args.is_distinct.then(HashSet::new),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let of = argument(args.input_fields);
        if self.kind.is_extreme() {
            let form = args.return_field.data_type().clone();
            return Ok(vec![Arc::new(Field::new("extreme", form, true))]);
        }
        let sum = match of {
            SqlType::Real | SqlType::Float => DataType::Float64,
            _ => DataType::Decimal128(38, 0),
        };
        Ok(vec![
            Arc::new(Field::new("sum", sum, true)),
            Arc::new(Field::new("count", DataType::Int64, true)),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.same(&args)
            .is_some_and(|same| same.groups_accumulator_supported(args))
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match self.same(&args) {
            Some(same) => same.create_groups_accumulator(args),
            None => Err(external(ServerError::unsupported("this aggregate"))),
        }
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        match self.same(&args) {
            Some(same) => same.create_sliding_accumulator(args),
            None => self.accumulator(args),
        }
    }
}

/// A sum, and how many values are in it.
#[derive(Debug)]
struct Total {
    of: SqlType,
    result: SqlType,
    average: bool,
    digits: i128,
    float: f64,
    count: i64,
    distinct: Option<HashSet<ScalarValue>>,
}

impl Total {
    fn is_float(&self) -> bool {
        matches!(self.of, SqlType::Real | SqlType::Float)
    }

    fn scale(&self) -> u8 {
        match self.of {
            SqlType::Decimal { scale, .. } => scale,
            SqlType::Money | SqlType::SmallMoney => 4,
            _ => 0,
        }
    }

    fn add(&mut self, array: &ArrayRef, sign: i128) -> std::result::Result<(), ServerError> {
        if *array.data_type() == DataType::Null {
            return Ok(());
        }
        let values = i64::try_from(array.len() - array.null_count()).unwrap_or(0);
        self.count += if sign < 0 { -values } else { values };
        if self.is_float() {
            let floats =
                cast(array, &DataType::Float64).map_err(crate::simulator::store::internal)?;
            for value in floats.as_primitive::<Float64Type>().iter().flatten() {
                self.float += if sign < 0 { -value } else { value };
            }
            return Ok(());
        }
        let (digits, _) = digits((array, self.of))?;
        for value in digits.iter().flatten() {
            self.digits = self
                .digits
                .checked_add(sign * value)
                .ok_or_else(|| overflow(self.result))?;
        }
        Ok(())
    }

    /// The values that did not come before.
    fn new_values(&mut self, array: &ArrayRef) -> Result<Option<ArrayRef>> {
        let Some(known) = &mut self.distinct else {
            return Ok(Some(Arc::clone(array)));
        };
        let mut new = Vec::new();
        for row in 0..array.len() {
            let value = ScalarValue::try_from_array(array, row)?;
            if !value.is_null() && known.insert(value.clone()) {
                new.push(value);
            }
        }
        if new.is_empty() {
            return Ok(None);
        }
        ScalarValue::iter_to_array(new).map(Some)
    }

    fn value(&self) -> std::result::Result<Value, ServerError> {
        if self.count == 0 {
            return Ok(Value::Null);
        }
        if self.is_float() {
            let float = if self.average {
                self.float / self.count as f64
            } else {
                self.float
            };
            return if float.is_finite() {
                Ok(Value::Float(float))
            } else {
                Err(overflow(self.result))
            };
        }
        let scale = match self.result {
            SqlType::Decimal { scale, .. } => scale,
            SqlType::Money => 4,
            _ => 0,
        };
        let unit = 10_i128.pow((scale - self.scale()).into());
        let digits = if self.average {
            // As a division of numbers, cut and not rounded; in two steps, so that it does not overflow.
            let count = i128::from(self.count);
            let (whole, rest) = (self.digits / count, self.digits % count);
            whole
                .checked_mul(unit)
                .map(|whole| whole + rest * unit / count)
        } else {
            self.digits.checked_mul(unit)
        };
        let most = match self.result {
            SqlType::Int => i32::MAX.into(),
            SqlType::BigInt | SqlType::Money => i64::MAX.into(),
            _ => 10_i128.pow(38) - 1,
        };
        let digits = digits
            .filter(|digits| (-most - 1..=most).contains(digits))
            .ok_or_else(|| overflow(self.result))?;
        Ok(match self.result {
            SqlType::Int | SqlType::BigInt => Value::Int(i64::try_from(digits).unwrap_or(0)),
            _ => Value::Decimal(digits, scale),
        })
    }
}

fn scalar(sql_type: SqlType, value: Value) -> Result<ScalarValue> {
    let array = array_of(sql_type, [value]).map_err(external)?;
    ScalarValue::try_from_array(&array, 0)
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match self.new_values(&values[0])? {
            Some(values) => self.add(&values, 1).map_err(external),
            None => Ok(()),
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.value().map_err(external)?;
        scalar(self.result, value)
    }

    fn size(&self) -> usize {
        let distinct = self.distinct.as_ref().map_or(0, HashSet::len);
        size_of::<Self>() + distinct * size_of::<ScalarValue>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        if self.distinct.is_some() {
            return Err(external(ServerError::unsupported(
                "this DISTINCT aggregate",
            )));
        }
        let sum = if self.is_float() {
            ScalarValue::Float64(Some(self.float))
        } else {
            ScalarValue::Decimal128(Some(self.digits), 38, 0)
        };
        Ok(vec![sum, ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[1].as_primitive::<Int64Type>().iter().flatten();
        self.count += counts.sum::<i64>();
        if self.is_float() {
            let sums = states[0].as_primitive::<Float64Type>().iter().flatten();
            self.float += sums.sum::<f64>();
            return Ok(());
        }
        for sum in states[0].as_primitive::<Decimal128Type>().iter().flatten() {
            self.digits = self
                .digits
                .checked_add(sum)
                .ok_or_else(|| external(overflow(self.result)))?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0], -1).map_err(external)
    }

    fn supports_retract_batch(&self) -> bool {
        self.distinct.is_none()
    }
}

/// The least or greatest text.
#[derive(Debug)]
struct Extreme {
    of: Typed,
    greatest: bool,
    found: Option<(Vec<u8>, String)>,
}

impl Accumulator for Extreme {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let texts =
            crate::simulator::types::to_form(&values[0], self.of.sql_type).map_err(external)?;
        for text in texts.as_string::<i32>().iter().flatten() {
            let key = equality_key(text, self.of);
            let better = self.found.as_ref().is_none_or(|(known, _)| {
                if self.greatest {
                    key > *known
                } else {
                    key < *known
                }
            });
            if better {
                self.found = Some((key, text.to_owned()));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let text = self.found.as_ref().map(|(_, text)| text.clone());
        scalar(self.of.sql_type, text.into())
    }

    fn size(&self) -> usize {
        let found = self.found.as_ref();
        size_of::<Self>() + found.map_or(0, |(key, text)| key.len() + text.len())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
