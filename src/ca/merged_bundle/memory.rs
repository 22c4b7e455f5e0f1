//! What is remembered of the CAs of a namespace.

use std::collections::{BTreeMap, BTreeSet};

use super::stored::max_stored_bytes;
use super::{Contributions, MAX_CONFIG_MAP_BYTES, Owner};
use crate::ca::certificate::{Certificate, Fingerprint};

/// What is remembered of the CAs of a namespace. It is kept in a ConfigMap of our own namespace:
/// a restart forgets nothing, and who writes in Velero's namespace plants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The certificates of each owner when they were last readable and good.
    pub(super) known: BTreeMap<Owner, Vec<Certificate>>,
    /// Those that are named no more.
    pub(super) retained: BTreeMap<Fingerprint, RetainedCertificate>,
    /// When a certificate was last added to the bundle, seconds since 1970.
    pub last_added: Option<i64>,
    /// What is known of each location for the hold.
    pub holds: BTreeMap<String, Hold>,
    /// How many certificates had no room in here, and were not told of yet; not for another process.
    pub(super) forgotten: usize,
    /// The latest time that was told so far, seconds since 1970; not for another process.
    pub(super) latest_wall: i64,
}

/// A hundred years in seconds: a retention that is longer could not be written down.
const MAX_RETENTION_SECONDS: i64 = 100 * 366 * 86_400;

/// Bytes of the ConfigMap that are kept free for holds that are decided after it was learnt: a
/// hundred locations at once. What is not enough is counted the next time.
pub(super) const RESERVED_HOLD_BYTES: usize = 32 << 10;

/// For so long a retention has to be found over before it is, seconds. A clock that is ahead for a
/// shorter time takes nothing away.
const EXPIRY_CONFIRMATION_SECONDS: u64 = 240;

/// A moment, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of day, seconds since 1970. It may jump, back and forth.
    pub wall: i64,
    /// Seconds since some time before. They never jump.
    pub steady: u64,
}

/// A certificate that nobody names any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RetainedCertificate {
    pub(super) certificate: Certificate,
    /// Since when nobody names it, seconds since 1970.
    pub(super) since: i64,
    /// Until when it stays, seconds since 1970.
    pub(super) until: i64,
    /// When it was first found here, by the steady clock; not for another process.
    pub(super) first_seen: Option<u64>,
    /// When its end was first found to be over, by the steady clock; not for another process.
    pub(super) expired_since: Option<u64>,
}

impl RetainedCertificate {
    fn new(certificate: Certificate, since: i64, retention: i64) -> Self {
        Self {
            certificate,
            since,
            until: since.saturating_add(retention),
            first_seen: None,
            expired_since: None,
        }
    }

    /// Whether it stays. The operator may have shortened its `retention` since it left; no clock
    /// shortens it.
    fn refresh(&mut self, now: Moment, retention: i64) -> bool {
        self.until = self.until.min(self.since.saturating_add(retention));
        // The clock was ahead when it left, or is behind now: it would stay for as long again.
        let first_seen = *self.first_seen.get_or_insert(now.steady);
        let longest = retention
            .unsigned_abs()
            .saturating_add(EXPIRY_CONFIRMATION_SECONDS);
        if now.steady.saturating_sub(first_seen) > longest {
            return false;
        }
        if retention > 0 && self.until > now.wall {
            self.expired_since = None;
            return true;
        }
        let expired_since = *self.expired_since.get_or_insert(now.steady);
        let wait = EXPIRY_CONFIRMATION_SECONDS.min(retention.unsigned_abs());
        now.steady.saturating_sub(expired_since) < wait
    }
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
    /// `now`. While this memory is learning its time never goes back.
    pub fn learn(&mut self, contributions: &Contributions, now: Moment, retention: i64) {
        let retention = retention.clamp(0, MAX_RETENTION_SECONDS);
        self.latest_wall = self.latest_wall.max(now.wall);
        let before = std::mem::take(&mut self.known);
        for (owner, contribution) in contributions {
            let mut known = contribution.certificates.clone();
            if !contribution.whole {
                // The rest of it may be lost at the next look, by an error or an edit.
                let remembered = before.get(owner).into_iter().flatten();
                for certificate in remembered {
                    if !known.contains(certificate) {
                        known.push(certificate.clone());
                    }
                }
            }
            if contribution.whole || !known.is_empty() {
                self.known.insert(owner.clone(), known);
            }
        }
        let named: BTreeSet<Fingerprint> = contributions
            .values()
            .flat_map(|contribution| &contribution.certificates)
            .chain(self.known.values().flatten())
            .map(Certificate::fingerprint)
            .collect();
        for certificate in before.into_values().flatten() {
            let entry = self.retained.entry(certificate.fingerprint());
            entry.or_insert_with(|| {
                RetainedCertificate::new(certificate, self.latest_wall, retention)
            });
        }
        self.retained.retain(|fingerprint, entry| {
            !named.contains(fingerprint) && entry.refresh(now, retention)
        });
        self.forget_oldest();
    }

    /// Whoever may write a Secret that is named could have us retain without end, and a memory that
    /// cannot be written is lost at a restart, with all that is named in it. So what is retained has
    /// the room that all else leaves; it is about the room that a bundle has for it.
    fn forget_oldest(&mut self) {
        if self.retained.is_empty() {
            return;
        }
        let mut newest: Vec<_> = std::mem::take(&mut self.retained).into_iter().collect();
        newest.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.until));
        let taken = self.to_text().len().saturating_add(RESERVED_HOLD_BYTES);
        let mut room = Some(MAX_CONFIG_MAP_BYTES.saturating_sub(taken));
        for (fingerprint, entry) in newest {
            // After the first that has no room none has: an older one must not outlive it.
            room = room.and_then(|room| room.checked_sub(max_stored_bytes(&entry.certificate)));
            if room.is_some() {
                self.retained.insert(fingerprint, entry);
            } else {
                self.forgotten = self.forgotten.saturating_add(1);
            }
        }
    }

    /// How many certificates were forgotten before their retention was over since this was asked
    /// the last time.
    pub const fn take_forgotten(&mut self) -> usize {
        std::mem::replace(&mut self.forgotten, 0)
    }

    /// Whether there is an owner that is not whole and of which nothing is remembered.
    pub fn lacks(&self, contributions: &Contributions) -> bool {
        let mut incomplete = contributions
            .iter()
            .filter(|(_, contribution)| !contribution.whole);
        incomplete.any(|(owner, _)| !self.known.contains_key(owner))
    }

    /// Whether there is a certificate in it.
    pub fn has_certificates(&self) -> bool {
        !self.retained.is_empty() || self.known.values().any(|known| !known.is_empty())
    }

    pub(super) fn certificates_of(&self, owner: &Owner) -> &[Certificate] {
        self.known.get(owner).map_or(&[], Vec::as_slice)
    }

    pub(super) fn retained(&self) -> impl Iterator<Item = &Certificate> {
        self.retained.values().map(|entry| &entry.certificate)
    }
}
