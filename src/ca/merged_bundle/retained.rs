//! What an operator sees of the retained certificates, and how one of them is forgotten.

use super::{Memory, Owner};
use crate::ca::certificate::{Certificate, Fingerprint};

impl Memory {
    /// Takes a retained certificate out of the memory. Returns whether it was retained. One that is
    /// still named stays: it would only come back with the next build.
    pub fn forget(&mut self, fingerprint: Fingerprint) -> bool {
        let was_retained = self.retained.remove(&fingerprint).is_some();
        if was_retained {
            self.prune_additions();
        }
        was_retained
    }

    /// Returns what names a certificate now, or named it when it could last be read.
    pub fn named_by(&self, fingerprint: Fingerprint) -> impl Iterator<Item = &Owner> {
        let has_it = move |known: &Vec<Certificate>| {
            let mut known = known.iter();
            known.any(|certificate| certificate.fingerprint() == fingerprint)
        };
        let owners = self.known.iter();
        owners.filter_map(move |(owner, known)| has_it(known).then_some(owner))
    }

    /// Returns whether the memory contains a certificate, named or retained.
    pub fn contains(&self, fingerprint: Fingerprint) -> bool {
        self.retained.contains_key(&fingerprint) || self.named_by(fingerprint).next().is_some()
    }

    /// Returns the retained certificates, each with the end of its retention in seconds since 1970.
    pub fn retained_until(&self) -> impl Iterator<Item = (&Certificate, i64)> {
        let retained = self.retained.values();
        retained.map(|entry| (&entry.certificate, entry.until))
    }

    /// Takes over what `before`, which this memory replaces, knows and no ConfigMap holds: how long
    /// its certificates have been seen retained, and the latest time of day.
    pub fn continue_from(&mut self, before: &Self) {
        self.latest_wall = self.latest_wall.max(before.latest_wall);
        for (fingerprint, entry) in &mut self.retained {
            if let Some(before) = before.retained.get(fingerprint) {
                entry.first_seen = entry.first_seen.or(before.first_seen);
                entry.expired_since = entry.expired_since.or(before.expired_since);
            }
        }
    }
}
