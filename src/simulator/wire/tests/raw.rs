//! A client that sends and sees bytes.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{DATABASE, PASSWORD, Tls, USER, login7, server};
use crate::simulator::server::Server;

const PATIENCE: Duration = Duration::from_secs(20);

/// PRELOGIN of a client that cannot encrypt.
const PRELOGIN: &[u8] = b"\x01\x00\x06\x00\x01\xff\x02";

/// ALL_HEADERS with no header in it.
pub(super) const NO_HEADERS: &[u8] = &[4, 0, 0, 0];

/// A connection below the level of drivers.
pub(super) struct Raw {
    socket: TcpStream,
}

impl Raw {
    pub(super) async fn connect(server: &Server) -> Self {
        let socket = TcpStream::connect(server.address()).await.unwrap();
        Self { socket }
    }

    /// A server, and a client that has logged in and has read the welcome.
    pub(super) async fn logged_in() -> (Server, Self, Vec<u8>) {
        let server = server(Tls::Optional).await;
        let (raw, welcome) = Self::log_in(&server).await;
        (server, raw, welcome)
    }

    /// A client that has logged in and has read the welcome.
    pub(super) async fn log_in(server: &Server) -> (Self, Vec<u8>) {
        let mut raw = Self::connect(server).await;
        raw.send(0x12, 1, PRELOGIN).await;
        raw.response().await;
        let login = login7(USER, PASSWORD, DATABASE, 4096);
        raw.send(0x10, 1, &login).await;
        let welcome = raw.response().await;
        (raw, welcome)
    }

    pub(super) async fn send(&mut self, kind: u8, status: u8, body: &[u8]) {
        let length = u16::try_from(body.len() + 8).unwrap().to_be_bytes();
        let header = [kind, status, length[0], length[1], 0, 0, 1, 0];
        self.write(&[&header, body].concat()).await;
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        // The server may have closed the connection already.
        let _ = self.socket.write_all(bytes).await;
    }

    pub(super) async fn batch(&mut self, sql: &str) {
        let text: Vec<u8> = sql.encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.send(1, 1, &[NO_HEADERS, &text].concat()).await;
    }

    /// The body of a whole message.
    pub(super) async fn response(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let (last, part) = self.packet().await;
            body.extend_from_slice(&part);
            if last {
                return body;
            }
        }
    }

    /// One packet, and whether it is the last.
    pub(super) async fn packet(&mut self) -> (bool, Vec<u8>) {
        let mut header = [0; 8];
        self.fill(&mut header).await;
        assert_eq!(header[0], 4);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let mut body = vec![0; length - 8];
        self.fill(&mut body).await;
        (header[1] & 1 != 0, body)
    }

    async fn fill(&mut self, bytes: &mut [u8]) {
        let read = timeout(PATIENCE, self.socket.read_exact(bytes)).await;
        read.unwrap().unwrap();
    }

    /// What the server sends until it closes the connection.
    pub(super) async fn until_closed(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.socket.shutdown().await;
        // A connection closed with bytes unread is reset, which is an end as well.
        let read = timeout(PATIENCE, self.socket.read_to_end(&mut rest)).await;
        let _ = read.unwrap();
        rest
    }
}

#[tokio::test]
async fn the_welcome_is_in_the_order_of_sql_server() {
    let (_server, _raw, welcome) = Raw::logged_in().await;
    // ENVCHANGE database, INFO 5701, ENVCHANGE collation and language, INFO 5703, LOGINACK, ENVCHANGE
    // packet size, FEATUREEXTACK, DONE.
    let mut tokens = Vec::new();
    let mut rest = welcome.as_slice();
    while let [token @ (0xe3 | 0xab | 0xad), low, high, ..] = *rest {
        tokens.push((token, rest[3]));
        rest = &rest[3 + usize::from(u16::from_le_bytes([low, high]))..];
    }
    let numbers = [0xe3, 0xab, 0xe3, 0xe3, 0xab, 0xad, 0xe3];
    assert_eq!(
        tokens.iter().map(|token| token.0).collect::<Vec<_>>(),
        numbers
    );
    assert_eq!(
        tokens.iter().map(|token| token.1).collect::<Vec<_>>(),
        [1, 0x45, 7, 2, 0x47, 1, 4]
    );
    assert_eq!(rest[..8], *b"\xae\x0a\x01\x00\x00\x00\x01\xff");
    assert_eq!(rest[8..], *b"\xfd\0\0\0\0\0\0\0\0\0\0\0\0");
}

#[tokio::test]
async fn an_attention_is_heard_while_nothing_is_sent() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    raw.batch("silent").await;
    raw.send(6, 1, b"").await;
    assert_eq!(raw.response().await, b"\xfd\x20\0\0\0\0\0\0\0\0\0\0\0");
    raw.batch("change").await;
    assert_eq!(raw.response().await[..5], *b"\xfd\x10\0\xc3\0");
}

#[tokio::test]
async fn an_attention_is_heard_while_the_client_does_not_read() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    raw.batch("endless").await;
    raw.packet().await;
    raw.send(6, 1, b"").await;
    let mut last = (false, Vec::new());
    while !last.0 {
        last = raw.packet().await;
    }
    assert!(last.1.ends_with(b"\xfd\x20\0\0\0\0\0\0\0\0\0\0\0"));
    raw.batch("change").await;
    assert_eq!(raw.response().await[..5], *b"\xfd\x10\0\xc3\0");
}

#[tokio::test]
async fn an_attention_with_nothing_to_stop_is_answered() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    raw.send(6, 1, b"").await;
    assert_eq!(raw.response().await, b"\xfd\x20\0\0\0\0\0\0\0\0\0\0\0");
}

#[tokio::test]
async fn a_request_sent_early_waits_for_its_turn() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    raw.batch("two").await;
    raw.batch("change").await;
    assert!(
        raw.response()
            .await
            .ends_with(b"\xfd\x10\0\xc3\0\x07\0\0\0\0\0\0\0")
    );
    assert!(
        raw.response()
            .await
            .ends_with(b"\xfd\x10\0\xc3\0\x01\0\0\0\0\0\0\0")
    );
}

#[tokio::test]
async fn a_reset_gives_a_new_session() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    raw.batch("use other").await;
    let changed = raw.response().await;
    assert_eq!(changed[..5], [0xe3, 0x19, 0, 1, 5]);
    let text: Vec<u8> = "change".encode_utf16().flat_map(u16::to_le_bytes).collect();
    raw.send(1, 9, &[NO_HEADERS, &text].concat()).await;
    assert_eq!(raw.response().await[..6], [0xe3, 3, 0, 18, 0, 0]);
    raw.batch("use other").await;
    let changed = raw.response().await;
    assert!(
        changed
            .windows(12)
            .any(|part| part == b"a\0p\0p\0_\0d\0b\0")
    );
}

#[tokio::test]
async fn a_reset_that_keeps_the_transaction_takes_the_rest_back() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    raw.batch("use other").await;
    raw.response().await;
    let text: Vec<u8> = "use third"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    raw.send(1, 0x11, &[NO_HEADERS, &text].concat()).await;
    let answer = raw.response().await;
    assert_eq!(answer[..6], [0xe3, 3, 0, 18, 0, 0]);
    let home = b"a\0p\0p\0_\0d\0b\0";
    assert!(answer.windows(home.len()).any(|part| part == home));
}

#[tokio::test]
async fn all_but_the_last_end_of_a_batch_announce_more() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    raw.batch("two").await;
    let response = raw.response().await;
    let ends: Vec<_> = response
        .windows(5)
        .filter(|part| part[0] == 0xfd && part[4] == 0)
        .map(|part| (part[1], part[3]))
        .collect();
    assert_eq!(ends, [(0x11, 0xc1), (0x11, 0xc1), (0x10, 0xc3)]);
}

#[tokio::test]
async fn a_transaction_request_is_answered_with_its_descriptor() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    raw.send(0x0e, 1, &[NO_HEADERS, &[5, 0, 2, 0]].concat())
        .await;
    let began = raw.response().await;
    assert_eq!(began[..13], *b"\xe3\x0b\0\x08\x08\x01\0\0\0\0\0\0\0");
    raw.send(0x0e, 1, &[NO_HEADERS, &[7, 0, 0, 0]].concat())
        .await;
    let committed = raw.response().await;
    assert_eq!(committed[..14], *b"\xe3\x0b\0\x09\0\x08\x01\0\0\0\0\0\0\0");
    raw.send(0x0e, 1, &[NO_HEADERS, &[0, 0]].concat()).await;
    assert_eq!(raw.response().await[3..7], 8501_u32.to_le_bytes());
}
