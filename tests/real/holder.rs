//! Runs this program as a harness that is to be killed: it starts servers and waits.

use crate::processes;
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use velero_trust_testing::etcd::Etcd;
use velero_trust_testing::process::{Process, clean_command};
use velero_trust_testing::{scratch, wait};

/// The environment variable that selects this mode.
pub(crate) const ASKED: &str = "VELERO_TRUST_TESTING_HOLD";

/// Printed before the folder of the run once the servers are running.
const HOLDING: &str = "holding ";

pub(crate) fn hold() -> ExitCode {
    match start() {
        Ok(_servers) => loop {
            std::thread::park();
        },
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(Etcd, Process)> {
    let root = scratch::root()?;
    let etcd = Etcd::start()?;
    // A process with a child, as Velero has its plugins.
    let mut parent = clean_command(Path::new("sh"), root);
    parent.args(["-c", "sleep 600 & wait"]);
    let parent = Process::start("parent", parent, root)?;
    wait::poll("the grandchild", wait::PATIENCE, || {
        let count = processes::of(root)?.len();
        ensure!(count >= 3, "{count} processes");
        Ok(())
    })?;
    eprintln!("{HOLDING}{}", root.display());
    Ok((etcd, parent))
}

/// After SIGKILL to the harness, its servers, their children and its files must be gone.
pub(crate) fn nothing_survives_a_killed_harness() -> Result<()> {
    let folder = scratch::folder("holder")?;
    let mut command = clean_command(&std::env::current_exe()?, folder.path());
    command.env(ASKED, "1");
    let mut holder = Process::start("holder", command, folder.path())?;
    let root = holder.ready(|holder| {
        let log = holder.log();
        let root = log
            .lines()
            .find_map(|line| line.strip_prefix(HOLDING))
            .map(PathBuf::from);
        root.ok_or_else(|| anyhow::anyhow!("it does not hold its servers yet"))
    })?;
    ensure!(processes::of(&root)?.len() >= 3, "it holds no servers");

    holder.signal("KILL")?;
    holder.ended(wait::PATIENCE)?;
    wait::poll("its servers and files to go", wait::PATIENCE, || {
        let left = processes::of(&root)?;
        ensure!(left.is_empty(), "these processes are left: {left:?}");
        ensure!(!root.exists(), "{} is left", root.display());
        Ok(())
    })
}
