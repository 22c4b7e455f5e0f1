//! A DER reader that accepts exactly what Go's `cryptobyte` accepts.
//!
//! Rust's X.509 parsers are laxer in places (string contents, key points, trailing bytes) and
//! stricter in others. What counts for a bundle is how Velero, a Go program, reads it.

/// Tags, as their identifier octets.
pub(super) mod tag {
    pub(in crate::ca::x509) const BOOLEAN: u8 = 0x01;
    pub(in crate::ca::x509) const INTEGER: u8 = 0x02;
    pub(in crate::ca::x509) const BIT_STRING: u8 = 0x03;
    pub(in crate::ca::x509) const OCTET_STRING: u8 = 0x04;
    pub(in crate::ca::x509) const OID: u8 = 0x06;
    pub(in crate::ca::x509) const UTC_TIME: u8 = 0x17;
    pub(in crate::ca::x509) const GENERALIZED_TIME: u8 = 0x18;
    pub(in crate::ca::x509) const SEQUENCE: u8 = 0x30;
    pub(in crate::ca::x509) const SET: u8 = 0x31;

    /// The tag `[number]` of a primitive value.
    pub(in crate::ca::x509) const fn context(number: u8) -> u8 {
        0x80 | number
    }

    /// The tag `[number]` of a constructed value.
    pub(in crate::ca::x509) const fn constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// Bytes to read from the front. Every method returns `None` if it does not find what it reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a>(pub(super) &'a [u8]);

/// One element: tag, length and content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// The whole element, with tag and length.
    pub(super) whole: &'a [u8],
}

impl<'a> Der<'a> {
    pub(super) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the next element has `tag`.
    pub(super) fn is_next(self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// Reads the next element.
    pub(super) fn element(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        // Tags above 30 take several octets. X.509 has none.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let octets = usize::from(first & 0x7f);
            if !(1..=4).contains(&octets) {
                return None;
            }
            let (length, rest) = rest.split_at_checked(octets)?;
            // DER: the shortest form, and no leading zero.
            if length.first() == Some(&0) {
                return None;
            }
            let length = length
                .iter()
                .try_fold(0_usize, |sum, octet| {
                    sum.checked_mul(256)?.checked_add(usize::from(*octet))
                })
                .filter(|length| *length >= 0x80)?;
            (length, rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let size = self.0.len() - rest.len();
        let whole = self.0.get(..size)?;
        self.0 = rest;
        Some(Element {
            tag,
            content,
            whole,
        })
    }

    /// Reads the next element, which must have `tag`.
    pub(super) fn take_element(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.element().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(element)
    }

    /// Reads the content of the next element, which must have `tag`.
    pub(super) fn take(&mut self, tag: u8) -> Option<Self> {
        self.take_element(tag).map(|element| Self(element.content))
    }

    /// Reads the content of the next element if it has `tag`. Returns `Some(None)` if it has another
    /// one.
    #[expect(
        clippy::option_option,
        reason = "malformed, absent and present are three things, here as in ASN.1"
    )]
    pub(super) fn optional(&mut self, tag: u8) -> Option<Option<Self>> {
        if self.is_next(tag) {
            self.take(tag).map(Some)
        } else {
            Some(None)
        }
    }

    /// Reads an INTEGER in its shortest form, as the octets of its two's complement.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        let octets = self.take(tag::INTEGER)?.0;
        match octets {
            [] => None,
            [0x00, second, ..] if second & 0x80 == 0 => None,
            [0xff, second, ..] if second & 0x80 != 0 => None,
            _ => Some(octets),
        }
    }

    /// Reads an INTEGER from 0 to 2^63 - 1.
    pub(super) fn small_unsigned(&mut self) -> Option<u64> {
        let octets = self.integer().filter(|octets| !is_negative(octets))?;
        let mut padded = [0; 8];
        let start = padded.len().checked_sub(octets.len())?;
        padded.get_mut(start..)?.copy_from_slice(octets);
        Some(u64::from_be_bytes(padded))
    }

    /// Reads a BOOLEAN.
    pub(super) fn boolean(&mut self) -> Option<bool> {
        match self.take(tag::BOOLEAN)?.0 {
            [0x00] => Some(false),
            [0xff] => Some(true),
            _ => None,
        }
    }

    /// Reads an OBJECT IDENTIFIER as its octets. All its parts must be below 2^31.
    pub(super) fn oid(&mut self) -> Option<&'a [u8]> {
        let octets = self.take(tag::OID)?.0;
        if octets.is_empty() {
            return None;
        }
        let mut value: u32 = 0;
        let mut is_start = true;
        for octet in octets {
            if (is_start && *octet == 0x80) || value >= 1 << 24 {
                return None;
            }
            value = (value << 7) | u32::from(octet & 0x7f);
            is_start = octet & 0x80 == 0;
            if is_start {
                value = 0;
            }
        }
        is_start.then_some(octets)
    }

    /// Reads a BIT STRING: the number of unused bits in its last octet, and its octets.
    pub(super) fn bits(&mut self) -> Option<(u8, &'a [u8])> {
        let (&unused, octets) = self.take(tag::BIT_STRING)?.0.split_first()?;
        let is_valid = match octets.last() {
            _ if unused > 7 => false,
            None => unused == 0,
            Some(last) => last & ((1 << unused) - 1) == 0,
        };
        is_valid.then_some((unused, octets))
    }
}

/// Returns whether the octets of an INTEGER are a number above zero.
pub(super) fn is_positive(integer: &[u8]) -> bool {
    !is_negative(integer) && integer.iter().any(|octet| *octet != 0)
}

/// Returns whether the octets of an INTEGER are a number below zero.
pub(super) fn is_negative(integer: &[u8]) -> bool {
    integer.first().is_some_and(|octet| octet & 0x80 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_the_shortest_form_of_a_length() {
        let content = |bytes: &[u8]| Der(bytes).element().map(|element| element.content.len());
        assert_eq!(content(&[4, 1, 7]), Some(1));
        assert_eq!(content(&[4, 0x81, 1, 7]), None);
        assert_eq!(content(&[4, 0x80]), None);
        let long = [&[4, 0x81, 0x80][..], &[0; 128]].concat();
        assert_eq!(content(&long), Some(128));
        let padded = [&[4, 0x82, 0, 0x80][..], &[0; 128]].concat();
        assert_eq!(content(&padded), None);
        assert_eq!(content(&[4, 2, 7]), None);
        assert_eq!(content(&[0x1f, 1, 7]), None);
        assert_eq!(content(&[4, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn takes_integers_booleans_oids_and_bits_in_their_one_der_form() {
        assert_eq!(Der(&[2, 2, 0, 0x80]).integer(), Some(&[0, 0x80][..]));
        assert_eq!(Der(&[2, 2, 0, 1]).integer(), None);
        assert_eq!(Der(&[2, 2, 0xff, 0x80]).integer(), None);
        assert_eq!(Der(&[2, 0]).integer(), None);
        assert_eq!(Der(&[1, 1, 1]).boolean(), None);
        assert_eq!(Der(&[1, 1, 0xff]).boolean(), Some(true));
        assert_eq!(
            Der(&[6, 3, 0x55, 0x1d, 0x13]).oid(),
            Some(&[0x55, 0x1d, 0x13][..])
        );
        assert_eq!(Der(&[6, 2, 0x55, 0x80]).oid(), None);
        assert_eq!(Der(&[6, 2, 0x55, 0x9d]).oid(), None);
        assert_eq!(Der(&[6, 6, 0x55, 0x90, 0x80, 0x80, 0x80, 0]).oid(), None);
        assert_eq!(Der(&[3, 2, 1, 6]).bits(), Some((1, &[6][..])));
        assert_eq!(Der(&[3, 2, 1, 7]).bits(), None);
        assert_eq!(Der(&[3, 1, 1]).bits(), None);
    }
}
