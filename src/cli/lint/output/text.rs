//! Text, a line per finding.

use std::io::{self, Write};

use super::super::outcome::{Found, Outcome};
use super::{message, remark};
use crate::velero::text::single_line;

pub(super) fn write(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    for found in &outcome.found {
        let Found {
            file,
            line,
            severity,
            finding,
            hint,
            ..
        } = found;
        let said = format!(
            "{}:{line}: {severity}: {} [{}]",
            file.display(),
            message(found),
            finding.rule.id
        );
        writeln!(out, "{}", single_line(&said, usize::MAX))?;
        for line in hint.iter().flat_map(|hint| hint.lines()) {
            writeln!(out, "{}", format!("    {line}").trim_end())?;
        }
    }
    for note in &outcome.notes {
        writeln!(out, "{}", remark("note: ", note))?;
    }
    for note in outcome.counted() {
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
