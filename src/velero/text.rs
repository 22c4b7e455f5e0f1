//! Text from objects and requests: borrowed, and made safe to show.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;

use serde::Deserialize;

use super::printable::is_unprintable;

/// A string that is borrowed if the JSON contains no escapes.
///
/// A plain `Option<Cow<str>>` never borrows, even with `#[serde(borrow)]`; this newtype does.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Text<'_> {
    /// Returns the text with no borrow. Copies it only if it is borrowed.
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Text<'static> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
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

/// Returns the map without borrowed texts.
pub(super) fn map_into_owned(
    map: BTreeMap<Text<'_>, Text<'_>>,
) -> BTreeMap<Text<'static>, Text<'static>> {
    let pairs = map.into_iter();
    let pairs = pairs.map(|(key, value)| (key.into_owned(), value.into_owned()));
    pairs.collect()
}

/// Maximum length of a user's text that a message repeats, in characters.
const MAX_SHOWN_CHARS: usize = 60;

/// Returns a user's text as a message may quote it: escaped, in one line and at most 60 characters
/// long.
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

/// Returns `text` in one line of at most `max_chars` characters, safe to show in a message, in a
/// log or on a terminal.
///
/// What is unprintable ([`is_unprintable`]) becomes a space: it could forge a line or drive a
/// terminal. Text that is cut ends in `…`.
pub fn single_line(text: &str, max_chars: usize) -> Cow<'_, str> {
    let fits = text.len() <= max_chars || text.chars().nth(max_chars).is_none();
    if fits && !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let clean = text
        .chars()
        .map(|c| if is_unprintable(c) { ' ' } else { c });
    Cow::Owned(if fits {
        clean.collect()
    } else {
        let kept = max_chars.saturating_sub(1);
        clean.take(kept).chain(['…']).collect()
    })
}

/// Like [`single_line`], but text that is too long keeps its end, and a third from its beginning: errors
/// of Go programs wrap each other, and the cause comes last.
pub fn single_line_with_end(text: &str, max_chars: usize) -> Cow<'_, str> {
    let count = text.chars().count();
    if count <= max_chars {
        return single_line(text, max_chars);
    }
    let start: String = text.chars().take(max_chars / 3).collect();
    let rest = max_chars.saturating_sub(max_chars / 3 + 3);
    let end: String = text.chars().skip(count - rest).collect();
    let (start, end) = (start.trim_end(), end.trim_start());
    Cow::Owned(single_line(&format!("{start} … {end}"), max_chars).into_owned())
}

/// Parses a Kubernetes timestamp. Returns it in seconds since 1970.
pub fn seconds(text: &str) -> Option<i64> {
    Some(
        text.parse::<k8s_openapi::jiff::Timestamp>()
            .ok()?
            .as_second(),
    )
}

/// Returns the text, or the empty string for `None`.
pub fn or_empty<'b>(text: Option<&'b Text<'_>>) -> &'b str {
    text.map_or("", |text| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_forge_a_line_or_fill_the_log() {
        assert_eq!(single_line("a\nb\x1b[2J\u{202e}c", 20), "a b [2J c");
        assert_eq!(single_line("größer", 6), "größer");
        assert_eq!(single_line("größer", 5), "größ…");
        assert!(matches!(single_line("plain", 5), Cow::Borrowed("plain")));
    }

    #[test]
    fn the_end_of_a_long_error_is_kept() {
        assert_eq!(single_line_with_end("short\n", 6), "short ");
        let long = format!("{}: x509: unknown authority", "wrapped: ".repeat(40));
        let shown = single_line_with_end(&long, 60);
        assert_eq!(
            shown,
            "wrapped: wrapped: wr … d: wrapped: : x509: unknown authority"
        );
        assert!(shown.chars().count() <= 60);
    }
}
