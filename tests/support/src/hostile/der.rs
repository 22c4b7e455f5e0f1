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
pub(super) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut whole = vec![tag];
    whole.extend(der_length(content.len()));
    whole.extend_from_slice(content);
    whole
}

/// Returns the octets of a length.
fn der_length(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(length) if length < 0x80 => vec![length],
        _ => {
            let bytes = length.to_be_bytes();
            let digits = bytes.into_iter().skip_while(|byte| *byte == 0);
            let digits: Vec<u8> = digits.collect();
            let count = u8::try_from(digits.len()).unwrap_or(8);
            [vec![0x80 | count], digits].concat()
        }
    }
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

/// Returns a certificate of as few bytes as Go parses, with this serial number. It breaks as many
/// rules as one can: it has expired, lacks its root, is signed with MD5, and has a short RSA key.
pub(super) fn smallest(serial: u32) -> Vec<u8> {
    let key = der(0x30, &[der(2, &[3]), der(2, &[3])].concat());
    let spki = [der(0x30, &[der(6, RSA), der(5, b"")].concat()), bits(&key)];
    let issuer = name(der(0x0c, b"i"));
    unsigned(serial, &issuer, &der(0x30, b""), &spki.concat(), b"")
}

/// Returns a certificate with this SubjectPublicKeyInfo, as its whole DER.
pub(super) fn with_key(serial: u32, spki: &[u8]) -> Vec<u8> {
    let (_, spki, _) = take(spki).unwrap_or_default();
    unsigned(serial, &der(0x30, b""), &der(0x30, b""), spki, b"")
}

/// Returns a certificate with these extensions, each an OID and a value.
pub(super) fn with_extensions<'v>(
    extensions: impl IntoIterator<Item = (Vec<u8>, &'v [u8])>,
) -> Vec<u8> {
    let extension = |(oid, value): (Vec<u8>, &[u8])| {
        let parts = [der(6, &oid), der(4, value)];
        der(0x30, &parts.concat())
    };
    let list: Vec<u8> = extensions.into_iter().flat_map(extension).collect();
    let spki = [der(0x30, &der(6, &[0x2a])), bits(b"")].concat();
    let name = der(0x30, b"");
    unsigned(1, &name, &name, &spki, &der(0xa3, &der(0x30, &list)))
}

/// Returns SEQUENCEs in SEQUENCEs, of about `bytes`.
pub(super) fn nested(bytes: usize) -> Vec<u8> {
    // From the inside to the outside: the length of each has the form that its content needs.
    let mut reversed = Vec::with_capacity(bytes + 8);
    while reversed.len() < bytes {
        let length = der_length(reversed.len());
        reversed.extend(length.iter().rev());
        reversed.push(0x30);
    }
    reversed.reverse();
    reversed
}

/// rsaEncryption.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// md5WithRSAEncryption.
const MD5_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4];

/// A name of one common name.
fn name(value: Vec<u8>) -> Vec<u8> {
    let pair = [der(6, &[0x55, 4, 3]), value].concat();
    der(0x30, &der(0x31, &der(0x30, &pair)))
}

/// A BIT STRING.
fn bits(octets: &[u8]) -> Vec<u8> {
    der(3, &[&[0], octets].concat())
}

/// Returns an expired certificate with an empty signature. It has version 3 if `extensions` are not
/// empty.
fn unsigned(serial: u32, issuer: &[u8], subject: &[u8], spki: &[u8], extensions: &[u8]) -> Vec<u8> {
    let algorithm = der(0x30, &der(6, MD5_RSA));
    let validity = [der(0x17, b"200101000000Z"), der(0x17, b"210101000000Z")];
    let version = if extensions.is_empty() {
        Vec::new()
    } else {
        der(0xa0, &der(2, &[2]))
    };
    // The first octet is neither zero nor negative.
    let serial = der(2, &(serial | 1 << 30).to_be_bytes());
    let tbs = [
        &version,
        &serial,
        &algorithm,
        issuer,
        &der(0x30, &validity.concat()),
        subject,
        &der(0x30, spki),
        extensions,
    ];
    let parts = [der(0x30, &tbs.concat()), algorithm, bits(b"")];
    der(0x30, &parts.concat())
}
