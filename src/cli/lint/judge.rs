//! One BackupStorageLocation, judged as the webhook would judge it.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::hint;
use super::outcome::{Found, Outcome};
use crate::admission::{Envelope, HANDLERS, Opened};
use crate::ca::references::{self, CaTarget, SecretKeyRef};
use crate::decision::{Context, FieldPath, Finding, Judged, Note, Policy, Report, Severity};
use crate::names::CA_SECRET_ANNOTATION;
use crate::sources::manifests::{Located, Manifests, Remark};
use crate::sources::{Limits, evaluate};
use crate::telemetry::printable;
use crate::velero::bsl::Bsl;

/// What is the same for all locations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'a> {
    pub(super) manifests: &'a Manifests,
    pub(super) policy: &'a Policy,
    /// Seconds since 1970.
    pub(super) now: i64,
    /// Whether hints were asked for.
    pub(super) hints: bool,
}

impl Judge<'_> {
    /// Adds to `outcome` what the webhook would say if the location were created now. One that no
    /// API server would ever send, such as one of a namespace `${NAME}`, is trouble and stops none.
    pub(super) async fn location(&self, location: &Located, outcome: &mut Outcome) {
        let report = match self.report(location).await {
            Ok(report) => report,
            Err(error) => {
                let path = FieldPath::of(&["metadata", "namespace"]);
                outcome.errors.push(Remark {
                    file: location.file.clone(),
                    line: Some(location.line_of(&path)),
                    message: format!(
                        "BackupStorageLocation {}: it cannot be judged: {error:#}",
                        printable(&location.key.to_string(), 120)
                    ),
                });
                return;
            }
        };
        let judged = Judged::apply_policy(&report, self.policy);
        let denials = judged.denials.into_iter().map(|f| (Severity::Deny, f));
        let warnings = judged.warnings.into_iter().map(|f| (Severity::Warn, f));
        for (severity, finding) in denials.chain(warnings) {
            let found = self.found(location, severity, finding);
            outcome.found.push(found);
        }
        for note in report.notes {
            outcome.notes.push(remark(location, &note));
        }
    }

    async fn report(&self, location: &Located) -> anyhow::Result<Report> {
        // The same bytes as the API server would send, so that nothing is judged in another way.
        let review = serde_json::json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "lint",
                "kind": {"group": "velero.io", "version": "v1", "kind": "BackupStorageLocation"},
                "resource": {"group": "velero.io", "version": "v1", "resource": "backupstoragelocations"},
                "name": location.key.name,
                "namespace": location.key.namespace,
                "operation": "CREATE",
                "object": location.object,
            },
        });
        let body = serde_json::to_vec(&review)?;
        let envelope = Envelope::decode(&body)?;
        let request = envelope.request()?;
        let handler = HANDLERS
            .iter()
            .find(|handler| handler.resource == request.resource)
            .ok_or_else(|| anyhow::anyhow!("there is no handler of {}", request.resource))?;
        let context = Context {
            policy: self.policy,
            now: self.now,
        };
        let limits = Limits {
            deadline: Instant::now() + Duration::from_secs(10),
            dry_run: false,
        };
        let source = self.manifests.seen_from(&location.file);
        Ok(match handler.open(&request) {
            Opened::Subject(subject) => {
                evaluate(subject.as_ref(), &source, limits, context).await?
            }
            Opened::Unreadable(report) => report,
            Opened::Foreign(_) => anyhow::bail!("{} does not take a CREATE", handler.path),
        })
    }

    /// Where the Secret stands that a finding is about.
    fn secret(&self, location: &Located, finding: &Finding) -> Option<(PathBuf, u64)> {
        let SecretKeyRef { secret, key } = reference(location, finding)?;
        let view = self.manifests.seen_from(&location.file);
        view.locate(&secret, &key)
    }

    fn found(&self, location: &Located, severity: Severity, mut finding: Finding) -> Found {
        let path = location.path_of(&finding.path);
        if location.is_values() {
            // A person who edits values does not see the object that the rules speak of.
            let own = finding.path.to_string();
            finding.fix = finding.fix.replace(&own, &path.to_string());
            if finding.fix.contains("caCertRef") {
                let fix = finding.fix;
                finding.fix =
                    format!("{fix} (the chart has annotations for it: {CA_SECRET_ANNOTATION})");
            }
        }
        Found {
            secret: self.secret(location, &finding),
            file: location.file.clone(),
            line: location.line_of(&finding.path),
            key: location.key.clone(),
            severity,
            hint: self.hints.then(|| hint::of(location, &finding)).flatten(),
            path,
            finding,
        }
    }
}

/// The key of a Secret that the location names where the finding is.
fn reference(location: &Located, finding: &Finding) -> Option<SecretKeyRef> {
    let json = location.object.to_string();
    let bsl: Bsl<'_> = serde_json::from_str(&json).ok()?;
    let mut references = references::ca_references(&location.key.namespace, &bsl).into_iter();
    match references
        .find(|source| source.path == finding.path)?
        .target
    {
        CaTarget::Secret(reference) => Some(reference),
        _ => None,
    }
}

fn remark(location: &Located, Note { path, message }: &Note) -> Remark {
    let shown = location.path_of(path);
    Remark {
        file: location.file.clone(),
        line: Some(location.line_of(path)),
        message: format!("BackupStorageLocation {}: {shown}: {message}", location.key),
    }
}
