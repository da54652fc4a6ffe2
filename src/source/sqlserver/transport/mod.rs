//! What carries the driver's bytes: a TCP connection, and TLS over it.
//!
//! TLS is made here and not by the driver, so that answers can be read on their way to it (see [`bulk`](super::bulk)). The
//! driver is told that there is no encryption, in its own PRELOGIN exchange (MS-TDS 2.2.6.5), while the server is told, and
//! held to, what the connection's option says.

mod frames;
mod negotiation;
mod socket;
mod tcp;
mod tls;

pub(super) use negotiation::Encryption;
pub(super) use socket::{Socket, Wanted};
pub(super) use tcp::Tcp;
pub(super) use tls::Trust;
