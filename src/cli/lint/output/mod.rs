//! The output formats of lint.

use std::io::{self, Write};

use clap::ValueEnum;

use super::outcome::{LocatedFinding, Outcome};
use crate::sources::manifests::Remark;
use crate::velero::text::single_line;

mod github;
mod json;
mod sarif;
mod text;
mod uri;

/// An output format.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// One line per finding, for people and editors; on a terminal, of at most 120 columns
    Text,
    /// The same, with whole lines on a terminal too
    Wide,
    /// One JSON object, for scripts
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Workflow commands that annotate a pull request on GitHub
    Github,
}

impl Format {
    /// Writes `outcome` in this format.
    pub(super) fn write(self, outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Text | Self::Wide => text::write(outcome, out),
            Self::Json => json::write(outcome, out),
            Self::Sarif => sarif::write(outcome, out),
            Self::Github => github::write(outcome, out),
        }?;
        out.flush()
    }
}

/// Returns a remark as `file:line: kind: message` on one line. `kind` includes its colon and may be
/// empty.
pub(super) fn format_remark(kind: &str, remark: &Remark) -> String {
    let Remark {
        file,
        line,
        message,
    } = remark;
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    // A file name may contain a line break, and a line of its own may be a command to the program that
    // reads the output.
    let text = format!("{}{line}: {kind}{message}", file.display());
    single_line(&text, usize::MAX).into_owned()
}

/// Returns the message of a finding without file, line and severity.
fn message(found: &LocatedFinding) -> String {
    let LocatedFinding {
        key,
        path,
        finding,
        secret,
        ..
    } = found;
    let (message, fix) = (&finding.message, &finding.fix);
    let secret = secret
        .as_ref()
        .map(|(file, line)| format!(" (the Secret: {}:{line})", file.display()))
        .unwrap_or_default();
    format!("BackupStorageLocation {key}: {path}: {message}{secret}; {fix}")
}
