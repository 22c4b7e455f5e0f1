//! The Pods of `tests/pods`, with the expectations in their headers (`tests/pods/README.md`).

use anyhow::{Context as _, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A Pod and the expectations for it.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// The file's name without its extension.
    pub name: String,
    /// The kind of Velero Pod; `foreign` for any other Pod.
    pub kind: String,
    /// The containers that get the bundle, init containers last.
    pub injected: Vec<String>,
    /// Whether the API server sends it to the webhook.
    pub sent: bool,
    /// The Pod itself.
    pub pod: Value,
}

/// Returns all Pods, ordered by name.
pub fn fixtures() -> Result<Vec<Fixture>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pods");
    let mut fixtures = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "yaml") {
            let fixture = read(&path).with_context(|| path.display().to_string())?;
            fixtures.push(fixture);
        }
    }
    fixtures.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(fixtures)
}

fn read(path: &Path) -> Result<Fixture> {
    let text = fs::read_to_string(path)?;
    let header = |key: &str| {
        let lines = text.lines().map_while(|line| line.strip_prefix('#'));
        let mut values = lines.filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
        let value = values.next().with_context(|| format!("it says no {key}"))?;
        anyhow::Ok(value.trim().to_owned())
    };
    let name = path.file_stem().unwrap_or_default();
    let injected = header("injected")?;
    let injected = injected.split(' ').filter(|name| *name != "none");
    Ok(Fixture {
        name: name.to_string_lossy().into_owned(),
        kind: header("kind")?,
        injected: injected.map(str::to_owned).collect(),
        sent: header("sent")? == "yes",
        pod: serde_saphyr::from_str(&text)?,
    })
}
