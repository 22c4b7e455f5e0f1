//! The Pods of `tests/pods`, and what their headers say of them.

use std::fs;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};

/// A Pod and what is expected of it; `tests/pods/README.md` says what each line of a header means.
#[derive(Clone, Debug)]
pub struct PodFixture {
    /// The file.
    pub path: PathBuf,
    /// Its name, for messages.
    pub file: String,
    /// The YAML.
    pub text: String,
    /// What the Pod is; `foreign` when it is not Velero's.
    pub kind: String,
    /// The containers that get the bundle, init containers last.
    pub injected: Vec<String>,
    /// Whether the webhook's `matchConditions` let it through.
    pub sent: bool,
}

/// All of them, by file name. One that cannot be read or lacks a line of the header is an error,
/// so that no test passes because it saw nothing.
pub fn all() -> Result<Vec<PodFixture>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pods");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    files.sort();
    files.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Result<PodFixture> {
    let text = fs::read_to_string(&path)?;
    let header = |key: &str| {
        let mut comments = text.lines().take_while(|line| line.starts_with('#'));
        comments
            .find_map(|line| {
                line.strip_prefix("# ")?
                    .strip_prefix(key)?
                    .strip_prefix(": ")
            })
            .ok_or_else(|| Error::other(format!("{} has no `# {key}:`", path.display())))
    };
    let names = header("injected")?
        .split(' ')
        .filter(|name| *name != "none");
    Ok(PodFixture {
        file: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        kind: header("kind")?.to_owned(),
        injected: names.map(str::to_owned).collect(),
        sent: header("sent")? == "yes",
        path,
        text,
    })
}
