//! TLS with a store, which trusts what Velero trusts.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, OtherError,
    SignatureScheme,
};

use crate::bucket::error::ErrorKind;
use crate::ca::certificate::Certificate;
use crate::ca::endpoint::judge::judge;
use crate::ca::pem::read;

/// What is trusted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The servers that a Go program with these roots trusts.
    Roots {
        /// The roots: the merged bundle of the namespace, which contains the CAs of its BSLs.
        roots: Arc<[Certificate]>,
        /// The namespace, for the fix of a problem.
        namespace: String,
    },
    /// Every server (`insecureSkipTLSVerify`).
    Everything,
}

impl Trust {
    /// Trusts the certificates of a bundle, such as the merged one of `namespace`. Blocks that are
    /// no certificate count for nothing.
    pub fn bundle(namespace: &str, pem: &str) -> Self {
        Self::Roots {
            roots: read(pem.as_bytes()).certificates.into(),
            namespace: namespace.to_owned(),
        }
    }
}

/// Returns the TLS settings for HTTP/1.1.
pub(super) fn config(trust: Trust) -> Result<ClientConfig, ErrorKind> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = StoreVerifier {
        trust,
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ErrorKind::Tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session is not verified again, and the roots may have changed.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Verifies a store's certificates as Go does, so that velero-trust reaches a store exactly where
/// Velero does. A self-signed certificate of a server is trusted if it is a root, for example,
/// which the verifier of rustls refuses.
#[derive(Debug)]
struct StoreVerifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

/// Why a certificate is not trusted.
#[derive(Debug)]
struct Untrusted {
    problem: String,
    fix: String,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Untrusted {}

impl ServerCertVerifier for StoreVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Roots { roots, namespace } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let chain = std::iter::once(end_entity).chain(intermediates);
        let chain: Vec<_> = chain.collect();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let observation = judge(&chain, &server_name.to_str(), roots, now);
        let Some(problem) = observation.problems.first() else {
            return Ok(ServerCertVerified::assertion());
        };
        let untrusted = Untrusted {
            problem: problem.to_string(),
            fix: problem.fix(namespace),
        };
        Err(CertificateError::Other(OtherError(Arc::new(untrusted))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Returns why a handshake failed.
pub(super) fn describe(error: &std::io::Error) -> ErrorKind {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => {
            match other.downcast_ref::<Untrusted>() {
                Some(Untrusted { problem, fix }) => ErrorKind::Certificate {
                    problem: problem.clone(),
                    fix: fix.clone(),
                },
                None => ErrorKind::Tls(other.to_string()),
            }
        }
        Some(Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        )) => ErrorKind::NotTls,
        Some(error) => ErrorKind::Tls(error.to_string()),
        None => ErrorKind::CutOff,
    }
}
