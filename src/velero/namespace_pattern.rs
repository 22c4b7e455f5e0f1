//! Patterns of namespaces in the spec of a Restore.
//!
//! Velero compiles them with the module `gobwas/glob` (`pkg/util/collections/includes_excludes.go`).
//! A list that contains a pattern which does not compile matches nothing from there on. So only
//! patterns of letters, digits, `*` and `?`, which always compile, are matched here. What braces,
//! classes and escapes match is not decided.

use super::glob::matches;

/// The characters with a meaning in a pattern, apart from `*` and `?`.
const SPECIAL: [char; 5] = ['[', ']', '{', '}', '\\'];

/// Whether `pattern` has nothing but `*` (any text), `?` (any character) and text.
pub fn is_simple(pattern: &str) -> bool {
    !pattern.contains(SPECIAL)
}

/// Whether `pattern` matches the namespace `name`, or may match it: a pattern that is not simple
/// counts if its text up to the first character with a meaning does not rule the name out.
pub fn may_match(pattern: &str, name: &str) -> bool {
    if is_simple(pattern) {
        return matches(pattern, name);
    }
    let is_meaningful = |c: char| SPECIAL.contains(&c) || matches!(c, '*' | '?');
    let text = pattern.split(is_meaningful).next().unwrap_or_default();
    name.starts_with(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_patterns_match_as_velero_does() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a", "ab", false),
            ("ab", "a", false),
            ("", "a", false),
            ("", "", true),
            ("*", "", true),
            ("*", "a", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*b", "abc", false),
            ("a*c", "abbc", true),
            ("a*b*c", "aXbYbc", true),
            ("**", "velero-trust", true),
            ("*-*", "velero-trust", true),
            ("*-*", "velero", false),
            ("?", "", false),
            ("a?", "ab", true),
            ("a?", "abc", false),
        ] {
            assert!(is_simple(pattern));
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
            assert_eq!(may_match(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn of_other_patterns_only_the_text_before_rules_a_name_out() {
        for (pattern, expected) in [
            ("{velero-trust,x}", true),
            ("velero-{trust,x}", true),
            (r"velero-\trust", true),
            (r"\velero-trust", true),
            ("{a,v*}", true),
            ("velero-[a-z]rust", true),
            ("*[t]", true),
            ("v*]", true),
            ("app-{a,b}", false),
            ("velero-trust-[ab]", false),
        ] {
            assert!(!is_simple(pattern));
            assert_eq!(may_match(pattern, "velero-trust"), expected, "{pattern}");
        }
    }
}
