//! Bounds the memory for what the endpoints of all namespaces present, and shares it.

use std::collections::BTreeMap;

use crate::ca::endpoint::Target;
use crate::shared_quota::SharedQuota;

/// Memory for the endpoints of a namespace that it always has: about sixty chains.
const GUARANTEED_BYTES: usize = 256 << 10;

/// Memory for the endpoints of all namespaces. A reconciler may keep what was there before for some
/// minutes more.
const TOTAL_BYTES: usize = 32 << 20;

/// Memory for a certificate beside its bytes.
const CERTIFICATE_BYTES: usize = 64;

/// The memory for what each endpoint presented. One that several namespaces want counts for the one
/// in whose turn it was probed.
#[derive(Debug)]
pub(super) struct ChainQuota {
    quota: SharedQuota,
    /// The namespace and the bytes of each chain that is kept.
    kept: BTreeMap<Target, (String, usize)>,
}

impl ChainQuota {
    /// Whether `chain`, which `target` presented in the turn of `namespace`, may be kept; it then
    /// counts as kept. What the target presented before counts no more.
    pub(super) fn admit(&mut self, target: &Target, namespace: &str, chain: &[Vec<u8>]) -> bool {
        self.forget(target);
        let bytes = chain.iter().map(|one| CERTIFICATE_BYTES + one.len());
        let bytes: usize = bytes.sum();
        let after = self.quota.held(namespace) + bytes;
        if !self.quota.admits(namespace, after) {
            return false;
        }
        self.quota.set(namespace, after);
        let entry = (namespace.to_owned(), bytes);
        self.kept.insert(target.clone(), entry);
        true
    }

    /// Records that nothing is kept of `target`.
    pub(super) fn forget(&mut self, target: &Target) {
        if let Some((namespace, bytes)) = self.kept.remove(target) {
            let after = self.quota.held(&namespace).saturating_sub(bytes);
            self.quota.set(&namespace, after);
        }
    }
}

impl Default for ChainQuota {
    fn default() -> Self {
        Self {
            quota: SharedQuota::new(GUARANTEED_BYTES, TOTAL_BYTES),
            kept: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(number: usize) -> Target {
        Target {
            host: number.to_string(),
            lookup: number.to_string(),
            port: 443,
        }
    }

    /// Returns how many of 500 endpoints with a chain of 64 KiB are kept for `namespace`.
    fn kept(quota: &mut ChainQuota, namespace: usize) -> usize {
        let chain = vec![vec![0; (64 << 10) - CERTIFICATE_BYTES]];
        let all = namespace * 500..(namespace + 1) * 500;
        let name = namespace.to_string();
        let admitted = all.filter(|one| quota.admit(&target(*one), &name, &chain));
        admitted.count()
    }

    #[test]
    fn however_much_the_endpoints_of_others_present_there_is_room_for_some() {
        let mut quota = ChainQuota::default();
        let counts: Vec<_> = (0..20)
            .map(|namespace| kept(&mut quota, namespace))
            .collect();
        assert_eq!(&counts[..3], [256, 128, 64]);
        assert_eq!(counts[19], GUARANTEED_BYTES >> 16);
        // To probe them again changes nothing but the shares.
        assert_eq!(kept(&mut quota, 19), GUARANTEED_BYTES >> 16);
        let all: usize = counts.iter().sum();
        assert!(all << 16 <= TOTAL_BYTES + 20 * GUARANTEED_BYTES, "{all}");
        for one in 0..500 {
            quota.forget(&target(one));
        }
        assert!(kept(&mut quota, 19) > 100);
    }

    #[test]
    fn certificates_without_content_need_memory_too() {
        let mut quota = ChainQuota::default();
        let chain = vec![Vec::new(); 10_000];
        let admitted = (0..500).filter(|one| quota.admit(&target(*one), "a", &chain));
        assert_eq!(
            admitted.count(),
            TOTAL_BYTES / 2 / (10_000 * CERTIFICATE_BYTES)
        );
    }
}
