//! The rules for BackupStorageLocations, one file a theme.

mod baseline;
mod ca_source;
mod certificate;
mod config;
mod finding_limiter;
mod location;
mod pem;
mod reference;

pub(in crate::ca) use certificate::format_date;
pub(in crate::ca) use config::skips_verification;

use super::references::{self, CaReference, Content, MAX_BUNDLE_BYTES};
use crate::decision::{Facts, Report, Rule, Stop};
use crate::names::PREFIX;
use crate::velero::bsl::Bsl;
use baseline::{Baseline, KnownFindings};
use ca_source::CaSource;
use finding_limiter::FindingLimiter;

/// A BackupStorageLocation and what the rules may know of the request.
#[derive(Clone, Copy, Debug)]
pub struct Location<'a> {
    /// Its namespace; references never leave it.
    pub namespace: &'a str,
    /// Nothing will be stored: what is not there yet may come with the same GitOps batch.
    pub dry_run: bool,
    /// The location.
    pub bsl: &'a Bsl<'a>,
    /// The location as it is stored, when it is being changed.
    pub old: Option<&'a Bsl<'a>>,
    /// The moment of the decision, seconds since 1970.
    pub now: i64,
}

/// All rules of this folder.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    reference::RULES
        .into_iter()
        .chain(pem::RULES)
        .chain(certificate::RULES)
        .chain(location::RULES)
        .chain(config::RULES)
}

/// Returns the rule with this id.
pub fn find(id: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.id == id)
}

/// Runs every check over a location.
pub fn judge(location: &Location<'_>, facts: &Facts) -> Report {
    run_checks(location, facts, &mut Baseline::Unused)
}

/// As [`judge`], but what was wrong with `old` too only warns: otherwise a bad object could not be
/// made better step by step. It is all the same when a Secret that `old` names cannot be read: a
/// finding about what is in another source, or in another Secret, is new whatever was in that one,
/// and about what is in that one there is no finding now either.
pub fn judge_change(location: &Location<'_>, old: &Location<'_>, facts: &Facts) -> Report {
    let mut known = KnownFindings::default();
    let old_report = run_checks(old, facts, &mut Baseline::Recording(&mut known));
    for finding in &old_report.findings {
        known.record(finding);
    }
    let mut report = run_checks(location, facts, &mut Baseline::Recorded(&known));
    known.soften_all(&mut report);
    for need in old_report.needs {
        report.take(Err(Stop::Need(need)));
    }
    report
}

fn run_checks(location: &Location<'_>, facts: &Facts, baseline: &mut Baseline<'_>) -> Report {
    let mut report = Report::default();
    let references = references::ca_references(location.namespace, location.bsl);
    reference::check_both(location, &mut report);
    for reference in &references {
        let result = check_reference(location, reference, facts, baseline, &mut report);
        report.take(result);
    }
    location::check(location, &references, &mut report);
    config::check(location.bsl, baseline, &mut report);
    // Whatever keeps us from seeing the credential, it is not worth a refusal.
    match reference::check_credential(location, facts, &mut report) {
        Err(Stop::Unknown(..)) => {}
        result => report.take(result),
    }
    report
}

/// Whether two locations are the same for every rule: provider, object storage, config,
/// credential and our annotations.
pub fn is_same_location(new: &Bsl<'_>, old: &Bsl<'_>) -> bool {
    new.spec == old.spec && own_annotations(new).eq(own_annotations(old))
}

/// The annotations of ours on `bsl`.
fn own_annotations<'b>(bsl: &'b Bsl<'_>) -> impl Iterator<Item = (&'b str, &'b str)> {
    let annotations = bsl.metadata.annotations.iter().flatten();
    annotations
        .map(|(key, value)| (&**key, &**value))
        .filter(|(key, _)| key.starts_with(PREFIX))
}

fn check_reference(
    location: &Location<'_>,
    reference: &CaReference<'_>,
    facts: &Facts,
    baseline: &mut Baseline<'_>,
    report: &mut Report,
) -> Result<(), Stop> {
    let source = CaSource::new(location, reference);
    match reference.content(facts)? {
        Content::InvalidReference(error) => {
            report.find(reference::invalid_reference(&source, error));
        }
        Content::NoSecret => report.find(reference::no_secret(location, &source)),
        Content::NoKey => report.find(reference::no_key(location, &source)),
        Content::Sealed(sealed) => reference::check_sealed(&source, sealed, report),
        Content::NotBase64 => pem::not_base64(&source, reference, report),
        Content::Bytes(bytes) if bytes.is_empty() => report.find(reference::empty_key(&source)),
        Content::Bytes(bytes) if bytes.len() > MAX_BUNDLE_BYTES => {
            pem::too_large(&source, &bytes, report);
        }
        Content::Bytes(bytes) => {
            let contents = crate::ca::pem::read(&bytes);
            let mut limiter = FindingLimiter::new(report, baseline, reference.path.clone());
            pem::check(&source, &contents, &mut limiter);
            certificate::check(&source, &contents.certificates, location.now, &mut limiter);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
