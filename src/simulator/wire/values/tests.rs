//! Values byte by byte, as MS-TDS 2.2.5.2 and 2.2.5.5 have them.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, FixedSizeBinaryArray, LargeBinaryArray, StringArray,
};

use super::Values;
use crate::simulator::protocol::forms::{TICKS_END, instant_form, offset_form};
use crate::simulator::protocol::{Collation, Length, SqlType, Udt};

fn put_in(sql_type: SqlType, collation: &str, array: ArrayRef) -> Vec<u8> {
    let collation = Collation::named(collation).unwrap();
    let values = Values::new(sql_type, collation, &array).unwrap();
    let mut out = Vec::new();
    values.put(&mut out, 0, true).unwrap();
    out
}

fn put(sql_type: SqlType, array: ArrayRef) -> Vec<u8> {
    put_in(sql_type, "SQL_Latin1_General_CP1_CI_AS", array)
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn bytes(value: &[u8]) -> ArrayRef {
    Arc::new(BinaryArray::from(vec![value]))
}

fn form(value: &[u8]) -> ArrayRef {
    Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once(value)).unwrap())
}

#[test]
fn large_values_of_the_older_types_stand_behind_a_pointer() {
    let head = b"\x10dummy textptr\0\0\0dummyTS\0";
    let with = |tail: &[u8]| [head, tail].concat();
    assert_eq!(put(SqlType::Text, text("é")), with(b"\x01\0\0\0\xe9"));
    assert_eq!(put(SqlType::NText, text("Ж")), with(b"\x02\0\0\0\x16\x04"));
    assert_eq!(put(SqlType::Image, bytes(b"\x07")), with(b"\x01\0\0\0\x07"));
    let values = Values::new(SqlType::Text, Collation::SERVER, &text("x")).unwrap();
    assert_eq!(values.null(), [0]);
}

#[test]
fn xml_is_sent_in_chunks_without_its_length() {
    assert_eq!(
        put(SqlType::Xml, text("<a/>")),
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\x08\0\0\0<\0a\0/\0>\0\0\0\0\0"
    );
    let long = put(SqlType::Xml, text(&"x".repeat(5000)));
    assert_eq!(long.len(), 8 + 4 + 8000 + 4 + 2000 + 4);
    assert_eq!(long[8..12], 8000_u32.to_le_bytes());
    assert_eq!(put(SqlType::Xml, text("")).len(), 8 + 4);
}

#[test]
fn a_large_value_is_one_chunk_behind_its_length() {
    let value = "x".repeat(8 << 20);
    let sent = put(SqlType::VarChar(Length::Max), text(&value));
    let length = 8_u64 << 20;
    assert_eq!(sent[..8], length.to_le_bytes());
    assert_eq!(sent[8..12], (length as u32).to_le_bytes());
    assert_eq!(sent[sent.len() - 4..], [0; 4]);
    assert_eq!(sent.len(), (8 << 20) + 16);
}

#[test]
fn a_variant_has_its_length_and_its_own_type() {
    let int = LargeBinaryArray::from(vec![&[0x38, 0, 1, 0, 0, 0][..]]);
    assert_eq!(
        put(SqlType::SqlVariant, Arc::new(int)),
        b"\x06\0\0\0\x38\0\x01\0\0\0"
    );
}

#[test]
fn row_versions_and_clr_types_are_bytes() {
    assert_eq!(
        put(SqlType::RowVersion, bytes(b"\0\0\0\0\0\0\x07\xd1")),
        b"\x08\0\0\0\0\0\0\0\x07\xd1"
    );
    assert_eq!(
        put(SqlType::Udt(Udt::HierarchyId), bytes(b"\x58")),
        b"\x01\0\0\0\0\0\0\0\x01\0\0\0\x58\0\0\0\0"
    );
}

#[test]
fn text_is_in_its_collations_code_page() {
    let varchar = SqlType::VarChar(Length::Limited(10));
    let sent = |collation, value| put_in(varchar, collation, text(value));
    assert_eq!(sent("Japanese_CI_AS", "表"), b"\x02\0\x95\x5c");
    assert_eq!(sent("Cyrillic_General_CI_AS", "ж"), b"\x01\0\xe6");
    assert_eq!(sent("Greek_CI_AS", "α"), b"\x01\0\xe1");
    assert_eq!(
        sent("Latin1_General_100_CI_AS_SC_UTF8", "ж"),
        b"\x02\0\xd0\xb6"
    );
    assert_eq!(
        put_in(SqlType::Char(3), "Japanese_CI_AS", text("表")),
        b"\x03\0\x95\x5c "
    );
}

#[test]
fn a_lone_surrogate_is_one_code_unit() {
    let nvarchar = SqlType::NVarChar(Length::Limited(4));
    assert_eq!(put(nvarchar, text("\u{10d800}a")), b"\x04\0\x00\xd8a\0");
}

#[test]
fn the_seventh_digit_and_the_offset_are_sent() {
    let last = instant_form(TICKS_END - 1);
    assert_eq!(
        put(SqlType::DateTime2(7), form(&last)),
        b"\x08\xff\xbf\x69\x2a\xc9\xda\xb9\x37"
    );
    let first = offset_form(1, -840);
    assert_eq!(
        put(SqlType::DateTimeOffset(7), form(&first)),
        b"\x0a\x01\0\0\0\0\0\0\0\xb8\xfc"
    );
}
