//! Probes what the endpoints of BSLs present: DNS, TCP, or a proxy in place of both, and the first half
//! of a TLS handshake.
//!
//! The handshake ends as soon as the server's certificates are known. A probe sends no request, no
//! client certificate and no application data, so nothing can be redirected. Because the connection
//! is not used for anything, it does not matter that it is not verified.

mod failure;
mod handshake;
pub mod schedule;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::ca::endpoint::{DeniedAddresses, Target};
use crate::dial::{self, Io, Proxies, dial_by, open_tunnel};

pub use failure::Failure;

/// The limits of one probe.
#[derive(Clone, Copy, Debug)]
pub struct ProbeLimits {
    /// Longest time for the whole probe, including DNS.
    pub deadline: Duration,
    /// Most bytes to read until the certificates are known. rustls itself stops at a TLS message of
    /// 64 KiB.
    pub bytes: u64,
}

impl Default for ProbeLimits {
    /// 5 seconds and 256 KiB.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            bytes: 256 << 10,
        }
    }
}

/// Fetches the certificates that `target` presents: DER, the server's own first. A failure means
/// that nothing is known about the endpoint, never that it is not trusted.
///
/// Fails if any address of the host is denied. The host is resolved once, so that only addresses
/// that were checked are dialled. A proxy resolves it by itself.
pub async fn fetch_certificates(
    target: &Target,
    denied: &DeniedAddresses,
    proxies: &Proxies,
    limits: ProbeLimits,
) -> Result<Vec<Vec<u8>>, Failure> {
    fetch_certificates_by(target, denied, proxies, limits, dial::look_up).await
}

/// [`fetch_certificates`] with another resolver of names.
async fn fetch_certificates_by(
    target: &Target,
    denied: &DeniedAddresses,
    proxies: &Proxies,
    limits: ProbeLimits,
    look_up: impl AsyncFn(&str, u16) -> io::Result<Vec<SocketAddr>>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let deadline = Instant::now() + limits.deadline;
    let stream: Box<dyn Io> = match proxies.select(true, &target.host, target.port) {
        Some(proxy) => Box::new(open_tunnel(proxy, target, denied, deadline).await?),
        None => Box::new(dial_by(target, denied, deadline, look_up).await?),
    };
    timeout_at(
        deadline,
        handshake::certificates(stream, target, limits.bytes),
    )
    .await
    .map_err(|_| Failure::Late)?
}

#[cfg(test)]
mod tests;
