use std::borrow::Cow;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{
    Date32Type, Decimal128Type, Int16Type, Int32Type, TimestampMicrosecondType,
};
use tiberius::Uuid;
use tiberius::numeric::Numeric;

use super::*;

fn one(sql_type: &SqlType, value: ColumnData<'_>) -> ArrayRef {
    let mut builder = ColumnBuilder::new(sql_type);
    assert!(builder.append(&value).is_some(), "{value:?}");
    let array = builder.finish();
    assert_eq!(array.data_type(), &sql_type.arrow());
    assert_eq!(array.len(), 1);
    array
}

fn micros(sql_type: &SqlType, value: ColumnData<'_>) -> i64 {
    one(sql_type, value)
        .as_primitive::<TimestampMicrosecondType>()
        .value(0)
}

fn text(sql_type: &SqlType, value: ColumnData<'_>) -> String {
    one(sql_type, value).as_string::<i32>().value(0).to_string()
}

#[test]
fn datetime_is_rounded_to_the_shown_millisecond() {
    let at = |days, fragments| {
        micros(
            &SqlType::DateTime,
            ColumnData::DateTime(Some(DateTime::new(days, fragments))),
        )
    };
    assert_eq!(at(25_567, 0), 0);
    assert_eq!(at(25_567, 1), 3_000);
    assert_eq!(at(25_567, 2), 7_000);
    assert_eq!(at(25_567, 299), 997_000);
    assert_eq!(at(25_567, 300), 1_000_000);
    // 1753-01-01T23:59:59.997, the first day there is.
    assert_eq!(at(-53_690, 25_919_999), -6_847_718_400_003_000);
}

#[test]
fn smalldatetime_counts_minutes() {
    let value = ColumnData::SmallDateTime(Some(SmallDateTime::new(25_568, 90)));
    assert_eq!(
        micros(&SqlType::SmallDateTime, value),
        MICROS_PER_DAY + 5_400_000_000
    );
}

#[test]
fn datetime2_is_truncated_not_rounded() {
    let last = DateTime2::new(Date::new(3_652_058), Time::new(863_999_999_999, 7));
    // 9999-12-31T23:59:59.999999
    assert_eq!(
        micros(&SqlType::DateTime2(7), ColumnData::DateTime2(Some(last))),
        253_402_300_799_999_999
    );
    let coarse = DateTime2::new(Date::new(719_162), Time::new(123, 2));
    assert_eq!(
        micros(&SqlType::DateTime2(7), ColumnData::DateTime2(Some(coarse))),
        1_230_000
    );
    let first = DateTime2::new(Date::new(0), Time::new(0, 7));
    assert_eq!(
        micros(&SqlType::DateTime2(7), ColumnData::DateTime2(Some(first))),
        -62_135_596_800_000_000
    );
}

#[test]
fn datetimeoffset_is_the_instant_on_the_wire() {
    // 17:00 UTC, written as 12:00 -05:00.
    let utc = DateTime2::new(Date::new(719_162), Time::new(17 * 3600, 0));
    let value = DateTimeOffset::new(utc, -300);
    assert_eq!(
        micros(
            &SqlType::DateTimeOffset(7),
            ColumnData::DateTimeOffset(Some(value))
        ),
        17 * 3_600_000_000
    );
}

#[test]
fn time_is_text_with_its_scale() {
    let at = |increments, scale| {
        text(
            &SqlType::Time(scale),
            ColumnData::Time(Some(Time::new(increments, scale))),
        )
    };
    assert_eq!(at(863_999_999_999, 7), "23:59:59.9999999");
    assert_eq!(at(86_399_123, 3), "23:59:59.123");
    assert_eq!(at(3_661, 0), "01:01:01");
}

#[test]
fn dates_reach_both_ends() {
    let at = |days| {
        one(&SqlType::Date, ColumnData::Date(Some(Date::new(days))))
            .as_primitive::<Date32Type>()
            .value(0)
    };
    assert_eq!(at(0), -719_162);
    assert_eq!(at(719_162), 0);
    assert_eq!(at(3_652_058), 2_932_896);
}

#[test]
fn decimals_keep_all_38_digits() {
    let digits = 99_999_999_999_999_999_999_999_999_999_999_999_999_i128;
    let sql_type = SqlType::Decimal {
        precision: 38,
        scale: 38,
    };
    let value = ColumnData::Numeric(Some(Numeric::new_with_scale(-digits, 38)));
    let array = one(&sql_type, value);
    assert_eq!(array.as_primitive::<Decimal128Type>().value(0), -digits);

    let mut money = ColumnBuilder::new(&SqlType::Money);
    let coarse = ColumnData::Numeric(Some(Numeric::new_with_scale(5, 0)));
    let fine = ColumnData::Numeric(Some(Numeric::new_with_scale(12_345, 5)));
    assert!(money.append(&coarse).is_some());
    assert!(money.append(&fine).is_none(), "a digit would be lost");
    let array = money.finish();
    assert_eq!(array.as_primitive::<Decimal128Type>().value(0), 50_000);
}

#[test]
fn tinyint_is_unsigned() {
    let array = one(&SqlType::TinyInt, ColumnData::U8(Some(255)));
    assert_eq!(array.as_primitive::<Int16Type>().value(0), 255);
}

#[test]
fn uuids_are_lower_case() {
    let guid = Uuid::from_u128(0x6F9619FF_8B86_D011_B42D_00C04FC964FF);
    assert_eq!(
        text(&SqlType::UniqueIdentifier, ColumnData::Guid(Some(guid))),
        "6f9619ff-8b86-d011-b42d-00c04fc964ff"
    );
}

#[test]
fn null_is_null_and_another_type_is_refused() {
    let mut builder = ColumnBuilder::new(&SqlType::Int);
    assert_eq!(builder.append(&ColumnData::I32(None)), Some(0));
    let text = ColumnData::String(Some(Cow::Borrowed("top secret")));
    assert_eq!(builder.append(&text), None);
    let error = unexpected("age", &SqlType::Int, &text);
    assert_eq!(
        error.to_string().split(';').next().unwrap(),
        "column age came as String where int was expected"
    );
    let array = builder.finish();
    assert!(array.is_null(0));
    assert_eq!(array.len(), 1);
}

#[test]
fn bytes_of_variable_width_are_counted() {
    let name = "varbinary(max)".to_string();
    let mut builder = ColumnBuilder::new(&SqlType::Binary { name, large: true });
    let value = ColumnData::Binary(Some(Cow::Borrowed(&[0; 100])));
    assert_eq!(builder.append(&value), Some(100));
}

#[test]
fn a_place_is_its_reference_system_and_its_shape() {
    let geography = SqlType::Spatial("geography".to_string());
    let place = |bytes: Option<&'static [u8]>| {
        let bytes = bytes.map(Cow::Borrowed);
        one(&geography, ColumnData::Binary(bytes))
    };
    let array = place(Some(&[0, 0, 0x10, 0xe6, 1, 1]));
    let fields = array.as_struct();
    assert_eq!(fields.column(0).as_primitive::<Int32Type>().value(0), 4326);
    assert_eq!(fields.column(1).as_binary::<i32>().value(0), [1, 1]);
    assert!(place(None).is_null(0));
    let short = ColumnData::Binary(Some(Cow::Borrowed(&[1, 2])));
    assert!(ColumnBuilder::new(&geography).append(&short).is_none());
}
