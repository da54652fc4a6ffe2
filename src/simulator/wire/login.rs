//! LOGIN7: who logs in, and into what.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::simulator::server::Accounts;

use super::error::WireError;
use super::reader::{Reader, utf16_text};

const WHAT: &str = "LOGIN7";

/// The packet size when the client asks for none.
pub(super) const DEFAULT_PACKET_SIZE: usize = 4096;
const PACKET_SIZES: std::ops::RangeInclusive<u32> = 512..=32767;

const FEATURES_END: u8 = 0xff;
/// Features named by one client; the specification has about fifteen.
const FEATURE_LIMIT: usize = 64;

/// `fIntSecurity` of the second option byte.
const INTEGRATED: u8 = 0x80;
/// `fReadOnlyIntent` of the type byte.
const READ_ONLY: u8 = 0x20;
/// `fExtension` of the third option byte.
const EXTENSION: u8 = 0x10;

/// A client's login, as it asked for it.
pub(crate) struct LoginRequest {
    session_id: u16,
    host: String,
    user: String,
    password: SecretString,
    database: String,
    application: String,
    pub(super) tds_version: u32,
    pub(super) packet_size: usize,
    pub(super) integrated: bool,
    /// Whether the client says that it only reads.
    reads_only: bool,
    /// The features the client asked for; `None` when it did not ask at all.
    pub(super) features: Option<Vec<u8>>,
}

impl LoginRequest {
    /// The number of the connection's session, from 51 on.
    pub(crate) fn session_id(&self) -> u16 {
        self.session_id
    }

    /// The client's machine, as it calls itself.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether the client says that it only reads.
    pub(crate) fn reads_only(&self) -> bool {
        self.reads_only
    }

    /// The login's name, as the client spells it.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The database asked for, as the client spells it; empty for the login's default.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// What the client calls itself.
    pub(crate) fn application(&self) -> &str {
        &self.application
    }

    /// Whether user and password are the ones given. SQL Server compares the name of a login without
    /// regard to case, its password exactly.
    pub(super) fn is_by(&self, user: &str, password: &SecretString) -> bool {
        let ours = password.expose_secret().as_bytes();
        let theirs = self.password.expose_secret().as_bytes();
        let differing = ours
            .iter()
            .zip(theirs)
            .fold(0, |bits, (a, b)| bits | (a ^ b));
        let same_password = ours.len() == theirs.len() && differing == 0;
        same_password && self.user.to_lowercase() == user.to_lowercase()
    }

    /// Whether user and password are those of an account.
    pub(super) fn is_of(&self, accounts: &Accounts) -> bool {
        (accounts.0)(&self.user, self.password.expose_secret())
    }

    /// Reads a login, which opens the session of this number.
    pub(super) fn decode(body: &[u8], session_id: u16) -> Result<Self, WireError> {
        let mut head = Reader::new(WHAT, body);
        let length = head.u32()?;
        if usize::try_from(length).is_ok_and(|length| length > body.len()) {
            return Err(head.malformed("it ends too early"));
        }
        let tds_version = head.u32()?;
        let packet_size = packet_size(head.u32()?);
        head.bytes(12)?;
        let flags = head.bytes(4)?;
        head.bytes(8)?;
        let mut fields = Fields { body, head };
        let host = fields.text()?;
        let user = fields.text()?;
        let password = fields.password()?;
        let application = fields.text()?;
        let _server = fields.text()?;
        let features = fields.features(flags[3] & EXTENSION != 0)?;
        let _library = fields.text()?;
        let _language = fields.text()?;
        let database = fields.text()?;
        Ok(Self {
            session_id,
            host,
            user,
            password,
            database,
            application,
            tds_version,
            packet_size,
            integrated: flags[1] & INTEGRATED != 0,
            reads_only: flags[2] & READ_ONLY != 0,
            features,
        })
    }
}

impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest")
            .field("user", &self.user)
            .field("database", &self.database)
            .field("application", &self.application)
            .finish_non_exhaustive()
    }
}

/// Zero, which Microsoft's ODBC driver sends, asks for the default.
fn packet_size(asked: u32) -> usize {
    match asked {
        0 => DEFAULT_PACKET_SIZE,
        asked => asked.clamp(*PACKET_SIZES.start(), *PACKET_SIZES.end()) as usize,
    }
}

/// The table of offsets and lengths, which point into the whole message.
struct Fields<'a> {
    body: &'a [u8],
    head: Reader<'a>,
}

impl<'a> Fields<'a> {
    /// The next field: an offset in bytes, and a length in units of `unit` bytes.
    fn next(&mut self, unit: usize) -> Result<&'a [u8], WireError> {
        let offset = usize::from(self.head.u16()?);
        let length = usize::from(self.head.u16()?) * unit;
        if length == 0 {
            return Ok(&[]);
        }
        let field = self.body.get(offset..offset + length);
        field.ok_or_else(|| self.head.malformed("a field points outside of it"))
    }

    fn text(&mut self) -> Result<String, WireError> {
        Ok(utf16_text(self.next(2)?))
    }

    fn password(&mut self) -> Result<SecretString, WireError> {
        let hidden = self.next(2)?;
        let plain: Vec<u8> = hidden
            .iter()
            .map(|byte| (byte ^ 0xa5).rotate_left(4))
            .collect();
        Ok(SecretString::from(utf16_text(&plain)))
    }

    /// The field that is unused unless the login is extended; it then points to the offset of a list.
    fn features(&mut self, extended: bool) -> Result<Option<Vec<u8>>, WireError> {
        let pointer = self.next(1)?;
        if !extended {
            return Ok(None);
        }
        let offset = Reader::new(WHAT, pointer).u32()?;
        let list = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.body.get(offset..))
            .ok_or_else(|| self.head.malformed("its features point outside of it"))?;
        feature_ids(Reader::new(WHAT, list)).map(Some)
    }
}

fn feature_ids(mut list: Reader<'_>) -> Result<Vec<u8>, WireError> {
    let mut ids = Vec::new();
    loop {
        let id = list.u8()?;
        if id == FEATURES_END {
            return Ok(ids);
        }
        if ids.len() == FEATURE_LIMIT {
            return Err(list.malformed("it has too many features"));
        }
        let length = list.u32()? as usize;
        list.bytes(length)?;
        ids.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::wire::tests::login7;

    /// The "Login Request" example of MS-TDS, by a client of TDS 7.2 without a password.
    #[test]
    fn the_example_of_the_specification_is_read() {
        let example = b"\x88\0\0\0\x02\0\x09\x72\0\x10\0\0\0\0\0\x07\0\x01\0\0\0\0\0\0\
            \xe0\x03\0\0\0\0\0\0\x09\x04\0\0\x5e\0\x08\0\x6e\0\x02\0\x72\0\0\0\x72\0\x07\0\
            \x80\0\0\0\x80\0\0\0\x80\0\x04\0\x88\0\0\0\x88\0\0\0\0\x50\x8b\xe2\xb7\x8f\x88\0\0\0\
            \x88\0\0\0\x88\0\0\0\0\0\0\0s\0k\0o\0s\0t\0o\0v\x001\0s\0a\0O\0S\0Q\0L\0-\x003\x002\0\
            O\0D\0B\0C\0";
        let login = LoginRequest::decode(example, 51).unwrap();
        assert_eq!((login.user(), login.application()), ("sa", "OSQL-32"));
        assert_eq!(login.database(), "");
        assert_eq!(login.tds_version, 0x7209_0002);
        assert_eq!((login.packet_size, login.integrated), (4096, false));
        assert_eq!(login.features, None);
        assert!(login.is_by("sa", &SecretString::from("")));
    }

    #[test]
    fn user_password_and_database_are_read() {
        let login = LoginRequest::decode(&login7("sa", "S3cret!ü", "app_db", 0), 51).unwrap();
        assert_eq!(login.user(), "sa");
        assert_eq!(login.database(), "app_db");
        assert_eq!((login.application(), login.host()), ("test", "host"));
        assert_eq!(login.session_id(), 51);
        assert_eq!(login.tds_version, 0x7400_0004);
        assert_eq!(login.packet_size, 4096);
        assert_eq!(login.features, Some(vec![0x0a]));
        assert!(login.is_by("SA", &SecretString::from("S3cret!ü")));
        assert!(!login.is_by("sa", &SecretString::from("s3cret!ü")));
        assert!(!login.is_by("sa", &SecretString::from("S3cret!ü ")));
        assert!(!login.is_by("bob", &SecretString::from("S3cret!ü")));
    }

    #[test]
    fn the_password_is_deobfuscated_as_in_the_specification() {
        // 'a' (0x61) is sent as 0xb3: nibbles swapped, then xor 0xa5; a zero byte as 0xa5.
        let body = login7("sa", "a", "", 0);
        assert!(body.windows(2).any(|pair| pair == [0xb3, 0xa5]));
        let login = LoginRequest::decode(&body, 51).unwrap();
        assert!(login.is_by("sa", &SecretString::from("a")));
    }

    #[test]
    fn packet_sizes_are_kept_within_bounds() {
        let size = |asked| {
            LoginRequest::decode(&login7("sa", "", "", asked), 51)
                .unwrap()
                .packet_size
        };
        assert_eq!(size(8000), 8000);
        assert_eq!(size(1), 512);
        assert_eq!(size(u32::MAX), 32767);
    }

    #[test]
    fn the_debug_form_hides_the_password() {
        let login = LoginRequest::decode(&login7("sa", "hunter2", "", 0), 51).unwrap();
        assert!(!format!("{login:?}").contains("hunter2"));
    }

    #[test]
    fn a_truncated_message_is_an_error() {
        let body = login7("sa", "secret", "app_db", 0);
        for length in 0..body.len() {
            assert!(
                LoginRequest::decode(&body[..length], 51).is_err(),
                "{length}"
            );
        }
    }
}
