//! The fields of a webhook that velero-trust sets: the requests it is sent, and the CAs it trusts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

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
    let text = |pointer| webhook.pointer(pointer).and_then(Value::as_str);
    let name = text("/name").unwrap_or_default();
    let path = text("/clientConfig/service/path")
        .or_else(|| text("/clientConfig/url"))
        .unwrap_or_default();
    let handler = HANDLERS
        .iter()
        .find(|handler| path.ends_with(handler.path))
        .ok_or_else(|| UnknownPath {
            webhook: name.to_owned(),
            path: path.to_owned(),
        })?;
    let old = match others {
        OtherCas::Kept => text("/clientConfig/caBundle").unwrap_or_default(),
        OtherCas::Dropped | OtherCas::Revoked => "",
    };
    // What cannot be read has no CA that could be kept.
    let old = STANDARD.decode(old).unwrap_or_default();
    let old = String::from_utf8(old).unwrap_or_default();
    let bundle = ca_bundle(cas.iter().copied().chain([old.as_str()]), now);
    let operations = handler
        .operations
        .iter()
        .map(|operation| operation.as_str());
    Ok(json!({
        "name": name,
        "clientConfig": {"caBundle": STANDARD.encode(bundle)},
        "rules": [{
            "apiGroups": [handler.group],
            "apiVersions": ["v1"],
            "resources": handler.resources(),
            "operations": operations.collect::<Vec<_>>(),
            "scope": "Namespaced",
        }],
    }))
}

/// Returns the certificates of all `texts` in order, without duplicates and expired ones.
fn ca_bundle<'a>(texts: impl Iterator<Item = &'a str>, now: i64) -> String {
    const END: &str = "-----END CERTIFICATE-----\n";

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
