//! Transaction manager requests, by which drivers begin and end transactions without SQL.

use crate::simulator::protocol::ServerError;

use super::error::WireError;
use super::reader::{Reader, utf16_text};
use super::token::{self, Change};

const BEGIN: u16 = 5;
const COMMIT: u16 = 7;
const ROLLBACK: u16 = 8;
const SAVE: u16 = 9;

/// What a driver wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TransactionRequest {
    Begin {
        isolation: Option<&'static str>,
    },
    Commit {
        next: Option<Next>,
    },
    Rollback {
        savepoint: Option<String>,
        next: Option<Next>,
    },
    Save {
        savepoint: String,
    },
    /// A distributed transaction, which the server has no coordinator for.
    Distributed,
}

/// A transaction that begins where another ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    isolation: Option<&'static str>,
}

impl TransactionRequest {
    /// Reads what follows the headers
    /// ([MS-TDS 2.2.6.9](https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/61bdb5cf-e00b-4ed2-86f7-a5bbf9b9e6cb)).
    /// Names are counted in bytes there, unlike elsewhere.
    pub(super) fn decode(request: &mut Reader<'_>) -> Result<Self, WireError> {
        match request.u16()? {
            BEGIN => {
                let isolation = isolation(request)?;
                let _name = name(request)?;
                Ok(Self::Begin { isolation })
            }
            COMMIT => {
                let _name = name(request)?;
                let next = next(request)?;
                Ok(Self::Commit { next })
            }
            ROLLBACK => {
                let savepoint = Some(name(request)?).filter(|name| !name.is_empty());
                let next = next(request)?;
                Ok(Self::Rollback { savepoint, next })
            }
            SAVE => {
                let savepoint = name(request)?;
                Ok(Self::Save { savepoint })
            }
            0 | 1 | 6 => Ok(Self::Distributed),
            _ => Err(request.malformed("its kind is unknown")),
        }
    }

    /// The statements that do it.
    pub(super) fn sql(&self) -> Result<String, ServerError> {
        Ok(match self {
            Self::Begin { isolation } => begin(*isolation),
            Self::Commit { next } => and_begin("COMMIT TRANSACTION".to_owned(), *next),
            Self::Rollback { savepoint, next } => {
                let name = savepoint.as_deref().map(quoted).unwrap_or_default();
                let sql = format!("ROLLBACK TRANSACTION {name}");
                // After a return to a savepoint the transaction goes on, and none begins.
                let next = next.filter(|_| savepoint.is_none());
                and_begin(sql.trim_end().to_owned(), next)
            }
            Self::Save { savepoint } => format!("SAVE TRANSACTION {}", quoted(savepoint)),
            Self::Distributed => return Err(no_coordinator()),
        })
    }

    /// Whether a transaction begins.
    pub(super) fn begins(&self) -> bool {
        match self {
            Self::Begin { .. } => true,
            Self::Commit { next } => next.is_some(),
            Self::Rollback { savepoint, next } => savepoint.is_none() && next.is_some(),
            Self::Save { .. } | Self::Distributed => false,
        }
    }

    /// Tells the driver which transaction has ended, and which begun.
    pub(super) fn changes(&self, ended: u64, began: u64, out: &mut Vec<u8>) {
        let transaction = ended;
        match self {
            Self::Commit { .. } => token::change(out, Change::Committed { transaction }),
            Self::Rollback {
                savepoint: None, ..
            } => token::change(out, Change::RolledBack { transaction }),
            _ => {}
        }
        if self.begins() {
            let transaction = began;
            token::change(out, Change::Began { transaction });
        }
    }
}

/// A name, after its length in bytes.
fn name(request: &mut Reader<'_>) -> Result<String, WireError> {
    let bytes = usize::from(request.u8()?);
    Ok(utf16_text(request.bytes(bytes)?))
}

/// The level that a transaction begins at; 0 leaves the session's.
fn isolation(request: &mut Reader<'_>) -> Result<Option<&'static str>, WireError> {
    Ok(Some(match request.u8()? {
        0 => return Ok(None),
        1 => "READ UNCOMMITTED",
        2 => "READ COMMITTED",
        3 => "REPEATABLE READ",
        4 => "SERIALIZABLE",
        5 => "SNAPSHOT",
        _ => return Err(request.malformed("its isolation level is unknown")),
    }))
}

/// The flag `fBeginXact`, and the level and name of the transaction that it begins.
fn next(request: &mut Reader<'_>) -> Result<Option<Next>, WireError> {
    if request.is_empty() || request.u8()? & 1 == 0 {
        return Ok(None);
    }
    let isolation = isolation(request)?;
    let _name = name(request)?;
    Ok(Some(Next { isolation }))
}

fn begin(isolation: Option<&str>) -> String {
    let level = isolation.map(|level| format!("SET TRANSACTION ISOLATION LEVEL {level}; "));
    format!("{}BEGIN TRANSACTION", level.unwrap_or_default())
}

fn and_begin(sql: String, next: Option<Next>) -> String {
    match next {
        Some(next) => format!("{sql}; {}", begin(next.isolation)),
        None => sql,
    }
}

fn quoted(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

fn no_coordinator() -> ServerError {
    ServerError {
        number: 8501,
        severity: 16,
        state: 3,
        line: 1,
        message: "MSDTC on server 'CDCQL' is unavailable.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<TransactionRequest, WireError> {
        TransactionRequest::decode(&mut Reader::new("transaction request", bytes))
    }

    #[test]
    fn requests_become_statements() {
        let sql = |bytes: &[u8]| decode(bytes).unwrap().sql().unwrap();
        assert_eq!(sql(&[5, 0, 0, 0]), "BEGIN TRANSACTION");
        assert_eq!(
            sql(&[5, 0, 5, 4, b'm', 0, b'y', 0]),
            "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRANSACTION"
        );
        assert_eq!(sql(&[7, 0, 0, 0]), "COMMIT TRANSACTION");
        assert_eq!(sql(&[8, 0, 0, 0]), "ROLLBACK TRANSACTION");
        assert_eq!(
            sql(&[8, 0, 4, b's', 0, b']', 0, 0]),
            "ROLLBACK TRANSACTION [s]]]"
        );
        assert_eq!(sql(&[9, 0, 2, b's', 0]), "SAVE TRANSACTION [s]");
    }

    #[test]
    fn a_commit_may_begin_the_next_transaction() {
        let both = decode(&[7, 0, 0, 1, 1, 0]).unwrap();
        assert!(both.begins());
        assert_eq!(
            both.sql().unwrap(),
            "COMMIT TRANSACTION; SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; BEGIN TRANSACTION"
        );
        assert!(!decode(&[7, 0, 0, 0]).unwrap().begins());
        let to_savepoint = decode(&[8, 0, 2, b's', 0, 1, 0, 0]).unwrap();
        assert!(!to_savepoint.begins());
        assert_eq!(to_savepoint.sql().unwrap(), "ROLLBACK TRANSACTION [s]");
    }

    #[test]
    fn distributed_and_broken_requests_are_refused() {
        assert_eq!(decode(&[0, 0]).unwrap().sql().unwrap_err().number, 8501);
        assert!(decode(&[99, 0]).is_err());
        assert!(decode(&[5]).is_err());
        assert!(decode(&[5, 0, 6, 0]).is_err());
        assert!(decode(&[9, 0, 5, 0]).is_err());
    }
}
