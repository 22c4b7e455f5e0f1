//! The memory of a namespace's CAs, and how it learns and forgets them.

use std::collections::{BTreeMap, BTreeSet};

use super::stored::max_stored_bytes;
use super::{Contributions, MAX_CONFIG_MAP_BYTES, Owner};
use crate::ca::certificate::{Certificate, Fingerprint};

/// The remembered CAs of a namespace. The memory is stored in a ConfigMap in velero-trust's own
/// namespace: it survives a restart, and write access to Velero's namespace is not enough to plant
/// a CA in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The certificates of each owner when they were last readable and good.
    pub(super) known: BTreeMap<Owner, Vec<Certificate>>,
    /// The certificates that locations no longer name.
    pub(super) retained: BTreeMap<Fingerprint, RetainedCertificate>,
    /// Time of the last addition that is not among `additions`, seconds since 1970: of the first bundle,
    /// and of public roots.
    pub(super) last_added: Option<i64>,
    /// The certificates in the memory that were added later, by the time of their addition, seconds since
    /// 1970.
    pub(super) additions: BTreeMap<i64, BTreeSet<Fingerprint>>,
    /// The hold of each location.
    pub holds: BTreeMap<String, Hold>,
    /// Number of certificates that had no room in the memory and are not reported yet. Not stored.
    pub(super) forgotten: usize,
    /// The latest time of day seen so far, seconds since 1970. Not stored.
    pub(super) latest_wall: i64,
}

/// Maximum retention, in seconds: a hundred years. The end of a longer one could not be written as
/// a timestamp.
const MAX_RETENTION_SECONDS: i64 = 100 * 366 * 86_400;

/// Bytes of the ConfigMap that are kept free for holds that are decided after [`Memory::learn`]:
/// enough for a hundred new ones at once. If there are more, the next call counts them.
pub(super) const RESERVED_HOLD_BYTES: usize = 32 << 10;

/// How long a retention must be seen as expired before the certificate is dropped, in seconds. A
/// clock that is ahead for a shorter time has no effect.
const EXPIRY_CONFIRMATION_SECONDS: u64 = 240;

/// Most times of additions that are remembered. The oldest ones count as one.
const MAX_ADDITIONS: usize = 32;

/// A moment, measured by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of day, seconds since 1970. It may jump forward and backward.
    pub wall: i64,
    /// Seconds since an arbitrary start. They never jump.
    pub steady: u64,
}

/// A certificate that is no longer named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RetainedCertificate {
    pub(super) certificate: Certificate,
    /// Time when it was no longer named, seconds since 1970.
    pub(super) since: i64,
    /// End of its retention, seconds since 1970.
    pub(super) until: i64,
    /// Time when this process first saw it retained, by the steady clock. Not stored.
    pub(super) first_seen: Option<u64>,
    /// Time when its retention was first seen as expired, by the steady clock. Not stored.
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

    /// Updates the end of the retention, and returns whether the certificate is still retained. The
    /// operator may have shortened the `retention` in the meantime; no clock can shorten it.
    fn refresh(&mut self, now: Moment, retention: i64) -> bool {
        self.until = self.until.min(self.since.saturating_add(retention));
        // The clock was ahead when the certificate was removed, or is behind now. Without this
        // limit the certificate would stay longer by the same amount.
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

/// Whether a location holds its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The location does not hold its namespace.
    Released,
    /// The location holds its namespace, for this reason.
    Held(String),
}

impl Memory {
    /// Remembers the certificates of `contributions`, and retains those that locations no longer
    /// name for `retention` seconds from `now`. An extra CA is not retained: it is in every bundle,
    /// so whoever could give one for a moment would be trusted everywhere for the whole retention.
    /// The time that the memory uses never goes back.
    pub fn learn(&mut self, contributions: &Contributions, now: Moment, retention: i64) {
        let retention = retention.clamp(0, MAX_RETENTION_SECONDS);
        self.latest_wall = self.latest_wall.max(now.wall);
        let before = std::mem::take(&mut self.known);
        for (owner, contribution) in contributions {
            let mut known = contribution.certificates.clone();
            if !contribution.is_complete {
                // The part that is good now may be unreadable the next time, after an error or an
                // edit.
                let remembered = before.get(owner).into_iter().flatten();
                for certificate in remembered {
                    if !known.contains(certificate) {
                        known.push(certificate.clone());
                    }
                }
            }
            if contribution.is_complete || !known.is_empty() {
                self.known.insert(owner.clone(), known);
            }
        }
        let named: BTreeSet<Fingerprint> = contributions
            .values()
            .flat_map(|contribution| &contribution.certificates)
            .chain(self.known.values().flatten())
            .map(Certificate::fingerprint)
            .collect();
        let before = before.into_iter();
        let of_locations = before.filter(|(owner, _)| matches!(owner, Owner::Location(_)));
        for certificate in of_locations.flat_map(|(_, certificates)| certificates) {
            let entry = self.retained.entry(certificate.fingerprint());
            entry.or_insert_with(|| {
                RetainedCertificate::new(certificate, self.latest_wall, retention)
            });
        }
        self.retained.retain(|fingerprint, entry| {
            !named.contains(fingerprint) && entry.refresh(now, retention)
        });
        self.forget_oldest();
        self.prune_additions();
    }

    /// Drops the additions of certificates that the memory does not contain.
    pub(super) fn prune_additions(&mut self) {
        let present: BTreeSet<_> = self.certificates().map(Certificate::fingerprint).collect();
        self.additions.retain(|_, added| {
            added.retain(|fingerprint| present.contains(fingerprint));
            !added.is_empty()
        });
    }

    /// Records that these certificates were added to the bundle at `now`, in seconds since 1970; none if
    /// it is the first bundle.
    pub fn record_addition(&mut self, now: i64, new: &BTreeSet<Fingerprint>) {
        let known = self.certificates().map(Certificate::fingerprint);
        let known: BTreeSet<_> = known.filter(|one| new.contains(one)).collect();
        if known.len() < new.len() || new.is_empty() {
            self.last_added = Some(now);
        }
        if !known.is_empty() {
            self.additions.entry(now).or_default().extend(known);
        }
        while self.additions.len() > MAX_ADDITIONS {
            let oldest = self.additions.pop_first().map(|(at, _)| at);
            self.last_added = self.last_added.max(oldest);
        }
    }

    /// Returns when a certificate was last added that something still names. One that nothing names any
    /// more is no reason to restart a process, so it does not count while it is retained.
    pub fn last_added(&self) -> Option<i64> {
        let known = self.known.values().flatten().map(Certificate::fingerprint);
        let known: BTreeSet<_> = known.collect();
        let mut newest_first = self.additions.iter().rev();
        let newest = newest_first.find(|(_, added)| !added.is_disjoint(&known));
        newest.map(|(at, _)| *at).max(self.last_added)
    }

    /// Whether no bundle was published yet, as far as known.
    pub fn is_unpublished(&self) -> bool {
        self.last_added.is_none() && self.additions.is_empty()
    }

    /// Adds an incomplete contribution for each extra CA that is remembered and not among
    /// `contributions`, so that it stays. For extra CAs that cannot be listed.
    pub fn recall_extra(&self, contributions: &mut Contributions) {
        let known = self.known.keys();
        for owner in known.filter(|owner| matches!(owner, Owner::Extra(_))) {
            contributions.entry(owner.clone()).or_default();
        }
    }

    /// Drops the oldest retained certificates if the memory would not fit into its ConfigMap.
    ///
    /// Whoever may write a named Secret could make the memory grow without limit. A memory that
    /// cannot be written is lost at a restart, with all certificates that are still named. So
    /// retained certificates only get the room that everything else leaves, about as much as a
    /// bundle has for them.
    fn forget_oldest(&mut self) {
        if self.retained.is_empty() {
            return;
        }
        let mut newest: Vec<_> = std::mem::take(&mut self.retained).into_iter().collect();
        newest.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.until));
        let taken = self.to_text().len().saturating_add(RESERVED_HOLD_BYTES);
        let mut room = Some(MAX_CONFIG_MAP_BYTES.saturating_sub(taken));
        for (fingerprint, entry) in newest {
            // After the first without room all others are dropped: an older one must not outlive
            // it.
            room = room.and_then(|room| room.checked_sub(max_stored_bytes(&entry.certificate)));
            if room.is_some() {
                self.retained.insert(fingerprint, entry);
            } else {
                self.forgotten = self.forgotten.saturating_add(1);
            }
        }
    }

    /// Returns the number of certificates that were dropped before the end of their retention since
    /// the last call.
    pub const fn take_forgotten(&mut self) -> usize {
        std::mem::replace(&mut self.forgotten, 0)
    }

    /// Whether the contribution of some owner is incomplete and nothing is remembered of that owner.
    pub fn lacks(&self, contributions: &Contributions) -> bool {
        let mut incomplete = contributions
            .iter()
            .filter(|(_, contribution)| !contribution.is_complete);
        incomplete.any(|(owner, _)| !self.known.contains_key(owner))
    }

    /// Returns the different certificates that it contains.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        let retained = self.retained.values().map(|entry| &entry.certificate);
        let all = self.known.values().flatten().chain(retained);
        let all = all.map(|certificate| (certificate.fingerprint(), certificate));
        all.collect::<BTreeMap<_, _>>().into_values()
    }

    /// Whether the memory contains any certificate.
    pub fn has_certificates(&self) -> bool {
        !self.retained.is_empty() || self.known.values().any(|known| !known.is_empty())
    }

    pub(super) fn certificates_of(&self, owner: &Owner) -> &[Certificate] {
        self.known.get(owner).map_or(&[], Vec::as_slice)
    }

    /// Returns the retained certificates. Those that were named last come first.
    pub(super) fn retained(&self) -> impl Iterator<Item = &Certificate> {
        let mut newest: Vec<_> = self.retained.values().collect();
        newest.sort_by_key(|entry| std::cmp::Reverse(entry.since));
        newest.into_iter().map(|entry| &entry.certificate)
    }
}
