//! The Kubernetes objects of some YAML files, by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backup_objects::BackupObjects;
use super::bucket_folders;
use super::input::{self, ReadError};
use super::object::{self, DEFAULT_NAMESPACE, Object};
use super::roles::{self, Roles};
use super::sealed::{ANY_NAMESPACE, StoredSecret};
use super::yaml::{Document, NotYaml, documents};
use crate::decision::{Bundle, Fact, Facts, Key, Lookup, Outcome, SecretKeyRef, TrustedKey};
use crate::names;
use crate::velero::bsl::Bsl;

/// The objects of some files.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    secrets: BTreeMap<Key, StoredSecret>,
    backups: BackupObjects,
    /// The value says whether the ConfigMap is the bundle of a namespace that is held.
    config_maps: BTreeMap<Key, bool>,
    keys: BTreeMap<String, TrustedKey>,
    roles: Roles,
    /// What was left out and why, one sentence each.
    pub notes: Vec<String>,
}

/// Why files could not be read as objects.
#[derive(Debug, thiserror::Error)]
pub enum BadObjects {
    /// A file or folder could not be read.
    #[error(transparent)]
    Io(#[from] ReadError),
    /// A file is not YAML.
    #[error("{}: {error}", file.display())]
    NotYaml {
        /// The file.
        file: PathBuf,
        /// The position and the cause.
        error: NotYaml,
    },
    /// A document is malformed for its kind.
    #[error("{}: document {number}, line {line}: {message}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The number of the document, from 1.
        number: usize,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong. Never a Secret's content.
        message: String,
    },
}

impl Objects {
    /// Reads every `.yaml`, `.yml` and `.json` file at or below `paths`. A folder `buckets` in one of them
    /// holds the buckets of the BackupStorageLocations: `buckets/BUCKET/[PREFIX/]backups/BACKUP/FILE`.
    pub fn read(paths: &[PathBuf]) -> Result<Self, BadObjects> {
        let mut objects = Self::default();
        for path in paths {
            objects.add_buckets(path.join(bucket_folders::FOLDER));
        }
        for_each_document(paths, |file, document| objects.add_document(file, document))?;
        Ok(objects)
    }

    /// Adds the objects in `text`, the content of `file`.
    pub fn add(&mut self, file: &Path, text: &str) -> Result<(), BadObjects> {
        for_each_document_in(file, text, &mut |file, document| {
            self.add_document(file, document)
        })
    }

    /// Adds the buckets in `folder`, each a folder of its name. Their files are read anew for each look-up.
    pub fn add_buckets(&mut self, folder: PathBuf) {
        self.backups.add_buckets(folder);
    }

    /// Returns the answers to `wants`.
    pub fn facts(&self, wants: &[Lookup]) -> Facts {
        let mut facts = Facts::default();
        for want in wants {
            facts.insert(want.clone(), self.look_up(want));
        }
        facts
    }

    /// Returns the answer to `lookup`. What the files do not contain does not exist.
    pub fn look_up(&self, lookup: &Lookup) -> Outcome {
        let found = match lookup {
            Lookup::Secret(SecretKeyRef { secret, key }) => {
                let anywhere = || self.secrets.get(&Key::new(ANY_NAMESPACE, &secret.name));
                let stored = self.secrets.get(secret).or_else(anywhere);
                stored.map(|stored| stored.fact(key))
            }
            Lookup::Backup(_)
            | Lookup::BackupsOfSchedule { .. }
            | Lookup::Records { .. }
            | Lookup::SignedBackups { .. }
            | Lookup::LostBackups { .. }
            | Lookup::ListedFiles { .. }
            | Lookup::PodVolumes(_) => return self.backups.look_up(lookup),
            Lookup::TrustedKeys => {
                let keys = self.keys.values().cloned().collect();
                Some(Fact::TrustedKeys(Arc::new(keys)))
            }
            Lookup::Access { user, verb, backup } => {
                Some(Fact::Access(self.roles.allow(user, *verb, backup)))
            }
            Lookup::Bundle(namespace) => {
                let key = Key::new(namespace, names::BUNDLE);
                let held = self.config_maps.get(&key);
                held.map(|&held| Fact::Bundle(Bundle { held }))
            }
        };
        found.map_or(Outcome::Absent, Outcome::Found)
    }

    /// Adds one document. The error says what is wrong, but never a Secret's content.
    pub(super) fn add_document(&mut self, file: &Path, document: &Document) -> Result<(), String> {
        let json = document.to_json();
        let duplicate = match object::read(&json, DEFAULT_NAMESPACE)? {
            Object::Secret(key, secret, hidden) => {
                let duplicate = format!("Secret {key}");
                let stored = StoredSecret::readable(secret, hidden);
                let before = self.secrets.insert(key, stored);
                before
                    .is_some_and(|before| before.is_readable())
                    .then_some(duplicate)
            }
            Object::Sealed(sealed) => {
                for (key, sealed) in sealed {
                    // A readable Secret says more.
                    let stored = StoredSecret::sealed(sealed);
                    self.secrets.entry(key).or_insert(stored);
                }
                None
            }
            Object::Backup(key, backup) => {
                let duplicate = format!("Backup {key}");
                let is_first = self.backups.add(key, *backup);
                (!is_first).then_some(duplicate)
            }
            Object::ConfigMap(key, held) => {
                let duplicate = format!("ConfigMap {key}");
                self.config_maps.insert(key, held).map(|_| duplicate)
            }
            Object::Record(record) => {
                let duplicate = format!("BackupRecord {}", record.name);
                let is_verified = json.pointer("/status/verification").is_some();
                let is_first = self.backups.add_record(*record, is_verified);
                (!is_first).then_some(duplicate)
            }
            Object::TrustedKey(key) => {
                let duplicate = format!("TrustedKey {}", key.name);
                self.keys.insert(key.name.clone(), key).map(|_| duplicate)
            }
            Object::Location(key) => {
                let duplicate = format!("BackupStorageLocation {key}");
                let is_first = self.backups.add_location(key, &Bsl::from_value(&json));
                (!is_first).then_some(duplicate)
            }
            Object::Foreign(api, kind) if api == roles::API_VERSION => {
                if !self.roles.add(&kind, &json)? {
                    self.leave_out(file, document, &format!("{kind} of {api} is left out"));
                }
                None
            }
            Object::Foreign(api, kind)
                if (api.as_str(), kind.as_str()) == ("velero.io/v1", "PodVolumeBackup") =>
            {
                self.backups.add_pod_volume(&json)?;
                None
            }
            Object::Foreign(api, kind) => {
                self.leave_out(file, document, &format!("{kind} of {api} is left out"));
                None
            }
            Object::None => {
                let note = "what has no apiVersion and kind is left out";
                self.leave_out(file, document, note);
                None
            }
        };
        duplicate.map_or(Ok(()), |what| {
            Err(format!(
                "{what} stands here a second time; keep one of them"
            ))
        })
    }

    fn leave_out(&mut self, file: &Path, document: &Document, note: &str) {
        let line = document.first_line();
        self.notes
            .push(format!("{}:{line}: {note}", file.display()));
    }
}

/// Returns the YAML and JSON files at or below `paths`, without those in buckets: these are the files of
/// backups.
pub(super) fn files(paths: &[PathBuf]) -> Vec<Result<PathBuf, ReadError>> {
    let buckets = paths.iter().map(|path| path.join(bucket_folders::FOLDER));
    let buckets: Vec<_> = buckets.collect();
    let mut files = input::files(paths);
    files.retain(|file| {
        let path = match file {
            Ok(path) | Err(ReadError { path, .. }) => path,
        };
        !buckets.iter().any(|bucket| path.starts_with(bucket))
    });
    files
}

/// Calls `take` for every object in the files at or below `paths`. Its error says what is wrong.
pub(super) fn for_each_document(
    paths: &[PathBuf],
    mut take: impl FnMut(&Path, &Document) -> Result<(), String>,
) -> Result<(), BadObjects> {
    for file in files(paths) {
        let file = file?;
        for_each_document_in(&file, &input::read_text(&file)?, &mut take)?;
    }
    Ok(())
}

fn for_each_document_in(
    file: &Path,
    text: &str,
    take: &mut impl FnMut(&Path, &Document) -> Result<(), String>,
) -> Result<(), BadObjects> {
    for document in documents(text) {
        let document = document.map_err(|error| BadObjects::NotYaml {
            file: file.to_owned(),
            error,
        })?;
        for document in document.flatten() {
            take(file, &document).map_err(|message| BadObjects::Malformed {
                file: file.to_owned(),
                number: document.number,
                line: document.first_line(),
                message,
            })?;
        }
    }
    Ok(())
}
