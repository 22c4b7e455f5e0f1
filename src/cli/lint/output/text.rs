//! Writes text with one line per finding.

use std::io::{self, Write};

use super::super::outcome::{LocatedFinding, Outcome};
use super::{format_remark, message};
use crate::velero::text::single_line;

pub(super) fn write(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    for found in &outcome.findings {
        let LocatedFinding {
            file,
            line,
            severity,
            finding,
            hint,
            ..
        } = found;
        let line_text = format!(
            "{}:{line}: {severity}: {} [{}]",
            file.display(),
            message(found),
            finding.rule.id
        );
        writeln!(out, "{}", single_line(&line_text, usize::MAX))?;
        for line in hint.iter().flat_map(|hint| hint.lines()) {
            writeln!(out, "{}", format!("    {line}").trim_end())?;
        }
    }
    for note in &outcome.notes {
        writeln!(out, "{}", format_remark("note: ", note))?;
    }
    for note in outcome.skipped_notes() {
        writeln!(out, "note: {note}")?;
    }
    writeln!(
        out,
        "BackupStorageLocations: {}, denials: {}, warnings: {}",
        outcome.locations,
        outcome.denials(),
        outcome.warnings()
    )
}
