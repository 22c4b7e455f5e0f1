//! Reads the files of the golden cases. `tests/cases/README.md` describes them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// One golden case.
pub(crate) struct Case {
    /// The name, such as `VT001-secret-absent/create`.
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) request: Request,
    pub(crate) objects: String,
    pub(crate) want: Want,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Request {
    #[serde(default = "create")]
    pub(crate) operation: String,
    /// The path of the webhook, where the resource has several.
    pub(crate) webhook: Option<String>,
    #[serde(default)]
    pub(crate) dry_run: bool,
    #[serde(default = "now")]
    pub(crate) now: String,
    /// Values of `--rule`.
    #[serde(default)]
    pub(crate) rules: Vec<String>,
    /// Value of `--restores`.
    #[serde(default)]
    pub(crate) restores: Option<String>,
    /// Whether `--accept-partial` is given.
    #[serde(default)]
    pub(crate) accept_partial: bool,
    #[serde(default)]
    pub(crate) unreadable: Vec<String>,
    /// Text to repeat, for an `objects.yaml` that is larger than a file in a repository should be.
    pub(crate) repeat: Option<Repeat>,
    #[serde(default)]
    pub(crate) object: Value,
    #[serde(default)]
    pub(crate) old_object: Value,
}

/// Replaces every `marker` by `text`, repeated `times` times.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeat {
    pub(crate) marker: String,
    pub(crate) text: String,
    pub(crate) times: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Want {
    /// `None` if the answer is an HTTP error.
    pub(crate) allowed: Option<bool>,
    pub(crate) code: Option<u16>,
    /// Whether the answer has a patch. `tests/offline/pods.rs` tests its content.
    #[serde(default)]
    pub(crate) patched: bool,
    /// Whether a Restore that begins is stopped. Its errors are in `denied`, without fields.
    #[serde(default)]
    pub(crate) stopped: bool,
    /// Fragments of the HTTP error's message.
    #[serde(default)]
    pub(crate) says: Vec<String>,
    #[serde(default)]
    pub(crate) denied: Vec<Said>,
    #[serde(default)]
    pub(crate) warned: Vec<Said>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    pub(crate) rule: String,
    pub(crate) field: String,
    #[serde(default)]
    pub(crate) says: Vec<String>,
}

fn create() -> String {
    "CREATE".to_owned()
}

fn now() -> String {
    "2026-07-28T12:00:00Z".to_owned()
}

/// Returns all cases, sorted by name.
pub(crate) fn all() -> Vec<Case> {
    let root = Path::new("tests/cases");
    let mut cases = Vec::new();
    for group in folders(root) {
        for folder in folders(&group) {
            cases.push(Case::read(root, &folder));
        }
    }
    cases
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

impl Case {
    fn read(root: &Path, folder: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(folder.join(name));
        let name = folder.strip_prefix(root).unwrap().display().to_string();
        let parsed = |file: &str| {
            let text = text(file).unwrap_or_else(|error| panic!("{name}/{file}: {error}"));
            (text, format!("{name}/{file}"))
        };
        let (request, file) = parsed("request.yaml");
        let request: Request =
            serde_saphyr::from_str(&request).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut objects = text("objects.yaml").unwrap_or_default();
        if let Some(Repeat {
            marker,
            text,
            times,
        }) = &request.repeat
        {
            objects = objects.replace(marker, &text.repeat(*times));
        }
        let (want, file) = parsed("want.yaml");
        let want = serde_saphyr::from_str(&want).unwrap_or_else(|error| panic!("{file}: {error}"));
        Self {
            name,
            folder: folder.to_owned(),
            request,
            objects,
            want,
        }
    }

    /// Returns the id of the rule that the case is about, if any.
    pub(crate) fn rule(&self) -> Option<&str> {
        self.name
            .split('-')
            .next()
            .filter(|id| id.starts_with("VT"))
    }
}
