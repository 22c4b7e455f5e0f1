//! Folders for servers, below one root for each run of the harness.

use anyhow::{Context as _, Result, anyhow};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Waits for the harness to end in any way, then removes the root. The servers are killed at the
/// same moment ([`crate::process`]), so the first attempt may meet one that is still writing.
const SWEEP: &str =
    r#"read -r _; for n in 1 2 3 4 5; do rm -rf -- "$0" 2>/dev/null && exit; sleep 1; done"#;

struct Root {
    path: PathBuf,
    /// Held, not used: its standard input closes when the harness ends.
    _sweeper: Child,
}

static ROOT: OnceLock<Result<Root, String>> = OnceLock::new();

/// Returns the folder that contains every file of this run. It is removed when the harness ends,
/// even by SIGKILL.
pub fn root() -> Result<&'static Path> {
    let root = ROOT.get_or_init(|| make_root().map_err(|error| format!("{error:#}")));
    match root {
        Ok(root) => Ok(&root.path),
        Err(error) => Err(anyhow!("{error}")),
    }
}

/// Creates a folder whose name begins with `name`. It is removed when dropped.
pub fn folder(name: &str) -> Result<TempDir> {
    let root = root()?;
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(root)
        .with_context(|| format!("cannot make a folder in {}", root.display()))
}

/// Copies the folder `from`, with all that is in it, to `to`, which must not exist.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            fs::copy(from, to)?;
        }
    }
    Ok(())
}

fn make_root() -> Result<Root> {
    use std::os::unix::process::CommandExt as _;

    let path = tempfile::Builder::new()
        .prefix("velero-trust-")
        .tempdir()?
        .keep();
    // A process group of its own: Ctrl-C in a terminal must reach the harness but not the sweeper.
    let sweeper = Command::new("sh")
        .args(["-c", SWEEP])
        .arg(&path)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start sh")?;
    Ok(Root {
        path,
        _sweeper: sweeper,
    })
}
