//! `sp_datatype_info`: the types that a column may have, in ODBC's words.

use super::{NAME, Procedure, Rows, sort_by};
use crate::simulator::capture::Arguments;
use crate::simulator::protocol::{Length, ServerError, SqlType};
use crate::simulator::store::State;
use crate::simulator::tsql::scope::Scope;
use crate::simulator::tsql::system::Columns;
use crate::simulator::types::Value;

const PARAMETERS: &[&str] = &["data_type", "ODBCVer"];

pub(super) const PROCEDURES: &[Procedure] = &[
    Procedure {
        name: "sp_datatype_info",
        parameters: PARAMETERS,
        columns: TYPES,
        rows: |_, _, arguments| types(arguments, false),
    },
    Procedure {
        name: "sp_datatype_info_100",
        parameters: PARAMETERS,
        columns: TYPES,
        rows: types_100,
    },
];

const SHORT: SqlType = SqlType::VarChar(Length::Limited(32));

const TYPES: Columns = &[
    ("TYPE_NAME", NAME, false),
    ("DATA_TYPE", SqlType::SmallInt, false),
    ("PRECISION", SqlType::Int, true),
    ("LITERAL_PREFIX", SHORT, true),
    ("LITERAL_SUFFIX", SHORT, true),
    ("CREATE_PARAMS", SHORT, true),
    ("NULLABLE", SqlType::SmallInt, false),
    ("CASE_SENSITIVE", SqlType::SmallInt, false),
    ("SEARCHABLE", SqlType::SmallInt, false),
    ("UNSIGNED_ATTRIBUTE", SqlType::SmallInt, true),
    ("MONEY", SqlType::SmallInt, false),
    ("AUTO_INCREMENT", SqlType::SmallInt, true),
    ("LOCAL_TYPE_NAME", NAME, true),
    ("MINIMUM_SCALE", SqlType::SmallInt, true),
    ("MAXIMUM_SCALE", SqlType::SmallInt, true),
    ("SQL_DATA_TYPE", SqlType::SmallInt, false),
    ("SQL_DATETIME_SUB", SqlType::SmallInt, true),
    ("NUM_PREC_RADIX", SqlType::Int, true),
    ("INTERVAL_PRECISION", SqlType::SmallInt, true),
    ("USERTYPE", SqlType::SmallInt, true),
];

/// A row of `sp_datatype_info`: name, `DATA_TYPE`, its value for ODBC 2, precision, the literal's prefix,
/// what CREATE needs, whether it takes NULL, `SEARCHABLE`, kind of number, scales, `USERTYPE`.
struct Info(
    &'static str,
    [i64; 2],
    i64,
    Option<&'static str>,
    Option<&'static str>,
    bool,
    i64,
    Number,
    Option<(i64, i64)>,
    i64,
);

/// What a type is as a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    None,
    /// Not negative.
    Unsigned,
    Signed,
    Money,
    /// An IDENTITY of a type without negative values.
    UnsignedIdentity,
    Identity,
    /// Its precision counts bits.
    Binary,
}

use Number::{Binary, Identity, Money, Signed, Unsigned, UnsignedIdentity};

const QUOTE: Option<&str> = Some("'");
const WIDE: Option<&str> = Some("N'");
const HEX: Option<&str> = Some("0x");
const MAX_LENGTH: Option<&str> = Some("max length");
const LENGTH: Option<&str> = Some("length");
const SCALE: Option<&str> = Some("scale");
const BOTH: Option<&str> = Some("precision,scale");
const ZERO: Option<(i64, i64)> = Some((0, 0));

#[rustfmt::skip]
const INFOS: &[Info] = &[
    Info("datetimeoffset", [-155, -155], 34, QUOTE, SCALE, true, 3, Number::None, Some((0, 7)), 0),
    Info("time", [-154, -154], 16, QUOTE, SCALE, true, 3, Number::None, Some((0, 7)), 0),
    Info("xml", [-152, -152], 0, WIDE, None, true, 0, Number::None, None, 0),
    Info("sql_variant", [-150, -150], 8000, None, None, true, 2, Number::None, ZERO, 0),
    Info("uniqueidentifier", [-11, -11], 36, QUOTE, None, true, 2, Number::None, None, 0),
    Info("ntext", [-10, -10], 1_073_741_823, WIDE, None, true, 1, Number::None, None, 0),
    Info("nvarchar", [-9, -9], 4000, WIDE, MAX_LENGTH, true, 3, Number::None, None, 0),
    Info("sysname", [-9, -9], 128, WIDE, None, false, 3, Number::None, None, 18),
    Info("nchar", [-8, -8], 4000, WIDE, LENGTH, true, 3, Number::None, None, 0),
    Info("bit", [-7, -7], 1, None, None, true, 2, Number::None, ZERO, 16),
    Info("tinyint", [-6, -6], 3, None, None, true, 2, Unsigned, ZERO, 5),
    Info("tinyint identity", [-6, -6], 3, None, None, false, 2, UnsignedIdentity, ZERO, 5),
    Info("bigint", [-5, -5], 19, None, None, true, 2, Signed, ZERO, 0),
    Info("bigint identity", [-5, -5], 19, None, None, false, 2, Identity, ZERO, 0),
    Info("image", [-4, -4], 2_147_483_647, HEX, None, true, 0, Number::None, None, 20),
    Info("varbinary", [-3, -3], 8000, HEX, MAX_LENGTH, true, 2, Number::None, None, 4),
    Info("binary", [-2, -2], 8000, HEX, LENGTH, true, 2, Number::None, None, 3),
    Info("timestamp", [-2, -2], 8, HEX, None, false, 2, Number::None, None, 80),
    Info("text", [-1, -1], 2_147_483_647, QUOTE, None, true, 1, Number::None, None, 19),
    Info("char", [1, 1], 8000, QUOTE, LENGTH, true, 3, Number::None, None, 1),
    Info("numeric", [2, 2], 38, None, BOTH, true, 2, Signed, Some((0, 38)), 10),
    Info("numeric() identity", [2, 2], 38, None, Some("precision"), false, 2, Identity, ZERO, 10),
    Info("decimal", [3, 3], 38, None, BOTH, true, 2, Signed, Some((0, 38)), 24),
    Info("decimal() identity", [3, 3], 38, None, Some("precision"), false, 2, Identity, ZERO, 24),
    Info("money", [3, 3], 19, Some("$"), None, true, 2, Money, Some((4, 4)), 11),
    Info("smallmoney", [3, 3], 10, Some("$"), None, true, 2, Money, Some((4, 4)), 21),
    Info("int", [4, 4], 10, None, None, true, 2, Signed, ZERO, 7),
    Info("int identity", [4, 4], 10, None, None, false, 2, Identity, ZERO, 7),
    Info("smallint", [5, 5], 5, None, None, true, 2, Signed, ZERO, 6),
    Info("smallint identity", [5, 5], 5, None, None, false, 2, Identity, ZERO, 6),
    Info("float", [6, 6], 53, None, None, true, 2, Binary, None, 8),
    Info("real", [7, 7], 24, None, None, true, 2, Binary, None, 23),
    Info("varchar", [12, 12], 8000, QUOTE, MAX_LENGTH, true, 3, Number::None, None, 2),
    Info("date", [91, 9], 10, QUOTE, None, true, 3, Number::None, None, 0),
    Info("datetime", [93, 11], 23, QUOTE, None, true, 3, Number::None, Some((3, 3)), 12),
    Info("datetime2", [93, 11], 27, QUOTE, SCALE, true, 3, Number::None, Some((0, 7)), 0),
    Info("smalldatetime", [93, 11], 16, QUOTE, None, true, 3, Number::None, ZERO, 22),
];

fn types_100(_: &Scope, _: &State, arguments: &Arguments<'_>) -> Result<Rows, ServerError> {
    types(arguments, true)
}

/// The types, those after SQL Server 2005 only if `wide`; `data_type` 0 asks for all.
fn types(arguments: &Arguments<'_>, wide: bool) -> Result<Rows, ServerError> {
    let odbc3 = arguments.int("ODBCVer")? == Some(3);
    let wanted = arguments.int("data_type")?.unwrap_or(0);
    let mut rows: Rows = INFOS
        .iter()
        .filter(|info| wide || !matches!(info.0, "date" | "time" | "datetime2" | "datetimeoffset"))
        .map(|info| info_row(info, odbc3))
        .filter(|row| wanted == 0 || row[1].as_int() == Some(wanted))
        .collect();
    sort_by(&mut rows, &[1, 11, 10, 19]);
    Ok(rows)
}

fn info_row(info: &Info, odbc3: bool) -> Vec<Value> {
    let Info(name, types, precision, prefix, create, nullable, searchable, number, scales, user) =
        *info;
    let unsigned = match number {
        Number::None => None,
        Unsigned | UnsignedIdentity => Some(1),
        _ => Some(0),
    };
    let (precision, radix) = match number {
        Binary if odbc3 => (precision, Some(2)),
        Binary => (if name == "float" { 15 } else { 7 }, Some(10)),
        Number::None if name == "sql_variant" => (precision, Some(10)),
        Number::None => (precision, None),
        _ => (precision, Some(10)),
    };
    let suffix = prefix.filter(|prefix| prefix.ends_with('\'')).map(|_| "'");
    let (sql_data_type, sub) = match types[0] {
        91 => (9, Some(1)),
        93 => (9, Some(3)),
        other @ (-154 | -155) => (other, Some(0)),
        other => (other, None),
    };
    vec![
        name.into(),
        Value::Int(types[usize::from(!odbc3)]),
        Value::Int(precision),
        prefix.into(),
        suffix.into(),
        create.into(),
        Value::Int(nullable.into()),
        Value::Int(0),
        Value::Int(searchable),
        unsigned.into(),
        Value::Int((number == Money).into()),
        unsigned
            .map(|_| i64::from(matches!(number, Identity | UnsignedIdentity)))
            .into(),
        name.into(),
        scales.map(|(least, _)| least).into(),
        scales.map(|(_, most)| most).into(),
        Value::Int(sql_data_type),
        sub.into(),
        radix.into(),
        Value::Null,
        Value::Int(user),
    ]
}
