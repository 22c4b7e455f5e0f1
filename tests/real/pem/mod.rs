//! Compares our parser of CA bundles with Go's: Velero, its plugins, restic and kopia load bundles
//! with `x509.CertPool.AppendCertsFromPEM`, which silently skips what it cannot use.

mod mutate;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CrlDistributionPoint, DnType, DnValue,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    SanType,
};
use velero_trust::ca::certificate::Certificate;
use velero_trust::ca::pem;

use mutate::{Random, mutate_der, mutate_text};

/// Number of bundles in one run: enough that each mutation is applied to each kind of certificate
/// many times.
const BUNDLES: usize = 12_000;

/// Checks that our parser and Go agree on mutated bundles, in both directions:
///
/// * from a bundle that we accept, Go loads the same number of certificates;
/// * from a bundle that we reject, Go loads the certificates that we can read and drops the rest.
///
/// `judge` is the program in `tests/rig/pem`. Another `seed` gives another run of the same kind.
pub(crate) fn agrees_with_go(judge: &Path, seed: u64) {
    let mut random = Random(seed);
    let pool = certificates();
    let bundles: Vec<_> = (0..BUNDLES).map(|_| bundle(&pool, &mut random)).collect();
    let answers = ask(judge, bundles.iter().map(|(_, bundle)| bundle.as_slice()));
    let mut accepted = 0;
    for ((recipe, bundle), answer) in bundles.iter().zip(&answers) {
        let contents = pem::read(bundle);
        let ours: HashSet<_> = contents
            .certificates
            .iter()
            .map(Certificate::fingerprint)
            .collect();
        let explain = || {
            let text = String::from_utf8_lossy(bundle);
            let faults: String = contents
                .faults
                .iter()
                .fold(String::new(), |mut all, fault| {
                    let _ = writeln!(all, "{fault:?}");
                    all
                });
            format!("seed {seed}, {recipe}\nGo: {answer:?}\nfaults:\n{faults}{text}")
        };
        assert_eq!(
            (answer.0, answer.1),
            (!ours.is_empty(), ours.len()),
            "{}",
            explain()
        );
        // An empty result is a fault as well.
        assert!(
            !ours.is_empty() || !contents.faults.is_empty(),
            "{}",
            explain()
        );
        accepted += usize::from(contents.faults.is_empty());
    }
    // The comparison is meaningless if nearly all bundles are accepted or nearly all are rejected.
    let contribution = accepted * 100 / BUNDLES;
    assert!(
        (10..=70).contains(&contribution),
        "{contribution} % of the bundles were accepted"
    );
}

/// Returns, for each bundle, whether Go loaded any certificate, and how many.
fn ask<'a>(judge: &Path, bundles: impl Iterator<Item = &'a [u8]>) -> Vec<(bool, usize)> {
    let mut child = Command::new(judge)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", judge.display()));
    let mut input = Vec::new();
    for bundle in bundles {
        input.extend(u32::try_from(bundle.len()).unwrap().to_be_bytes());
        input.extend(bundle);
    }
    let mut stdin = child.stdin.take().unwrap();
    // Written by another thread, because the data does not fit into the buffers of the pipes.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(
        output.status.success(),
        "the judge failed: {}",
        output.status
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let answer = |line: &str| {
        let (taken, count) = line.split_once(' ').unwrap();
        (taken == "true", count.parse().unwrap())
    };
    text.lines().map(answer).collect()
}

/// Returns a bundle of one to four certificates, most of them mutated, and a description of how it
/// was built.
fn bundle(pool: &[Vec<u8>], random: &mut Random) -> (String, Vec<u8>) {
    let mut recipe = String::new();
    let mut blocks = Vec::new();
    for _ in 0..=random.below(3) {
        let number = random.below(pool.len());
        let mut der = pool[number].clone();
        let _ = write!(recipe, "certificate {number}");
        if random.below(2) == 0 {
            let done = mutate_der(&mut der, random);
            let _ = write!(recipe, " ({done})");
        }
        recipe.push_str(", ");
        blocks.push(to_pem(&der, "CERTIFICATE"));
    }
    if random.below(8) == 0 {
        blocks.push(blocks[0].clone());
    }
    let mut text = blocks.concat().into_bytes();
    for _ in 0..random.below(3) {
        let _ = write!(recipe, "{}, ", mutate_text(&mut text, random));
    }
    (recipe, text)
}

fn to_pem(der: &[u8], label: &str) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).unwrap());
        text.push('\n');
    }
    let _ = writeln!(text, "-----END {label}-----");
    text
}

/// Returns the public roots, and certificates with extensions that roots do not have.
fn certificates() -> Vec<Vec<u8>> {
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    let mut all: Vec<_> = roots.map(|root| root.to_vec()).collect();
    let algorithms = [
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_RSA_SHA256,
    ];
    for algorithm in algorithms {
        let key = KeyPair::generate_for(algorithm).unwrap();
        // As many as there are roots. Otherwise, their mutations would be too rare.
        for copy in 0..12 {
            all.push(rich(copy).self_signed(&key).unwrap().der().to_vec());
            let mut bare = CertificateParams::new(vec!["minio.velero.svc".to_owned()]).unwrap();
            bare.is_ca = IsCa::ExplicitNoCa;
            all.push(bare.self_signed(&key).unwrap().der().to_vec());
        }
    }
    all
}

fn rich(number: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, format!("Zoë's CA {number}"));
    name.push(
        DnType::OrganizationName,
        DnValue::PrintableString("Acme".try_into().unwrap()),
    );
    name.push(
        DnType::LocalityName,
        DnValue::Ia5String("here".try_into().unwrap()),
    );
    name.push(
        DnType::StateOrProvinceName,
        DnValue::TeletexString("there".try_into().unwrap()),
    );
    name.push(
        DnType::OrganizationalUnitName,
        DnValue::BmpString("Zoë".try_into().unwrap()),
    );
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(number));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = vec![
        SanType::DnsName("a.example".try_into().unwrap()),
        SanType::Rfc822Name("a@a.example".try_into().unwrap()),
        SanType::URI("https://a.example/b".try_into().unwrap()),
        SanType::IpAddress([10, 0, 0, 1].into()),
    ];
    params.crl_distribution_points = vec![CrlDistributionPoint {
        uris: vec!["http://a.example/crl".to_owned()],
    }];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("a.example".to_owned()),
            GeneralSubtree::Rfc822Name("a@a.example".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0])),
        ],
        excluded_subtrees: vec![GeneralSubtree::DnsName(".b.example".to_owned())],
    });
    params
}
