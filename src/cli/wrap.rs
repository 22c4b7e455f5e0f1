//! Lines of a limited width.

/// Breaks `text` into lines of at most `columns`, except for longer words. Each line but the first
/// starts with `indent`, and each ends with a line break.
pub(super) fn wrap_indented(text: &str, columns: usize, indent: &str) -> String {
    let mut wrapped = String::new();
    let (mut width, mut is_empty) = (0, true);
    for word in text.split_whitespace() {
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
        wrapped.push_str(word);
        (width, is_empty) = (width + length, false);
    }
    wrapped.push('\n');
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_between_words_and_never_in_one() {
        assert_eq!(wrap_indented("a bc def", 4, "  "), "a bc\n  def\n");
        assert_eq!(wrap_indented("a bc def", 3, ""), "a\nbc\ndef\n");
        assert_eq!(wrap_indented("abcdef g", 3, ""), "abcdef\ng\n");
        assert_eq!(wrap_indented("a b", usize::MAX, ""), "a b\n");
    }
}
