//! The tokens of a response, except rows.

use super::login::LoginRequest;
use super::prelogin::SERVER_VERSION;
use super::rows;
use super::text::{put_b_varchar, put_us_varchar};
use super::type_info;
use crate::simulator::protocol::{Collation, Column, Language, Parameter, ServerError};

const COLMETADATA: u8 = 0x81;
const RETURN_STATUS: u8 = 0x79;
const RETURN_VALUE: u8 = 0xac;
const ERROR: u8 = 0xaa;
const INFO: u8 = 0xab;
const LOGIN_ACK: u8 = 0xad;
const FEATURE_EXT_ACK: u8 = 0xae;
const ENV_CHANGE: u8 = 0xe3;

const SERVER_NAME: &str = "CDCQL";
/// With the two zeros that a real server sends.
const PROGRAM_NAME: &str = "Microsoft SQL Server\0\0";
/// SQL Server's own limit for the text of a message.
const MESSAGE_UNITS: u16 = 2047;
/// The longest name of a server that a client is sent to.
const HOST_UNITS: u16 = 1024;

const NULLABLE: u16 = 0x01;
const UPDATABLE_UNKNOWN: u16 = 0x08;
const IDENTITY: u16 = 0x10;

const FEATURE_UTF8: u8 = 0x0a;

/// The newest version of the protocol that the server speaks: 7.4.
pub(super) const TDS_7_4: u32 = 0x7400_0004;

/// Which of the three tokens that end a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DoneToken {
    /// Of a statement in a batch.
    Batch = 0xfd,
    /// Of a remote procedure call.
    Procedure = 0xfe,
    /// Of a statement inside of a procedure.
    InProcedure = 0xff,
}

/// `DONE_MORE`: something follows in this response.
pub(super) const DONE_MORE: u16 = 0x01;
/// `DONE_ERROR`: the statement failed.
pub(super) const DONE_ERROR: u16 = 0x02;
/// `DONE_COUNT`: the count is one.
pub(super) const DONE_COUNT: u16 = 0x10;
/// `DONE_ATTN`: the client's attention has been heard.
pub(super) const DONE_ATTENTION: u16 = 0x20;

/// A statement's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) token: DoneToken,
    pub(super) status: u16,
    pub(super) command: u16,
    pub(super) rows: u64,
}

impl Done {
    /// An end that says no more than that.
    pub(super) fn plain(token: DoneToken, status: u16) -> Self {
        Self {
            token,
            status,
            command: 0,
            rows: 0,
        }
    }
}

pub(super) fn done(out: &mut Vec<u8>, done: Done) {
    out.push(done.token as u8);
    out.extend_from_slice(&done.status.to_le_bytes());
    out.extend_from_slice(&done.command.to_le_bytes());
    out.extend_from_slice(&done.rows.to_le_bytes());
}

/// A change of the session that the client must know of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    Database {
        old: &'a str,
        new: &'a str,
    },
    /// There is no language before the login.
    Language {
        old: Option<Language>,
        new: Language,
    },
    PacketSize {
        size: usize,
    },
    Collation,
    Began {
        transaction: u64,
    },
    Committed {
        transaction: u64,
    },
    RolledBack {
        transaction: u64,
    },
    Reset,
    /// The client is to log in to another server.
    Routing {
        host: &'a str,
        port: u16,
    },
}

pub(super) fn change(out: &mut Vec<u8>, change: Change<'_>) {
    sized(out, ENV_CHANGE, |out| match change {
        Change::Database { old, new } => texts(out, 1, old, new),
        Change::Language { old, new } => {
            texts(out, 2, old.map_or("", Language::name), new.name());
        }
        Change::PacketSize { size } => texts(out, 4, "4096", &size.to_string()),
        Change::Collation => bytes(out, 7, &[], &Collation::SERVER.bytes()),
        Change::Began { transaction } => bytes(out, 8, &[], &transaction.to_le_bytes()),
        Change::Committed { transaction } => bytes(out, 9, &transaction.to_le_bytes(), &[]),
        Change::RolledBack { transaction } => bytes(out, 10, &transaction.to_le_bytes(), &[]),
        Change::Reset => bytes(out, 18, &[], &[]),
        Change::Routing { host, port } => routing(out, host, port),
    });
}

fn texts(out: &mut Vec<u8>, kind: u8, old: &str, new: &str) {
    out.push(kind);
    put_b_varchar(out, new);
    put_b_varchar(out, old);
}

fn routing(out: &mut Vec<u8>, host: &str, port: u16) {
    const TCP: u8 = 0;
    out.push(20);
    let mut data = vec![TCP];
    data.extend_from_slice(&port.to_le_bytes());
    put_us_varchar(&mut data, host, HOST_UNITS);
    // A name of 1024 code units at most.
    out.extend_from_slice(&(data.len() as u16).to_le_bytes());
    out.extend_from_slice(&data);
    out.extend_from_slice(&[0, 0]);
}

/// Values of at most eight bytes.
fn bytes(out: &mut Vec<u8>, kind: u8, old: &[u8], new: &[u8]) {
    out.push(kind);
    for value in [new, old] {
        out.push(value.len() as u8);
        out.extend_from_slice(value);
    }
}

/// ERROR or INFO, as the severity has it.
pub(super) fn message(out: &mut Vec<u8>, message: &ServerError) {
    let token = if message.severity > 10 { ERROR } else { INFO };
    sized(out, token, |out| {
        out.extend_from_slice(&message.number.to_le_bytes());
        out.push(message.state);
        out.push(message.severity);
        put_us_varchar(out, &message.message, MESSAGE_UNITS);
        put_b_varchar(out, SERVER_NAME);
        put_b_varchar(out, "");
        out.extend_from_slice(&message.line.to_le_bytes());
    });
}

pub(super) fn login_ack(out: &mut Vec<u8>, login: &LoginRequest) {
    sized(out, LOGIN_ACK, |out| {
        out.push(1);
        let version = login.tds_version.min(TDS_7_4);
        out.extend_from_slice(&version.to_be_bytes());
        put_b_varchar(out, PROGRAM_NAME);
        out.extend_from_slice(&SERVER_VERSION);
    });
}

/// Answers the features asked for: text of UTF-8 collations is the only one there is.
pub(super) fn feature_ext_ack(out: &mut Vec<u8>, features: &[u8]) {
    out.push(FEATURE_EXT_ACK);
    if features.contains(&FEATURE_UTF8) {
        out.extend_from_slice(&[FEATURE_UTF8, 1, 0, 0, 0, 1]);
    }
    out.push(0xff);
}

/// The columns of a result set.
///
/// # Errors
///
/// There are more columns than the token can count.
pub(super) fn columns(out: &mut Vec<u8>, columns: &[Column]) -> Result<(), ServerError> {
    let count = u16::try_from(columns.len())
        .ok()
        .filter(|count| *count < u16::MAX)
        .ok_or_else(|| too_many_columns(columns.len()))?;
    out.push(COLMETADATA);
    out.extend_from_slice(&count.to_le_bytes());
    for column in columns {
        let nullable = if column.nullable { NULLABLE } else { 0 };
        let identity = if column.identity {
            IDENTITY
        } else {
            UPDATABLE_UNKNOWN
        };
        out.extend_from_slice(&type_info::user_type(column.sql_type).to_le_bytes());
        out.extend_from_slice(&(nullable | identity).to_le_bytes());
        type_info::encode(out, column.sql_type, column.collation, column.nullable);
        type_info::put_table_name(out, column.sql_type);
        put_b_varchar(out, &column.name);
    }
    Ok(())
}

fn too_many_columns(count: usize) -> ServerError {
    ServerError {
        number: 1056,
        severity: 15,
        state: 1,
        line: 1,
        message: format!(
            "The number of elements in the select list exceeds the maximum allowed number of 4096 elements: {count}."
        ),
    }
}

/// What a procedure returns; 0 is success.
pub(super) fn return_status(out: &mut Vec<u8>, status: i32) {
    out.push(RETURN_STATUS);
    out.extend_from_slice(&status.to_le_bytes());
}

/// What an OUTPUT parameter was given; `ordinal` counts the call's parameters from 0.
///
/// # Errors
///
/// The value is not one of its type.
pub(super) fn return_value(
    out: &mut Vec<u8>,
    ordinal: u16,
    parameter: &Parameter,
) -> Result<(), ServerError> {
    const OUTPUT_PARAMETER: u8 = 1;
    let start = out.len();
    out.push(RETURN_VALUE);
    out.extend_from_slice(&ordinal.to_le_bytes());
    put_b_varchar(out, &parameter.name);
    out.push(OUTPUT_PARAMETER);
    // The user type, and flags, of which none applies.
    out.extend_from_slice(&[0; 6]);
    type_info::encode(out, parameter.sql_type, Collation::SERVER, true);
    let put = rows::put_value(out, parameter);
    if put.is_err() {
        out.truncate(start);
    }
    put
}

/// A token with its length as two bytes in front. What is put inside is bounded by its callers.
fn sized(out: &mut Vec<u8>, token: u8, put: impl FnOnce(&mut Vec<u8>)) {
    out.push(token);
    let length = out.len();
    out.extend_from_slice(&[0, 0]);
    put(out);
    let bytes = u16::try_from(out.len() - length - 2).unwrap_or(u16::MAX);
    out[length..length + 2].copy_from_slice(&bytes.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int32Array;

    use super::*;
    use crate::simulator::protocol::{Length, SqlType};

    fn int(name: &str, value: i32) -> Parameter {
        Parameter {
            name: name.to_owned(),
            sql_type: SqlType::Int,
            value: std::sync::Arc::new(Int32Array::from(vec![value])),
            output: true,
        }
    }

    fn put(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out);
        out
    }

    /// The tokens of the "Login Response" example of MS-TDS.
    #[test]
    fn environment_changes_are_those_of_the_specification() {
        let (old, new) = ("master", "master");
        assert_eq!(
            put(|out| change(out, Change::Database { old, new })),
            b"\xe3\x1b\x00\x01\x06m\0a\0s\0t\0e\0r\0\x06m\0a\0s\0t\0e\0r\0"
        );
        assert_eq!(
            put(|out| change(out, Change::Collation)),
            b"\xe3\x08\x00\x07\x05\x09\x04\xd0\x00\x34\x00"
        );
        assert_eq!(
            put(|out| {
                let (old, new) = (None, Language::English);
                change(out, Change::Language { old, new });
            }),
            b"\xe3\x17\x00\x02\x0au\0s\0_\0e\0n\0g\0l\0i\0s\0h\0\x00"
        );
        assert_eq!(
            put(|out| change(out, Change::PacketSize { size: 4096 })),
            b"\xe3\x13\x00\x04\x044\x000\x009\x006\x00\x044\x000\x009\x006\x00"
        );
    }

    #[test]
    fn errors_carry_number_state_class_and_line() {
        let error = ServerError {
            number: 208,
            severity: 16,
            state: 2,
            line: 5,
            message: "no".to_owned(),
        };
        assert_eq!(
            put(|out| message(out, &error)),
            b"\xaa\x1c\x00\xd0\x00\x00\x00\x02\x10\x02\x00n\0o\0\x05C\0D\0C\0Q\0L\0\x00\x05\0\0\0"
        );
        let told = ServerError {
            severity: 0,
            ..error
        };
        assert_eq!(put(|out| message(out, &told))[0], 0xab);
    }

    #[test]
    fn a_message_is_cut_at_the_limit_of_sql_server() {
        let error = ServerError {
            number: 1,
            severity: 16,
            state: 1,
            line: 1,
            message: "x".repeat(100_000),
        };
        let token = put(|out| message(out, &error));
        assert_eq!(token[9..11], 2047_u16.to_le_bytes());
        assert_eq!(token.len(), 3 + 4 + 2 + 2 + 4094 + 11 + 1 + 4);
    }

    /// The "SQL Batch Server Response" example of MS-TDS, `SELECT 'foo' AS 'bar'`, but for the
    /// column's flags.
    #[test]
    fn columns_are_those_of_the_specification() {
        let column = Column {
            name: "bar".to_owned(),
            sql_type: SqlType::VarChar(Length::Limited(3)),
            collation: Collation::SERVER,
            nullable: false,
            identity: false,
        };
        assert_eq!(
            put(|out| columns(out, &[column]).unwrap()),
            b"\x81\x01\x00\x00\x00\x00\x00\x08\x00\xa7\x03\x00\x09\x04\xd0\x00\x34\x03b\0a\0r\0"
        );
        let end = Done {
            token: DoneToken::Batch,
            status: DONE_COUNT,
            command: 0xc1,
            rows: 1,
        };
        assert_eq!(
            put(|out| done(out, end)),
            b"\xfd\x10\x00\xc1\x00\x01\x00\x00\x00\x00\x00\x00\x00"
        );
    }

    #[test]
    fn nullable_and_identity_columns_say_so() {
        let column = |nullable, identity| Column {
            name: String::new(),
            sql_type: SqlType::Int,
            collation: Collation::SERVER,
            nullable,
            identity,
        };
        let both = [column(true, false), column(false, true)];
        assert_eq!(
            put(|out| columns(out, &both).unwrap()),
            b"\x81\x02\x00\0\0\0\0\x09\x00\x26\x04\x00\0\0\0\0\x10\x00\x38\x00"
        );
        let many = vec![column(true, false); 65_535];
        assert_eq!(columns(&mut Vec::new(), &many).unwrap_err().number, 1056);
    }

    #[test]
    fn a_procedure_returns_a_status_and_values() {
        assert_eq!(put(|out| return_status(out, 0)), b"\x79\0\0\0\0");
        assert_eq!(
            put(|out| return_value(out, 0, &int("@h", 7)).unwrap()),
            b"\xac\x00\x00\x02@\0h\0\x01\0\0\0\0\0\0\x26\x04\x04\x07\0\0\0"
        );
    }
}
