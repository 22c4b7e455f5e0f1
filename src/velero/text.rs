//! Text borrowed from the bytes of a review.

use std::borrow::Cow;
use std::ops::Deref;

use serde::Deserialize;

/// A string that is borrowed where JSON holds no escapes.
///
/// A plain `Option<Cow<str>>` never borrows, even with `#[serde(borrow)]`; this newtype does.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// Longest text of a user that a message repeats.
const MAX_SHOWN_CHARS: usize = 60;

/// A user's text as it may stand in a message: short, in one line.
pub fn shown(text: &str) -> String {
    let mut shown: String = text.escape_debug().take(MAX_SHOWN_CHARS + 1).collect();
    if shown.chars().count() > MAX_SHOWN_CHARS {
        shown = shown
            .chars()
            .take(MAX_SHOWN_CHARS - 1)
            .chain(['…'])
            .collect();
    }
    shown
}

/// Seconds since 1970 of a Kubernetes timestamp.
pub fn seconds(text: &str) -> Option<i64> {
    Some(
        text.parse::<k8s_openapi::jiff::Timestamp>()
            .ok()?
            .as_second(),
    )
}

/// The text, or the empty string where there is none.
pub fn or_empty<'b>(text: Option<&'b Text<'_>>) -> &'b str {
    text.map_or("", |text| text)
}
