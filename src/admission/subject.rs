//! What a review is about, read and ready to be decided.

use crate::decision::{Context, Facts, Report};
use crate::velero::text::single_line;

/// An object under review. `decide` is called again whenever facts that it needed were looked up;
/// the first pass has no facts and so is the plan.
pub trait Subject: Send + Sync {
    /// One pass over the object with the facts known so far.
    fn decide(&self, facts: &Facts, context: Context<'_>) -> Report;
}

/// Whether an answer may change the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It may change it; an object that cannot be read is left alone.
    Mutate,
    /// It may refuse it; an object that cannot be read is refused.
    Validate,
}

/// Why an object could not be read as what it claims to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Most characters of such a reason.
const MAX_REASON_CHARS: usize = 200;

/// What `error` says, in one line that is not too long and quotes no text: a text in a wrong place
/// may be a private key.
pub(super) fn describe(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let without_quote = message.split_once(" string \"").and_then(|(before, rest)| {
        let (_, after) = rest.rsplit_once("\", expected")?;
        Some(format!("{before} string, expected{after}"))
    });
    let message = without_quote.unwrap_or(message);
    single_line(&message, MAX_REASON_CHARS).into_owned()
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

        let json = format!(r#"{{"a": 1, "{}\n": 2}}"#, "x".repeat(1 << 20));
        let error = serde_json::from_str::<std::collections::BTreeMap<u8, u8>>(&json);
        let Unreadable(said) = error.unwrap_err().into();
        assert!(
            said.chars().count() <= MAX_REASON_CHARS && !said.contains('\n'),
            "{said}"
        );
    }
}
