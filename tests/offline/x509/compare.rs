//! Compares what our reader and x509-parser read.

use std::collections::BTreeSet;
use std::net::IpAddr;

use velero_trust::ca::certificate::{Certificate, PathConstraints};
use velero_trust::ca::x509::{ExtendedKeyUsage, Extensions, GeneralName, Key, ParsedCertificate};
use x509_parser::extensions::{
    ExtendedKeyUsage as TheirUsage, GeneralName as TheirName, ParsedExtension,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

/// The values in a certificate's extensions.
#[derive(Debug, Default, PartialEq)]
struct Values {
    is_ca: Option<bool>,
    path_len: Option<u64>,
    key_usage: Option<u16>,
    purposes: Option<BTreeSet<Vec<u8>>>,
    alt_names: Option<Vec<String>>,
    has_name_constraints: bool,
    has_unknown_critical: bool,
}

fn our_values(extensions: &Extensions<'_>) -> Values {
    let constraints = extensions.basic_constraints;
    let purposes = extensions.extended_key_usage.as_ref();
    let alt_names = extensions.subject_alt_names.as_ref();
    Values {
        is_ca: constraints.map(|constraints| constraints.is_ca),
        path_len: constraints.and_then(|constraints| constraints.path_len),
        key_usage: extensions.key_usage.map(|usage| usage.0),
        purposes: purposes.map(|usage| usage.purposes.iter().map(|oid| oid.to_vec()).collect()),
        alt_names: alt_names.map(|names| names.iter().map(|name| format!("{name:?}")).collect()),
        has_name_constraints: extensions.has_name_constraints,
        has_unknown_critical: extensions.has_unknown_critical,
    }
}

/// Returns the values that x509-parser found, and the extensions that it could not parse.
fn their_values(certificate: &X509Certificate<'_>) -> (Values, Vec<Vec<u8>>) {
    let mut values = Values::default();
    let mut unparsed = Vec::new();
    for extension in certificate.extensions() {
        // The critical extensions that Go's `processExtensions` knows.
        let is_known = matches!(
            extension.oid.as_bytes(),
            [0x55, 0x1d, 15 | 17 | 19 | 30..=33 | 36 | 37 | 54]
        );
        values.has_unknown_critical |= extension.critical && !is_known;
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => {
                values.is_ca = Some(constraints.ca);
                values.path_len = constraints.path_len_constraint.map(u64::from);
            }
            ParsedExtension::KeyUsage(usage) => values.key_usage = Some(usage.flags & 0x1ff),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                values.purposes = Some(their_purposes(usage));
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                let names = names.general_names.iter().filter_map(their_name);
                values.alt_names = Some(names.collect());
            }
            ParsedExtension::NameConstraints(_) => values.has_name_constraints = true,
            ParsedExtension::ParseError { .. } => unparsed.push(extension.oid.as_bytes().to_vec()),
            _ => {}
        }
    }
    (values, unparsed)
}

fn their_purposes(usage: &TheirUsage<'_>) -> BTreeSet<Vec<u8>> {
    let kp = |number| vec![0x2b, 6, 1, 5, 5, 7, 3, number];
    let named = [
        (usage.any, ExtendedKeyUsage::ANY.to_vec()),
        (usage.server_auth, kp(1)),
        (usage.client_auth, kp(2)),
        (usage.code_signing, kp(3)),
        (usage.email_protection, kp(4)),
        (usage.time_stamping, kp(8)),
        (usage.ocsp_signing, kp(9)),
    ];
    let named = named
        .into_iter()
        .filter_map(|(is_set, oid)| is_set.then_some(oid));
    let other = usage.other.iter().map(|oid| oid.as_bytes().to_vec());
    named.chain(other).collect()
}

/// Formats a name as ours; none if Go ignores its kind.
fn their_name(name: &TheirName<'_>) -> Option<String> {
    let address = |octets: &[u8]| {
        let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
        let v6 = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
        v4.or_else(|_| v6()).unwrap()
    };
    let name = match name {
        TheirName::DNSName(name) => GeneralName::DnsName(name),
        TheirName::RFC822Name(name) => GeneralName::EmailAddress(name),
        TheirName::URI(uri) => GeneralName::Uri(uri),
        TheirName::IPAddress(octets) => GeneralName::IpAddress(address(octets)),
        _ => return None,
    };
    Some(format!("{name:?}"))
}

/// Compares the values of a certificate that both readers accept.
pub(super) fn assert_same(ours: &ParsedCertificate<'_>, theirs: &X509Certificate<'_>, about: &str) {
    let validity = theirs.validity();
    assert_eq!(u32::from(ours.version), theirs.version().0 + 1, "{about}");
    assert_eq!(ours.not_before, validity.not_before.timestamp(), "{about}");
    assert_eq!(ours.not_after, validity.not_after.timestamp(), "{about}");
    assert_eq!(ours.subject, theirs.subject().as_raw(), "{about}");
    assert_eq!(ours.issuer, theirs.issuer().as_raw(), "{about}");
    assert_eq!(ours.spki, theirs.public_key().raw, "{about}");
    assert_eq!(ours.tbs, theirs.tbs_certificate.as_ref(), "{about}");
    assert_eq!(ours.signature, &*theirs.signature_value.data, "{about}");
    let algorithm = theirs.signature_algorithm.algorithm.as_bytes();
    assert_eq!(ours.signature_algorithm, algorithm, "{about}");
    match (ours.key, theirs.public_key().parsed()) {
        (Key::Rsa(bits), Ok(PublicKey::RSA(key))) => {
            let zeros = key
                .modulus
                .iter()
                .map_while(|octet| (*octet == 0).then_some(8));
            let first = key.modulus.iter().find(|octet| **octet != 0);
            let zeros =
                zeros.sum::<usize>() + first.map_or(0, |octet| octet.leading_zeros() as usize);
            assert_eq!(bits as usize, key.modulus.len() * 8 - zeros, "{about}");
        }
        (Key::Rsa(_), Ok(key)) => panic!("{about}: {key:?} is no RSA key"),
        (Key::Other, Ok(PublicKey::RSA(_))) => panic!("{about}: it is an RSA key"),
        _ => {}
    }
    let mut our_values = our_values(&ours.extensions);
    let (mut their_values, unparsed) = their_values(theirs);
    for oid in unparsed {
        match oid[..] {
            [0x55, 0x1d, 15] => our_values.key_usage = None,
            [0x55, 0x1d, 17] => our_values.alt_names = None,
            [0x55, 0x1d, 19] => (our_values.is_ca, our_values.path_len) = (None, None),
            [0x55, 0x1d, 30] => our_values.has_name_constraints = false,
            [0x55, 0x1d, 37] => our_values.purposes = None,
            _ => {}
        }
    }
    if ours.version < 3 {
        their_values = Values::default();
    }
    assert_eq!(our_values, their_values, "{about}");
}

/// Compares the values of `der`, which both readers must parse completely.
pub(super) fn assert_both_read(der: &[u8], about: &str) {
    let ours = ParsedCertificate::parse(der).unwrap_or_else(|defect| panic!("{about}: {defect}"));
    let (rest, theirs) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty(), "{about}");
    let (values, unparsed) = their_values(&theirs);
    assert!(unparsed.is_empty(), "{about}: {unparsed:02x?}");
    assert_same(&ours, &theirs, about);

    let kept = Certificate::from(&ours);
    assert_eq!(kept, Certificate::parse(der).unwrap(), "{about}");
    let usage = theirs.key_usage().unwrap();
    let may_sign = usage.is_none_or(|usage| usage.value.key_cert_sign());
    let is_ca = theirs.is_ca() || theirs.version().0 < 2;
    assert_eq!(kept.is_ca, is_ca && may_sign, "{about}");
    let constraints = theirs.basic_constraints().unwrap();
    let purposes = theirs.extended_key_usage().unwrap();
    let path_constraints = PathConstraints {
        max_intermediates: constraints.and_then(|found| found.value.path_len_constraint),
        allows_server_auth: purposes.is_none_or(|usage| usage.value.any || usage.value.server_auth),
        has_unknown_critical: values.has_unknown_critical,
        has_name_constraints: values.has_name_constraints,
    };
    assert_eq!(kept.path_constraints, path_constraints, "{about}");
    let algorithm = theirs.signature_algorithm.algorithm.to_string();
    let is_sha1 = algorithm == "1.2.840.113549.1.1.5";
    assert_eq!(kept.weak_digest.is_some(), is_sha1, "{about}");
}
