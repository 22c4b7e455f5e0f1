//! Our reading of CA bundles, held against Go's own: Velero, its plugins, restic and kopia load
//! bundles with `x509.CertPool.AppendCertsFromPEM`, which leaves out in silence what it dislikes.

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
use velero_trust::ca::pem;

/// Bundles in one run: enough that each mutation meets each kind of certificate many times.
const BUNDLES: usize = 12_000;

/// Mutated bundles get the same judgement from us and from Go, in both directions:
///
/// * one that we accept gives a pool with just as many certificates;
/// * of one that we refuse, Go takes the certificates that we can read and drops all else.
///
/// `judge` is the program of `tests/rig/pem`; `seed` makes another run of the same kind.
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
            .map(velero_trust::ca::certificate::Certificate::fingerprint)
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
        // Nothing at all is a fault, too.
        assert!(
            !ours.is_empty() || !contents.faults.is_empty(),
            "{}",
            explain()
        );
        accepted += usize::from(contents.faults.is_empty());
    }
    // The comparison says nothing if nearly all bundles are of one kind.
    let share = accepted * 100 / BUNDLES;
    assert!(
        (10..=70).contains(&share),
        "{share} % of the bundles were accepted"
    );
}

/// What Go makes of each bundle: whether it took any, and how many.
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
    // Written beside the reading: both pipes are smaller than what goes through them.
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

/// A bundle of one to four certificates, most of them mutated, and how it was made.
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

fn mutate_der(der: &mut Vec<u8>, random: &mut Random) -> String {
    let at = random.below(der.len());
    match random.below(8) {
        0 => {
            der.truncate(at);
            format!("cut at {at}")
        }
        1 => {
            der.push(random.byte());
            "one byte more".to_owned()
        }
        2 => {
            der.remove(at);
            format!("without byte {at}")
        }
        3 => {
            let bit = random.below(8);
            der[at] ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        }
        4 => {
            // Where the interesting bytes are: the end holds only the signature.
            let at = random.below(der.len().min(200));
            der[at] = random.byte();
            format!("byte {at} = {}", der[at])
        }
        5 => {
            // Tags and lengths.
            let small: Vec<_> = (0..der.len()).filter(|at| der[*at] < 0x40).collect();
            let at = small[random.below(small.len())];
            der[at] = [
                1, 2, 3, 4, 5, 6, 0x0c, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1e, 0x30, 0x31, 0x80, 0x82,
                0x86, 0xa0, 0xa3,
            ][random.below(20)];
            format!("tag {at} = {}", der[at])
        }
        _ => {
            der[at] = random.byte();
            format!("byte {at} = {}", der[at])
        }
    }
}

fn mutate_text(text: &mut Vec<u8>, random: &mut Random) -> String {
    let find = |text: &[u8], needle: &str, random: &mut Random| {
        let needle = needle.as_bytes();
        let all: Vec<_> = (0..text.len())
            .filter(|at| text[*at..].starts_with(needle))
            .collect();
        (!all.is_empty()).then(|| all[random.below(all.len())])
    };
    let at = random.below(text.len().max(1)).min(text.len());
    let kind = random.below(22);
    match kind {
        0 => {
            text.truncate(at);
        }
        1 => {
            text.drain(..at);
        }
        2 if at < text.len() => {
            text[at] ^= 1 << random.below(8);
        }
        3 if at < text.len() => {
            text.remove(at);
        }
        4 => {
            let other = random.below(text.len().max(1)).min(text.len());
            let (from, to) = (at.min(other), at.max(other));
            text.drain(from..to);
        }
        5 => {
            let other = random.below(text.len().max(1)).min(text.len());
            let piece = text[at.min(other)..at.max(other)].to_vec();
            text.splice(at..at, piece);
        }
        6 => {
            // Glued: the classic mistake of a merge.
            if let Some(at) = find(text, "\n-----BEGIN", random) {
                text.remove(at);
            }
        }
        7 => replace_all(
            text,
            "\n",
            [
                "\r\n", "\r", " ", "\\n", "\n\n", "\n ", " \n", "\t\n", "\r\r\n",
            ][random.below(9)],
        ),
        8 => {
            text.splice(..0, *b"\xef\xbb\xbf");
        }
        9 => {
            if let Some(at) = find(text, "CERTIFICATE-----\n", random) {
                let header = [
                    "Proc-Type: 4,ENCRYPTED\n",
                    "a:b\n\n",
                    ":\n",
                    "note\n",
                    "\n",
                    "-\n",
                ][random.below(6)];
                text.splice(at + 17..at + 17, header.bytes());
            }
        }
        10 => {
            if let Some(at) = find(text, "CERTIFICATE", random) {
                let label = [
                    "TRUSTED CERTIFICATE",
                    "X509 CERTIFICATE",
                    "certificate",
                    "",
                    "CERTIFICATE ",
                    "X-----CERTIFICATE",
                    "PUBLIC KEY",
                ][random.below(7)];
                text.splice(at..at + 11, label.bytes());
            }
        }
        11 => {
            let label = [
                "TRUSTED CERTIFICATE",
                "X509 CERTIFICATE",
                "PUBLIC KEY",
                "X509 CRL",
            ][random.below(4)];
            replace_all(text, "CERTIFICATE", label);
        }
        12 => {
            let noise = [
                " ",
                "\t",
                "\n",
                "\r",
                "\r\n",
                "-",
                "=",
                "A",
                "\0",
                "é",
                "-----",
                "-----BEGIN ",
                "-----END ",
                "\n-----END CERTIFICATE-----\n",
                "\n-----BEGIN CERTIFICATE-----\n",
            ][random.below(15)];
            text.splice(at..at, noise.bytes());
        }
        13 => {
            if let Some(at) = find(text, "-----", random) {
                let noise = [" ", "\t", "-", "x", "\r", "\u{feff}", "  "][random.below(7)];
                text.splice(at..at, noise.bytes());
            }
        }
        14 => {
            if let Some(at) = find(text, "-----\n", random) {
                let noise = [" ", "\t ", "-", "x", "\r", " x"][random.below(6)];
                text.splice(at + 5..at + 5, noise.bytes());
            }
        }
        15 => {
            if let Some(at) = find(text, "\n-----END", random) {
                // The last characters of the base64, where the padding is.
                let at = at.saturating_sub(random.below(4));
                text.splice(
                    at..at,
                    ["=", "==", "A", "\n", "=\n=", " "][random.below(6)].bytes(),
                );
            }
        }
        16 => {
            let texts = [
                "Subject: CN=a\nIssuer: b\n",
                "# comment\n",
                "a:b\n",
                "====\n",
                "--\n",
                "-----BEGIN\n",
            ];
            let piece = texts[random.below(6)];
            let at = find(text, "-----BEGIN", random).unwrap_or(0);
            text.splice(at..at, piece.bytes());
        }
        17 => {
            while text.last().is_some_and(u8::is_ascii_whitespace) {
                text.pop();
            }
            text.extend([&b""[..], b"\r", b" ", b"\t", b"\n\n", b"x"][random.below(6)]);
        }
        18 => {
            if let Some(at) = find(text, "-----", random) {
                text.remove(at);
            }
        }
        _ => return "left alone".to_owned(),
    }
    format!("text mutation {kind} at {at}")
}

fn replace_all(text: &mut Vec<u8>, from: &str, to: &str) {
    // Byte by byte, because the text need not be UTF-8 any more.
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        if rest.starts_with(from.as_bytes()) {
            replaced.extend(to.bytes());
            rest = &rest[from.len()..];
        } else {
            replaced.push(rest[0]);
            rest = &rest[1..];
        }
    }
    *text = replaced;
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

/// The public roots, and certificates with the extensions that roots do not have.
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
        // As many of them as roots, or their mutations would be too rare.
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

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
