//! The result of lint, independent of the output format.

use std::path::PathBuf;

use crate::decision::{FieldPath, Finding, Key, Severity};
use crate::sources::manifests::Remark;

/// The result of lint.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Number of BackupStorageLocations that were checked.
    pub(super) locations: usize,
    /// The findings, in the order of the files.
    pub(super) findings: Vec<LocatedFinding>,
    /// Remarks that are not findings.
    pub(super) notes: Vec<Remark>,
    /// What could not be read or checked.
    pub(super) errors: Vec<Remark>,
    /// Number of documents of kinds that lint does not check.
    pub(super) skipped: usize,
    /// Number of documents that are templates.
    pub(super) templates: usize,
}

/// A finding and its location.
#[derive(Debug)]
pub(super) struct LocatedFinding {
    /// The file.
    pub(super) file: PathBuf,
    /// The line, from 1.
    pub(super) line: u64,
    /// The BackupStorageLocation.
    pub(super) key: Key,
    /// Whether it denies or warns.
    pub(super) severity: Severity,
    /// The field in the document.
    pub(super) path: FieldPath,
    /// The rule, the problem and the fix.
    pub(super) finding: Finding,
    /// The file and line of the Secret that it is about, if that was in the input.
    pub(super) secret: Option<(PathBuf, u64)>,
    /// Manifests and commands that fix it, if requested. It may have several lines.
    pub(super) hint: Option<String>,
}

impl Outcome {
    /// Returns the number of findings that deny.
    pub(super) fn denials(&self) -> usize {
        self.count(Severity::Deny)
    }

    /// Returns the number of findings that warn.
    pub(super) fn warnings(&self) -> usize {
        self.count(Severity::Warn)
    }

    fn count(&self, severity: Severity) -> usize {
        let has_severity = |found: &&LocatedFinding| found.severity == severity;
        self.findings.iter().filter(has_severity).count()
    }

    /// Returns notes with the numbers of skipped documents.
    pub(super) fn skipped_notes(&self) -> Vec<String> {
        let counts = [
            (self.skipped, "documents of other kinds that were left out"),
            (
                self.templates,
                "templates that were left out (lint what `helm template` prints)",
            ),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        counts
            .map(|(count, what)| format!("{what}: {count}"))
            .collect()
    }
}
