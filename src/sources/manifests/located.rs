//! A BackupStorageLocation and its position in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::decision::{FieldPath, Key, Segment};
use crate::sources::helm_values::Entry;
use crate::sources::oadp;
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
    /// The paths in the document of values that Velero's chart drops, and how to fix that.
    pub dropped: Vec<(FieldPath, String)>,
    document: Arc<Document>,
    layout: Layout,
}

/// Where the fields of the object stand in the document.
#[derive(Clone, Debug)]
enum Layout {
    /// The document is the object.
    Object,
    /// Velero's chart renders the object from the values at this path.
    Values(FieldPath),
    /// Its spec is at this path.
    Spec(FieldPath),
}

impl Located {
    /// Creates one from a document that is the `object` itself.
    pub(super) fn manifest(
        file: &Path,
        mut key: Key,
        object: Value,
        document: Arc<Document>,
    ) -> Self {
        let names_namespace = key.namespace != ANY_NAMESPACE;
        if !names_namespace {
            DEFAULT_NAMESPACE.clone_into(&mut key.namespace);
        }
        Self {
            file: file.to_owned(),
            key,
            names_namespace,
            object,
            dropped: Vec::new(),
            document,
            layout: Layout::Object,
        }
    }

    /// Creates one that Velero's chart renders from values in a document.
    pub(super) fn values(file: &Path, entry: Entry, document: Arc<Document>) -> Self {
        Self {
            file: file.to_owned(),
            key: entry.key,
            names_namespace: entry.names_namespace,
            object: entry.object,
            dropped: entry.dropped,
            document,
            layout: Layout::Values(entry.path),
        }
    }

    /// Creates one that OADP makes of a part of a document.
    pub(super) fn oadp(file: &Path, entry: oadp::Entry, document: Arc<Document>) -> Self {
        let mut located = Self::manifest(file, entry.key, entry.object, document);
        located.layout = Layout::Spec(entry.spec);
        located
    }

    /// Returns the document that it is, or is a part of.
    #[cfg(test)]
    pub(super) fn document(&self) -> &Document {
        &self.document
    }

    /// Returns whether Velero's chart renders it from values.
    pub const fn is_values(&self) -> bool {
        matches!(self.layout, Layout::Values(_))
    }

    /// Translates `path` of the object to a path of the document.
    pub fn path_of(&self, path: &FieldPath) -> FieldPath {
        let is =
            |segment: &Segment, name| matches!(segment, Segment::Field(field) if field == name);
        let entry = match &self.layout {
            Layout::Object => return path.clone(),
            Layout::Values(entry) => entry,
            Layout::Spec(spec) => {
                let below = match path.segments() {
                    [first, below @ ..] if is(first, "spec") => below,
                    _ => &[],
                };
                return spec.clone().then(below);
            }
        };
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
        self.line_at(&self.path_of(path))
    }

    /// Returns the line in the file, counted from 1, of the value at `path` of the document.
    pub fn line_at(&self, path: &FieldPath) -> u64 {
        self.document.line_of(path)
    }

    /// Returns the line in the file, counted from 1, where the object begins.
    pub fn first_line(&self) -> u64 {
        match &self.layout {
            Layout::Values(path) | Layout::Spec(path) => self.document.line_of(path),
            Layout::Object => self.document.first_line(),
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
