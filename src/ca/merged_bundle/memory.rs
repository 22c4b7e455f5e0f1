//! What is remembered of the CAs of a namespace.

use std::collections::{BTreeMap, BTreeSet};

use super::stored::cost;
use super::{Contributions, LARGEST_CONFIG_MAP, Owner};
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
    /// How many certificates had no room in here, and were not told of yet; not for another process.
    pub(super) forgotten: usize,
    /// The latest time that was told so far, seconds since 1970; not for another process.
    pub(super) latest: i64,
}

/// A hundred years in seconds: a retention that is longer could not be written down.
const FOR_EVER: i64 = 100 * 366 * 86_400;

/// Bytes of the ConfigMap that are kept free for holds that are decided after it was learnt: a
/// hundred locations at once. What is not enough is counted the next time.
pub(super) const FOR_HOLDS: usize = 32 << 10;

/// For so long a retention has to be found over before it is, seconds. A clock that is ahead for a
/// shorter time takes nothing away.
const FOUND_OVER: u64 = 240;

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
pub(super) struct Left {
    pub(super) certificate: Certificate,
    /// Since when nobody names it, seconds since 1970.
    pub(super) since: i64,
    /// Until when it stays, seconds since 1970.
    pub(super) until: i64,
    /// When it was first found here, by the steady clock; not for another process.
    pub(super) found: Option<u64>,
    /// When its end was first found to be over, by the steady clock; not for another process.
    pub(super) over: Option<u64>,
}

impl Left {
    fn new(certificate: Certificate, since: i64, retention: i64) -> Self {
        Self {
            certificate,
            since,
            until: since.saturating_add(retention),
            found: None,
            over: None,
        }
    }

    /// Whether it stays. The operator may have shortened its `retention` since it left; no clock
    /// shortens it.
    fn stays(&mut self, now: Moment, retention: i64) -> bool {
        self.until = self.until.min(self.since.saturating_add(retention));
        // The clock was ahead when it left, or is behind now: it would stay for as long again.
        let found = *self.found.get_or_insert(now.steady);
        let longest = retention.unsigned_abs().saturating_add(FOUND_OVER);
        if now.steady.saturating_sub(found) > longest {
            return false;
        }
        if retention > 0 && self.until > now.wall {
            self.over = None;
            return true;
        }
        let found = *self.over.get_or_insert(now.steady);
        let wait = FOUND_OVER.min(retention.unsigned_abs());
        now.steady.saturating_sub(found) < wait
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
        let retention = retention.clamp(0, FOR_EVER);
        self.latest = self.latest.max(now.wall);
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
            let left = self.left.entry(certificate.fingerprint());
            left.or_insert_with(|| Left::new(certificate, self.latest, retention));
        }
        self.left
            .retain(|fingerprint, left| !named.contains(fingerprint) && left.stays(now, retention));
        self.forget_the_oldest();
    }

    /// Whoever may write a Secret that is named could have us retain without end, and a memory that
    /// cannot be written is lost at a restart, with all that is named in it. So what is retained has
    /// the room that all else leaves; it is about the room that a bundle has for it.
    fn forget_the_oldest(&mut self) {
        if self.left.is_empty() {
            return;
        }
        let mut newest: Vec<_> = std::mem::take(&mut self.left).into_iter().collect();
        newest.sort_by_key(|(_, left)| std::cmp::Reverse(left.until));
        let taken = self.to_text().len().saturating_add(FOR_HOLDS);
        let mut room = Some(LARGEST_CONFIG_MAP.saturating_sub(taken));
        for (fingerprint, left) in newest {
            // After the first that has no room none has: an older one must not outlive it.
            room = room.and_then(|room| room.checked_sub(cost(&left.certificate)));
            if room.is_some() {
                self.left.insert(fingerprint, left);
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
        let mut open = contributions
            .iter()
            .filter(|(_, contribution)| !contribution.whole);
        open.any(|(owner, _)| !self.known.contains_key(owner))
    }

    /// Whether there is no certificate in it.
    pub fn is_spent(&self) -> bool {
        self.left.is_empty() && self.known.values().all(Vec::is_empty)
    }

    pub(super) fn of(&self, owner: &Owner) -> &[Certificate] {
        self.known.get(owner).map_or(&[], Vec::as_slice)
    }

    pub(super) fn retained(&self) -> impl Iterator<Item = &Certificate> {
        self.left.values().map(|left| &left.certificate)
    }
}
