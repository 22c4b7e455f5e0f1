//! The commands to try on a cluster with velero-trust, and the expected answers.

use crate::cli::{Cli, Output};
use crate::cluster::{BUCKET, Cluster, VELERO_NAMESPACE};
use crate::installer::{self, Installation, Installer};
use crate::wait::{self, PATIENCE};
use crate::{rig, scratch};
use anyhow::{Context as _, Result, ensure};
use json_patch::merge;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The backup that exists from the start.
const BACKUP: &str = "first";

/// A cluster with Velero, an available location, a backup, and velero-trust.
#[derive(Debug)]
pub struct Tour {
    /// velero-trust itself.
    pub installation: Installation,
    kubeconfig: PathBuf,
    folder: TempDir,
}

/// One command to try.
#[derive(Debug)]
pub struct Step {
    /// What the command shows.
    pub title: &'static str,
    /// The command line.
    pub command: String,
    /// Whether the command succeeds.
    pub passes: bool,
    /// A part of its output.
    pub says: &'static str,
}

impl Tour {
    /// Sets everything up with `binary` as velero-trust.
    pub fn start(cluster: &Cluster, binary: &Path) -> Result<Self> {
        let server = cluster.velero()?;
        let installation = Installer::new(cluster, binary, installer::NAMESPACE)?.install()?;
        let minio = cluster.minio()?;
        let location = |name| minio.location_with_ca(VELERO_NAMESPACE, name, BUCKET);
        let (mut default, secret) = location("default");
        merge(&mut default, &json!({"spec": {"default": true}}));
        cluster.kubectl().apply(&secret.to_string())?;
        cluster.kubectl().apply(&default.to_string())?;

        let folder = scratch::folder("tour")?;
        let (absent, _) = location("absent");
        let mut good = default;
        // Two locations in one bucket need different prefixes.
        let other = json!({"default": false, "objectStorage": {"prefix": "good"}});
        merge(
            &mut good,
            &json!({"metadata": {"name": "good"}, "spec": other}),
        );
        fs::write(folder.path().join("absent.json"), pretty(&absent)?)?;
        fs::write(folder.path().join("good.json"), pretty(&good)?)?;

        wait::poll("the location to be available", PATIENCE, || {
            let location = ["bsl", "default", "-n", VELERO_NAMESPACE];
            let location = cluster.kubectl().get(&location)?;
            let phase = location.pointer("/status/phase").and_then(Value::as_str);
            ensure!(phase == Some("Available"), "{location}");
            Ok(())
        })
        .with_context(|| server.tail())?;
        let map = ["create", "configmap", "hello", "--from-literal=who=me"];
        cluster.kubectl().ok(&map)?;
        let backup = ["backup", "create", BACKUP, "--wait"];
        let backup = [&backup[..], &["--include-namespaces", "default"]].concat();
        cluster.velero_cli()?.ok(&backup)?;
        Ok(Self {
            installation,
            kubeconfig: cluster.kubeconfig().to_owned(),
            folder,
        })
    }

    /// Returns the commands that set up a shell.
    pub fn exports(&self) -> Result<String> {
        let kubectl = rig::binary("kubectl")?;
        let tools = kubectl.parent().context("kubectl is in no folder")?;
        Ok(format!(
            "export KUBECONFIG={}\nexport PATH={}:$PATH\ncd {}",
            self.kubeconfig.display(),
            tools.display(),
            self.folder.path().display()
        ))
    }

    /// Runs the command of `step` in a shell that has run the [`exports`](Self::exports).
    pub fn run(&self, step: &Step) -> Result<Output> {
        let script = format!("set -e\n{}\n{}", self.exports()?, step.command);
        let shell = Cli::new(PathBuf::from("sh"), None)?;
        let output = shell.run(&["-c", &script])?;
        let said = output.stdout.contains(step.says) || output.stderr.contains(step.says);
        ensure!(
            (output.code == Some(0)) == step.passes && said,
            "{}: `{}` should {} and say `{}`, and gave {output:?}",
            step.title,
            step.command,
            if step.passes { "pass" } else { "fail" },
            step.says
        );
        Ok(output)
    }
}

/// Returns the commands to try, in order.
pub fn steps() -> [Step; 5] {
    let step = |title, passes, says, command: &str| Step {
        title,
        command: command.to_owned(),
        passes,
        says,
    };
    let ledger = installer::manifests().join("crds");
    let ledger = ledger.display();
    let annotation = r"{.metadata.annotations.velero-trust\.io/checksum}";
    let record = format!(
        "kubectl apply -k {ledger}
kubectl -n {VELERO_NAMESPACE} wait backup/{BACKUP} --for=jsonpath='{annotation}' --timeout=90s
velero restore create --from-backup {BACKUP} --wait"
    );
    let refused = format!("velero restore create --from-backup {BACKUP}");
    [
        step(
            "a location whose CA Secret is absent is refused",
            false,
            "[VT001]",
            "kubectl create -f absent.json",
        ),
        step(
            "its dry run passes with a warning: GitOps tools try it before they store the Secret",
            true,
            "Warning: [VT001]",
            "kubectl create -f absent.json --dry-run=server",
        ),
        step(
            "a good location passes",
            true,
            "backupstoragelocation.velero.io/good created",
            "kubectl create -f good.json",
        ),
        step(
            "a Restore from a backup that is not recorded is refused",
            false,
            "[VT101]",
            &refused,
        ),
        step(
            "once the kinds of the records are there, the backup is recorded, and the Restore runs",
            true,
            "Restore completed with status: Completed",
            &record,
        ),
    ]
}

fn pretty(object: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(object)?)
}
