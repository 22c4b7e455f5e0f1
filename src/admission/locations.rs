//! Validation of BackupStorageLocations.

use super::handler::{Handler, Mode};
use super::request::{Operation, Request};
use super::subject::{Subject, Unreadable};
use crate::ca::rules::{self, Location};
use crate::decision::{Context, Facts, Judged, Report, Severity, Stop, Verdict};
use crate::velero::bsl::Bsl;

/// Validates BackupStorageLocations.
pub(super) static HANDLER: Handler = Handler {
    path: "/validate/backupstoragelocations",
    group: "velero.io",
    resource: "backupstoragelocations",
    operations: &[Operation::Create, Operation::Update],
    mode: Mode::Validate,
    read,
};

fn read<'a>(request: &'a Request<'a>) -> Result<Box<dyn Subject + 'a>, Unreadable> {
    let new = serde_json::from_str(request.object.unwrap_or("{}"))?;
    // A stored object that we cannot read must not stop anybody from making it better.
    let old = request
        .old_object
        .and_then(|old| serde_json::from_str(old).ok());
    let update = request.operation == Operation::Update;
    Ok(Box::new(Review {
        namespace: request.namespace,
        dry_run: request.dry_run,
        new,
        old: if update {
            Some(old.unwrap_or_default())
        } else {
            None
        },
    }))
}

struct Review<'a> {
    namespace: &'a str,
    dry_run: bool,
    new: Bsl<'a>,
    old: Option<Bsl<'a>>,
}

impl Review<'_> {
    fn judge(&self, bsl: &Bsl<'_>, old: Option<&Bsl<'_>>, facts: &Facts, now: i64) -> Report {
        let Self {
            namespace, dry_run, ..
        } = *self;
        rules::judge(
            &Location {
                namespace,
                dry_run,
                bsl,
                old,
                now,
            },
            facts,
        )
    }
}

impl Subject for Review<'_> {
    fn decide(&self, facts: &Facts, context: Context<'_>) -> Report {
        let Some(old) = &self.old else {
            return self.judge(&self.new, None, facts, context.now);
        };
        // Velero writes status, `default` and `accessMode` into the same object.
        if rules::is_same_location(&self.new, old) {
            return Report::default();
        }
        let mut report = self.judge(&self.new, Some(old), facts, context.now);
        let judged = Judged::weigh(&report, context.policy);
        if judged.verdict == Verdict::Deny {
            // What was wrong before may stay wrong: otherwise a bad object could not be made
            // better step by step.
            let before = self.judge(old, None, facts, context.now);
            // While the old object cannot be judged, no denial is sure: it becomes a retry.
            let unsure = !before.unknowns.is_empty();
            for finding in &mut report.findings {
                let denies = context.policy.severity(finding) == Severity::Deny;
                let known = || {
                    before
                        .findings
                        .iter()
                        .any(|known| known.is_same_problem(finding))
                };
                if denies && (unsure || known()) {
                    *finding = finding.clone().softened();
                }
            }
            for need in before.needs {
                report.take(Err(Stop::Need(need)));
            }
            for (lookup, reason) in before.unknowns {
                report.take(Err(Stop::Unknown(lookup, reason)));
            }
        }
        report
    }
}
