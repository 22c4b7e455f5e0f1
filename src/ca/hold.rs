//! The decision whether a namespace is held, so that its Pods get no `AWS_CA_BUNDLE`.
//!
//! `AWS_CA_BUNDLE` replaces the system's roots. If Velero works only because the CA of its store is
//! in its image or in the trust store of its node, the bundle alone would break it. `SSL_CERT_DIR`
//! only adds to the system's roots, so it is set even while the namespace is held.

use std::collections::BTreeMap;

use super::merged_bundle::Hold;

/// The result of checking the endpoint of a location against the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointVerdict {
    /// The bundle verifies the endpoint.
    Trusted,
    /// The bundle does not verify the endpoint, for this reason.
    Untrusted(String),
    /// The endpoint could not be checked, for this reason.
    Unknown(String),
}

/// The current state of a location.
#[derive(Clone, Copy, Debug)]
pub struct LocationState<'l> {
    /// The location's name.
    pub name: &'l str,
    /// Whether Velero reports it available.
    pub is_available: bool,
    /// One verdict per endpoint that Velero verifies with the AWS SDK.
    pub verdicts: &'l [EndpointVerdict],
}

/// Decides the hold of every location of a namespace, given the holds `before`. One held location
/// is enough to hold the namespace.
///
/// A location that is added while another one holds the namespace counts as new until that hold
/// ends: the namespace's Pods have no `AWS_CA_BUNDLE`, so the location may start to work without
/// the bundle, and the end of the other hold must not break it.
pub fn decide(
    before: &BTreeMap<String, Hold>,
    all: &[LocationState<'_>],
) -> BTreeMap<String, Hold> {
    let decided = all.iter().map(|location| {
        let before = before.get(location.name);
        let next = next_hold(before, location.is_available, location.verdicts);
        (location.name.to_owned(), next)
    });
    let mut decided: BTreeMap<_, _> = decided.collect();
    if decided.values().any(|hold| *hold != Hold::Released) {
        let is_verified = |location: &LocationState<'_>| {
            let mut verdicts = location.verdicts.iter();
            verdicts.all(|verdict| *verdict == EndpointVerdict::Trusted)
        };
        let new = all
            .iter()
            .filter(|location| !before.contains_key(location.name));
        for location in new.filter(|location| !is_verified(location)) {
            if decided.get(location.name) == Some(&Hold::Released) {
                decided.remove(location.name);
            }
        }
    }
    decided
}

/// Decides the hold of one location after its endpoints were checked.
///
/// `before` is the previous hold, `None` for a new location. `is_available` tells whether Velero
/// reports the location available. `verdicts` has one entry for each endpoint that Velero verifies
/// with the AWS SDK; without any endpoint, nothing can break.
///
/// A location that is available when it is first seen works without the bundle, so it is held even
/// if its endpoints cannot be checked. A location that becomes available later works with what its
/// Pods were given. A hold ends only when the bundle verifies the endpoint: while a store is down,
/// Velero reports the location unavailable, which does not mean that the bundle would verify it.
fn next_hold(before: Option<&Hold>, is_available: bool, verdicts: &[EndpointVerdict]) -> Hold {
    let untrusted = verdicts.iter().find_map(|verdict| match verdict {
        EndpointVerdict::Untrusted(why) => Some(why),
        _ => None,
    });
    let unknown = verdicts.iter().find_map(|verdict| match verdict {
        EndpointVerdict::Unknown(why) => Some(why),
        _ => None,
    });
    let is_held = matches!(before, Some(Hold::Held(_)));
    match (untrusted, unknown) {
        (Some(why), _) if is_available || is_held => Hold::Held(why.clone()),
        (None, Some(why)) if is_held || before.is_none() && is_available => Hold::Held(why.clone()),
        _ => Hold::Released,
    }
}

#[cfg(test)]
mod tests {
    use super::EndpointVerdict::{Trusted, Unknown, Untrusted};
    use super::*;

    fn held(why: &str) -> Hold {
        Hold::Held(why.to_owned())
    }

    fn untrusted() -> EndpointVerdict {
        Untrusted("u".to_owned())
    }

    fn unknown() -> EndpointVerdict {
        Unknown("?".to_owned())
    }

    #[test]
    fn what_works_without_us_is_held_until_the_bundle_verifies_it() {
        // At first sight.
        assert_eq!(next_hold(None, true, &[untrusted()]), held("u"));
        assert_eq!(next_hold(None, true, &[unknown()]), held("?"));
        assert_eq!(next_hold(None, true, &[Trusted, untrusted()]), held("u"));
        // The hold lasts while the store is down and while the endpoint cannot be checked.
        let hold = held("old");
        assert_eq!(next_hold(Some(&hold), false, &[untrusted()]), held("u"));
        assert_eq!(next_hold(Some(&hold), false, &[unknown()]), held("?"));
        assert_eq!(next_hold(Some(&hold), true, &[unknown()]), held("?"));
        // The hold ends when the CA is named or the endpoint is removed.
        assert_eq!(next_hold(Some(&hold), true, &[Trusted]), Hold::Released);
        assert_eq!(next_hold(Some(&hold), false, &[]), Hold::Released);
    }

    #[test]
    fn what_does_not_work_without_us_is_not_held() {
        assert_eq!(next_hold(None, false, &[untrusted()]), Hold::Released);
        assert_eq!(next_hold(None, false, &[unknown()]), Hold::Released);
        assert_eq!(next_hold(None, true, &[Trusted]), Hold::Released);
    }

    #[test]
    fn what_was_released_is_held_again_only_when_it_is_certain() {
        let released = Hold::Released;
        assert_eq!(
            next_hold(Some(&released), true, &[unknown()]),
            Hold::Released
        );
        assert_eq!(next_hold(Some(&released), true, &[untrusted()]), held("u"));
        assert_eq!(
            next_hold(Some(&released), false, &[untrusted()]),
            Hold::Released
        );
    }

    /// Decides the holds of locations, each given by name, availability and verdict.
    fn round(
        before: &BTreeMap<String, Hold>,
        all: &[(&str, bool, EndpointVerdict)],
    ) -> BTreeMap<String, Hold> {
        let seen = all
            .iter()
            .map(|(name, is_available, verdict)| LocationState {
                name,
                is_available: *is_available,
                verdicts: std::slice::from_ref(verdict),
            });
        decide(before, &seen.collect::<Vec<_>>())
    }

    fn holds<const N: usize>(of: [(&str, Hold); N]) -> BTreeMap<String, Hold> {
        of.map(|(name, hold)| (name.to_owned(), hold)).into()
    }

    #[test]
    fn what_begins_to_work_in_a_held_namespace_works_without_us() {
        let first = round(&BTreeMap::new(), &[("a", true, untrusted())]);
        assert_eq!(first, holds([("a", held("u"))]));
        // Location b is added, and its endpoint cannot be checked.
        let added = round(&first, &[("a", true, untrusted()), ("b", false, unknown())]);
        assert_eq!(added, holds([("a", held("u"))]));
        let works = round(&added, &[("a", true, untrusted()), ("b", true, unknown())]);
        assert_eq!(works, holds([("a", held("u")), ("b", held("?"))]));
        // The CA of a is named. b stays held until its own CA is named.
        let named = round(&works, &[("a", true, Trusted), ("b", true, unknown())]);
        assert_eq!(named, holds([("a", Hold::Released), ("b", held("?"))]));
        let both = round(&named, &[("a", true, Trusted), ("b", true, Trusted)]);
        assert_eq!(both, holds([("a", Hold::Released), ("b", Hold::Released)]));
    }

    #[test]
    fn what_is_verified_or_never_worked_does_not_prolong_the_hold_of_another() {
        let first = round(&BTreeMap::new(), &[("a", true, untrusted())]);
        let b_is_good = [("a", true, untrusted()), ("b", true, Trusted)];
        let good = round(&first, &b_is_good);
        assert_eq!(good, holds([("a", held("u")), ("b", Hold::Released)]));
        // After it was verified once, an endpoint that cannot be checked is no reason to hold it.
        let silent = [("a", true, untrusted()), ("b", true, unknown())];
        assert_eq!(round(&good, &silent), good);

        let b_is_down = [("a", true, untrusted()), ("b", false, untrusted())];
        let down = round(&first, &b_is_down);
        let named = round(&down, &[("a", true, Trusted), ("b", false, untrusted())]);
        assert_eq!(named, holds([("a", Hold::Released), ("b", Hold::Released)]));
    }

    #[test]
    fn two_at_first_sight_are_judged_alike_in_any_order() {
        for (works, fails) in [("a", "b"), ("b", "a")] {
            let seen = [(works, true, untrusted()), (fails, false, unknown())];
            let first = round(&BTreeMap::new(), &seen);
            assert_eq!(first, holds([(works, held("u"))]));
            let seen = [(works, true, untrusted()), (fails, true, unknown())];
            let both = round(&first, &seen);
            assert_eq!(both, holds([(works, held("u")), (fails, held("?"))]));
        }
    }
}
