//! The extensions that say what a certificate may be used for.

use super::der::{Der, tag};

/// basicConstraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// `cA`.
    pub is_ca: bool,
    /// `pathLenConstraint`: the maximum number of intermediates below this certificate on a path.
    pub path_len: Option<u64>,
}

impl BasicConstraints {
    pub(super) fn read(mut value: Der<'_>) -> Option<Self> {
        let mut sequence = value.take(tag::SEQUENCE)?;
        let is_ca = sequence.is_next(tag::BOOLEAN) && sequence.boolean()?;
        let path_len = if sequence.is_next(tag::INTEGER) {
            Some(sequence.small_unsigned()?)
        } else {
            None
        };
        Some(Self { is_ca, path_len })
    }
}

/// keyUsage: bit n of the BIT STRING is bit n here, counted from the least significant one. Go
/// knows the first nine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage(pub u16);

impl KeyUsage {
    /// `keyCertSign`.
    const CERT_SIGN: u16 = 1 << 5;

    pub(super) fn read(mut value: Der<'_>) -> Option<Self> {
        let (_, octets) = value.bits()?;
        let octet = |at| octets.get(at).map_or(0, |octet: &u8| octet.reverse_bits());
        Some(Self(u16::from(octet(0)) | (u16::from(octet(1)) & 1) << 8))
    }

    /// Returns whether the key may sign certificates. Go reads "no bit at all" as "not restricted".
    pub const fn allows_cert_sign(self) -> bool {
        self.0 == 0 || self.0 & Self::CERT_SIGN != 0
    }
}

/// extKeyUsage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedKeyUsage<'a> {
    /// The OIDs of the purposes, as their octets.
    pub purposes: Vec<&'a [u8]>,
}

impl<'a> ExtendedKeyUsage<'a> {
    /// `anyExtendedKeyUsage`.
    pub const ANY: &'static [u8] = &[0x55, 0x1d, 0x25, 0];

    /// `id-kp-serverAuth`.
    pub const SERVER_AUTH: &'static [u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

    pub(super) fn read(mut value: Der<'a>) -> Option<Self> {
        let mut list = value.take(tag::SEQUENCE)?;
        let mut purposes = Vec::new();
        while !list.is_empty() {
            purposes.push(list.oid()?);
        }
        Some(Self { purposes })
    }

    /// Returns whether the purposes include TLS servers.
    pub fn allows_server_auth(&self) -> bool {
        self.purposes
            .iter()
            .any(|purpose| [Self::ANY, Self::SERVER_AUTH].contains(purpose))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_usage_without_any_bit_restricts_nothing() {
        let usage = |bytes: &[u8]| KeyUsage::read(Der(bytes));
        let signs = |bytes: &[u8]| usage(bytes).map(KeyUsage::allows_cert_sign);
        assert_eq!(signs(&[3, 2, 1, 6]), Some(true));
        assert_eq!(signs(&[3, 2, 7, 0x80]), Some(false));
        assert_eq!(signs(&[3, 1, 0]), Some(true));
        assert_eq!(usage(&[3, 2, 8, 0]), None);
        assert_eq!(usage(&[3, 3, 7, 6, 0x80]), Some(KeyUsage(0x160)));
    }

    #[test]
    fn a_path_length_fits_into_63_bits() {
        let path_len = |bytes: &[u8]| BasicConstraints::read(Der(bytes))?.path_len;
        assert_eq!(path_len(&[0x30, 6, 1, 1, 0xff, 2, 1, 0]), Some(0));
        assert_eq!(path_len(&[0x30, 3, 1, 1, 0xff]), None);
        let longest = [&[0x30, 10, 2, 8, 0x7f][..], &[0xff; 7]].concat();
        assert_eq!(path_len(&longest), Some(u64::MAX >> 1));
        for refused in [
            &[0x30, 3, 2, 1, 0xff][..],
            &[0x30, 11, 2, 9, 0, 0xff, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(BasicConstraints::read(Der(refused)), None, "{refused:?}");
        }
    }

    #[test]
    fn servers_are_among_the_purposes_when_it_names_them_or_any() {
        let allows = |purposes: &[&[u8]]| {
            let purposes = purposes.iter().map(|oid| [&[6, 0][..], oid].concat());
            let list: Vec<u8> = purposes
                .flat_map(|mut element| {
                    element[1] = u8::try_from(element.len() - 2).unwrap();
                    element
                })
                .collect();
            let value = [&[0x30, u8::try_from(list.len()).unwrap()][..], &list].concat();
            let usage = ExtendedKeyUsage::read(Der(&value)).unwrap();
            usage.allows_server_auth()
        };
        let clients: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
        assert!(allows(&[clients, ExtendedKeyUsage::SERVER_AUTH]));
        assert!(allows(&[ExtendedKeyUsage::ANY]));
        assert!(!allows(&[clients]));
        assert!(!allows(&[]));
    }
}
