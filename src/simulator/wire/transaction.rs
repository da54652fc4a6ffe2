//! Transaction manager requests, by which drivers begin and end transactions without SQL.

use crate::simulator::protocol::ServerError;

use super::error::WireError;
use super::reader::{Reader, utf16_text};

const BEGIN: u16 = 5;
const COMMIT: u16 = 7;
const ROLLBACK: u16 = 8;
const SAVE: u16 = 9;

/// What a driver wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TransactionRequest {
    Begin {
        next: Next,
    },
    Commit {
        next: Option<Next>,
    },
    Rollback {
        name: Option<String>,
        next: Option<Next>,
    },
    Save {
        savepoint: String,
    },
    /// A distributed transaction, which the server has no coordinator for.
    Distributed,
}

/// A transaction to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Next {
    /// The isolation level from now on; `None` leaves it as it is.
    isolation: Option<&'static str>,
    name: String,
}

impl Next {
    fn decode(request: &mut Reader<'_>) -> Result<Self, WireError> {
        let isolation = match request.u8()? {
            0 => None,
            1 => Some("READ UNCOMMITTED"),
            2 => Some("READ COMMITTED"),
            3 => Some("REPEATABLE READ"),
            4 => Some("SERIALIZABLE"),
            5 => Some("SNAPSHOT"),
            _ => return Err(request.malformed("its isolation level is unknown")),
        };
        let name = name(request)?;
        Ok(Self { isolation, name })
    }

    fn sql(&self) -> String {
        let level = self
            .isolation
            .map(|level| format!("SET TRANSACTION ISOLATION LEVEL {level}; "));
        let sql = format!(
            "{}BEGIN TRANSACTION {}",
            level.unwrap_or_default(),
            quoted(&self.name)
        );
        sql.trim_end().to_owned()
    }
}

impl TransactionRequest {
    /// Reads what follows the headers
    /// ([MS-TDS 2.2.6.9](https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/61bdb5cf-e00b-4ed2-86f7-a5bbf9b9e6cb)).
    /// Names are counted in bytes there, unlike elsewhere.
    pub(super) fn decode(request: &mut Reader<'_>) -> Result<Self, WireError> {
        match request.u16()? {
            BEGIN => Ok(Self::Begin {
                next: Next::decode(request)?,
            }),
            COMMIT => {
                let _name = name(request)?;
                let next = next(request)?;
                Ok(Self::Commit { next })
            }
            ROLLBACK => {
                let name = Some(name(request)?).filter(|name| !name.is_empty());
                let next = next(request)?;
                Ok(Self::Rollback { name, next })
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
            Self::Begin { next } => next.sql(),
            Self::Commit { next } => and_begin("COMMIT TRANSACTION".to_owned(), next.as_ref()),
            Self::Rollback { name, next } => {
                let name = name.as_deref().map(quoted).unwrap_or_default();
                let sql = format!("ROLLBACK TRANSACTION {name}");
                // After a return to a savepoint the transaction goes on, and none begins.
                let next = next.as_ref().filter(|_| name.is_empty());
                and_begin(sql.trim_end().to_owned(), next)
            }
            Self::Save { savepoint } => format!("SAVE TRANSACTION {}", quoted(savepoint)),
            Self::Distributed => return Err(no_coordinator()),
        })
    }
}

/// A name, after its length in bytes.
fn name(request: &mut Reader<'_>) -> Result<String, WireError> {
    let bytes = usize::from(request.u8()?);
    Ok(utf16_text(request.bytes(bytes)?))
}

/// The transaction that follows, if the flag `fBeginXact` is set.
fn next(request: &mut Reader<'_>) -> Result<Option<Next>, WireError> {
    if request.is_empty() || request.u8()? & 1 == 0 {
        return Ok(None);
    }
    Next::decode(request).map(Some)
}

fn and_begin(sql: String, next: Option<&Next>) -> String {
    match next {
        Some(next) => format!("{sql}; {}", next.sql()),
        None => sql,
    }
}

fn quoted(name: &str) -> String {
    if name.is_empty() {
        return String::new();
    }
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
            sql(&[5, 0, 5, 2, b't', 0]),
            "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRANSACTION [t]"
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
        let to_savepoint = decode(&[8, 0, 2, b's', 0, 1, 0, 0]).unwrap();
        assert_eq!(to_savepoint.sql().unwrap(), "ROLLBACK TRANSACTION [s]");
        let both = decode(&[7, 0, 0, 1, 2, 0]).unwrap();
        assert_eq!(
            both.sql().unwrap(),
            "COMMIT TRANSACTION; SET TRANSACTION ISOLATION LEVEL READ COMMITTED; BEGIN TRANSACTION"
        );
    }

    #[test]
    fn distributed_and_broken_requests_are_refused() {
        assert_eq!(decode(&[0, 0]).unwrap().sql().unwrap_err().number, 8501);
        assert!(decode(&[99, 0]).is_err());
        assert!(decode(&[5]).is_err());
        assert!(decode(&[5, 0, 9, 0]).is_err());
        assert!(decode(&[9, 0, 5, 0]).is_err());
    }
}
