//! TLS inside PRELOGIN packets.
//!
//! Under TDS 7.x the records of the handshake travel in PRELOGIN packets, both ways; once it is over
//! they travel bare, and TDS packets inside them. Under TDS 8.0 they travel bare from the beginning.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::SupportedProtocolVersion;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::server::{NoServerSessionStorage, ServerConfig};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::server::TlsStream;

use super::packet::{HEADER, PACKET_MAX, STATUS_END};
use crate::simulator::server::Certificate;

const PRELOGIN: u8 = 0x12;
/// The most bytes of a handshake packet sent, header included; clients expect the default size.
const HANDSHAKE_PACKET: usize = 4096;

/// The protocol that a client of TDS 8.0 asks for, as TLS names it (ALPN).
const STRICT_PROTOCOL: &[u8] = b"tds/8.0";

/// The server's certificate and key, made anew at each start.
#[derive(Clone)]
pub(crate) struct Identity {
    trusted: Vec<u8>,
    acceptor: TlsAcceptor,
    strict: TlsAcceptor,
}

impl Identity {
    /// Makes a key and a certificate for `localhost` and 127.0.0.1.
    pub(crate) fn generate(kind: Certificate) -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let (certificate, trusted) = certificate(kind, &key).map_err(io::Error::other)?;
        let (acceptor, strict) = acceptors(&certificate, &key).map_err(io::Error::other)?;
        Ok(Self {
            trusted,
            acceptor,
            strict,
        })
    }

    /// The certificate that a client has to trust, in DER: the server's own, or its authority's.
    pub(crate) fn trusted_der(&self) -> &[u8] {
        &self.trusted
    }

    /// Shakes hands before anything else is said, as TDS 8.0 does.
    pub(super) async fn accept_strictly<S>(&self, socket: S) -> io::Result<TlsStream<InPackets<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut bare = InPackets::new(socket);
        bare.wrapped = false;
        let stream = self.strict.accept(bare).await?;
        if stream.get_ref().1.alpn_protocol() != Some(STRICT_PROTOCOL) {
            let problem = "the client begins with TLS and does not ask for TDS 8.0";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Ok(stream)
    }

    /// Shakes hands in PRELOGIN packets; the stream returned sends bare records.
    pub(super) async fn accept<S>(&self, socket: S) -> io::Result<TlsStream<InPackets<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = self.acceptor.accept(InPackets::new(socket)).await?;
        stream.get_mut().0.wrapped = false;
        Ok(stream)
    }
}

/// The server's certificate, and in DER the one that a client has to trust.
fn certificate(
    kind: Certificate,
    key: &KeyPair,
) -> Result<(rcgen::Certificate, Vec<u8>), rcgen::Error> {
    let mut names = CertificateParams::new(vec!["localhost".to_owned()])?;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    names.subject_alt_names.push(SanType::IpAddress(loopback));
    match kind {
        Certificate::SelfSigned => {
            let certificate = names.self_signed(key)?;
            let trusted = certificate.der().to_vec();
            Ok((certificate, trusted))
        }
        Certificate::ByAuthority => {
            let mut authority = CertificateParams::default();
            authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let name = "authority of the SQL Server stand-in";
            authority.distinguished_name.push(DnType::CommonName, name);
            let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
            let certificate = names.signed_by(key, &authority)?;
            Ok((certificate, authority.der().to_vec()))
        }
    }
}

/// What accepts TLS inside PRELOGIN packets, and what accepts it first.
///
/// The former leaves TLS 1.3 out: its tickets arrive after the handshake, when clients have stopped unwrapping.
fn acceptors(
    certificate: &rcgen::Certificate,
    key: &KeyPair,
) -> Result<(TlsAcceptor, TlsAcceptor), tokio_rustls::rustls::Error> {
    let config = |versions: &[&'static SupportedProtocolVersion]| {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok::<_, tokio_rustls::rustls::Error>(config)
    };
    let mut strict = config(&[&TLS12, &TLS13])?;
    strict.alpn_protocols = vec![STRICT_PROTOCOL.to_vec()];
    let acceptor = |config| TlsAcceptor::from(Arc::new(config));
    Ok((acceptor(config(&[&TLS12])?), acceptor(strict)))
}

/// A stream that speaks in PRELOGIN packets until the handshake is over.
#[derive(Debug)]
pub(super) struct InPackets<S> {
    inner: S,
    wrapped: bool,
    header: Vec<u8>,
    /// Bytes left of the packet being read.
    payload: usize,
    /// Records written and not yet flushed.
    records: BytesMut,
    /// Packets not yet on the wire.
    packets: BytesMut,
}

impl<S> InPackets<S> {
    fn new(inner: S) -> Self {
        Self {
            inner,
            wrapped: true,
            header: Vec::with_capacity(HEADER),
            payload: 0,
            records: BytesMut::new(),
            packets: BytesMut::new(),
        }
    }

    pub(super) fn into_inner(self) -> S {
        self.inner
    }

    /// Wraps everything written since the last flush as one message.
    fn wrap_records(&mut self) {
        while !self.records.is_empty() {
            let length = self.records.len().min(HANDSHAKE_PACKET - HEADER);
            let is_last = length == self.records.len();
            self.packets.put_u8(PRELOGIN);
            self.packets.put_u8(if is_last { STATUS_END } else { 0 });
            // At most HANDSHAKE_PACKET.
            self.packets.put_u16((HEADER + length) as u16);
            self.packets.put_u32(0);
            self.packets.put_slice(&self.records[..length]);
            self.records.advance(length);
        }
    }

    fn start_payload(&mut self) -> io::Result<()> {
        let length = usize::from(u16::from_be_bytes([self.header[2], self.header[3]]));
        if self.header[0] != PRELOGIN || !(HEADER..=PACKET_MAX).contains(&length) {
            let problem = "the TLS handshake is not in PRELOGIN packets";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        self.payload = length - HEADER;
        self.header.clear();
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> InPackets<S> {
    /// Reads headers until one announces bytes. False at the end of the stream.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.payload == 0 {
            let mut bytes = [0; HEADER];
            let mut part = ReadBuf::new(&mut bytes[self.header.len()..]);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
            if part.filled().is_empty() {
                return Poll::Ready(Ok(false));
            }
            self.header.extend_from_slice(part.filled());
            if self.header.len() == HEADER {
                self.start_payload()?;
            }
        }
        Poll::Ready(Ok(true))
    }

    fn poll_payload(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        let length = self.payload.min(buf.remaining()).min(bytes.len());
        let mut part = ReadBuf::new(&mut bytes[..length]);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        self.payload -= part.filled().len();
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InPackets<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.payload == 0 && !this.wrapped {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        if !ready!(this.poll_header(cx))? {
            return Poll::Ready(Ok(()));
        }
        this.poll_payload(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InPackets<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.wrapped {
            return Pin::new(&mut this.inner).poll_write(cx, buf);
        }
        // A flight is one message, so that it waits for the flush that ends it.
        this.records.put_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.wrap_records();
        while !this.packets.is_empty() {
            let sent = ready!(Pin::new(&mut this.inner).poll_write(cx, &this.packets))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.packets.advance(sent);
        }
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
