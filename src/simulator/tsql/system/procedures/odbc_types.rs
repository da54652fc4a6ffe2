//! How ODBC, and JDBC after it, describe the types of columns.

use crate::simulator::protocol::{Length, SqlType};
use crate::simulator::store::ColumnDef;
use crate::simulator::tsql::system::type_name as name_of_type;

/// A column's type in ODBC's words.
#[derive(Debug)]
pub(super) struct OdbcColumn {
    /// `DATA_TYPE`.
    pub(super) data_type: i64,
    /// `TYPE_NAME`, with ` identity` after an IDENTITY column's.
    pub(super) type_name: String,
    /// `PRECISION`; 0 stands for no limit.
    pub(super) precision: i64,
    /// `LENGTH` in bytes, as a client needs them; 0 stands for no limit.
    pub(super) length: i64,
    /// `SCALE`.
    pub(super) scale: Option<i64>,
    /// `RADIX`.
    pub(super) radix: Option<i64>,
    /// `SQL_DATA_TYPE`.
    pub(super) sql_data_type: i64,
    /// `SQL_DATETIME_SUB`.
    pub(super) datetime_sub: Option<i64>,
    /// Whether `CHAR_OCTET_LENGTH` is the length.
    pub(super) octets: bool,
    /// `SS_DATA_TYPE` of a NOT NULL column.
    pub(super) code: i64,
    /// `SS_DATA_TYPE` of a nullable one.
    pub(super) nullable_code: i64,
}

/// A type: its name; `DATA_TYPE` and its value for ODBC 2; precision, length, scale and radix where the
/// declaration does not decide; `SS_DATA_TYPE` without and with NULL.
struct Kind(&'static str, [i64; 2], [i64; 2], [Option<i64>; 2], [i64; 2]);

const TEN: Option<i64> = Some(10);
const WHOLE: [Option<i64>; 2] = [Some(0), TEN];
const NEITHER: [Option<i64>; 2] = [None, None];

#[rustfmt::skip]
const KINDS: &[Kind] = &[
    Kind("bit", [-7, -7], [1, 1], NEITHER, [50, 50]),
    Kind("tinyint", [-6, -6], [3, 1], WHOLE, [48, 38]),
    Kind("smallint", [5, 5], [5, 2], WHOLE, [52, 38]),
    Kind("int", [4, 4], [10, 4], WHOLE, [56, 38]),
    Kind("bigint", [-5, -5], [19, 8], WHOLE, [63, 108]),
    Kind("real", [7, 7], [24, 4], [None, Some(2)], [59, 109]),
    Kind("float", [6, 6], [53, 8], [None, Some(2)], [62, 109]),
    Kind("decimal", [3, 3], [0, 0], WHOLE, [106, 106]),
    Kind("numeric", [2, 2], [0, 0], WHOLE, [108, 108]),
    Kind("money", [3, 3], [19, 21], [Some(4), TEN], [60, 110]),
    Kind("smallmoney", [3, 3], [10, 12], [Some(4), TEN], [122, 110]),
    Kind("date", [91, 9], [10, 6], NEITHER, [0, 0]),
    Kind("time", [-154, -154], [8, 10], NEITHER, [0, 0]),
    Kind("smalldatetime", [93, 11], [16, 16], [Some(0), None], [58, 111]),
    Kind("datetime", [93, 11], [23, 16], [Some(3), None], [61, 111]),
    Kind("datetime2", [93, 11], [19, 16], NEITHER, [0, 0]),
    Kind("datetimeoffset", [-155, -155], [26, 20], NEITHER, [0, 0]),
    Kind("char", [1, 1], [0, 0], NEITHER, [47, 39]),
    Kind("varchar", [12, 12], [0, 0], NEITHER, [39, 39]),
    Kind("nchar", [-8, -8], [0, 0], NEITHER, [39, 39]),
    Kind("nvarchar", [-9, -9], [0, 0], NEITHER, [39, 39]),
    Kind("binary", [-2, -2], [0, 0], NEITHER, [45, 37]),
    Kind("varbinary", [-3, -3], [0, 0], NEITHER, [37, 37]),
    Kind("text", [-1, -1], [2_147_483_647, 2_147_483_647], NEITHER, [35, 35]),
    Kind("ntext", [-10, -10], [1_073_741_823, 2_147_483_646], NEITHER, [35, 35]),
    Kind("image", [-4, -4], [2_147_483_647, 2_147_483_647], NEITHER, [34, 34]),
    Kind("uniqueidentifier", [-11, -11], [36, 16], NEITHER, [37, 37]),
    Kind("timestamp", [-2, -2], [8, 8], NEITHER, [45, 45]),
    Kind("xml", [-152, -152], [0, 0], NEITHER, [0, 0]),
    Kind("sql_variant", [-150, -150], [8000, 8000], NEITHER, [39, 39]),
];

/// Describes a column for ODBC 3, or for ODBC 2 as the procedures do unless they are asked. `wide` is false
/// for `sp_columns`, whose callers know no type that came after SQL Server 2005 and get such values as texts.
pub(super) fn of_column(column: &ColumnDef, odbc3: bool, wide: bool) -> OdbcColumn {
    let sql_type = column.sql_type;
    let name = sql_type.base_name();
    let new = matches!(name, "date" | "time" | "datetime2" | "datetimeoffset");
    let asked = if new && !wide { "nvarchar" } else { name };
    let Kind(_, types, sizes, [scale, radix], codes) = KINDS
        .iter()
        .find(|kind| kind.0 == asked)
        .unwrap_or(&Kind("", [-151, -151], [0, 0], NEITHER, [23, 23]));
    let mut odbc = OdbcColumn {
        data_type: types[usize::from(!odbc3)],
        type_name: type_name(column),
        precision: sizes[0],
        length: sizes[1],
        scale: *scale,
        radix: *radix,
        sql_data_type: types[0],
        datetime_sub: None,
        octets: matches!(types[0], 1 | 12 | -1 | -2 | -3 | -4 | -8 | -9 | -10)
            && name != "timestamp",
        code: codes[0],
        nullable_code: codes[1],
    };
    size(&mut odbc, sql_type);
    match types[0] {
        // SQL_DATETIME, and which kind of it.
        91 => (odbc.sql_data_type, odbc.datetime_sub) = (9, Some(1)),
        93 => (odbc.sql_data_type, odbc.datetime_sub) = (9, Some(3)),
        -154 | -155 => odbc.datetime_sub = Some(0),
        6 | 7 if !odbc3 => {
            (odbc.precision, odbc.radix) = (if types[0] == 6 { 15 } else { 7 }, TEN);
        }
        _ => {}
    }
    if new && !wide {
        (odbc.length, odbc.octets, odbc.scale) = (odbc.precision * 2, true, None);
    }
    odbc
}

/// Fills in what the type's declaration decides.
fn size(odbc: &mut OdbcColumn, sql_type: SqlType) {
    let fraction = |scale: u8| {
        let scale = i64::from(scale);
        if scale > 0 { scale + 1 } else { 0 }
    };
    match sql_type {
        SqlType::Decimal { precision, scale } => {
            odbc.precision = precision.into();
            odbc.length = i64::from(precision) + 2;
            odbc.scale = Some(scale.into());
        }
        SqlType::Date => odbc.precision = 10,
        SqlType::Time(scale) => {
            odbc.precision = 8 + fraction(scale);
            odbc.scale = Some(scale.into());
        }
        SqlType::DateTime2(scale) => {
            odbc.precision = 19 + fraction(scale);
            odbc.scale = Some(scale.into());
        }
        SqlType::DateTimeOffset(scale) => {
            odbc.precision = 26 + fraction(scale);
            odbc.scale = Some(scale.into());
        }
        SqlType::Char(n) | SqlType::Binary(n) => sized(odbc, n, 1),
        SqlType::NChar(n) => sized(odbc, n, 2),
        SqlType::VarChar(Length::Limited(n)) | SqlType::VarBinary(Length::Limited(n)) => {
            sized(odbc, n, 1);
        }
        SqlType::NVarChar(Length::Limited(n)) => sized(odbc, n, 2),
        _ => {}
    }
}

fn sized(odbc: &mut OdbcColumn, length: u16, bytes: i64) {
    odbc.precision = length.into();
    odbc.length = i64::from(length) * bytes;
}

fn type_name(column: &ColumnDef) -> String {
    let name = match column.alias_type {
        Some(alias) => name_of_type(Some(alias.into())),
        None => None,
    };
    let name = name.unwrap_or_else(|| column.sql_type.base_name().to_owned());
    match column.identity {
        None => name,
        Some(_) if matches!(name.as_str(), "decimal" | "numeric") => format!("{name}() identity"),
        Some(_) => format!("{name} identity"),
    }
}
