//! Looks at what the endpoints of BSLs present: DNS, TCP and the first half of a TLS handshake.
//!
//! The handshake is ended as soon as the server's certificates are known. No request is sent, no
//! client certificate, no application data, so nothing can be redirected; and since nothing is
//! ever done over the connection, it does not matter that nobody has verified it.

mod dial;
mod failure;
mod handshake;
pub mod schedule;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::ca::endpoint::{DeniedAddresses, Target};

pub use failure::{Failure, Stage};

/// What one look may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time for all of it, DNS included.
    pub deadline: Duration,
    /// Bytes that are read before the certificates are known. rustls itself stops at a TLS message
    /// of 64 KiB.
    pub bytes: u64,
}

impl Default for Limits {
    /// 5 seconds and 256 KiB.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            bytes: 256 << 10,
        }
    }
}

/// Reads the certificates that `target` presents, DER with the server's own first. A failure means
/// that nothing can be said of the endpoint, never that it is not trusted.
///
/// Every address of the host has to be one that is not denied, and one of those that were looked
/// at is dialled: the name is resolved once.
pub async fn look(
    target: &Target,
    denied: &DeniedAddresses,
    limits: Limits,
) -> Result<Vec<Vec<u8>>, Failure> {
    let deadline = Instant::now() + limits.deadline;
    let late = |stage| move |_| Failure::Late(stage);
    let addresses = timeout_at(deadline, dial::resolve(target, denied))
        .await
        .map_err(late(Stage::Resolving))??;
    let stream = dial::connect(&addresses, deadline).await?;
    timeout_at(
        deadline,
        handshake::certificates(stream, target, limits.bytes),
    )
    .await
    .map_err(late(Stage::Shaking))?
}

#[cfg(test)]
mod tests;
