//! Serving certificates: validated here, whatever their origin, and handed to the listener through
//! a channel.

mod clients;
mod files;
mod pair;
mod readiness;
mod self_signed;

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::watch;

use crate::ca::serving_certificate::ServingCertificate;
use crate::telemetry::Metrics;

pub use clients::ClientAuthorities;
pub use files::{FileError, Files};
pub use pair::{Pair, PairError, Validated};
pub use readiness::{Presented, Verifier};
pub use self_signed::SelfSigned;

/// The listener's end of the channel: each new connection uses the last certificate published. Without
/// one, new connections are closed.
pub type CertificateReceiver = watch::Receiver<Option<Arc<ServerConfig>>>;

/// Publishes certificates to the listener.
#[derive(Debug)]
pub struct CertificateSender {
    sender: watch::Sender<Option<Arc<ServerConfig>>>,
    certificate: watch::Sender<Option<ServingCertificate>>,
    metrics: Arc<Metrics>,
}

/// Creates a channel without a certificate.
pub fn channel(metrics: Arc<Metrics>) -> (CertificateSender, CertificateReceiver) {
    let (sender, served) = watch::channel(None);
    let sender = CertificateSender {
        sender,
        certificate: watch::Sender::new(None),
        metrics,
    };
    (sender, served)
}

impl CertificateSender {
    /// Publishes `next` for new connections; open connections keep their certificate.
    pub fn publish(&self, next: &Validated) {
        self.metrics.certificate_expiry.set(next.not_after());
        self.sender.send_replace(Some(next.config()));
        let next = Some(next.certificate().clone());
        self.certificate.send_if_modified(|served| {
            let is_new = *served != next;
            *served = next;
            is_new
        });
    }

    /// Returns a receiver of the certificate that new connections get, without its key.
    pub fn certificate(&self) -> watch::Receiver<Option<ServingCertificate>> {
        self.certificate.subscribe()
    }

    /// Counts a certificate that could not be published.
    pub fn failed(&self) {
        self.metrics.tls_reload_failures.inc();
    }
}
