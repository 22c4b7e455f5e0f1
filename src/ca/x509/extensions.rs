//! The extensions of a certificate. Go rejects the whole certificate if an extension that it knows
//! is malformed.

use std::collections::HashSet;

use super::Defect;
use super::der::{Der, tag};
use super::general_names::{GeneralName, check_name_constraints, read_alt_names};
use super::usage::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

/// The extensions that decide how a certificate may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions<'a> {
    /// basicConstraints.
    pub basic_constraints: Option<BasicConstraints>,
    /// extKeyUsage.
    pub extended_key_usage: Option<ExtendedKeyUsage<'a>>,
    /// Whether it has nameConstraints.
    pub has_name_constraints: bool,
    /// Whether it has a critical extension that Go does not know. Go trusts no such certificate.
    pub has_unknown_critical: bool,
    /// keyUsage.
    pub key_usage: Option<KeyUsage>,
    /// subjectAltName, without the kinds of names that Go ignores.
    pub subject_alt_names: Option<Vec<GeneralName<'a>>>,
}

impl Extensions<'_> {
    /// Returns whether the certificate may be used for TLS servers: it has no extKeyUsage, or one
    /// that includes them.
    pub fn allows_server_auth(&self) -> bool {
        self.extended_key_usage
            .as_ref()
            .is_none_or(ExtendedKeyUsage::allows_server_auth)
    }
}

/// authorityInfoAccess.
const AUTHORITY_INFO: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];

/// Reads the list of extensions.
pub(super) fn read_extensions(mut tagged: Der<'_>) -> Result<Extensions<'_>, Defect> {
    let malformed = Defect("its extensions are malformed");
    let mut list = tagged.take(tag::SEQUENCE).ok_or(malformed)?;
    let mut extensions = Extensions::default();
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
        read_extension(oid, is_critical, value, &mut extensions)?;
        extensions.has_unknown_critical |= is_critical && !is_known(oid);
    }
    Ok(extensions)
}

/// Returns whether Go knows this extension (`crypto/x509`, `processExtensions`). These of id-ce are
/// all that it accepts as critical.
const fn is_known(oid: &[u8]) -> bool {
    matches!(
        oid,
        [0x55, 0x1d, 15 | 17 | 19 | 30 | 31 | 32 | 33 | 36 | 37 | 54]
    )
}

fn read_extension<'a>(
    oid: &[u8],
    is_critical: bool,
    mut value: Der<'a>,
    extensions: &mut Extensions<'a>,
) -> Result<(), Defect> {
    let (read, defect) = match oid {
        [0x55, 0x1d, 14] => (
            (!is_critical)
                .then(|| value.take(tag::OCTET_STRING))
                .flatten()
                .map(drop),
            "its subject key identifier is malformed",
        ),
        [0x55, 0x1d, 15] => (
            KeyUsage::read(value).map(|usage| extensions.key_usage = Some(usage)),
            "its key usage is malformed",
        ),
        [0x55, 0x1d, 17] => (
            read_alt_names(value).map(|names| extensions.subject_alt_names = Some(names)),
            "its alternative names are malformed",
        ),
        [0x55, 0x1d, 19] => (
            BasicConstraints::read(value)
                .map(|constraints| extensions.basic_constraints = Some(constraints)),
            "its basic constraints are malformed",
        ),
        [0x55, 0x1d, 30] => {
            extensions.has_name_constraints = true;
            (
                check_name_constraints(value),
                "its name constraints are malformed",
            )
        }
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
            ExtendedKeyUsage::read(value).map(|usage| extensions.extended_key_usage = Some(usage)),
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
        // Go accepts parts of any size here.
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

fn check_authority_info(mut value: Der<'_>) -> Option<()> {
    let mut list = value.take(tag::SEQUENCE)?;
    while !list.is_empty() {
        let mut access = list.take(tag::SEQUENCE)?;
        access.oid()?;
        access.optional(tag::context(6))?;
    }
    Some(())
}
