//! PRELOGIN: the server's version, and whether to encrypt.

use super::error::WireError;
use super::reader::Reader;
use crate::simulator::control::Encryption;
use crate::simulator::server::Tls;

const WHAT: &str = "PRELOGIN";

const OPTION_VERSION: u8 = 0;
const OPTION_ENCRYPTION: u8 = 1;
const OPTION_INSTANCE: u8 = 2;
const OPTION_THREAD: u8 = 3;
const OPTION_MARS: u8 = 4;
const OPTION_FEDERATED: u8 = 6;
const TERMINATOR: u8 = 0xff;

const ENCRYPT_OFF: u8 = 0;
const ENCRYPT_ON: u8 = 1;
const ENCRYPT_NOT_SUPPORTED: u8 = 2;
const ENCRYPT_REQUIRED: u8 = 3;
/// Set beside the others by a client that has a certificate of its own.
const ENCRYPT_CLIENT_CERTIFICATE: u8 = 0x80;

/// SQL Server 2022, which the simulator follows: major, minor, build.
pub(super) const SERVER_VERSION: [u8; 4] = [16, 0, 0x03, 0xe8];

/// What a client asks for before it logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PreLogin {
    encryption: u8,
    federated: bool,
}

impl PreLogin {
    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut options = Reader::new(WHAT, body);
        let mut found = Self {
            encryption: ENCRYPT_NOT_SUPPORTED,
            federated: false,
        };
        loop {
            let option = options.u8()?;
            if option == TERMINATOR {
                return Ok(found);
            }
            let offset = usize::from(options.u16_big_endian()?);
            let length = usize::from(options.u16_big_endian()?);
            let Some(data) = body.get(offset..offset + length) else {
                return Err(options.malformed("an option points outside of it"));
            };
            match (option, data) {
                (OPTION_ENCRYPTION, [byte, ..]) => {
                    found.encryption = byte & !ENCRYPT_CLIENT_CERTIFICATE;
                }
                (OPTION_ENCRYPTION, []) => return Err(options.malformed("an option is empty")),
                (OPTION_FEDERATED, _) => found.federated = true,
                _ => {}
            }
        }
    }

    /// The answer, and what it agrees to; `None` when the client cannot do what the server must.
    pub(super) fn negotiate(self, tls: Tls) -> (Vec<u8>, Option<Encryption>) {
        let (answer, agreed) = match (tls, self.encryption) {
            // TLS came first; what is said here means nothing.
            (Tls::Strict, _) => (ENCRYPT_ON, Some(Encryption::Strict)),
            (Tls::Off, _) | (Tls::Optional, ENCRYPT_NOT_SUPPORTED) => {
                (ENCRYPT_NOT_SUPPORTED, Some(Encryption::Nothing))
            }
            (Tls::Required, ENCRYPT_NOT_SUPPORTED) => (ENCRYPT_REQUIRED, None),
            (Tls::Optional, ENCRYPT_OFF) => (ENCRYPT_OFF, Some(Encryption::LoginOnly)),
            (Tls::Required, ENCRYPT_OFF) => (ENCRYPT_REQUIRED, Some(Encryption::Everything)),
            (Tls::Optional | Tls::Required, _) => (ENCRYPT_ON, Some(Encryption::Everything)),
        };
        (self.encode(answer), agreed)
    }

    fn encode(self, encryption: u8) -> Vec<u8> {
        let [major, minor, build_high, build_low] = SERVER_VERSION;
        let version = [major, minor, build_high, build_low, 0, 0];
        let mut options: Vec<(u8, &[u8])> = vec![
            (OPTION_VERSION, &version),
            (OPTION_ENCRYPTION, std::slice::from_ref(&encryption)),
            (OPTION_INSTANCE, &[0]),
            (OPTION_THREAD, &[]),
            (OPTION_MARS, &[0]),
        ];
        if self.federated {
            options.push((OPTION_FEDERATED, &[0]));
        }
        // Six options of a few bytes: neither number overflows.
        let mut offset = (options.len() * 5 + 1) as u16;
        let mut table = Vec::new();
        let mut data = Vec::new();
        for (option, value) in options {
            let length = value.len() as u16;
            table.push(option);
            table.extend_from_slice(&offset.to_be_bytes());
            table.extend_from_slice(&length.to_be_bytes());
            data.extend_from_slice(value);
            offset += length;
        }
        table.push(TERMINATOR);
        table.extend_from_slice(&data);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The "Pre-Login Request" example of MS-TDS.
    const EXAMPLE: &[u8] =
        b"\x00\x00\x1a\x00\x06\x01\x00\x20\x00\x01\x02\x00\x21\x00\x01\x03\x00\x22\x00\x04\
        \x04\x00\x26\x00\x01\xff\x09\x00\x00\x00\x00\x00\x01\x00\xb8\x0d\x00\x00\x01";

    #[test]
    fn the_example_of_the_specification_asks_for_encryption() {
        let prelogin = PreLogin::decode(EXAMPLE).unwrap();
        assert_eq!(prelogin.encryption, ENCRYPT_ON);
        assert!(!prelogin.federated);
    }

    #[test]
    fn the_answer_carries_the_version_and_the_encryption() {
        let asked = PreLogin::decode(EXAMPLE).unwrap();
        let (answer, agreed) = asked.negotiate(Tls::Optional);
        assert_eq!(agreed, Some(Encryption::Everything));
        assert_eq!(
            answer,
            b"\x00\x00\x1a\x00\x06\x01\x00\x20\x00\x01\x02\x00\x21\x00\x01\x03\x00\x22\x00\x00\
              \x04\x00\x22\x00\x01\xff\x10\x00\x03\xe8\x00\x00\x01\x00\x00"
        );
    }

    #[test]
    fn both_sides_agree_on_encryption() {
        let agreed = |asked, tls| {
            let prelogin = PreLogin {
                encryption: asked,
                federated: false,
            };
            let (answer, agreed) = prelogin.negotiate(tls);
            (answer[32], agreed)
        };
        assert_eq!(agreed(0, Tls::Optional), (0, Some(Encryption::LoginOnly)));
        assert_eq!(agreed(0, Tls::Required), (3, Some(Encryption::Everything)));
        assert_eq!(agreed(0, Tls::Off), (2, Some(Encryption::Nothing)));
        assert_eq!(agreed(1, Tls::Required), (1, Some(Encryption::Everything)));
        assert_eq!(agreed(1, Tls::Off), (2, Some(Encryption::Nothing)));
        assert_eq!(agreed(2, Tls::Optional), (2, Some(Encryption::Nothing)));
        assert_eq!(agreed(2, Tls::Required), (3, None));
        assert_eq!(agreed(3, Tls::Optional), (1, Some(Encryption::Everything)));
    }

    #[test]
    fn a_truncated_message_is_an_error() {
        for length in 0..EXAMPLE.len() - 1 {
            assert!(PreLogin::decode(&EXAMPLE[..length]).is_err(), "{length}");
        }
    }
}
