//! Patterns of namespaces in the spec of a Restore.

/// Whether `pattern` matches the namespace `name`, as Velero matches them: `*` is any text, `?` any
/// character, and `[ab]`, `[a-c]` or `[!a]` one of a class (`pkg/util/wildcard`, and the module
/// `gobwas/glob`). A name of more than 63 characters, which no namespace has, matches only itself.
pub fn matches(pattern: &str, name: &str) -> bool {
    let name = name.as_bytes();
    if name.len() > 63 {
        return pattern.as_bytes() == name;
    }
    let end = 1_u128 << name.len();
    let within = end | (end - 1);
    // Each bit is a position in the name up to which the pattern matches so far.
    let mut positions = 1_u128;
    let mut rest = pattern.as_bytes();
    while let Some((token, after)) = Token::next(rest) {
        rest = after;
        positions = match token {
            // The lowest position and all after it.
            Token::AnyText => within & !(positions & positions.wrapping_neg()).wrapping_sub(1),
            token => {
                let accepted = name.iter().zip(0_u32..);
                let accepted = accepted.filter(|(byte, _)| token.takes(**byte));
                let accepted = accepted.fold(0, |all, (_, at)| all | 1_u128 << at);
                (positions & accepted) << 1
            }
        };
        if positions == 0 {
            return false;
        }
    }
    positions & end != 0
}

/// A part of a pattern.
enum Token<'p> {
    AnyText,
    AnyByte,
    Byte(u8),
    Class { members: &'p [u8], negated: bool },
}

impl<'p> Token<'p> {
    /// Returns the first token of `pattern`, and the rest.
    fn next(pattern: &'p [u8]) -> Option<(Self, &'p [u8])> {
        let (first, rest) = pattern.split_first()?;
        Some(match first {
            b'*' => (Self::AnyText, rest),
            b'?' => (Self::AnyByte, rest),
            b'[' => {
                // Velero refuses a class without an end.
                let length = rest.iter().position(|byte| *byte == b']')?;
                let (members, rest) = rest.split_at_checked(length)?;
                let (members, negated) = match members.split_first() {
                    Some((b'!', members)) => (members, true),
                    _ => (members, false),
                };
                (Self::Class { members, negated }, rest.get(1..)?)
            }
            byte => (Self::Byte(*byte), rest),
        })
    }

    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::AnyText | Self::AnyByte => true,
            Self::Byte(wanted) => *wanted == byte,
            Self::Class { members, negated } => {
                let is_member = match members {
                    [first, b'-', last] => (first..=last).contains(&&byte),
                    _ => members.contains(&byte),
                };
                is_member != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_velero_does() {
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
            ("*-*", "velero-trust", true),
            ("*-*", "velero", false),
            ("?", "", false),
            ("a?", "ab", true),
            ("a?", "abc", false),
            ("velero-[stu]rust", "velero-trust", true),
            ("velero-[abc]rust", "velero-trust", false),
            ("velero-[a-z]rust", "velero-trust", true),
            ("velero-[a-c]rust", "velero-trust", false),
            ("velero-[!a]rust", "velero-trust", true),
            ("velero-[!t]rust", "velero-trust", false),
            ("velero-[t", "velero-t", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        let longest = "a".repeat(63);
        assert!(matches(&longest, &longest) && matches("a*a", &longest));
        assert!(!matches(&format!("{longest}?"), &longest));
        let longer = "a".repeat(64);
        assert!(matches(&longer, &longer) && !matches("*", &longer));
    }
}
