//! Reads one document as a Kubernetes object.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::sealed::{self, HiddenValues};
use crate::ca::base64;
use crate::decision::{Backup, BackupRecord, FieldPath, Key, Sealed, Secret, TrustedKey};
use crate::kubernetes::crds;
use crate::names;
use crate::velero::backup;
use crate::velero::naming::is_key;

/// The namespace of an object that names none, as in kubectl.
pub(super) const DEFAULT_NAMESPACE: &str = "default";

/// Maximum length in bytes of a Secret's key that a message shows: less than a line of PEM.
const MAX_SHOWN_KEY_BYTES: usize = 40;

/// The object that a document contains.
#[derive(Debug)]
pub(super) enum Object {
    /// A Backup.
    Backup(Key, Box<Backup>),
    /// A record of a backup.
    Record(Box<BackupRecord>),
    /// A key that signs backups.
    TrustedKey(TrustedKey),
    /// A ConfigMap, and whether it is the bundle of a namespace that is held.
    ConfigMap(Key, bool),
    /// A BackupStorageLocation.
    Location(Key),
    /// A Secret, and those of its values that cannot be read here.
    Secret(Key, Secret, Option<HiddenValues>),
    /// Secrets that will exist in the cluster but cannot be read here.
    Sealed(Vec<(Key, Sealed)>),
    /// An object of another kind: its `apiVersion` and `kind`.
    Foreign(String, String),
    /// Not an object: values of a chart, a patch, or settings of another tool.
    None,
}

/// Why a document is invalid, without its content.
#[derive(Debug)]
pub(super) struct InvalidObject {
    pub(super) message: String,
    /// The path of the invalid value.
    pub(super) at: FieldPath,
    /// The Secret, if the document is one.
    pub(super) secret: Option<Key>,
}

impl From<InvalidObject> for String {
    fn from(invalid: InvalidObject) -> Self {
        invalid.message
    }
}

/// Reads a document as an object. One without a namespace gets `namespace`.
pub(super) fn read(object: &Value, namespace: &str) -> Result<Object, InvalidObject> {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let (Some(api), Some(kind)) = (text("/apiVersion"), text("/kind")) else {
        return Ok(Object::None);
    };
    let namespace = text("/metadata/namespace").unwrap_or(namespace);
    let name = text("/metadata/name").unwrap_or_default();
    let key = Key::new(namespace, name);
    let read: fn(Key, &Value) -> Result<Object, InvalidObject> = match (api, kind) {
        ("v1", "ConfigMap") => |key, object| {
            let annotations = object.pointer("/metadata/annotations");
            let held = annotations.is_some_and(|all| all.get(names::bundle::HOLD).is_some());
            Ok(Object::ConfigMap(key, held))
        },
        ("v1", "Secret") => |key, object| {
            let hidden = sealed::hidden_values(object);
            match secret_data(object, hidden.as_ref()) {
                Ok(secret) => Ok(Object::Secret(key, secret, hidden)),
                Err((at, message)) => Err(InvalidObject {
                    message,
                    at,
                    secret: Some(key),
                }),
            }
        },
        ("velero.io/v1", "Backup") => {
            |key, object| Ok(Object::Backup(key, Box::new(backup::read(object))))
        }
        (crds::API_VERSION, "BackupRecord") => |_, object| {
            let record = own_kind::<crds::BackupRecord>(object)?;
            Ok(Object::Record(Box::new(record.into())))
        },
        (crds::API_VERSION, "TrustedKey") => |_, object| {
            let key = own_kind::<crds::TrustedKey>(object)?;
            Ok(Object::TrustedKey(key.into()))
        },
        ("velero.io/v1", "BackupStorageLocation") => |key, _| Ok(Object::Location(key)),
        _ => {
            let sealed = sealed::secrets_made_by(api, kind, &key, object);
            return Ok(sealed.map_or_else(
                || Object::Foreign(api.to_owned(), kind.to_owned()),
                Object::Sealed,
            ));
        }
    };
    if name.is_empty() {
        return Err(InvalidObject {
            message: format!("the {kind} has no metadata.name"),
            at: FieldPath::of(&[]),
            secret: None,
        });
    }
    read(key, object)
}

/// Reads an object of a kind of ours.
fn own_kind<K: DeserializeOwned>(object: &Value) -> Result<K, InvalidObject> {
    K::deserialize(object).map_err(|error| InvalidObject {
        message: error.to_string(),
        at: FieldPath::of(&[]),
        secret: None,
    })
}

/// Returns the data of a Secret as the API server decodes it: `data` in base64, overridden by
/// `stringData`. The values in `hidden` are left out.
fn secret_data(
    object: &Value,
    hidden: Option<&HiddenValues>,
) -> Result<Secret, (FieldPath, String)> {
    let mut secret = Secret::default();
    for (map, is_base64) in [("data", true), ("stringData", false)] {
        for (key, value) in sealed::pairs(object, map) {
            if hidden.is_some_and(|hidden| hidden.contains(key)) {
                continue;
            }
            let decoded = match value {
                // The API server stores an empty value.
                Value::Null => Ok(Vec::new()),
                Value::String(text) if is_base64 => {
                    base64::decode(text.as_bytes()).ok_or_else(|| why_not_base64(text))
                }
                Value::String(text) => Ok(text.as_bytes().to_vec()),
                Value::Bool(_) | Value::Number(_) => Err("is not a string; quote it"),
                Value::Array(_) | Value::Object(_) => Err("is not a string"),
            };
            let value = decoded.map_err(|what| {
                let at = FieldPath::of(&[map]).key(key);
                (at, format!("{} {what}", shown_field(map, key)))
            })?;
            secret.data.insert(key.clone(), value);
        }
    }
    Ok(secret)
}

/// Returns why the API server does not decode `text`.
fn why_not_base64(text: &str) -> &'static str {
    if text.contains("-----BEGIN") {
        "is not base64 but PEM itself; put it into stringData"
    } else if text.trim().contains([' ', '\t']) {
        "is not base64: there are blanks in it, which YAML makes of line ends; use `|`"
    } else {
        "is not base64"
    }
}

/// Returns the name of a value in a Secret to show. A key that is no valid name is not shown: it
/// may be a line of a private key with wrong indentation.
fn shown_field(map: &str, key: &str) -> String {
    if key.len() <= MAX_SHOWN_KEY_BYTES && is_key(key) {
        format!("{map}.{key}")
    } else {
        format!("a value in {map}")
    }
}
