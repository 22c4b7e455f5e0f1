//! The rules for BackupStorageLocations, one file per topic.

mod baseline;
mod ca_source;
mod certificate;
mod config;
mod finding_limiter;
mod location;
mod pem;
mod reference;
mod setting;

pub use certificate::format_date;
pub use config::{parse_bool, skips_verification};

use std::collections::BTreeMap;

use super::pem::Contents;
use super::references::{self, CaReference, CaTarget, Content, MAX_BUNDLE_BYTES};
use crate::decision::{Facts, Report, Rule, Stop};
use crate::velero::bsl::Bsl;
use baseline::{Baseline, KnownFindings};
use ca_source::CaSource;
use finding_limiter::FindingLimiter;

/// A BackupStorageLocation and the parts of the request that the rules depend on.
#[derive(Clone, Copy, Debug)]
pub struct Location<'a> {
    /// The namespace of the location. References cannot point outside it.
    pub namespace: &'a str,
    /// Whether the request is a dry run, which stores nothing. An object that does not exist yet
    /// may be part of the same GitOps batch.
    pub dry_run: bool,
    /// The location.
    pub bsl: &'a Bsl<'a>,
    /// The stored location, for an update.
    pub old: Option<&'a Bsl<'a>>,
    /// The time of the decision, in seconds since 1970.
    pub now: i64,
}

/// Returns all rules of this module.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    reference::RULES
        .into_iter()
        .chain(pem::RULES)
        .chain(certificate::RULES)
        .chain(location::RULES)
        .chain(config::RULES)
        .chain(setting::RULES)
}

/// Returns the rule with this id.
pub fn find(id: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.id == id)
}

/// Runs every check over a location.
pub fn judge(location: &Location<'_>, facts: &Facts) -> Report {
    let mut bundles = Bundles::default();
    run_checks(location, None, facts, &mut Baseline::Unused, &mut bundles)
}

/// Like [`judge`], but if `is_denied` says so of its report, findings that also apply to `old` only
/// warn. Otherwise an invalid object could not be corrected step by step.
///
/// Secrets that only `old` references are not looked up: a finding names its Secret, so what is
/// wrong with another one is never the same problem. An update thus needs the same look-ups as the
/// creation of the new location. A Secret that both reference and that cannot be read makes no
/// difference, because its content leads to no finding in either.
pub fn judge_change(
    location: &Location<'_>,
    old: &Location<'_>,
    facts: &Facts,
    is_denied: impl Fn(&Report) -> bool,
) -> Report {
    let mut bundles = Bundles::default();
    let mut run = |location: &_, successor: Option<&_>, baseline: &mut Baseline<'_>| {
        run_checks(location, successor, facts, baseline, &mut bundles)
    };
    let report = run(location, None, &mut Baseline::Unused);
    if !is_denied(&report) {
        // Most changes are valid, and need nothing of the old object.
        return report;
    }
    let mut known = KnownFindings::default();
    let mut baseline = Baseline::Recording(&mut known);
    let old_report = run(old, Some(location), &mut baseline);
    for finding in &old_report.findings {
        known.record(finding);
    }
    let mut report = run(location, None, &mut Baseline::Recorded(&known));
    known.soften_all(&mut report);
    report
}

/// The bundles that were read, so that an update reads none twice. There are few, so that comparing
/// them costs less than a digest of each.
#[derive(Default)]
struct Bundles(BTreeMap<Vec<u8>, Contents>);

impl Bundles {
    fn read(&mut self, bytes: impl Into<Vec<u8>>) -> &Contents {
        let read = self.0.entry(bytes.into());
        read.or_insert_with_key(|bytes| crate::ca::pem::read(bytes))
    }
}

/// Runs every check. With `successor`, leaves out the Secrets that the successor does not reference
/// in the same field.
fn run_checks(
    location: &Location<'_>,
    successor: Option<&Location<'_>>,
    facts: &Facts,
    baseline: &mut Baseline<'_>,
    bundles: &mut Bundles,
) -> Report {
    let mut report = Report::default();
    let references = references::ca_references(location.namespace, location.bsl);
    let kept = successor.map(|new| references::ca_references(new.namespace, new.bsl));
    let is_kept = |reference: &&CaReference<'_>| {
        let CaTarget::Secret(_) = reference.target else {
            return true;
        };
        kept.as_ref().is_none_or(|kept| kept.contains(reference))
    };
    reference::check_both(location, &mut report);
    for reference in references.iter().filter(is_kept) {
        let result = check_reference(location, reference, facts, baseline, bundles, &mut report);
        report.record(result);
    }
    location::check(location, &references, &mut report);
    config::check(location.bsl, baseline, &mut report);
    setting::check(location.bsl, &mut report);
    let credential = &location.bsl.spec.credential;
    if successor.is_some_and(|new| new.bsl.spec.credential != *credential) {
        return report;
    }
    // A failed look-up of the credential never denies a request.
    match reference::check_credential(location, facts, &mut report) {
        Err(Stop::Unknown(..)) => {}
        result => report.record(result),
    }
    report
}

/// Whether two locations are equal for every rule: provider, object storage, config, credential and
/// our annotations.
pub fn is_same_location(new: &Bsl<'_>, old: &Bsl<'_>) -> bool {
    let annotations = new.metadata.own_annotations();
    new.spec == old.spec && annotations.eq(old.metadata.own_annotations())
}

fn check_reference(
    location: &Location<'_>,
    reference: &CaReference<'_>,
    facts: &Facts,
    baseline: &mut Baseline<'_>,
    bundles: &mut Bundles,
    report: &mut Report,
) -> Result<(), Stop> {
    let source = CaSource::new(location, reference);
    match reference.content(facts)? {
        Content::InvalidReference(error) => {
            report.add_finding(reference::invalid_reference(&source, error));
        }
        Content::NoSecret => report.add_finding(reference::no_secret(location, &source)),
        Content::NoKey => report.add_finding(reference::no_key(location, &source)),
        Content::Sealed(sealed) => reference::check_sealed(&source, sealed, report),
        Content::NotBase64 => pem::not_base64(&source, reference, report),
        Content::Bytes(bytes) if bytes.is_empty() => {
            report.add_finding(reference::empty_key(&source));
        }
        Content::Bytes(bytes) if bytes.len() > MAX_BUNDLE_BYTES => {
            pem::too_large(&source, &bytes, report);
        }
        Content::Bytes(bytes) => {
            let contents = bundles.read(bytes);
            let mut limiter =
                FindingLimiter::new(report, baseline, reference.path.clone(), &source);
            pem::check(&source, contents, &mut limiter);
            certificate::check(&source, &contents.certificates, location.now, &mut limiter);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
