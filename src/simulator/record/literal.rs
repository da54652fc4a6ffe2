//! Values as T-SQL that gives exactly them again.

use super::text::national;
use crate::simulator::protocol::{Collation, SqlType};
use crate::simulator::tsql::constant;
use crate::simulator::tsql::lexer::tokens;
use crate::simulator::types::{
    Mode, Value, bytes_to_hex, convert_value, decimal_text, guid_text, text_of,
};

/// The CONVERT style of dates and times with all their digits that everyone reads alike.
const ISO: i64 = 126;

/// The constant that becomes the value where it is assigned to a parameter of the type; `None` where none does.
pub(crate) fn constant(value: &Value, sql_type: SqlType) -> Option<String> {
    let text = match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(bit) => i64::from(*bit).to_string(),
        Value::Int(int) => int.to_string(),
        // A decimal number of 17 digits is nearer to this double than to any other.
        Value::Float(float) => format!("{float:.16e}"),
        Value::Decimal(digits, scale) => decimal_text(*digits, *scale),
        Value::Text(text) => national(text),
        Value::Bytes(bytes) => format!("0x{}", bytes_to_hex(bytes)),
        Value::Guid(bytes) => national(&guid_text(bytes)),
        Value::Date(_)
        | Value::Time(_)
        | Value::Timestamp(_)
        | Value::Instant(_)
        | Value::Offset(..) => national(&text_of(value, sql_type, ISO)?),
        Value::Variant(_) => return None,
    };
    is_exact(&text, value, sql_type).then_some(text)
}

/// Whether a constant, converted to the type, is the value.
fn is_exact(text: &str, value: &Value, sql_type: SqlType) -> bool {
    let Ok(Some((from, read))) = tokens(text).and_then(|tokens| constant::constant(&tokens)) else {
        return false;
    };
    match (convert_value(read, from, sql_type, 0, Mode::Cast), value) {
        (Ok(Value::Float(read)), Value::Float(float)) => read.to_bits() == float.to_bits(),
        (Ok(read), value) => read == *value,
        (Err(_), _) => false,
    }
}

/// An expression with the value and the type in a database of the collation; `None` where there is none.
pub(crate) fn cast(value: &Value, sql_type: SqlType, collation: Collation) -> Option<String> {
    let held = match value {
        Value::Variant(inner) => {
            let (of, value) = inner.as_ref();
            if of.sql_type.is_text() && of.collation != collation {
                return None;
            }
            cast(value, of.sql_type, collation)?
        }
        _ => constant(value, sql_type)?,
    };
    Some(format!("CAST({held} AS {})", sql_type.declared()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::protocol::{Length, Udt};
    use crate::simulator::types::DateOrder;
    use crate::simulator::types::parse_text::{Reading, parse_guid, parse_instant};

    /// The constants of values, each of which becomes its value again.
    fn constants(sql_type: SqlType, values: impl IntoIterator<Item = Value>) -> Vec<String> {
        let exact = |value| {
            constant(&value, sql_type).unwrap_or_else(|| panic!("{value:?} as {sql_type:?}"))
        };
        values.into_iter().map(exact).collect()
    }

    #[test]
    fn numbers_are_exact_to_the_edges_of_their_types() {
        let ints = |least: i64, most: i64| [least, -1, 0, most].map(Value::Int);
        constants(SqlType::TinyInt, [0, 255].map(Value::Int));
        constants(SqlType::SmallInt, ints(i16::MIN.into(), i16::MAX.into()));
        constants(SqlType::Int, ints(i32::MIN.into(), i32::MAX.into()));
        constants(SqlType::BigInt, ints(i64::MIN, i64::MAX));
        assert_eq!(
            constants(SqlType::Bit, [true, false].map(Value::Bool)),
            ["1", "0"]
        );
        let most = 10_i128.pow(38) - 1;
        for scale in [0, 19, 38] {
            let sql_type = SqlType::Decimal {
                precision: 38,
                scale,
            };
            let digits = [most, -most, 1, 0].map(|digits| Value::Decimal(digits, scale));
            constants(sql_type, digits);
        }
        let money = |digits: i64| Value::Decimal(digits.into(), 4);
        assert_eq!(
            constants(
                SqlType::Money,
                [money(i64::MIN), money(i64::MAX), money(-1)]
            ),
            ["-922337203685477.5808", "922337203685477.5807", "-0.0001"]
        );
        let small = [i32::MIN, i32::MAX].map(|digits| money(digits.into()));
        constants(SqlType::SmallMoney, small);
    }

    #[test]
    fn floats_are_exact_to_the_last_bit() {
        let doubles = [
            f64::MIN,
            f64::MAX,
            f64::MIN_POSITIVE,
            f64::from_bits(1),
            0.1 + 0.2,
            -0.0,
            1.0 / 3.0,
            9_007_199_254_740_993.0,
        ];
        constants(SqlType::Float, doubles.map(Value::Float));
        let singles = [f32::MIN, f32::MAX, f32::from_bits(1), 0.1, -0.0];
        constants(
            SqlType::Real,
            singles.map(|float| Value::Float(float.into())),
        );
        for float in [f64::NAN, f64::INFINITY] {
            assert_eq!(constant(&Value::Float(float), SqlType::Float), None);
        }
    }

    #[test]
    fn texts_and_bytes_are_exact() {
        let texts = [
            "",
            "it's",
            "''",
            "a\r\nGO\r\nb",
            "\u{10d800}",
            "日本 𝄞",
            "trailing  ",
            "\0",
        ];
        for sql_type in [
            SqlType::NVarChar(Length::Limited(4000)),
            SqlType::NVarChar(Length::Max),
            SqlType::NText,
        ] {
            constants(sql_type, texts.map(Value::from));
        }
        let page = ["", "it's", "é€", "a\nGO\n"].map(Value::from);
        constants(SqlType::VarChar(Length::Limited(8000)), page.clone());
        constants(SqlType::VarChar(Length::Max), page.clone());
        constants(SqlType::Text, page);
        let padded = Value::from("ab ");
        constants(SqlType::Char(3), [padded.clone()]);
        constants(SqlType::NChar(3), [padded]);
        let beyond = Value::from("日本");
        assert_eq!(constant(&beyond, SqlType::VarChar(Length::Max)), None);
        constants(SqlType::Xml, [Value::from("<a b=\"it's\">&lt;</a>")]);
        let bytes = [vec![], vec![0], vec![0xff; 9000]].map(Value::Bytes);
        constants(SqlType::VarBinary(Length::Max), bytes.clone());
        constants(SqlType::Image, bytes);
        constants(SqlType::Binary(2), [Value::Bytes(vec![1, 0])]);
        constants(SqlType::RowVersion, [Value::Bytes(vec![0xff; 8])]);
        let place = Value::Bytes(vec![0x58]);
        constants(SqlType::Udt(Udt::HierarchyId), [place.clone()]);
        constants(SqlType::Udt(Udt::Geography), [place]);
    }

    #[test]
    fn dates_and_times_are_exact() {
        let reading = Reading {
            order: DateOrder::Ymd,
            legacy: false,
        };
        let ticks = |text: &str| parse_instant(text, reading).unwrap().0;
        let first = ticks("0001-01-01T00:00:00");
        let last = ticks("9999-12-31T23:59:59.9999999");
        constants(SqlType::DateTime2(7), [first, last].map(Value::Instant));
        let seconds = ticks("9999-12-31T23:59:59");
        constants(SqlType::DateTime2(0), [first, seconds].map(Value::Instant));
        let offsets = [
            Value::Offset(first + 840 * 600_000_000, -840),
            Value::Offset(last - 840 * 600_000_000, 840),
            Value::Offset(ticks("2024-02-29T12:00:00.0000001"), 0),
        ];
        constants(SqlType::DateTimeOffset(7), offsets);
        constants(SqlType::Date, [-719_162, 0, 2_932_896].map(Value::Date));
        let nanos = 86_400_000_000_000;
        constants(SqlType::Time(7), [0, nanos - 100].map(Value::Time));
        constants(
            SqlType::Time(0),
            [0, nanos - 1_000_000_000].map(Value::Time),
        );
        let micros = |text: &str| ticks(text) / 10 - ticks("1970-01-01T00:00:00") / 10;
        let old = [
            "1753-01-01T00:00:00",
            "9999-12-31T23:59:59.997",
            "2024-01-01T00:00:00.003",
        ];
        constants(
            SqlType::DateTime,
            old.map(|text| Value::Timestamp(micros(text))),
        );
        constants(
            SqlType::SmallDateTime,
            ["1900-01-01T00:00:00", "2079-06-06T23:59:00"]
                .map(|text| Value::Timestamp(micros(text))),
        );
    }

    #[test]
    fn guids_are_exact_and_null_is_of_every_type() {
        let guid = parse_guid("6F9619FF-8B86-D011-B42D-00C04FC964FF").unwrap();
        assert_eq!(
            constants(SqlType::UniqueIdentifier, [Value::Guid(guid)]),
            ["N'6F9619FF-8B86-D011-B42D-00C04FC964FF'"]
        );
        for sql_type in [SqlType::Int, SqlType::Xml, SqlType::SqlVariant] {
            assert_eq!(constants(sql_type, [Value::Null]), ["NULL"]);
        }
        assert_eq!(
            cast(&Value::Null, SqlType::Int, Collation::SERVER).unwrap(),
            "CAST(NULL AS int)"
        );
    }

    #[test]
    fn a_variant_is_cast_from_the_type_that_it_holds() {
        let of = |sql_type: SqlType, value| Value::Variant(Box::new((sql_type.into(), value)));
        let text = of(SqlType::NVarChar(Length::Limited(9)), Value::from("it's"));
        let cast = |value: &Value, collation| super::cast(value, SqlType::SqlVariant, collation);
        assert_eq!(
            cast(&text, Collation::SERVER).unwrap(),
            "CAST(CAST(N'it''s' AS nvarchar(9)) AS sql_variant)"
        );
        let other = Collation::named("Japanese_CI_AS").unwrap();
        assert_eq!(cast(&text, other), None);
        assert!(cast(&of(SqlType::Int, Value::Int(-1)), other).is_some());
        assert_eq!(constant(&text, SqlType::SqlVariant), None);
    }
}
