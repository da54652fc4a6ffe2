//! One vector of bytes for each message and token, so that a mistake cannot hide behind a forgiving client.
//!
//! Those named by a section 4.x are the examples of [MS-TDS](https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/893fcc7e-8a39-4b3c-815a-773b7b982c50),
//! byte for byte, but for what is said beside them. Section 4 has no example of the others; they were written
//! down by hand from the grammar of section 2.2.7.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int32Array, StringArray};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;

use crate::simulator::protocol::{
    Collation, Column, Language, Length, Parameter, Reply, ServerError, SqlType,
};
use crate::simulator::server::Tls;
use crate::simulator::wire::answer::Answer;
use crate::simulator::wire::handshake;
use crate::simulator::wire::login::LoginRequest;
use crate::simulator::wire::packet::{Incoming, Message, PacketType};
use crate::simulator::wire::prelogin::PreLogin;
use crate::simulator::wire::reader::Reader;
use crate::simulator::wire::request::Request;
use crate::simulator::wire::rpc::{self, Procedure};
use crate::simulator::wire::token::{self, Change, DONE_ATTENTION, Done, DoneToken};
use crate::simulator::wire::transaction::TransactionRequest;

/// Bytes from hexadecimal digits, as the document prints them.
fn hex(digits: &str) -> Vec<u8> {
    digits
        .split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// The message that packets make.
async fn message(packets: &str) -> Message {
    let bytes = hex(packets);
    let mut incoming = Incoming::new(100_000);
    let message = incoming.next(&mut bytes.as_slice()).await.unwrap().unwrap();
    assert!(incoming.is_drained());
    message
}

fn put(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn column(name: &str, sql_type: SqlType) -> Column {
    Column {
        name: name.to_owned(),
        sql_type,
        collation: Collation::SERVER,
        nullable: true,
        identity: false,
    }
}

fn parameter(name: &str, sql_type: SqlType, value: ArrayRef) -> Parameter {
    Parameter {
        name: name.to_owned(),
        sql_type,
        value,
        output: true,
    }
}

fn rows(arrays: Vec<ArrayRef>) -> Reply {
    let fields: Vec<Field> = arrays
        .iter()
        .map(|array| Field::new("", array.data_type().clone(), true))
        .collect();
    Reply::Rows(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap())
}

fn selected(rows: u64) -> Reply {
    Reply::Done {
        rows: Some(rows),
        select: true,
    }
}

/// The tokens of an answer's replies, without its end.
fn told(answer: &mut Answer, replies: Vec<Reply>) -> Vec<u8> {
    let mut out = Vec::new();
    for reply in replies {
        if let Some(mut rows) = answer.reply(&mut out, reply).unwrap() {
            while rows.put(&mut out, usize::MAX).unwrap() {}
        }
    }
    out
}

fn told_and_ended(replies: Vec<Reply>) -> Vec<u8> {
    let mut answer = Answer::new(DoneToken::Batch, true, None, Language::English);
    let mut out = told(&mut answer, replies);
    answer.finish(&mut out);
    out
}

#[tokio::test]
async fn prelogin_of_4_1() {
    let message = message(
        "12 01 00 2F 00 00 01 00 00 00 1A 00 06 01 00 20 00 01 02 00 21 00 01 03 00 22 00 04 04 00 26 00
         01 FF 09 00 00 00 00 00 01 00 B8 0D 00 00 01",
    )
    .await;
    assert_eq!(message.kind, PacketType::PreLogin);
    let (_, agreed) = PreLogin::decode(&message.body).unwrap().negotiate(Tls::Off);
    assert!(agreed.is_some());
}

#[tokio::test]
async fn login7_of_4_2() {
    let message = message(
        "10 01 00 90 00 00 01 00 88 00 00 00 02 00 09 72 00 10 00 00 00 00 00 07 00 01 00 00 00 00 00 00
         E0 03 00 00 00 00 00 00 09 04 00 00 5E 00 08 00 6E 00 02 00 72 00 00 00 72 00 07 00 80 00 00 00
         80 00 00 00 80 00 04 00 88 00 00 00 88 00 00 00 00 50 8B E2 B7 8F 88 00 00 00 88 00 00 00 88 00
         00 00 00 00 00 00 73 00 6B 00 6F 00 73 00 74 00 6F 00 76 00 31 00 73 00 61 00 4F 00 53 00 51 00
         4C 00 2D 00 33 00 32 00 4F 00 44 00 42 00 43 00",
    )
    .await;
    assert_eq!(message.kind, PacketType::Login7);
    let login = LoginRequest::decode(&message.body, 51).unwrap();
    assert_eq!((login.user(), login.host()), ("sa", "skostov1"));
    assert_eq!(login.application(), "OSQL-32");
    assert_eq!((login.tds_version, login.packet_size), (0x7209_0002, 4096));
}

/// A LOGIN7 of TDS 7.4 with the feature of session recovery. The document's pointers to the names are right,
/// and are what counts.
#[tokio::test]
async fn login7_with_a_feature_of_4_16() {
    let message = message(
        "10 01 01 0D 00 00 01 00 05 01 00 00 04 00 00 74 00 10 00 00 00 00 00 07 00 01 00 00 00 00 00 00
         E0 03 00 10 00 00 00 00 09 04 00 00 5E 00 00 00 5E 00 02 00 62 00 08 00 72 00 07 00 80 00 00 00
         80 00 04 00 84 00 04 00 8C 00 00 00 8C 00 06 00 00 50 8B E2 B7 8F 98 00 00 00 98 00 00 00 98 00
         00 00 00 00 00 00 73 00 61 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 4F 00 53 00 51 00
         4C 00 2D 00 33 00 32 00 98 00 00 00 4F 00 44 00 42 00 43 00 74 00 65 00 6D 00 70 00 64 00 62 00
         01 67 00 00 00 56 00 00 00 06 6D 00 61 00 73 00 74 00 65 00 72 00 05 09 04 D0 00 34 0A 75 00 73
         00 5F 00 65 00 6E 00 67 00 6C 00 69 00 73 00 68 00 00 09 00 60 81 14 FF E7 FF FF 00 02 02 07 01
         04 01 00 05 04 FF FF FF FF 06 01 00 07 01 02 08 08 00 00 00 00 00 00 00 00 09 04 FF FF FF FF 09
         00 00 00 00 00 00 09 04 28 23 00 00 FF",
    )
    .await;
    let login = LoginRequest::decode(&message.body, 51).unwrap();
    assert_eq!((login.user(), login.database()), ("sa", "tempdb"));
    assert_eq!(login.application(), "OSQL-32");
    assert_eq!(login.features, Some(vec![0x01]));
}

/// The document's server has no name; ours has one, in its two messages. The order is that of SQL Server
/// 2022, which tells the packet size last.
#[test]
fn the_tokens_of_the_login_response_of_4_4() {
    let (old, new) = ("master", "master");
    assert_eq!(
        put(|out| token::change(out, Change::Database { old, new })),
        hex(
            "E3 1B 00 01 06 6D 00 61 00 73 00 74 00 65 00 72 00 06 6D 00 61 00 73 00 74 00 65 00 72 00"
        )
    );
    assert_eq!(
        put(|out| token::change(out, Change::Collation)),
        hex("E3 08 00 07 05 09 04 D0 00 34 00")
    );
    assert_eq!(
        put(|out| {
            let (old, new) = (None, Language::English);
            token::change(out, Change::Language { old, new });
        }),
        hex("E3 17 00 02 0A 75 00 73 00 5F 00 65 00 6E 00 67 00 6C 00 69 00 73 00 68 00 00")
    );
    assert_eq!(
        put(|out| token::change(out, Change::PacketSize { size: 4096 })),
        hex("E3 13 00 04 04 34 00 30 00 39 00 36 00 04 34 00 30 00 39 00 36 00")
    );
    assert_eq!(
        put(|out| token::done(out, Done::plain(DoneToken::Batch, 0))),
        hex("FD 00 00 00 00 00 00 00 00 00 00 00 00")
    );
}

/// `Changed database context to 'master'.` of 4.4, but for the server's name and the line: 1 there is none.
#[test]
fn the_info_of_4_4() {
    let info = ServerError {
        number: 5701,
        severity: 0,
        state: 2,
        line: 0,
        message: "Changed database context to 'master'.".to_owned(),
    };
    let example = hex(
        "AB 58 00 45 16 00 00 02 00 25 00 43 00 68 00 61 00 6E 00 67 00 65 00 64 00 20 00 64 00 61 00 74
         00 61 00 62 00 61 00 73 00 65 00 20 00 63 00 6F 00 6E 00 74 00 65 00 78 00 74 00 20 00 74 00 6F
         00 20 00 27 00 6D 00 61 00 73 00 74 00 65 00 72 00 27 00 2E 00 00 00 00 00 00 00",
    );
    let mut expected = example;
    // The empty name stands before the empty procedure and the line.
    let name = expected.len() - 6;
    let server = [&[5], utf16("CDCQL").as_slice()].concat();
    expected.splice(name..=name, server);
    expected[1] += 10;
    assert_eq!(put(|out| token::message(out, &info)), expected);
}

/// LOGINACK of 4.4 to a client of TDS 7.2, but for the server's version, which is 0 there.
#[tokio::test]
async fn the_login_ack_of_4_4() {
    let body = super::login7("sa", "", "", 0);
    let mut login = LoginRequest::decode(&body, 51).unwrap();
    login.tds_version = 0x7209_0002;
    let mut expected = hex(
        "AD 36 00 01 72 09 00 02 16 4D 00 69 00 63 00 72 00 6F 00 73 00 6F 00 66 00 74 00 20 00 53 00 51
         00 4C 00 20 00 53 00 65 00 72 00 76 00 65 00 72 00 00 00 00 00 00 00 00 00",
    );
    let version = expected.len() - 4;
    expected[version..].copy_from_slice(&[16, 0, 0x03, 0xe8]);
    assert_eq!(put(|out| token::login_ack(out, &login)), expected);
}

#[tokio::test]
async fn sql_batch_of_4_6() {
    let message = message(
        "01 01 00 5C 00 00 01 00 16 00 00 00 12 00 00 00 02 00 00 00 00 00 00 00 00 01 00 00 00 00 0A 00
         73 00 65 00 6C 00 65 00 63 00 74 00 20 00 27 00 66 00 6F 00 6F 00 27 00 20 00 61 00 73 00 20 00
         27 00 62 00 61 00 72 00 27 00 0A 00 20 00 20 00 20 00 20 00 20 00 20 00 20 00 20 00",
    )
    .await;
    let Request::Batch(sql) = Request::decode(&message).unwrap() else {
        panic!("it is a batch");
    };
    assert_eq!(sql, "\nselect 'foo' as 'bar'\n        ");
}

/// COLMETADATA, ROW and DONE of 4.7, but for the column's flags: computed there, of a table here.
#[test]
fn the_answer_of_4_7() {
    let bar = Column {
        nullable: false,
        ..column("bar", SqlType::VarChar(Length::Limited(3)))
    };
    let foo = Arc::new(StringArray::from(vec!["foo"]));
    let replies = vec![Reply::Columns([bar].into()), rows(vec![foo]), selected(1)];
    let mut expected = hex(
        "81 01 00 00 00 00 00 20 00 A7 03 00 09 04 D0 00 34 03 62 00 61 00 72 00
         D1 03 00 66 6F 6F FD 10 00 C1 00 01 00 00 00 00 00 00 00",
    );
    expected[7] = 0x08;
    assert_eq!(told_and_ended(replies), expected);
}

#[tokio::test]
async fn rpc_of_4_8() {
    let message = message(
        "03 01 00 2F 00 00 01 00 16 00 00 00 12 00 00 00 02 00 00 00 00 00 00 00 00 01 00 00 00 00 04 00
         66 00 6F 00 6F 00 33 00 00 00 00 02 26 02 00",
    )
    .await;
    let Request::Calls(mut calls) = Request::decode(&message).unwrap() else {
        panic!("it is a call");
    };
    let call = rpc::next_call(&mut calls).unwrap();
    assert_eq!(call.procedure, Procedure::Named("foo3".to_owned()));
    assert_eq!(call.parameters[0].sql_type, SqlType::SmallInt);
    assert!(calls.is_empty());
}

/// DONEINPROC, RETURNSTATUS and DONEPROC of 4.9. The document's first token says that one row was selected,
/// whose own tokens it leaves out.
#[test]
fn the_answer_of_4_9() {
    let mut answer = Answer::new(DoneToken::InProcedure, true, None, Language::English);
    let mut out = told(&mut answer, vec![selected(1)]);
    answer.finish_call(&mut out, false, |_| ());
    let expected = hex("FF 11 00 C1 00 01 00 00 00 00 00 00 00 79 00 00 00 00
         FE 00 00 E0 00 00 00 00 00 00 00 00 00");
    assert_eq!(out, expected);
}

#[tokio::test]
async fn attention_of_4_10_and_its_acknowledgement() {
    let message = message("06 01 00 08 00 00 01 00").await;
    assert!(matches!(
        Request::decode(&message).unwrap(),
        Request::Attention
    ));
    // By hand: DONE (2.2.7.6) with DONE_ATTN.
    assert_eq!(
        put(|out| token::done(out, Done::plain(DoneToken::Batch, DONE_ATTENTION))),
        hex("FD 20 00 00 00 00 00 00 00 00 00 00 00")
    );
}

/// The request of 4.13 with its headers. Its kind there is 0x16, which 2.2.6.9 does not have; it is called
/// TM_PROMOTE_XACT, which is 6.
#[tokio::test]
async fn transaction_manager_request_of_4_13() {
    let request = |kind: &str| {
        let packet = "0E 01 00 20 00 00 01 00 16 00 00 00 12 00 00 00 02 00 00 00 00 00 00 00 00 01 00 00 00 00";
        format!("{packet} {kind} 00")
    };
    let message_of_6 = message(&request("06")).await;
    assert!(matches!(
        Request::decode(&message_of_6).unwrap(),
        Request::Transaction(TransactionRequest::Distributed)
    ));
    assert!(Request::decode(&message(&request("16")).await).is_err());
}

/// The first of the NBCROWs of 4.15, whose second column is NULL; xml there, a (max) type here.
#[test]
fn the_nbcrow_of_4_15() {
    let columns = [
        column("id", SqlType::Int),
        column("sparsePropertySet", SqlType::NVarChar(Length::Max)),
    ];
    let id: ArrayRef = Arc::new(Int32Array::from(vec![4]));
    let nothing: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    let mut answer = Answer::new(DoneToken::Batch, true, None, Language::English);
    told(&mut answer, vec![Reply::Columns(columns.into())]);
    let row = told(&mut answer, vec![rows(vec![id, nothing])]);
    assert_eq!(row, hex("D2 02 04 04 00 00 00"));
}

/// The value of the first ROW of 4.15 in one chunk; there its length is not known (FE FF FF FF FF FF FF FF).
#[test]
fn the_chunks_of_4_15() {
    let columns = [column("value", SqlType::NVarChar(Length::Max))];
    let text: ArrayRef = Arc::new(StringArray::from(vec!["<sparseProp1>1000</sparseProp1>"]));
    let mut answer = Answer::new(DoneToken::Batch, true, None, Language::English);
    told(&mut answer, vec![Reply::Columns(columns.into())]);
    let row = told(&mut answer, vec![rows(vec![text])]);
    let chunk = [
        hex("3E 00 00 00"),
        utf16("<sparseProp1>1000</sparseProp1>"),
        hex("00 00 00 00"),
    ]
    .concat();
    let expected = [hex("D1 3E 00 00 00 00 00 00 00"), chunk].concat();
    assert_eq!(row, expected);
}

/// By hand, from 2.2.7.10: number, state, class, message, server, procedure, line.
#[test]
fn error_of_2_2_7_10() {
    let error = ServerError {
        number: 208,
        severity: 16,
        state: 1,
        line: 7,
        message: "no".to_owned(),
    };
    assert_eq!(
        put(|out| token::message(out, &error)),
        hex(
            "AA 1C 00 D0 00 00 00 01 10 02 00 6E 00 6F 00 05 43 00 44 00 43 00 51 00 4C 00 00 07 00 00 00"
        )
    );
}

/// By hand, from 2.2.7.9: a transaction's number is in eight bytes; the other value is empty.
#[test]
fn transaction_changes_of_2_2_7_9() {
    let transaction = 0x0102;
    assert_eq!(
        put(|out| token::change(out, Change::Began { transaction })),
        hex("E3 0B 00 08 08 02 01 00 00 00 00 00 00 00")
    );
    assert_eq!(
        put(|out| token::change(out, Change::Committed { transaction })),
        hex("E3 0B 00 09 00 08 02 01 00 00 00 00 00 00")
    );
    assert_eq!(
        put(|out| token::change(out, Change::RolledBack { transaction })),
        hex("E3 0B 00 0A 00 08 02 01 00 00 00 00 00 00")
    );
    assert_eq!(
        put(|out| token::change(out, Change::Reset)),
        hex("E3 03 00 12 00 00")
    );
}

/// By hand, from 2.2.7.9: the length of what follows but the old value, protocol 0, the port, the server's name.
#[test]
fn routing_of_2_2_7_9() {
    let change = Change::Routing {
        host: "ab",
        port: 0x5b9,
    };
    assert_eq!(
        put(|out| token::change(out, change)),
        hex("E3 0E 00 14 09 00 00 B9 05 02 00 61 00 62 00 00 00")
    );
}

/// By hand, from 2.2.7.11: the feature UTF-8 (0x0A), whose one byte says that the server has it.
#[test]
fn feature_ext_ack_of_2_2_7_11() {
    assert_eq!(
        put(|out| token::feature_ext_ack(out, &[0x01, 0x0a])),
        hex("AE 0A 01 00 00 00 01 FF")
    );
    assert_eq!(
        put(|out| token::feature_ext_ack(out, &[0x01])),
        hex("AE FF")
    );
}

/// By hand, from 2.2.7.18 and 2.2.7.19: ordinal, name, status, user type, flags, type, value.
#[test]
fn return_status_and_return_value_of_2_2_7_18_and_19() {
    let seven: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    assert_eq!(
        put(|out| token::return_status(out, 208)),
        hex("79 D0 00 00 00")
    );
    assert_eq!(
        put(|out| token::return_value(out, 2, &parameter("@h", SqlType::Int, seven)).unwrap()),
        hex("AC 02 00 02 40 00 68 00 01 00 00 00 00 00 00 26 04 04 07 00 00 00")
    );
}

/// The tokens of a login, in SQL Server's order: ENVCHANGE of the database, INFO, ENVCHANGE of the collation
/// and the language, INFO, LOGINACK, ENVCHANGE of the packet size, FEATUREEXTACK, DONE.
#[test]
fn a_welcome_is_made_of_whole_tokens() {
    let login = LoginRequest::decode(&super::login7("sa", "", "", 8000), 51).unwrap();
    let welcome = put(|out| handshake::welcome(out, &login, "app_db", Language::English));
    let mut rest = Reader::new("welcome", &welcome);
    let mut tokens = Vec::new();
    while let Some(kind @ (0xe3 | 0xab | 0xad)) = rest.peek() {
        rest.u8().unwrap();
        let length = rest.u16().unwrap();
        rest.bytes(usize::from(length)).unwrap();
        tokens.push(kind);
    }
    assert_eq!(tokens, [0xe3, 0xab, 0xe3, 0xe3, 0xab, 0xad, 0xe3]);
    assert_eq!(
        rest.rest(),
        hex("AE 0A 01 00 00 00 01 FF FD 00 00 00 00 00 00 00 00 00 00 00 00")
    );
}
