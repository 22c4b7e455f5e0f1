//! What a review is about, read and ready to be decided.

use crate::decision::{Context, Facts, Report};

/// An object under review. `decide` is called again whenever facts that it needed were looked up;
/// the first pass has no facts and so is the plan.
pub trait Subject: Send + Sync {
    /// One pass over the object with the facts known so far.
    fn decide(&self, facts: &Facts, context: Context<'_>) -> Report;
}

/// Why an object could not be read as what it claims to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Most characters of such a reason: it repeats the text that it did not expect.
const LONGEST: usize = 200;

/// What `error` says, in one line that is not too long.
pub(super) fn brief(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let clean = said.chars().map(|c| if c.is_control() { ' ' } else { c });
    if said.chars().count() <= LONGEST {
        clean.collect()
    } else {
        clean.take(LONGEST - 1).chain(['…']).collect()
    }
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self(brief(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_short_and_in_one_line() {
        let json = format!(r#""a\nb{}""#, "x".repeat(1 << 20));
        let Unreadable(said) = serde_json::from_str::<u8>(&json).unwrap_err().into();
        assert!(said.starts_with("invalid type: string"), "{said}");
        assert_eq!(said.chars().count(), LONGEST);
        assert!(!said.contains('\n'));
    }
}
