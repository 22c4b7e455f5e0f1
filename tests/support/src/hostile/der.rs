//! Certificates that are unusual, in DER.

use anyhow::{Context as _, Result};

/// Returns `der` with another serial number, of the same length.
pub(super) fn with_serial(der: &[u8], number: u32) -> Vec<u8> {
    let mut der = der.to_vec();
    // After the headers of the certificate, of what is signed, and of the version.
    let digits = number.to_be_bytes();
    if let Some(serial) = der.get_mut(18..22) {
        serial.copy_from_slice(&digits);
    }
    der
}

/// Returns the DER of `tag` with `content`.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut whole = vec![tag];
    match u8::try_from(length) {
        Ok(length) if length < 0x80 => whole.push(length),
        _ => {
            let bytes = length.to_be_bytes();
            let digits: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            whole.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
            whole.extend(digits);
        }
    }
    whole.extend_from_slice(content);
    whole
}

/// Returns a certificate whose subject is one common name of `bytes`.
pub(super) fn with_name(certificate: &[u8], bytes: usize) -> Result<Vec<u8>> {
    let value = [der(6, &[0x55, 4, 3]), der(0x0c, &vec![b'x'; bytes])].concat();
    with_subject(certificate, &der(0x31, &der(0x30, &value)))
}

/// Returns a certificate whose subject has `count` names.
pub(super) fn with_names(certificate: &[u8], count: usize) -> Result<Vec<u8>> {
    let value = [der(6, &[0x55, 4, 3]), der(0x0c, b"")].concat();
    with_subject(certificate, &der(0x31, &der(0x30, &value)).repeat(count))
}

/// Returns `certificate` with another subject. Its signature is then wrong, and nothing that reads
/// a bundle looks at it.
pub(super) fn with_subject(certificate: &[u8], names: &[u8]) -> Result<Vec<u8>> {
    let (_, rest, _) = take(certificate).context("der")?;
    let (_, tbs, after) = take(rest).context("tbs")?;
    let mut parts = Vec::new();
    let mut left = tbs;
    while !left.is_empty() {
        let (whole, _, more) = take(left).context("part")?;
        parts.push(whole.to_vec());
        left = more;
    }
    // Version, serial number, algorithm, issuer, validity, subject.
    *parts.get_mut(5).context("subject")? = der(0x30, names);
    let tbs = der(0x30, &parts.concat());
    Ok(der(0x30, &[tbs, after.to_vec()].concat()))
}

/// Returns the first element of `der` as a whole, its content, and what follows it.
fn take(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = usize::from(*der.get(1)?);
    let (header, length) = if first < 0x80 {
        (2, first)
    } else {
        let digits = first & 0x7f;
        let number = der.get(2..2 + digits)?.iter();
        (
            2 + digits,
            number.fold(0, |sum, digit| sum << 8 | usize::from(*digit)),
        )
    };
    let (whole, after) = der.split_at_checked(header + length)?;
    Some((whole, whole.get(header..)?, after))
}
