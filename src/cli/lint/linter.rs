//! Checks a BackupStorageLocation as the webhook would check it.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::Instant;

use super::hint;
use super::outcome::{LocatedFinding, Outcome};
use crate::admission::{Envelope, HANDLERS, Opened, schema};
use crate::ca::references::{self, CaTarget};
use crate::decision::{
    Context, FieldPath, Finding, Judged, Note, Policy, Report, SecretKeyRef, Segment, Severity,
};
use crate::names::CA_SECRET_ANNOTATION;
use crate::sources::manifests::{Located, Manifests, Remark};
use crate::sources::{LookupOptions, evaluate};
use crate::velero::bsl::Bsl;
use crate::velero::text::single_line;

/// The inputs that are the same for all locations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linter<'a> {
    pub(super) manifests: &'a Manifests,
    pub(super) policy: &'a Policy,
    /// The current time, in seconds since 1970.
    pub(super) now: i64,
    /// Whether hints were requested.
    pub(super) hints: bool,
}

impl Linter<'_> {
    /// Adds to `outcome` the findings of the webhook if `location` were created now. A location
    /// that no API server would ever send, such as one in namespace `${NAME}`, is reported as an
    /// error and does not stop the others.
    pub(super) async fn check(&self, location: &Located, outcome: &mut Outcome) {
        let mut object = location.object.clone();
        let mut refused = Report::default();
        schema::check(&mut object, &mut refused);
        let report = match self.review(location, &object).await {
            Ok(mut report) => {
                report.findings.splice(..0, refused.findings);
                report
            }
            Err(error) => {
                let path = FieldPath::of(&["metadata", "namespace"]);
                outcome.errors.push(Remark {
                    file: location.file.clone(),
                    line: Some(location.line_of(&path)),
                    message: format!(
                        "BackupStorageLocation {}: it cannot be judged: {error:#}",
                        single_line(&location.key.to_string(), 120)
                    ),
                });
                return;
            }
        };
        let placeholders = location.placeholders();
        let is_judged = |path: &FieldPath| !placeholders.iter().any(|(at, _)| is_at(path, at));
        for (severity, finding) in self.judged(&report) {
            if is_judged(&finding.path) {
                let found = self.locate(location, severity, finding);
                outcome.findings.push(found);
            }
        }
        self.add_dropped(location, outcome);
        let notes = report
            .notes
            .into_iter()
            .filter(|note| is_judged(&note.path));
        let hidden = placeholders.iter().map(|(path, by)| Note {
            path: path.clone(),
            message: format!("it is {by}, so it was not judged"),
        });
        for note in notes.chain(hidden) {
            outcome.notes.push(note_remark(location, &note));
        }
    }

    /// Returns the findings of `report` with the severities of the policy, denials first.
    fn judged(&self, report: &Report) -> impl Iterator<Item = (Severity, Finding)> + use<> {
        let judged = Judged::apply_policy(report, self.policy);
        let denials = judged.denials.into_iter().map(|f| (Severity::Deny, f));
        let warnings = judged.warnings.into_iter().map(|f| (Severity::Warn, f));
        denials.chain(warnings)
    }

    /// Adds the findings about values that Velero's chart drops.
    fn add_dropped(&self, location: &Located, outcome: &mut Outcome) {
        let mut report = Report::default();
        for (path, fix) in &location.dropped {
            let message = "the chart knows no such value and drops it";
            let finding = Finding::new(&schema::DROPPED, path.clone(), "", message, fix);
            report.add_finding(finding);
        }
        let found = self
            .judged(&report)
            .map(|(severity, finding)| LocatedFinding {
                secret: None,
                file: location.file.clone(),
                line: location.line_at(&finding.path),
                key: location.key.clone(),
                severity,
                hint: None,
                path: finding.path.clone(),
                finding,
            });
        outcome.findings.extend(found);
    }

    async fn review(&self, location: &Located, object: &Value) -> anyhow::Result<Report> {
        // The bytes that the API server would send, so that lint cannot differ from the webhook.
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
                "object": object,
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
        let options = LookupOptions {
            deadline: Instant::now() + Duration::from_secs(10),
            dry_run: false,
            caller: None,
        };
        let source = self.manifests.seen_from(location);
        Ok(match handler.open(&request) {
            Opened::ReviewedObject(subject) => {
                evaluate(subject.as_ref(), &source, options, context).await?
            }
            Opened::Unreadable(report) => report,
            Opened::NotReviewed(_) => anyhow::bail!("{} does not take a CREATE", handler.path),
        })
    }

    /// Returns the file and line of the Secret that a finding is about.
    fn secret_location(&self, location: &Located, finding: &Finding) -> Option<(PathBuf, u64)> {
        let SecretKeyRef { secret, key } = referenced_key(location, finding)?;
        let view = self.manifests.seen_from(location);
        view.locate(&secret, &key)
    }

    fn locate(
        &self,
        location: &Located,
        severity: Severity,
        mut finding: Finding,
    ) -> LocatedFinding {
        let path = location.path_of(&finding.path);
        let reference = referenced_key(location, &finding);
        let view = self.manifests.seen_from(location);
        if reference.is_some_and(|reference| view.is_config_map(&reference.secret)) {
            finding.message += "; a ConfigMap has this name, and Velero reads Secrets only";
        }
        // Somebody who edits values does not see the object that the rules refer to.
        let object_path = finding.path.to_string();
        finding.fix = finding.fix.replace(&object_path, &path.to_string());
        if location.is_values() && finding.fix.contains("caCertRef") {
            let fix = finding.fix;
            finding.fix =
                format!("{fix} (the chart has annotations for it: {CA_SECRET_ANNOTATION})");
        }
        LocatedFinding {
            secret: self.secret_location(location, &finding),
            file: location.file.clone(),
            line: location.line_of(&finding.path),
            key: location.key.clone(),
            severity,
            hint: self
                .hints
                .then(|| hint::render(location, &finding))
                .flatten(),
            path,
            finding,
        }
    }
}

/// Whether a finding at `path` is about the value at `at`: the path is that of the value, or of the
/// reference to a Secret that it is a part of.
fn is_at(path: &FieldPath, at: &FieldPath) -> bool {
    let names = |path: &FieldPath| -> Vec<String> {
        let segments = path.segments().iter();
        segments
            .map(|segment| match segment {
                Segment::Field(name) => name.clone().into_owned(),
                Segment::Key(key) => key.clone(),
                Segment::Index(index) => index.to_string(),
            })
            .collect()
    };
    let (path, at) = (names(path), names(at));
    let is_reference = path
        .last()
        .is_some_and(|name| ["caCertRef", "credential"].contains(&name.as_str()));
    at == path || is_reference && at.starts_with(&path)
}

/// Returns the Secret key that the location references at the path of the finding.
fn referenced_key(location: &Located, finding: &Finding) -> Option<SecretKeyRef> {
    let bsl = Bsl::deserialize(&location.object).ok()?;
    let mut references = references::ca_references(&location.key.namespace, &bsl).into_iter();
    match references
        .find(|source| source.path == finding.path)?
        .target
    {
        CaTarget::Secret(reference) => Some(reference),
        _ => None,
    }
}

fn note_remark(location: &Located, Note { path, message }: &Note) -> Remark {
    let shown = location.path_of(path);
    Remark {
        file: location.file.clone(),
        line: Some(location.line_of(path)),
        message: format!("BackupStorageLocation {}: {shown}: {message}", location.key),
    }
}
