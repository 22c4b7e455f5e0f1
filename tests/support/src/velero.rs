//! Velero: the manifests of `velero install`, and the real server as a local process.

use crate::access::Access;
use crate::cli::Cli;
use crate::process::{Process, clean_command};
use crate::{ports, rig, scratch};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The AWS plugin as `velero install --plugins` names it.
pub const AWS_PLUGIN_IMAGE: &str = "velero/velero-plugin-for-aws:v1.14.3";

/// A version of Velero that `tests/rig` builds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// The newest one, with which everything is tried.
    #[default]
    Newest,
    /// 1.14.0, the oldest one that can be built with a current Go.
    Oldest,
}

impl Version {
    /// Returns the path of the command, which is also the server.
    pub fn binary(self) -> Result<PathBuf> {
        rig::binary(match self {
            Self::Newest => "velero",
            Self::Oldest => "velero-1.14",
        })
    }

    /// In the server's log once it handles locations. It logs "Server starting..." long before, and
    /// may still end after that.
    const fn working(self) -> &'static str {
        match self {
            Self::Newest => "msg=\"Starting workers\" controller=backup-storage-location ",
            Self::Oldest => "msg=\"Starting workers\" controller=backupstoragelocation ",
        }
    }
}

/// Applies the CRDs of the newest Velero, and waits until the API server serves them.
pub fn apply_crds(kubectl: &Cli) -> Result<()> {
    apply_crds_of(Version::Newest, kubectl)
}

/// Applies the CRDs of a version of Velero, and waits until the API server serves them.
pub fn apply_crds_of(version: Version, kubectl: &Cli) -> Result<()> {
    kubectl.apply(&crds(version)?)?;
    kubectl.ok(&[
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
        "--all",
    ])?;
    Ok(())
}

/// Returns Velero's CustomResourceDefinitions.
fn crds(version: Version) -> Result<String> {
    Cli::new(version.binary()?, None)?.ok(&["install", "--crds-only", "--dry-run", "-o", "yaml"])
}

/// Returns the manifests of `velero install` with server and node agent, but without a location of
/// its own; `arguments` are added. The CRDs must have been applied. (It asks the cluster of
/// `velero` for its version, even in a dry run.)
pub fn manifests(
    velero: &Cli,
    namespace: &str,
    credentials: &Path,
    arguments: &[&str],
) -> Result<String> {
    let credentials = credentials
        .to_str()
        .context("the path of the credentials is not UTF-8")?;
    let fixed = [
        "install",
        "--namespace",
        namespace,
        "--plugins",
        AWS_PLUGIN_IMAGE,
        "--no-default-backup-location",
        "--use-volume-snapshots=false",
        "--secret-file",
        credentials,
        "--use-node-agent",
        "--dry-run",
        "--output=yaml",
    ];
    velero.ok(&[&fixed, arguments].concat())
}

/// A running Velero server.
#[derive(Debug)]
pub struct Velero {
    process: Process,
    _folder: TempDir,
}

impl Velero {
    /// Starts the server of `namespace` in this version, with `access` (Velero's own ServiceAccount, so that
    /// admission reviews carry its real user name), the AWS plugin, these credentials, and
    /// `environment` in addition: what our injection would set in its Pod.
    pub fn start(
        version: Version,
        access: &Access,
        namespace: &str,
        credentials: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        ports::retrying(|| Self::attempt(version, access, namespace, credentials, environment))
    }

    fn attempt(
        version: Version,
        access: &Access,
        namespace: &str,
        credentials: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let folder = scratch::folder("velero")?;
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, access.kubeconfig())?;
        let plugins = folder.path().join("plugins");
        let files = folder.path().join("scratch");
        fs::create_dir(&plugins)?;
        fs::create_dir(&files)?;
        symlink(
            rig::binary("velero-plugin-for-aws")?,
            plugins.join("velero-plugin-for-aws"),
        )?;

        let mut command = clean_command(&version.binary()?, folder.path());
        command
            .env("KUBECONFIG", &kubeconfig)
            .env("VELERO_NAMESPACE", namespace)
            .env("VELERO_SCRATCH_DIR", &files)
            .env("AWS_SHARED_CREDENTIALS_FILE", credentials)
            .envs(environment.iter().copied())
            .args(["server", "--namespace", namespace])
            .arg("--plugin-dir")
            .arg(&plugins)
            .arg(format!("--metrics-address=127.0.0.1:{}", ports::free()?))
            .arg(format!("--profiler-address=127.0.0.1:{}", ports::free()?));
        let mut process = Process::start("velero", command, folder.path())?;
        process.ready(|process| {
            ensure!(
                process.log().contains(version.working()),
                "its controllers do not work yet"
            );
            Ok(())
        })?;
        Ok(Self {
            process,
            _folder: folder,
        })
    }

    /// Returns the end of the server's log, for error messages.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// Sends a signal, by its name without `SIG`: `STOP` keeps Restores waiting until `CONT`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.process.signal(signal)
    }

    /// Returns everything the server has printed so far.
    pub fn log(&self) -> String {
        self.process.log()
    }
}
