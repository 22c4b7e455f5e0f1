//! The configuration from which other tools make locations: values of Velero's chart, also as text in
//! another object, and OADP's.

use std::path::Path;
use std::sync::Arc;

use super::{Located, Manifests, Namespace, remark};
use crate::decision::FieldPath;
use crate::sources::sealed::StoredSecret;
use crate::sources::yaml::{Document, documents};
use crate::sources::{helm_values, oadp};

impl Manifests {
    /// Adds the locations that another tool makes of a document. Returns whether there are any.
    pub(super) fn add_configuration(
        &mut self,
        file: &Path,
        document: &Arc<Document>,
        json: &serde_json::Value,
        namespace: Option<&str>,
    ) -> bool {
        let oadp = oadp::locations(json, namespace);
        let is_read = self.add_values(file, document, json, namespace) || !oadp.is_empty();
        for entry in oadp {
            self.add_location(Located::oadp(file, entry, Arc::clone(document)));
        }
        is_read
    }

    /// Adds what Velero's chart makes of the values in a document. Returns whether there are any.
    pub(super) fn add_values(
        &mut self,
        file: &Path,
        document: &Arc<Document>,
        json: &serde_json::Value,
        namespace: Option<&str>,
    ) -> bool {
        let values = helm_values::read(json, namespace);
        for (path, message) in values.notes {
            let line = document.line_of(&path);
            let message = format!("{path}: {message}");
            self.notes.push(remark(file, Some(line), message));
        }
        for entry in values.entries {
            self.add_location(Located::values(file, entry, Arc::clone(document)));
        }
        for (key, sealed) in values.credentials {
            let secret = StoredSecret::sealed(sealed);
            self.add_secret(key, file, Arc::clone(document), Some(secret));
        }
        for (path, namespace) in values.objects {
            if let Some(object) = document.at(&path) {
                self.add_document(file, object, Namespace::Default(namespace.as_deref()));
            }
        }
        for (path, text, namespace) in values.texts {
            self.add_text(file, document, &path, &text, namespace.as_deref());
        }
        values.any
    }

    /// Adds the documents in the `text` at a path of a document: values that are kept as one string.
    fn add_text(
        &mut self,
        file: &Path,
        document: &Document,
        path: &FieldPath,
        text: &str,
        namespace: Option<&str>,
    ) {
        let stored = document.at(path).map(|stored| stored.to_json());
        let is_stored = stored.as_ref().and_then(serde_json::Value::as_str) == Some(text);
        // The position of a text is that of its first line. One that was decoded has one line.
        let line = document.line_of(path) - 1;
        for inner in documents(text) {
            match inner {
                Ok(mut inner) => {
                    inner.line = if is_stored {
                        inner.line + line
                    } else {
                        line + 1
                    };
                    inner.is_one_line = !is_stored;
                    for inner in inner.flatten() {
                        self.add_document(file, inner, Namespace::Default(namespace));
                    }
                }
                Err(error) => {
                    let message = format!("{path}: {}", error.message);
                    self.notes
                        .push(remark(file, Some(line + error.line), message));
                }
            }
        }
    }
}
