//! Detection of the format of bytes without any PEM block.

use super::fault::{Fault, Kind};
use super::scan::{find, names_private_key};
use crate::ca::base64;
use crate::ca::certificate::Certificate;

/// Maximum number of bytes used to detect UTF-16 and binary files: enough for what people confuse
/// with PEM.
const MAX_SNIFFED_BYTES: usize = 64 * 1024;

/// Returns the faults of `bytes`, in which no line begins or ends a block.
pub(super) fn faults_without_blocks(bytes: &[u8]) -> Vec<Fault> {
    let mut kinds = vec![guess(bytes)];
    if decode_base64(bytes).is_some_and(|decoded| names_private_key(&decoded)) {
        kinds.push(Kind::PrivateKey);
    }
    let fault = |kind| Fault {
        kind,
        block: None,
        line: 1,
        identity: None,
    };
    kinds.into_iter().map(fault).collect()
}

fn guess(bytes: &[u8]) -> Kind {
    let head = bytes.get(..MAX_SNIFFED_BYTES).unwrap_or(bytes);
    if is_utf16(head) {
        return Kind::Utf16;
    }
    if Certificate::parse(bytes).is_ok() {
        return Kind::Der;
    }
    match decode_base64(bytes) {
        Some(decoded) if find(&decoded, b"-----BEGIN").is_some() => return Kind::Base64OfPem,
        Some(decoded) if Certificate::parse(decoded.as_slice()).is_ok() => return Kind::Bare,
        _ => {}
    }
    // Key stores and PKCS#12 files begin with bytes that do not occur in text.
    if head.iter().any(|byte| *byte < b'\t') {
        Kind::Binary
    } else {
        Kind::Nothing
    }
}

fn is_utf16(head: &[u8]) -> bool {
    let begin = |low_first: bool| {
        let pair = |byte: u8| if low_first { [byte, 0] } else { [0, byte] };
        let needle: Vec<u8> = b"-----BEGIN".iter().copied().flat_map(pair).collect();
        find(head, &needle).is_some()
    };
    begin(true) || begin(false)
}

/// Decodes `bytes` from base64, ignoring white space. Returns `None` if they are empty or not
/// base64.
fn decode_base64(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for byte in bytes.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        // Most inputs that are not base64 fail here within their first bytes.
        if !byte.is_ascii_alphanumeric() && !b"+/=".contains(byte) {
            return None;
        }
        text.push(*byte);
    }
    if text.is_empty() {
        return None;
    }
    base64::decode(&text)
}
