//! The fields of a webhook that velero-trust sets: the requests it is sent, and the CAs it trusts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::canary;
use crate::admission::HANDLERS;
use crate::ca::pem;

/// What becomes of the CAs that a `caBundle` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherCas {
    /// They stay until they expire: servers may still present certificates of them.
    Kept,
    /// They are removed, because no server presents a certificate of them.
    Dropped,
    /// They are removed, and that of the Secret from before too.
    Revoked,
}

/// This version has no handler for the path that a webhook calls.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{webhook}: this version does not serve `{path}`")]
pub struct UnknownPath {
    webhook: String,
    path: String,
}

/// Returns the fields that activate a webhook: the requests it is sent, and the CAs it trusts.
///
/// The `caBundle` has `cas` and, if they are kept, the CAs of the current one, without those that are
/// expired at `now` (seconds since 1970).
///
/// # Errors
/// If this version does not serve its path.
pub fn fields(
    webhook: &Value,
    cas: &[&str],
    others: OtherCas,
    now: i64,
) -> Result<Value, UnknownPath> {
    let old = match others {
        OtherCas::Kept => text(webhook, "/clientConfig/caBundle"),
        OtherCas::Dropped | OtherCas::Revoked => "",
    };
    // What cannot be read has no CA that could be kept.
    let old = STANDARD.decode(old).unwrap_or_default();
    let old = String::from_utf8(old).unwrap_or_default();
    let bundle = ca_bundle(cas.iter().copied().chain([old.as_str()]), now);
    with_ca_bundle(webhook, Some(&STANDARD.encode(bundle)))
}

/// Returns the fields of a webhook with this `caBundle`, in base64; without one if somebody else sets
/// it.
///
/// # Errors
/// If this version does not serve its path.
pub(super) fn with_ca_bundle(
    webhook: &Value,
    ca_bundle: Option<&str>,
) -> Result<Value, UnknownPath> {
    let path = text(webhook, "/clientConfig/service/path");
    let path = Some(path).filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| text(webhook, "/clientConfig/url"));
    let name = text(webhook, "/name");
    let known = HANDLERS.into_iter().chain([&canary::HANDLER]);
    let handler = known
        .into_iter()
        .find(|handler| path.ends_with(handler.path))
        .ok_or_else(|| UnknownPath {
            webhook: name.to_owned(),
            path: path.to_owned(),
        })?;
    let operations = handler
        .operations
        .iter()
        .map(|operation| operation.as_str());
    let mut fields = json!({
        "name": name,
        "rules": [{
            "apiGroups": [handler.group],
            "apiVersions": ["v1"],
            "resources": handler.resources(),
            "operations": operations.collect::<Vec<_>>(),
            "scope": "Namespaced",
        }],
    });
    let mut set = |field: &str, value| {
        if let Some(fields) = fields.as_object_mut() {
            fields.insert(field.to_owned(), value);
        }
    };
    if let Some(ca_bundle) = ca_bundle {
        set("clientConfig", json!({"caBundle": ca_bundle}));
    }
    // The namespace is the only one in which it may match, and kustomize does not set it in a selector.
    if handler.path == canary::HANDLER.path {
        let own = text(webhook, "/clientConfig/service/namespace");
        let labels = json!({"kubernetes.io/metadata.name": own});
        set("namespaceSelector", json!({"matchLabels": labels}));
    }
    Ok(fields)
}

/// Whether a live webhook differs from what it should be in a field that is set.
pub(super) fn lacks(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().any(|(key, wanted)| {
            let live = live.get(key);
            live.is_none_or(|live| lacks(live, wanted))
        }),
        _ => live != wanted,
    }
}

/// What a certificate ends with in PEM.
pub(super) const END: &str = "-----END CERTIFICATE-----\n";

/// Returns the certificates of all `texts` in order, without duplicates and expired ones.
pub(super) fn ca_bundle<'a>(texts: impl Iterator<Item = &'a str>, now: i64) -> String {
    let mut blocks = Vec::new();
    for block in texts.flat_map(|text| text.split_inclusive(END)) {
        let certificates = pem::read(block.as_bytes()).certificates;
        let valid = certificates
            .iter()
            .any(|certificate| certificate.not_after > now);
        if valid && !blocks.contains(&block) {
            blocks.push(block);
        }
    }
    blocks.concat()
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use velero_trust_testing::pki::Authority;

    #[test]
    fn a_ca_stays_trusted_until_it_expires_and_stands_once() {
        let ca = |days: u64| {
            let authority = Authority::for_seconds("x", days * 24 * 60 * 60);
            authority.unwrap().pem()
        };
        let now = crate::clock::now();
        let (new, shown, before) = (ca(2), ca(2), ca(1));
        let old = format!("{shown}{before}");
        let texts = || [new.as_str(), &shown, &old].into_iter();
        assert_eq!(ca_bundle(texts(), now), format!("{new}{shown}{before}"));
        let tomorrow = now + 24 * 60 * 60 + 60;
        assert_eq!(ca_bundle(texts(), tomorrow), format!("{new}{shown}"));
        assert_eq!(ca_bundle(["", &new, ""].into_iter(), now), new);
    }
}
