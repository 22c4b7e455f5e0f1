//! The results of checks.

use std::fmt::{self, Write as _};
use std::io::Write;

use serde::Serialize;

use crate::cli::json;
use crate::velero::printable::printable;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// No problem was found.
    Ok,
    /// It works, and is worth a change.
    Warn,
    /// Something needs a person. Whatever is a problem for `status` is one of these.
    Fail,
    /// It could not be read.
    Unknown,
    /// It was not checked, because something that it depends on is missing.
    Skipped,
}

impl Level {
    /// All levels, in the order of the summary.
    pub(super) const ALL: [Self; 5] = [
        Self::Ok,
        Self::Warn,
        Self::Fail,
        Self::Unknown,
        Self::Skipped,
    ];
}

/// Writes the name, padded to the width of the format.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        })
    }
}

/// The result of one check of one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Diagnostic {
    pub(super) level: Level,
    /// The stable name of the check.
    pub(super) check: &'static str,
    /// The checked object, as text for people.
    pub(super) subject: String,
    /// The message.
    pub(super) message: String,
    /// How to fix the problem; a command if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

/// A check of a subject, before its result is known.
#[derive(Clone, Debug)]
pub(super) struct CheckSubject {
    check: &'static str,
    subject: String,
}

impl CheckSubject {
    pub(super) fn new(check: &'static str, subject: impl Into<String>) -> Self {
        Self {
            check,
            subject: subject.into(),
        }
    }

    pub(super) fn ok(self, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Level::Ok, message, None)
    }

    pub(super) fn warn(self, message: impl Into<String>, fix: impl Into<String>) -> Diagnostic {
        self.diagnostic(Level::Warn, message, Some(fix.into()))
    }

    pub(super) fn fail(self, message: impl Into<String>, fix: impl Into<String>) -> Diagnostic {
        self.diagnostic(Level::Fail, message, Some(fix.into()))
    }

    pub(super) fn unknown(self, why: impl Into<String>) -> Diagnostic {
        self.diagnostic(Level::Unknown, why, None)
    }

    /// Like [`CheckSubject::unknown`], for something that the reader can change.
    pub(super) fn unread(self, why: impl Into<String>, fix: impl Into<String>) -> Diagnostic {
        self.diagnostic(Level::Unknown, why, Some(fix.into()))
    }

    pub(super) fn skipped(self, why: &str) -> Diagnostic {
        self.diagnostic(Level::Skipped, why, None)
    }

    fn diagnostic(
        self,
        level: Level,
        message: impl Into<String>,
        fix: Option<String>,
    ) -> Diagnostic {
        Diagnostic {
            level,
            check: self.check,
            subject: self.subject,
            message: message.into(),
            fix,
        }
    }
}

/// Returns the number of diagnostics with this level.
pub(super) fn count(diagnostics: &[Diagnostic], level: Level) -> usize {
    diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.level == level)
        .count()
}

/// Returns the diagnostics as text, each with its fix below it.
pub(super) fn text(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let Diagnostic {
            level,
            check,
            subject,
            message,
            fix,
        } = diagnostic;
        let line = format!("{level:<8}{check}: {subject}: {message}");
        text.push_str(&printable(&line));
        text.push('\n');
        if let Some(fix) = fix {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "        -> {}", printable(fix));
        }
    }
    let counts = Level::ALL.map(|level| format!("{level}: {}", count(diagnostics, level)));
    text.push_str(&counts.join(", "));
    text.push('\n');
    text
}

/// Writes the diagnostics as JSON.
pub(super) fn write_json(diagnostics: &[Diagnostic], out: &mut dyn Write) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        checks: &'a [Diagnostic],
        summary: serde_json::Map<String, serde_json::Value>,
    }
    let summary = Level::ALL.map(|level| (level.to_string(), count(diagnostics, level).into()));
    let document = Document {
        checks: diagnostics,
        summary: summary.into_iter().collect(),
    };
    Ok(json::write(&document, out)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_say_level_subject_and_fix() {
        let diagnostics = [
            CheckSubject::new("a", "Thing x").ok("is well"),
            CheckSubject::new("b", "Thing y").fail("is ill", "kubectl cure y"),
        ];
        assert_eq!(
            text(&diagnostics),
            "ok      a: Thing x: is well\n\
             fail    b: Thing y: is ill\n        -> kubectl cure y\n\
             ok: 1, warn: 0, fail: 1, unknown: 0, skipped: 0\n"
        );
        let mut json = Vec::new();
        write_json(&diagnostics, &mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let bad = serde_json::json!({
            "level": "fail", "check": "b", "subject": "Thing y", "message": "is ill",
            "fix": "kubectl cure y",
        });
        assert_eq!(json["checks"][1], bad);
        assert_eq!(json["checks"][0].get("fix"), None);
        assert_eq!(json["summary"]["fail"], 1);
    }
}
