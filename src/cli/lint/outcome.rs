//! All that lint has to say, before it is written in one format or another.

use std::path::PathBuf;

use crate::decision::{FieldPath, Finding, Key, Severity};
use crate::sources::manifests::Remark;

/// All that lint has to say.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How many BackupStorageLocations were judged.
    pub(super) locations: usize,
    /// The findings, in the order of the files.
    pub(super) findings: Vec<LocatedFinding>,
    /// What to know beside them.
    pub(super) notes: Vec<Remark>,
    /// What could not be read.
    pub(super) errors: Vec<Remark>,
    /// How many documents are of kinds that lint does not look at.
    pub(super) skipped: usize,
    /// How many documents are templates.
    pub(super) templates: usize,
}

/// A finding and where it is.
#[derive(Debug)]
pub(super) struct LocatedFinding {
    /// The file.
    pub(super) file: PathBuf,
    /// The line, from 1.
    pub(super) line: u64,
    /// The BackupStorageLocation.
    pub(super) key: Key,
    /// What it does.
    pub(super) severity: Severity,
    /// Where in the document.
    pub(super) path: FieldPath,
    /// The rule, what is wrong and what to do.
    pub(super) finding: Finding,
    /// The file and the line of the Secret that it is about, if that was read too.
    pub(super) secret: Option<(PathBuf, u64)>,
    /// What to write or to run, if it was asked for; several lines.
    pub(super) hint: Option<String>,
}

impl Outcome {
    /// How many findings deny.
    pub(super) fn denials(&self) -> usize {
        self.count(Severity::Deny)
    }

    /// How many findings warn.
    pub(super) fn warnings(&self) -> usize {
        self.count(Severity::Warn)
    }

    fn count(&self, severity: Severity) -> usize {
        let has_severity = |found: &&LocatedFinding| found.severity == severity;
        self.findings.iter().filter(has_severity).count()
    }

    /// What is said of documents that are only counted.
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
