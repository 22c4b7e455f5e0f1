//! What goes into a merged bundle, and what must never be lost from it.
//!
//! A location whose CA is broken or cannot be read now adds what it added when it was last good.
//! Where nobody remembers that, all certificates of the bundle that is there are kept: one of them
//! may be the location's.

use std::collections::{BTreeMap, BTreeSet};

use super::bundle::{Bundle, block, merge, mozilla};
use super::certificate::{Certificate, Fingerprint};
use super::pem;

/// Most bytes in a ConfigMap; the API server refuses more.
pub const LARGEST_BUNDLE: usize = 1 << 20;

/// What a location adds, as far as it is known now.
#[derive(Clone, Debug, Default)]
pub struct Share {
    /// Its certificates.
    pub certificates: Vec<Certificate>,
    /// They are all that it names: nothing is left out, nothing is unknown.
    pub whole: bool,
}

/// What each location of a namespace adds, by name.
pub type Shares = BTreeMap<String, Share>;

/// The certificates of each location when its CA was last readable and good.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<String, Vec<Certificate>>);

impl Memory {
    /// Remembers what is whole; forgets the locations that are gone.
    pub fn learn(&mut self, shares: &Shares) {
        self.0.retain(|name, _| shares.contains_key(name));
        for (name, share) in shares.iter().filter(|(_, share)| share.whole) {
            self.0.insert(name.clone(), share.certificates.clone());
        }
    }

    /// Whether there is a location that is not whole and of which nothing is remembered.
    pub fn lacks(&self, shares: &Shares) -> bool {
        let mut open = shares.iter().filter(|(_, share)| !share.whole);
        open.any(|(name, _)| !self.0.contains_key(name))
    }

    fn of(&self, location: &str) -> &[Certificate] {
        self.0.get(location).map_or(&[], Vec::as_slice)
    }
}

/// A bundle, and what had no room in it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The bundle.
    pub bundle: Bundle,
    /// How many certificates were left out, of whom.
    pub left_out: BTreeMap<Owner, usize>,
}

/// Whose a certificate in a bundle is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A location's, by name.
    Location(String),
    /// Somebody's: it stood in the bundle before.
    Before,
    /// Nobody's: a public root.
    Public,
}

/// The bundle of a namespace: what its locations add, for those that are not whole what is
/// remembered of them, or else all of `live`, the bundle that is there, and the public roots.
///
/// When that is more than a ConfigMap can hold, public roots go first: a CA that somebody named is
/// needed, and most public roots are not. Then what stood in the bundle before, then the
/// certificates of the last locations. Never in silence: all that is left out is counted.
pub fn keep(shares: &Shares, memory: &Memory, live: Option<&str>) -> Kept {
    let live = live.filter(|_| memory.lacks(shares));
    let before = live.map_or_else(Vec::new, |text| pem::read(text.as_bytes()).certificates);
    fit(
        certificates(shares, memory, &before, mozilla()),
        LARGEST_BUNDLE,
    )
}

/// All certificates that belong into the bundle, those first that are dropped last.
fn certificates<'c>(
    shares: &'c Shares,
    memory: &'c Memory,
    before: &'c [Certificate],
    public: &'c [Certificate],
) -> Vec<(Owner, &'c Certificate)> {
    let mut all = Vec::new();
    for (name, share) in shares {
        let remembered = if share.whole {
            &[][..]
        } else {
            memory.of(name)
        };
        let of = share.certificates.iter().chain(remembered);
        all.extend(of.map(|certificate| (Owner::Location(name.clone()), certificate)));
    }
    let roots: BTreeSet<_> = public.iter().map(Certificate::fingerprint).collect();
    let named = before
        .iter()
        .filter(|certificate| !roots.contains(&certificate.fingerprint()));
    all.extend(named.map(|certificate| (Owner::Before, certificate)));
    all.extend(
        public
            .iter()
            .map(|certificate| (Owner::Public, certificate)),
    );
    all
}

/// Takes certificates in their order as long as there is room.
fn fit(all: Vec<(Owner, &Certificate)>, room: usize) -> Kept {
    let whole = merge(all.iter().map(|(_, certificate)| *certificate));
    let mut left_out = BTreeMap::new();
    if whole.text.len() <= room {
        let bundle = whole;
        return Kept { bundle, left_out };
    }
    let mut taken = BTreeMap::<Fingerprint, &Certificate>::new();
    let mut missing = BTreeSet::new();
    let mut left = room;
    for (owner, certificate) in all {
        let fingerprint = certificate.fingerprint();
        if taken.contains_key(&fingerprint) || missing.contains(&fingerprint) {
            continue;
        }
        if let Some(less) = left.checked_sub(block(certificate).len()) {
            left = less;
            taken.insert(fingerprint, certificate);
        } else {
            missing.insert(fingerprint);
            *left_out.entry(owner).or_default() += 1;
        }
    }
    let bundle = merge(taken.into_values());
    Kept { bundle, left_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(certificates: &[Certificate], whole: bool) -> Share {
        let certificates = certificates.to_vec();
        Share {
            certificates,
            whole,
        }
    }

    fn shares<const N: usize>(of: [(&str, Share); N]) -> Shares {
        of.map(|(name, share)| (name.to_owned(), share)).into()
    }

    /// Certificates that are no public roots.
    fn own() -> Vec<Certificate> {
        let make = |name: &str| {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            Certificate::parse(params.self_signed(&key).unwrap().der().to_vec()).unwrap()
        };
        ["a.test", "b.test", "c.test"].map(make).to_vec()
    }

    /// Which of `of` are in the bundle.
    fn holds(kept: &Kept, of: &[Certificate]) -> Vec<bool> {
        let text = &kept.bundle.text;
        of.iter().map(|one| text.contains(&block(one))).collect()
    }

    #[test]
    fn what_is_whole_is_all_there_is() {
        let own = own();
        let now = shares([("a", share(&own[..1], true)), ("b", share(&[], true))]);
        let mut memory = Memory::default();
        memory.learn(&shares([("a", share(&own[1..2], true))]));
        let kept = keep(&now, &memory, Some(&merge(&own[2..]).text));
        assert_eq!(holds(&kept, &own), [true, false, false]);
        assert_eq!(kept.bundle.count, 1 + mozilla().len());
    }

    #[test]
    fn a_location_that_is_not_whole_adds_what_is_remembered_of_it() {
        let own = own();
        let now = shares([("a", share(&own[..1], false))]);
        let mut memory = Memory::default();
        memory.learn(&shares([("a", share(&own[1..2], true))]));
        memory.learn(&now);
        let kept = keep(&now, &memory, Some(&merge(&own[2..]).text));
        assert_eq!(holds(&kept, &own), [true, true, false]);
        // Its name alone is not what it was.
        memory.learn(&Shares::new());
        assert!(memory.lacks(&now));
    }

    #[test]
    fn without_memory_the_bundle_that_is_there_is_kept_and_the_known_is_added() {
        let own = own();
        let memory = Memory::default();
        let now = shares([
            ("broken", share(&[], false)),
            ("good", share(&own[..1], true)),
        ]);
        let live = format!("{}nonsense", merge(&own[1..]).text);
        assert_eq!(holds(&keep(&now, &memory, Some(&live)), &own), [true; 3]);
        let first = keep(&now, &memory, None);
        assert_eq!(holds(&first, &own), [true, false, false]);
        // Again and again, the same.
        let again = keep(&now, &memory, Some(&first.bundle.text));
        assert_eq!(again.bundle, first.bundle);
    }

    #[test]
    fn public_roots_go_before_any_that_somebody_named() {
        let own = own();
        let public = &mozilla()[..3];
        let now = shares([
            ("a", share(&own[..1], true)),
            ("b", share(&own[1..2], false)),
        ]);
        let memory = Memory::default();
        let all = || certificates(&now, &memory, &own[2..], public);
        let size = |of: &[Certificate]| merge(of).text.len();

        let kept = fit(all(), usize::MAX);
        assert_eq!((kept.bundle.count, kept.left_out.len()), (6, 0));
        let kept = fit(all(), size(&own) + size(&public[..1]));
        assert!(kept.bundle.text.len() <= size(&own) + size(&public[..1]));
        assert_eq!(holds(&kept, &own), [true; 3]);
        assert_eq!(kept.left_out.keys().collect::<Vec<_>>(), [&Owner::Public]);
        let kept = fit(all(), size(&own[..1]));
        assert_eq!(holds(&kept, &own), [true, false, false]);
        let left_out = [
            (Owner::Location("b".into()), 1),
            (Owner::Before, 1),
            (Owner::Public, 3),
        ];
        assert_eq!(kept.left_out, left_out.into());
    }
}
