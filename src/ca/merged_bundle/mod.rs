//! What goes into a merged bundle, and what must never be lost from it.
//!
//! A location whose CA is broken or cannot be read now adds what it added when it was last good;
//! a CA that is named no more stays for the retention, so that a rotation has an overlap.

mod memory;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::bundle::{Bundle, merge, pem_block};
use super::certificate::{Certificate, Fingerprint};

pub use memory::{Hold, Memory, Moment};
pub use stored::Unreadable;

/// Most bytes in a ConfigMap; the API server refuses more.
pub const MAX_CONFIG_MAP_BYTES: usize = 1 << 20;

/// Who names CAs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A location, by name.
    Location(String),
    /// What was given at installation: a file, or an object of our own namespace.
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

/// What an owner adds, as far as it is known now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contribution {
    /// Its certificates.
    pub certificates: Vec<Certificate>,
    /// They are all that it names: nothing is left out, nothing is unknown.
    pub whole: bool,
}

/// What each owner adds.
pub type Contributions = BTreeMap<Owner, Contribution>;

/// Why a certificate is in a bundle. What comes first is left out last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A location names it, or named it when its CA was last good.
    Location,
    /// It was given at installation.
    Extra,
    /// It was named, and its retention is not over.
    Retained,
    /// It is a public root.
    Public,
}

impl Origin {
    /// Its name in annotations and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Location => "locations",
            Self::Extra => "extra",
            Self::Retained => "retained",
            Self::Public => "public",
        }
    }
}

/// A bundle, and what had no room in it.
#[derive(Clone, Debug)]
pub struct MergedBundle {
    /// The bundle.
    pub bundle: Bundle,
    /// Its certificates.
    pub certificates: Vec<Certificate>,
    /// How many of its certificates come from where; each is counted once.
    pub origins: BTreeMap<Origin, usize>,
    /// How many certificates were left out, from where.
    pub left_out: BTreeMap<Origin, usize>,
}

/// The bundle of a namespace: what its locations and the installation name, for those that are not
/// whole what is remembered of them, what is retained, and the `public` roots.
///
/// When that is more than a ConfigMap can hold, public roots go first: a CA that somebody named is
/// needed, and most public roots are not. Then what is retained, then what was given at
/// installation. Never in silence: all that is left out is counted.
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

/// All certificates that belong into the bundle, those first that are dropped last.
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
        let remembered = if contribution.whole {
            &[][..]
        } else {
            memory.certificates_of(owner)
        };
        let owned = contribution.certificates.iter().chain(remembered);
        all.extend(owned.map(|certificate| (origin, certificate)));
    }
    all.extend(
        memory
            .retained()
            .map(|certificate| (Origin::Retained, certificate)),
    );
    all.extend(public.iter().map(|root| (Origin::Public, root)));
    all
}

/// Takes certificates in their order as long as there is room.
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
