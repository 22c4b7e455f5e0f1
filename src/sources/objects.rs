//! The Kubernetes objects of some YAML files, kept by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::yaml::{Document, NotYaml, documents};
use crate::decision::{Backup, Bundle, Fact, Facts, Key, Lookup, Outcome, Secret};
use crate::names;
use crate::velero::backup;

/// The namespace of an object that names none, as kubectl has it.
const DEFAULT_NAMESPACE: &str = "default";

/// The objects of some files.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    secrets: BTreeMap<Key, Arc<Secret>>,
    backups: BTreeMap<Key, (Backup, Option<String>)>,
    /// And whether each is the bundle of a namespace that is held.
    config_maps: BTreeMap<Key, bool>,
    /// The BackupStorageLocations, for lint.
    pub locations: BTreeMap<Key, Located>,
    /// What was left out and why, a sentence each.
    pub notes: Vec<String>,
}

/// An object and where it stands.
#[derive(Clone, Debug)]
pub struct Located {
    /// The file.
    pub file: PathBuf,
    /// The document in it.
    pub document: Document,
}

/// Why files are no objects.
#[derive(Debug, thiserror::Error)]
pub enum BadObjects {
    /// A file or folder could not be read.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not YAML.
    #[error("{}: {error}", file.display())]
    NotYaml {
        /// The file.
        file: PathBuf,
        /// Where and why.
        error: NotYaml,
    },
    /// A document is not the object that it says it is.
    #[error("{}: document {number}, line {line}: {message}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Which document, from 1.
        number: usize,
        /// The line, from 1.
        line: u64,
        /// What is wrong. Never a Secret's content.
        message: String,
    },
}

impl Objects {
    /// Reads every `.yaml`, `.yml` and `.json` file at or below `paths`.
    pub fn read(paths: &[PathBuf]) -> Result<Self, BadObjects> {
        let mut objects = Self::default();
        for file in files(paths)? {
            let text = std::fs::read_to_string(&file).map_err(|error| BadObjects::Io {
                path: file.clone(),
                error,
            })?;
            objects.add(&file, &text)?;
        }
        Ok(objects)
    }

    /// Adds the objects in `text`, the content of `file`.
    pub fn add(&mut self, file: &Path, text: &str) -> Result<(), BadObjects> {
        let documents = documents(text).map_err(|error| BadObjects::NotYaml {
            file: file.to_owned(),
            error,
        })?;
        for document in documents.into_iter().flat_map(Document::flatten) {
            let (number, line) = (document.number, document.first_line());
            self.add_document(file, document)
                .map_err(|message| BadObjects::Malformed {
                    file: file.to_owned(),
                    number,
                    line,
                    message,
                })?;
        }
        Ok(())
    }

    /// The answers to `wants`.
    pub fn facts(&self, wants: &[Lookup]) -> Facts {
        let mut facts = Facts::default();
        for want in wants {
            facts.insert(want.clone(), self.look_up(want));
        }
        facts
    }

    /// The answer to `lookup`: a folder knows all there is.
    pub fn look_up(&self, lookup: &Lookup) -> Outcome {
        let found = match lookup {
            Lookup::Secret(key) => self.secrets.get(key).cloned().map(Fact::Secret),
            Lookup::Backup(key) => self
                .backups
                .get(key)
                .map(|(backup, _)| Fact::Backup(Arc::new(backup.clone()))),
            Lookup::BackupsOfSchedule {
                namespace,
                schedule,
            } => {
                let backups = self.backups.iter().filter(|(key, (_, of))| {
                    key.namespace == *namespace && of.as_ref() == Some(schedule)
                });
                let backups = backups.map(|(_, (backup, _))| backup.clone()).collect();
                Some(Fact::Backups(Arc::new(backups)))
            }
            Lookup::Bundle(namespace) => {
                let key = Key::new(namespace, names::BUNDLE);
                let held = self.config_maps.get(&key);
                held.map(|&held| Fact::Bundle(Bundle { held }))
            }
        };
        found.map_or(Outcome::Absent, Outcome::Found)
    }

    fn add_document(&mut self, file: &Path, document: Document) -> Result<(), String> {
        let object = document.to_json();
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let (api, kind) = (text("/apiVersion"), text("/kind"));
        let (Some(api), Some(kind)) = (api, kind) else {
            // Values of a chart, a patch, another tool's settings.
            let line = document.first_line();
            let note = "what has no apiVersion and kind is left out";
            self.notes
                .push(format!("{}:{line}: {note}", file.display()));
            return Ok(());
        };
        let name = text("/metadata/name").unwrap_or_default();
        let key = Key::new(
            text("/metadata/namespace").unwrap_or(DEFAULT_NAMESPACE),
            name,
        );
        let known = matches!(
            (api, kind),
            ("v1", "Secret" | "ConfigMap") | ("velero.io/v1", "Backup" | "BackupStorageLocation")
        );
        if !known {
            let line = document.first_line();
            self.notes.push(format!(
                "{}:{line}: {kind} of {api} is left out",
                file.display()
            ));
            return Ok(());
        }
        if name.is_empty() {
            return Err(format!("the {kind} has no metadata.name"));
        }
        let twice = match kind {
            "Secret" => self
                .secrets
                .insert(key.clone(), Arc::new(secret(&object)?))
                .is_some(),
            "Backup" => self
                .backups
                .insert(key.clone(), backup::read(&object))
                .is_some(),
            "BackupStorageLocation" => {
                let located = Located {
                    file: file.to_owned(),
                    document,
                };
                self.locations.insert(key.clone(), located).is_some()
            }
            _ => {
                let annotations = object.pointer("/metadata/annotations");
                let held = annotations.is_some_and(|all| all.get(names::bundle::HOLD).is_some());
                self.config_maps.insert(key.clone(), held).is_some()
            }
        };
        if twice {
            return Err(format!(
                "{kind} {key} stands here a second time; keep one of them"
            ));
        }
        Ok(())
    }
}

/// The YAML and JSON files at or below `paths`, sorted, hidden ones left out.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, BadObjects> {
    let mut files = Vec::new();
    for path in paths {
        let io = |error| BadObjects::Io {
            path: path.clone(),
            error,
        };
        if !std::fs::metadata(path).map_err(io)?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut below = Vec::new();
        for entry in std::fs::read_dir(path).map_err(io)? {
            let entry = entry.map_err(io)?.path();
            let hidden = entry
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            let yaml = entry
                .extension()
                .is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
            // A link to a folder may lead in a circle; what is no file, such as a pipe, may never
            // end. Links to files are how kubelet lays out volumes.
            let is_link = std::fs::symlink_metadata(&entry).map_err(io)?.is_symlink();
            if !hidden && (yaml && entry.is_file() || entry.is_dir() && !is_link) {
                below.push(entry);
            }
        }
        below.sort();
        files.extend(self::files(&below)?);
    }
    Ok(files)
}

/// The data of a Secret: `data` in base64, and `stringData` which wins, as in the API server.
fn secret(object: &Value) -> Result<Secret, String> {
    let of = |field| {
        object
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    };
    let mut secret = Secret::default();
    for (key, value) in of("data") {
        let text = value
            .as_str()
            .ok_or_else(|| format!("data.{key} is not a text"))?;
        // The API server ignores line breaks in base64; YAML folds long values into lines.
        let compact: String = text.split_ascii_whitespace().collect();
        let bytes = STANDARD
            .decode(compact)
            .map_err(|_| format!("data.{key} is not base64"))?;
        secret.data.insert(key.clone(), bytes);
    }
    for (key, value) in of("stringData") {
        let text = value
            .as_str()
            .ok_or_else(|| format!("stringData.{key} is not a text"))?;
        secret.data.insert(key.clone(), text.as_bytes().to_vec());
    }
    Ok(secret)
}
