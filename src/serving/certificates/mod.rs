//! Serving certificates: made ready here, wherever they come from, and handed to the listener
//! through a channel.

mod files;
pub mod issue;
mod pair;

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::watch;

use crate::telemetry::Metrics;

pub use files::{FileError, Files};
pub use pair::{Pair, PairError, Validated};

/// What the listener takes its certificate from: each new connection uses the last one published.
pub type CertificateReceiver = watch::Receiver<Arc<ServerConfig>>;

/// Hands certificates to the listener.
#[derive(Debug)]
pub struct CertificateSender {
    sender: watch::Sender<Arc<ServerConfig>>,
    metrics: Arc<Metrics>,
}

/// A channel that begins with `first`: a listener never is without a certificate.
pub fn channel(
    first: &Validated,
    metrics: Arc<Metrics>,
) -> (CertificateSender, CertificateReceiver) {
    let (sender, served) = watch::channel(first.config());
    metrics.certificate_expiry.set(first.not_after());
    (CertificateSender { sender, metrics }, served)
}

impl CertificateSender {
    /// From now on new connections get `next`; those that are open keep what they have.
    pub fn publish(&self, next: &Validated) {
        self.metrics.certificate_expiry.set(next.not_after());
        self.sender.send_replace(next.config());
    }

    /// Counts a certificate that could not be published.
    pub fn failed(&self) {
        self.metrics.tls_reload_failures.inc();
    }
}
