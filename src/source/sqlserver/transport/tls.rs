//! TLS with a server: whom it trusts, and what failed.

use std::io;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use super::frames::Frames;

/// The protocol that TLS is told where it comes before all else (MS-TDS 3.2.5.2).
const PROTOCOL: &[u8] = b"tds/8.0";

/// Whose certificates are believed.
#[derive(Debug, Clone)]
pub(in super::super) enum Trust {
    /// Everybody's.
    All,
    /// Those of the system's authorities, and of a file's, in PEM or DER.
    Authorities(Option<Vec<u8>>),
}

/// Makes TLS with the server of that name; `is_first` where nothing has been said before.
///
/// # Errors
/// `InvalidData` for all that concerns certificates and TLS itself.
pub(super) async fn connect(
    frames: Frames,
    host: &str,
    trust: &Trust,
    is_first: bool,
) -> io::Result<TlsStream<Frames>> {
    let name = match (ServerName::try_from(host), trust) {
        (Ok(name), _) => name.to_owned(),
        // Nobody compares it.
        (Err(_), Trust::All) => ServerName::try_from("unknown.invalid").map_err(invalid)?,
        (Err(error), Trust::Authorities(_)) => return Err(invalid(error)),
    };
    let provider = CryptoProvider::get_default()
        .map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(invalid)?;
    let builder = match trust {
        Trust::All => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody)),
        Trust::Authorities(file) => builder.with_root_certificates(authorities(file.as_deref())?),
    };
    let mut config = builder.with_no_client_auth();
    if is_first {
        config.alpn_protocols.push(PROTOCOL.to_vec());
    }
    TlsConnector::from(Arc::new(config))
        .connect(name, frames)
        .await
        .map_err(explained)
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// Says more of a certificate that is not believed.
fn explained(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let Some(TlsError::InvalidCertificate(reason)) = inner else {
        return error;
    };
    let reason = reason.to_string();
    let hint = match reason.contains("UnsupportedCertVersion") {
        true => "; it has an outdated X.509 version, as those that SQL Server makes for itself",
        false => "",
    };
    invalid(format!(
        "the server's certificate was rejected during the TLS handshake: {reason}{hint}"
    ))
}

fn authorities(file: Option<&[u8]>) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    // One that cannot be read vouches for nobody.
    store.add_parsable_certificates(system.certs);
    match file {
        Some(bytes) => {
            for certificate in certificates(bytes)? {
                let unusable =
                    |error| invalid(format!("ca_file has an invalid certificate: {error}"));
                store.add(certificate).map_err(unusable)?;
            }
        }
        None if store.is_empty() => {
            return Err(invalid("this system has no authorities' certificates"));
        }
        None => {}
    }
    Ok(store)
}

/// The certificates of a file: all blocks of PEM, or else one in DER.
fn certificates(bytes: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    const BLOCK: &[u8] = b"-----BEGIN";
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let is_pem = bytes
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .any(|line| line.starts_with(BLOCK));
    let certificates = match is_pem {
        true => CertificateDer::pem_slice_iter(bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| invalid(format!("ca_file cannot be read as PEM: {error}")))?,
        false if bytes.is_empty() => Vec::new(),
        false => vec![CertificateDer::from(bytes.to_vec())],
    };
    if certificates.is_empty() {
        return Err(invalid("ca_file has no certificates"));
    }
    Ok(certificates)
}

/// Believes everybody, as `trust_server_certificate` says.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::ED448,
        ]
    }
}
