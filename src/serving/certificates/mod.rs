//! Serving certificates: validated here, whatever their origin, and handed to the listener through
//! a channel.

mod clients;
mod files;
pub mod issue;
mod pair;

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::watch;

use crate::telemetry::Metrics;

pub use clients::ClientAuthorities;
pub use files::{FileError, Files};
pub use pair::{Pair, PairError, Validated};

/// The listener's end of the channel: each new connection uses the last certificate published.
pub type CertificateReceiver = watch::Receiver<Arc<ServerConfig>>;

/// Publishes certificates to the listener.
#[derive(Debug)]
pub struct CertificateSender {
    sender: watch::Sender<Arc<ServerConfig>>,
    metrics: Arc<Metrics>,
}

/// Creates a channel that holds `first`, so that a listener is never without a certificate.
pub fn channel(
    first: &Validated,
    metrics: Arc<Metrics>,
) -> (CertificateSender, CertificateReceiver) {
    let (sender, served) = watch::channel(first.config());
    metrics.certificate_expiry.set(first.not_after());
    (CertificateSender { sender, metrics }, served)
}

impl CertificateSender {
    /// Publishes `next` for new connections; open connections keep their certificate.
    pub fn publish(&self, next: &Validated) {
        self.metrics.certificate_expiry.set(next.not_after());
        self.sender.send_replace(next.config());
    }

    /// Counts a certificate that could not be published.
    pub fn failed(&self) {
        self.metrics.tls_reload_failures.inc();
    }
}
