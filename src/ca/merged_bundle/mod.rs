//! The content of a merged bundle.
//!
//! A location with a CA that is broken or cannot be read adds what it added when its CA was last
//! good. A CA that is no longer named stays for the retention, so that a rotation has an overlap.

mod memory;
mod retained;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::bundle::{Bundle, merge, pem_block};
use super::certificate::{Certificate, Fingerprint};

pub use memory::{Hold, Memory, Moment};
pub use stored::Unreadable;

/// Maximum size of a ConfigMap, in bytes. The API server refuses a larger one.
pub const MAX_CONFIG_MAP_BYTES: usize = 1 << 20;

/// A source that names CAs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A location, by name.
    Location(String),
    /// A CA given at installation: a file, or an object in velero-trust's own namespace.
    Extra(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Location(name) => write!(f, "BackupStorageLocation {name}"),
            Self::Extra(name) => f.write_str(name),
        }
    }
}

/// The certificates that an owner adds, as far as they are currently known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contribution {
    /// The certificates.
    pub certificates: Vec<Certificate>,
    /// Whether these are all certificates that the owner names: none is left out and none is
    /// unknown.
    pub is_complete: bool,
}

/// The contribution of each owner.
pub type Contributions = BTreeMap<Owner, Contribution>;

/// The reason why a certificate is in a bundle. If there is no room, later variants are left out
/// first: what nobody names any longer must not take the place of what everybody trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Named by a location, now or when its CA was last good.
    #[serde(rename = "locations")]
    Location,
    /// Given at installation.
    Extra,
    /// A public root.
    Public,
    /// No longer named by a location, but still within its retention.
    Retained,
}

impl Origin {
    /// Returns the name used in annotations and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Location => "locations",
            Self::Extra => "extra",
            Self::Public => "public",
            Self::Retained => "retained",
        }
    }
}

/// A bundle, with counts of the certificates in it and of those that had no room.
#[derive(Clone, Debug)]
pub struct MergedBundle {
    /// The bundle.
    pub bundle: Bundle,
    /// The certificates in it.
    pub certificates: Vec<Certificate>,
    /// Number of its certificates per origin; each certificate is counted once.
    pub origins: BTreeMap<Origin, usize>,
    /// Number of certificates that were left out, per origin.
    pub left_out: BTreeMap<Origin, usize>,
}

/// Merges the bundle of a namespace from the contributions of its locations and of the
/// installation, the remembered certificates of contributions that are incomplete, the `public`
/// roots, and the retained certificates.
///
/// If that is more than a ConfigMap can hold, retained certificates are left out first. Public roots
/// follow: a CA that somebody names is needed, and most public roots are not. Those given at
/// installation are next. All certificates that are left out are counted.
pub fn merge_contributions(
    contributions: &Contributions,
    memory: &Memory,
    public: &[Certificate],
) -> MergedBundle {
    merge_within(
        candidates(contributions, memory, public),
        MAX_CONFIG_MAP_BYTES,
    )
}

/// Returns all certificates for the bundle, sorted so that the last ones are left out first.
fn candidates<'c>(
    contributions: &'c Contributions,
    memory: &'c Memory,
    public: &'c [Certificate],
) -> Vec<(Origin, &'c Certificate)> {
    let mut all = Vec::new();
    for (owner, contribution) in contributions {
        let origin = match owner {
            Owner::Location(_) => Origin::Location,
            Owner::Extra(_) => Origin::Extra,
        };
        let remembered = if contribution.is_complete {
            &[][..]
        } else {
            memory.certificates_of(owner)
        };
        let owned = contribution.certificates.iter().chain(remembered);
        all.extend(owned.map(|certificate| (origin, certificate)));
    }
    all.extend(public.iter().map(|root| (Origin::Public, root)));
    all.extend(
        memory
            .retained()
            .map(|certificate| (Origin::Retained, certificate)),
    );
    all
}

/// Merges certificates in their order, leaving out those for which `max_bytes` have no room.
fn merge_within(all: Vec<(Origin, &Certificate)>, max_bytes: usize) -> MergedBundle {
    let mut taken = BTreeMap::<Fingerprint, &Certificate>::new();
    let mut missing = BTreeSet::new();
    let mut origins = BTreeMap::new();
    let mut left_out = BTreeMap::new();
    let mut room = max_bytes;
    for (origin, certificate) in all {
        let fingerprint = certificate.fingerprint();
        if taken.contains_key(&fingerprint) || missing.contains(&fingerprint) {
            continue;
        }
        if let Some(rest) = room.checked_sub(pem_block(certificate).len()) {
            room = rest;
            taken.insert(fingerprint, certificate);
            *origins.entry(origin).or_default() += 1;
        } else {
            missing.insert(fingerprint);
            *left_out.entry(origin).or_default() += 1;
        }
    }
    let taken: Vec<_> = taken.into_values().cloned().collect();
    MergedBundle {
        bundle: merge(&taken),
        certificates: taken,
        origins,
        left_out,
    }
}

#[cfg(test)]
mod tests;
