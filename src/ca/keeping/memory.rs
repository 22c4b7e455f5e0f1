//! What is remembered of the CAs of a namespace.

use std::collections::{BTreeMap, BTreeSet};

use super::{Owner, Shares};
use crate::ca::bundle::block;
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
    /// How many certificates were not retained the last time, because there were too many.
    pub(super) overflow: usize,
}

/// A hundred years in seconds: a retention that is longer could not be written down.
const FOR_EVER: i64 = 100 * 366 * 86_400;

/// Most bytes of PEM that are retained; a rotation of some CAs has a hundredth of it.
const MOST_RETAINED: usize = 256 << 10;

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
            let mut known = share.certificates.clone();
            if !share.whole {
                // The rest of it may be lost at the next look, by an error or an edit.
                let remembered = before.get(owner).into_iter().flatten();
                for certificate in remembered {
                    if !known.contains(certificate) {
                        known.push(certificate.clone());
                    }
                }
            }
            if share.whole || !known.is_empty() {
                self.known.insert(owner.clone(), known);
            }
        }
        let named: BTreeSet<Fingerprint> = shares
            .values()
            .flat_map(|share| &share.certificates)
            .chain(self.known.values().flatten())
            .map(Certificate::fingerprint)
            .collect();
        let until = now.saturating_add(retention.min(FOR_EVER));
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
        self.forget_the_oldest();
    }

    /// Whoever may write a Secret that is named could have us retain without end.
    fn forget_the_oldest(&mut self) {
        self.overflow = 0;
        let mut newest: Vec<_> = self.left.iter().collect();
        newest.sort_by_key(|(_, left)| std::cmp::Reverse(left.until));
        let mut bytes = 0_usize;
        let mut forgotten = Vec::new();
        for (fingerprint, left) in newest {
            bytes = bytes.saturating_add(block(&left.certificate).len());
            if bytes > MOST_RETAINED {
                forgotten.push(*fingerprint);
            }
        }
        self.overflow = forgotten.len();
        for fingerprint in forgotten {
            self.left.remove(&fingerprint);
        }
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
