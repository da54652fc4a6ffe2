//! T-SQL's scalar functions.

mod capture;
mod chain;
mod collations;
mod compare;
mod convert;
mod dates;
mod letters;
mod like;
mod maths;
mod methods;
mod numbers;
mod security;
pub(crate) mod server;
mod text;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

use super::scope::Scope;
use crate::simulator::execution::interrupted;
use crate::simulator::protocol::{ServerError, SqlType};
use crate::simulator::types::{
    DefaultLength, Typed, Value, array_of, field, sql_type_of, typed_of, values_of, with_label,
};

pub(super) use chain::CHAIN;
pub(super) use collations::COLLATE;
use collations::{meeting_collation, result_collation};
pub(super) use compare::{
    AMONG, ARITHMETIC, COLLATED, COMPARABLE, CONCATENATE, MAYBE_NULL, UNTYPED, incompatible,
    joined_type,
};
pub(super) use convert::{CAST, TRY_CAST};
pub(super) use like::{LIKE, like_text};
pub(super) use methods::{MASK, method};

/// The function of a name in lower case.
pub(crate) fn function(name: &str, scope: &Arc<Scope>) -> Option<Arc<ScalarUDF>> {
    let function = convert::function(name)
        .or_else(|| compare::function(name))
        .or_else(|| chain::function(name))
        .or_else(|| like::function(name))
        .or_else(|| letters::function(name))
        .or_else(|| text::function(name, scope.collation()))
        .or_else(|| numbers::function(name))
        .or_else(|| methods::function(name))
        .or_else(|| maths::function(name))
        .or_else(|| dates::function(name, scope))
        .or_else(|| server::function(name, scope))
        .or_else(|| security::function(name, scope))
        .or_else(|| capture::function(name, scope))?;
    Some(Arc::new(ScalarUDF::new_from_impl(function)))
}

/// A call of one of our functions.
pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Option<Expr> {
    let function = compare::function(name)
        .or_else(|| convert::function(name))
        .or_else(|| methods::function(name))
        .or_else(|| dates::arithmetic(name))?;
    Some(ScalarUDF::new_from_impl(function).call(arguments))
}

/// A condition that fails when the batch shall stop.
pub(super) fn unless_interrupted(condition: Expr) -> Expr {
    match call(compare::UNLESS_INTERRUPTED, vec![condition.clone()]) {
        Some(checked) => checked,
        None => condition,
    }
}

/// The error that nobody hears, since its client has stopped the batch.
pub(super) fn stopped() -> ServerError {
    ServerError::new(3617, "The batch was stopped by its client.")
}

/// What a function computes.
type Rows = dyn Fn(&[Value]) -> std::result::Result<Value, ServerError> + Send + Sync;
type Arrays = dyn Fn(&[ArrayRef], &[SqlType], SqlType) -> std::result::Result<ArrayRef, ServerError>
    + Send
    + Sync;
type TypedArrays = dyn Fn(&[ArrayRef], &[Typed], Typed) -> std::result::Result<ArrayRef, ServerError>
    + Send
    + Sync;
type ResultType = dyn Fn(&[SqlType], &[Option<&ScalarValue>]) -> std::result::Result<SqlType, ServerError>
    + Send
    + Sync;

#[derive(Clone)]
enum Body {
    /// Row by row.
    Rows(Arc<Rows>),
    /// Whole arrays; the last argument is the result's type.
    Arrays(Arc<Arrays>),
    /// Whole arrays, with collations.
    Typed(Arc<TypedArrays>),
}

/// Bytes of text that a function may make of one batch of rows.
const BATCH_BYTES: usize = 128 << 20;

fn too_much() -> ServerError {
    ServerError::new(
        701,
        "There is insufficient system memory in resource pool 'default' to run this query.",
    )
}

/// A scalar function of T-SQL.
#[derive(Clone)]
pub(super) struct Function {
    name: String,
    arguments: (usize, usize),
    strict: bool,
    /// Constants come as arrays of one value.
    short_constants: bool,
    /// Whether the result has the first argument's Arrow type and no SQL type.
    untyped: bool,
    /// Whether the texts among the arguments are compared with each other, in one collation.
    meets: bool,
    signature: Signature,
    result: Arc<ResultType>,
    body: Body,
}

impl Function {
    /// A function of values, row by row, with a fixed result type. Any NULL argument gives NULL.
    fn new(
        name: &str,
        arguments: (usize, usize),
        result: SqlType,
        body: impl Fn(&[Value]) -> std::result::Result<Value, ServerError> + Send + Sync + 'static,
    ) -> Self {
        Self::build(
            name,
            arguments,
            Arc::new(move |_, _| Ok(result)),
            Body::Rows(Arc::new(body)),
        )
    }

    /// A function without arguments that is constant within a statement.
    fn constant(name: &str, result: SqlType, value: Value) -> Self {
        Self::new(name, (0, 0), result, move |_| Ok(value.clone()))
    }

    fn arrays(
        name: &str,
        arguments: (usize, usize),
        result: impl Fn(
            &[SqlType],
            &[Option<&ScalarValue>],
        ) -> std::result::Result<SqlType, ServerError>
        + Send
        + Sync
        + 'static,
        body: impl Fn(&[ArrayRef], &[SqlType], SqlType) -> std::result::Result<ArrayRef, ServerError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self::build(
            name,
            arguments,
            Arc::new(result),
            Body::Arrays(Arc::new(body)),
        )
    }

    /// A function of whole arrays that depends on the collations of texts.
    fn typed(
        name: &str,
        arguments: (usize, usize),
        result: impl Fn(
            &[SqlType],
            &[Option<&ScalarValue>],
        ) -> std::result::Result<SqlType, ServerError>
        + Send
        + Sync
        + 'static,
        body: impl Fn(&[ArrayRef], &[Typed], Typed) -> std::result::Result<ArrayRef, ServerError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self::build(
            name,
            arguments,
            Arc::new(result),
            Body::Typed(Arc::new(body)),
        )
    }

    fn build(name: &str, arguments: (usize, usize), result: Arc<ResultType>, body: Body) -> Self {
        Self {
            name: name.to_owned(),
            arguments,
            strict: true,
            short_constants: false,
            untyped: false,
            meets: false,
            signature: Signature::one_of(
                vec![TypeSignature::Nullary, TypeSignature::VariadicAny],
                Volatility::Stable,
            ),
            result,
            body,
        }
    }

    /// With constants after the first argument as arrays of one value.
    fn with_constants(mut self) -> Self {
        self.short_constants = true;
        self
    }

    /// With NULL arguments passed on.
    fn takes_nulls(mut self) -> Self {
        self.strict = false;
        self
    }

    /// With the first argument's Arrow type as the result's, and no SQL type.
    fn without_type(mut self) -> Self {
        self.untyped = true;
        self
    }

    /// With texts that meet in one collation; error 468 if they do not.
    fn meeting(mut self) -> Self {
        self.meets = true;
        self
    }

    /// With a result type that depends on the arguments' types.
    fn returning(mut self, result: impl Fn(&[SqlType]) -> SqlType + Send + Sync + 'static) -> Self {
        self.result = Arc::new(move |types, _| Ok(result(types)));
        self
    }

    fn check_arguments(&self, count: usize) -> std::result::Result<(), ServerError> {
        let (least, most) = self.arguments;
        if (least..=most).contains(&count) {
            return Ok(());
        }
        let expected = if least == most {
            format!("{least} argument(s)")
        } else {
            format!("{least} to {most} arguments")
        };
        Err(ServerError::new(
            174,
            format!("The {} function requires {expected}.", self.name),
        ))
    }

    fn evaluate(
        &self,
        arrays: &[ArrayRef],
        types: &[Typed],
        result: Typed,
        rows: usize,
    ) -> std::result::Result<ArrayRef, ServerError> {
        if interrupted() {
            return Err(stopped());
        }
        let body = match &self.body {
            Body::Arrays(body) => {
                let types: Vec<SqlType> = types.iter().map(|typed| typed.sql_type).collect();
                return body(arrays, &types, result.sql_type);
            }
            Body::Typed(body) => return body(arrays, types, result),
            Body::Rows(body) => body,
        };
        let values = each_row(arrays, rows, self.strict, |arguments| body(arguments))?;
        array_of(result.sql_type, values)
    }
}

/// What a function computes of each row. With `strict`, any NULL gives NULL.
fn each_row(
    arrays: &[ArrayRef],
    rows: usize,
    strict: bool,
    mut compute: impl FnMut(&[Value]) -> std::result::Result<Value, ServerError>,
) -> std::result::Result<Vec<Value>, ServerError> {
    let columns = arrays
        .iter()
        .map(values_of)
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let mut arguments = Vec::with_capacity(columns.len());
    let mut bytes = 0;
    (0..rows)
        .map(|row| {
            arguments.clear();
            arguments.extend(columns.iter().map(|column| column[row].clone()));
            if strict && arguments.iter().any(Value::is_null) {
                return Ok(Value::Null);
            }
            let value = compute(&arguments)?;
            bytes += value.bytes();
            if bytes > BATCH_BYTES || interrupted() {
                return Err(too_much());
            }
            Ok(value)
        })
        .collect()
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Within one plan a name means one function.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// A server error on its way through DataFusion.
pub(super) fn external(error: ServerError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(external(ServerError::unsupported(format!(
            "{} without its arguments",
            self.name
        ))))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.check_arguments(args.arg_fields.len())
            .map_err(external)?;
        if self.untyped {
            let form = args.arg_fields[0].data_type().clone();
            return Ok(Arc::new(Field::new(&self.name, form, true)));
        }
        let types: Vec<SqlType> = args.arg_fields.iter().map(|f| sql_type_of(f)).collect();
        let result = (self.result)(&types, args.scalar_arguments).map_err(external)?;
        if self.meets {
            meeting_collation(&self.name, args.arg_fields).map_err(external)?;
        }
        let typed: Field = field(&self.name, result, true, false);
        if !result.is_text() {
            return Ok(Arc::new(typed));
        }
        let (collation, label) = result_collation(&args).map_err(external)?;
        Ok(Arc::new(with_label(typed, collation, label)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args
            .args
            .iter()
            .all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arrays = args
            .args
            .iter()
            .enumerate()
            .map(|(at, argument)| match argument {
                ColumnarValue::Scalar(_) if self.short_constants && at > 0 => argument.to_array(1),
                _ => argument.to_array(rows),
            })
            .collect::<Result<Vec<_>>>()?;
        let mut types: Vec<Typed> = args.arg_fields.iter().map(|f| typed_of(f)).collect();
        if self.meets {
            let met = meeting_collation(&self.name, &args.arg_fields).map_err(external)?;
            for typed in &mut types {
                typed.collation = met.unwrap_or(typed.collation);
            }
        }
        let result = typed_of(&args.return_field);
        let array = self
            .evaluate(&arrays, &types, result, rows)
            .map_err(external)?;
        if scalar {
            return ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(array))
    }
}

/// The text of an argument that must be a literal.
fn literal_text(arguments: &[Option<&ScalarValue>], at: usize) -> Option<String> {
    match arguments.get(at).copied().flatten()? {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.clone()
        }
        _ => None,
    }
}

/// The type that an argument names, which must be a literal.
fn literal_type(
    arguments: &[Option<&ScalarValue>],
    at: usize,
) -> std::result::Result<SqlType, ServerError> {
    let name = literal_text(arguments, at).unwrap_or_default();
    let name = name
        .split_once(COLLATE)
        .map_or(name.as_str(), |(name, _)| name);
    SqlType::parse(name, DefaultLength::Cast).ok_or_else(|| ServerError::unknown_type(name))
}

/// The type of a call that states it in an argument. Nothing below it needs to be looked at, which would
/// take a time that grows with the square of the length of a sum.
pub(super) fn stated_type(expr: &Expr) -> Option<SqlType> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    let at = match call.func.name() {
        ARITHMETIC => 3,
        CONCATENATE => 2,
        CAST | TRY_CAST => 1,
        _ => return None,
    };
    match call.args.get(at)? {
        Expr::Literal(name, _) => literal_type(&[Some(name)], 0).ok(),
        _ => None,
    }
}
