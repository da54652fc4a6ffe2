//! A type's name, catalogue numbers and declared length.

use datafusion::arrow::datatypes::{DataType, TimeUnit};

use crate::simulator::protocol::forms::{GUID_BYTES, INSTANT_BYTES, OFFSET_BYTES};
use crate::simulator::protocol::{Length, SqlType, Udt};

/// What `varchar` without a length means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultLength {
    /// In a declaration: 1.
    Declaration,
    /// In CAST and CONVERT: 30.
    Cast,
}

impl SqlType {
    /// The type named by `text`, such as `nvarchar(128)`; `None` if there is no such type here.
    pub(crate) fn parse(text: &str, default: DefaultLength) -> Option<Self> {
        let lower = text.trim().to_ascii_lowercase();
        let (name, arguments) = match lower.split_once('(') {
            Some((name, rest)) => (name, rest.trim_end().strip_suffix(')')?),
            None => (lower.as_str(), ""),
        };
        let name: Vec<&str> = name.split_whitespace().collect();
        let arguments: Vec<&str> = if arguments.is_empty() {
            Vec::new()
        } else {
            arguments.split(',').map(str::trim).collect()
        };
        Self::from_parts(&name.join(" "), &arguments, default)
    }

    fn from_parts(name: &str, arguments: &[&str], default: DefaultLength) -> Option<Self> {
        let bare = |sql_type| arguments.is_empty().then_some(sql_type);
        match name {
            "bit" => bare(Self::Bit),
            "tinyint" => bare(Self::TinyInt),
            "smallint" => bare(Self::SmallInt),
            "int" | "integer" => bare(Self::Int),
            "bigint" => bare(Self::BigInt),
            "real" => bare(Self::Real),
            "double precision" => bare(Self::Float),
            "float" => float(arguments),
            "decimal" | "dec" | "numeric" => decimal(arguments),
            "money" => bare(Self::Money),
            "smallmoney" => bare(Self::SmallMoney),
            "date" => bare(Self::Date),
            "smalldatetime" => bare(Self::SmallDateTime),
            "datetime" => bare(Self::DateTime),
            "time" => scale(arguments).map(Self::Time),
            "datetime2" => scale(arguments).map(Self::DateTime2),
            "datetimeoffset" => scale(arguments).map(Self::DateTimeOffset),
            "uniqueidentifier" => bare(Self::UniqueIdentifier),
            "sysname" => bare(Self::NVarChar(Length::Limited(128))),
            "text" => bare(Self::Text),
            "ntext" | "national text" => bare(Self::NText),
            "image" => bare(Self::Image),
            "xml" => bare(Self::Xml),
            "timestamp" | "rowversion" => bare(Self::RowVersion),
            "sql_variant" => bare(Self::SqlVariant),
            "hierarchyid" => bare(Self::Udt(Udt::HierarchyId)),
            "geometry" => bare(Self::Udt(Udt::Geometry)),
            "geography" => bare(Self::Udt(Udt::Geography)),
            _ => sized(name, arguments, default),
        }
    }

    /// The type as it is declared, such as `decimal(18,2)`.
    pub(crate) fn declared(&self) -> String {
        let name = self.base_name();
        match self {
            Self::Decimal { precision, scale } => format!("{name}({precision},{scale})"),
            Self::Time(scale) | Self::DateTime2(scale) | Self::DateTimeOffset(scale) => {
                format!("{name}({scale})")
            }
            Self::Char(n) | Self::NChar(n) | Self::Binary(n) => format!("{name}({n})"),
            Self::VarChar(length) | Self::NVarChar(length) | Self::VarBinary(length) => {
                match length {
                    Length::Limited(n) => format!("{name}({n})"),
                    Length::Max => format!("{name}(max)"),
                }
            }
            _ => name.to_owned(),
        }
    }

    /// The name without length, precision or scale.
    pub(crate) fn base_name(&self) -> &'static str {
        match self {
            Self::Bit => "bit",
            Self::TinyInt => "tinyint",
            Self::SmallInt => "smallint",
            Self::Int => "int",
            Self::BigInt => "bigint",
            Self::Real => "real",
            Self::Float => "float",
            Self::Decimal { .. } => "decimal",
            Self::Money => "money",
            Self::SmallMoney => "smallmoney",
            Self::Date => "date",
            Self::Time(_) => "time",
            Self::SmallDateTime => "smalldatetime",
            Self::DateTime => "datetime",
            Self::DateTime2(_) => "datetime2",
            Self::DateTimeOffset(_) => "datetimeoffset",
            Self::Char(_) => "char",
            Self::VarChar(_) => "varchar",
            Self::NChar(_) => "nchar",
            Self::NVarChar(_) => "nvarchar",
            Self::Binary(_) => "binary",
            Self::VarBinary(_) => "varbinary",
            Self::UniqueIdentifier => "uniqueidentifier",
            Self::RowVersion => "timestamp",
            Self::Text => "text",
            Self::NText => "ntext",
            Self::Image => "image",
            Self::Xml => "xml",
            Self::SqlVariant => "sql_variant",
            Self::Udt(udt) => udt.name(),
        }
    }

    /// `sys.types.system_type_id`.
    pub(crate) fn system_type_id(&self) -> u8 {
        match self {
            Self::Bit => 104,
            Self::TinyInt => 48,
            Self::SmallInt => 52,
            Self::Int => 56,
            Self::BigInt => 127,
            Self::Real => 59,
            Self::Float => 62,
            Self::Decimal { .. } => 106,
            Self::Money => 60,
            Self::SmallMoney => 122,
            Self::Date => 40,
            Self::Time(_) => 41,
            Self::SmallDateTime => 58,
            Self::DateTime => 61,
            Self::DateTime2(_) => 42,
            Self::DateTimeOffset(_) => 43,
            Self::Char(_) => 175,
            Self::VarChar(_) => 167,
            Self::NChar(_) => 239,
            Self::NVarChar(_) => 231,
            Self::Binary(_) => 173,
            Self::VarBinary(_) => 165,
            Self::UniqueIdentifier => 36,
            Self::RowVersion => 189,
            Self::Text => 35,
            Self::NText => 99,
            Self::Image => 34,
            Self::Xml => 241,
            Self::SqlVariant => 98,
            Self::Udt(_) => 240,
        }
    }

    /// `sys.types.user_type_id` of the type itself.
    pub(crate) fn user_type_id(&self) -> i32 {
        match self {
            Self::Udt(Udt::HierarchyId) => 128,
            Self::Udt(Udt::Geometry) => 129,
            Self::Udt(Udt::Geography) => 130,
            _ => self.system_type_id().into(),
        }
    }

    /// `sys.columns.max_length`: bytes, -1 for `(max)`.
    pub(crate) fn max_length(&self) -> i16 {
        let limited = |length: &Length, width: i16| match length {
            Length::Limited(n) => i16::try_from(*n).map_or(i16::MAX, |n| n.saturating_mul(width)),
            Length::Max => -1,
        };
        match self {
            Self::Bit | Self::TinyInt => 1,
            Self::SmallInt => 2,
            Self::Int | Self::Real | Self::SmallMoney | Self::SmallDateTime => 4,
            Self::BigInt | Self::Float | Self::Money | Self::DateTime => 8,
            Self::Decimal { precision, .. } => match precision {
                0..=9 => 5,
                10..=19 => 9,
                20..=28 => 13,
                _ => 17,
            },
            Self::Date => 3,
            Self::Time(scale) => time_length(*scale),
            Self::DateTime2(scale) => time_length(*scale) + 3,
            Self::DateTimeOffset(scale) => time_length(*scale) + 5,
            Self::Char(n) | Self::Binary(n) => limited(&Length::Limited(*n), 1),
            Self::NChar(n) => limited(&Length::Limited(*n), 2),
            Self::VarChar(length) | Self::VarBinary(length) => limited(length, 1),
            Self::NVarChar(length) => limited(length, 2),
            Self::UniqueIdentifier | Self::Text | Self::NText | Self::Image => 16,
            Self::RowVersion => 8,
            Self::Xml => -1,
            Self::SqlVariant => 8016,
            Self::Udt(udt) => udt.longest().map_or(-1, u16::cast_signed),
        }
    }

    /// `sys.columns.precision`.
    pub(crate) fn precision(&self) -> u8 {
        match self {
            Self::Bit => 1,
            Self::TinyInt => 3,
            Self::SmallInt => 5,
            Self::Int | Self::Date | Self::SmallMoney => 10,
            Self::BigInt | Self::Money => 19,
            Self::Real => 24,
            Self::Float => 53,
            Self::Decimal { precision, .. } => *precision,
            Self::Time(scale) => with_fraction(8, *scale),
            Self::SmallDateTime => 16,
            Self::DateTime => 23,
            Self::DateTime2(scale) => with_fraction(19, *scale),
            Self::DateTimeOffset(scale) => with_fraction(26, *scale),
            _ => 0,
        }
    }

    /// `sys.columns.scale`.
    pub(crate) fn scale(&self) -> u8 {
        match self {
            Self::Decimal { scale, .. }
            | Self::Time(scale)
            | Self::DateTime2(scale)
            | Self::DateTimeOffset(scale) => *scale,
            Self::Money | Self::SmallMoney => 4,
            Self::DateTime => 3,
            _ => 0,
        }
    }

    /// Whether values are characters.
    pub(crate) fn is_text(&self) -> bool {
        matches!(
            self,
            Self::Char(_)
                | Self::VarChar(_)
                | Self::NChar(_)
                | Self::NVarChar(_)
                | Self::Text
                | Self::NText
        )
    }

    /// Whether values are bytes.
    pub(crate) fn is_binary(&self) -> bool {
        matches!(
            self,
            Self::Binary(_) | Self::VarBinary(_) | Self::RowVersion | Self::Image
        )
    }

    /// Whether values are UTF-16, not text of a code page.
    pub(crate) fn is_wide(&self) -> bool {
        matches!(
            self,
            Self::NChar(_) | Self::NVarChar(_) | Self::NText | Self::Xml
        )
    }

    /// Whether values are compared at all.
    pub(crate) fn is_comparable(&self) -> bool {
        !matches!(
            self,
            Self::Text
                | Self::NText
                | Self::Image
                | Self::Xml
                | Self::Udt(Udt::Geometry | Udt::Geography)
        )
    }

    /// Whether the type is a `(max)` one.
    pub(crate) fn is_large(&self) -> bool {
        matches!(
            self,
            Self::VarChar(Length::Max)
                | Self::NVarChar(Length::Max)
                | Self::VarBinary(Length::Max)
                | Self::Text
                | Self::NText
                | Self::Image
                | Self::Xml
                | Self::Udt(Udt::Geometry | Udt::Geography)
        )
    }

    /// The Arrow type that holds its values.
    pub(crate) fn arrow_form(&self) -> DataType {
        match self {
            Self::Bit => DataType::Boolean,
            Self::TinyInt | Self::SmallInt => DataType::Int16,
            Self::Int => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Real => DataType::Float32,
            Self::Float => DataType::Float64,
            Self::Decimal { precision, scale } => {
                DataType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(0))
            }
            Self::Money => DataType::Decimal128(19, 4),
            Self::SmallMoney => DataType::Decimal128(10, 4),
            Self::Date => DataType::Date32,
            Self::Time(_) => DataType::Time64(TimeUnit::Nanosecond),
            Self::SmallDateTime | Self::DateTime => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            Self::DateTime2(_) => DataType::FixedSizeBinary(INSTANT_BYTES),
            Self::DateTimeOffset(_) => DataType::FixedSizeBinary(OFFSET_BYTES),
            Self::UniqueIdentifier => DataType::FixedSizeBinary(GUID_BYTES),
            Self::SqlVariant => DataType::LargeBinary,
            Self::Binary(_)
            | Self::VarBinary(_)
            | Self::RowVersion
            | Self::Image
            | Self::Udt(_) => DataType::Binary,
            Self::Char(_)
            | Self::VarChar(_)
            | Self::NChar(_)
            | Self::NVarChar(_)
            | Self::Text
            | Self::NText
            | Self::Xml => DataType::Utf8,
        }
    }

    /// The type of an expression of which only the Arrow type is known.
    pub(crate) fn of_arrow(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Bit,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::SmallInt,
            DataType::Int32 | DataType::UInt16 | DataType::Null => Self::Int,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Self::BigInt,
            DataType::Float16 | DataType::Float32 => Self::Real,
            DataType::Float64 => Self::Float,
            DataType::Decimal32(p, s)
            | DataType::Decimal64(p, s)
            | DataType::Decimal128(p, s)
            | DataType::Decimal256(p, s) => Self::Decimal {
                precision: (*p).min(38),
                scale: u8::try_from(*s).unwrap_or(0).min(38),
            },
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time(7),
            DataType::Timestamp(..) => Self::DateTime,
            DataType::FixedSizeBinary(INSTANT_BYTES) => Self::DateTime2(7),
            DataType::FixedSizeBinary(OFFSET_BYTES) => Self::DateTimeOffset(7),
            DataType::FixedSizeBinary(GUID_BYTES) => Self::UniqueIdentifier,
            DataType::LargeBinary => Self::SqlVariant,
            DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::VarBinary(Length::Max)
            }
            _ => Self::NVarChar(Length::Max),
        }
    }
}

fn time_length(scale: u8) -> i16 {
    match scale {
        0..=2 => 3,
        3 | 4 => 4,
        _ => 5,
    }
}

fn with_fraction(whole: u8, scale: u8) -> u8 {
    if scale == 0 { whole } else { whole + 1 + scale }
}

fn float(arguments: &[&str]) -> Option<SqlType> {
    match arguments {
        [] => Some(SqlType::Float),
        [bits] => match bits.parse::<u8>().ok()? {
            1..=24 => Some(SqlType::Real),
            25..=53 => Some(SqlType::Float),
            _ => None,
        },
        _ => None,
    }
}

fn decimal(arguments: &[&str]) -> Option<SqlType> {
    let (precision, scale) = match arguments {
        [] => (18, 0),
        [precision] => (precision.parse().ok()?, 0),
        [precision, scale] => (precision.parse().ok()?, scale.parse().ok()?),
        _ => return None,
    };
    ((1..=38).contains(&precision) && scale <= precision)
        .then_some(SqlType::Decimal { precision, scale })
}

fn scale(arguments: &[&str]) -> Option<u8> {
    match arguments {
        [] => Some(7),
        [scale] => scale.parse().ok().filter(|scale| *scale <= 7),
        _ => None,
    }
}

fn sized(name: &str, arguments: &[&str], default: DefaultLength) -> Option<SqlType> {
    let wide = matches!(
        name,
        "nchar" | "nvarchar" | "national char" | "national character" | "national char varying"
    );
    let limit = if wide { 4000 } else { 8000 };
    let length = match arguments {
        [] if default == DefaultLength::Declaration => Length::Limited(1),
        [] => Length::Limited(30),
        ["max"] => Length::Max,
        [n] => Length::Limited(n.parse().ok().filter(|n| (1..=limit).contains(n))?),
        _ => return None,
    };
    let fixed = match length {
        Length::Limited(n) => Some(n),
        Length::Max => None,
    };
    match name {
        "char" | "character" => fixed.map(SqlType::Char),
        "varchar" | "char varying" | "character varying" => Some(SqlType::VarChar(length)),
        "nchar" | "national char" | "national character" => fixed.map(SqlType::NChar),
        "nvarchar" | "national char varying" => Some(SqlType::NVarChar(length)),
        "binary" => fixed.map(SqlType::Binary),
        "varbinary" | "binary varying" => Some(SqlType::VarBinary(length)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_go_both_ways() {
        for name in [
            "bit",
            "tinyint",
            "int",
            "bigint",
            "decimal(18,2)",
            "money",
            "date",
            "time(3)",
            "datetime",
            "datetime2(7)",
            "datetimeoffset(0)",
            "char(10)",
            "varchar(max)",
            "nvarchar(128)",
            "varbinary(max)",
            "binary(10)",
            "uniqueidentifier",
            "timestamp",
            "text",
            "ntext",
            "image",
            "xml",
            "sql_variant",
            "hierarchyid",
            "geography",
            "real",
            "float",
        ] {
            let sql_type = SqlType::parse(name, DefaultLength::Cast).unwrap();
            assert_eq!(sql_type.declared(), name);
        }
    }

    #[test]
    fn lengths_default_and_are_limited() {
        let parse = SqlType::parse;
        assert_eq!(
            parse("VARCHAR", DefaultLength::Cast),
            Some(SqlType::VarChar(Length::Limited(30)))
        );
        assert_eq!(
            parse("char", DefaultLength::Declaration),
            Some(SqlType::Char(1))
        );
        assert_eq!(
            parse("sysname", DefaultLength::Cast),
            Some(SqlType::NVarChar(Length::Limited(128)))
        );
        assert_eq!(parse("nvarchar(4001)", DefaultLength::Cast), None);
        assert_eq!(parse("decimal(39,2)", DefaultLength::Cast), None);
        assert_eq!(parse("float(24)", DefaultLength::Cast), Some(SqlType::Real));
    }
}
