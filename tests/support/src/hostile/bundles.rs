//! CA bundles that cost much to read, in locations.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P521_SHA512, PublicKeyData as _};
use serde_json::{Value, json};

use super::der::{
    der as tlv, nested, smallest, with_extensions, with_key, with_name, with_names, with_serial,
};
use super::{LOCATIONS, Review, base, set, slot};
use crate::pki::Authority;

/// Most bytes of a bundle that is read.
const MAX_BYTES: usize = 1 << 20;

/// Returns locations with inline bundles of up to 1 MiB that cost much to read, and updates that
/// have them before and after. None is larger than `max_body`.
pub fn bundles(max_body: usize) -> Result<Vec<Review>> {
    let mut reviews = Vec::new();
    // What JSON escapes has less room.
    let sizes = [MAX_BYTES, MAX_BYTES / 4 * 3, MAX_BYTES / 2, MAX_BYTES / 8];
    let texts = sizes.map(bundle_texts);
    let texts: Vec<_> = texts.into_iter().collect::<Result<_>>()?;
    let names = texts.first().context("no texts")?.iter();
    for (number, (name, _)) in names.enumerate() {
        let by_size = texts.iter().filter_map(|texts| Some(&texts.get(number)?.1));
        for operation in ["CREATE", "UPDATE"] {
            let bodies = by_size.clone().map(|text| body(operation, text));
            let bodies = bodies.collect::<Result<Vec<_>>>()?;
            let fits = |body: &String| body.len() <= max_body;
            reviews.push(Review {
                name: format!("{operation} of a bundle of {name}"),
                path: slot(LOCATIONS, "").path(),
                body: bodies.into_iter().find(fits).context("no room")?,
            });
        }
    }
    Ok(reviews)
}

/// Returns the review of a location with `bundle` in both fields that take one. An UPDATE has both
/// in the old object, and one of them in the new one.
fn body(operation: &str, bundle: &str) -> Result<String> {
    let storage = json!({"bucket": "b", "caCert": STANDARD.encode(bundle)});
    let spec = json!({"provider": "aws", "objectStorage": storage, "config": {"caCert": bundle}});
    let mut review = base(LOCATIONS);
    set(&mut review, "/request/object/spec", spec.clone())?;
    set(&mut review, "/request/operation", operation.into())?;
    if operation == "UPDATE" {
        set(&mut review, "/request/object/spec/config", json!({}))?;
        set(&mut review, "/request/oldObject", json!({"spec": &spec}))?;
    }
    Ok(review.to_string())
}

/// Returns a Secret for each of [`bundle_texts`], as a List.
pub fn bundle_secrets() -> Result<Value> {
    let texts = bundle_texts(MAX_BYTES)?;
    let secret = |(number, (_, text)): (usize, (_, String))| {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": format!("bundle-{number}"), "namespace": "velero"},
            "data": {"ca.crt": STANDARD.encode(text)},
        })
    };
    let items: Vec<_> = texts.into_iter().enumerate().map(secret).collect();
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}))
}

/// Returns updates of locations that name a Secret of [`bundle_secrets`] in all three fields that
/// take one, and have a quarter of such a bundle inline, before and after: zeros are escaped in JSON.
pub fn bundle_references() -> Result<Vec<Review>> {
    let texts = bundle_texts(MAX_BYTES / 4)?.into_iter();
    let review = |(number, (name, text))| {
        let secret = format!("bundle-{number}");
        let key = format!("{secret}/ca.crt");
        let spec = json!({
            "provider": "aws",
            "objectStorage": {"bucket": "b", "caCertRef": {"name": secret, "key": "ca.crt"}},
            "config": {"secretRef": key, "caCert": text},
        });
        let metadata = json!({"annotations": {"velero-trust.io/ca-secret": key}});
        let mut review = base(LOCATIONS);
        set(&mut review, "/request/operation", "UPDATE".into())?;
        let object = json!({"metadata": metadata, "spec": spec});
        set(&mut review, "/request/oldObject", object.clone())?;
        set(&mut review, "/request/object", object)?;
        set(
            &mut review,
            "/request/object/spec/objectStorage/bucket",
            "c".into(),
        )?;
        Ok(Review {
            name: format!("UPDATE with three references to {name}"),
            path: slot(LOCATIONS, "").path(),
            body: review.to_string(),
        })
    };
    texts.enumerate().map(review).collect()
}

/// A text, and what it consists of.
type Named = (&'static str, String);

/// Returns texts of at most `max` bytes.
pub fn bundle_texts(max: usize) -> Result<Vec<Named>> {
    let mut texts = certificates(max)?;
    texts.extend(large_certificates(max)?);
    texts.extend(blocks(max));
    Ok(texts)
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----\n";

const END: &str = "-----END CERTIFICATE-----\n";

fn pem(der: &[u8]) -> String {
    format!("{BEGIN}{}\n{END}", STANDARD.encode(der))
}

fn repeated(text: &str, max: usize) -> String {
    text.repeat(max / text.len())
}

/// Returns bundles of many certificates.
fn certificates(max: usize) -> Result<Vec<Named>> {
    let der = Authority::new("hostile")?.der();
    let curve = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512)?.subject_public_key_info();
    let numbered = |certificate: &dyn Fn(u32) -> Vec<u8>, max: usize| -> String {
        let count = max / pem(&certificate(0)).len();
        let numbers = (0_u32..).take(count);
        numbers.map(|number| pem(&certificate(number))).collect()
    };
    // While one is valid, each that has expired is told. What is denied is compared with the old
    // object.
    let valid_and_broken = pem(&der) + END;
    let smallest_of_all = numbered(&smallest, max - valid_and_broken.len());
    Ok(vec![
        (
            "certificates",
            numbered(&|number| with_serial(&der, number), max),
        ),
        ("smallest certificates", valid_and_broken + &smallest_of_all),
        (
            "keys on a large curve",
            numbered(&|number| with_key(number, &curve), max),
        ),
        ("one certificate again and again", repeated(&pem(&der), max)),
        (
            "the smallest certificate again and again",
            repeated(&pem(&smallest(0)), max),
        ),
    ])
}

/// Returns bundles of one certificate.
fn large_certificates(max: usize) -> Result<Vec<Named>> {
    // Bytes of a certificate in one block, and how often a part of so many bytes fits into it.
    let room = (max - BEGIN.len() - END.len()) / 4 * 3 - 300;
    let times = |bytes: usize| room / bytes;
    let extension = |oid: &[u8], value: &[u8]| pem(&with_extensions([(oid.to_vec(), value)]));
    let list = |element: &[u8]| tlv(0x30, &element.repeat(times(element.len())));
    let oids = (0_u32..).take(times(16));
    let oids = oids.map(|number| [&[0x2a][..], &base_128(number)].concat());
    let policies = (0_u32..).take(times(10));
    let policies = policies.flat_map(|number| tlv(0x30, &tlv(6, &base_128(number))));
    let policies: Vec<u8> = policies.collect();
    let subtrees = tlv(0x30, &tlv(0x82, b"a")).repeat(times(5));
    let subtrees = tlv(0x30, &tlv(0xa0, &subtrees));
    let der = Authority::new("hostile")?.der();
    Ok(vec![
        ("sequences in sequences", pem(&nested(room))),
        ("a long name", pem(&with_name(&der, room / 2)?)),
        ("many names", pem(&with_names(&der, times(11))?)),
        (
            "alternative names",
            extension(ALT_NAMES, &list(&tlv(0x82, b"a"))),
        ),
        (
            "alternative URIs",
            extension(ALT_NAMES, &list(&tlv(0x86, b"a:b"))),
        ),
        ("name constraints", extension(&[0x55, 0x1d, 30], &subtrees)),
        (
            "policies",
            extension(&[0x55, 0x1d, 32], &tlv(0x30, &policies)),
        ),
        (
            "purposes",
            extension(&[0x55, 0x1d, 37], &list(&tlv(6, &[0x2a]))),
        ),
        (
            "extensions",
            pem(&with_extensions(oids.map(|oid| (oid, &b""[..])))),
        ),
    ])
}

/// Returns texts without a certificate.
fn blocks(max: usize) -> Vec<Named> {
    let repeated = |text: &str| repeated(text, max);
    let room = max - BEGIN.len() - END.len();
    let filled = |line: &str| format!("{BEGIN}{}\n{END}", line.repeat(room / line.len() - 1));
    let count = max / 2 / BEGIN.len();
    vec![
        ("begins", repeated(BEGIN)),
        ("ends", repeated(END)),
        ("short ends", repeated("-----END\n")),
        ("ends in begins", BEGIN.repeat(count) + &END.repeat(count)),
        ("begins in one line", repeated("-----BEGIN ")),
        (
            "begins and ends in one line",
            repeated("-----BEGIN -----END "),
        ),
        ("empty blocks", repeated(&format!("{BEGIN}{END}"))),
        (
            "blocks of another kind",
            repeated("-----BEGIN A-----\n-----END A-----\n"),
        ),
        ("headers", repeated(&format!("{BEGIN}a:b\n\n{END}"))),
        (
            "blocks that do not parse",
            repeated(&format!("{BEGIN}MAA=\n{END}")),
        ),
        ("private keys", repeated("-----BEGIN PRIVATE KEY-----\n")),
        ("dashes", repeated("-")),
        ("dashes in lines", repeated("-----\n")),
        ("base64 without lines", repeated("MIIB")),
        (
            "base64 in one block",
            filled(&format!("{}\n", "MIIB".repeat(16))),
        ),
        ("one base64 byte in each line", filled("M\n")),
        ("blanks in lines", filled(" ")),
        ("line ends", repeated("\n")),
        ("nothing but zeros", repeated("\0")),
        ("lines that look like a begin", repeated("BEGIN CMS\n")),
        ("damaged begins", repeated("----BEGIN CERTIFICATE----\n")),
        ("damaged blocks", repeated("BEGIN CMS\nMIIBMIIBMIIBMIIB\n")),
        ("short words", repeated("a ")),
        (
            "pieces of base64",
            repeated(&format!("{} ", "MIIB".repeat(16))),
        ),
        ("hexadecimal digits", repeated("30 82 ")),
        ("comments", repeated(&format!("# {}\n", "MIIB".repeat(16)))),
        (
            "commented begins",
            repeated("#-----BEGIN CERTIFICATE-----\n"),
        ),
        // Each byte may begin a sequence of DER.
        ("digits after a zero", format!("\0{}", "0".repeat(max - 1))),
    ]
}

/// subjectAltName.
const ALT_NAMES: &[u8] = &[0x55, 0x1d, 17];

/// Returns `number` as the four octets of a part of an OID.
fn base_128(number: u32) -> Vec<u8> {
    let octet = |shift: u32| u8::try_from(number >> shift & 0x7f).unwrap_or_default();
    // The first octet must not be a leading zero.
    vec![
        0x81 | octet(21),
        0x80 | octet(14),
        0x80 | octet(7),
        octet(0),
    ]
}
