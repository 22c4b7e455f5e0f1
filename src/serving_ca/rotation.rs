//! When a CA is replaced, and by which steps. The leader takes one at a time.

use super::authorities::Authorities;
use super::authority::{Authority, AuthorityError};
use crate::ca::certificate::Certificate;

/// How long the next CA is trusted by every webhook before it may sign, in seconds: API servers heed a
/// changed configuration some time after it is written.
pub const TRUSTED_BEFORE_USE_SECONDS: i64 = 120;

/// What is known when a step is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The time, in seconds since 1970.
    pub now: i64,
    /// Whether somebody asked for a new CA.
    pub is_requested: bool,
    /// For how many seconds the leader has seen the next CA in the caBundle of every active webhook;
    /// `None` if it is not in all of them, or the API server has not reached velero-trust since.
    pub next_trusted_for: Option<i64>,
}

/// A step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next CA is made, which does not sign yet.
    AddNext,
    /// The next CA signs.
    Promote,
    /// The CA before is trusted no more.
    DropPrevious,
}

/// Returns the next step; `None` if there is nothing to do yet.
pub fn next_step(authorities: &Authorities, facts: Facts) -> Option<Step> {
    if authorities.next().is_some() {
        let trusted_for = facts.next_trusted_for?;
        return (trusted_for >= TRUSTED_BEFORE_USE_SECONDS).then_some(Step::Promote);
    }
    if authorities.previous().is_some() {
        // Another one would be the fourth.
        return (facts.now >= authorities.others_until()).then_some(Step::DropPrevious);
    }
    let Certificate {
        not_before,
        not_after,
        ..
    } = *authorities.signing().certificate();
    let renew_at = not_before + (not_after - not_before) / 3 * 2;
    (facts.is_requested || facts.now >= renew_at).then_some(Step::AddNext)
}

/// Takes `step` at `now`, in seconds since 1970. A step that does not fit leaves them as they are.
///
/// # Errors
/// If no key can be made.
pub fn take(
    authorities: &Authorities,
    step: Step,
    now: i64,
) -> Result<Authorities, AuthorityError> {
    Ok(match step {
        Step::AddNext => authorities.with_next(Authority::generate(now)?),
        Step::Promote => match authorities.next() {
            Some(next) => authorities.promoted(next, now),
            None => authorities.clone(),
        },
        Step::DropPrevious => authorities.without_previous(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ca::serving_certificate::ServingCertificate;
    use crate::serving_ca::issue::service_names;
    use crate::serving_ca::renewal::{Served, is_due};

    const NOW: i64 = 1_790_000_000;
    const DAY: i64 = 86_400;

    fn facts(now: i64) -> Facts {
        Facts {
            now,
            is_requested: false,
            next_trusted_for: None,
        }
    }

    fn after(authorities: &Authorities, step: Step, now: i64) -> Authorities {
        take(authorities, step, now).unwrap()
    }

    #[test]
    fn a_ca_is_replaced_in_time_or_when_somebody_asks() {
        let first = Authorities::first(NOW).unwrap();
        assert_eq!(next_step(&first, facts(NOW)), None);
        assert_eq!(next_step(&first, facts(NOW + 230 * DAY)), None);
        let late = next_step(&first, facts(NOW + 245 * DAY));
        assert_eq!(late, Some(Step::AddNext));
        let requested = Facts {
            is_requested: true,
            ..facts(NOW)
        };
        assert_eq!(next_step(&first, requested), Some(Step::AddNext));
    }

    #[test]
    fn the_next_one_signs_once_everybody_trusts_it() {
        let both = after(&Authorities::first(NOW).unwrap(), Step::AddNext, NOW);
        let trusted = |seconds| {
            let facts = Facts {
                next_trusted_for: seconds,
                is_requested: true,
                now: NOW + 300 * DAY,
            };
            next_step(&both, facts)
        };
        assert_eq!(trusted(None), None);
        assert_eq!(trusted(Some(119)), None);
        assert_eq!(trusted(Some(120)), Some(Step::Promote));
    }

    #[test]
    fn the_one_before_stays_until_what_it_signed_has_expired_and_no_fourth_comes() {
        let both = after(&Authorities::first(NOW).unwrap(), Step::AddNext, NOW);
        let promoted = after(&both, Step::Promote, NOW);
        let at = |now| {
            let facts = Facts {
                is_requested: true,
                ..facts(now)
            };
            next_step(&promoted, facts)
        };
        assert_eq!(at(NOW + 7 * DAY), None);
        // The clock was set back.
        assert_eq!(at(NOW - 2 * DAY), None);
        assert_eq!(at(NOW + 8 * DAY), Some(Step::DropPrevious));
    }

    /// An installation whose API servers learn of a caBundle up to a minute late.
    struct Simulation {
        authorities: Authorities,
        trusted_since: Option<i64>,
        /// Every caBundle, with the time at which it was written.
        bundles: Vec<(i64, String)>,
        /// The certificate of each replica. They look at the Secret at different moments.
        replicas: [Option<(usize, ServingCertificate, Served)>; 3],
        looked_at: [i64; 3],
        issued: usize,
        verified: BTreeSet<(usize, usize)>,
    }

    impl Simulation {
        const REPLICAS_LOOK: i64 = 30;
        const LATEST: i64 = 60;

        fn new() -> Self {
            Self {
                authorities: Authorities::first(NOW).unwrap(),
                trusted_since: None,
                bundles: Vec::new(),
                replicas: [const { None }; 3],
                looked_at: [NOW - 30, NOW - 20, NOW - 10],
                issued: 0,
                verified: BTreeSet::new(),
            }
        }

        fn leader(&mut self, now: i64, is_requested: bool) -> Option<Step> {
            let facts = Facts {
                now,
                is_requested,
                next_trusted_for: self.trusted_since.map(|since| now - since),
            };
            let step = next_step(&self.authorities, facts);
            if let Some(step) = step {
                self.authorities = after(&self.authorities, step, now);
                self.trusted_since = (step == Step::AddNext).then_some(now);
                self.bundles.push((now, self.authorities.ca_bundle()));
            }
            let parts = self.authorities.ca_bundle().matches("BEGIN").count();
            assert!(parts <= 3, "{parts} certificates");
            step
        }

        fn replicas(&mut self, now: i64) {
            let names = service_names("velero-trust", "guards");
            for (replica, looked_at) in self.replicas.iter_mut().zip(&mut self.looked_at) {
                if now - *looked_at < Self::REPLICAS_LOOK {
                    continue;
                }
                *looked_at = now;
                let served = replica.as_ref().map(|(_, _, served)| served);
                if !is_due(served, &self.authorities, now) {
                    continue;
                }
                let signing = self.authorities.signing();
                let leaf = signing.issue(&names, now).unwrap();
                let certificate = ServingCertificate::from_pem(leaf.certificate.as_bytes());
                self.issued += 1;
                let served = Served::new(signing, now);
                *replica = Some((self.issued, certificate.unwrap(), served));
            }
        }

        /// Each caller verifies each replica with a caBundle that it may have learnt of late.
        fn callers(&mut self, now: i64) {
            for late in (0..=Self::LATEST).step_by(15) {
                let known = self.bundles.iter().rposition(|(at, _)| *at <= now - late);
                let Some(known) = known else { continue };
                for (number, certificate, _) in self.replicas.iter().flatten() {
                    assert!(certificate.not_after() > now, "expired at {now}");
                    if self.verified.insert((*number, known)) {
                        let bundle = self.bundles[known].1.as_bytes();
                        let refusal = certificate.refusal(bundle, "velero-trust.guards.svc", now);
                        assert_eq!(refusal, None, "{late} s late at {now}");
                    }
                }
            }
        }

        /// Runs second by second for a while, or in larger steps where nothing is late.
        fn run(&mut self, from: i64, to: i64, step: usize, is_requested: bool) {
            for now in (from..to).step_by(step) {
                self.leader(now, is_requested && now == from);
                self.replicas(now);
                self.callers(now);
            }
        }
    }

    /// No caller meets a certificate that its caBundle does not verify, in 50 rotations.
    #[test]
    fn nobody_fails_while_cas_are_replaced() {
        let mut simulation = Simulation::new();
        simulation
            .bundles
            .push((NOW - 3600, simulation.authorities.ca_bundle()));
        let mut now = NOW;
        for rotation in 0..50 {
            let before = simulation.authorities.signing().clone();
            simulation.run(now, now + 400, 1, true);
            assert_ne!(*simulation.authorities.signing(), before, "{rotation}");
            let end = simulation.authorities.others_until();
            simulation.run(now + 400, end - 10, 210, false);
            simulation.run(end - 10, end + 100, 1, false);
            assert_eq!(simulation.authorities.previous(), None, "{rotation}");
            now = end + 100;
        }
        assert!(simulation.issued >= 3 * 100, "{}", simulation.issued);
    }
}
