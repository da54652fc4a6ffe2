//! The server's side of TDS 7.4, SQL Server's wire protocol
//! ([MS-TDS](https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/)).
//!
//! A connection is PRELOGIN (which settles encryption), a TLS handshake in PRELOGIN packets, LOGIN7,
//! and then requests, one at a time: SQL batches, remote procedure calls, transaction requests. Each
//! becomes a call of a [`Backend`], whose replies become tokens. Rows go from Arrow to the socket in
//! pieces of bounded size, and an attention of the client is heard while they do.
//!
//! Every length that a client sends is checked before it is believed. A message that is not TDS ends
//! its connection.
//!
//! Absent: MARS, bulk load, table-valued parameters, `sql_variant`, Windows logins,
//! cursors.

mod answer;
mod backend;
mod connection;
mod disturbance;
mod error;
mod execution;
mod handshake;
mod headers;
mod login;
mod outgoing;
mod packet;
mod parameter;
mod plan;
mod prelogin;
mod prepared;
mod reader;
mod request;
mod rows;
mod rpc;
mod scalar;
mod stream;
mod text;
mod tls;
mod token;
mod transaction;
mod type_info;
mod values;

#[cfg(test)]
mod tests;

pub(crate) use backend::Backend;
pub(crate) use connection::{Terms, serve};
pub(crate) use login::LoginRequest;
pub(crate) use tls::Identity;
