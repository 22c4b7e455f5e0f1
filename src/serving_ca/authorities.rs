//! The CAs in the Secret.

use std::collections::BTreeMap;

use super::authority::{Authority, AuthorityError, LEAF_LIFE_SECONDS, read_certificate};
use crate::ca::bundle::pem_block;
use crate::ca::certificate::Certificate;

/// The data of the Secret.
pub type Data = BTreeMap<String, Vec<u8>>;

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
/// When the CA began to sign, in seconds since 1970.
const IN_USE_FROM: &str = "in-use-from";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const PREVIOUS_CERTIFICATE: &str = "previous.crt";

/// How much longer the CA before is trusted than what it signed is valid, in seconds: a replica learns
/// of a new CA some time after it is in use.
const PREVIOUS_MARGIN_SECONDS: i64 = 60 * 60;

/// The CAs of an installation, at most three.
#[derive(Clone, Debug, PartialEq)]
pub struct Authorities {
    signing: Authority,
    in_use_from: i64,
    next: Option<Authority>,
    previous: Option<Certificate>,
}

/// What cannot be read of the Secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// A CA cannot be used.
    #[error("the CA in {0}: {1}")]
    Authority(&'static str, AuthorityError),
    /// Not a number.
    #[error("in-use-from is not a time in seconds since 1970")]
    InUseFrom,
}

impl AuthoritiesError {
    /// Whether only the time is wrong: a CA is valid later than `now`, in seconds since 1970.
    pub const fn is_not_yet_valid(&self, now: i64) -> bool {
        matches!(self, Self::Authority(_, AuthorityError::NotValid { from, .. }) if now < *from)
    }
}

impl Authorities {
    /// Makes the first CA, which signs from `now` on.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn first(now: i64) -> Result<Self, AuthorityError> {
        Ok(Self {
            signing: Authority::generate(now)?,
            in_use_from: now,
            next: None,
            previous: None,
        })
    }

    /// Reads them from the data of the Secret. The CA that signs must be usable at `now`.
    ///
    /// # Errors
    /// If something in it cannot be used.
    pub fn read(data: &Data, now: i64) -> Result<Self, AuthoritiesError> {
        let value = |key: &str| data.get(key).map(Vec::as_slice);
        let authority = |certificate, key| {
            let (text, key) = (value(certificate), value(key));
            Authority::from_pem(text.unwrap_or_default(), key.unwrap_or_default(), now)
                .map_err(|error| AuthoritiesError::Authority(certificate, error))
        };
        let in_use_from = value(IN_USE_FROM).and_then(|text| std::str::from_utf8(text).ok());
        let in_use_from = in_use_from.and_then(|text| text.trim().parse().ok());
        let next = value(NEXT_CERTIFICATE).map(|_| authority(NEXT_CERTIFICATE, NEXT_KEY));
        let previous = value(PREVIOUS_CERTIFICATE).map(read_certificate);
        Ok(Self {
            signing: authority(CERTIFICATE, KEY)?,
            in_use_from: in_use_from.ok_or(AuthoritiesError::InUseFrom)?,
            next: next.transpose()?,
            previous: previous
                .transpose()
                .map_err(|error| AuthoritiesError::Authority(PREVIOUS_CERTIFICATE, error))?,
        })
    }

    /// Returns the data of the Secret.
    pub fn data(&self) -> Data {
        let mut data = vec![
            (CERTIFICATE, self.signing.pem()),
            (KEY, self.signing.key_pem()),
            (IN_USE_FROM, self.in_use_from.to_string()),
        ];
        if let Some(next) = &self.next {
            data.push((NEXT_CERTIFICATE, next.pem()));
            data.push((NEXT_KEY, next.key_pem()));
        }
        if let Some(previous) = &self.previous {
            data.push((PREVIOUS_CERTIFICATE, pem_block(previous)));
        }
        let data = data.into_iter();
        data.map(|(key, text)| (key.to_owned(), text.into_bytes()))
            .collect()
    }

    /// Returns the CA that signs.
    pub const fn signing(&self) -> &Authority {
        &self.signing
    }

    /// Returns the CA that is to sign next.
    pub const fn next(&self) -> Option<&Authority> {
        self.next.as_ref()
    }

    /// Returns the CA that signed before.
    pub const fn previous(&self) -> Option<&Certificate> {
        self.previous.as_ref()
    }

    /// Returns what the API server has to trust, as PEM.
    pub fn ca_bundle(&self) -> String {
        let keyed = [Some(&self.signing), self.next.as_ref()];
        let keyed = keyed.into_iter().flatten().map(Authority::certificate);
        keyed.chain(&self.previous).map(pem_block).collect()
    }

    /// Returns until when replicas may present what another CA signed before, in seconds since 1970.
    pub const fn others_until(&self) -> i64 {
        self.in_use_from + LEAF_LIFE_SECONDS + PREVIOUS_MARGIN_SECONDS
    }

    /// Whether these are `other` after a step of its rotation, or none.
    pub fn follows(&self, other: &Self) -> bool {
        let known = [Some(&other.signing), other.next.as_ref()];
        known.contains(&Some(&self.signing))
            || self.previous.as_ref() == Some(other.signing.certificate())
    }

    /// Returns them with `next`, which does not sign yet.
    pub(super) fn with_next(&self, next: Authority) -> Self {
        Self {
            next: Some(next),
            ..self.clone()
        }
    }

    /// Returns them with `next` as the CA that signs from `now` on. The key of the one before is gone.
    pub(super) fn promoted(&self, next: &Authority, now: i64) -> Self {
        Self {
            signing: next.clone(),
            in_use_from: now,
            next: None,
            previous: Some(self.signing.certificate().clone()),
        }
    }

    /// Returns them without the CA before.
    pub(super) fn without_previous(&self) -> Self {
        Self {
            previous: None,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn rotated() -> [Authorities; 4] {
        let first = Authorities::first(NOW).unwrap();
        let next = Authority::generate(NOW).unwrap();
        let both = first.with_next(next.clone());
        let promoted = both.promoted(&next, NOW + 120);
        let last = promoted.without_previous();
        [first, both, promoted, last]
    }

    #[test]
    fn what_is_written_is_read_again_at_every_step() {
        for step in rotated() {
            assert_eq!(Authorities::read(&step.data(), NOW), Ok(step));
        }
    }

    #[test]
    fn the_key_of_the_one_before_is_gone() {
        let [first, both, promoted, _] = rotated();
        let old = first.signing().key_pem().into_bytes();
        let holds = |step: &Authorities| step.data().values().any(|value| *value == old);
        assert!(holds(&both) && !holds(&promoted));
        let bundle = promoted.ca_bundle();
        assert!(bundle.contains(&first.signing().pem()), "{bundle}");
    }

    #[test]
    fn a_step_follows_the_one_before_it_and_a_foreign_one_does_not() {
        let [first, both, promoted, last] = rotated();
        assert!(both.follows(&first) && promoted.follows(&both) && last.follows(&promoted));
        // A replica that missed a step.
        assert!(last.follows(&both) && first.follows(&first));
        let foreign = Authorities::first(NOW).unwrap();
        assert!(!foreign.follows(&both) && promoted.follows(&first));
    }

    #[test]
    fn what_is_half_written_is_refused_with_what_is_missing() {
        let [_, both, promoted, _] = rotated();
        let lacks = |step: &Authorities, key: &str| {
            let mut data = step.data();
            assert!(data.remove(key).is_some(), "{key}");
            Authorities::read(&data, NOW).unwrap_err().to_string()
        };
        assert!(lacks(&both, "ca.crt").starts_with("the CA in ca.crt: its certificate"));
        assert!(lacks(&both, "ca.key").starts_with("the CA in ca.crt: its key"));
        assert!(lacks(&both, "next.key").starts_with("the CA in next.crt: its key"));
        assert!(lacks(&both, "in-use-from").starts_with("in-use-from is not"));
        let mut broken = promoted.data();
        broken.insert("previous.crt".to_owned(), b"x".to_vec());
        assert!(Authorities::read(&broken, NOW).is_err());
    }
}
