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
use tokio::io::{AsyncReadExt as _, join, split};
use tokio_rustls::TlsConnector;

use super::failure::Failure;
use crate::ca::endpoint::Target;
use crate::dial::Io;

/// The ALPN protocols that Go's HTTP clients offer. Gateways choose by them.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Returns the certificates that the server behind `stream` presents for the host of `target`.
/// Reads at most `max_bytes` bytes.
pub(super) async fn certificates(
    stream: Box<dyn Io>,
    target: &Target,
    max_bytes: u64,
) -> Result<Vec<Vec<u8>>, Failure> {
    let name = ServerName::try_from(target.host.clone())
        .map_err(|error| Failure::Broken(error.to_string()))?;
    let verifier = Arc::new(CapturingVerifier::default());
    let connector = TlsConnector::from(Arc::new(config(&verifier)?));
    let (reader, writer) = split(stream);
    let stream = join(reader.take(max_bytes), writer);
    let outcome = connector.connect(name, stream).into_fallible().await;
    if let Some(chain) = verifier.presented.get() {
        return Ok(chain.clone());
    }
    Err(match outcome {
        // The handshake ended without a call of the verifier.
        Ok(_) => Failure::Broken("it presents no certificate".to_owned()),
        Err((_, stream)) if stream.reader().limit() == 0 => Failure::TooMuch,
        Err((error, _)) => describe_failure(&error),
    })
}

fn config(verifier: &Arc<CapturingVerifier>) -> Result<ClientConfig, Failure> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Broken(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<CapturingVerifier>::clone(verifier))
        .with_no_client_auth();
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn describe_failure(error: &io::Error) -> Failure {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) else {
        return match error.kind() {
            // rustls buffers at most 64 KiB of an incomplete message.
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

/// Keeps the certificates that are presented and accepts none of them, so that every handshake ends
/// here.
#[derive(Debug)]
struct CapturingVerifier {
    provider: Arc<CryptoProvider>,
    presented: OnceLock<Vec<Vec<u8>>>,
}

impl Default for CapturingVerifier {
    fn default() -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            presented: OnceLock::new(),
        }
    }
}

impl ServerCertVerifier for CapturingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        // rustls calls this once for each handshake.
        let _ = self.presented.set(chain.map(|one| one.to_vec()).collect());
        // With this error the server logs "access denied", not that its certificate is bad.
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
