//! Lines of a limited width.

/// Breaks `text` into lines of at most `columns`, except for longer words and commands between backticks,
/// which stay whole. Each line but the first starts with `indent`, and each ends with a line break.
pub(super) fn wrap_indented(text: &str, columns: usize, indent: &str) -> String {
    let mut wrapped = String::new();
    let (mut width, mut is_empty) = (0, true);
    for word in units(text) {
        let length = word.chars().count();
        if !is_empty && columns.saturating_sub(width) <= length {
            wrapped.push('\n');
            wrapped.push_str(indent);
            (width, is_empty) = (indent.len(), true);
        }
        if !is_empty {
            wrapped.push(' ');
            width += 1;
        }
        wrapped.push_str(&word);
        (width, is_empty) = (width + length, false);
    }
    wrapped.push('\n');
    wrapped
}

/// Returns the words of `text`. What stands between two backticks is one word.
fn units(text: &str) -> Vec<String> {
    let mut units = Vec::<String>::new();
    let mut backticks = text.matches('`').count();
    let mut is_open = false;
    for word in text.split_whitespace() {
        match units.last_mut().filter(|_| is_open && backticks > 0) {
            Some(last) => {
                last.push(' ');
                last.push_str(word);
            }
            None => units.push(word.to_owned()),
        }
        let count = word.matches('`').count();
        backticks -= count;
        is_open ^= !count.is_multiple_of(2);
    }
    units
}

/// Whether the byte at `at` stands between two backticks of `line`.
fn is_in_command(line: &str, at: usize) -> bool {
    let (before, after) = line.split_at(at);
    !before.matches('`').count().is_multiple_of(2) && after.contains('`')
}

/// Indentation of the continuation of a line.
const INDENT: &str = "    ";

/// Breaks the lines of `text` that are longer than `columns` at blanks. Lines that begin with a blank
/// stay whole: they are commands and manifests to copy. So does what stands between backticks.
pub(super) fn wrap_lines(text: &str, columns: usize) -> String {
    let mut wrapped = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        let mut indent = "";
        while let Some(end) =
            line_end(rest, columns.saturating_sub(indent.len())).filter(|_| !line.starts_with(' '))
        {
            let (first, after) = rest.split_at(end);
            wrapped.push_str(indent);
            wrapped.push_str(first);
            wrapped.push('\n');
            rest = after.trim_start_matches(' ');
            indent = INDENT;
        }
        wrapped.push_str(indent);
        wrapped.push_str(rest);
    }
    wrapped
}

/// Returns where `line` is to be broken so that its beginning has at most `columns`, or as few more as
/// its first word has; `None` if it fits.
fn line_end(line: &str, columns: usize) -> Option<usize> {
    let line = line.trim_end();
    let (limit, _) = line.char_indices().nth(columns)?;
    let is_end = |at: usize| !line[..at].trim().is_empty() && !is_in_command(line, at);
    let blank = |part: &str| {
        let mut blanks = part.rmatch_indices(' ').map(|(at, _)| at);
        blanks.find(|at| is_end(*at))
    };
    // A blank at the limit ends a line that just fits.
    let end = line
        .get(..=limit)
        .and_then(blank)
        .or_else(|| blank(line.get(..limit)?));
    let later = || {
        let mut blanks = line.match_indices(' ').map(|(at, _)| at);
        blanks.find(|at| *at >= limit && is_end(*at))
    };
    end.or_else(later)
        .map(|end| line.get(..end).map_or(end, |start| start.trim_end().len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_and_commands_stay_whole() {
        let text = "fail    check: a message of words\n        -> kubectl get a b c d e f\nshort\n";
        let expected = "fail    check: a\n    message of\n    words\n        -> kubectl get a b c d e \
                        f\nshort\n";
        assert_eq!(wrap_lines(text, 17), expected);
        assert_eq!(wrap_lines(text, 16), expected);
        assert_eq!(wrap_lines(text, usize::MAX), text);
        assert_eq!(wrap_lines("abcdefgh ijkl", 4), "abcdefgh\n    ijkl");
        assert_eq!(wrap_lines("ä ö ü ä ö", 5), "ä ö ü\n    ä\n    ö");
    }

    #[test]
    fn a_command_between_backticks_is_never_broken() {
        let text = "run `kubectl get a b` or wait";
        for columns in 1..text.len() {
            let lines = wrap_lines(text, columns);
            assert!(lines.contains("`kubectl get a b`"), "{columns}: {lines}");
            let lines = wrap_indented(text, columns, "  ");
            assert!(lines.contains("`kubectl get a b`"), "{columns}: {lines}");
        }
        assert_eq!(
            wrap_lines(text, 10),
            "run\n    `kubectl get a b`\n    or\n    wait"
        );
        assert_eq!(
            wrap_indented(text, 10, ""),
            "run\n`kubectl get a b`\nor wait\n"
        );
        // A backtick without a second one is a character as any other.
        assert_eq!(wrap_indented("a ` b c", 3, ""), "a `\nb c\n");
        assert_eq!(wrap_lines("a ` b c", 3), "a `\n    b\n    c");
    }

    #[test]
    fn breaks_between_words_and_never_in_one() {
        assert_eq!(wrap_indented("a bc def", 4, "  "), "a bc\n  def\n");
        assert_eq!(wrap_indented("a bc def", 3, ""), "a\nbc\ndef\n");
        assert_eq!(wrap_indented("abcdef g", 3, ""), "abcdef\ng\n");
        assert_eq!(wrap_indented("a b", usize::MAX, ""), "a b\n");
    }
}
