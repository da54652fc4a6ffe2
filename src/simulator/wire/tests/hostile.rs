//! Clients that send what no client should.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::raw::{NO_HEADERS, Raw};
use super::{DATABASE, PASSWORD, Tls, USER, login7, server};

/// Bytes without an order, the same ones in each run.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|block| {
            let mut hash = Sha256::new();
            hash.update(seed.to_le_bytes());
            hash.update(block.to_le_bytes());
            hash.finalize().to_vec()
        })
        .take(length)
        .collect()
}

/// Ends with 4002 and a closed connection.
async fn assert_refused(raw: Raw) {
    let answer = raw.until_closed().await;
    assert_eq!(answer[8], 0xaa);
    assert_eq!(answer[11..15], 4002_u32.to_le_bytes());
}

#[tokio::test]
async fn noise_instead_of_a_handshake_closes_the_connection() {
    let server = server(Tls::Optional).await;
    for seed in 0..100 {
        let mut raw = Raw::connect(&server).await;
        raw.write(&noise(seed, 300)).await;
        assert!(raw.until_closed().await.is_empty());
        let mut raw = Raw::connect(&server).await;
        raw.send(0x12, 1, &noise(seed, 40)).await;
        raw.until_closed().await;
    }
}

#[tokio::test]
async fn noise_instead_of_a_request_is_an_error_and_closes_the_connection() {
    for kind in [1, 3, 0x0e, 0x10, 0x12] {
        for seed in 0..8 {
            let (_server, mut raw, _) = Raw::logged_in().await;
            raw.send(kind, 1, &noise(seed, 60)).await;
            assert_refused(raw).await;
        }
    }
}

#[tokio::test]
async fn noise_behind_good_headers_never_stops_the_server() {
    let server = server(Tls::Optional).await;
    for kind in [1, 3, 0x0e] {
        for seed in 0..60 {
            let (mut raw, _) = Raw::log_in(&server).await;
            let body = [NO_HEADERS, &noise(seed, 100)].concat();
            raw.send(kind, 1, &body).await;
            raw.until_closed().await;
        }
    }
    let (mut raw, _) = Raw::log_in(&server).await;
    raw.batch("use other").await;
    assert_eq!(raw.response().await[..1], [0xe3]);
}

#[tokio::test]
async fn noise_instead_of_a_login_closes_the_connection() {
    let server = server(Tls::Off).await;
    let login = login7(USER, PASSWORD, DATABASE, 4096);
    for seed in 0..100 {
        let mut raw = Raw::connect(&server).await;
        raw.send(0x12, 1, b"\x01\x00\x06\x00\x01\xff\x02").await;
        raw.response().await;
        let noise = noise(seed, 8);
        let mut login = login.clone();
        let at = usize::from(u16::from_le_bytes([noise[0], noise[1]])) % login.len();
        for (byte, noise) in login[at..].iter_mut().zip(&noise) {
            *byte = *noise;
        }
        raw.send(0x10, 1, &login).await;
        raw.until_closed().await;
    }
}

#[tokio::test]
async fn noise_instead_of_a_tls_handshake_closes_the_connection() {
    let server = server(Tls::Required).await;
    for seed in 0..30 {
        let mut raw = Raw::connect(&server).await;
        raw.send(0x12, 1, b"\x01\x00\x06\x00\x01\xff\x01").await;
        raw.response().await;
        let noise = noise(seed, 200);
        if seed % 2 == 0 {
            raw.send(0x12, 1, &noise).await;
        } else {
            raw.write(&noise).await;
        }
        raw.until_closed().await;
    }
}

#[tokio::test]
async fn a_message_without_end_is_refused() {
    let (_server, mut raw, _) = Raw::logged_in().await;
    let part = vec![0; 32_000];
    let flood = async {
        for _ in 0..3000 {
            raw.send(1, 0, &part).await;
        }
    };
    timeout(Duration::from_secs(60), flood).await.unwrap();
    assert_refused(raw).await;
}
