//! Reviews that are made to cost more than they send.
//!
//! Each is an object with one field that is filled up to a size: with lists, maps, nesting, strings
//! and certificates of the kinds that cost most to read.

use crate::pki::Authority;
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A review, and the path that it is for.
#[derive(Clone, Debug)]
pub struct Review {
    /// What is special about it.
    pub name: String,
    /// The URL path.
    pub path: &'static str,
    /// The AdmissionReview.
    pub body: String,
}

/// A field that is filled.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    resource: &'static str,
    pointer: &'static str,
}

/// What a field is filled with.
#[derive(Clone, Copy, Debug)]
pub enum Filler {
    /// A list of these elements.
    List(&'static str),
    /// A map with keys that differ, and this value.
    Map(&'static str),
    /// A map in which this entry repeats.
    SameEntry(&'static str),
    /// A text of these characters, as JSON.
    Text(&'static str),
    /// This opens a value in a value in a value, and that closes it.
    Nested(&'static str, &'static str),
    /// A number with many digits.
    Number,
}

const PODS: &str = "pods";
const LOCATIONS: &str = "backupstoragelocations";
const RESTORES: &str = "restores";

/// Stands for the value of the filled field until it is written.
const MARK: &str = "@filled@";

/// All fields that are read, and one that is not.
pub const SLOTS: [Slot; 57] = [
    slot(PODS, "/request/uid"),
    slot(PODS, "/request/kind"),
    slot(PODS, "/request/kind/kind"),
    slot(PODS, "/request/resource/group"),
    slot(PODS, "/request/name"),
    slot(PODS, "/request/namespace"),
    slot(PODS, "/request/operation"),
    slot(PODS, "/request/userInfo/username"),
    slot(PODS, "/request/userInfo/groups"),
    slot(PODS, "/request/dryRun"),
    slot(PODS, "/request/options"),
    slot(PODS, "/request/object"),
    slot(PODS, "/request/object/metadata"),
    slot(PODS, "/request/object/metadata/name"),
    slot(PODS, "/request/object/metadata/uid"),
    slot(PODS, "/request/object/metadata/labels"),
    slot(
        PODS,
        "/request/object/metadata/labels/velero-trust.io~1inject",
    ),
    slot(PODS, "/request/object/metadata/annotations"),
    slot(
        PODS,
        "/request/object/metadata/annotations/velero-trust.io~1inject",
    ),
    slot(PODS, "/request/object/metadata/managedFields"),
    slot(PODS, "/request/object/spec"),
    slot(PODS, "/request/object/spec/containers"),
    slot(PODS, "/request/object/spec/containers/0"),
    slot(PODS, "/request/object/spec/containers/0/name"),
    slot(PODS, "/request/object/spec/containers/0/command"),
    slot(PODS, "/request/object/spec/containers/0/command/0"),
    slot(PODS, "/request/object/spec/containers/0/args"),
    slot(PODS, "/request/object/spec/containers/0/env"),
    slot(PODS, "/request/object/spec/containers/0/env/0/name"),
    slot(PODS, "/request/object/spec/containers/0/env/0/value"),
    slot(PODS, "/request/object/spec/containers/0/envFrom"),
    slot(PODS, "/request/object/spec/containers/0/volumeMounts"),
    slot(
        PODS,
        "/request/object/spec/containers/0/volumeMounts/0/mountPath",
    ),
    slot(PODS, "/request/object/spec/containers/0/volumeDevices"),
    slot(PODS, "/request/object/spec/initContainers"),
    slot(PODS, "/request/object/spec/volumes"),
    slot(PODS, "/request/object/spec/volumes/0/configMap/items"),
    slot(PODS, "/request/object/spec/nodeSelector"),
    slot(LOCATIONS, "/request/object/metadata/annotations"),
    slot(
        LOCATIONS,
        "/request/object/metadata/annotations/velero-trust.io~1ca-secret",
    ),
    slot(LOCATIONS, "/request/object/spec"),
    slot(LOCATIONS, "/request/object/spec/provider"),
    slot(LOCATIONS, "/request/object/spec/config"),
    slot(LOCATIONS, "/request/object/spec/config/caCert"),
    slot(LOCATIONS, "/request/object/spec/config/secretRef"),
    slot(LOCATIONS, "/request/object/spec/config/s3Url"),
    slot(LOCATIONS, "/request/object/spec/credential/name"),
    slot(LOCATIONS, "/request/object/spec/objectStorage"),
    slot(LOCATIONS, "/request/object/spec/objectStorage/caCert"),
    slot(
        LOCATIONS,
        "/request/object/spec/objectStorage/caCertRef/name",
    ),
    slot(LOCATIONS, "/request/object/status"),
    slot(LOCATIONS, "/request/object/status/phase"),
    slot(LOCATIONS, "/request/oldObject"),
    slot(RESTORES, "/request/object/metadata/annotations"),
    slot(
        RESTORES,
        "/request/object/metadata/annotations/velero-trust.io~1backup-checksum",
    ),
    slot(RESTORES, "/request/object/spec/backupName"),
    slot(RESTORES, "/request/object/spec/scheduleName"),
];

/// What fields are filled with.
pub const FILLERS: [Filler; 25] = [
    Filler::List("{}"),
    Filler::List("[]"),
    Filler::List("0"),
    Filler::List("null"),
    Filler::List("\"\""),
    Filler::List(r#""\n""#),
    Filler::List("\"/velero\""),
    Filler::List(r#"{"name":"AWS_CA_BUNDLE"}"#),
    Filler::List(r#"{"name":"\u0041"}"#),
    Filler::List(r#"{"name":"velero-trust-ca","mountPath":"/certs/x"}"#),
    Filler::List(r#"{"env":[{"name":"AWS_CA_BUNDLE"},{"name":"SSL_CERT_DIR"}]}"#),
    Filler::List(r#"{"prefix":""}"#),
    Filler::Map("\"\""),
    Filler::Map("{}"),
    Filler::Map(r#""\n""#),
    Filler::SameEntry(r#""velero-trust.io/inject":"""#),
    Filler::SameEntry(r#""\u0061":"""#),
    Filler::Text("x"),
    Filler::Text("-"),
    Filler::Text(r"\n"),
    Filler::Text(r"\u0001"),
    Filler::Text("\u{301}"),
    Filler::Nested("[", "]"),
    Filler::Nested(r#"{"a":"#, "}"),
    Filler::Number,
];

const fn slot(resource: &'static str, pointer: &'static str) -> Slot {
    Slot { resource, pointer }
}

impl Slot {
    /// Returns the pointer to the field in the review.
    pub const fn pointer(self) -> &'static str {
        self.pointer
    }

    /// Returns the URL path of its reviews.
    pub const fn path(self) -> &'static str {
        match self.resource.as_bytes() {
            b"pods" => "/mutate/pods",
            b"restores" => "/validate/restores",
            _ => "/validate/backupstoragelocations",
        }
    }

    /// Returns an otherwise small review in which this field has `value`, which is JSON.
    fn filled(self, name: &str, value: &str) -> Result<Review> {
        let mut review = base(self.resource);
        set(&mut review, self.pointer, MARK.into())?;
        let body = review
            .to_string()
            .replacen(&format!("\"{MARK}\""), value, 1);
        Ok(Review {
            name: format!("{} {} {name}", self.resource, self.pointer),
            path: self.path(),
            body,
        })
    }
}

impl Filler {
    /// Returns about `bytes` of JSON.
    fn json(self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 64);
        let mut put = |open: &str, close: &str, entry: &mut dyn FnMut(&mut String, usize)| {
            text.push_str(open);
            let mut number = 0;
            while text.len() + 16 < bytes || number == 0 {
                if number > 0 && !open.starts_with('"') {
                    text.push(',');
                }
                entry(&mut text, number);
                number += 1;
            }
            text.push_str(close);
        };
        match self {
            Self::List(element) => put("[", "]", &mut |text, _| text.push_str(element)),
            Self::Map(value) => put("{", "}", &mut |text, number| {
                // Writing to a String cannot fail.
                let _ = write!(text, "\"{number:x}\":{value}");
            }),
            Self::SameEntry(entry) => put("{", "}", &mut |text, _| text.push_str(entry)),
            Self::Text(character) => put("\"", "\"", &mut |text, _| text.push_str(character)),
            Self::Nested(open, close) => {
                let depth = bytes / (open.len() + close.len());
                text = [&open.repeat(depth), "0", &close.repeat(depth)].concat();
            }
            Self::Number => text = "1".repeat(bytes),
        }
        text
    }
}

/// Returns the review in which `slot` is filled with about `bytes` of `filler`.
pub fn review(slot: Slot, filler: Filler, bytes: usize) -> Result<Review> {
    slot.filled(&format!("{filler:?}"), &filler.json(bytes))
}

/// Returns Pods of at most `bytes` whose lists are all as long as they may be, and longer.
pub fn large_pods(bytes: usize) -> Result<Vec<Review>> {
    let list = |element: &str, count: usize| format!("[{}]", vec![element; count].join(","));
    let mut reviews = Vec::new();
    for (name, words, variables, mounts) in [
        // The largest last: an allocator that keeps memory would hide the growth of those after it.
        ("of nothing", 0, 0, 0),
        ("of mounts", 0, 0, 512),
        ("of variables", 0, 1024, 0),
        ("of words", 1024, 0, 0),
        ("at every bound", 1024, 1024, 512),
    ] {
        for (environment, kind) in [("{}", "empty"), (r#"{"name":"AWS_CA_BUNDLE"}"#, "ours")] {
            let words = list("\"\"", words);
            let container = format!(
                r#"{{"command":{words},"args":{words},"env":{},"volumeMounts":{},"envFrom":{},"volumeDevices":{}}}"#,
                list(environment, variables),
                list("{}", mounts),
                list("{}", mounts / 4),
                list("{}", mounts / 4),
            );
            let count = (bytes / 2 / container.len()).clamp(1, 64);
            let containers = list(&container, count);
            let spec = format!(r#"{{"containers":{containers},"initContainers":{containers}}}"#);
            let name = format!("{kind} {name}");
            reviews.push(slot(PODS, "/request/object/spec").filled(&name, &spec)?);
        }
    }
    Ok(reviews)
}

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

/// Returns `der` with another serial number, of the same length.
fn with_serial(der: &[u8], number: u32) -> Vec<u8> {
    let mut der = der.to_vec();
    // After the headers of the certificate, of what is signed, and of the version.
    let digits = number.to_be_bytes();
    if let Some(serial) = der.get_mut(18..22) {
        serial.copy_from_slice(&digits);
    }
    der
}

/// Returns the DER of `tag` with `content`.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut whole = vec![tag];
    match u8::try_from(length) {
        Ok(length) if length < 0x80 => whole.push(length),
        _ => {
            let bytes = length.to_be_bytes();
            let digits: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            whole.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
            whole.extend(digits);
        }
    }
    whole.extend_from_slice(content);
    whole
}

/// Returns a certificate whose subject is one common name of `bytes`.
fn with_name(certificate: &[u8], bytes: usize) -> Result<Vec<u8>> {
    let value = [der(6, &[0x55, 4, 3]), der(0x0c, &vec![b'x'; bytes])].concat();
    with_subject(certificate, &der(0x31, &der(0x30, &value)))
}

/// Returns a certificate whose subject has `count` names.
fn with_names(certificate: &[u8], count: usize) -> Result<Vec<u8>> {
    let value = [der(6, &[0x55, 4, 3]), der(0x0c, b"")].concat();
    with_subject(certificate, &der(0x31, &der(0x30, &value)).repeat(count))
}

/// Returns `certificate` with another subject. Its signature is then wrong, and nothing that reads
/// a bundle looks at it.
fn with_subject(certificate: &[u8], names: &[u8]) -> Result<Vec<u8>> {
    let (_, rest, _) = take(certificate).context("der")?;
    let (_, tbs, after) = take(rest).context("tbs")?;
    let mut parts = Vec::new();
    let mut left = tbs;
    while !left.is_empty() {
        let (whole, _, more) = take(left).context("part")?;
        parts.push(whole.to_vec());
        left = more;
    }
    // Version, serial number, algorithm, issuer, validity, subject.
    *parts.get_mut(5).context("subject")? = der(0x30, names);
    let tbs = der(0x30, &parts.concat());
    Ok(der(0x30, &[tbs, after.to_vec()].concat()))
}

/// Returns the first element of `der` as a whole, its content, and what follows it.
fn take(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = usize::from(*der.get(1)?);
    let (header, length) = if first < 0x80 {
        (2, first)
    } else {
        let digits = first & 0x7f;
        let number = der.get(2..2 + digits)?.iter();
        (
            2 + digits,
            number.fold(0, |sum, digit| sum << 8 | usize::from(*digit)),
        )
    };
    let (whole, after) = der.split_at_checked(header + length)?;
    Some((whole, whole.get(header..)?, after))
}

/// Returns a small review of `resource`.
fn base(resource: &str) -> Value {
    let group = if resource == PODS { "" } else { "velero.io" };
    let object = match resource {
        PODS => json!({
            "metadata": {"labels": {"velero-trust.io/inject": "true"}},
            "spec": {"containers": [{"name": "velero", "command": ["/velero", "server"]}]},
        }),
        RESTORES => json!({"metadata": {"name": "r"}, "spec": {}}),
        _ => json!({"spec": {"provider": "aws", "objectStorage": {"bucket": "b"}}}),
    };
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": group, "version": "v1", "kind": "Kind"},
        "resource": {"group": group, "version": "v1", "resource": resource},
        "name": "x", "namespace": "velero", "operation": "CREATE", "dryRun": false,
        "userInfo": {"username": "admin"}, "object": object,
    }})
}

/// Sets the value at `pointer`. Objects and lists on the way to it are created.
fn set(value: &mut Value, pointer: &str, new: Value) -> Result<()> {
    let mut place = value;
    for token in pointer.split('/').skip(1) {
        let key = token.replace("~1", "/");
        place = if key == "0" {
            if !place.is_array() {
                *place = json!([]);
            }
            let list = place.as_array_mut().context("a list")?;
            if list.is_empty() {
                list.push(Value::Null);
            }
            list.first_mut().context("an element")?
        } else {
            if !place.is_object() {
                *place = json!({});
            }
            let map = place.as_object_mut().context("an object")?;
            map.entry(key).or_insert(Value::Null)
        };
    }
    *place = new;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_review_has_about_its_size_and_is_json() {
        for slot in SLOTS {
            for filler in FILLERS {
                let Review { name, body, .. } = review(slot, filler, 2000).unwrap();
                assert!((1900..3200).contains(&body.len()), "{name}: {}", body.len());
                assert!(!body.contains(MARK), "{name}");
                let is_deep = matches!(filler, Filler::Nested(..));
                let number = matches!(filler, Filler::Number);
                let parsed = serde_json::from_str::<Value>(&body);
                assert!(is_deep || number || parsed.is_ok(), "{name} {parsed:?}");
            }
        }
    }
}
