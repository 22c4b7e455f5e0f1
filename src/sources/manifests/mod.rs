//! Manifests as they are kept in a repository, for lint: many independent files, the same object in
//! several of them, and many files that are not manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::helm_values;
use super::input::{self, ReadError};
use super::object::{self, DEFAULT_NAMESPACE, Object};
use super::placeholder::placeholder;
use super::sealed::StoredSecret;
use super::yaml::{Document, NotYaml, documents};
use crate::decision::Key;

mod file_view;
mod located;

pub use file_view::FileView;
pub use located::Located;

/// The path that stands for standard input.
pub const STDIN: &str = "-";

/// The file name in findings about standard input.
const STDIN_NAME: &str = "stdin";

/// Words that lint is about. A file that contains none of them need not be valid YAML.
const RELEVANT_WORDS: [&str; 3] = ["BackupStorageLocation", "backupStorageLocation", "Secret"];

/// Everything that was read.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// The BackupStorageLocations.
    pub locations: Vec<Located>,
    /// Notes about single files.
    pub notes: Vec<Remark>,
    /// What could not be read.
    pub errors: Vec<Remark>,
    /// Number of files that were read.
    pub files: usize,
    /// Number of documents of kinds that lint ignores.
    pub left_out: usize,
    /// Number of documents that are templates and mention no BackupStorageLocation.
    pub templates: usize,
    secrets: BTreeMap<Key, Vec<Stored>>,
}

/// A Secret and its position.
#[derive(Clone, Debug)]
struct Stored {
    file: PathBuf,
    document: Arc<Document>,
    /// None if the Secret is malformed, which was already reported.
    secret: Option<StoredSecret>,
}

/// A remark about a position in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1, if the remark is about one.
    pub line: Option<u64>,
    /// The text. Never a Secret's content.
    pub message: String,
}

impl Manifests {
    /// Reads the files at or below `paths`, and `stdin` for [`STDIN`]. An object without a
    /// namespace gets `namespace`. Unreadable files do not stop the others.
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

    /// Adds the objects in `text`, the content of `file`. `is_named` says that a user named the
    /// file.
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
            Ok(Object::Secret(key, secret, hidden)) => {
                let secret = StoredSecret::readable(secret, hidden);
                self.add_secret(key, file, document, Some(secret));
            }
            Ok(Object::Sealed(sealed)) => {
                for (key, sealed) in sealed {
                    let secret = StoredSecret::sealed(sealed);
                    self.add_secret(key, file, document.clone(), Some(secret));
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
            Err(invalid) => {
                let line = Some(document.line_of(&invalid.at));
                let Some(key) = invalid.secret else {
                    return self.errors.push(remark(file, line, invalid.message));
                };
                let message = format!("Secret {key}: {}", invalid.message);
                self.errors.push(remark(file, line, message));
                self.add_secret(key, file, document, None);
            }
        }
    }

    fn add_secret(
        &mut self,
        key: Key,
        file: &Path,
        document: Document,
        secret: Option<StoredSecret>,
    ) {
        self.secrets.entry(key).or_default().push(Stored {
            file: file.to_owned(),
            document: Arc::new(document),
            secret,
        });
    }

    fn add_location(&mut self, location: Located) {
        let duplicate = self
            .locations
            .iter()
            .find(|other| other.key == location.key && other.file == location.file);
        if let Some(first) = duplicate {
            let message = format!(
                "BackupStorageLocation {} stands in line {} too; a cluster keeps the last one",
                location.key,
                first.first_line()
            );
            let line = Some(location.first_line());
            self.notes.push(remark(&location.file, line, message));
        }
        let key = &location.key;
        if let Some(by) = placeholder(&key.namespace) {
            // Without a namespace nothing is known about its Secrets.
            let message = format!(
                "BackupStorageLocation {key} was not judged: its namespace is {by}; lint what \
                 is made of it"
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

    /// Returns the objects from the viewpoint of `file`.
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
