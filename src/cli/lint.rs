//! `velero-trust lint`: the rules for BackupStorageLocations over manifests.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use tokio::time::Instant;

use super::policy::PolicyOptions;
use super::{exit, runtime};
use crate::admission::{Envelope, HANDLERS, Opened};
use crate::decision::{Context, Finding, Judged, Key, Policy, RestoresMode};
use crate::sources::objects::{Located, Objects};
use crate::sources::{Limits, settle};

/// Every BackupStorageLocation in the files is judged as the webhook would judge it on creation,
/// with the Secrets that stand beside it. One line per finding: `file:line: severity: path: what is
/// wrong; what to do [rule]`.
#[derive(Args, Debug)]
pub(super) struct Lint {
    /// Files and folders with YAML or JSON manifests
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    policy: PolicyOptions,
}

impl Lint {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let policy = self.policy.policy(RestoresMode::Off)?;
        let objects = Objects::read(&self.paths)?;
        let mut out = std::io::stdout().lock();
        let mut denials = 0;
        let mut warnings = 0;
        let runtime = runtime()?;
        for (key, located) in &objects.locations {
            let judged = runtime.block_on(judge(key, located, &objects, &policy))?;
            denials += judged.denials.len();
            warnings += judged.warnings.len();
            for (severity, findings) in [("deny", &judged.denials), ("warn", &judged.warnings)] {
                for finding in findings {
                    let Located { file, document } = located;
                    let line = document.line_of(&finding.path);
                    writeln!(
                        out,
                        "{}:{line}: {severity}: {}",
                        file.display(),
                        text(key, finding)
                    )?;
                }
            }
        }
        let locations = objects.locations.len();
        if !objects.notes.is_empty() {
            let others = objects.notes.len();
            writeln!(
                out,
                "note: documents of other kinds that were left out: {others}"
            )?;
        }
        writeln!(
            out,
            "BackupStorageLocations: {locations}, denials: {denials}, warnings: {warnings}"
        )?;
        Ok(if denials == 0 {
            exit::CLEAN
        } else {
            exit::FINDINGS
        })
    }
}

fn text(key: &Key, finding: &Finding) -> String {
    format!("BackupStorageLocation {key}: {finding}")
}

/// What the webhook would say if the location were created now.
async fn judge(
    key: &Key,
    located: &Located,
    objects: &Objects,
    policy: &Policy,
) -> anyhow::Result<Judged> {
    // The same bytes as the API server would send, so that nothing is judged in another way.
    let review = serde_json::json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "lint",
            "kind": {"group": "velero.io", "version": "v1", "kind": "BackupStorageLocation"},
            "resource": {"group": "velero.io", "version": "v1", "resource": "backupstoragelocations"},
            "name": key.name,
            "namespace": key.namespace,
            "operation": "CREATE",
            "object": located.document.to_json(),
        },
    });
    let body = serde_json::to_vec(&review)?;
    let envelope = Envelope::decode(&body)?;
    let request = envelope.request()?;
    let handler = HANDLERS
        .iter()
        .find(|handler| handler.resource == request.resource)
        .ok_or_else(|| anyhow::anyhow!("there is no handler of {}", request.resource))?;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs();
    let context = Context {
        policy,
        now: i64::try_from(now)?,
    };
    let limits = Limits {
        deadline: Instant::now() + Duration::from_secs(10),
        dry_run: false,
    };
    let report = match handler.open(&request) {
        Opened::Subject(subject) => settle(subject.as_ref(), objects, limits, context).await?,
        Opened::Unreadable(report) => report,
        Opened::Foreign(_) => anyhow::bail!("{} does not take a CREATE", handler.path),
    };
    Ok(Judged::weigh(&report, policy))
}
