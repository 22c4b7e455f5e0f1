//! Recognition of certificates, private keys and containers by their bytes, without any PEM block.

use super::fault::Kind;
use super::lines::{find, lines, names_private_key};
use crate::ca::base64;
use crate::ca::certificate::Certificate;

/// The content type signedData of a PKCS#7 container (RFC 5652, section 5.1), as a DER element.
const SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";

/// How the OIDs of the schemes that encrypt a private key begin: PKCS#5 and PKCS#12.
const ENCRYPTIONS: [&[u8]; 2] = [
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05",
    b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01",
];

/// How a private key begins in OpenSSH's own format.
const OPENSSH_KEY: &[u8] = b"openssh-key-v1\0";

/// Most places in binary text at which an element of DER is looked for.
const MAX_CANDIDATES: usize = 16;

/// Returns what the base64 `text`, without white space, encodes. `None` if that is nothing that
/// belongs into a bundle or must not be in one. The text may be cut off, or go on with other
/// letters.
pub(super) fn in_base64(text: &[u8]) -> Option<Kind> {
    let end = text.iter().position(|byte| *byte == b'=');
    let end = end.unwrap_or(text.len()).min(text.len() / 4 * 4);
    let (whole, rest) = text.split_at(end);
    let mut padded = whole.to_vec();
    padded.extend(rest.iter().take_while(|byte| **byte == b'='));
    let decoded = base64::decode(&padded)
        .or_else(|| base64::decode(whole.get(..whole.len() / 4 * 4).unwrap_or(whole)))?;
    in_octets(&decoded)
}

/// Returns what octets are that were decoded: PEM, DER, or base64 once more.
pub(super) fn in_octets(octets: &[u8]) -> Option<Kind> {
    if lines(octets).any(|line| names_private_key(line.text)) {
        return Some(Kind::PrivateKey);
    }
    if find(octets, b"-----BEGIN").is_some() {
        return Some(Kind::Base64OfPem);
    }
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(byte);
    if !octets.is_empty() && octets.iter().all(is_base64) {
        let digits = octets
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace());
        // Each time the text is shorter by a quarter.
        return in_base64(&digits.collect::<Vec<u8>>());
    }
    match in_der(octets) {
        Some(Kind::Der) => Some(Kind::Bare),
        other => other,
    }
}

/// Returns what an element of DER at the start of `bytes` is, which may be cut off.
pub(super) fn in_der(bytes: &[u8]) -> Option<Kind> {
    if bytes.starts_with(OPENSSH_KEY) {
        return Some(Kind::PrivateKey);
    }
    let (content, size) = sequence(bytes)?;
    if is_private_key(content) {
        return Some(Kind::PrivateKey);
    }
    if content.starts_with(SIGNED_DATA) {
        return Some(Kind::Pkcs7);
    }
    let whole = bytes.get(..size)?;
    Certificate::parse(whole).is_ok().then_some(Kind::Der)
}

/// Returns what is in binary text: the first element of DER that is known. A private key counts
/// before everything else.
pub(super) fn in_binary(bytes: &[u8]) -> Option<Kind> {
    if find(bytes, OPENSSH_KEY).is_some() {
        return Some(Kind::PrivateKey);
    }
    let starts = bytes.windows(2).enumerate();
    let starts = starts.filter(|(_, pair)| matches!(pair, [0x30, 0x20..=0x7f | 0x81..=0x83]));
    let plausible = starts.filter(|(start, _)| {
        let rest = bytes.get(*start..).unwrap_or(&[]);
        // Every element that is looked for begins with another element.
        sequence(rest).is_some_and(|(content, _)| {
            matches!(
                content,
                [0x30, 0x0d..=0x82, ..] | [0x02, 0x01, 0x00 | 0x01, ..]
            ) || content.starts_with(SIGNED_DATA)
        })
    });
    let kinds = plausible
        .take(MAX_CANDIDATES)
        .filter_map(|(start, _)| in_der(bytes.get(start..)?));
    let kinds: Vec<_> = kinds.collect();
    let key = kinds.iter().find(|kind| **kind == Kind::PrivateKey);
    key.or_else(|| kinds.first()).copied()
}

/// Returns the content of the SEQUENCE at the start of `bytes`, as far as it is there, and the size
/// of the whole element.
fn sequence(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (octets, rest) = match bytes {
        [0x30, 0x81, rest @ ..] => (1, rest),
        [0x30, 0x82, rest @ ..] => (2, rest),
        [0x30, 0x83, rest @ ..] => (3, rest),
        [0x30, length @ 0..=0x7f, rest @ ..] => return Some((rest, usize::from(*length) + 2)),
        _ => return None,
    };
    let (length, content) = rest.split_at_checked(octets)?;
    let length = length
        .iter()
        .fold(0, |sum, octet| sum * 256 + usize::from(*octet));
    Some((content, 2 + octets + length))
}

/// Whether this content of a SEQUENCE begins as that of a private key: PKCS#1, PKCS#8, encrypted
/// PKCS#8 or SEC 1.
fn is_private_key(content: &[u8]) -> bool {
    match content {
        [0x02, 0x01, 0x00, 0x02, ..]
        | [0x02, 0x01, 0x00 | 0x01, 0x30, _, 0x06, ..]
        | [0x02, 0x01, 0x01, 0x04, ..] => true,
        [0x30, _, algorithm @ ..] => ENCRYPTIONS.iter().any(|oid| algorithm.starts_with(oid)),
        _ => false,
    }
}
