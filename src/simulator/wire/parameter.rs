//! Parameters of a remote procedure call: TYPE_INFO and a value, into Arrow.

use crate::simulator::protocol::{Collation, Length, Parameter, ServerError, SqlType, Udt};

use super::error::WireError;
use super::reader::Reader;
use super::scalar;
use super::type_info as t;

const OUTPUT: u8 = 0x01;
const DEFAULT: u8 = 0x02;

const PRECISION_MAX: u8 = 38;
const TIME_SCALE_MAX: u8 = 7;
/// Bytes of the longest value that is not `(max)`.
const LENGTH_MAX: u16 = 8000;
/// Fields of a GUID, and the type's only length but zero.
const NULL_SHORT: u16 = 0xffff;
const NULL_LONG: u32 = 0xffff_ffff;
const NULL_CHUNKS: u64 = 0xffff_ffff_ffff_ffff;
const UNKNOWN_CHUNKS: u64 = 0xffff_ffff_ffff_fffe;

/// Why a call cannot be made.
#[derive(Debug)]
pub(super) enum CallError {
    /// It is not TDS.
    Wire(WireError),
    /// It is, and the server says no; the connection lives on.
    Refused(ServerError),
}

impl From<WireError> for CallError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// How a value's length stands in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// There is no value.
    Nothing,
    /// The type says it.
    Bare(usize),
    /// One byte; zero is NULL.
    Byte,
    /// Two bytes; the value has this many at most.
    Short(u16),
    /// Four bytes.
    Long,
    /// Four bytes; zero is NULL.
    Variant,
    /// Chunks, each after its length.
    Chunks,
}

/// A parameter's type on the wire.
#[derive(Debug, Clone, Copy)]
struct WireType {
    sql_type: SqlType,
    layout: Layout,
    collation: Collation,
}

impl WireType {
    fn new(sql_type: SqlType, layout: Layout) -> Self {
        Self {
            sql_type,
            layout,
            collation: Collation::SERVER,
        }
    }
}

/// Reads one parameter, and whether it is to have the procedure's default; `ordinal` counts from 1.
pub(super) fn decode(
    call: &mut Reader<'_>,
    ordinal: usize,
) -> Result<(Parameter, bool), CallError> {
    let name = call.b_varchar()?;
    let status = call.u8()?;
    let token = call.u8()?;
    let Some(wire_type) = decode_type(call, token)? else {
        return Err(CallError::Refused(unknown_type(ordinal, &name, token)));
    };
    let value = value_bytes(call, wire_type.layout)?;
    let value = value.as_deref().filter(|_| status & DEFAULT == 0);
    if let (Layout::Short(longest), Some(value)) = (wire_type.layout, value)
        && value.len() > usize::from(longest)
    {
        return Err(CallError::Refused(invalid_value(ordinal, &name)));
    }
    let sql_type = wire_type.sql_type;
    let Some(value) = scalar::decode(sql_type, wire_type.collation, value) else {
        return Err(CallError::Refused(invalid_value(ordinal, &name)));
    };
    let parameter = Parameter {
        name,
        sql_type,
        value,
        output: status & OUTPUT != 0,
    };
    Ok((parameter, status & DEFAULT != 0))
}

/// Reads what follows the type's token; `None` for a type that the server does not take.
fn decode_type(call: &mut Reader<'_>, token: u8) -> Result<Option<WireType>, WireError> {
    let (sql_type, layout) = match token {
        t::NULL => (SqlType::NVarChar(Length::Limited(1)), Layout::Nothing),
        t::TINYINT => (SqlType::TinyInt, Layout::Bare(1)),
        t::BIT => (SqlType::Bit, Layout::Bare(1)),
        t::SMALLINT => (SqlType::SmallInt, Layout::Bare(2)),
        t::INT => (SqlType::Int, Layout::Bare(4)),
        t::BIGINT => (SqlType::BigInt, Layout::Bare(8)),
        t::REAL => (SqlType::Real, Layout::Bare(4)),
        t::FLOAT => (SqlType::Float, Layout::Bare(8)),
        t::MONEY => (SqlType::Money, Layout::Bare(8)),
        t::SMALLMONEY => (SqlType::SmallMoney, Layout::Bare(4)),
        t::DATETIME => (SqlType::DateTime, Layout::Bare(8)),
        t::SMALLDATETIME => (SqlType::SmallDateTime, Layout::Bare(4)),
        t::DATE => (SqlType::Date, Layout::Byte),
        t::INTN | t::BITN | t::FLTN | t::MONEYN | t::DATETIMN | t::GUID => {
            (sized_type(call, token)?, Layout::Byte)
        }
        t::DECIMALN | t::NUMERICN => (decimal_type(call)?, Layout::Byte),
        t::TIME => (SqlType::Time(time_scale(call)?), Layout::Byte),
        t::DATETIME2 => (SqlType::DateTime2(time_scale(call)?), Layout::Byte),
        t::DATETIMEOFFSET => (SqlType::DateTimeOffset(time_scale(call)?), Layout::Byte),
        t::BIGVARBINARY | t::BIGBINARY | t::BIGVARCHAR | t::BIGCHAR | t::NVARCHAR | t::NCHAR => {
            return variable_type(call, token);
        }
        t::TEXT | t::NTEXT | t::IMAGE => return long_type(call, token).map(Some),
        t::XML => return xml_type(call).map(Some),
        t::VARIANT => {
            let _longest = call.u32()?;
            (SqlType::SqlVariant, Layout::Variant)
        }
        t::UDT => return udt_type(call),
        _ => return Ok(None),
    };
    Ok(Some(WireType::new(sql_type, layout)))
}

fn sized_type(call: &mut Reader<'_>, token: u8) -> Result<SqlType, WireError> {
    Ok(match (token, call.u8()?) {
        (t::BITN, 1) => SqlType::Bit,
        (t::INTN, 1) => SqlType::TinyInt,
        (t::INTN, 2) => SqlType::SmallInt,
        (t::INTN, 4) => SqlType::Int,
        (t::INTN, 8) => SqlType::BigInt,
        (t::FLTN, 4) => SqlType::Real,
        (t::FLTN, 8) => SqlType::Float,
        (t::MONEYN, 4) => SqlType::SmallMoney,
        (t::MONEYN, 8) => SqlType::Money,
        (t::DATETIMN, 4) => SqlType::SmallDateTime,
        (t::DATETIMN, 8) => SqlType::DateTime,
        (t::GUID, 16) => SqlType::UniqueIdentifier,
        _ => return Err(call.malformed("a type has a length it cannot have")),
    })
}

fn decimal_type(call: &mut Reader<'_>) -> Result<SqlType, WireError> {
    let _length = call.u8()?;
    let (precision, scale) = (call.u8()?, call.u8()?);
    if !(1..=PRECISION_MAX).contains(&precision) || scale > precision {
        return Err(call.malformed("a decimal has a precision it cannot have"));
    }
    Ok(SqlType::Decimal { precision, scale })
}

fn time_scale(call: &mut Reader<'_>) -> Result<u8, WireError> {
    let scale = call.u8()?;
    if scale > TIME_SCALE_MAX {
        return Err(call.malformed("a time has a scale it cannot have"));
    }
    Ok(scale)
}

/// A type with a length of its own; `None` for a length that no type has.
fn variable_type(call: &mut Reader<'_>, token: u8) -> Result<Option<WireType>, WireError> {
    let bytes = call.u16()?;
    if (LENGTH_MAX + 1..t::MAX).contains(&bytes) {
        return Ok(None);
    }
    let length = if bytes == t::MAX {
        Length::Max
    } else {
        Length::Limited(bytes.max(1))
    };
    let units = if bytes == t::MAX {
        Length::Max
    } else {
        Length::Limited(bytes.div_ceil(2).max(1))
    };
    let sql_type = match (token, length) {
        (t::BIGBINARY, Length::Limited(bytes)) => SqlType::Binary(bytes),
        (t::BIGCHAR, Length::Limited(bytes)) => SqlType::Char(bytes),
        (t::NCHAR, Length::Limited(bytes)) => SqlType::NChar(bytes.div_ceil(2)),
        (t::BIGVARBINARY | t::BIGBINARY, length) => SqlType::VarBinary(length),
        (t::BIGVARCHAR | t::BIGCHAR, length) => SqlType::VarChar(length),
        _ => SqlType::NVarChar(units),
    };
    let layout = match length {
        Length::Max => Layout::Chunks,
        Length::Limited(bytes) => Layout::Short(bytes),
    };
    let mut wire_type = WireType::new(sql_type, layout);
    if !matches!(token, t::BIGVARBINARY | t::BIGBINARY) {
        wire_type.collation = collation(call)?;
    }
    Ok(Some(wire_type))
}

fn long_type(call: &mut Reader<'_>, token: u8) -> Result<WireType, WireError> {
    let _longest = call.u32()?;
    let sql_type = match token {
        t::TEXT => SqlType::Text,
        t::NTEXT => SqlType::NText,
        _ => SqlType::Image,
    };
    let mut wire_type = WireType::new(sql_type, Layout::Long);
    if token != t::IMAGE {
        wire_type.collation = collation(call)?;
    }
    Ok(wire_type)
}

fn xml_type(call: &mut Reader<'_>) -> Result<WireType, WireError> {
    if call.u8()? != 0 {
        let (_database, _owner) = (call.b_varchar()?, call.b_varchar()?);
        let _collection = call.us_varchar()?;
    }
    Ok(WireType::new(SqlType::Xml, Layout::Chunks))
}

/// A CLR type by its name; `None` for those that the server lacks.
fn udt_type(call: &mut Reader<'_>) -> Result<Option<WireType>, WireError> {
    let (_database, _schema, name) = (call.b_varchar()?, call.b_varchar()?, call.b_varchar()?);
    let known = [Udt::HierarchyId, Udt::Geometry, Udt::Geography];
    let udt = known
        .into_iter()
        .find(|udt| udt.name().eq_ignore_ascii_case(&name));
    Ok(udt.map(|udt| WireType::new(SqlType::Udt(udt), Layout::Chunks)))
}

/// The five bytes of a collation.
fn collation(call: &mut Reader<'_>) -> Result<Collation, WireError> {
    let bytes = call.bytes(5)?;
    let bytes = std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0));
    Ok(Collation::of_bytes(bytes))
}

/// The value's bytes; `None` for NULL.
fn value_bytes<'a>(
    call: &mut Reader<'a>,
    layout: Layout,
) -> Result<Option<std::borrow::Cow<'a, [u8]>>, WireError> {
    let length = match layout {
        Layout::Nothing => return Ok(None),
        Layout::Chunks => return Ok(chunks(call)?.map(Into::into)),
        Layout::Bare(length) => Some(length),
        Layout::Byte => Some(usize::from(call.u8()?)).filter(|length| *length > 0),
        Layout::Short(_) => Some(call.u16()?)
            .filter(|length| *length != NULL_SHORT)
            .map(usize::from),
        Layout::Variant => Some(call.u32()?)
            .filter(|length| *length != 0)
            .map(|length| length as usize),
        Layout::Long => Some(call.u32()?)
            .filter(|length| *length != NULL_LONG)
            .map(|length| length as usize),
    };
    match length {
        Some(length) => Ok(Some(call.bytes(length)?.into())),
        None => Ok(None),
    }
}

/// The chunks of a `(max)` value, joined. Never longer than the message they are in.
fn chunks(call: &mut Reader<'_>) -> Result<Option<Vec<u8>>, WireError> {
    let total = call.u64()?;
    if total == NULL_CHUNKS {
        return Ok(None);
    }
    let mut value = Vec::new();
    loop {
        let length = call.u32()? as usize;
        if length == 0 {
            break;
        }
        value.extend_from_slice(call.bytes(length)?);
    }
    if total != UNKNOWN_CHUNKS && total != value.len() as u64 {
        return Err(call.malformed("a value's chunks are not as long as it"));
    }
    Ok(Some(value))
}

fn unknown_type(ordinal: usize, name: &str, token: u8) -> ServerError {
    stream_error(
        8009,
        ordinal,
        name,
        &format!("Data type 0x{token:02X} is unknown."),
    )
}

fn invalid_value(ordinal: usize, name: &str) -> ServerError {
    stream_error(
        8023,
        ordinal,
        name,
        "The supplied value is not a valid instance of its data type. Check the source data for invalid values.",
    )
}

fn stream_error(number: u32, ordinal: usize, name: &str, problem: &str) -> ServerError {
    ServerError {
        number,
        severity: 16,
        state: 1,
        line: 1,
        message: format!(
            "The incoming tabular data stream (TDS) remote procedure call (RPC) protocol stream is \
             incorrect. Parameter {ordinal} (\"{name}\"): {problem}"
        ),
    }
}
