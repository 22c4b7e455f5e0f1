//! Colours of lines for people, on terminals.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::ops::Range;

use crate::velero::printable::printable_lines;

/// A colour of a part of a line, or bold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Color {
    Bold,
    Green,
    Red,
    Yellow,
}

impl Color {
    /// Returns the parameter of the escape sequence `Select Graphic Rendition` (ECMA-48).
    const fn parameter(self) -> u8 {
        match self {
            Self::Bold => 1,
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
        }
    }
}

/// Chooses which bytes of a line have a colour.
pub(super) type Palette = fn(&str) -> Option<(Range<usize>, Color)>;

/// Returns whether standard output gets colours: a terminal that knows them, unless `NO_COLOR` is
/// set (<https://no-color.org>).
pub(super) fn is_wanted() -> bool {
    let variable = |name| std::env::var(name).unwrap_or_default();
    std::io::stdout().is_terminal() && allows(&variable("NO_COLOR"), &variable("TERM"))
}

fn allows(no_color: &str, term: &str) -> bool {
    no_color.is_empty() && !["", "dumb"].contains(&term)
}

/// Returns `text` without unprintable characters but line breaks and tabs, and with the colours of
/// `palette`. Only the escape sequences of these colours are added after the others are removed.
pub(super) fn paint(text: &str, palette: Palette) -> String {
    let text = printable_lines(text);
    let mut painted = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let parts = palette(line).and_then(|(range, color)| {
            let parts = (
                line.get(..range.start)?,
                line.get(range.clone())?,
                line.get(range.end..)?,
            );
            Some((parts, color))
        });
        match parts {
            Some(((before, part, after), color)) => {
                let parameter = color.parameter();
                // Writing to a string cannot fail.
                let _ = write!(painted, "{before}\u{1b}[{parameter}m{part}\u{1b}[0m{after}");
            }
            None => painted.push_str(line),
        }
    }
    painted
}

/// Colours the level at the start of a line of `doctor`.
pub(super) fn doctor(line: &str) -> Option<(Range<usize>, Color)> {
    let level = line.split(' ').next()?;
    let color = match level {
        "ok" => Color::Green,
        "warn" | "unknown" => Color::Yellow,
        "fail" => Color::Red,
        _ => return None,
    };
    Some((0..level.len(), color))
}

/// Colours the severity of a finding of `lint`.
pub(super) fn lint(line: &str) -> Option<(Range<usize>, Color)> {
    let severities = [(": deny: ", Color::Red), (": warn: ", Color::Yellow)];
    let found = severities.into_iter().filter_map(|(severity, color)| {
        let start = line.find(severity)?;
        Some((start + 2..start + severity.len() - 2, color))
    });
    found.min_by_key(|(range, _)| range.start)
}

/// Colours headers and the result of `status`.
pub(super) fn status(line: &str) -> Option<(Range<usize>, Color)> {
    let text = line.trim_end();
    let color = match text {
        "NEEDS A PERSON" => Color::Red,
        "Nothing needs a person." => Color::Green,
        _ if ["NAMESPACE  ", "EXTRA CA  "]
            .iter()
            .any(|it| text.starts_with(it)) =>
        {
            Color::Bold
        }
        _ => return None,
    };
    Some((0..text.len(), color))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_a_severity_and_a_result_have_colours_and_nothing_else() {
        let text = "ok      a: b\nfail    c: ok\n        -> fail\n";
        let want =
            "\u{1b}[32mok\u{1b}[0m      a: b\n\u{1b}[31mfail\u{1b}[0m    c: ok\n        -> fail\n";
        assert_eq!(paint(text, doctor), want);
        let want = "\u{1b}[33mwarn\u{1b}[0m    a\n\u{1b}[33munknown\u{1b}[0m b\n";
        assert_eq!(paint("warn    a\nunknown b\n", doctor), want);
        let text = "a.yaml:1: warn: says : deny: [VT000]\nnote: none\n";
        let want = "a.yaml:1: \u{1b}[33mwarn\u{1b}[0m: says : deny: [VT000]\nnote: none\n";
        assert_eq!(paint(text, lint), want);
        let text = "NAMESPACE   A\nvelero      b\n\nNEEDS A PERSON\n";
        let want =
            "\u{1b}[1mNAMESPACE   A\u{1b}[0m\nvelero      b\n\n\u{1b}[31mNEEDS A PERSON\u{1b}[0m\n";
        assert_eq!(paint(text, status), want);
    }

    #[test]
    fn the_text_itself_cannot_steer_the_terminal() {
        assert_eq!(paint("x \u{1b}[31mred\n", doctor), "x  [31mred\n");
    }

    #[test]
    fn no_color_and_terminals_without_any_are_respected() {
        assert!(allows("", "xterm"));
        assert!(!allows("1", "xterm") && !allows("", "dumb") && !allows("", ""));
    }
}
