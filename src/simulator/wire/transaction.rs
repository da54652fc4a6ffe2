//! Transaction manager requests, by which drivers begin and end transactions without SQL.

use crate::simulator::protocol::ServerError;

use super::error::WireError;
use super::reader::Reader;
use super::token::{self, Change};

const BEGIN: u16 = 5;
const COMMIT: u16 = 7;
const ROLLBACK: u16 = 8;
const SAVE: u16 = 9;

/// What a driver wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TransactionRequest {
    Begin,
    Commit {
        begin_next: bool,
    },
    Rollback {
        savepoint: Option<String>,
        begin_next: bool,
    },
    Save {
        savepoint: String,
    },
    /// A distributed transaction, which the server has no coordinator for.
    Distributed,
}

impl TransactionRequest {
    pub(super) fn decode(request: &mut Reader<'_>) -> Result<Self, WireError> {
        match request.u16()? {
            BEGIN => {
                let _isolation = request.u8()?;
                let _name = request.b_varchar()?;
                Ok(Self::Begin)
            }
            COMMIT => {
                let _name = request.b_varchar()?;
                let begin_next = begins_next(request)?;
                Ok(Self::Commit { begin_next })
            }
            ROLLBACK => {
                let savepoint = Some(request.b_varchar()?).filter(|name| !name.is_empty());
                let begin_next = begins_next(request)?;
                Ok(Self::Rollback {
                    savepoint,
                    begin_next,
                })
            }
            SAVE => {
                let savepoint = request.b_varchar()?;
                Ok(Self::Save { savepoint })
            }
            0 | 1 | 6 => Ok(Self::Distributed),
            _ => Err(request.malformed("its kind is unknown")),
        }
    }

    /// The statement that does it.
    pub(super) fn sql(&self) -> Result<String, ServerError> {
        Ok(match self {
            Self::Begin => "BEGIN TRANSACTION".to_owned(),
            Self::Commit { begin_next } => and_begin("COMMIT TRANSACTION".to_owned(), *begin_next),
            Self::Rollback {
                savepoint,
                begin_next,
            } => {
                let name = savepoint.as_deref().map(quoted).unwrap_or_default();
                let sql = format!("ROLLBACK TRANSACTION {name}");
                and_begin(sql.trim_end().to_owned(), *begin_next)
            }
            Self::Save { savepoint } => format!("SAVE TRANSACTION {}", quoted(savepoint)),
            Self::Distributed => return Err(no_coordinator()),
        })
    }

    /// Whether a transaction begins.
    pub(super) fn begins(&self) -> bool {
        match self {
            Self::Begin => true,
            Self::Commit { begin_next } | Self::Rollback { begin_next, .. } => *begin_next,
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

/// The flag `fBeginXact`; what follows it names the next transaction.
fn begins_next(request: &mut Reader<'_>) -> Result<bool, WireError> {
    Ok(!request.is_empty() && request.u8()? & 1 != 0)
}

fn and_begin(sql: String, begin_next: bool) -> String {
    if begin_next {
        format!("{sql}; BEGIN TRANSACTION")
    } else {
        sql
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
        assert_eq!(sql(&[5, 0, 2, 0]), "BEGIN TRANSACTION");
        assert_eq!(sql(&[7, 0, 0, 0]), "COMMIT TRANSACTION");
        assert_eq!(sql(&[8, 0, 0, 0]), "ROLLBACK TRANSACTION");
        assert_eq!(
            sql(&[8, 0, 2, b's', 0, b']', 0, 0]),
            "ROLLBACK TRANSACTION [s]]]"
        );
        assert_eq!(sql(&[9, 0, 1, b's', 0]), "SAVE TRANSACTION [s]");
    }

    #[test]
    fn a_commit_may_begin_the_next_transaction() {
        let both = decode(&[7, 0, 0, 1, 2, 0]).unwrap();
        assert!(both.begins());
        assert_eq!(both.sql().unwrap(), "COMMIT TRANSACTION; BEGIN TRANSACTION");
        assert!(!decode(&[7, 0, 0, 0]).unwrap().begins());
    }

    #[test]
    fn distributed_and_broken_requests_are_refused() {
        assert_eq!(decode(&[0, 0]).unwrap().sql().unwrap_err().number, 8501);
        assert!(decode(&[99, 0]).is_err());
        assert!(decode(&[5]).is_err());
        assert!(decode(&[9, 0, 5, 0]).is_err());
    }
}
