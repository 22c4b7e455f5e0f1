//! Distinguished names and the strings in them.

use super::Defect;
use super::der::{Der, tag};
use crate::velero::printable::is_unprintable;

/// Maximum length of a displayed name, in characters. An attacker may have chosen the name.
const MAX_DISPLAY_CHARS: usize = 80;

/// Checks that Go accepts `name`, an RDNSequence with its tag and length.
pub(super) fn check_name(name: &[u8]) -> Result<(), Defect> {
    walk_attributes(name, |_, _, _| {}).ok_or(Defect("a name in it is malformed"))
}

/// Returns a name for display: `CN=…,O=…`, in the order of the bytes, at most 80 characters and
/// without control characters.
pub(in crate::ca) fn display_name(name: &[u8]) -> String {
    let mut text = String::new();
    // Malformed names were rejected earlier. If there is one, what precedes the fault is enough.
    let _ = walk_attributes(name, |oid, tag, value| {
        if text.len() > 4 * MAX_DISPLAY_CHARS {
            return;
        }
        let Some(kind) = abbreviate_attribute(oid) else {
            return;
        };
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(kind);
        text.push('=');
        text.extend(
            decode_string(tag, value)
                .into_iter()
                .flatten()
                .take(MAX_DISPLAY_CHARS),
        );
    });
    let mut clean: String = text
        .chars()
        .map(|c| if is_unprintable(c) { '\u{fffd}' } else { c })
        .take(MAX_DISPLAY_CHARS + 1)
        .collect();
    if clean.chars().count() > MAX_DISPLAY_CHARS {
        clean.truncate(
            clean
                .char_indices()
                .nth(MAX_DISPLAY_CHARS - 1)
                .map_or(0, |(at, _)| at),
        );
        clean.push('…');
    }
    if clean.is_empty() {
        clean.push_str("(no name)");
    }
    clean
}

fn walk_attributes(name: &[u8], mut attribute: impl FnMut(&[u8], u8, &[u8])) -> Option<()> {
    let mut sequence = Der(name).take(tag::SEQUENCE)?;
    while !sequence.is_empty() {
        let mut set = sequence.take(tag::SET)?;
        while !set.is_empty() {
            let mut pair = set.take(tag::SEQUENCE)?;
            let oid = pair.oid()?;
            let value = pair.element()?;
            decode_string(value.tag, value.content)?;
            attribute(oid, value.tag, value.content);
        }
    }
    Some(())
}

/// Decodes a string of type `tag`; none if Go rejects it.
fn decode_string(tag: u8, value: &[u8]) -> Option<Vec<char>> {
    let ascii = |is_allowed: fn(u8) -> bool| {
        value
            .iter()
            .map(|byte| is_allowed(*byte).then_some(char::from(*byte)))
            .collect()
    };
    match tag {
        12 => Some(std::str::from_utf8(value).ok()?.chars().collect()),
        18 => ascii(|byte| byte.is_ascii_digit() || byte == b' '),
        19 => ascii(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(&byte)),
        // T.61, which is commonly read as Latin-1.
        20 => Some(value.iter().copied().map(char::from).collect()),
        22 => {
            // Go checks runes. A byte that is not UTF-8 decodes to a rune far above ASCII.
            ascii(|byte| byte.is_ascii())
        }
        30 => decode_ucs2(value),
        _ => None,
    }
}

fn decode_ucs2(value: &[u8]) -> Option<Vec<char>> {
    let value = value
        .strip_suffix(&[0, 0])
        .filter(|_| value.len().is_multiple_of(2))
        .unwrap_or(value);
    let mut characters = Vec::with_capacity(value.len() / 2);
    for pair in value.chunks(2) {
        let &[high, low] = pair else {
            return None;
        };
        let point = u16::from_be_bytes([high, low]);
        if matches!(point, 0xfffe | 0xffff | 0xfdd0..=0xfdef) {
            return None;
        }
        characters.push(char::from_u32(u32::from(point))?);
    }
    Some(characters)
}

/// Returns the usual abbreviation of an attribute; none if it is not displayed.
fn abbreviate_attribute(oid: &[u8]) -> Option<&'static str> {
    match oid {
        [0x55, 0x04, kind] => match kind {
            3 => Some("CN"),
            6 => Some("C"),
            7 => Some("L"),
            8 => Some("ST"),
            10 => Some("O"),
            11 => Some("OU"),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(tag: u8, value: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).unwrap();
            assert!(length < 128);
            [&[tag, length], content].concat()
        };
        let pair = [wrap(6, &[0x55, 4, 3]), wrap(tag, value)].concat();
        wrap(0x30, &wrap(0x31, &wrap(0x30, &pair)))
    }

    #[test]
    fn takes_only_strings_whose_contents_fit_their_type() {
        assert!(check_name(&name(12, "Zoë".as_bytes())).is_ok());
        assert!(check_name(&name(12, b"Zo\xeb")).is_err());
        assert!(check_name(&name(19, b"Acme & Co. (*)")).is_ok());
        assert!(check_name(&name(19, b"Acme@Co")).is_err());
        assert!(check_name(&name(20, b"Zo\xeb")).is_ok());
        assert!(check_name(&name(22, b"Zo\xeb")).is_err());
        assert!(check_name(&name(30, &[0, b'Z', 0, b'o'])).is_ok());
        assert!(check_name(&name(30, &[0, b'Z', 0])).is_err());
        assert!(check_name(&name(30, &[0xd8, 0])).is_err());
        assert!(check_name(&name(28, b"\0\0\0Z")).is_err());
    }

    #[test]
    fn a_shown_name_is_short_and_has_no_character_that_deceives() {
        assert_eq!(display_name(&name(12, "Zoë".as_bytes())), "CN=Zoë");
        assert_eq!(
            display_name(&name(12, "a\n\u{202e}b".as_bytes())),
            "CN=a\u{fffd}\u{fffd}b"
        );
        assert_eq!(display_name(&name(12, &[b'x'; 100])).chars().count(), 80);
        assert_eq!(display_name(&[0x30, 0]), "(no name)");
    }
}
