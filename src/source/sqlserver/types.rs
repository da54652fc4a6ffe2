//! SQL Server's types and how their values stand in Arrow.

use std::fmt;

use datafusion::arrow::datatypes::{DataType, TimeUnit};

use super::ident::quote;

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
/// | `char`, `varchar`, `nchar`, `nvarchar`, `text`, `ntext`, `xml` | `Utf8`; a lone UTF-16 surrogate becomes U+FFFD |
/// | `binary`, `varbinary`, `image`, `rowversion` | `Binary` |
/// | `uniqueidentifier` | `Utf8`, lower case |
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
}

impl SqlType {
    pub(super) fn from_catalogue(declared: &DeclaredType<'_>) -> Self {
        let unsupported = || Self::Unsupported(declared.declared.to_string());
        let Some(base) = declared.base else {
            return unsupported();
        };
        let name = length_name(base, declared.max_length);
        let large = declared.max_length == -1 || matches!(base, "text" | "ntext" | "image");
        let scale = u8::try_from(declared.scale).unwrap_or(7).min(7);
        let unicode = unicode_type(base, declared.max_length);
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
            Self::Time(_)
            | Self::Text { .. }
            | Self::Xml
            | Self::UniqueIdentifier
            | Self::Unsupported(_) => DataType::Utf8,
        }
    }

    /// The expression that reads column `name` of the row `alias`; the same for live rows and for changes.
    ///
    /// Money is cast by the server, since the driver would read it as a binary fraction; so is text of a code
    /// page, of which the driver knows some only and refuses a byte that stands for nothing.
    pub(super) fn select(&self, alias: &str, name: &str) -> String {
        let column = format!("{alias}.{}", quote(name));
        match self {
            Self::Money => format!("CAST({column} AS decimal(19, 4)) AS {}", quote(name)),
            Self::SmallMoney => format!("CAST({column} AS decimal(10, 4)) AS {}", quote(name)),
            Self::Xml => format!("CAST({column} AS nvarchar(max)) AS {}", quote(name)),
            Self::Text {
                unicode: Some(unicode),
                ..
            } => format!("CAST({column} AS {unicode}) AS {}", quote(name)),
            _ => column,
        }
    }

    /// Whether SQL Server may leave an unchanged value out of an update's images.
    pub(super) fn is_large(&self) -> bool {
        match self {
            Self::Text { large, .. } | Self::Binary { large, .. } => *large,
            Self::Xml => true,
            _ => false,
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

fn decimal(declared: &DeclaredType<'_>) -> Option<SqlType> {
    let precision = u8::try_from(declared.precision).ok()?;
    let scale = i8::try_from(declared.scale).ok()?;
    let valid = (1..=38).contains(&precision) && (0..=precision as i8).contains(&scale);
    valid.then_some(SqlType::Decimal { precision, scale })
}

/// The Unicode type for text of a code page; no value has more UTF-16 units than bytes.
fn unicode_type(base: &str, max_length: i32) -> Option<String> {
    match (base, max_length) {
        ("char" | "varchar", length @ 1..=4000) => Some(format!("nvarchar({length})")),
        ("char" | "varchar" | "text", _) => Some("nvarchar(max)".to_string()),
        _ => None,
    }
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
            Self::Text { name, .. } | Self::Binary { name, .. } | Self::Unsupported(name) => {
                f.write_str(name)
            }
            Self::Xml => f.write_str("xml"),
            Self::UniqueIdentifier => f.write_str("uniqueidentifier"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(base: &str, max_length: i32, precision: i32, scale: i32) -> SqlType {
        SqlType::from_catalogue(&DeclaredType {
            base: Some(base),
            declared: base,
            max_length,
            precision,
            scale,
        })
    }

    #[test]
    #[rustfmt::skip]
    fn every_type_has_its_arrow_form() {
        let cases = [
            (declared("tinyint", 1, 3, 0), DataType::Int16, "tinyint"),
            (declared("decimal", 17, 38, 38), DataType::Decimal128(38, 38), "decimal(38,38)"),
            (declared("money", 8, 19, 4), DataType::Decimal128(19, 4), "money"),
            (declared("time", 5, 16, 7), DataType::Utf8, "time(7)"),
            (declared("nvarchar", 256, 0, 0), DataType::Utf8, "nvarchar(128)"),
            (declared("varbinary", -1, 0, 0), DataType::Binary, "varbinary(max)"),
            (declared("timestamp", 8, 0, 0), DataType::Binary, "rowversion"),
            (declared("uniqueidentifier", 16, 0, 0), DataType::Utf8, "uniqueidentifier"),
            (declared("datetimeoffset", 10, 34, 7), utc_timestamp(), "datetimeoffset(7)"),
        ];
        for (sql_type, arrow, name) in cases {
            assert_eq!(sql_type.arrow(), arrow, "{name}");
            assert_eq!(sql_type.to_string(), name);
            assert!(sql_type.is_supported());
        }
    }

    #[test]
    fn types_without_a_form_keep_their_name() {
        let variant = declared("sql_variant", 8016, 0, 0);
        assert!(!variant.is_supported());
        assert_eq!(variant.to_string(), "sql_variant");
        let clr = SqlType::from_catalogue(&DeclaredType {
            base: None,
            declared: "geography",
            max_length: -1,
            precision: 0,
            scale: 0,
        });
        assert_eq!(clr, SqlType::Unsupported("geography".to_string()));
        assert!(!declared("decimal", 17, 39, 0).is_supported());
    }

    #[test]
    fn only_out_of_row_types_are_large() {
        assert!(declared("nvarchar", -1, 0, 0).is_large());
        assert!(declared("ntext", 16, 0, 0).is_large());
        assert!(declared("xml", -1, 0, 0).is_large());
        assert!(!declared("nvarchar", 8000, 0, 0).is_large());
    }

    #[test]
    fn money_is_cast_by_the_server() {
        assert_eq!(
            declared("money", 8, 19, 4).select("t", "a]b"),
            "CAST(t.[a]]b] AS decimal(19, 4)) AS [a]]b]"
        );
        assert_eq!(declared("int", 4, 10, 0).select("c", "x"), "c.[x]");
    }

    #[test]
    fn text_of_a_code_page_is_made_unicode_by_the_server() {
        let select = |base, bytes| declared(base, bytes, 0, 0).select("t", "x");
        assert_eq!(select("varchar", 40), "CAST(t.[x] AS nvarchar(40)) AS [x]");
        assert_eq!(select("char", 4000), "CAST(t.[x] AS nvarchar(4000)) AS [x]");
        assert_eq!(
            select("varchar", 4001),
            "CAST(t.[x] AS nvarchar(max)) AS [x]"
        );
        assert_eq!(select("varchar", -1), "CAST(t.[x] AS nvarchar(max)) AS [x]");
        assert_eq!(select("text", 16), "CAST(t.[x] AS nvarchar(max)) AS [x]");
        for base in ["nchar", "nvarchar", "ntext"] {
            assert_eq!(select(base, 40), "t.[x]");
        }
    }

    #[test]
    fn the_seventh_decimal_is_lost() {
        assert!(declared("datetime2", 8, 27, 7).is_inexact());
        assert!(declared("datetimeoffset", 10, 34, 7).is_inexact());
        assert!(!declared("datetime2", 8, 26, 6).is_inexact());
        assert!(!declared("time", 5, 16, 7).is_inexact(), "text keeps it");
    }
}
