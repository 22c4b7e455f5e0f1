//! Manifests as they stand in a repository, for lint: many files that are each somebody's, with the
//! same object in several of them, and with much that is no manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::helm_values;
use super::input::{self, ReadError};
use super::object::{self, DEFAULT_NAMESPACE, Object};
use super::yaml::{Document, NotYaml, documents};
use crate::decision::{Fact, Key};

mod file_view;
mod located;

pub use file_view::FileView;
pub use located::Located;

/// The path that stands for the standard input.
pub const STDIN: &str = "-";

/// What findings in the standard input are said to be in.
const STDIN_NAME: &str = "stdin";

/// Words of what lint is about; a file with none of them need not be readable.
const RELEVANT_WORDS: [&str; 3] = ["BackupStorageLocation", "backupStorageLocation", "Secret"];

/// All that was read.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// The BackupStorageLocations.
    pub locations: Vec<Located>,
    /// What to know of single files.
    pub notes: Vec<Remark>,
    /// What could not be read.
    pub errors: Vec<Remark>,
    /// How many files were read.
    pub files: usize,
    /// How many documents are of kinds that lint does not look at.
    pub left_out: usize,
    /// How many documents are templates without a BackupStorageLocation in them.
    pub templates: usize,
    secrets: BTreeMap<Key, Vec<Stored>>,
}

/// A Secret and where it stands.
#[derive(Clone, Debug)]
struct Stored {
    file: PathBuf,
    document: Arc<Document>,
    /// None of one that is broken, which was said.
    fact: Option<Fact>,
}

/// Something about a place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1, if it is about one.
    pub line: Option<u64>,
    /// What there is to say. Never a Secret's content.
    pub message: String,
}

impl Manifests {
    /// Reads the files at or below `paths`, of which [`STDIN`] is `stdin`. Objects that name no
    /// namespace are in `namespace`. What cannot be read stops nothing.
    pub fn read(paths: &[PathBuf], stdin: impl Read, namespace: Option<&str>) -> Self {
        let mut manifests = Self::default();
        let (stdins, paths): (Vec<_>, Vec<_>) = paths
            .iter()
            .cloned()
            .partition(|path| path.as_os_str() == STDIN);
        if !stdins.is_empty() {
            manifests.read_stdin(stdin, namespace);
        }
        let named: BTreeSet<_> = paths.iter().map(|path| input::identity(path)).collect();
        for file in input::files(&paths) {
            let text = file.and_then(|file| Ok((input::read_text(&file)?, file)));
            match text {
                Ok((text, file)) => {
                    let is_named = named.contains(&input::identity(&file));
                    manifests.add(&file, &text, namespace, is_named);
                }
                Err(error) => manifests.add_read_error(&error),
            }
        }
        manifests
    }

    fn read_stdin(&mut self, stdin: impl Read, namespace: Option<&str>) {
        let name = Path::new(STDIN_NAME);
        match input::read_limited(stdin) {
            Ok(text) if text.trim().is_empty() => {
                let message = "is empty: did the command before it fail?";
                self.errors.push(remark(name, None, message));
            }
            Ok(text) => self.add(name, &text, namespace, true),
            Err(error) => self.add_read_error(&ReadError {
                path: name.to_owned(),
                error,
            }),
        }
    }

    /// Adds what is in `text`, the content of `file`, which somebody named if `is_named`.
    fn add(&mut self, file: &Path, text: &str, namespace: Option<&str>, is_named: bool) {
        self.files += 1;
        let is_ours = is_named || RELEVANT_WORDS.iter().any(|word| text.contains(word));
        for document in documents(text) {
            match document {
                Ok(document) => {
                    for document in document.flatten() {
                        self.add_document(file, document, namespace);
                    }
                }
                Err(NotYaml { is_template, .. }) if is_template && !mentions_location(text) => {
                    self.templates += 1;
                }
                Err(error) => {
                    let remark = remark(file, Some(error.line), error.message);
                    if error.is_template || !is_ours {
                        self.notes.push(remark);
                    } else {
                        self.errors.push(remark);
                    }
                }
            }
        }
    }

    fn add_document(&mut self, file: &Path, document: Document, namespace: Option<&str>) {
        let json = document.to_json();
        let line = document.first_line();
        let own = namespace.unwrap_or(DEFAULT_NAMESPACE);
        match object::read(&json, own) {
            Ok(Object::Secret(key, secret)) => {
                self.add_secret(key, file, document, Some(Fact::Secret(Arc::new(secret))));
            }
            Ok(Object::Sealed(sealed)) => {
                for (key, sealed) in sealed {
                    let fact = Fact::Sealed(Arc::new(sealed));
                    self.add_secret(key, file, document.clone(), Some(fact));
                }
            }
            Ok(Object::Location(key)) => {
                self.add_location(Located::manifest(file, key, document));
            }
            Ok(Object::None | Object::Foreign(..)) => {
                let values = helm_values::read(&json, namespace);
                if !values.any {
                    self.leave_out(file, line, &json);
                }
                for (path, message) in values.notes {
                    let line = document.line_of(&path);
                    let message = format!("{path}: {message}");
                    self.notes.push(remark(file, Some(line), message));
                }
                for entry in values.entries {
                    self.add_location(Located::values(file, entry, document.clone()));
                }
            }
            Ok(Object::Backup(..) | Object::ConfigMap(..)) => {}
            Err(wrong) => {
                let line = Some(document.line_of(&wrong.at));
                let Some(key) = wrong.secret else {
                    return self.errors.push(remark(file, line, wrong.message));
                };
                let message = format!("Secret {key}: {}", wrong.message);
                self.errors.push(remark(file, line, message));
                self.add_secret(key, file, document, None);
            }
        }
    }

    fn add_secret(&mut self, key: Key, file: &Path, document: Document, fact: Option<Fact>) {
        self.secrets.entry(key).or_default().push(Stored {
            file: file.to_owned(),
            document: Arc::new(document),
            fact,
        });
    }

    fn add_location(&mut self, location: Located) {
        let twice = self
            .locations
            .iter()
            .find(|other| other.key == location.key && other.file == location.file);
        if let Some(first) = twice {
            let message = format!(
                "BackupStorageLocation {} stands in line {} too; a cluster keeps the last one",
                location.key,
                first.first_line()
            );
            let line = Some(location.first_line());
            self.notes.push(remark(&location.file, line, message));
        }
        if location.is_template() {
            let message = format!(
                "BackupStorageLocation {} is a template and was not judged; render it first",
                location.key
            );
            let line = Some(location.first_line());
            self.notes.push(remark(&location.file, line, message));
        } else {
            self.locations.push(location);
        }
    }

    fn leave_out(&mut self, file: &Path, line: u64, json: &serde_json::Value) {
        let name = file.file_name().and_then(|name| name.to_str());
        let is_kustomization = json.get("kind").is_some_and(|kind| kind == "Kustomization")
            || matches!(name, Some("kustomization.yaml" | "kustomization.yml"));
        let is_flux = json
            .get("apiVersion")
            .and_then(|api| api.as_str())
            .is_some_and(|api| api.starts_with("kustomize.toolkit.fluxcd.io"));
        if is_kustomization && !is_flux {
            let message = "a kustomization's namespace, patches and generators are not applied; \
                           lint what it makes: `kustomize build DIR | velero-trust lint -`";
            self.notes.push(remark(file, Some(line), message));
        } else {
            self.left_out += 1;
        }
    }

    fn add_read_error(&mut self, ReadError { path, error }: &ReadError) {
        let message = format!("cannot be read: {error}");
        self.errors.push(remark(path, None, message));
    }

    /// The objects as `file` sees them.
    pub const fn seen_from<'m>(&'m self, file: &'m Path) -> FileView<'m> {
        let manifests = self;
        FileView { manifests, file }
    }
}

fn mentions_location(text: &str) -> bool {
    text.contains("BackupStorageLocation")
}

fn remark(file: &Path, line: Option<u64>, message: impl Into<String>) -> Remark {
    Remark {
        file: file.to_owned(),
        line,
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
