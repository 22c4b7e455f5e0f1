//! When a namespace is held: its Pods get no `AWS_CA_BUNDLE`.
//!
//! That variable replaces the roots of the system. Where Velero works because the CA of its store
//! is in its image or in the trust store of its node, and nowhere else, the bundle alone would end
//! that. What is trusted by `SSL_CERT_DIR` is added to the system's roots, so that it can stay.

use std::collections::BTreeMap;

use super::merged_bundle::Hold;

/// What was found when the endpoint of a location was looked at with the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The bundle verifies it.
    Trusted,
    /// The bundle does not verify it, and why.
    Untrusted(String),
    /// It could not be seen, and why.
    Unknown(String),
}

/// What is known of a location now.
#[derive(Clone, Copy, Debug)]
pub struct LocationState<'l> {
    /// Its name.
    pub name: &'l str,
    /// Velero says that it works.
    pub is_available: bool,
    /// Of each endpoint that Velero verifies with the AWS SDK.
    pub verdicts: &'l [Verdict],
}

/// What is known of all locations of a namespace, with what was known `before`. One of them is
/// enough to hold the namespace.
///
/// What is added while another location holds the namespace is judged at first sight for as long
/// as that lasts: its Pods have no `AWS_CA_BUNDLE`, so that it may begin to work without us, and
/// the end of the other's hold must not end that.
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
            verdicts.all(|verdict| *verdict == Verdict::Trusted)
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

/// What is known of a location after its endpoints were looked at.
///
/// `before` is what was known; `None` when it is seen for the first time. `is_available`: Velero
/// says that it works. `verdicts` has one entry for each endpoint that Velero verifies with the
/// AWS SDK: without any, nothing can break.
///
/// What works at first sight worked without us, so that it is held even when nothing can be seen.
/// What begins to work later does so with what its Pods were given. A hold ends only when the
/// bundle verifies the endpoint: while a store is down Velero calls the location unavailable, and
/// that does not mean that the bundle would do.
fn next_hold(before: Option<&Hold>, is_available: bool, verdicts: &[Verdict]) -> Hold {
    let untrusted = verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Untrusted(why) => Some(why),
        _ => None,
    });
    let unknown = verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Unknown(why) => Some(why),
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
    use super::Verdict::{Trusted, Unknown, Untrusted};
    use super::*;

    fn held(why: &str) -> Hold {
        Hold::Held(why.to_owned())
    }

    fn untrusted() -> Verdict {
        Untrusted("u".to_owned())
    }

    fn unknown() -> Verdict {
        Unknown("?".to_owned())
    }

    #[test]
    fn what_works_without_us_is_held_until_the_bundle_verifies_it() {
        // At first sight.
        assert_eq!(next_hold(None, true, &[untrusted()]), held("u"));
        assert_eq!(next_hold(None, true, &[unknown()]), held("?"));
        assert_eq!(next_hold(None, true, &[Trusted, untrusted()]), held("u"));
        // It stays so while the store is down, and when the probe can tell nothing.
        let hold = held("old");
        assert_eq!(next_hold(Some(&hold), false, &[untrusted()]), held("u"));
        assert_eq!(next_hold(Some(&hold), false, &[unknown()]), held("?"));
        assert_eq!(next_hold(Some(&hold), true, &[unknown()]), held("?"));
        // The CA was named; or the endpoint is one no more.
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

    /// One round over locations of which each is said by name, availability and verdict.
    fn round(
        before: &BTreeMap<String, Hold>,
        all: &[(&str, bool, Verdict)],
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
        // B is added, and nothing can be seen of its store.
        let added = round(&first, &[("a", true, untrusted()), ("b", false, unknown())]);
        assert_eq!(added, holds([("a", held("u"))]));
        let works = round(&added, &[("a", true, untrusted()), ("b", true, unknown())]);
        assert_eq!(works, holds([("a", held("u")), ("b", held("?"))]));
        // The CA of A is named: B holds on, until its own is.
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
        // Once it was verified, silence is no reason.
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
