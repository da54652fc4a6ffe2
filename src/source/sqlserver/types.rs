//! SQL Server's types and how their values stand in Arrow.

mod select;

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, TimeUnit};

/// A column's type, as the catalogue describes it.
///
/// | SQL Server | Arrow |
/// |---|---|
/// | `bit` | `Boolean` |
/// | `tinyint`, `smallint` | `Int16` (Delta's `byte` is signed, `tinyint` is not) |
/// | `int`, `bigint` | `Int32`, `Int64` |
/// | `real`, `float` | `Float32`, `Float64` |
/// | `decimal(p,s)`, `money`, `smallmoney` | `Decimal128(p,s)`, `(19,4)`, `(10,4)` |
/// | `date` | `Date32` |
/// | `time(n)` | `Utf8`, `HH:MM:SS` and `n` decimals: Delta has no time of day |
/// | `smalldatetime`, `datetime`, `datetime2` | `Timestamp(µs)`; `datetime` is rounded to the millisecond that SQL Server shows, the seventh digit of `datetime2(7)` is cut off |
/// | `datetimeoffset` | `Timestamp(µs, UTC)`: the instant; the offset is not kept |
/// | `char`, `varchar`, `nchar`, `nvarchar`, `text`, `ntext`, `xml`, `json` | `Utf8`; a lone UTF-16 surrogate becomes U+FFFD |
/// | `binary`, `varbinary`, `image`, `rowversion` | `Binary` |
/// | `uniqueidentifier` | `Utf8`, lower case |
/// | `hierarchyid` | `Utf8`, a path such as `/1/3/` |
/// | `sql_variant` | `Utf8`: the value of its base type with all its digits, bytes as `0x…` |
/// | `vector` | `Utf8`, an array of numbers as JSON |
/// | `geography`, `geometry` | `Struct(srid Int32, wkb Binary)`: well-known binary with Z and M |
///
/// An alias type is the type that it was made from. What is encrypted by Always Encrypted, a type of somebody's
/// assembly and a type that is not known here cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SqlType {
    Bit,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Real,
    Float,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Money,
    SmallMoney,
    Date,
    Time(u8),
    SmallDateTime,
    DateTime,
    /// The number of decimals of a second, as declared.
    DateTime2(u8),
    /// As above.
    DateTimeOffset(u8),
    /// Any character type; the declared name, and whether SQL Server stores it out of row.
    Text {
        name: String,
        large: bool,
        /// The Unicode type that the server makes of it; `None` where it is Unicode already.
        unicode: Option<String>,
    },
    Xml,
    /// Any binary type.
    Binary {
        name: String,
        large: bool,
    },
    UniqueIdentifier,
    HierarchyId,
    Variant,
    Json,
    Vector,
    /// `geography` or `geometry`.
    Spatial(String),
    /// A type that cannot be read, by its declared name.
    Unsupported(String),
}

/// A row of `sys.columns` as far as it tells the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeclaredType<'a> {
    /// The name of the system type below any alias; `None` for CLR types.
    pub(super) base: Option<&'a str>,
    /// The name as declared.
    pub(super) declared: &'a str,
    /// In bytes; -1 for `(max)`.
    pub(super) max_length: i32,
    pub(super) precision: i32,
    pub(super) scale: i32,
    /// Whether Always Encrypted encrypts it.
    pub(super) encrypted: bool,
}

impl SqlType {
    pub(super) fn from_catalogue(declared: &DeclaredType<'_>) -> Self {
        let plain = Self::unencrypted(declared);
        if declared.encrypted {
            return Self::Unsupported(format!("{plain} encrypted by Always Encrypted"));
        }
        plain
    }

    fn unencrypted(declared: &DeclaredType<'_>) -> Self {
        let unsupported = || Self::Unsupported(declared.declared.to_string());
        let Some(base) = declared.base else {
            return unsupported();
        };
        let name = length_name(base, declared.max_length);
        let large = declared.max_length == -1 || matches!(base, "text" | "ntext" | "image");
        let scale = u8::try_from(declared.scale).unwrap_or(7).min(7);
        let unicode = select::unicode_type(base, declared.max_length);
        match base {
            "bit" => Self::Bit,
            "tinyint" => Self::TinyInt,
            "smallint" => Self::SmallInt,
            "int" => Self::Int,
            "bigint" => Self::BigInt,
            "real" => Self::Real,
            "float" => Self::Float,
            "decimal" | "numeric" => decimal(declared).unwrap_or_else(unsupported),
            "money" => Self::Money,
            "smallmoney" => Self::SmallMoney,
            "date" => Self::Date,
            "time" => Self::Time(scale),
            "smalldatetime" => Self::SmallDateTime,
            "datetime" => Self::DateTime,
            "datetime2" => Self::DateTime2(scale),
            "datetimeoffset" => Self::DateTimeOffset(scale),
            "char" | "varchar" | "nchar" | "nvarchar" | "text" | "ntext" => Self::Text {
                name,
                large,
                unicode,
            },
            "xml" => Self::Xml,
            "binary" | "varbinary" | "image" | "timestamp" | "rowversion" => {
                Self::Binary { name, large }
            }
            "uniqueidentifier" => Self::UniqueIdentifier,
            "hierarchyid" => Self::HierarchyId,
            "sql_variant" => Self::Variant,
            "json" => Self::Json,
            "vector" => Self::Vector,
            "geography" | "geometry" => Self::Spatial(base.to_string()),
            _ => unsupported(),
        }
    }

    /// The Arrow type; `Utf8` stands for a type that cannot be read, so that its table still has a schema.
    pub(super) fn arrow(&self) -> DataType {
        match self {
            Self::Bit => DataType::Boolean,
            Self::TinyInt | Self::SmallInt => DataType::Int16,
            Self::Int => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Real => DataType::Float32,
            Self::Float => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Money => DataType::Decimal128(19, 4),
            Self::SmallMoney => DataType::Decimal128(10, 4),
            Self::Date => DataType::Date32,
            Self::SmallDateTime | Self::DateTime | Self::DateTime2(_) => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            Self::DateTimeOffset(_) => utc_timestamp(),
            Self::Binary { .. } => DataType::Binary,
            Self::Spatial(_) => DataType::Struct(spatial_fields()),
            Self::Time(_)
            | Self::Text { .. }
            | Self::Xml
            | Self::UniqueIdentifier
            | Self::HierarchyId
            | Self::Variant
            | Self::Json
            | Self::Vector
            | Self::Unsupported(_) => DataType::Utf8,
        }
    }

    /// Whether SQL Server may leave an unchanged value out of an update's images.
    pub(super) fn is_large(&self) -> bool {
        match self {
            Self::Text { large, .. } | Self::Binary { large, .. } => *large,
            Self::Xml | Self::Json | Self::Spatial(_) => true,
            _ => false,
        }
    }

    /// Whether values have different lengths.
    pub(super) fn varies(&self) -> bool {
        self.is_large()
            || matches!(
                self,
                Self::Text { .. }
                    | Self::Binary { .. }
                    | Self::Variant
                    | Self::HierarchyId
                    | Self::Vector
            )
    }

    /// How many bytes a value may have on the server, but for those of fixed length, which are few.
    pub(super) fn most_bytes(&self) -> u64 {
        /// Of what is stored within a row.
        const IN_ROW: u64 = 8_000;
        match self {
            large if large.is_large() => i32::MAX.unsigned_abs().into(),
            Self::Text { name, .. } | Self::Binary { name, .. } => {
                let width = if name.starts_with('n') { 2 } else { 1 };
                declared_length(name).map_or(IN_ROW, |length| length * width)
            }
            varying if varying.varies() => IN_ROW,
            _ => 0,
        }
    }

    /// Whether values that SQL Server tells apart may become one: microseconds hold six decimals.
    pub(super) fn is_inexact(&self) -> bool {
        matches!(self, Self::DateTime2(scale) | Self::DateTimeOffset(scale) if *scale > 6)
    }

    pub(super) fn is_supported(&self) -> bool {
        !matches!(self, Self::Unsupported(_))
    }
}

/// `Timestamp(Microsecond, "UTC")`, the type of `_commit_timestamp` as well.
pub(super) fn utc_timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The parts of a place: the number of its reference system, and its shape as well-known binary.
pub(super) fn spatial_fields() -> Fields {
    Fields::from(vec![
        Arc::new(Field::new("srid", DataType::Int32, true)),
        Arc::new(Field::new("wkb", DataType::Binary, true)),
    ])
}

fn decimal(declared: &DeclaredType<'_>) -> Option<SqlType> {
    let precision = u8::try_from(declared.precision).ok()?;
    let scale = i8::try_from(declared.scale).ok()?;
    let valid = (1..=38).contains(&precision) && (0..=precision as i8).contains(&scale);
    valid.then_some(SqlType::Decimal { precision, scale })
}

/// The number in a name such as `nvarchar(128)`.
fn declared_length(name: &str) -> Option<u64> {
    let (_, length) = name.split_once('(')?;
    length.strip_suffix(')')?.parse().ok()
}

fn length_name(base: &str, max_length: i32) -> String {
    match (base, max_length) {
        ("timestamp" | "rowversion", _) => "rowversion".to_string(),
        ("text" | "ntext" | "image", _) => base.to_string(),
        (_, -1) => format!("{base}(max)"),
        ("nchar" | "nvarchar", bytes) => format!("{base}({})", bytes / 2),
        (_, bytes) => format!("{base}({bytes})"),
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bit => f.write_str("bit"),
            Self::TinyInt => f.write_str("tinyint"),
            Self::SmallInt => f.write_str("smallint"),
            Self::Int => f.write_str("int"),
            Self::BigInt => f.write_str("bigint"),
            Self::Real => f.write_str("real"),
            Self::Float => f.write_str("float"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Money => f.write_str("money"),
            Self::SmallMoney => f.write_str("smallmoney"),
            Self::Date => f.write_str("date"),
            Self::Time(scale) => write!(f, "time({scale})"),
            Self::SmallDateTime => f.write_str("smalldatetime"),
            Self::DateTime => f.write_str("datetime"),
            Self::DateTime2(scale) => write!(f, "datetime2({scale})"),
            Self::DateTimeOffset(scale) => write!(f, "datetimeoffset({scale})"),
            Self::Text { name, .. }
            | Self::Binary { name, .. }
            | Self::Spatial(name)
            | Self::Unsupported(name) => f.write_str(name),
            Self::Xml => f.write_str("xml"),
            Self::UniqueIdentifier => f.write_str("uniqueidentifier"),
            Self::HierarchyId => f.write_str("hierarchyid"),
            Self::Variant => f.write_str("sql_variant"),
            Self::Json => f.write_str("json"),
            Self::Vector => f.write_str("vector"),
        }
    }
}

#[cfg(test)]
mod tests;
