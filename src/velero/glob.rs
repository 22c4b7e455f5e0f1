//! Patterns in which `*` stands for any text and `?` for any byte.

/// Whether `pattern` matches `name`. Takes at most as many steps as both lengths multiplied.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut next) = (0, 0);
    // Where the last `*` is, and how far its text reaches so far.
    let mut star = None;
    while next < name.len() {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at, next));
                at += 1;
            }
            (Some(wanted), _) if *wanted == b'?' || name.get(next) == Some(wanted) => {
                at += 1;
                next += 1;
            }
            (_, Some((from, reaches))) => {
                star = Some((from, reaches + 1));
                at = from + 1;
                next = reaches + 1;
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_star_is_as_long_as_needed() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abcabc", true),
            ("*b", "abc", false),
            ("a*b*c", "aXbYbc", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("a**c", "abc", true),
            ("a?c", "abc", true),
            ("a?", "a", false),
            ("nightly-*", "nightly", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        let long = "a".repeat(10_000);
        assert!(matches(&long, &long) && matches("a*a", &long));
        assert!(!matches(&"a*".repeat(1_000), &"b".repeat(253)));
        assert!(!matches(&format!("{}b", "*a".repeat(100)), &long));
    }
}
