//! The first half of a TLS handshake.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, SignatureScheme,
};
use tokio::io::{AsyncReadExt as _, join};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::failure::Failure;
use crate::ca::endpoint::Target;

/// What Go's HTTP clients offer; gateways choose by it.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificates that the server at the other end of `stream` presents to those who ask for
/// `target`; at most `most` bytes are read.
pub(super) async fn certificates(
    stream: TcpStream,
    target: &Target,
    most: u64,
) -> Result<Vec<Vec<u8>>, Failure> {
    let name = ServerName::try_from(target.host.clone())
        .map_err(|error| Failure::Broken(error.to_string()))?;
    let witness = Arc::new(Witness::default());
    let connector = TlsConnector::from(Arc::new(config(&witness)?));
    let (reader, writer) = stream.into_split();
    let stream = join(reader.take(most), writer);
    let outcome = connector.connect(name, stream).into_fallible().await;
    if let Some(seen) = witness.seen.get() {
        return Ok(seen.clone());
    }
    Err(match outcome {
        // Not before the witness was asked.
        Ok(_) => Failure::Broken("it presents no certificate".to_owned()),
        Err((_, stream)) if stream.reader().limit() == 0 => Failure::TooMuch,
        Err((error, _)) => failure(&error),
    })
}

fn config(witness: &Arc<Witness>) -> Result<ClientConfig, Failure> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&witness.provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Broken(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Witness>::clone(witness))
        .with_no_client_auth();
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn failure(error: &io::Error) -> Failure {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) else {
        return match error.kind() {
            // rustls keeps no more than 64 KiB of a message that does not end.
            io::ErrorKind::InvalidData => Failure::TooMuch,
            _ => Failure::Closed,
        };
    };
    match error {
        Error::AlertReceived(alert) => Failure::Alert(format!("{alert:?}")),
        Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
        ) => Failure::TooMuch,
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => Failure::NotTls,
        other => Failure::Broken(other.to_string()),
    }
}

/// Keeps what is presented, and trusts nobody: every handshake ends with it.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    seen: OnceLock<Vec<Vec<u8>>>,
}

impl Default for Witness {
    fn default() -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            seen: OnceLock::new(),
        }
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        // It is asked once.
        let _ = self.seen.set(chain.map(|one| one.to_vec()).collect());
        // The server's log says "access denied", not that its certificate is bad.
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
