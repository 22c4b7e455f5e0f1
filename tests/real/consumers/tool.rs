//! Commands of the programs in the rig, in an environment of their own, as if in a container.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use velero_trust_testing::cli::{Cli, Output};
use velero_trust_testing::minio::{ACCESS_KEY, SECRET_KEY};
use velero_trust_testing::rig;

/// Some programs try for many minutes what cannot work. Ended after so many seconds, which must be
/// more than what works takes: both write to disk and wait until it is there, and that lasts while
/// a build beside them writes gigabytes.
const LIMIT: &str = "300";

/// A shell with a home of its own that finds the programs of the rig.
pub(super) struct Shell(Cli);

impl Shell {
    /// With MinIO's credentials, a password for repositories, these variables, and nothing else of
    /// this machine in its environment.
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

    /// The folder that is its home.
    pub(super) fn home(&self) -> &Path {
        self.0.home()
    }

    /// Runs a command and gives whatever comes.
    pub(super) fn run(&self, command: &str) -> Result<Output> {
        self.0.run(&[LIMIT, "sh", "-c", command])
    }

    /// Runs a command and gives its standard output; fails unless it succeeded.
    pub(super) fn ok(&self, command: &str) -> Result<String> {
        self.0.ok(&[LIMIT, "sh", "-c", command])
    }
}
