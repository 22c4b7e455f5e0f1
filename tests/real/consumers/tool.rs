//! Runs the programs of the rig in an isolated environment, like that of a container.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::minio::{ACCESS_KEY, SECRET_KEY};
use velero_trust_testing::rig;

/// Time limit for a command, in seconds. Some programs retry for many minutes what cannot work. The
/// limit must be longer than a successful command takes: restic and kopia sync their writes to
/// disk, which is slow while a build on the same machine writes gigabytes.
const LIMIT: &str = "300";

/// A shell with its own home folder that finds the programs of the rig.
pub(super) struct Shell(Cli);

impl Shell {
    /// Creates a shell whose environment has MinIO's credentials, a password for repositories and
    /// `variables`, but nothing of this machine.
    pub(super) fn new(variables: &[(&str, &str)]) -> Result<Self> {
        let rig = rig::binary("restic")?;
        let rig = rig.parent().context("restic is in no folder")?;
        let fixed = [
            ("PATH", &*format!("{}:/usr/bin:/bin", rig.display())),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("RESTIC_PASSWORD", "of the tests"),
            ("KOPIA_PASSWORD", "of the tests"),
            ("KOPIA_CHECK_FOR_UPDATES", "false"),
        ];
        let cli = Cli::new(PathBuf::from("timeout"), None)?;
        let cli = cli.with_environment(&fixed).with_environment(variables);
        Ok(Self(cli))
    }

    /// Returns the home folder.
    pub(super) fn home(&self) -> &Path {
        self.0.home()
    }

    /// Runs a command and returns its output, whether it succeeds or not.
    pub(super) fn run(&self, command: &str) -> Result<Output> {
        self.0.run(&[LIMIT, "sh", "-c", command])
    }

    /// Runs a command and returns its standard output. Fails unless the command succeeds.
    pub(super) fn ok(&self, command: &str) -> Result<String> {
        self.0.ok(&[LIMIT, "sh", "-c", command])
    }
}
