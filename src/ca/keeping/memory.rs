//! What is remembered of the CAs of a namespace.

use std::collections::{BTreeMap, BTreeSet};

use super::{Owner, Shares};
use crate::ca::certificate::{Certificate, Fingerprint};

/// What is remembered of the CAs of a namespace. It is kept in a ConfigMap of our own namespace:
/// a restart forgets nothing, and who writes in Velero's namespace plants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The certificates of each owner when they were last readable and good.
    pub(super) known: BTreeMap<Owner, Vec<Certificate>>,
    /// Those that are named no more.
    pub(super) left: BTreeMap<Fingerprint, Left>,
    /// When a certificate was last added to the bundle, seconds since 1970.
    pub last_added: Option<i64>,
    /// What is known of each location for the hold.
    pub holds: BTreeMap<String, Hold>,
}

/// A certificate that nobody names any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) certificate: Certificate,
    /// Until when it stays, seconds since 1970.
    pub(super) until: i64,
}

/// Whether a namespace is held because of a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is not: the bundle was seen to verify its endpoints.
    Released,
    /// It is, and why.
    Held(String),
}

impl Memory {
    /// Remembers what is whole, and retains what is named no more for `retention` seconds from
    /// `now`, seconds since 1970.
    pub fn learn(&mut self, shares: &Shares, now: i64, retention: i64) {
        let before = std::mem::take(&mut self.known);
        for (owner, share) in shares {
            if share.whole {
                self.known.insert(owner.clone(), share.certificates.clone());
            } else if let Some(known) = before.get(owner) {
                self.known.insert(owner.clone(), known.clone());
            }
        }
        let named: BTreeSet<Fingerprint> = shares
            .values()
            .flat_map(|share| &share.certificates)
            .chain(self.known.values().flatten())
            .map(Certificate::fingerprint)
            .collect();
        let until = now.saturating_add(retention);
        // The operator may have shortened it meanwhile.
        for left in self.left.values_mut() {
            left.until = left.until.min(until);
        }
        for certificate in before.into_values().flatten() {
            self.left
                .entry(certificate.fingerprint())
                .or_insert(Left { certificate, until });
        }
        self.left
            .retain(|fingerprint, left| left.until > now && !named.contains(fingerprint));
    }

    /// Whether there is an owner that is not whole and of which nothing is remembered.
    pub fn lacks(&self, shares: &Shares) -> bool {
        let mut open = shares.iter().filter(|(_, share)| !share.whole);
        open.any(|(owner, _)| !self.known.contains_key(owner))
    }

    pub(super) fn of(&self, owner: &Owner) -> &[Certificate] {
        self.known.get(owner).map_or(&[], Vec::as_slice)
    }

    pub(super) fn retained(&self) -> impl Iterator<Item = &Certificate> {
        self.left.values().map(|left| &left.certificate)
    }
}
