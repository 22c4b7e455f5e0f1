//! The extensions of a certificate: Go refuses the whole certificate when one that it knows is
//! malformed.

use core::net::IpAddr;
use std::collections::HashSet;

use super::Defect;
use super::der::{Der, tag};
use super::uri;

/// What the extensions say of the certificate's use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    /// basicConstraints' `cA`; none without the extension.
    pub(super) ca: Option<bool>,
    /// keyUsage's `keyCertSign`; none without the extension, or when it names no use at all.
    pub(super) cert_sign: Option<bool>,
}

/// authorityInfoAccess.
const AUTHORITY_INFO: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];

/// Reads the list of extensions.
pub(super) fn read_extensions(tagged: Der<'_>) -> Result<Uses, Defect> {
    let malformed = Defect("its extensions are malformed");
    let mut tagged = tagged;
    let mut list = tagged.take(tag::SEQUENCE).ok_or(malformed)?;
    let mut uses = Uses::default();
    let mut seen = HashSet::new();
    while !list.is_empty() {
        let mut extension = list.take(tag::SEQUENCE).ok_or(malformed)?;
        let oid = extension.oid().ok_or(malformed)?;
        let is_critical =
            extension.is_next(tag::BOOLEAN) && extension.boolean().ok_or(malformed)?;
        let value = extension.take(tag::OCTET_STRING).ok_or(malformed)?;
        if !seen.insert(oid) {
            return Err(Defect("it has the same extension twice"));
        }
        read_extension(oid, is_critical, value, &mut uses)?;
    }
    Ok(uses)
}

fn read_extension(
    oid: &[u8],
    is_critical: bool,
    mut value: Der<'_>,
    uses: &mut Uses,
) -> Result<(), Defect> {
    let (read, defect) = match oid {
        [0x55, 0x1d, 14] => (
            (!is_critical)
                .then(|| value.take(tag::OCTET_STRING))
                .flatten()
                .map(drop),
            "its subject key identifier is malformed",
        ),
        [0x55, 0x1d, 15] => (read_key_usage(value, uses), "its key usage is malformed"),
        [0x55, 0x1d, 17] => (
            check_alternative_names(value),
            "its alternative names are malformed",
        ),
        [0x55, 0x1d, 19] => (
            read_basic_constraints(value, uses),
            "its basic constraints are malformed",
        ),
        [0x55, 0x1d, 30] => (
            check_name_constraints(value),
            "its name constraints are malformed",
        ),
        [0x55, 0x1d, 31] => (
            check_distribution_points(value),
            "its CRL distribution points are malformed",
        ),
        [0x55, 0x1d, 32] => (check_policies(value), "its policies are malformed"),
        [0x55, 0x1d, 33] => (
            check_policy_mappings(value),
            "its policy mappings are malformed",
        ),
        [0x55, 0x1d, 35] => (
            (!is_critical)
                .then(|| check_authority_key_id(value))
                .flatten(),
            "its authority key identifier is malformed",
        ),
        [0x55, 0x1d, 36] => (
            check_policy_constraints(value),
            "its policy constraints are malformed",
        ),
        [0x55, 0x1d, 37] => (
            read_extended_key_usage(value),
            "its extended key usage is malformed",
        ),
        [0x55, 0x1d, 54] => (
            value.integer().filter(|number| number.len() <= 8).map(drop),
            "its inhibitAnyPolicy is malformed",
        ),
        AUTHORITY_INFO => (
            (!is_critical)
                .then(|| check_authority_info(value))
                .flatten(),
            "its authority information is malformed",
        ),
        _ => return Ok(()),
    };
    read.ok_or(Defect(defect))
}

fn read_key_usage(mut value: Der<'_>, uses: &mut Uses) -> Option<()> {
    let (_, bits) = value.bits()?;
    let bit = |octet: usize, mask: u8| bits.get(octet).is_some_and(|octet| octet & mask != 0);
    let any = bit(0, 0xff) || bit(1, 0x80);
    // Bit 5 counted from the left; Go reads "no bit at all" as "not restricted".
    uses.cert_sign = any.then(|| bit(0, 0x04));
    Some(())
}

fn read_basic_constraints(mut value: Der<'_>, uses: &mut Uses) -> Option<()> {
    let mut sequence = value.take(tag::SEQUENCE)?;
    uses.ca = Some(sequence.is_next(tag::BOOLEAN) && sequence.boolean()?);
    if sequence.is_next(tag::INTEGER) {
        // Non-negative and at most 2^63 - 1.
        sequence.integer().filter(|number| {
            number.len() <= 8 && number.first().is_some_and(|first| *first < 0x80)
        })?;
    }
    Some(())
}

fn check_alternative_names(mut value: Der<'_>) -> Option<()> {
    let mut names = value.take(tag::SEQUENCE)?;
    while !names.is_empty() {
        let name = names.element()?;
        let is_valid = match name.tag {
            0x81 | 0x82 => name.content.is_ascii(),
            0x86 => std::str::from_utf8(name.content).is_ok_and(uri::is_uri),
            0x87 => matches!(name.content.len(), 4 | 16),
            _ => true,
        };
        is_valid.then_some(())?;
    }
    Some(())
}

fn check_name_constraints(mut value: Der<'_>) -> Option<()> {
    let mut sequence = value.take(tag::SEQUENCE)?;
    let permitted = sequence.optional(tag::constructed(0))?;
    let excluded = sequence.optional(tag::constructed(1))?;
    let is_empty = |subtrees: Option<Der<'_>>| subtrees.is_none_or(Der::is_empty);
    if !value.is_empty() || !sequence.is_empty() || is_empty(permitted) && is_empty(excluded) {
        return None;
    }
    for mut subtrees in [permitted, excluded].into_iter().flatten() {
        while !subtrees.is_empty() {
            let base = subtrees.take(tag::SEQUENCE)?.element()?;
            let is_valid = match base.tag {
                0x81..=0x82 | 0x86 => std::str::from_utf8(base.content)
                    .is_ok_and(|text| text.is_ascii() && is_constraint(base.tag, text)),
                0x87 => is_network(base.content),
                _ => true,
            };
            is_valid.then_some(())?;
        }
    }
    Some(())
}

fn is_constraint(tag: u8, text: &str) -> bool {
    match tag {
        0x81 if text.contains('@') => uri::is_mailbox(text),
        0x86 if text.parse::<IpAddr>().is_ok() => false,
        _ => uri::is_domain(text, true),
    }
}

/// An address and a mask of ones followed by zeros.
fn is_network(octets: &[u8]) -> bool {
    let mask = match octets.len() {
        8 => octets.get(4..),
        32 => octets.get(16..),
        _ => None,
    };
    mask.is_some_and(|mask| {
        let mut tail = mask.iter().skip_while(|octet| **octet == 0xff);
        let edge = tail
            .next()
            .is_none_or(|octet| octet.leading_ones() == octet.count_ones());
        edge && tail.all(|octet| *octet == 0)
    })
}

fn check_distribution_points(mut value: Der<'_>) -> Option<()> {
    let mut points = value.take(tag::SEQUENCE)?;
    while !points.is_empty() {
        let mut point = points.take(tag::SEQUENCE)?;
        let Some(mut name) = point.optional(tag::constructed(0))? else {
            continue;
        };
        let mut names = name.take(tag::constructed(0))?;
        while names.is_next(tag::context(6)) {
            names.take(tag::context(6))?;
        }
    }
    Some(())
}

fn check_policies(mut value: Der<'_>) -> Option<()> {
    let mut list = value.take(tag::SEQUENCE)?;
    let mut seen = HashSet::new();
    while !list.is_empty() {
        let oid = list.take(tag::SEQUENCE)?.take(tag::OID)?.0;
        // Here Go takes parts of any size.
        let starts = std::iter::once(&0).chain(oid);
        let is_short = starts
            .zip(oid)
            .all(|(before, octet)| before & 0x80 != 0 || *octet != 0x80);
        let is_whole = oid.last().is_some_and(|last| last & 0x80 == 0);
        (is_short && is_whole && seen.insert(oid)).then_some(())?;
    }
    Some(())
}

fn check_policy_mappings(mut value: Der<'_>) -> Option<()> {
    let mut list = value.take(tag::SEQUENCE)?;
    while !list.is_empty() {
        let mut pair = list.take(tag::SEQUENCE)?;
        pair.take(tag::OID)?;
        pair.take(tag::OID)?;
    }
    Some(())
}

fn check_authority_key_id(mut value: Der<'_>) -> Option<()> {
    let mut sequence = value.take(tag::SEQUENCE)?;
    sequence.optional(tag::context(0)).map(drop)
}

fn check_policy_constraints(mut value: Der<'_>) -> Option<()> {
    let mut sequence = value.take(tag::SEQUENCE)?;
    for number in 0..=1 {
        if let Some(octets) = sequence.optional(tag::context(number))? {
            let octets = octets.0;
            let is_shortest = match octets {
                [] => false,
                [0x00, second, ..] => second & 0x80 != 0,
                [0xff, second, ..] => second & 0x80 == 0,
                _ => true,
            };
            (is_shortest && octets.len() <= 8).then_some(())?;
        }
    }
    Some(())
}

fn read_extended_key_usage(mut value: Der<'_>) -> Option<()> {
    let mut list = value.take(tag::SEQUENCE)?;
    while !list.is_empty() {
        list.oid()?;
    }
    Some(())
}

fn check_authority_info(mut value: Der<'_>) -> Option<()> {
    let mut list = value.take(tag::SEQUENCE)?;
    while !list.is_empty() {
        let mut access = list.take(tag::SEQUENCE)?;
        access.oid()?;
        access.optional(tag::context(6))?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_ones_followed_by_zeros() {
        assert!(is_network(&[10, 0, 0, 0, 255, 0, 0, 0]));
        assert!(is_network(&[10, 0, 0, 0, 255, 240, 0, 0]));
        assert!(is_network(&[0; 32]));
        assert!(!is_network(&[10, 0, 0, 0, 255, 0, 255, 0]));
        assert!(!is_network(&[10, 0, 0, 0, 255, 15, 0, 0]));
        assert!(!is_network(&[10, 0, 0, 0]));
    }

    #[test]
    fn a_key_usage_without_any_bit_restricts_nothing() {
        let usage = |bytes: &[u8]| {
            let mut uses = Uses::default();
            read_key_usage(Der(bytes), &mut uses).map(|()| uses.cert_sign)
        };
        assert_eq!(usage(&[3, 2, 1, 6]), Some(Some(true)));
        assert_eq!(usage(&[3, 2, 7, 0x80]), Some(Some(false)));
        assert_eq!(usage(&[3, 1, 0]), Some(None));
        assert_eq!(usage(&[3, 2, 8, 0]), None);
    }
}
