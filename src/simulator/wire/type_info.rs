//! TYPE_INFO: how a column's type stands on the wire.

use super::text::{put_b_varchar, put_us_varchar};
use crate::simulator::protocol::{Collation, Length, SqlType};

pub(super) const NULL: u8 = 0x1f;
pub(super) const TINYINT: u8 = 0x30;
pub(super) const BIT: u8 = 0x32;
pub(super) const SMALLINT: u8 = 0x34;
pub(super) const INT: u8 = 0x38;
pub(super) const SMALLDATETIME: u8 = 0x3a;
pub(super) const REAL: u8 = 0x3b;
pub(super) const MONEY: u8 = 0x3c;
pub(super) const DATETIME: u8 = 0x3d;
pub(super) const FLOAT: u8 = 0x3e;
pub(super) const SMALLMONEY: u8 = 0x7a;
pub(super) const BIGINT: u8 = 0x7f;
pub(super) const GUID: u8 = 0x24;
pub(super) const INTN: u8 = 0x26;
pub(super) const DATE: u8 = 0x28;
pub(super) const TIME: u8 = 0x29;
pub(super) const DATETIME2: u8 = 0x2a;
pub(super) const DATETIMEOFFSET: u8 = 0x2b;
pub(super) const BITN: u8 = 0x68;
pub(super) const DECIMALN: u8 = 0x6a;
pub(super) const NUMERICN: u8 = 0x6c;
pub(super) const FLTN: u8 = 0x6d;
pub(super) const MONEYN: u8 = 0x6e;
pub(super) const DATETIMN: u8 = 0x6f;
pub(super) const BIGVARBINARY: u8 = 0xa5;
pub(super) const BIGVARCHAR: u8 = 0xa7;
pub(super) const BIGBINARY: u8 = 0xad;
pub(super) const BIGCHAR: u8 = 0xaf;
pub(super) const NVARCHAR: u8 = 0xe7;
pub(super) const NCHAR: u8 = 0xef;
pub(super) const TEXT: u8 = 0x23;
pub(super) const NTEXT: u8 = 0x63;
pub(super) const IMAGE: u8 = 0x22;
pub(super) const XML: u8 = 0xf1;
pub(super) const UDT: u8 = 0xf0;
pub(super) const VARIANT: u8 = 0x62;

/// The longest value of TEXT and IMAGE, in bytes.
const LONG: u32 = 0x7fff_ffff;
/// The longest `sql_variant`, in bytes.
const LONGEST_VARIANT: u32 = 8009;
/// What SQL Server says of the assembly of its CLR types.
const ASSEMBLY: &str =
    "Microsoft.SqlServer.Types, Version=11.0.0.0, Culture=neutral, PublicKeyToken=89845dcd8080cc91";

/// The length that means `(max)`.
pub(super) const MAX: u16 = 0xffff;
/// The longest declared length, in bytes.
const LONGEST: u16 = 8000;

/// Appends the type. As a real server does, a column that is NOT NULL has a type without a length where
/// there is one.
pub(super) fn encode(out: &mut Vec<u8>, sql_type: SqlType, collation: Collation, nullable: bool) {
    match sql_type {
        SqlType::Bit => scalar(out, nullable, BIT, BITN, 1),
        SqlType::TinyInt => scalar(out, nullable, TINYINT, INTN, 1),
        SqlType::SmallInt => scalar(out, nullable, SMALLINT, INTN, 2),
        SqlType::Int => scalar(out, nullable, INT, INTN, 4),
        SqlType::BigInt => scalar(out, nullable, BIGINT, INTN, 8),
        SqlType::Real => scalar(out, nullable, REAL, FLTN, 4),
        SqlType::Float => scalar(out, nullable, FLOAT, FLTN, 8),
        SqlType::Money => scalar(out, nullable, MONEY, MONEYN, 8),
        SqlType::SmallMoney => scalar(out, nullable, SMALLMONEY, MONEYN, 4),
        SqlType::DateTime => scalar(out, nullable, DATETIME, DATETIMN, 8),
        SqlType::SmallDateTime => scalar(out, nullable, SMALLDATETIME, DATETIMN, 4),
        SqlType::Decimal { precision, scale } => {
            out.extend_from_slice(&[DECIMALN, decimal_length(precision), precision, scale]);
        }
        SqlType::Date => out.push(DATE),
        SqlType::Time(scale) => out.extend_from_slice(&[TIME, scale]),
        SqlType::DateTime2(scale) => out.extend_from_slice(&[DATETIME2, scale]),
        SqlType::DateTimeOffset(scale) => out.extend_from_slice(&[DATETIMEOFFSET, scale]),
        SqlType::UniqueIdentifier => out.extend_from_slice(&[GUID, 16]),
        SqlType::Binary(_) => variable(out, BIGBINARY, sql_type, None),
        SqlType::VarBinary(_) => variable(out, BIGVARBINARY, sql_type, None),
        SqlType::Char(_) => variable(out, BIGCHAR, sql_type, Some(collation)),
        SqlType::VarChar(_) => variable(out, BIGVARCHAR, sql_type, Some(collation)),
        SqlType::NChar(_) => variable(out, NCHAR, sql_type, Some(collation)),
        SqlType::NVarChar(_) => variable(out, NVARCHAR, sql_type, Some(collation)),
        SqlType::RowVersion => out.extend_from_slice(&[BIGBINARY, 8, 0]),
        SqlType::Text => long(out, TEXT, LONG, Some(collation)),
        SqlType::NText => long(out, NTEXT, LONG - 1, Some(collation)),
        SqlType::Image => long(out, IMAGE, LONG, None),
        // No schema collection.
        SqlType::Xml => out.extend_from_slice(&[XML, 0]),
        SqlType::SqlVariant => {
            out.push(VARIANT);
            out.extend_from_slice(&LONGEST_VARIANT.to_le_bytes());
        }
        SqlType::Udt(udt) => {
            out.push(UDT);
            out.extend_from_slice(&udt.longest().unwrap_or(MAX).to_le_bytes());
            for name in ["master", "sys", udt.name()] {
                put_b_varchar(out, name);
            }
            let class = format!("Microsoft.SqlServer.Types.{}, {ASSEMBLY}", udt.class());
            put_us_varchar(out, &class, u16::MAX);
        }
    }
}

/// The user type that a column's description begins with: 80 for `timestamp`.
pub(super) fn user_type(sql_type: SqlType) -> u32 {
    match sql_type {
        SqlType::RowVersion => 80,
        _ => 0,
    }
}

/// Appends the name of the table that a column of TEXT, NTEXT or IMAGE comes from: one empty part, since it
/// may be an expression.
pub(super) fn put_table_name(out: &mut Vec<u8>, sql_type: SqlType) {
    if matches!(sql_type, SqlType::Text | SqlType::NText | SqlType::Image) {
        out.extend_from_slice(&[1, 0, 0]);
    }
}

fn long(out: &mut Vec<u8>, token: u8, longest: u32, collation: Option<Collation>) {
    out.push(token);
    out.extend_from_slice(&longest.to_le_bytes());
    if let Some(collation) = collation {
        out.extend_from_slice(&collation.bytes());
    }
}

/// Whether values of the type have no length in front when the column is NOT NULL.
pub(super) fn has_bare_form(sql_type: SqlType) -> bool {
    use SqlType::{
        BigInt, Bit, DateTime, Float, Int, Money, Real, SmallDateTime, SmallInt, SmallMoney,
        TinyInt,
    };
    matches!(
        sql_type,
        Bit | TinyInt
            | SmallInt
            | Int
            | BigInt
            | Real
            | Float
            | Money
            | SmallMoney
            | DateTime
            | SmallDateTime
    )
}

/// The declared length in bytes of a character or binary type; `None` for `(max)`, and for other types.
pub(super) fn declared_bytes(sql_type: SqlType) -> Option<u16> {
    let (length, unit) = match sql_type {
        SqlType::Binary(length) | SqlType::Char(length) => (length, 1),
        SqlType::NChar(length) => (length, 2),
        SqlType::VarBinary(Length::Limited(length)) | SqlType::VarChar(Length::Limited(length)) => {
            (length, 1)
        }
        SqlType::NVarChar(Length::Limited(length)) => (length, 2),
        SqlType::RowVersion => (8, 1),
        _ => return None,
    };
    length
        .max(1)
        .checked_mul(unit)
        .filter(|bytes| *bytes <= LONGEST)
}

/// Bytes of a decimal's sign and magnitude.
pub(super) fn decimal_length(precision: u8) -> u8 {
    match precision {
        0..=9 => 5,
        10..=19 => 9,
        20..=28 => 13,
        _ => 17,
    }
}

fn scalar(out: &mut Vec<u8>, nullable: bool, bare: u8, sized: u8, length: u8) {
    if nullable {
        out.extend_from_slice(&[sized, length]);
    } else {
        out.push(bare);
    }
}

fn variable(out: &mut Vec<u8>, token: u8, sql_type: SqlType, collation: Option<Collation>) {
    out.push(token);
    let length = declared_bytes(sql_type).unwrap_or(MAX);
    out.extend_from_slice(&length.to_le_bytes());
    if let Some(collation) = collation {
        out.extend_from_slice(&collation.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::protocol::Udt;

    fn encoded(sql_type: SqlType, nullable: bool) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, sql_type, Collation::SERVER, nullable);
        out
    }

    #[test]
    fn a_nullable_integer_has_a_length() {
        assert_eq!(encoded(SqlType::Int, true), [0x26, 4]);
        assert_eq!(encoded(SqlType::Int, false), [0x38]);
        assert_eq!(encoded(SqlType::Bit, true), [0x68, 1]);
    }

    #[test]
    fn lengths_are_in_bytes() {
        let text = SqlType::NVarChar(Length::Limited(128));
        assert_eq!(
            encoded(text, true),
            [0xe7, 0x00, 0x01, 0x09, 0x04, 0xd0, 0x00, 0x34]
        );
        assert_eq!(encoded(SqlType::Binary(10), false), [0xad, 10, 0]);
        let max = SqlType::VarBinary(Length::Max);
        assert_eq!(encoded(max, true), [0xa5, 0xff, 0xff]);
    }

    #[test]
    fn rarer_types_have_their_own_descriptions() {
        assert_eq!(encoded(SqlType::RowVersion, false), [0xad, 8, 0]);
        assert_eq!(
            encoded(SqlType::Text, true),
            [0x23, 0xff, 0xff, 0xff, 0x7f, 0x09, 0x04, 0xd0, 0x00, 0x34]
        );
        assert_eq!(
            encoded(SqlType::NText, true)[..5],
            [0x63, 0xfe, 0xff, 0xff, 0x7f]
        );
        assert_eq!(
            encoded(SqlType::Image, true),
            [0x22, 0xff, 0xff, 0xff, 0x7f]
        );
        assert_eq!(encoded(SqlType::Xml, true), [0xf1, 0]);
        assert_eq!(encoded(SqlType::SqlVariant, true), [0x62, 0x49, 0x1f, 0, 0]);
        let udt = encoded(SqlType::Udt(Udt::HierarchyId), true);
        assert_eq!(udt[..3], [0xf0, 0x7c, 0x03]);
        let geography = encoded(SqlType::Udt(Udt::Geography), true);
        assert_eq!(geography[..4], [0xf0, 0xff, 0xff, 6]);
    }

    #[test]
    fn a_length_beyond_the_longest_becomes_max() {
        assert_eq!(
            declared_bytes(SqlType::NVarChar(Length::Limited(4001))),
            None
        );
        assert_eq!(
            declared_bytes(SqlType::NVarChar(Length::Limited(u16::MAX))),
            None
        );
        assert_eq!(
            declared_bytes(SqlType::VarChar(Length::Limited(0))),
            Some(1)
        );
    }

    #[test]
    fn precision_and_scale_follow_the_length() {
        let sql_type = SqlType::Decimal {
            precision: 18,
            scale: 2,
        };
        assert_eq!(encoded(sql_type, true), [0x6a, 9, 18, 2]);
        assert_eq!(encoded(SqlType::DateTime2(7), true), [0x2a, 7]);
    }
}
