//! The list of fields of a BSL that can provide its CA. The rules, the publisher and the messages
//! all use this list.

use std::borrow::Cow;

use super::base64;
use crate::decision::{Facts, FieldPath, Sealed, SecretKeyRef, Stop};
use crate::names::CA_SECRET_ANNOTATION;
use crate::velero::bsl::{Bsl, ObjectStorage, SecretKeySelector};
use crate::velero::naming::{is_key, is_name};
use crate::velero::text::or_empty;

/// Maximum size of one bundle, in bytes: the limit of a Secret or a ConfigMap.
pub const MAX_BUNDLE_BYTES: usize = 1 << 20;

/// A field of a BSL that provides a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaReference<'b> {
    /// The path of the field.
    pub path: FieldPath,
    /// The value of the field.
    pub target: CaTarget<'b>,
}

/// The value of a field that provides a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaTarget<'b> {
    /// An inline bundle in base64.
    Base64(&'b str),
    /// An inline bundle.
    Pem(&'b str),
    /// A reference that cannot be followed.
    Invalid(InvalidReference),
    /// A key of a Secret in the BSL's own namespace.
    Secret(SecretKeyRef),
}

/// The reason why a reference cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// A form other than `<name>/<key>`.
    #[error("is not of the form `<secret>/<key>`")]
    Form,
    /// An invalid key of a Secret.
    #[error("names a key that no Secret can have")]
    Key,
    /// An invalid name of a Secret.
    #[error("names a Secret that cannot exist")]
    Name,
    /// No key.
    #[error("names no key of the Secret")]
    NoKey,
    /// No name.
    #[error("names no Secret")]
    NoName,
    /// A namespace other than the BSL's own.
    #[error("points into another namespace")]
    OtherNamespace,
}

/// The content behind a CA reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'f> {
    /// The bytes of a bundle.
    Bytes(Cow<'f, [u8]>),
    /// The Secret does not have the key.
    NoKey,
    /// The Secret does not exist.
    NoSecret,
    /// The value should be base64 and is not.
    NotBase64,
    /// The Secret exists, but its data cannot be read from this source.
    Sealed(&'f Sealed),
    /// The reference cannot be followed.
    InvalidReference(InvalidReference),
}

/// Returns all CA references that are set in `bsl`, in `namespace`.
pub fn ca_references<'b>(namespace: &str, bsl: &'b Bsl<'b>) -> Vec<CaReference<'b>> {
    let storage = bsl.spec.object_storage.as_ref();
    let by_ref = storage.and_then(|storage| storage.ca_cert_ref.as_ref());
    let text = |text| parse_pair(namespace, text);
    [
        by_ref.map(|selector| (ca_cert_ref_path(), parse_selector(namespace, selector))),
        bsl.metadata
            .annotation(CA_SECRET_ANNOTATION)
            .map(|value| (FieldPath::annotation(CA_SECRET_ANNOTATION), text(value))),
        bsl.config("secretRef")
            .map(|value| (FieldPath::of(&["spec", "config", "secretRef"]), text(value))),
        inline_ca_cert(storage).map(|base64| (ca_cert_path(), CaTarget::Base64(base64))),
        bsl.config("caCert")
            .filter(|pem| !pem.is_empty())
            .map(|pem| {
                (
                    FieldPath::of(&["spec", "config", "caCert"]),
                    CaTarget::Pem(pem),
                )
            }),
    ]
    .into_iter()
    .flatten()
    .map(|(path, target)| CaReference { path, target })
    .collect()
}

/// Whether `bsl`, in `namespace`, names the Secret `secret`: for its CA or for its credentials. Only
/// then can a change of that Secret matter to it.
pub fn names_secret(namespace: &str, bsl: &Bsl<'_>, secret: &str) -> bool {
    let credential = bsl.spec.credential.as_ref();
    let credential = credential.and_then(|credential| credential.name.as_ref());
    credential.is_some_and(|name| **name == *secret)
        || ca_references(namespace, bsl).iter().any(|reference| {
            matches!(&reference.target, CaTarget::Secret(to) if to.secret.name == secret)
        })
}

/// Returns the path of `caCertRef`.
pub fn ca_cert_ref_path() -> FieldPath {
    FieldPath::of(&["spec", "objectStorage", "caCertRef"])
}

/// Returns the path of `caCert`.
pub fn ca_cert_path() -> FieldPath {
    FieldPath::of(&["spec", "objectStorage", "caCert"])
}

/// Returns the base64 in `caCert`. An empty value counts as not set, as for Velero.
pub fn inline_ca_cert<'b>(storage: Option<&'b ObjectStorage<'_>>) -> Option<&'b str> {
    let base64 = or_empty(storage?.ca_cert.as_ref());
    Some(base64).filter(|base64| !base64.is_empty())
}

impl CaReference<'_> {
    /// Returns the content of the reference, or the look-up that it needs.
    pub fn content<'f>(&'f self, facts: &'f Facts) -> Result<Content<'f>, Stop> {
        Ok(match &self.target {
            CaTarget::Invalid(why) => Content::InvalidReference(*why),
            CaTarget::Pem(pem) => Content::Bytes(Cow::Borrowed(pem.as_bytes())),
            CaTarget::Base64(text) => base64::decode(text.as_bytes())
                .map_or(Content::NotBase64, |bytes| {
                    Content::Bytes(Cow::Owned(bytes))
                }),
            CaTarget::Secret(reference) => match facts.sealed(reference) {
                Some(sealed) => Content::Sealed(sealed),
                None => match facts.secret(reference)? {
                    None => Content::NoSecret,
                    Some(secret) => secret
                        .data
                        .get(&reference.key)
                        .map_or(Content::NoKey, |bytes| {
                            Content::Bytes(Cow::Borrowed(bytes.as_slice()))
                        }),
                },
            },
        })
    }
}

fn parse_selector<'b>(namespace: &str, selector: &SecretKeySelector<'_>) -> CaTarget<'b> {
    let name = or_empty(selector.name.as_ref());
    if let Some((first, _)) = name.split_once('/') {
        return CaTarget::Invalid(if first == namespace {
            InvalidReference::Name
        } else {
            InvalidReference::OtherNamespace
        });
    }
    secret_target(namespace, name, or_empty(selector.key.as_ref()))
}

fn parse_pair<'b>(namespace: &str, text: &str) -> CaTarget<'b> {
    let parts: Vec<_> = text.splitn(4, '/').collect();
    match parts.as_slice() {
        [name, key] => secret_target(namespace, name, key),
        [first, _, _] if *first != namespace => CaTarget::Invalid(InvalidReference::OtherNamespace),
        [""] => CaTarget::Invalid(InvalidReference::NoName),
        _ => CaTarget::Invalid(InvalidReference::Form),
    }
}

/// Returns the target for `key` of the Secret `name`, if both are valid names. Looking up a name
/// that the API server refuses would reveal nothing.
pub fn secret_target<'b>(namespace: &str, name: &str, key: &str) -> CaTarget<'b> {
    let error = if name.is_empty() {
        InvalidReference::NoName
    } else if key.is_empty() {
        InvalidReference::NoKey
    } else if !is_name(name) {
        InvalidReference::Name
    } else if !is_key(key) {
        InvalidReference::Key
    } else {
        return CaTarget::Secret(SecretKeyRef::new(namespace, name, key));
    };
    CaTarget::Invalid(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(bsl: &str) -> Vec<String> {
        let bsl: Bsl<'_> = serde_json::from_str(bsl).unwrap();
        ca_references("velero", &bsl)
            .iter()
            .map(|reference| match &reference.target {
                CaTarget::Secret(to) => format!("{} -> {} {}", reference.path, to.secret, to.key),
                CaTarget::Invalid(why) => format!("{} {why}", reference.path),
                CaTarget::Base64(text) | CaTarget::Pem(text) => {
                    format!("{} = {text}", reference.path)
                }
            })
            .collect()
    }

    #[test]
    fn finds_a_ca_in_all_five_places() {
        let bsl = r#"{"metadata":{"annotations":{"velero-trust.io/ca-secret":"a/b.crt"}},"spec":{
            "config":{"secretRef":"c/d","caCert":"pem"},
            "objectStorage":{"caCert":"YQ==","caCertRef":{"name":"e","key":"f"}}}}"#;
        assert_eq!(
            targets(bsl),
            [
                "spec.objectStorage.caCertRef -> velero/e f",
                "metadata.annotations[velero-trust.io/ca-secret] -> velero/a b.crt",
                "spec.config.secretRef -> velero/c d",
                "spec.objectStorage.caCert = YQ==",
                "spec.config.caCert = pem",
            ]
        );
        let empty =
            r#"{"spec":{"config":{"caCert":""},"objectStorage":{"caCert":"","caCertRef":null}}}"#;
        assert_eq!(targets(empty), [""; 0]);
    }

    #[test]
    fn names_the_secrets_of_its_ca_and_of_its_credentials_and_no_other() {
        let bsl = r#"{"metadata":{"annotations":{"velero-trust.io/ca-secret":"a/b.crt"}},"spec":{
            "config":{"secretRef":"c/d","region":"region"},"credential":{"name":"g","key":"h"},
            "objectStorage":{"caCertRef":{"name":"e","key":"f"}}}}"#;
        let bsl: Bsl<'_> = serde_json::from_str(bsl).unwrap();
        let names = |secret| names_secret("velero", &bsl, secret);
        assert!(["a", "c", "e", "g"].into_iter().all(names));
        assert!(
            !["b.crt", "d", "f", "h", "region", ""]
                .into_iter()
                .any(names)
        );
        assert!(!names_secret("velero", &Bsl::default(), "a"));
    }

    #[test]
    fn says_why_a_reference_cannot_be_followed() {
        let why = |text: &str| match parse_pair("velero", text) {
            CaTarget::Invalid(why) => Some(why),
            _ => None,
        };
        assert_eq!(why("ca/ca.crt"), None);
        assert_eq!(why(""), Some(InvalidReference::NoName));
        assert_eq!(why("/ca.crt"), Some(InvalidReference::NoName));
        assert_eq!(why("ca/"), Some(InvalidReference::NoKey));
        assert_eq!(why("ca"), Some(InvalidReference::Form));
        assert_eq!(
            why("other/ca/ca.crt"),
            Some(InvalidReference::OtherNamespace)
        );
        assert_eq!(why("velero/ca/ca.crt"), Some(InvalidReference::Form));
        assert_eq!(why("a/b/c/d"), Some(InvalidReference::Form));
        assert_eq!(why("Ca/ca.crt"), Some(InvalidReference::Name));
        assert_eq!(why("ca./ca.crt"), Some(InvalidReference::Name));
        assert_eq!(why("ca/ca crt"), Some(InvalidReference::Key));
    }
}
