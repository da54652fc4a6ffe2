//! What the server is asked for, so that the driver reads each type whole.

use super::SqlType;
use crate::source::sqlserver::ident::quote;

impl SqlType {
    /// The expression that reads column `name` of the row `alias`; the same for live rows and for changes.
    ///
    /// The server casts what the driver reads wrongly or not at all: money would be a binary fraction, of code
    /// pages the driver knows some only and refuses a byte that stands for nothing, and of the types of .NET it
    /// has only their bytes. A place is one value: four bytes of its SRID, then well-known binary.
    pub(in crate::source::sqlserver) fn select(&self, alias: &str, name: &str) -> String {
        let column = format!("{alias}.{}", quote(name));
        let read = match self {
            Self::Money => format!("CAST({column} AS decimal(19, 4))"),
            Self::SmallMoney => format!("CAST({column} AS decimal(10, 4))"),
            Self::Xml | Self::Json | Self::Vector => format!("CAST({column} AS nvarchar(max))"),
            Self::HierarchyId => format!("CAST({column} AS nvarchar(4000))"),
            Self::Text {
                unicode: Some(unicode),
                ..
            } => format!("CAST({column} AS {unicode})"),
            Self::Spatial(_) => {
                format!("CAST({column}.STSrid AS binary(4)) + {column}.AsBinaryZM()")
            }
            Self::Variant => variant(&column),
            _ => return column,
        };
        format!("{read} AS {}", quote(name))
    }
}

/// How the base types of a `sql_variant` become text whose plain cast would lose digits or bytes: all digits of
/// a fraction (style 3) and of money (style 2), seconds of the old dates (121, 120), bytes in hex (1).
const STYLES: [(&str, &str, u8); 8] = [
    ("float", "float", 3),
    ("real", "real", 3),
    ("money", "money", 2),
    ("smallmoney", "smallmoney", 2),
    ("datetime", "datetime", 121),
    ("smalldatetime", "smalldatetime", 120),
    ("binary", "varbinary(8000)", 1),
    ("varbinary", "varbinary(8000)", 1),
];

fn variant(column: &str) -> String {
    let styled = STYLES.map(|(base, sql_type, style)| {
        format!(
            "WHEN N'{base}' THEN CONVERT(nvarchar(max), CAST({column} AS {sql_type}), {style}) "
        )
    });
    format!(
        "CASE CAST(SQL_VARIANT_PROPERTY({column}, 'BaseType') AS nvarchar(128)) {}\
         WHEN N'uniqueidentifier' THEN LOWER(CAST({column} AS nvarchar(36))) \
         ELSE CAST({column} AS nvarchar(max)) END",
        styled.concat()
    )
}

/// The Unicode type for text of a code page; no value has more UTF-16 units than bytes.
pub(super) fn unicode_type(base: &str, max_length: i32) -> Option<String> {
    match (base, max_length) {
        ("char" | "varchar", length @ 1..=4000) => Some(format!("nvarchar({length})")),
        ("char" | "varchar" | "text", _) => Some("nvarchar(max)".to_string()),
        _ => None,
    }
}
