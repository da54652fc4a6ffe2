//! The driver, in front of a server that has one answer.

use futures::TryStreamExt;
use tiberius::error::Error;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::compat::TokioAsyncWriteCompatExt;

use super::wire::packets;

/// The driver's rows of an answer.
#[track_caller]
pub(super) fn rows(answer: &[u8]) -> Vec<Row> {
    let (rows, error) = read(answer);
    assert!(error.is_none(), "{error:?}");
    rows
}

/// The driver's rows of an answer, and the error after them.
pub(super) fn read(answer: &[u8]) -> (Vec<Row>, Option<Error>) {
    let mut rows = Vec::new();
    let error = read_into(&mut rows, answer).err();
    (rows, error)
}

fn read_into(rows: &mut Vec<Row>, answer: &[u8]) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(Box::pin(async {
        let (near, far) = tokio::io::duplex(1 << 16);
        let mut config = Config::new();
        config.authentication(AuthMethod::sql_server("u", "p"));
        config.encryption(EncryptionLevel::NotSupported);
        config.handshake_timeout(None);
        config.command_timeout(None);
        config.lossy_utf16_decoding(true);
        let answer = answer.to_vec();
        let server = tokio::spawn(serve(far, answer));
        let mut client = Box::pin(Client::connect(config, near.compat_write())).await?;
        let mut stream = client.simple_query("SELECT").await?.into_row_stream();
        while let Some(row) = stream.try_next().await? {
            rows.push(row);
        }
        server.abort();
        Ok(())
    }))
}

async fn serve(mut stream: DuplexStream, answer: Vec<u8>) {
    let prelogin = [0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xFF, 16, 0, 0, 0, 0, 0, 2];
    request(&mut stream).await;
    stream.write_all(&packets(&prelogin, 4000)).await.unwrap();
    request(&mut stream).await;
    let mut login = vec![0xAD, 10, 0, 1, 0x74, 0, 0, 4, 0, 16, 0, 0, 0];
    login.extend([0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    stream.write_all(&packets(&login, 4000)).await.unwrap();
    request(&mut stream).await;
    // The driver may have had enough of it.
    let _ = stream.write_all(&answer).await;
}

/// Reads the packets of a request.
async fn request(stream: &mut DuplexStream) {
    let mut is_last = false;
    while !is_last {
        let mut header = [0; 8];
        stream.read_exact(&mut header).await.unwrap();
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        stream.read_exact(&mut vec![0; length - 8]).await.unwrap();
        is_last = header[1] & 1 == 1;
    }
}
