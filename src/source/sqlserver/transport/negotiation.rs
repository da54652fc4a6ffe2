//! What is encrypted: asked of the server in the driver's PRELOGIN (MS-TDS 2.2.6.5), and done.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::source::sqlserver::config::Encrypt;

use super::frames::Frames;
use super::socket::Carrier;
use super::tcp::Tcp;
use super::tls::{Trust, connect};

/// Of a packet (MS-TDS 2.2.3.1).
pub(super) const HEADER_BYTES: usize = 8;
pub(super) const PRELOGIN: u8 = 0x12;
pub(super) const END_OF_MESSAGE: u8 = 0x01;
/// The type of the packets in which a server answers.
const TABULAR_RESULT: u8 = 0x04;

/// The option ENCRYPTION, and what ends the options.
const ENCRYPTION: u8 = 0x01;
const TERMINATOR: u8 = 0xFF;

/// The values of that option.
const OFF: u8 = 0;
const NOT_SUPPORTED: u8 = 2;
const REQUIRED: u8 = 3;
/// Beyond those that a driver knows.
const UNKNOWN: u8 = 5;

/// What is to be encrypted, and with whom.
#[derive(Debug, Clone)]
pub(in super::super) struct Encryption {
    pub(in super::super) wanted: Encrypt,
    pub(in super::super) trust: Trust,
    /// The host that the server's certificate must be for.
    pub(in super::super) host: String,
    /// Becomes true where the login is encrypted, and what the server answers to it is not.
    pub(in super::super) answers_in_clear: Arc<AtomicBool>,
}

/// What the server and this client agreed on.
pub(super) struct Agreed {
    pub(super) carrier: Carrier,
    /// What the server said, for the driver.
    pub(super) answer: Vec<u8>,
    /// Whether what comes after the login is not encrypted.
    pub(super) only_login: bool,
}

/// Sends the driver's PRELOGIN with what is wanted, reads the answer, and makes TLS where that says so.
///
/// # Errors
/// `Unsupported` where encryption is required and the server has none; those of [`connect`]; those of the connection.
pub(super) async fn negotiate(
    tcp: Tcp,
    mut request: Vec<u8>,
    encryption: Encryption,
) -> io::Result<Agreed> {
    let Encryption {
        wanted,
        trust,
        host,
        answers_in_clear,
    } = encryption;
    let mut carrier = match wanted {
        Encrypt::Strict => {
            let frames = Frames::new(tcp, false);
            Carrier::Tls(Box::new(connect(frames, &host, &trust, true).await?))
        }
        _ => Carrier::Plain(tcp),
    };
    if let Some(option) = request.get_mut(HEADER_BYTES..).and_then(encryption_option) {
        *option = asked(wanted);
    }
    carrier.write_all(&request).await?;
    carrier.flush().await?;
    // To the driver nothing is encrypted: what it would take for an answer, and this does not, must not get it to log in.
    let may_be_plain = matches!(wanted, Encrypt::Off | Encrypt::Strict);
    let mut answer = match read_message(&mut carrier).await? {
        Message::Whole(answer) => answer,
        // No server of this kind: the driver says so.
        Message::Other(answer) if may_be_plain => return Ok(Agreed::plain(carrier, answer)),
        Message::Other(_) => return Err(no_answer()),
    };
    let mut unsaid = NOT_SUPPORTED;
    let option = encryption_option(&mut answer[HEADER_BYTES..]).unwrap_or(&mut unsaid);
    let said = *option;
    if said >= UNKNOWN {
        return match may_be_plain {
            true => Ok(Agreed::plain(carrier, answer)),
            false => Err(no_answer()),
        };
    }
    *option = NOT_SUPPORTED;
    let only_login = match (wanted, said) {
        (Encrypt::Strict, _) | (Encrypt::Off, NOT_SUPPORTED) => {
            return Ok(Agreed::plain(carrier, answer));
        }
        (Encrypt::Required, OFF | NOT_SUPPORTED) => {
            let text = "the server offers no encryption";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        (Encrypt::Login, OFF) => true,
        // The server wants everything encrypted, or does not say what it wants.
        (Encrypt::Required | Encrypt::Login | Encrypt::Off, _) => false,
    };
    if let Carrier::Plain(tcp) = carrier {
        let frames = Frames::new(tcp, true);
        let mut stream = connect(frames, &host, &trust, false).await?;
        stream.get_mut().0.finish();
        carrier = Carrier::Tls(Box::new(stream));
    }
    answers_in_clear.store(only_login, Ordering::Relaxed);
    Ok(Agreed {
        carrier,
        answer,
        only_login,
    })
}

impl Agreed {
    fn plain(carrier: Carrier, answer: Vec<u8>) -> Self {
        Self {
            carrier,
            answer,
            only_login: false,
        }
    }
}

fn no_answer() -> io::Error {
    io::Error::other("the server's answer to the PRELOGIN cannot be read")
}

fn asked(wanted: Encrypt) -> u8 {
    match wanted {
        Encrypt::Strict | Encrypt::Required => REQUIRED,
        Encrypt::Login => OFF,
        Encrypt::Off => NOT_SUPPORTED,
    }
}

/// The value of the option, in the options of a PRELOGIN.
fn encryption_option(options: &mut [u8]) -> Option<&mut u8> {
    let mut rest: &[u8] = options;
    let place: Range<usize> = loop {
        match *rest {
            [TERMINATOR, ..] => return None,
            [ENCRYPTION, high, low, ..] => {
                let start = usize::from(u16::from_be_bytes([high, low]));
                break start..start + 1;
            }
            _ => rest = rest.get(5..)?,
        }
    };
    options.get_mut(place)?.first_mut()
}

enum Message {
    /// All packets of an answer as one.
    Whole(Vec<u8>),
    /// Something else, or less.
    Other(Vec<u8>),
}

/// Reads the packets of an answer.
async fn read_message(carrier: &mut Carrier) -> io::Result<Message> {
    let mut message = vec![0; HEADER_BYTES];
    loop {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        let mut limited = (&mut *carrier).take(HEADER_BYTES as u64);
        while header.len() < HEADER_BYTES && limited.read_buf(&mut header).await? > 0 {}
        let [kind, status, high, low, ..] = header[..] else {
            return Ok(Message::Other(header));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if header.len() < HEADER_BYTES || kind != TABULAR_RESULT || length < HEADER_BYTES {
            return Ok(Message::Other(header));
        }
        let start = message.len();
        message.resize(start + length - HEADER_BYTES, 0);
        carrier.read_exact(&mut message[start..]).await?;
        let Ok(whole) = u16::try_from(message.len()) else {
            let text = "the server's PRELOGIN does not end";
            return Err(io::Error::other(text));
        };
        if status & END_OF_MESSAGE != 0 {
            message[..HEADER_BYTES].copy_from_slice(&header);
            message[2..4].copy_from_slice(&whole.to_be_bytes());
            return Ok(Message::Whole(message));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A packet of one option, ENCRYPTION.
    fn packet(kind: u8, encryption: u8) -> Vec<u8> {
        vec![kind, 1, 0, 15, 0, 0, 1, 0, 1, 0, 6, 0, 1, 0xFF, encryption]
    }

    /// What becomes of an answer, and whether the connection would be plain.
    async fn negotiated(wanted: Encrypt, answer: &[u8]) -> io::Result<bool> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let stream = TcpStream::connect(listener.local_addr()?).await?;
        let (mut server, _) = listener.accept().await?;
        server.write_all(answer).await?;
        server.shutdown().await?;
        let encryption = Encryption {
            wanted,
            trust: Trust::All,
            host: "h".to_string(),
            answers_in_clear: Arc::default(),
        };
        let request = packet(PRELOGIN, OFF);
        let agreed = negotiate(Tcp::new(stream), request, encryption).await?;
        Ok(matches!(agreed.carrier, Carrier::Plain(_)) && !agreed.only_login)
    }

    #[tokio::test]
    async fn no_answer_makes_a_login_plain_that_has_to_be_encrypted() {
        let answers = [
            packet(TABULAR_RESULT, NOT_SUPPORTED),
            packet(TABULAR_RESULT, OFF),
            packet(TABULAR_RESULT, UNKNOWN),
            packet(PRELOGIN, NOT_SUPPORTED),
            packet(0x03, OFF),
            vec![TABULAR_RESULT, 1, 0, 8, 0, 0, 1, 0],
            b"HTTP/1.1 400 Bad Request".to_vec(),
            Vec::new(),
        ];
        for answer in answers {
            for wanted in [Encrypt::Required, Encrypt::Login] {
                assert!(negotiated(wanted, &answer).await.is_err(), "{answer:?}");
            }
        }
        let plain = packet(TABULAR_RESULT, NOT_SUPPORTED);
        assert!(negotiated(Encrypt::Off, &plain).await.unwrap());
    }

    #[test]
    fn the_option_is_found_where_the_table_says() {
        let mut options = [0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xFF, 9, 9, 9, 9, 9, 9, 2];
        *encryption_option(&mut options).unwrap() = 3;
        assert_eq!(options[17], 3);
        let without: &mut [u8] = &mut [0, 0, 6, 0, 1, 0xFF, 1];
        let outside: &mut [u8] = &mut [1, 0, 60, 0, 1, 0xFF];
        let endless: &mut [u8] = &mut [0; 5];
        for options in [without, outside, endless, &mut []] {
            assert!(encryption_option(options).is_none(), "{options:?}");
        }
    }
}
