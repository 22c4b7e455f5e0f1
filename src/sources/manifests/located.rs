//! A BackupStorageLocation and where it stands.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::decision::{FieldPath, Key, Segment};
use crate::sources::helm_values::Entry;
use crate::sources::yaml::{Document, is_template};

/// A BackupStorageLocation and where it stands.
#[derive(Clone, Debug)]
pub struct Located {
    /// The file.
    pub file: PathBuf,
    /// Its name.
    pub key: Key,
    /// The object.
    pub object: Value,
    document: Document,
    /// Where its values stand in the document, if it is what Velero's chart makes of them.
    values: Option<FieldPath>,
}

impl Located {
    /// A document that is the object itself.
    pub(super) fn manifest(file: &Path, key: Key, document: Document) -> Self {
        Self {
            file: file.to_owned(),
            key,
            object: document.to_json(),
            document,
            values: None,
        }
    }

    /// What Velero's chart makes of values in a document.
    pub(super) fn values(file: &Path, entry: Entry, document: Document) -> Self {
        Self {
            file: file.to_owned(),
            key: entry.key,
            object: entry.object,
            document,
            values: Some(entry.path),
        }
    }

    /// Whether it is what Velero's chart makes of values.
    pub const fn is_values(&self) -> bool {
        self.values.is_some()
    }

    /// What the document calls `path` of the object.
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

    /// The line of the file, from 1, with the value at `path` of the object; where that is not
    /// there, with the nearest value that holds it.
    pub fn line_of(&self, path: &FieldPath) -> u64 {
        self.document.line_of(&self.path_of(path))
    }

    /// The line of the file, from 1, in which it begins.
    pub fn first_line(&self) -> u64 {
        match &self.values {
            Some(path) => self.document.line_of(path),
            None => self.document.first_line(),
        }
    }

    /// Whether something is still to be put into its texts.
    pub(super) fn is_template(&self) -> bool {
        fn holds(value: &Value) -> bool {
            match value {
                Value::String(text) => is_template(text),
                Value::Array(list) => list.iter().any(holds),
                Value::Object(map) => map.values().any(holds),
                _ => false,
            }
        }
        let of = |field| self.object.get(field).is_some_and(holds);
        of("metadata") || of("spec")
    }
}
