//! Reviews that are made to cost more than they send.
//!
//! Each is an object with one field that is filled up to a size: with lists, maps, nesting, strings
//! and certificates of the kinds that cost most to read.

mod bundles;
mod der;

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

pub use bundles::{bundle_references, bundle_secrets, bundle_texts, bundles};

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
