//! When a namespace is held: its Pods get no `AWS_CA_BUNDLE`.
//!
//! That variable replaces the roots of the system. Where Velero works because the CA of its store
//! is in its image or in the trust store of its node, and nowhere else, the bundle alone would end
//! that. What is trusted by `SSL_CERT_DIR` is added to the system's roots, so that it can stay.

use super::keeping::Hold;

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
pub fn next(before: Option<&Hold>, is_available: bool, verdicts: &[Verdict]) -> Hold {
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
        assert_eq!(next(None, true, &[untrusted()]), held("u"));
        assert_eq!(next(None, true, &[unknown()]), held("?"));
        assert_eq!(next(None, true, &[Trusted, untrusted()]), held("u"));
        // It stays so while the store is down, and when the probe can tell nothing.
        let hold = held("old");
        assert_eq!(next(Some(&hold), false, &[untrusted()]), held("u"));
        assert_eq!(next(Some(&hold), false, &[unknown()]), held("?"));
        assert_eq!(next(Some(&hold), true, &[unknown()]), held("?"));
        // The CA was named; or the endpoint is one no more.
        assert_eq!(next(Some(&hold), true, &[Trusted]), Hold::Released);
        assert_eq!(next(Some(&hold), false, &[]), Hold::Released);
    }

    #[test]
    fn what_does_not_work_without_us_is_not_held() {
        assert_eq!(next(None, false, &[untrusted()]), Hold::Released);
        assert_eq!(next(None, false, &[unknown()]), Hold::Released);
        assert_eq!(next(None, true, &[Trusted]), Hold::Released);
    }

    #[test]
    fn what_was_released_is_held_again_only_when_it_is_certain() {
        let released = Hold::Released;
        assert_eq!(next(Some(&released), true, &[unknown()]), Hold::Released);
        assert_eq!(next(Some(&released), true, &[untrusted()]), held("u"));
        assert_eq!(next(Some(&released), false, &[untrusted()]), Hold::Released);
    }
}
