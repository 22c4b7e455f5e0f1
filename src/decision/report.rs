//! A report: the results of one pass of all checks over an object.

use std::fmt;

use json_patch::PatchOperation;

use super::facts::{Lookup, LookupError, Stop};
use super::finding::{FieldPath, Finding};
use super::wait::{Wait, WaitKind};

/// The results of one pass of all checks over an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The problems found.
    pub findings: Vec<Finding>,
    /// The facts to look up before the pass is repeated.
    pub needs: Vec<Lookup>,
    /// The facts whose look-up failed.
    pub unknowns: Vec<(Lookup, LookupError)>,
    /// What is not known yet and will be, without another look-up in this review.
    pub waits: Vec<Wait>,
    /// The changes of a mutating decision.
    pub patch: Vec<PatchOperation>,
    /// Messages for the user although no rule was broken.
    pub notes: Vec<Note>,
    /// Whether nothing was checked, because the operator wants that.
    pub is_unjudged: bool,
}

/// A message for the user that is not about a broken rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The field that the note is about; empty for the whole object.
    pub path: FieldPath,
    /// The message. Never contains the content of a Secret.
    pub message: String,
}

/// Writes `path: message`.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, message } = self;
        if !path.segments().is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(message)
    }
}

impl Report {
    /// Adds a finding.
    pub fn add_finding(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Adds what the decision waits for.
    pub fn wait(&mut self, kind: WaitKind, message: impl Into<String>) {
        let message = message.into();
        self.waits.push(Wait { kind, message });
    }

    /// Adds a note.
    pub fn note(&mut self, path: FieldPath, message: impl Into<String>) {
        let message = message.into();
        self.notes.push(Note { path, message });
    }

    /// Records the result of a check: a check that stopped adds a need or an unknown, each only
    /// once.
    pub fn record(&mut self, result: Result<(), Stop>) {
        match result {
            Ok(()) => {}
            Err(Stop::Need(lookup)) => {
                if !self.needs.contains(&lookup) {
                    self.needs.push(lookup);
                }
            }
            Err(Stop::Unknown(lookup, reason)) => {
                if !self.unknowns.iter().any(|(known, _)| *known == lookup) {
                    self.unknowns.push((lookup, reason));
                }
            }
        }
    }
}
