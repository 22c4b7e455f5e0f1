//! The real servers in `target/rig`, which `tests/rig/build` fills.

use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};

/// Returns the path of one built server or tool, for example `kube-apiserver`.
///
/// # Errors
/// When it has not been built yet; the message says how to build it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/rig")
        .join(name);
    ensure!(
        path.is_file(),
        "{} is missing: run tests/rig/build (make test does it)",
        path.display()
    );
    Ok(path.canonicalize()?)
}
