//! Requests, from messages.

use super::error::WireError;
use super::headers;
use super::packet::{Message, PacketType};
use super::reader::{Reader, utf16_text};
use super::transaction::TransactionRequest;

/// What a logged-in client asks for.
#[derive(Debug)]
pub(super) enum Request<'a> {
    /// A text of SQL.
    Batch(String),
    /// Procedure calls, not yet decoded.
    Calls(Reader<'a>),
    /// The beginning or end of a transaction.
    Transaction(TransactionRequest),
    /// To stop what is no longer running.
    Attention,
    /// Bulk load, which the server does not take.
    BulkLoad,
}

impl<'a> Request<'a> {
    pub(super) fn decode(message: &'a Message) -> Result<Self, WireError> {
        match message.kind {
            PacketType::SqlBatch => {
                let mut batch = Reader::new("SQL batch", &message.body);
                headers::skip(&mut batch)?;
                Ok(Self::Batch(utf16_text(batch.rest())))
            }
            PacketType::Rpc => {
                let mut calls = Reader::new("remote procedure call", &message.body);
                headers::skip(&mut calls)?;
                Ok(Self::Calls(calls))
            }
            PacketType::TransactionManager => {
                let mut request = Reader::new("transaction request", &message.body);
                headers::skip(&mut request)?;
                TransactionRequest::decode(&mut request).map(Self::Transaction)
            }
            PacketType::Attention => Ok(Self::Attention),
            PacketType::BulkLoad => Ok(Self::BulkLoad),
            PacketType::Login7 | PacketType::PreLogin => Err(WireError::malformed(
                "request",
                "the client is logged in already",
            )),
        }
    }
}
