//! The subject of a review: an object that was read and can be decided on.

use std::fmt::{self, Write as _};

use crate::decision::{Context, Facts, Report};
use crate::velero::text::single_line;

/// An object under review. `decide` is called again after the facts that it needed were looked up.
/// The first pass has no facts and so finds out which look-ups are needed.
pub trait ReviewedObject: Send + Sync {
    /// Runs one pass over the object with the facts known so far.
    fn decide(&self, facts: &Facts, context: Context<'_>) -> Report;
}

/// Whether a handler may change or refuse objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The handler may change objects. An object that cannot be read is left unchanged.
    Mutate,
    /// The handler may refuse objects. An object that cannot be read is refused.
    Validate,
    /// The handler decides whether Velero may begin a Restore. It never refuses the request: a refusal
    /// is the phase in which Velero stops, and an object that cannot be read is an error. Velero has one
    /// worker for all Restores, so no answer asks the API server to try again.
    Gate,
}

/// The reason why an object could not be read as its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Maximum length of an [`Unreadable`] reason, in characters.
const MAX_REASON_CHARS: usize = 200;

/// Number of bytes at the beginning of a message, and at its end, that are looked at. What is
/// between them is quoted text, which may be as long as a body.
const END_BYTES: usize = 512;

/// Returns the message of `error`, in one short line and without quoted text: text in the wrong
/// place may be a private key.
pub(super) fn describe(error: &serde_json::Error) -> String {
    let mut ends = Ends::default();
    // A writer that never fails.
    let _ = write!(ends, "{error}");
    let message = ends.head + &ends.tail;
    let without_quote = message.split_once(" string \"").and_then(|(before, rest)| {
        let (_, after) = rest.rsplit_once("\", expected")?;
        Some(format!("{before} string, expected{after}"))
    });
    let message = without_quote.unwrap_or(message);
    single_line(&message, MAX_REASON_CHARS).into_owned()
}

/// The beginning and the end of a text, written without a copy of the rest.
#[derive(Default)]
struct Ends {
    head: String,
    tail: String,
}

impl fmt::Write for Ends {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = END_BYTES.saturating_sub(self.head.len());
        let (head, rest) = text.split_at(text.floor_char_boundary(room));
        self.head.push_str(head);
        let keep = rest.ceil_char_boundary(rest.len().saturating_sub(END_BYTES));
        self.tail.push_str(rest.get(keep..).unwrap_or_default());
        let over = self.tail.len().saturating_sub(END_BYTES);
        self.tail.drain(..self.tail.ceil_char_boundary(over));
        Ok(())
    }
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self(describe(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_short_in_one_line_and_quotes_no_text() {
        let json = r#"{"a": "-----BEGIN PRIVATE KEY-----\nsecret\", expected \"more"}"#;
        let error = serde_json::from_str::<std::collections::BTreeMap<String, u8>>(json);
        let Unreadable(said) = error.unwrap_err().into();
        assert!(
            said.starts_with("invalid type: string, expected u8 at line 1"),
            "{said}"
        );

        // However long the quoted text is, and wherever its characters are cut.
        for length in [500, 511, 512, 513, 1 << 20] {
            let json = format!(r#"{{"a": "{}"}}"#, "ö".repeat(length));
            let error = serde_json::from_str::<std::collections::BTreeMap<String, u8>>(&json);
            let Unreadable(said) = error.unwrap_err().into();
            let column = 8 + 2 * length;
            let want = format!("invalid type: string, expected u8 at line 1 column {column}");
            assert_eq!(said, want);
        }

        let json = format!(r#"{{"a": 1, "{}\n": 2}}"#, "x".repeat(1 << 20));
        let error = serde_json::from_str::<std::collections::BTreeMap<u8, u8>>(&json);
        let Unreadable(said) = error.unwrap_err().into();
        assert!(
            said.chars().count() <= MAX_REASON_CHARS && !said.contains('\n'),
            "{said}"
        );
    }
}
