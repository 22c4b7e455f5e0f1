//! Manifests as they are kept in a repository, for lint: many independent files, the same object in
//! several of them, and many files that are not manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::input::{self, ReadError};
use super::object::{self, Object};
use super::placeholder::placeholder;
use super::sealed::{ANY_NAMESPACE, StoredSecret};
use super::yaml::{Document, NotYaml, documents};
use crate::decision::{Key, Secret};

mod configuration;
mod file_view;
mod kustomization;
mod located;
mod reflected;

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
    /// The line of the first location with a name in a file.
    first_lines: BTreeMap<(PathBuf, Key), u64>,
    /// By name, because a Secret may name no namespace.
    secrets: BTreeMap<String, Vec<Stored>>,
    /// The ConfigMaps.
    config_maps: BTreeSet<Key>,
}

/// The namespace of the objects in a file.
#[derive(Clone, Copy, Debug)]
enum Namespace<'a> {
    /// Of those that name none, if the user said so.
    Default(Option<&'a str>),
    /// Of all: a kustomization sets it.
    Of(&'a str),
}

/// A Secret and its position.
#[derive(Clone, Debug)]
struct Stored {
    file: PathBuf,
    /// Empty if it names none or may be in any: it matches what stands beside it.
    namespace: String,
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
        let files = input::files(&paths);
        let readable: Vec<_> = files.iter().flatten().cloned().collect();
        let namespaces = kustomization::namespaces(&readable);
        for file in files {
            let text = file.and_then(|file| Ok((input::read_text(&file)?, file)));
            match text {
                Ok((text, file)) => {
                    let is_named = named.contains(&input::identity(&file));
                    let namespace = namespaces
                        .get(&file)
                        .map_or(Namespace::Default(namespace), |namespace| {
                            Namespace::Of(namespace)
                        });
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
            Ok(text) => self.add(name, &text, Namespace::Default(namespace), true),
            Err(error) => self.add_read_error(&ReadError {
                path: name.to_owned(),
                error,
            }),
        }
    }

    /// Adds the objects in `text`, the content of `file`. `is_named` says that a user named the
    /// file.
    fn add(&mut self, file: &Path, text: &str, namespace: Namespace<'_>, is_named: bool) {
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

    fn add_document(&mut self, file: &Path, document: Document, namespace: Namespace<'_>) {
        // Every location in it shares the document.
        let document = Arc::new(document);
        let mut json = document.to_json();
        let line = document.first_line();
        let namespace = match namespace {
            Namespace::Default(namespace) => namespace,
            Namespace::Of(namespace) => {
                set_namespace(&mut json, namespace);
                Some(namespace)
            }
        };
        match object::read(&json, namespace.unwrap_or(ANY_NAMESPACE)) {
            Ok(Object::Secret(key, secret, hidden)) => {
                self.add_values(file, &document, &with_decoded_data(&json, &secret), None);
                let secret = StoredSecret::readable(secret, hidden);
                for copy in reflected::namespaces(&json) {
                    let key = Key::new(&copy, &key.name);
                    self.add_secret(key, file, Arc::clone(&document), Some(secret.clone()));
                }
                self.add_secret(key, file, document, Some(secret));
            }
            Ok(Object::Sealed(sealed)) => {
                self.add_configuration(file, &document, &json, namespace);
                for (key, sealed) in sealed {
                    let secret = StoredSecret::sealed(sealed);
                    self.add_secret(key, file, Arc::clone(&document), Some(secret));
                }
            }
            Ok(Object::Location(key)) => {
                self.add_location(Located::manifest(file, key, json, document));
            }
            Ok(Object::None | Object::Foreign(..)) => {
                if !self.add_configuration(file, &document, &json, namespace) {
                    self.leave_out(file, line, &json);
                }
            }
            Ok(Object::ConfigMap(key, _)) => {
                // The release that reads it may be in any namespace.
                self.add_values(file, &document, &json, None);
                self.config_maps.insert(key);
            }
            Ok(Object::Backup(..) | Object::Record(_) | Object::TrustedKey(_)) => {}
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
        document: Arc<Document>,
        secret: Option<StoredSecret>,
    ) {
        let is_readable =
            |secret: &Option<StoredSecret>| secret.as_ref().is_some_and(StoredSecret::is_readable);
        let all = self.secrets.entry(key.name.clone()).or_default();
        let before = all.iter().position(|other| {
            other.file == file
                && other.namespace == key.namespace
                && is_readable(&other.secret)
                && is_readable(&secret)
        });
        if let Some(before) = before {
            let first = all.remove(before).document.first_line();
            let message =
                format!("Secret {key} stands in line {first} too; a cluster keeps the last one");
            let line = Some(document.first_line());
            self.notes.push(remark(file, line, message));
        }
        all.push(Stored {
            file: file.to_owned(),
            namespace: key.namespace,
            document,
            secret,
        });
    }

    fn add_location(&mut self, location: Located) {
        let identity = (location.file.clone(), location.key.clone());
        let first = *self
            .first_lines
            .entry(identity)
            .or_insert_with(|| location.first_line());
        if first != location.first_line() {
            let message = format!(
                "BackupStorageLocation {} stands in line {first} too; a cluster keeps the last one",
                location.key,
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
        let is_kustomization = json.get("kind").is_some_and(|kind| kind == "Kustomization")
            || kustomization::is_kustomization(file);
        let is_flux = json
            .get("apiVersion")
            .and_then(|api| api.as_str())
            .is_some_and(|api| api.starts_with("kustomize.toolkit.fluxcd.io"));
        if is_kustomization && !is_flux {
            let message = "of a kustomization, only the namespace of the files that it lists is \
                           applied; lint what it makes: `kustomize build DIR | velero-trust lint -`";
            self.notes.push(remark(file, Some(line), message));
        } else {
            self.left_out += 1;
        }
    }

    fn add_read_error(&mut self, ReadError { path, error }: &ReadError) {
        let message = format!("cannot be read: {error}");
        self.errors.push(remark(path, None, message));
    }

    /// Returns the objects from the viewpoint of `location`.
    pub fn seen_from<'m>(&'m self, location: &'m Located) -> FileView<'m> {
        FileView {
            manifests: self,
            file: &location.file,
            any_namespace: !location.names_namespace,
        }
    }
}

/// Returns a Secret with its data as text, where it is text.
fn with_decoded_data(object: &serde_json::Value, secret: &Secret) -> serde_json::Value {
    let mut object = object.clone();
    let data = object.get_mut("data");
    for (key, value) in data
        .and_then(serde_json::Value::as_object_mut)
        .into_iter()
        .flatten()
    {
        let decoded = secret
            .data
            .get(key)
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        if let Some(decoded) = decoded {
            *value = decoded.into();
        }
    }
    object
}

/// Sets the namespace of an object.
fn set_namespace(object: &mut serde_json::Value, namespace: &str) {
    let metadata = object.get_mut("metadata");
    if let Some(metadata) = metadata.and_then(serde_json::Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), namespace.into());
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
