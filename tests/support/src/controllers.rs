//! The real controllers: they make Pods, finish deletions and make ServiceAccounts.

use crate::api_server::ApiServer;
use crate::process::{Process, clean_command};
use crate::{rig, scratch};
use anyhow::Result;
use tempfile::TempDir;

/// DaemonSets make one Pod for each node; no kubelet stands behind this one, so Pods stay Pending.
const NODE: &str = r#"{"apiVersion": "v1", "kind": "Node",
  "metadata": {"name": "node", "labels": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": "node"}}}"#;

/// A running kube-controller-manager.
#[derive(Debug)]
pub struct Controllers {
    process: Process,
    _folder: TempDir,
}

impl Controllers {
    /// Starts the controllers of `api_server` and makes a Linux node.
    pub fn start(api_server: &ApiServer) -> Result<Self> {
        let folder = scratch::folder("controllers")?;
        let mut command = clean_command(&rig::binary("kube-controller-manager")?, folder.path());
        for flag in [
            "--kubeconfig",
            "--authentication-kubeconfig",
            "--authorization-kubeconfig",
        ] {
            command.arg(flag).arg(api_server.kubeconfig());
        }
        command
            .arg("--service-account-private-key-file")
            .arg(api_server.signing_key())
            .arg("--root-ca-file")
            .arg(api_server.ca_file())
            .args([
                "--bind-address=127.0.0.1",
                "--secure-port=0",
                "--leader-elect=false",
                // The node would be found dead after a minute, and DaemonSets would make no more
                // Pods for it.
                "--node-startup-grace-period=24h",
            ]);
        let mut process = Process::start("kube-controller-manager", command, folder.path())?;
        let kubectl = api_server.kubectl()?;
        kubectl.apply(NODE)?;
        // It serves nothing that could be asked; the first account it makes says that it works.
        process.ready(|_| kubectl.ok(&["get", "serviceaccount", "default"]))?;
        Ok(Self {
            process,
            _folder: folder,
        })
    }

    /// The end of their log, for error messages.
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}
