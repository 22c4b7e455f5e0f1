//! Workflow commands, which GitHub turns into annotations on the changed lines.

use std::io::{self, Write};
use std::path::Path;

use super::super::outcome::{LocatedFinding, Outcome};
use super::message;
use crate::decision::Severity;
use crate::sources::manifests::Remark;
use crate::velero::printable::is_unprintable;

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
        let command = match severity {
            Severity::Deny => "error",
            Severity::Warn | Severity::Off => "warning",
        };
        let mut text = message(found);
        if let Some(hint) = hint {
            text = format!("{text}\n{hint}");
        }
        let place = place(file, Some(*line));
        let (title, text) = (property(finding.rule.id), data(&text));
        writeln!(out, "::{command} {place},title={title}::{text}")?;
    }
    for (command, remarks) in [("notice", &outcome.notes), ("error", &outcome.errors)] {
        for Remark {
            file,
            line,
            message,
        } in remarks
        {
            let (place, text) = (place(file, *line), data(message));
            writeln!(out, "::{command} {place},title=velero-trust::{text}")?;
        }
    }
    for note in outcome.skipped_notes() {
        writeln!(out, "::notice title=velero-trust::{}", data(&note))?;
    }
    if outcome.locations == 0 {
        let text = "nothing was checked: no BackupStorageLocation in the files that were read";
        writeln!(out, "::warning title=velero-trust::{text}")?;
    }
    Ok(())
}

fn place(file: &Path, line: Option<u64>) -> String {
    let name = file.display().to_string();
    let file = property(name.strip_prefix("./").unwrap_or(&name));
    line.map_or_else(
        || format!("file={file}"),
        |line| format!("file={file},line={line}"),
    )
}

/// Escapes text for the message of a command, as GitHub's own toolkit does (`actions/toolkit`,
/// `command.ts`). What is unprintable becomes a space, because the log of a job is a terminal.
fn data(text: &str) -> String {
    let mut data = String::new();
    for c in text.chars() {
        match c {
            '%' => data.push_str("%25"),
            '\r' => data.push_str("%0D"),
            '\n' => data.push_str("%0A"),
            c if is_unprintable(c) => data.push(' '),
            c => data.push(c),
        }
    }
    data
}

/// Escapes text for a property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_ends_it() {
        assert_eq!(data("50%: a,\r\nb"), "50%25: a,%0D%0Ab");
        assert_eq!(data("a\u{1b}[31mb\u{9b}\0\tc"), "a [31mb   c");
        let name = Path::new("./a,b:c\n::error::d%.yaml");
        assert_eq!(
            place(name, Some(7)),
            "file=a%2Cb%3Ac%0A%3A%3Aerror%3A%3Ad%25.yaml,line=7"
        );
    }
}
