//! Logging in, encrypted and not.

use tiberius::{AuthMethod, EncryptionLevel, error::Error};

use super::{Client, PASSWORD, Tls, USER, config, connect, server};

/// The error that the server sent last before it closed the connection.
fn refusal(result: tiberius::Result<Client>) -> (u32, u8, u8, String) {
    match result {
        Err(Error::Server(token)) => (
            token.code(),
            token.class(),
            token.state(),
            token.message().to_owned(),
        ),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the login was accepted"),
    }
}

async fn answers(client: &mut Client) -> bool {
    let rows = client.simple_query("text ä").await.unwrap();
    let row = rows.into_row().await.unwrap().unwrap();
    row.get::<&str, _>(0) == Some("text ä")
}

#[tokio::test]
async fn every_pair_of_encryptions_that_agrees_works() {
    for (tls, encryption) in [
        (Tls::Strict, EncryptionLevel::Strict),
        (Tls::Required, EncryptionLevel::Strict),
        (Tls::Optional, EncryptionLevel::Strict),
        (Tls::Optional, EncryptionLevel::NotSupported),
        (Tls::Optional, EncryptionLevel::Off),
        (Tls::Optional, EncryptionLevel::On),
        (Tls::Optional, EncryptionLevel::Required),
        (Tls::Required, EncryptionLevel::Required),
        (Tls::Required, EncryptionLevel::Off),
        (Tls::Off, EncryptionLevel::NotSupported),
    ] {
        let server = server(tls).await;
        let mut client = connect(config(&server, encryption))
            .await
            .unwrap_or_else(|error| panic!("{tls:?} {encryption:?}: {error:?}"));
        assert!(answers(&mut client).await, "{tls:?} {encryption:?}");
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_must_encrypt_turns_a_plain_client_away() {
    let server = server(Tls::Required).await;
    let client = connect(config(&server, EncryptionLevel::NotSupported)).await;
    assert!(client.is_err());
}

#[tokio::test]
async fn a_strict_server_turns_away_what_does_not_begin_with_tls() {
    let strict = server(Tls::Strict).await;
    for encryption in [
        EncryptionLevel::Required,
        EncryptionLevel::Off,
        EncryptionLevel::NotSupported,
    ] {
        assert!(connect(config(&strict, encryption)).await.is_err());
    }
    let plain = server(Tls::Off).await;
    let client = connect(config(&plain, EncryptionLevel::Strict)).await;
    assert!(client.is_err());
}

#[tokio::test]
async fn the_certificate_can_be_verified() {
    let server = server(Tls::Required).await;
    let mut verified = tiberius::Config::new();
    verified.host("localhost");
    verified.port(server.address().port());
    verified.authentication(AuthMethod::sql_server(USER, PASSWORD));
    verified.encryption(EncryptionLevel::Required);
    let mut unknown = verified.clone();
    unknown.trust_cert_ca_bundle(super::server(Tls::Off).await.certificate_der());
    verified.trust_cert_ca_bundle(server.certificate_der());
    assert!(answers(&mut connect(verified).await.unwrap()).await);
    assert!(connect(unknown).await.is_err());
}

#[tokio::test]
async fn a_wrong_password_is_18456() {
    for encryption in [EncryptionLevel::NotSupported, EncryptionLevel::Required] {
        let server = server(Tls::Optional).await;
        let mut config = config(&server, encryption);
        config.authentication(AuthMethod::sql_server(USER, "Metropolis-1938"));
        let (code, class, state, message) = refusal(connect(config).await);
        assert_eq!((code, class, state), (18456, 14, 1));
        assert_eq!(message, "Login failed for user 'sa'.");
    }
}

#[tokio::test]
async fn an_unknown_user_is_18456() {
    let server = server(Tls::Optional).await;
    let mut config = config(&server, EncryptionLevel::Required);
    config.authentication(AuthMethod::sql_server("lex", PASSWORD));
    let (code, ..) = refusal(connect(config).await);
    assert_eq!(code, 18456);
}

#[tokio::test]
async fn an_unknown_database_is_4060() {
    let server = server(Tls::Optional).await;
    let mut config = config(&server, EncryptionLevel::Required);
    config.database("nowhere");
    let (code, ..) = refusal(connect(config).await);
    assert!(code == 4060 || code == 18456, "{code}");
}

#[tokio::test]
async fn dropping_the_server_closes_its_connections() {
    let server = server(Tls::Optional).await;
    let address = server.address();
    let mut client = connect(config(&server, EncryptionLevel::Required))
        .await
        .unwrap();
    drop(server);
    assert!(client.simple_query("text").await.is_err());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
