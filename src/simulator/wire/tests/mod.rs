//! The server over real sockets, with a database that does as it is told.

mod calls;
mod golden;
mod hostile;
mod logins;
mod queries;
mod raw;
mod scripted;

use std::sync::Arc;

use secrecy::SecretString;
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use crate::simulator::behaviour::Behaviour;
use crate::simulator::control::Control;
use crate::simulator::protocol::ServerError;
use crate::simulator::server::{Certificate, Server, ServerOptions, Tls};
use scripted::Scripted;

const USER: &str = "sa";
const PASSWORD: &str = "Gotham-1939";
const DATABASE: &str = "app_db";

type Client = tiberius::Client<Compat<TcpStream>>;

/// A server with one database, `app_db`.
async fn server(tls: Tls) -> Server {
    controlled(tls, Control::default()).await
}

/// The same, under this control.
async fn controlled(tls: Tls, control: Control) -> Server {
    let options = ServerOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        user: USER.to_owned(),
        password: SecretString::from(PASSWORD),
        tls,
        certificate: Certificate::SelfSigned,
        behaviour: Behaviour::orderly(),
        control,
    };
    let sessions = |login: &super::LoginRequest| match login.database() {
        "" | DATABASE => Ok(Scripted::new(DATABASE)),
        unknown => Err(ServerError {
            number: 4060,
            severity: 11,
            state: 1,
            line: 1,
            message: format!(
                "Cannot open database \"{unknown}\" requested by the login. The login failed."
            ),
        }),
    };
    Server::bind(options, Arc::new(sessions)).await.unwrap()
}

/// A client's configuration for the server's own login.
fn config(server: &Server, encryption: tiberius::EncryptionLevel) -> tiberius::Config {
    let mut config = tiberius::Config::new();
    config.host("127.0.0.1");
    config.port(server.address().port());
    config.database(DATABASE);
    config.authentication(tiberius::AuthMethod::sql_server(USER, PASSWORD));
    config.encryption(encryption);
    config.trust_cert();
    config
}

async fn connect(config: tiberius::Config) -> tiberius::Result<Client> {
    let socket = TcpStream::connect(config.get_addr()).await?;
    socket.set_nodelay(true)?;
    Box::pin(Client::connect(config, socket.compat_write())).await
}

/// A LOGIN7 message of TDS 7.4 by the application `test`, with the feature UTF-8.
pub(super) fn login7(user: &str, password: &str, database: &str, packet_size: u32) -> Vec<u8> {
    let utf16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let hide = |bytes: Vec<u8>| -> Vec<u8> {
        bytes
            .iter()
            .map(|byte| byte.rotate_left(4) ^ 0xa5)
            .collect()
    };
    let mut head = vec![0; 94];
    head[4..8].copy_from_slice(&0x7400_0004_u32.to_le_bytes());
    head[8..12].copy_from_slice(&packet_size.to_le_bytes());
    head[27] = 0x10;
    let mut data = Vec::new();
    let fields = [
        (36, utf16("host")),
        (40, utf16(user)),
        (44, hide(utf16(password))),
        (48, utf16("test")),
        (52, utf16("server")),
        (60, utf16("library")),
        (64, Vec::new()),
        (68, utf16(database)),
    ];
    for (at, text) in fields {
        head[at..at + 2].copy_from_slice(&u16::try_from(94 + data.len()).unwrap().to_le_bytes());
        head[at + 2..at + 4].copy_from_slice(&u16::try_from(text.len() / 2).unwrap().to_le_bytes());
        data.extend_from_slice(&text);
    }
    let pointer = 94 + data.len();
    head[56..58].copy_from_slice(&u16::try_from(pointer).unwrap().to_le_bytes());
    head[58..60].copy_from_slice(&4_u16.to_le_bytes());
    data.extend_from_slice(&u32::try_from(pointer + 4).unwrap().to_le_bytes());
    data.extend_from_slice(&[0x0a, 0, 0, 0, 0, 0xff]);
    let length = u32::try_from(head.len() + data.len()).unwrap();
    head[..4].copy_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&data);
    head
}
