//! Remote procedure calls as bytes, from other clients than tiberius.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray, new_null_array};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Int16Type, Int32Type, Int64Type,
    Time64NanosecondType, TimestampMicrosecondType,
};

use super::raw::{NO_HEADERS, Raw};
use crate::simulator::protocol::forms::{TICKS_TO_1970, instant_of, offset_of};
use crate::simulator::protocol::{Length, Parameter, SqlType};
use crate::simulator::wire::parameter::CallError;
use crate::simulator::wire::prepared::Prepared;
use crate::simulator::wire::reader::Reader;
use crate::simulator::wire::rpc::{self, Call, Procedure};

const COLLATION: &[u8] = &[0x09, 0x04, 0xd0, 0x00, 0x34];

/// `sp_executesql` by its id, without options.
const EXECUTE_SQL: &[u8] = &[0xff, 0xff, 10, 0, 0, 0];

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A parameter of type NVARCHAR(4000).
fn nvarchar(name: &str, text: &str) -> Vec<u8> {
    let length = u16::try_from(text.encode_utf16().count() * 2).unwrap();
    let mut bytes = parameter(name, 0, &[0xe7, 0x40, 0x1f]);
    bytes.extend_from_slice(COLLATION);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&utf16(text));
    bytes
}

/// A parameter with its type and value as they stand on the wire.
fn parameter(name: &str, status: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    [&[length], utf16(name).as_slice(), &[status], bytes].concat()
}

fn decode(bytes: &[u8]) -> Result<Call, CallError> {
    rpc::next_call(&mut Reader::new("call", bytes))
}

/// The parameter with this type and value.
fn value(bytes: &[u8]) -> Parameter {
    let call = [b"\x01\x00p\x00\x00\x00", parameter("", 0, bytes).as_slice()].concat();
    decode(&call).unwrap().parameters.remove(0)
}

fn refused(bytes: &[u8]) -> u32 {
    let call = [b"\x01\x00p\x00\x00\x00", parameter("", 0, bytes).as_slice()].concat();
    match decode(&call) {
        Err(CallError::Refused(error)) => error.number,
        other => panic!("{other:?}"),
    }
}

fn micros(array: &ArrayRef) -> i64 {
    array.as_primitive::<TimestampMicrosecondType>().value(0)
}

/// One second of 1970 in steps of 100 ns since 0001.
const SECOND_OF_1970: i64 = TICKS_TO_1970 + 10_000_000;

fn ticks(array: &ArrayRef) -> i64 {
    instant_of(array.as_fixed_size_binary().value(0))
}

/// The "RPC Client Request" example of MS-TDS: `foo3` with a SMALLINT that has its default.
#[test]
fn the_example_of_the_specification_is_read() {
    let call = decode(b"\x04\x00f\0o\0o\x003\0\x00\x00\x00\x02\x26\x02\x00").unwrap();
    assert_eq!(call.procedure, Procedure::Named("foo3".to_owned()));
    assert_eq!(call.parameters.len(), 1);
    assert_eq!(call.parameters[0].sql_type, SqlType::SmallInt);
    assert!(call.parameters[0].value.is_null(0));
    assert!(!call.parameters[0].output);
}

#[test]
fn numbers_of_all_types_are_read() {
    assert!(value(&[0x32, 1]).value.as_boolean().value(0));
    assert!(!value(&[0x68, 1, 1, 0]).value.as_boolean().value(0));
    let tiny = value(&[0x26, 1, 1, 0xff]);
    assert_eq!(tiny.sql_type, SqlType::TinyInt);
    assert_eq!(tiny.value.as_primitive::<Int16Type>().value(0), 255);
    let small = value(&[0x34, 0xff, 0xff]);
    assert_eq!(small.value.as_primitive::<Int16Type>().value(0), -1);
    let int = value(&[0x26, 4, 4, 1, 0, 0, 0x80]);
    assert_eq!(int.value.as_primitive::<Int32Type>().value(0), i32::MIN + 1);
    let big = value(&[0x7f, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(big.value.as_primitive::<Int64Type>().value(0), 1);
    let real = value(&[0x6d, 4, 4, 0, 0, 0xc0, 0x3f]);
    assert!((real.value.as_primitive::<Float32Type>().value(0) - 1.5).abs() < f32::EPSILON);
    let exact = |bytes: &[u8]| {
        let parameter = value(bytes);
        let value = parameter.value.as_primitive::<Decimal128Type>().value(0);
        (parameter.sql_type, value)
    };
    let decimal = SqlType::Decimal {
        precision: 5,
        scale: 2,
    };
    assert_eq!(
        exact(&[0x6a, 5, 5, 2, 5, 0, 0x39, 0x30, 0, 0]),
        (decimal, -12345)
    );
    // The JDBC driver sends no more bytes than the number needs.
    let short = exact(&[0x6a, 5, 5, 2, 3, 1, 0x39, 0x30]);
    assert_eq!(short, (decimal, 12345));
    let money = exact(&[0x6e, 8, 8, 0, 0, 0, 0, 0x10, 0x27, 0, 0]);
    assert_eq!(money, (SqlType::Money, 10_000));
    assert_eq!(
        exact(&[0x7a, 0xff, 0xff, 0xff, 0xff]),
        (SqlType::SmallMoney, -1)
    );
}

#[test]
fn texts_and_bytes_of_all_types_are_read() {
    let text = |bytes: &[u8]| {
        let parameter = value(bytes);
        let text = parameter.value.as_string::<i32>().value(0).to_owned();
        (parameter.sql_type, text)
    };
    let with = |head: &[u8], tail: &[u8]| [head, COLLATION, tail].concat();
    let varchar = text(&with(&[0xa7, 10, 0], &[2, 0, 0x80, b'x']));
    assert_eq!(
        varchar,
        (SqlType::VarChar(Length::Limited(10)), "€x".to_owned())
    );
    let char = text(&with(&[0xaf, 2, 0], &[2, 0, b'a', b' ']));
    assert_eq!(char, (SqlType::Char(2), "a ".to_owned()));
    let nchar = text(&with(&[0xef, 4, 0], &[4, 0, b'a', 0, b' ', 0]));
    assert_eq!(nchar, (SqlType::NChar(2), "a ".to_owned()));
    let chunks = [
        0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, b'a', 0, 1, 0, 0, 0, b'b', 1,
        0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let max = text(&with(&[0xe7, 0xff, 0xff], &chunks));
    assert_eq!(max, (SqlType::NVarChar(Length::Max), "ab".to_owned()));
    let ntext = text(&with(
        &[0x63, 0xff, 0xff, 0xff, 0x7f],
        &[4, 0, 0, 0, b'o', 0, b'k', 0],
    ));
    assert_eq!(ntext, (SqlType::NText, "ok".to_owned()));
    let xml = text(&[
        0xf1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, b'<', 0, b'>', 0, 0, 0, 0, 0,
    ]);
    assert_eq!(xml, (SqlType::Xml, "<>".to_owned()));
    let variant = value(&[0x62, 0x49, 0x1f, 0, 0, 6, 0, 0, 0, 0x38, 0, 1, 0, 0, 0]);
    assert_eq!(variant.sql_type, SqlType::SqlVariant);
    assert_eq!(
        variant.value.as_binary::<i64>().value(0),
        [0x38, 0, 1, 0, 0, 0]
    );
    let binary = value(&[0xa5, 10, 0, 2, 0, 1, 2]);
    assert_eq!(binary.value.as_binary::<i32>().value(0), [1, 2]);
    let image = value(&[0x22, 9, 0, 0, 0, 1, 0, 0, 0, 7]);
    assert_eq!(image.value.as_binary::<i32>().value(0), [7]);
    let guid =
        value(b"\x24\x10\x10\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff");
    // 00112233-4455-6677-8899-aabbccddeeff, the bytes that count most in front.
    assert_eq!(
        guid.value.as_fixed_size_binary().value(0),
        b"\xaa\xbb\xcc\xdd\xee\xff\x88\x99\x77\x66\x55\x44\x33\x22\x11\x00"
    );
}

#[test]
fn times_of_all_types_are_read() {
    let date = value(&[0x28, 3, 0x3a, 0xf9, 0x0a]);
    assert_eq!(date.value.as_primitive::<Date32Type>().value(0), 0);
    let time = value(&[0x29, 0, 3, 0x01, 0, 0]);
    assert_eq!(
        time.value.as_primitive::<Time64NanosecondType>().value(0),
        1_000_000_000
    );
    let datetime2 = value(&[0x2a, 0, 6, 0x01, 0, 0, 0x3a, 0xf9, 0x0a]);
    assert_eq!(ticks(&datetime2.value), SECOND_OF_1970);
    let offset = value(&[0x2b, 0, 8, 0x01, 0, 0, 0x3a, 0xf9, 0x0a, 60, 0]);
    assert_eq!(ticks(&offset.value), SECOND_OF_1970);
    assert_eq!(
        offset_of(offset.value.as_fixed_size_binary().value(0)).1,
        60
    );
    assert_eq!(offset.sql_type, SqlType::DateTimeOffset(0));
    let datetime = value(&[0x6f, 8, 8, 0xdf, 0x63, 0, 0, 1, 0, 0, 0]);
    assert_eq!(micros(&datetime.value), 3_000);
    let small = value(&[0x3a, 0xdf, 0x63, 1, 0]);
    assert_eq!(micros(&small.value), 60_000_000);
}

#[test]
fn every_type_may_be_null() {
    let short = |token: u8| [&[token, 8, 0], COLLATION, &[0xff, 0xff]].concat();
    let max = [&[0xe7, 0xff, 0xff], COLLATION, &[0xff; 8]].concat();
    for bytes in [
        &[0x1f][..],
        &[0x26, 8, 0],
        &[0x68, 1, 0],
        &[0x6a, 9, 18, 2, 0],
        &[0x28, 0],
        &[0x29, 7, 0],
        &[0x24, 16, 0],
        &[0xa5, 8, 0, 0xff, 0xff],
        &short(0xe7),
        &short(0xa7),
        &max,
    ] {
        assert!(value(bytes).value.is_null(0), "{bytes:?}");
    }
}

#[test]
fn what_is_no_value_is_refused_by_its_number() {
    assert_eq!(refused(&[0x64, 0, 0, 0, 0]), 8009);
    assert_eq!(refused(&[0xf3, 0]), 8009);
    assert_eq!(refused(&[0x28, 3, 0xff, 0xff, 0xff]), 8023);
    assert_eq!(refused(&[0x6a, 5, 3, 0, 5, 1, 0xff, 0xff, 0, 0]), 8023);
    assert_eq!(refused(&[0x26, 4, 3, 0, 0, 0]), 8023);
    assert_eq!(refused(&[0x24, 16, 1, 0]), 8023);
    let many: Vec<u8> = (0..2101).flat_map(|_| parameter("", 0, &[0x1f])).collect();
    let call = [b"\x01\x00p\x00\x00\x00", many.as_slice()].concat();
    let error = decode(&call).unwrap_err();
    assert!(matches!(error, CallError::Refused(error) if error.number == 8003));
}

#[test]
fn a_value_fits_the_type_that_it_comes_with() {
    let with = |head: &[u8], tail: &[u8]| [head, COLLATION, tail].concat();
    assert_eq!(
        refused(&with(&[0xa7, 2, 0], &[3, 0, b'a', b'b', b'c'])),
        8023
    );
    assert_eq!(refused(&[0xa5, 1, 0, 2, 0, 1, 2]), 8023);
    assert_eq!(refused(&with(&[0xe7, 0x42, 0x1f], &[0, 0])), 8009);
    assert_eq!(refused(&[0xad, 0xfe, 0xff, 0, 0]), 8009);
}

fn executed(declaration: &str, value: &[u8]) -> Result<Parameter, u32> {
    let call = [
        EXECUTE_SQL,
        &nvarchar("", "select @a"),
        &nvarchar("", declaration),
        value,
    ]
    .concat();
    let parameters = decode(&call).unwrap().parameters;
    let statement = rpc::executed_statement(parameters);
    statement
        .map(|mut statement| statement.parameters.remove(0))
        .map_err(|error| error.number)
}

#[test]
fn a_value_becomes_one_of_the_type_declared() {
    let text = nvarchar("@a", "abcdef");
    let cut = executed("@a varchar(2)", &text).unwrap();
    assert_eq!(cut.sql_type, SqlType::VarChar(Length::Limited(2)));
    assert_eq!(cut.value.as_string::<i32>().value(0), "ab");
    let number = nvarchar("", "12");
    let number = executed("@a int OUTPUT", &number).unwrap();
    assert_eq!(number.value.as_primitive::<Int32Type>().value(0), 12);
    let null = executed("@a bigint", &parameter("", 0, &[0x1f])).unwrap();
    assert_eq!(null.sql_type, SqlType::BigInt);
    assert!(null.value.is_null(0));
    assert_eq!(executed("@a int", &text).unwrap_err(), 8114);
    assert_eq!(executed("@a nonsense", &text).unwrap_err(), 2715);
    assert_eq!(executed("@b int", &text).unwrap_err(), 8144);
    assert_eq!(executed("", &text).unwrap_err(), 8144);
    let int = parameter("", 0, &[0x26, 4, 4, 0, 1, 0, 0]);
    assert_eq!(executed("@a tinyint", &int).unwrap_err(), 8114);
    assert_eq!(executed("@a decimal(2, 0)", &int).unwrap_err(), 8114);
}

#[test]
fn a_truncated_call_is_an_error_or_a_shorter_call() {
    let call = [
        EXECUTE_SQL,
        &nvarchar("", "select @a"),
        &nvarchar("", "@a int"),
        &parameter("@a", 0, &[0x26, 4, 4, 1, 0, 0, 0]),
    ]
    .concat();
    assert_eq!(decode(&call).unwrap().parameters.len(), 3);
    for length in 0..call.len() {
        if let Ok(shorter) = decode(&call[..length]) {
            assert!(shorter.parameters.len() < 3, "{length}");
        }
    }
}

#[tokio::test]
async fn values_without_names_get_those_declared() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    let call = [
        NO_HEADERS,
        &[13, 0],
        &utf16("sp_executesql"),
        &[0, 0],
        &nvarchar("", "echo"),
        &nvarchar("", "@first int, @second decimal(10, 2)"),
        &parameter("", 0, &[0x26, 4, 4, 7, 0, 0, 0]),
        &parameter("@second", 0, &[0x6a, 9, 10, 2, 0]),
    ]
    .concat();
    raw.send(3, 1, &call).await;
    let answer = raw.response().await;
    let name = [&[6], utf16("@first").as_slice()].concat();
    assert!(answer.windows(name.len()).any(|part| part == name));
    // DONEINPROC with a count and more to come, RETURNSTATUS 0, DONEPROC.
    let end = b"\xff\x11\0\xc1\0\x01\0\0\0\0\0\0\0\x79\0\0\0\0\xfe\0\0\xe0\0\0\0\0\0\0\0\0\0";
    assert!(answer.ends_with(end), "{answer:?}");
}

#[tokio::test]
async fn a_declared_parameter_without_value_is_8178() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    let call = [EXECUTE_SQL, &nvarchar("", "echo"), &nvarchar("", "@a int")].concat();
    raw.send(3, 1, &[NO_HEADERS, &call].concat()).await;
    let answer = raw.response().await;
    assert_eq!(answer[3..7], 8178_u32.to_le_bytes());
    assert!(answer.ends_with(b"\xfe\x02\0\xe0\0\0\0\0\0\0\0\0\0"));
}

#[tokio::test]
async fn other_procedures_become_exec_statements() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    let call = [
        NO_HEADERS,
        &[9, 0],
        &utf16("sp_tables"),
        &[0, 0],
        &nvarchar("", "a"),
        &nvarchar("@owner", "b"),
    ]
    .concat();
    raw.send(3, 1, &call).await;
    let answer = raw.response().await;
    let text = utf16("EXEC sp_tables @P1, @owner = @owner");
    assert!(answer.windows(text.len()).any(|part| part == text));
}

#[tokio::test]
async fn unknown_procedures_are_2812() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    let bad = [&[5, 0], utf16("a;b'c").as_slice(), &[0, 0]].concat();
    for call in [&[0xff, 0xff, 2, 0, 0, 0][..], &bad] {
        raw.send(3, 1, &[NO_HEADERS, call].concat()).await;
        assert_eq!(raw.response().await[3..7], 2812_u32.to_le_bytes());
    }
}

#[tokio::test]
async fn several_calls_are_answered_in_one_message() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    let call = [EXECUTE_SQL, &nvarchar("", "change")].concat();
    raw.send(3, 1, &[NO_HEADERS, &call, &[0xff], &call].concat())
        .await;
    let answer = raw.response().await;
    let ends: Vec<_> = answer
        .windows(5)
        .filter(|part| part[0] == 0xfe && part[3] == 0xe0)
        .map(|part| part[1])
        .collect();
    assert_eq!(ends, [1, 0]);
}

#[tokio::test]
async fn a_call_that_is_not_to_be_executed_is_refused() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    let call = [EXECUTE_SQL, &nvarchar("", "change"), &[0xfe]].concat();
    raw.send(3, 1, &[NO_HEADERS, &call].concat()).await;
    assert_eq!(raw.response().await[3..7], 40510_u32.to_le_bytes());
}

#[tokio::test]
async fn a_call_that_cannot_be_bound_prepares_nothing() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    let head = [NO_HEADERS, &[0xff, 0xff, 13, 0, 0, 0]].concat();
    let prepare = [
        head.as_slice(),
        &parameter("", 1, &[0x26, 4, 0]),
        &nvarchar("", "@a int"),
        &nvarchar("", "echo"),
    ]
    .concat();
    raw.send(3, 1, &prepare).await;
    assert_eq!(raw.response().await[3..7], 8178_u32.to_le_bytes());
    let execute = [
        NO_HEADERS,
        &[0xff, 0xff, 12, 0, 0, 0],
        &parameter("", 0, &[0x26, 4, 4, 1, 0, 0, 0]),
    ]
    .concat();
    raw.send(3, 1, &execute).await;
    assert_eq!(raw.response().await[3..7], 8179_u32.to_le_bytes());
}

#[test]
fn prepared_texts_are_bounded_by_their_sum() {
    let statement = "-".repeat(28 * 1024 * 1024);
    let call = |handle: Option<i32>| {
        let text = SqlType::NVarChar(Length::Max);
        let parameter = |sql_type, value| Parameter {
            name: String::new(),
            sql_type,
            value,
            output: false,
        };
        let sql: ArrayRef = Arc::new(StringArray::from(vec![statement.as_str()]));
        vec![
            parameter(SqlType::Int, Arc::new(Int32Array::from(vec![handle]))),
            parameter(text, new_null_array(&DataType::Utf8, 1)),
            parameter(text, sql),
        ]
    };
    let mut prepared = Prepared::default();
    let (first, _) = prepared.prepare(call(None)).unwrap();
    prepared.prepare(call(None)).unwrap();
    assert_eq!(prepared.prepare(call(None)).unwrap_err().number, 701);
    prepared.prepare(call(Some(first))).unwrap();
    assert_eq!(prepared.forget(first).unwrap_err().number, 8179);
}

#[tokio::test]
async fn statements_can_be_prepared_executed_and_forgotten() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    let handle = |value: &[u8]| parameter("", 1, &[&[0x26, 4], value].concat());
    let prepare = [
        NO_HEADERS,
        &[0xff, 0xff, 13, 0, 0, 0],
        &handle(&[0]),
        &nvarchar("", "@P0 int"),
        &nvarchar("", "echo"),
        &parameter("", 0, &[0x26, 4, 4, 5, 0, 0, 0]),
    ]
    .concat();
    raw.send(3, 1, &prepare).await;
    let answer = raw.response().await;
    assert!(answer.windows(6).any(|part| part == b"\xd1\x04\x05\0\0\0"));
    let returned = b"\xac\0\0\0\x01\0\0\0\0\0\0\x26\x04\x04\x01\0\0\0\xfe";
    assert!(answer.windows(19).any(|part| part == returned));
    let execute = [
        NO_HEADERS,
        &[0xff, 0xff, 12, 0, 0, 0],
        &handle(&[4, 1, 0, 0, 0]),
        &parameter("", 0, &[0x26, 4, 4, 6, 0, 0, 0]),
    ]
    .concat();
    raw.send(3, 1, &execute).await;
    let answer = raw.response().await;
    assert!(answer.windows(6).any(|part| part == b"\xd1\x04\x06\0\0\0"));
    let forget = [
        NO_HEADERS,
        &[0xff, 0xff, 15, 0, 0, 0],
        &handle(&[4, 1, 0, 0, 0]),
    ]
    .concat();
    raw.send(3, 1, &forget).await;
    assert!(raw.response().await.starts_with(b"\x79\0\0\0\0\xfe\0\0"));
    raw.send(3, 1, &execute).await;
    assert_eq!(raw.response().await[3..7], 8179_u32.to_le_bytes());
}

#[tokio::test]
async fn output_parameters_come_back_under_the_names_that_the_client_gave() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    let call = [
        NO_HEADERS,
        EXECUTE_SQL,
        &nvarchar("", "double"),
        &nvarchar("", "@a int OUTPUT, @b int OUTPUT"),
        &parameter("", 1, &[0x26, 4, 4, 5, 0, 0, 0]),
        &parameter("@b", 1, &[0x26, 4, 4, 6, 0, 0, 0]),
    ]
    .concat();
    raw.send(3, 1, &call).await;
    let answer = raw.response().await;
    // RETURNSTATUS, two RETURNVALUEs with the places in the call, DONEPROC.
    let end = b"\x79\0\0\0\0\xac\x02\0\0\x01\0\0\0\0\0\0\x26\x04\x04\x0a\0\0\0\
        \xac\x03\0\x02@\0b\0\x01\0\0\0\0\0\0\x26\x04\x04\x0c\0\0\0\xfe\0\0\xe0\0\0\0\0\0\0\0\0\0";
    assert!(answer.ends_with(end), "{answer:?}");
}

#[tokio::test]
async fn a_statement_that_sets_no_output_parameter_returns_what_was_sent() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    let call = [
        NO_HEADERS,
        &[0xff, 0xff, 13, 0, 0, 0],
        &parameter("@handle", 1, &[0x26, 4, 0]),
        &nvarchar("", "@a int OUTPUT"),
        &nvarchar("", "change"),
        &parameter("@a", 1, &[0x26, 4, 4, 5, 0, 0, 0]),
    ]
    .concat();
    raw.send(3, 1, &call).await;
    let answer = raw.response().await;
    let handle = [
        b"\xac\0\0\x07".as_slice(),
        &utf16("@handle"),
        b"\x01\0\0\0\0\0\0\x26\x04\x04\x01\0\0\0",
        b"\xac\x03\0\x02@\0a\0\x01\0\0\0\0\0\0\x26\x04\x04\x05\0\0\0\xfe",
    ]
    .concat();
    assert!(answer.windows(handle.len()).any(|part| part == handle));
}

#[tokio::test]
async fn a_parameter_with_its_default_is_left_to_the_procedure() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    let call = [
        NO_HEADERS,
        &[1, 0],
        &utf16("p"),
        &[0, 0],
        &parameter("", 2, &[0x26, 4, 0]),
        &parameter("@left_out", 2, &[0x26, 4, 0]),
        &parameter("@out", 1, &[0x26, 4, 0]),
    ]
    .concat();
    raw.send(3, 1, &call).await;
    let answer = raw.response().await;
    let text = utf16("EXEC p DEFAULT, @out = @out OUTPUT");
    assert!(answer.windows(text.len()).any(|part| part == text));
}
