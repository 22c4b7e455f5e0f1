//! Bounds what the leader reads and keeps for the locations of one namespace.
//!
//! Whoever may write BackupStorageLocations and Secrets of one namespace could otherwise use up the
//! memory of the leader, and with it the bundles of all namespaces. Locations are admitted in the
//! order in which they were created, so that a new one never displaces an old one.

use std::collections::BTreeMap;

use super::bundle::{ResolvedCa, pem_block};
use super::certificate::{Certificate, Fingerprint};
use super::evaluation::{EvaluatedLocation, Omission};
use super::merged_bundle::Memory;
use crate::decision::Finding;

/// Most bytes of different certificates that are kept for the locations of a namespace, as PEM text
/// in the bundle. Bundle and memory hold 1 MiB each: beside these, the bundle has room for the public
/// roots, and the memory for the holds.
pub const MAX_CERTIFICATE_BYTES: usize = 768 << 10;

/// Most bytes that are kept for all entries: the certificates of each location, each counted with
/// [`CERTIFICATE_WEIGHT`] whether or not another location names it too, and the findings.
const MAX_WEIGHT: usize = 16 << 20;

/// Most bytes of locations and Secrets that are read for one evaluation.
const MAX_READ_BYTES: usize = 32 << 20;

/// Memory for a certificate of a location beside its DER: in the evaluation, the contribution, the
/// memory and the report.
const CERTIFICATE_WEIGHT: usize = 1 << 10;

/// Memory for a byte of a certificate as PEM text, however many locations name it: in its DER and
/// what was read of it, in the text of the memory, and in the bundle while it is built.
const CERTIFICATE_COPIES: usize = 4;

/// Memory for a finding beside its texts, which are in the evaluation, the report and an Event.
const FINDING_WEIGHT: usize = 512;

/// What has been used up so far.
#[derive(Debug, Default)]
pub struct Budget {
    certificates: BTreeMap<Fingerprint, Certificate>,
    certificate_bytes: usize,
    weight: usize,
    read_bytes: usize,
}

impl Budget {
    /// Records that this many bytes were read.
    pub const fn add_read(&mut self, bytes: usize) {
        self.read_bytes = self.read_bytes.saturating_add(bytes);
    }

    /// Whether no more may be read.
    pub const fn is_read_up(&self) -> bool {
        self.read_bytes > MAX_READ_BYTES
    }

    /// Returns `location` if it fits, and otherwise what is kept of one that does not. Certificates
    /// that an admitted location names too share their memory. `has_room` says whether there is
    /// memory for all admitted locations of the namespace, in bytes, beside other namespaces.
    pub fn admit(
        &mut self,
        mut location: EvaluatedLocation,
        has_room: impl FnOnce(usize) -> bool,
    ) -> EvaluatedLocation {
        let new: BTreeMap<_, _> = location
            .ca
            .certificates
            .iter()
            .map(|certificate| (certificate.fingerprint(), certificate))
            .filter(|(fingerprint, _)| !self.certificates.contains_key(fingerprint))
            .collect();
        let new_bytes: usize = new.values().map(|one| pem_block(one).len()).sum();
        let certificate_bytes = self.certificate_bytes.saturating_add(new_bytes);
        let weight = self.weight.saturating_add(weight(&location));
        if certificate_bytes > MAX_CERTIFICATE_BYTES
            || weight > MAX_WEIGHT
            || !has_room(memory(weight, certificate_bytes))
        {
            location.ca = ResolvedCa::default();
            location.judged.denials.clear();
            location.judged.warnings.clear();
            location.notes.clear();
            location.omission = Some(Omission::OverBudget);
            return location;
        }
        self.certificate_bytes = certificate_bytes;
        self.weight = weight;
        for certificate in &mut location.ca.certificates {
            let known = self.certificates.entry(certificate.fingerprint());
            *certificate = known.or_insert_with(|| certificate.clone()).clone();
        }
        location
    }
}

/// Returns about how much memory is needed for what is kept of a namespace, in bytes.
pub fn kept_memory(evaluated: &BTreeMap<String, EvaluatedLocation>, memory: &Memory) -> usize {
    let weight = evaluated.values().map(weight).sum();
    let certificates = memory.certificates().map(|one| pem_block(one).len());
    self::memory(weight, certificates.sum())
}

fn memory(weight: usize, certificate_bytes: usize) -> usize {
    weight.saturating_add(certificate_bytes.saturating_mul(CERTIFICATE_COPIES))
}

fn weight(location: &EvaluatedLocation) -> usize {
    let judged = &location.judged;
    let finding = |finding: &Finding| {
        let texts = finding.message.len() + finding.fix.len() + finding.subject.len();
        FINDING_WEIGHT + 3 * texts
    };
    let findings = judged.denials.iter().chain(&judged.warnings).map(finding);
    CERTIFICATE_WEIGHT * location.ca.certificates.len() + findings.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::bundle::mozilla;
    use crate::ca::merged_bundle::{Contribution, Moment, Owner};
    use crate::ca::rules;
    use crate::decision::FieldPath;
    use crate::velero::bsl::Bsl;

    fn location(certificates: &[Certificate]) -> EvaluatedLocation {
        let bsl = Bsl::default();
        let mut location = EvaluatedLocation::omitted("velero", &bsl, Omission::OverBudget);
        location.omission = None;
        location.ca.certificates = certificates.to_vec();
        location
    }

    /// Certificates of about `bytes` in all, of which no two are equal.
    fn certificates(bytes: usize, first: u32) -> Vec<Certificate> {
        let der = mozilla()[0].der();
        let count = u32::try_from(bytes / pem_block(&mozilla()[0]).len()).unwrap();
        let numbers = first..first + count;
        let certificate = |number: u32| {
            let mut der = der.to_vec();
            let end = der.len() - 4;
            der[end..].copy_from_slice(&number.to_be_bytes());
            Certificate::parse(der).unwrap()
        };
        numbers.map(certificate).collect()
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_what_fits_after_it_is_not() {
        let mut budget = Budget::default();
        let first = certificates(MAX_CERTIFICATE_BYTES / 2, 0);
        assert_eq!(budget.admit(location(&first), |_| true).omission, None);
        let too_much = certificates(MAX_CERTIFICATE_BYTES / 2 + 10_000, 100_000);
        let omitted = budget.admit(location(&too_much), |_| true);
        assert_eq!(omitted.omission, Some(Omission::OverBudget));
        assert_eq!(omitted.ca.certificates, []);
        let small = certificates(10_000, 200_000);
        let admitted = budget.admit(location(&small), |_| true);
        assert_eq!(admitted.omission, None);
        assert_eq!(admitted.ca.certificates, small);
    }

    #[test]
    fn a_certificate_that_many_locations_name_counts_once_and_is_kept_once() {
        let mut budget = Budget::default();
        let bytes = MAX_CERTIFICATE_BYTES / 4;
        let mut kept = Vec::new();
        for _ in 0..20 {
            // Read anew each time.
            let admitted = budget.admit(location(&certificates(bytes, 0)), |_| true);
            assert_eq!(admitted.omission, None);
            kept.push(admitted.ca.certificates[0].der().as_ptr());
        }
        kept.dedup();
        assert_eq!(kept.len(), 1);
        // Within one location too.
        let twice = [certificates(bytes, 500_000), certificates(bytes, 500_000)].concat();
        assert_eq!(budget.admit(location(&twice), |_| true).omission, None);
    }

    #[test]
    fn entries_and_findings_are_bounded_too() {
        let one = &mozilla()[..1];
        let many = vec![one[0].clone(); 1000];
        let mut budget = Budget::default();
        let admitted =
            (0..100).filter(|_| budget.admit(location(&many), |_| true).omission.is_none());
        assert_eq!(admitted.count(), MAX_WEIGHT / (1000 * CERTIFICATE_WEIGHT));

        let rule = rules::find("VT013").unwrap();
        let text = "x".repeat(500);
        let finding = Finding::new(rule, FieldPath::default(), "", text.clone(), text);
        let mut budget = Budget::default();
        let with_findings = |is_denied: bool| {
            let mut location = location(&[]);
            let judged = &mut location.judged;
            let findings = if is_denied {
                &mut judged.denials
            } else {
                &mut judged.warnings
            };
            *findings = vec![finding.clone(); 1000];
            location
        };
        let omission = |budget: &mut Budget, is_denied| {
            let admitted = budget.admit(with_findings(is_denied), |_| true);
            let kept = admitted.judged.denials.len() + admitted.judged.warnings.len();
            assert_eq!(kept == 0, admitted.omission.is_some());
            admitted.omission
        };
        assert_eq!(omission(&mut budget, true), None);
        assert_eq!(omission(&mut budget, false), None);
        let admitted = (0..20).filter(|_| omission(&mut budget, true).is_none());
        assert_eq!(admitted.count(), 2);
    }

    #[test]
    fn what_has_no_room_is_left_out_and_does_not_count() {
        let mut budget = Budget::default();
        let one = certificates(100_000, 0);
        let bytes: usize = one.iter().map(|one| pem_block(one).len()).sum();
        let each = CERTIFICATE_WEIGHT * one.len();
        let needed = each + CERTIFICATE_COPIES * bytes;
        let mut admit = |first, expected, has_room: bool| {
            let location = location(&certificates(100_000, first));
            let admitted = budget.admit(location, |memory| {
                assert_eq!(memory, expected);
                has_room
            });
            admitted.omission
        };
        let omitted = Some(Omission::OverBudget);
        assert_eq!(admit(0, needed, false), omitted);
        assert_eq!(admit(0, needed, true), None);
        // The same certificates are kept once, but are entries of another location too.
        assert_eq!(admit(0, needed + each, true), None);
        assert_eq!(admit(100_000, 2 * needed + each, true), None);
    }

    #[test]
    fn the_memory_of_a_namespace_counts_what_is_remembered_too() {
        let remembered = certificates(100_000, 0);
        let contribution = Contribution {
            is_complete: true,
            certificates: remembered.clone(),
        };
        let owners = ["a", "b"].map(|name| Owner::Location(name.to_owned()));
        let contributions = owners.map(|owner| (owner, contribution.clone())).into();
        let moment = |wall: i64| Moment { wall, steady: 0 };
        let mut memory = Memory::default();
        memory.learn(&contributions, moment(0), 1000);
        let bytes: usize = remembered.iter().map(|one| pem_block(one).len()).sum();
        let expected = CERTIFICATE_COPIES * bytes;
        assert_eq!(kept_memory(&BTreeMap::new(), &memory), expected);
        memory.learn(&BTreeMap::new(), moment(1), 1000);
        assert_eq!(kept_memory(&BTreeMap::new(), &memory), expected);
        let evaluated = [("a".to_owned(), location(&remembered))].into();
        let each = CERTIFICATE_WEIGHT * remembered.len();
        assert_eq!(kept_memory(&evaluated, &memory), each + expected);
    }

    #[test]
    fn no_more_is_read_than_is_bounded() {
        let mut budget = Budget::default();
        budget.add_read(MAX_READ_BYTES);
        assert!(!budget.is_read_up());
        budget.add_read(1);
        assert!(budget.is_read_up());
        budget.add_read(usize::MAX);
        assert!(budget.is_read_up());
    }
}
