//! The real controllers: they create Pods, finish deletions and create ServiceAccounts.

use crate::api_server::ApiServer;
use crate::process::{Process, clean_command};
use crate::{rig, scratch};
use anyhow::Result;
use tempfile::TempDir;

/// DaemonSets create one Pod for each node. No kubelet runs for this one, so Pods stay Pending.
const NODE: &str = r#"{"apiVersion": "v1", "kind": "Node",
  "metadata": {"name": "node", "labels": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": "node"}}}"#;

/// A running kube-controller-manager.
#[derive(Debug)]
pub struct Controllers {
    process: Process,
    _folder: TempDir,
}

impl Controllers {
    /// Starts the controllers of `api_server` and creates a Linux node.
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
                // Otherwise the node would be considered dead after a minute, and DaemonSets would
                // create no more Pods for it.
                "--node-startup-grace-period=24h",
            ]);
        let mut process = Process::start("kube-controller-manager", command, folder.path())?;
        let kubectl = api_server.kubectl()?;
        kubectl.apply(NODE)?;
        // It has no readiness endpoint; the first account that it creates shows that it works.
        process.ready(|_| kubectl.ok(&["get", "serviceaccount", "default"]))?;
        Ok(Self {
            process,
            _folder: folder,
        })
    }

    /// Returns the end of the controllers' log, for error messages.
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}
