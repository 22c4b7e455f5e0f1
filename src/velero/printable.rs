//! Which characters people can see, and text without the others.
//!
//! Text from objects, requests and servers reaches logs, terminals and web pages. Characters that
//! nobody sees can drive a terminal, reorder a line, or make two names look the same.

use std::borrow::Cow;

/// Whether `c` controls, reorders, hides or breaks text instead of being seen: the general categories
/// Cc, Cf, Zl and Zp of Unicode, and the unassigned code points between them. Unicode ignores the
/// whole block of tags by default, so all of it counts.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Returns `text` in one line, with a space for each character that nobody sees.
pub fn printable(text: &str) -> Cow<'_, str> {
    replace(text, is_unprintable)
}

/// Does the same, but keeps line breaks and tabs. For text that has lines of its own.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    replace(text, |c| is_unprintable(c) && !matches!(c, '\n' | '\t'))
}

/// Does the same for JSON text, in which most control characters are escape sequences. Escaped line
/// breaks and tabs stay.
pub fn printable_json(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, escape)) = rest.split_once('\\') {
        clean.push_str(&printable_lines(before));
        let digits = escape.strip_prefix('u').and_then(|rest| rest.get(..4));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let (length, is_seen) = match code {
            Some(code) => (5, !char::from_u32(code).is_some_and(is_unprintable)),
            None => (
                escape.chars().next().map_or(0, char::len_utf8),
                !escape.starts_with(['b', 'f', 'r']),
            ),
        };
        let (sequence, after) = escape.split_at(length);
        if is_seen {
            clean.push('\\');
            clean.push_str(sequence);
        } else {
            clean.push(' ');
        }
        rest = after;
    }
    clean.push_str(&printable_lines(rest));
    clean
}

fn replace(text: &str, is_replaced: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().any(&is_replaced) {
        let clean = text.chars().map(|c| if is_replaced(c) { ' ' } else { c });
        Cow::Owned(clean.collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_syntax::hir::{Class, HirKind};

    /// Returns the characters of a class of Unicode, by the data of another crate.
    fn class(pattern: &str) -> Vec<char> {
        let hir = regex_syntax::parse(pattern).unwrap();
        let HirKind::Class(Class::Unicode(class)) = hir.kind() else {
            panic!("{pattern} is no class");
        };
        let ranges = class.ranges().iter();
        ranges
            .flat_map(|range| range.start()..=range.end())
            .collect()
    }

    #[test]
    fn exactly_what_unicode_calls_control_format_or_separator_is_unprintable() {
        for c in class(r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]") {
            assert!(is_unprintable(c), "U+{:04X}", u32::from(c));
        }
        let beside_tags = |c: &char| !('\u{e0000}'..='\u{e0fff}').contains(c);
        for c in class(r"[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cn}]")
            .into_iter()
            .filter(beside_tags)
        {
            assert!(!is_unprintable(c), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn what_nobody_sees_becomes_a_space() {
        let text = "a\u{1b}[2J\u{202e}\u{200b}\u{ad}\u{e0041}\u{9b}\r\n\tz";
        assert_eq!(printable(text), "a [2J        z");
        assert_eq!(printable_lines(text), "a [2J      \n\tz");
        assert!(matches!(printable("größer 日本"), Cow::Borrowed(_)));
        assert!(matches!(printable_lines("a\n\tb"), Cow::Borrowed(_)));
    }

    #[test]
    fn escape_sequences_of_json_are_seen_through() {
        let value = serde_json::json!({
            "a\u{1b}": "\u{8}\u{c}\r\n\t\u{7f}\u{9b}\u{202e}\"\\u001b\\ü\\",
        });
        let clean = printable_json(&serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(
            clean,
            "{\n  \"a \": \"   \\n\\t   \\\"\\\\u001b\\\\ü\\\\\"\n}"
        );
        let read: serde_json::Value = serde_json::from_str(&clean).unwrap();
        assert_eq!(read["a "], "   \n\t   \"\\u001b\\ü\\");
        assert_eq!(
            printable_json(r#""\u00e9\u001b\u202E\ud83d\ude00""#),
            r#""\u00e9  \ud83d\ude00""#
        );
        assert_eq!(printable_json(r"\"), r"\");
    }
}
