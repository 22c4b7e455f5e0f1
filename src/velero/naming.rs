//! Which names Kubernetes allows.
//!
//! Names are checked before a look-up: looking up a name that the API server refuses reveals
//! nothing, and a name that contains `/` or `?` would look up something else.

/// Whether `name` is valid for an object: a DNS subdomain.
pub fn is_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Whether `name` is valid for a namespace: a DNS label.
pub fn is_namespace(name: &str) -> bool {
    name.len() <= 63 && is_label(name)
}

fn is_label(label: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(is_inner)
}

/// Whether `key` is a valid key of a Secret.
pub fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= 253 && key.bytes().all(is_word)
}

/// Whether `value` is a valid, non-empty label value, so that a label selector can match it.
pub fn is_label_value(value: &str) -> bool {
    let ends = [value.bytes().next(), value.bytes().next_back()];
    value.len() <= 63
        && value.bytes().all(is_word)
        && ends
            .iter()
            .all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_an_object_a_key_and_a_label_can_be_called() {
        for name in ["b", "daily-20260701000000", "a.b-c.1", &"a".repeat(253)] {
            assert!(is_name(name), "{name}");
        }
        let long = "a".repeat(254);
        for name in [
            "",
            "my backup",
            "b?x",
            "b#x",
            "a/b",
            "..",
            "a\nb",
            "B",
            "-a",
            "a-",
            "a..b",
            "a_b",
            &long,
        ] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_namespace("velero-2") && is_namespace(&"a".repeat(63)));
        for name in ["", "a.b", "A", "a/b", "-a", &"a".repeat(64)] {
            assert!(!is_namespace(name), "{name}");
        }
        assert!(is_key("CA_1.crt-x") && is_key("..x") && is_key(&"a".repeat(253)));
        assert!(!is_key("") && !is_key("a b") && !is_key("a/b") && !is_key(&long));
        assert!(is_label_value("Daily_1.x-y") && is_label_value(&"a".repeat(63)));
        for value in ["", "a b", "a=b", "a,b", "-a", "a.", "a\n", &"a".repeat(64)] {
            assert!(!is_label_value(value), "{value}");
        }
    }
}
