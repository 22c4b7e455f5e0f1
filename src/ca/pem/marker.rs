//! Recognition of BEGIN and END lines that are damaged, so that Go sees no block.
//!
//! Word processors, chats and people change the dashes and the letters of these lines. Everything
//! between them is then text to Go.

/// Longest line, in bytes, that can be a damaged BEGIN or END line.
const MAX_LENGTH: usize = 160;

/// The words of the labels that people put into bundles. With other words after BEGIN or END, a
/// line is text.
const WORDS: [&str; 18] = [
    "CERTIFICATE",
    "CMS",
    "CRL",
    "DSA",
    "EC",
    "ENCRYPTED",
    "KEY",
    "NEW",
    "OPENSSH",
    "PKCS",
    "PKCS7",
    "PRIVATE",
    "PUBLIC",
    "REQUEST",
    "RSA",
    "SSH2",
    "TRUSTED",
    "X509",
];

/// A damaged BEGIN or END line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) is_begin: bool,
    /// Whether it is the line of a private key.
    pub(super) names_private_key: bool,
    pub(super) damage: Damage,
}

/// What is wrong with a BEGIN or END line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// No dashes at all.
    #[error("has no dashes")]
    NoDashes,
    /// Dashes of a word processor, or other characters in their place.
    #[error("has other characters than hyphens as its dashes")]
    OtherDashes,
    /// Fewer or more dashes.
    #[error("has not exactly five dashes on each side")]
    DashCount,
    /// Small letters.
    #[error("is not in capital letters")]
    SmallLetters,
    /// Blanks in other places than between the words.
    #[error("has blanks in the wrong place")]
    Blanks,
}

/// Returns what `line` was before it was damaged. The line must contain neither `-----BEGIN` nor
/// `-----END`.
pub(super) fn damaged(line: &[u8]) -> Option<Marker> {
    if line.len() > MAX_LENGTH || !can_be_marker(line) {
        return None;
    }
    let text: String = String::from_utf8_lossy(line)
        .chars()
        .filter_map(simplified)
        .collect();
    let text = text.trim();
    let words = text.trim_matches(|c| c == '-' || c == ' ');
    let upper = words.to_ascii_uppercase();
    let (is_begin, label) = match upper.strip_prefix("BEGIN") {
        Some(label) => (true, label),
        None => (false, upper.strip_prefix("END")?),
    };
    let label: Vec<_> = label
        .split([' ', '-'])
        .filter(|word| !word.is_empty())
        .collect();
    if label.is_empty() || !label.iter().all(|word| WORDS.contains(word)) {
        return None;
    }
    let leading = text.chars().take_while(|c| *c == '-').count();
    let trailing = text.chars().rev().take_while(|c| *c == '-').count();
    let damage = if leading == 0 && trailing == 0 && !text.starts_with(' ') {
        Damage::NoDashes
    } else if line
        .iter()
        .any(|byte| !byte.is_ascii() || b"=_*~".contains(byte))
    {
        Damage::OtherDashes
    } else if words != upper {
        Damage::SmallLetters
    } else if (leading, trailing) == (5, 5) {
        Damage::Blanks
    } else {
        Damage::DashCount
    };
    Some(Marker {
        is_begin,
        names_private_key: label.contains(&"PRIVATE"),
        damage,
    })
}

/// Whether BEGIN or END comes first in a line, after dashes and blanks. This is cheap, because it is
/// asked of every line, most of which are base64.
fn can_be_marker(line: &[u8]) -> bool {
    let is_before = |byte: &&u8| !byte.is_ascii() || b" \t-=_*~".contains(byte);
    let before = line.iter().take_while(is_before).count();
    let words = line.get(before..).unwrap_or(&[]);
    let begins_with = |word: &[u8]| {
        let start = words.get(..word.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    begins_with(b"BEGIN") || begins_with(b"END")
}

/// Replaces what people and programs write instead of hyphens and blanks. Characters without a
/// width are dropped.
fn simplified(c: char) -> Option<char> {
    match c {
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => None,
        '\u{2010}'..='\u{2015}'
        | '\u{2212}'
        | '\u{fe58}'
        | '\u{fe63}'
        | '\u{ff0d}'
        | '='
        | '_'
        | '*'
        | '~' => Some('-'),
        c if c.is_whitespace() => Some(' '),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_line_is_known_by_its_words() {
        use Damage::{Blanks, DashCount, NoDashes, OtherDashes, SmallLetters};

        for (line, damage) in [
            ("----BEGIN CERTIFICATE----", DashCount),
            ("----BEGIN CERTIFICATE-----", DashCount),
            ("—–BEGIN CERTIFICATE–—", OtherDashes),
            ("\u{feff}—–BEGIN CERTIFICATE–—", OtherDashes),
            ("=====BEGIN CERTIFICATE=====", OtherDashes),
            ("-----begin certificate-----", SmallLetters),
            ("-----Begin Certificate-----", SmallLetters),
            ("BEGIN CERTIFICATE", NoDashes),
            ("begin certificate", NoDashes),
            ("----- BEGIN CERTIFICATE -----", Blanks),
            ("-- ---BEGIN X509 CRL-----", DashCount),
            ("--BEGIN-CERTIFICATE--", DashCount),
        ] {
            let want = Marker {
                is_begin: true,
                names_private_key: false,
                damage,
            };
            assert_eq!(damaged(line.as_bytes()), Some(want), "{line}");
        }
        let key = damaged(b"---END RSA PRIVATE KEY---").unwrap();
        assert!(!key.is_begin && key.names_private_key);
    }

    #[test]
    fn other_lines_are_text() {
        for line in [
            "",
            "---",
            "Certificate chain",
            "begin of the certificate of the store",
            "End key ceremony",
            "End of the CA certificates.",
            "BEGIN",
            "END",
            "ENDCERT",
            "================ Certificate 0 ================",
            "Begin certificate: see the wiki",
            "EMBEGINCERTIFICATE",
            "bEGINa",
        ] {
            assert_eq!(damaged(line.as_bytes()), None, "{line}");
        }
    }
}
