//! Examination of the text around blocks. It is plain text, or something in it was meant to be
//! read: a certificate without its BEGIN and END lines, in another encoding, or a private key.

use super::fault::{Fault, Kind};
use super::lines::{find, is_comment, lines, names_private_key};
use super::{encoded, hex_dump};
use crate::ca::certificate::Fingerprint;

/// Shortest base64, in characters, that can be a certificate or a key. Words and fingerprints are
/// shorter, or are none of these when they are decoded.
const MIN_BASE64: usize = 64;

/// Shortest line, in characters, that is a part of a key: a word of a comment is shorter.
const MIN_KEY_LINE: usize = 24;

/// Length of base64 that is no text, whatever it encodes.
const MAX_UNKNOWN_BASE64: usize = 160;

/// Most bytes that tell UTF-16 and other binary files from text.
const MAX_SNIFFED_BYTES: usize = 64 * 1024;

/// How lines begin that only a private key has beside it: the headers of an encrypted one, and the
/// output of tools that print no block.
const KEY_LINES: [&[u8]; 5] = [
    b"DEK-Info:",
    b"Private-Key:",
    b"PuTTY-User-Key-File-",
    b"priv:",
    b"privateExponent:",
];

/// Text around blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    /// The number of its first line.
    pub(super) line: usize,
    /// Whether an END line follows whose BEGIN line is lost. It is reported itself, so the content
    /// before it is not.
    pub(super) is_tail: bool,
}

/// Calls `found` for everything in `text` that is no text.
pub(super) fn faults(text: Text<'_>, found: &mut dyn FnMut(Fault)) {
    if let Some(kind) = in_binary(text.bytes) {
        return found(fault(kind, text.line, text.bytes));
    }
    // A key in JSON (RFC 7517) says its type, and has a private part.
    if find(text.bytes, b"\"kty\"").is_some() && find(text.bytes, b"\"d\"").is_some() {
        found(fault(Kind::PrivateKey, text.line, text.bytes));
    }
    let mut run = Run::default();
    for line in lines(text.bytes) {
        // Files with carriage returns only are one line.
        for part in line.text.split(|byte| *byte == b'\r') {
            run.add(part, text.line + line.number - 1, found);
        }
    }
    if !text.is_tail || run.kind() == Some(Kind::PrivateKey) {
        run.end(found);
    }
}

/// Whether there is a private key in `bytes`, which may be anything.
pub(super) fn has_private_key(bytes: &[u8]) -> bool {
    let mut is_found = false;
    let text = Text {
        bytes,
        line: 1,
        is_tail: false,
    };
    faults(text, &mut |fault| {
        is_found |= fault.kind == Kind::PrivateKey;
    });
    is_found
}

/// Whether there is a line of nothing but base64 in `bytes`.
pub(super) fn has_content(bytes: &[u8]) -> bool {
    lines(bytes).any(|line| {
        let text = line.text.trim_ascii();
        text.len() >= 16 && format_of(text) == Some(Format::Base64)
    })
}

/// Whether a line is a sentence about a block that begins at the offset `at`: it has words before it,
/// an END after it, and nothing that could be the content.
pub(super) fn only_mentions_a_block(line: &[u8], at: usize) -> bool {
    let (before, after) = line.split_at(at);
    let mut tokens = after.split(|byte| !is_base64_digit(*byte));
    before.iter().any(u8::is_ascii_alphabetic)
        && find(before, b"-----END").is_none()
        && find(after, b"-----END").is_some()
        && !names_private_key(line)
        && tokens.all(|token| token.len() < MIN_KEY_LINE)
}

fn fault(kind: Kind, line: usize, bytes: &[u8]) -> Fault {
    Fault {
        kind,
        block: None,
        line,
        identity: (kind != Kind::PrivateKey).then(|| Fingerprint::of(bytes)),
    }
}

/// Returns what is in `bytes` if they are not text. Padding by zero bytes is nothing.
fn in_binary(bytes: &[u8]) -> Option<Kind> {
    let is_padding = |byte: &u8| matches!(byte, 0 | 0x1a) || byte.is_ascii_whitespace();
    let head = bytes.get(..MAX_SNIFFED_BYTES).unwrap_or(bytes);
    if !head.iter().any(|byte| *byte < b'\t') || bytes.iter().all(is_padding) {
        return None;
    }
    if is_utf16(head) {
        // Every other octet is zero, wherever the first one is.
        let text: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        let has_key = lines(&text).any(|line| names_private_key(line.text));
        return Some(if has_key {
            Kind::PrivateKey
        } else {
            Kind::Utf16
        });
    }
    Some(encoded::in_binary(bytes).unwrap_or(Kind::Binary))
}

/// Whether a block in UTF-16 begins in `head`.
fn is_utf16(head: &[u8]) -> bool {
    let needle: Vec<u8> = b"-----BEGIN".iter().flat_map(|byte| [0, *byte]).collect();
    // From the second octet on, both orders are the same.
    find(head, needle.get(1..).unwrap_or(&needle)).is_some()
}

/// How a line writes octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    /// Base64, or hexadecimal digits without a separator.
    #[default]
    Base64,
    /// Pairs of hexadecimal digits, parted by blanks or colons.
    HexDump,
}

/// Consecutive lines of nothing but digits of one format.
#[derive(Debug, Default)]
struct Run {
    digits: Vec<u8>,
    format: Format,
    /// The number of the first line.
    line: usize,
    is_comment: bool,
    /// Whether the line before is a comment with the BEGIN line of a private key.
    follows_key: bool,
}

impl Run {
    /// Adds the line with this number, or ends before it.
    fn add(&mut self, line: &[u8], number: usize, found: &mut dyn FnMut(Fault)) {
        let is_comment = is_comment(line);
        let text = if is_comment {
            let signs = line.iter().take_while(|byte| b" \t#;/".contains(byte));
            line.get(signs.count()..).unwrap_or(&[])
        } else {
            line
        };
        let text = text.trim_ascii();
        let dumped = hex_dump::digits(text);
        let text = dumped.as_deref().unwrap_or(text);
        let format = format_of(text);
        let is_begin = is_comment && names_private_key(text) && text.ends_with(b"-");
        if std::mem::replace(&mut self.follows_key, is_begin)
            && is_comment
            && format.is_some()
            && text.len() >= MIN_KEY_LINE
        {
            // The rest of it is the same key, or says so itself.
            return found(fault(Kind::PrivateKey, number, text));
        }
        let is_more = !self.digits.is_empty()
            && !self.digits.ends_with(b"=")
            && self.is_comment == is_comment
            && match self.format {
                Format::Base64 => format == Some(Format::Base64),
                Format::HexDump => is_hex(text),
            };
        if !is_more {
            let follows_key = self.follows_key;
            std::mem::take(self).end(found);
            self.follows_key = follows_key;
            self.line = number;
            self.is_comment = is_comment;
            self.format = format.unwrap_or_default();
        }
        if is_more || format.is_some() {
            let is_separator = |byte: &&u8| matches!(byte, b' ' | b'\t' | b':');
            self.digits
                .extend(text.iter().filter(|byte| !is_separator(byte)));
            return;
        }
        // OpenSSL says the algorithm first: `ED25519 Private-Key:`.
        let says_key =
            KEY_LINES.iter().any(|key| text.starts_with(key)) || text.ends_with(b" Private-Key:");
        if says_key || is_comment && is_key_on_one_line(text) {
            found(fault(Kind::PrivateKey, number, text));
        }
        // A value after a name, in quotes, or in a list.
        let tokens = text.split(|byte| !is_base64_digit(*byte));
        let tokens = tokens.map(after_equals_sign);
        for token in tokens.filter(|token| token.len() >= MIN_BASE64) {
            let token = Self {
                digits: token.to_vec(),
                format: Format::Base64,
                line: number,
                is_comment,
                follows_key: false,
            };
            token.end(found);
        }
    }

    fn end(self, found: &mut dyn FnMut(Fault)) {
        if let Some(kind) = self.kind()
            && (!self.is_comment || kind == Kind::PrivateKey)
        {
            found(fault(kind, self.line, &self.digits));
        }
    }

    /// Returns what the digits encode; `None` if that is nothing in particular.
    fn kind(&self) -> Option<Kind> {
        let digits = &self.digits;
        if digits.len() < MIN_BASE64 {
            return None;
        }
        if is_hex(digits) {
            return match encoded::in_octets(&from_hex(digits))? {
                Kind::Bare | Kind::Base64OfPem => Some(Kind::Hex),
                other => Some(other),
            };
        }
        let is_der = digits.starts_with(b"MI");
        let is_long = digits.len() >= MAX_UNKNOWN_BASE64;
        encoded::in_base64(digits).or_else(|| (is_der || is_long).then_some(Kind::LooseBase64))
    }
}

/// Returns how `text` writes octets; `None` if it is something else.
fn format_of(text: &[u8]) -> Option<Format> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = text.get(..text.len() - padding).unwrap_or(&[]);
    let is_digit = |byte: &u8| is_base64_digit(*byte) && *byte != b'=';
    if text.is_empty() {
        None
    } else if padding <= 2 && digits.iter().all(is_digit) {
        Some(Format::Base64)
    } else {
        is_hex(text).then_some(Format::HexDump)
    }
}

/// Returns what follows the last equals sign of a token that is no padding, as in `Modulus=9A3F`.
fn after_equals_sign(token: &[u8]) -> &[u8] {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = token.get(..token.len() - padding).unwrap_or(&[]);
    let sign = digits.iter().rposition(|byte| *byte == b'=');
    sign.and_then(|sign| token.get(sign + 1..)).unwrap_or(token)
}

/// Whether a whole private key is on this line of a comment, with its line ends written out. A
/// comment that only mentions one is shorter.
fn is_key_on_one_line(text: &[u8]) -> bool {
    names_private_key(text) && text.len() >= 2 * MIN_BASE64
}

const fn is_base64_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Whether `text` has pairs of hexadecimal digits only, parted by blanks, by colons or not at all.
fn is_hex(text: &[u8]) -> bool {
    let mut groups = text.split(|byte| matches!(byte, b' ' | b'\t' | b':'));
    !text.is_empty()
        && groups.all(|group| group.len() % 2 == 0 && group.iter().all(u8::is_ascii_hexdigit))
}

/// Returns the octets of hexadecimal digits.
fn from_hex(digits: &[u8]) -> Vec<u8> {
    let value = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let octets = digits.chunks_exact(2).filter_map(|pair| match pair {
        [high, low] => Some(value(*high)? << 4 | value(*low)?),
        _ => None,
    });
    octets.collect()
}
