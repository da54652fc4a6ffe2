//! What a column is compared with: literals as the column's own type has them.

use datafusion::common::ScalarValue;
use tiberius::ColumnData;

use super::super::catalogue::SourceColumn;
use super::super::encode;
use super::super::ident::quote;
use super::super::types::SqlType;
use super::ALIAS;
use super::text;

const ROWVERSION: &str = "rowversion";

/// A binary literal that is bound as `varbinary(8000)`.
const MAX_BYTES: usize = 8_000;

/// A column, the type that its parameters are cast to, and the literals it is compared with.
#[derive(Debug)]
pub(super) struct Comparand {
    /// The expression of the column.
    pub(super) column: String,
    /// Its type, as `CAST` writes it.
    pub(super) cast: String,
    /// What gives text its code page: a parameter has the database's.
    pub(super) parameter_collation: Option<String>,
    pub(super) operands: Vec<Operand>,
}

impl Comparand {
    pub(super) fn new(column: String, cast: &str, operands: Vec<Operand>) -> Self {
        Self {
            column,
            cast: cast.to_string(),
            parameter_collation: None,
            operands,
        }
    }

    /// The parameter of this name as the column's type has it.
    pub(super) fn cast(&self, parameter: &str) -> String {
        let collate = self.parameter_collation.iter();
        let collate = collate.map(|name| format!(" COLLATE {name}"));
        let collate = collate.collect::<String>();
        format!("CAST({parameter}{collate} AS {})", self.cast)
    }
}

/// A literal in terms of the values that the server has.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// One value reads as the literal, and the server tells it from all others; `ordered` where it also orders
    /// them as this engine does.
    Exact {
        value: ColumnData<'static>,
        ordered: bool,
    },
    /// The values from the first up to, but without, the second read as the literal.
    Span(ColumnData<'static>, ColumnData<'static>),
    /// No value reads as the literal: these are the last one before it and the first one after it, if any.
    Gap(Option<ColumnData<'static>>, Option<ColumnData<'static>>),
    /// The server compares more coarsely. Values equal to the literal are equal to `equal`, or else lie between
    /// the bounds; those not below it are not below `from`, and those not above it not above `upto`.
    Superset {
        equal: Option<ColumnData<'static>>,
        from: Option<ColumnData<'static>>,
        upto: Option<ColumnData<'static>>,
    },
}

impl Operand {
    fn ordered(value: ColumnData<'static>) -> Self {
        Self::Exact {
            value,
            ordered: true,
        }
    }

    pub(super) fn coarse(value: ColumnData<'static>) -> Self {
        Self::Superset {
            equal: Some(value.clone()),
            from: Some(value.clone()),
            upto: Some(value),
        }
    }
}

/// `column` and what it is compared with; `None` where a literal has no value of the column's type, or where
/// the server compares in another way. `in_order` says that more than equality is asked for.
pub(super) fn comparand(
    column: &SourceColumn,
    literals: &[&ScalarValue],
    in_order: bool,
) -> Option<Comparand> {
    if let SqlType::Text { .. } = column.sql_type {
        return text::comparand(column, literals, in_order);
    }
    let operands = literals
        .iter()
        .map(|literal| operand(&column.sql_type, literal));
    let operands = operands.collect::<Option<_>>()?;
    Some(Comparand::new(
        name(column),
        &cast(&column.sql_type),
        operands,
    ))
}

/// `column`, made a double by this engine, and what it is compared with.
pub(super) fn as_double(column: &SourceColumn, literal: &ScalarValue) -> Option<Comparand> {
    let &ScalarValue::Float64(Some(value)) = literal else {
        return None;
    };
    let (column_sql, sql_type, operand) = match &column.sql_type {
        SqlType::Real => {
            let column_sql = format!("CAST({} AS float)", name(column));
            (column_sql, &SqlType::Float, double(value)?)
        }
        exact => (name(column), exact, around(exact, value)?),
    };
    Some(Comparand::new(column_sql, &cast(sql_type), vec![operand]))
}

pub(super) fn name(column: &SourceColumn) -> String {
    format!("{ALIAS}.{}", quote(&column.name))
}

/// A type as `CAST` writes it; a `rowversion` is compared with its eight bytes.
fn cast(sql_type: &SqlType) -> String {
    match sql_type {
        SqlType::Binary { name, .. } if name == ROWVERSION => "binary(8)".to_string(),
        _ => sql_type.to_string(),
    }
}

fn operand(sql_type: &SqlType, literal: &ScalarValue) -> Option<Operand> {
    match (sql_type, literal) {
        (SqlType::Bit, ScalarValue::Boolean(Some(value))) => {
            Some(Operand::ordered(ColumnData::Bit(Some(*value))))
        }
        (SqlType::TinyInt | SqlType::SmallInt, ScalarValue::Int16(Some(value))) => {
            number(sql_type, i128::from(*value))
        }
        (SqlType::Int, ScalarValue::Int32(Some(value))) => number(sql_type, i128::from(*value)),
        (SqlType::BigInt, ScalarValue::Int64(Some(value))) => number(sql_type, i128::from(*value)),
        (SqlType::Real, ScalarValue::Float32(Some(value))) => real(*value),
        (SqlType::Float, ScalarValue::Float64(Some(value))) => double(*value),
        (
            SqlType::Decimal { .. } | SqlType::Money | SqlType::SmallMoney,
            ScalarValue::Decimal128(Some(value), _, scale),
        ) if i128::from(*scale) == i128::from(scale_of(sql_type)) => number(sql_type, *value),
        (SqlType::Date, ScalarValue::Date32(Some(days))) => {
            encode::date(i64::from(*days)).map(Operand::ordered)
        }
        (
            SqlType::SmallDateTime | SqlType::DateTime | SqlType::DateTime2(_),
            ScalarValue::TimestampMicrosecond(Some(micros), None),
        )
        | (SqlType::DateTimeOffset(_), ScalarValue::TimestampMicrosecond(Some(micros), Some(_))) => {
            point_in_time(sql_type, *micros)
        }
        (SqlType::Time(scale), literal) => time(*scale, literal.try_as_str()??),
        (SqlType::UniqueIdentifier, literal) => identifier(literal.try_as_str()??),
        (SqlType::Binary { name, .. }, ScalarValue::Binary(Some(bytes))) => binary(name, bytes),
        _ => None,
    }
}

/// How many decimals a number's type has.
fn scale_of(sql_type: &SqlType) -> u8 {
    match sql_type {
        SqlType::Decimal { scale, .. } => scale.unsigned_abs(),
        SqlType::Money | SqlType::SmallMoney => 4,
        _ => 0,
    }
}

/// A number of whole units of the type's last decimal, bound as a `bigint` or as text, so that all literals of
/// a column declare the same parameter.
fn number(sql_type: &SqlType, units: i128) -> Option<Operand> {
    unit_value(sql_type, units).map(Operand::ordered)
}

fn unit_value(sql_type: &SqlType, units: i128) -> Option<ColumnData<'static>> {
    let (least, most) = match sql_type {
        SqlType::TinyInt => (0, i128::from(u8::MAX)),
        SqlType::SmallInt => (i128::from(i16::MIN), i128::from(i16::MAX)),
        SqlType::Int | SqlType::SmallMoney => (i128::from(i32::MIN), i128::from(i32::MAX)),
        SqlType::BigInt | SqlType::Money => (i128::from(i64::MIN), i128::from(i64::MAX)),
        SqlType::Decimal { precision, .. } => {
            let most = 10_i128.checked_pow(u32::from(*precision))? - 1;
            (-most, most)
        }
        _ => return None,
    };
    if !(least..=most).contains(&units) {
        return None;
    }
    match sql_type {
        SqlType::Decimal { .. } | SqlType::Money | SqlType::SmallMoney => {
            Some(encode::text(&decimal_text(units, scale_of(sql_type))))
        }
        _ => Some(ColumnData::I64(Some(i64::try_from(units).ok()?))),
    }
}

fn decimal_text(units: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, decimals) = digits.split_at(digits.len() - scale);
    let sign = if units < 0 { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{decimals}")
}

/// This engine tells the two zeros apart, the server does not; it has neither infinities nor what is no number,
/// and may not take the smallest fractions.
fn double(value: f64) -> Option<Operand> {
    if value == 0.0 {
        Some(Operand::coarse(ColumnData::F64(Some(0.0))))
    } else {
        let ordered = || Operand::ordered(ColumnData::F64(Some(value)));
        value.is_normal().then(ordered)
    }
}

fn real(value: f32) -> Option<Operand> {
    if value == 0.0 {
        Some(Operand::coarse(ColumnData::F32(Some(0.0))))
    } else {
        let ordered = || Operand::ordered(ColumnData::F32(Some(value)));
        value.is_normal().then(ordered)
    }
}

/// An exact number that this engine compares as a double: bounds around the literal, wider by far than what is
/// lost on the way to a double.
fn around(sql_type: &SqlType, value: f64) -> Option<Operand> {
    /// Beyond every `decimal(38)`, and within an `i128`.
    const MOST_UNITS: f64 = 1e38;
    let units = value * 10_f64.powi(i32::from(scale_of(sql_type)));
    let slack = units.abs() * 1e-12 + 1.0;
    let (least, most) = ((units - slack).floor(), (units + slack).ceil());
    if !(least > -MOST_UNITS && most < MOST_UNITS) {
        return None;
    }
    Some(Operand::Superset {
        equal: None,
        from: Some(unit_value(sql_type, least as i128)?),
        upto: Some(unit_value(sql_type, most as i128)?),
    })
}

fn point_in_time(sql_type: &SqlType, micros: i64) -> Option<Operand> {
    match sql_type {
        SqlType::SmallDateTime => in_steps(60_000_000, micros, encode::small_datetime),
        SqlType::DateTime => {
            let (before, after) = encode::datetimes_around(micros)?;
            at_or_between(before, after, micros, encode::datetime)
        }
        SqlType::DateTime2(scale) => scaled(*scale, micros, encode::datetime2),
        SqlType::DateTimeOffset(scale) => scaled(*scale, micros, encode::datetimeoffset),
        _ => None,
    }
}

/// The value of microseconds since 1970 in some type.
type Encode = fn(i64) -> Option<ColumnData<'static>>;

/// A literal for a type with `scale` decimals of a second. The seventh is cut off where it is read, so that ten
/// values read alike.
fn scaled(scale: u8, micros: i64, encode: Encode) -> Option<Operand> {
    if scale > 6 {
        return Some(Operand::Span(
            encode(micros)?,
            encode(micros.checked_add(1)?)?,
        ));
    }
    let step = 10_i64.checked_pow(6 - u32::from(scale))?;
    in_steps(step, micros, encode)
}

/// A literal for a type whose values are `step` microseconds apart.
fn in_steps(step: i64, micros: i64, encode: Encode) -> Option<Operand> {
    let before = micros.checked_sub(micros.rem_euclid(step))?;
    at_or_between(before, before.checked_add(step)?, micros, encode)
}

/// `before`, and `after` behind it, are neighbours, of which the first is not above `micros`.
fn at_or_between(before: i64, after: i64, micros: i64, encode: Encode) -> Option<Operand> {
    if before == micros {
        encode(micros).map(Operand::ordered)
    } else {
        Some(Operand::Gap(encode(before), encode(after)))
    }
}

/// A time of day just as it is read: such texts have the order of the times.
fn time(scale: u8, text: &str) -> Option<Operand> {
    let scale = usize::from(scale);
    let length = if scale == 0 { 8 } else { 9 + scale };
    let bytes = text.as_bytes();
    let shaped = bytes.iter().enumerate().all(|(at, byte)| match at {
        2 | 5 => *byte == b':',
        8 => *byte == b'.',
        _ => byte.is_ascii_digit(),
    });
    let within = |at: usize, most: &str| text.get(at..at + 2).is_some_and(|part| part <= most);
    let valid =
        bytes.len() == length && shaped && within(0, "23") && within(3, "59") && within(6, "59");
    valid.then(|| Operand::ordered(encode::text(text)))
}

/// An identifier just as it is read. The server orders them by their last group.
fn identifier(text: &str) -> Option<Operand> {
    let shaped = text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    });
    (text.len() == 36 && shaped).then(|| Operand::Exact {
        value: encode::text(text),
        ordered: false,
    })
}

/// The server compares binary values of unequal length as if the shorter one went on in zeros.
fn binary(name: &str, bytes: &[u8]) -> Option<Operand> {
    let (base, length) = match text::declared(name)? {
        (ROWVERSION, _) => ("binary", Some(8)),
        declared => declared,
    };
    let fits = bytes.len() <= length.unwrap_or(MAX_BYTES).min(MAX_BYTES);
    match base {
        "binary" if length == Some(bytes.len()) => Some(Operand::ordered(encode::bytes(bytes))),
        "binary" | "varbinary" if fits => Some(Operand::coarse(encode::bytes(bytes))),
        _ => None,
    }
}
