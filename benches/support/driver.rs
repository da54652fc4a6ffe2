//! The driver without cdcql around it.

use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

/// A client of the bare driver, connected as `url` says.
pub(crate) async fn driver(
    url: &str,
) -> Result<tiberius::Client<Compat<TcpStream>>, Box<dyn std::error::Error>> {
    let parsed = url::Url::parse(url)?;
    let mut config = tiberius::Config::new();
    config.host(parsed.host_str().unwrap_or_default());
    config.port(parsed.port().unwrap_or(1433));
    config.database(parsed.path().trim_start_matches('/'));
    config.authentication(tiberius::AuthMethod::sql_server(
        parsed.username(),
        parsed.password().unwrap_or_default(),
    ));
    config.trust_cert();
    if parsed
        .query_pairs()
        .any(|(key, value)| key == "encrypt" && value == "disabled")
    {
        config.encryption(tiberius::EncryptionLevel::NotSupported);
    }
    let socket = TcpStream::connect(config.get_addr()).await?;
    socket.set_nodelay(true)?;
    Ok(Box::pin(tiberius::Client::connect(config, socket.compat_write())).await?)
}
