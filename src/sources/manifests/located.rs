//! A BackupStorageLocation and its position in a file.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::decision::{FieldPath, Key, Segment};
use crate::sources::helm_values::Entry;
use crate::sources::object::DEFAULT_NAMESPACE;
use crate::sources::placeholder::placeholder;
use crate::sources::sealed::ANY_NAMESPACE;
use crate::sources::yaml::Document;

/// A BackupStorageLocation and its position in a file.
#[derive(Clone, Debug)]
pub struct Located {
    /// The file.
    pub file: PathBuf,
    /// Its namespace and name.
    pub key: Key,
    /// Whether the files say which namespace that is.
    pub(super) names_namespace: bool,
    /// The object.
    pub object: Value,
    document: Document,
    /// The path of its values in the document, if Velero's chart renders it from them.
    values: Option<FieldPath>,
}

impl Located {
    /// Creates one from a document that is the `object` itself.
    pub(super) fn manifest(file: &Path, mut key: Key, object: Value, document: Document) -> Self {
        let names_namespace = key.namespace != ANY_NAMESPACE;
        if !names_namespace {
            DEFAULT_NAMESPACE.clone_into(&mut key.namespace);
        }
        Self {
            file: file.to_owned(),
            key,
            names_namespace,
            object,
            document,
            values: None,
        }
    }

    /// Creates one that Velero's chart renders from values in a document.
    pub(super) fn values(file: &Path, entry: Entry, document: Document) -> Self {
        Self {
            file: file.to_owned(),
            key: entry.key,
            names_namespace: entry.names_namespace,
            object: entry.object,
            document,
            values: Some(entry.path),
        }
    }

    /// Returns whether Velero's chart renders it from values.
    pub const fn is_values(&self) -> bool {
        self.values.is_some()
    }

    /// Translates `path` of the object to a path of the document.
    pub fn path_of(&self, path: &FieldPath) -> FieldPath {
        let Some(entry) = &self.values else {
            return path.clone();
        };
        let is =
            |segment: &Segment, name| matches!(segment, Segment::Field(field) if field == name);
        let below = match path.segments() {
            [first, second, below @ ..] if is(first, "spec") && is(second, "objectStorage") => {
                below
            }
            [first, below @ ..] if is(first, "spec") || is(first, "metadata") => below,
            _ => &[],
        };
        entry.clone().then(below)
    }

    /// Returns the line in the file, counted from 1, of the value at `path` of the object, or of
    /// its nearest existing parent.
    pub fn line_of(&self, path: &FieldPath) -> u64 {
        self.document.line_of(&self.path_of(path))
    }

    /// Returns the line in the file, counted from 1, where the object begins.
    pub fn first_line(&self) -> u64 {
        match &self.values {
            Some(path) => self.document.line_of(path),
            None => self.document.first_line(),
        }
    }

    /// Returns the values that another tool replaces, and what they are.
    pub fn placeholders(&self) -> Vec<(FieldPath, &'static str)> {
        fn find(path: &FieldPath, value: &Value, found: &mut Vec<(FieldPath, &'static str)>) {
            match value {
                Value::String(text) => {
                    found.extend(placeholder(text).map(|by| (path.clone(), by)));
                }
                Value::Object(map) => {
                    for (name, value) in map {
                        find(&path.clone().field(name.clone()), value, found);
                    }
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        for field in ["metadata", "spec"] {
            if let Some(value) = self.object.get(field) {
                find(&FieldPath::of(&[field]), value, &mut found);
            }
        }
        found
    }
}
