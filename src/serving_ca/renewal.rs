//! When a replica gets a new serving certificate.

use super::authorities::Authorities;
use super::authority::{Authority, LEAF_LIFE_SECONDS};
use super::issue::BACKDATE;
use crate::ca::certificate::Fingerprint;

/// How a certificate that is served was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    issuer: Fingerprint,
    issued_at: i64,
}

impl Served {
    /// A certificate that `issuer` issued at `issued_at`, in seconds since 1970.
    pub const fn new(issuer: &Authority, issued_at: i64) -> Self {
        Self {
            issuer: issuer.certificate().fingerprint(),
            issued_at,
        }
    }

    /// Whether `authority` issued it.
    pub fn is_of(&self, authority: &Authority) -> bool {
        self.issuer == authority.certificate().fingerprint()
    }
}

/// Whether a replica needs a new certificate at `now`, in seconds since 1970: it has none, another CA
/// signs, two thirds of its life are over, or the clock says that it is not valid yet.
pub fn is_due(served: Option<&Served>, authorities: &Authorities, now: i64) -> bool {
    let Some(served) = served else {
        return true;
    };
    let issued_at = served.issued_at;
    let backdate = i64::try_from(BACKDATE.as_secs()).unwrap_or_default();
    !served.is_of(authorities.signing())
        || now >= issued_at + LEAF_LIFE_SECONDS / 3 * 2
        || now < issued_at - backdate
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;
    const DAY: i64 = 86_400;

    #[test]
    fn a_certificate_is_renewed_by_the_wall_clock() {
        let authorities = Authorities::first(NOW).unwrap();
        let served = Served::new(authorities.signing(), NOW);
        let due = |now| is_due(Some(&served), &authorities, now);
        assert!(!due(NOW) && !due(NOW + 4 * DAY));
        assert!(due(NOW + 5 * DAY) && due(NOW + 8 * DAY));
        // Set back: by a little it is valid still.
        assert!(!due(NOW - 1800) && due(NOW - 2 * DAY));
        assert!(is_due(None, &authorities, NOW));
        let other = Authorities::first(NOW).unwrap();
        assert!(is_due(Some(&served), &other, NOW));
    }
}
