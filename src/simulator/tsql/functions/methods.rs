//! Methods and properties of the types of .NET, and SQL_VARIANT_PROPERTY.

use datafusion::arrow::array::ArrayRef;

use super::Function;
use crate::simulator::protocol::{Length, ServerError, SqlType, Udt};
use crate::simulator::types::{
    Mode, Typed, Value, array_of, convert_array, convert_value, spatial, values_of,
};

/// `value.ToString()`.
const TO_STRING: &str = "__tostring";
/// `value.STSrid`.
const SRID: &str = "__stsrid";
/// `value.AsBinaryZM()`.
const SHAPE: &str = "__asbinaryzm";

/// `default()` of a value, for who may not see it.
pub(crate) const MASK: &str = "__mask";

/// The function that a method or a property with a name in lower case is.
pub(crate) fn method(name: &str, property: bool) -> Option<&'static str> {
    match (name, property) {
        ("tostring", false) => Some(TO_STRING),
        ("asbinaryzm", false) => Some(SHAPE),
        ("stsrid", true) => Some(SRID),
        _ => None,
    }
}

pub(super) fn function(name: &str) -> Option<Function> {
    let path = SqlType::NVarChar(Length::Limited(4000));
    Some(match name {
        TO_STRING => Function::typed(
            TO_STRING,
            (1, 1),
            move |types, _| match types {
                [SqlType::Udt(Udt::HierarchyId)] => Ok(path),
                [SqlType::Udt(_)] => Err(ServerError::unsupported("ToString of places")),
                _ => Err(no_methods(types)),
            },
            |arrays, types, to| convert_array(&arrays[0], types[0], to, 0, Mode::Cast),
        ),
        SRID => of_places(SRID, SqlType::Int, |bytes, udt| {
            let srid = spatial::srid(bytes).ok_or_else(|| unknown_form(udt))?;
            Ok(Value::Int(srid.into()))
        }),
        SHAPE => of_places(SHAPE, SqlType::VarBinary(Length::Max), |bytes, udt| {
            let shape = spatial::well_known(bytes, udt == Udt::Geography);
            shape.map(Value::Bytes).ok_or_else(|| unknown_form(udt))
        }),
        MASK => Function::typed(
            MASK,
            (1, 1),
            |types, _| {
                let first = types.first().copied().unwrap_or(SqlType::Int);
                mask_of(first).map(|_| first)
            },
            |arrays, types, to| {
                let (mask, of) = mask_of(to.sql_type)?;
                let mask = convert_value(mask, of, types[0], 0, Mode::Cast)?;
                let values = values_of(&arrays[0])?.into_iter().map(|value| match value {
                    Value::Null => Value::Null,
                    _ => mask.clone(),
                });
                array_of(to.sql_type, values)
            },
        ),
        "sql_variant_property" => Function::typed(
            name,
            (2, 2),
            |_, _| Ok(SqlType::SqlVariant),
            |arrays, types, to| properties(arrays, types[0], to),
        ),
        _ => return None,
    })
}

/// What `default()` shows of a type, and the type of that; error 40510 where that is not known here.
fn mask_of(sql_type: SqlType) -> Result<(Value, SqlType), ServerError> {
    let xs = |length: u16| {
        let text = Value::from("x".repeat(length.min(4).into()));
        (text, SqlType::VarChar(Length::Limited(4)))
    };
    Ok(match sql_type {
        SqlType::Char(n) | SqlType::NChar(n) => xs(n),
        SqlType::VarChar(Length::Limited(n)) | SqlType::NVarChar(Length::Limited(n)) => xs(n),
        SqlType::VarChar(Length::Max) | SqlType::NVarChar(Length::Max) => xs(4),
        SqlType::Bit
        | SqlType::TinyInt
        | SqlType::SmallInt
        | SqlType::Int
        | SqlType::BigInt
        | SqlType::Real
        | SqlType::Float
        | SqlType::Decimal { .. }
        | SqlType::Money
        | SqlType::SmallMoney => (Value::Int(0), SqlType::Int),
        SqlType::Date
        | SqlType::SmallDateTime
        | SqlType::DateTime
        | SqlType::DateTime2(_)
        | SqlType::DateTimeOffset(_) => {
            let text = Value::from("1900-01-01");
            (text, SqlType::VarChar(Length::Limited(10)))
        }
        other => {
            let what = format!("the mask of {}", other.declared());
            return Err(ServerError::unsupported(what));
        }
    })
}

/// Error 258.
fn no_methods(types: &[SqlType]) -> ServerError {
    let name = types.first().map_or("", SqlType::base_name);
    ServerError::new(258, format!("Cannot call methods on {name}."))
}

fn unknown_form(udt: Udt) -> ServerError {
    ServerError::unsupported(format!("curves and other forms of {}", udt.name()))
}

/// A function of one `geometry` or `geography`.
fn of_places(
    name: &str,
    result: SqlType,
    compute: fn(&[u8], Udt) -> Result<Value, ServerError>,
) -> Function {
    Function::typed(
        name,
        (1, 1),
        move |types, _| match types {
            [SqlType::Udt(Udt::Geometry | Udt::Geography)] => Ok(result),
            _ => Err(no_methods(types)),
        },
        move |arrays, types, to| {
            let SqlType::Udt(udt) = types[0].sql_type else {
                return Err(no_methods(&[types[0].sql_type]));
            };
            let values = values_of(&arrays[0])?.into_iter().map(|value| match value {
                Value::Bytes(bytes) => compute(&bytes, udt),
                _ => Ok(Value::Null),
            });
            array_of(to.sql_type, values.collect::<Result<Vec<_>, _>>()?)
        },
    )
}

/// `SQL_VARIANT_PROPERTY(value, property)`; an unknown property is NULL.
fn properties(arrays: &[ArrayRef], of: Typed, to: Typed) -> Result<ArrayRef, ServerError> {
    let values = values_of(&arrays[0])?;
    let names = values_of(&arrays[1])?;
    let found = values.into_iter().zip(names).map(|(value, name)| {
        let variant = convert_value(value, of, SqlType::SqlVariant, 0, Mode::Cast)?;
        match (variant, name.as_text()) {
            (Value::Variant(inner), Some(name)) => property(inner.0, name),
            _ => Ok(Value::Null),
        }
    });
    array_of(to.sql_type, found.collect::<Result<Vec<_>, _>>()?)
}

fn property(of: Typed, name: &str) -> Result<Value, ServerError> {
    let text = |text: String| (SqlType::NVarChar(Length::Limited(128)), Value::from(text));
    let int = |int: i64| (SqlType::Int, Value::Int(int));
    let (sql_type, value) = match name.to_lowercase().as_str() {
        "basetype" => text(of.sql_type.base_name().to_owned()),
        "precision" => int(of.sql_type.precision().into()),
        "scale" => int(of.sql_type.scale().into()),
        "maxlength" => int(of.sql_type.max_length().into()),
        "collation" if of.sql_type.is_text() => text(of.collation.to_string()),
        "totalbytes" => return Err(ServerError::unsupported("the total bytes of a sql_variant")),
        _ => return Ok(Value::Null),
    };
    Ok(Value::Variant(Box::new((sql_type.into(), value))))
}
