//! The public key of a certificate.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ParsedPublicKey,
    VerificationAlgorithm,
};

use super::Defect;
use super::der::{Der, is_positive, tag};

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// RSA, with the length of its modulus in bits.
    Rsa(u32),
    /// Anything else.
    Other,
}

/// DER of NULL, the parameters of RSA keys.
const NULL: [u8; 2] = [5, 0];

mod oid {
    pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    pub(super) const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];
    pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    pub(super) const P224: &[u8] = &[0x2b, 0x81, 4, 0, 0x21];
    pub(super) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    pub(super) const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];
    pub(super) const P521: &[u8] = &[0x2b, 0x81, 4, 0, 0x23];
    pub(super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
    pub(super) const X25519: &[u8] = &[0x2b, 0x65, 0x6e];
}

/// Reads the content of a SubjectPublicKeyInfo. Like Go, accepts unknown kinds of keys unchecked.
pub(super) fn read_key(mut spki: Der<'_>) -> Result<Key, Defect> {
    let malformed = Defect("its public key is malformed");
    let mut algorithm = spki.take(tag::SEQUENCE).ok_or(malformed)?;
    let kind = algorithm.oid().ok_or(malformed)?;
    let parameters = if algorithm.is_empty() {
        &[][..]
    } else {
        algorithm.element().ok_or(malformed)?.whole
    };
    let (unused, bits) = spki.bits().ok_or(malformed)?;
    let bits = &right_align(unused, bits)[..];
    match kind {
        oid::RSA => read_rsa(parameters, bits).ok_or(Defect("its RSA key is malformed")),
        oid::EC => read_ec(parameters, bits),
        oid::ED25519 | oid::X25519 if !parameters.is_empty() || bits.len() != 32 => {
            Err(Defect("its Curve25519 key is malformed"))
        }
        oid::DSA => read_dsa(parameters, bits).ok_or(Defect("its DSA key is malformed")),
        _ => Ok(Key::Other),
    }
}

/// Shifts the octets of a BIT STRING so that the unused bits come first.
fn right_align(unused: u8, octets: &[u8]) -> Vec<u8> {
    let mut carry = 0_u8;
    let shift = |octet: &u8| {
        if unused == 0 {
            return *octet;
        }
        let moved = carry | (octet >> unused);
        carry = octet << (8 - unused);
        moved
    };
    octets.iter().map(shift).collect()
}

fn read_rsa(parameters: &[u8], bits: &[u8]) -> Option<Key> {
    if parameters != NULL {
        return None;
    }
    let mut key = Der(bits).take(tag::SEQUENCE)?;
    let modulus = key.integer()?;
    let exponent = key.integer()?;
    // Go keeps the exponent in an `int`.
    if !is_positive(modulus) || !is_positive(exponent) || exponent.len() > 8 {
        return None;
    }
    let digits = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let leading = digits.first().map_or(0, |first| first.leading_zeros());
    let octets = u32::try_from(digits.len()).ok()?;
    Some(Key::Rsa(octets.checked_mul(8)? - leading))
}

fn read_ec(parameters: &[u8], point: &[u8]) -> Result<Key, Defect> {
    let curve = Der(parameters)
        .oid()
        .ok_or(Defect("its elliptic curve is malformed"))?;
    // No public CA uses P-224, and our crypto library cannot check its points.
    let (size, algorithm): (_, Option<&'static dyn VerificationAlgorithm>) = match curve {
        oid::P224 => (57, None),
        oid::P256 => (65, Some(&ECDSA_P256_SHA256_ASN1)),
        oid::P384 => (97, Some(&ECDSA_P384_SHA384_ASN1)),
        oid::P521 => (133, Some(&ECDSA_P521_SHA512_ASN1)),
        _ => return Err(Defect("its elliptic curve is not one that Go knows")),
    };
    let is_valid = point.first() == Some(&4)
        && point.len() == size
        && algorithm.is_none_or(|algorithm| ParsedPublicKey::new(algorithm, point).is_ok());
    if is_valid {
        Ok(Key::Other)
    } else {
        Err(Defect("its key is no point of its elliptic curve"))
    }
}

fn read_dsa(parameters: &[u8], bits: &[u8]) -> Option<Key> {
    let mut parameters = Der(parameters).take(tag::SEQUENCE)?;
    let mut key = Der(bits);
    let numbers = [
        key.integer()?,
        parameters.integer()?,
        parameters.integer()?,
        parameters.integer()?,
    ];
    numbers
        .iter()
        .all(|number| is_positive(number))
        .then_some(Key::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_bits_of_an_rsa_modulus() {
        let key = [&[0x30, 8, 2, 3][..], &[0, 0x80, 1], &[2, 1, 3]].concat();
        assert_eq!(read_rsa(&NULL, &key), Some(Key::Rsa(16)));
        let key = [&[0x30, 7, 2, 2][..], &[0x40, 1], &[2, 1, 3]].concat();
        assert_eq!(read_rsa(&NULL, &key), Some(Key::Rsa(15)));
        assert_eq!(read_rsa(&[], &key), None);
        let negative = [&[0x30, 7, 2, 2][..], &[0x80, 1], &[2, 1, 3]].concat();
        assert_eq!(read_rsa(&NULL, &negative), None);
    }

    #[test]
    fn aligns_a_bit_string_to_the_right() {
        assert_eq!(right_align(0, &[1, 2]), [1, 2]);
        assert_eq!(right_align(4, &[0xab, 0xc0]), [0x0a, 0xbc]);
    }
}
