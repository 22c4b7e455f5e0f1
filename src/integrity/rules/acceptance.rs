//! Rules about a user who restores what is not known to be good.

use super::question::{Acceptance, MAX_REASON_BYTES, Question};
use super::{checksum, files, named, reading};
use crate::decision::{Code, FieldPath, Finding, Report, Rule, Severity, Verb, WaitKind};
use crate::names::{ACCEPT_INSECURE_ANNOTATION, RESTORE_TAMPERED_ROLE, RESTORE_UNVERIFIED_ROLE};
use crate::velero::text::shown;

pub(super) static RULES: [&Rule; 2] = [&NOT_ALLOWED, &NOT_NEEDED];

static NOT_ALLOWED: Rule = Rule {
    id: "VT121",
    title: "acceptance without a reason or the right",
    about: "`velero-trust.io/accept-insecure` counts with a reason, for who has the verb `restore-unverified` \
            on the Backup when the Restore is created, or `restore-tampered` for one that is known not to be \
            the recorded one. The ClusterRoles `velero-trust-restore-unverified` and \
            `velero-trust-restore-tampered` have them, and are bound to nobody.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    fixed: true,
    ..Rule::DEFAULT
};

static NOT_NEEDED: Rule = Rule {
    id: "VT122",
    title: "acceptance that is not needed",
    about: "Nothing that is known speaks against the backup, so `velero-trust.io/accept-insecure` changes \
            nothing. If its files turn out to be others, it counts.",
    severity: Severity::Warn,
    code: Code::Forbidden,
    ..Rule::DEFAULT
};

/// Softens what a user accepts in `report`, if it may. Returns the ids of the rules that count no longer.
pub(super) fn apply(question: &Question<'_>, report: &mut Report) -> Vec<&'static str> {
    let restore = question.restore;
    let Some(reason) = restore.metadata.annotation(ACCEPT_INSECURE_ANNOTATION) else {
        return Vec::new();
    };
    let Some(acceptance) = question.acceptance() else {
        report.add_finding(not_allowed(question, reason));
        return Vec::new();
    };
    let mut accepted = Vec::new();
    let before = std::mem::take(&mut report.findings);
    for finding in before {
        match finding.rule.accepted_with {
            Some(needed) if needed <= acceptance.with && finding.ceiling == Severity::Deny => {
                if !accepted.contains(&finding.rule.id) {
                    accepted.push(finding.rule.id);
                }
                report.findings.push(finding.softened());
            }
            Some(needed) if finding.ceiling == Severity::Deny => {
                report.findings.push(lacks(finding, &acceptance, needed));
            }
            _ => report.findings.push(finding),
        }
    }
    let is_old = reading::is_over(question, None);
    let waits = std::mem::take(&mut report.waits);
    for wait in waits {
        let (needed, rule) = match wait.kind {
            WaitKind::Failing => (Verb::RestoreUnverified, &reading::NOT_VERIFIED),
            WaitKind::Recording => (Verb::RestoreUnverified, &checksum::NO_CHECKSUM),
            WaitKind::PodVolumes => (Verb::RestoreTampered, &files::VOLUMES_DIFFER),
            // What the files are is known in a moment, unless nobody reads them. They may be known to be
            // other ones then, which takes the stronger right.
            WaitKind::Reading | WaitKind::Changed if is_old => {
                (Verb::RestoreTampered, &reading::NOT_VERIFIED)
            }
            WaitKind::Reading | WaitKind::Changed => {
                report.waits.push(wait);
                continue;
            }
        };
        if needed <= acceptance.with {
            report.note(path(), format!("accepted: {wait}"));
            accepted.push(rule.id);
        } else {
            report.waits.push(wait);
        }
    }
    let is_known = report.needs.is_empty() && report.unknowns.is_empty() && report.waits.is_empty();
    let is_denied = report
        .findings
        .iter()
        .any(|one| one.ceiling == Severity::Deny && one.rule.severity == Severity::Deny);
    if accepted.is_empty() && is_known && !is_denied {
        let message = "nothing that is known speaks against the backup";
        let fix = "leave it out, so that a change of the files is not accepted unseen";
        report.add_finding(Finding::new(&NOT_NEEDED, path(), "", message, fix));
    }
    accepted
}

fn path() -> FieldPath {
    FieldPath::annotation(ACCEPT_INSECURE_ANNOTATION)
}

fn not_allowed(question: &Question<'_>, reason: &str) -> Finding {
    let (message, fix) = if reason.trim().is_empty() {
        (
            "it gives no reason".to_owned(),
            "write why, for who asks later".to_owned(),
        )
    } else if reason.len() > MAX_REASON_BYTES {
        (
            format!("the reason has more than {MAX_REASON_BYTES} bytes"),
            "write a shorter one".to_owned(),
        )
    } else {
        let namespace = question.namespace;
        (
            format!(
                "whoever created this Restore had not the verb {} on its Backup in namespace {namespace}",
                Verb::RestoreUnverified.as_str()
            ),
            format!(
                "have it granted with `kubectl -n {namespace} create rolebinding restore-unverified \
                 --clusterrole={RESTORE_UNVERIFIED_ROLE} --user=USER`, and create the Restore again"
            ),
        )
    };
    Finding::new(
        &NOT_ALLOWED,
        path(),
        named::path(question.restore).to_string(),
        message,
        fix,
    )
}

/// Returns `finding`, which a user with less than the `needed` right does not override.
fn lacks(mut finding: Finding, acceptance: &Acceptance<'_>, needed: Verb) -> Finding {
    finding.fix = format!(
        "{}; {} may not accept that: it needs the verb {}, which the ClusterRole {RESTORE_TAMPERED_ROLE} has",
        finding.fix,
        shown(acceptance.by),
        needed.as_str()
    );
    finding
}
