//! A report: all that one pass over an object brought.

use std::fmt;

use json_patch::PatchOperation;

use super::facts::{Lookup, LookupError, Stop};
use super::finding::{FieldPath, Finding};

/// All that the checks of an object brought in one pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The problems.
    pub findings: Vec<Finding>,
    /// The facts to look up before the pass is repeated.
    pub needs: Vec<Lookup>,
    /// The facts that were looked up in vain.
    pub unknowns: Vec<(Lookup, LookupError)>,
    /// What a mutating decision changes, add-only.
    pub patch: Vec<PatchOperation>,
    /// What is said to the person who asked although no rule was broken.
    pub notes: Vec<Note>,
}

/// Something to know that breaks no rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Where in the object; empty for all of it.
    pub path: FieldPath,
    /// What there is to know. Never a Secret's content.
    pub message: String,
}

/// `path: what there is to know`
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
    pub fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Adds a note.
    pub fn note(&mut self, path: FieldPath, message: impl Into<String>) {
        let message = message.into();
        self.notes.push(Note { path, message });
    }

    /// Takes the result of a check: one that stopped leaves a need or an unknown behind.
    pub fn take(&mut self, result: Result<(), Stop>) {
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
