//! Limits how many bundles are built at the same time.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Most bundles that are built at the same time. Each build holds several copies of the bundle's
/// text and a connection for each Secret.
const MAX_CONCURRENT_BUILDS: usize = 4;

/// Longest wait for a permit. Then the build starts without one, because a namespace whose requests
/// hang must not block the others.
const PERMIT_TIMEOUT: Duration = Duration::from_millis(500);

/// Permits to build a bundle, shared by all namespaces.
#[derive(Debug)]
pub struct BuildPermits(Semaphore);

impl BuildPermits {
    /// Waits for a permit; returns `None` after a bounded time.
    pub(super) async fn acquire(&self) -> Option<SemaphorePermit<'_>> {
        timeout(PERMIT_TIMEOUT, self.0.acquire()).await.ok()?.ok()
    }
}

impl Default for BuildPermits {
    fn default() -> Self {
        Self(Semaphore::new(MAX_CONCURRENT_BUILDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_all_permits_taken_goes_on_without_one() {
        let permits = BuildPermits::default();
        let mut taken = Vec::new();
        for _ in 0..MAX_CONCURRENT_BUILDS {
            taken.push(permits.acquire().await.unwrap());
        }
        assert!(permits.acquire().await.is_none());
        drop(taken);
        assert!(permits.acquire().await.is_some());
    }
}
