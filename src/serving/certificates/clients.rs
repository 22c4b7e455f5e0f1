//! The CAs whose clients may send reviews, where only they may.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::pair::PairError;

/// The CAs that sign the certificates of clients.
#[derive(Clone, Debug)]
pub struct ClientAuthorities {
    name: String,
    roots: Arc<RootCertStore>,
}

impl ClientAuthorities {
    /// Reads the CAs in `pem`. Messages call them `name`.
    pub fn parse(name: &str, pem: &[u8]) -> Result<Self, PairError> {
        let refused = |why: &str| PairError::ClientCa(name.to_owned(), why.to_owned());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| refused("a PEM block is broken"))?;
            let added = roots.add(certificate);
            added.map_err(|_| refused("a certificate in it cannot be parsed"))?;
        }
        if roots.is_empty() {
            return Err(refused("it holds no certificate"));
        }
        Ok(Self {
            name: name.to_owned(),
            roots: Arc::new(roots),
        })
    }

    /// Returns what verifies the certificate that a client must present: signed by one of the CAs,
    /// valid now, and for clients (extendedKeyUsage).
    pub(super) fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, PairError> {
        let roots = Arc::clone(&self.roots);
        WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| PairError::ClientCa(self.name.clone(), error.to_string()))
    }
}
