//! CA bundles that cost much to read, in locations.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::der::{with_name, with_names, with_serial};
use super::{LOCATIONS, Review, base, set, slot};
use crate::pki::Authority;

/// Returns locations with inline bundles of about 1 MiB that cost much to read, and updates that
/// have two of them, before and after.
pub fn bundles() -> Result<Vec<Review>> {
    let mut reviews = Vec::new();
    for (name, bundle) in bundle_texts()? {
        let base64 = STANDARD.encode(&bundle);
        let storage = json!({"bucket": "b", "caCert": base64});
        let spec =
            json!({"provider": "aws", "objectStorage": storage, "config": {"caCert": bundle}});
        for (operation, old) in [("CREATE", Value::Null), ("UPDATE", json!({"spec": &spec}))] {
            let mut review = base(LOCATIONS);
            set(&mut review, "/request/object/spec", spec.clone())?;
            set(&mut review, "/request/operation", operation.into())?;
            if operation == "UPDATE" {
                // Half of the room for each: the new one has one of the two.
                set(&mut review, "/request/object/spec/config", json!({}))?;
            }
            set(&mut review, "/request/oldObject", old)?;
            let name = format!("{operation} of a bundle of {name}");
            reviews.push(Review {
                name,
                path: slot(LOCATIONS, "").path(),
                body: review.to_string(),
            });
        }
    }
    Ok(reviews)
}

/// Returns texts of at most 1 MiB, each with what it consists of.
fn bundle_texts() -> Result<Vec<(&'static str, String)>> {
    const MAX: usize = 1 << 20;
    let repeated = |text: &str| text.repeat(MAX / text.len());
    let begin = "-----BEGIN CERTIFICATE-----\n";
    let end = "-----END CERTIFICATE-----\n";
    let der = Authority::new("hostile")?.der();
    let pem = |der: &[u8]| format!("{begin}{}\n{end}", STANDARD.encode(der));
    let certificates: String = (0_u32..)
        .map(|number| pem(&with_serial(&der, number)))
        .take(MAX / pem(&der).len())
        .collect();
    let large = |der: Vec<u8>| {
        let text = pem(&der);
        debug_assert!(text.len() <= MAX);
        text
    };
    Ok(vec![
        ("certificates", certificates),
        ("one certificate again and again", repeated(&pem(&der))),
        ("begins", repeated(begin)),
        ("ends", repeated(end)),
        ("short ends", repeated("-----END\n")),
        ("begins in one line", repeated("-----BEGIN ")),
        (
            "begins and ends in one line",
            repeated("-----BEGIN -----END "),
        ),
        ("empty blocks", repeated(&format!("{begin}{end}"))),
        (
            "blocks of another kind",
            repeated("-----BEGIN A-----\n-----END A-----\n"),
        ),
        ("headers", repeated(&format!("{begin}a:b\n\n{end}"))),
        (
            "blocks that do not parse",
            repeated(&format!("{begin}MAA=\n{end}")),
        ),
        ("private keys", repeated("-----BEGIN PRIVATE KEY-----\n")),
        ("dashes", repeated("-")),
        ("dashes in lines", repeated("-----\n")),
        ("base64 without lines", repeated("MIIB")),
        ("line ends", repeated("\n")),
        (
            "blanks in lines",
            format!("{begin}{}\n{end}", " ".repeat(MAX - 64)),
        ),
        ("nothing but zeros", repeated("\0")),
        ("a long name", large(with_name(&der, 300 << 10)?)),
        ("many names", large(with_names(&der, 60 << 10)?)),
    ])
}
