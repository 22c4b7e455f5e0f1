//! A second opinion on certificates: if x509-parser accepts one too, it reads the same values.

mod compare;
mod variants;

use std::collections::BTreeSet;
use std::path::Path;

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use velero_trust::ca::certificate::Certificate;
use velero_trust::ca::x509::ParsedCertificate;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use self::compare::{assert_both_read, assert_same};
use self::variants::{everything, self_signed, variants};
use crate::tree::files_with_extension;

#[test]
fn agrees_with_another_parser_on_every_public_root() {
    for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let subject = Certificate::parse(&der[..]).unwrap().subject();
        assert_both_read(der, &subject);
        webpki::anchor_from_trusted_cert(der).unwrap();
    }
}

/// Returns the certificates in the PEM files of all tests, each with the name of its file.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut fixtures = Vec::new();
    for file in files_with_extension(&tests, "pem") {
        for (number, der) in CertificateDer::pem_file_iter(&file).unwrap().enumerate() {
            let name = format!("{}, certificate {}", file.display(), number + 1);
            fixtures.push((name, der.unwrap().to_vec()));
        }
    }
    assert!(fixtures.len() >= 20, "{}", fixtures.len());
    fixtures
}

#[test]
fn agrees_with_another_parser_on_every_fixture() {
    for (name, der) in fixtures() {
        // Its subject is not UTF-8. Go rejects that, and x509-parser does not check it.
        if name.contains("latin1.pem") {
            assert!(ParsedCertificate::parse(&der).is_err());
            continue;
        }
        assert_both_read(&der, &name);
    }
}

#[test]
fn agrees_with_another_parser_on_every_kind_of_extension() {
    for (name, der) in variants() {
        assert_both_read(&der, &name);
    }
}

/// Finds the offsets of the tags in `der`, which begins at offset `start` of the certificate.
fn find_tags(der: &[u8], start: usize, found: &mut BTreeSet<usize>) {
    let mut rest = der;
    while let Ok((after, element)) = Any::from_der(rest) {
        let at = start + der.len() - rest.len();
        found.insert(at);
        if element.header.is_constructed() || element.tag() == Tag::OctetString {
            let header = rest.len() - after.len() - element.data.len();
            find_tags(element.data, at + header, found);
        }
        rest = after;
    }
}

/// Changes each byte of certificates in several ways, one at a time.
#[test]
fn agrees_with_another_parser_on_what_both_of_them_read() {
    let mut seeds = vec![("everything".to_owned(), self_signed(&everything()))];
    let files = ["/leaf.pem", "/rsa1024.pem", "/chain-sha1.pem"];
    let is_wanted = |name: &str| files.iter().any(|file| name.contains(file));
    seeds.extend(fixtures().into_iter().filter(|(name, _)| is_wanted(name)));
    let (mut both, mut mutants) = (0, 0);
    for (name, der) in seeds {
        let mut tags = BTreeSet::new();
        find_tags(&der, 0, &mut tags);
        for at in 0..der.len() {
            let byte = der[at];
            let mut others: BTreeSet<_> = (0..8).map(|bit| byte ^ 1 << bit).collect();
            others.extend([0, 1, 5, 0x30, 0x7f, 0x80, 0xff, byte.wrapping_add(1)]);
            others.remove(&byte);
            // x509-parser ignores the class and the form of some tags, and accepts an ENUMERATED as
            // an INTEGER. Go does neither.
            if tags.contains(&at) {
                others.retain(|other| (byte ^ other) & 0x1f != 0 && (byte, *other) != (2, 10));
            }
            for other in others {
                let mut mutant = der.clone();
                mutant[at] = other;
                mutants += 1;
                let Ok(ours) = ParsedCertificate::parse(&mutant) else {
                    continue;
                };
                let Ok((_, theirs)) = X509Certificate::from_der(&mutant) else {
                    continue;
                };
                both += 1;
                let about = format!("{name} with byte {at} = {other:#04x}");
                assert_same(&ours, &theirs, &about);
            }
        }
    }
    // Without many mutants that both accept, the comparison would show nothing.
    assert!(both > mutants / 4, "{both} of {mutants}");
}
