//! A view of Velero's BackupStorageLocation (`pkg/apis/velero/v1/backupstoragelocation_types.go`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::MapAccess;
use serde::de::value::MapAccessDeserializer;
use serde_json::Value;

use super::lenient::{Reported, reported};
use super::list::bounded_map;
use super::metadata::Metadata;
use super::text::{Text, map_into_owned, or_empty};

/// The phase of a location whose store Velero reached at its last attempt.
const AVAILABLE: &str = "Available";

/// The fields of a BackupStorageLocation that velero-trust reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Bsl<'a> {
    /// `metadata`.
    #[serde(borrow)]
    pub metadata: Metadata<'a>,
    /// `spec`.
    #[serde(borrow)]
    pub spec: BslSpec<'a>,
    /// `status`.
    #[serde(borrow, deserialize_with = "reported")]
    pub status: BslStatus<'a>,
}

/// The fields of `spec` that velero-trust reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BslSpec<'a> {
    /// The plugin's name. If it contains no `/`, Velero prefixes it with `velero.io/`.
    #[serde(borrow)]
    pub provider: Option<Text<'a>>,
    /// The plugin's settings. A location with more than 128 cannot be read: plugins know fewer than
    /// twenty.
    #[serde(borrow, deserialize_with = "bounded_map::<_, 128>")]
    pub config: Option<BTreeMap<Text<'a>, Text<'a>>>,
    /// The Secret with the credentials.
    #[serde(borrow)]
    pub credential: Option<SecretKeySelector<'a>>,
    /// The bucket and its CA.
    #[serde(borrow)]
    pub object_storage: Option<ObjectStorage<'a>>,
}

/// `spec.objectStorage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectStorage<'a> {
    /// The bucket.
    #[serde(borrow)]
    pub bucket: Option<Text<'a>>,
    /// The folder in the bucket that Velero uses; without it, the whole bucket.
    #[serde(borrow)]
    pub prefix: Option<Text<'a>>,
    /// CA bundle, inline and in base64; deprecated since Velero 1.18.
    #[serde(borrow)]
    pub ca_cert: Option<Text<'a>>,
    /// The Secret that contains the CA bundle; since Velero 1.18.
    #[serde(borrow)]
    pub ca_cert_ref: Option<SecretKeySelector<'a>>,
}

/// The fields of `status` that velero-trust reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BslStatus<'a> {
    /// The result of Velero's last attempt to reach the store; `None` before the first attempt.
    #[serde(borrow, deserialize_with = "reported")]
    pub phase: Option<Text<'a>>,
    /// Why Velero could not reach the store.
    #[serde(borrow, deserialize_with = "reported")]
    pub message: Option<Text<'a>>,
}

impl<'de> Reported<'de> for BslStatus<'de> {
    fn of_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Self::deserialize(MapAccessDeserializer::new(map))
    }
}

/// A key of a Secret in the object's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SecretKeySelector<'a> {
    /// The Secret.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// The key in it.
    #[serde(borrow)]
    pub key: Option<Text<'a>>,
}

impl<'a> Bsl<'a> {
    /// Reads a location from JSON, leniently. If it cannot be read as a whole, the result contains
    /// only the name, the uid and the status, as far as they can be read.
    pub fn from_value(value: &'a Value) -> Self {
        Self::deserialize(value).unwrap_or_else(|_| without_spec(value))
    }

    /// As [`from_value`](Self::from_value), from the text of the JSON.
    pub fn from_json(text: &'a str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| {
            let WithoutSpec { metadata, status } = serde_json::from_str(text).unwrap_or_default();
            Self {
                metadata: Metadata {
                    name: metadata.name,
                    uid: metadata.uid,
                    ..Metadata::default()
                },
                status,
                ..Self::default()
            }
        })
    }
}

/// The part of a location that is read if its spec cannot be read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WithoutSpec<'a> {
    #[serde(borrow, deserialize_with = "reported")]
    metadata: NameAndUid<'a>,
    #[serde(borrow, deserialize_with = "reported")]
    status: BslStatus<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NameAndUid<'a> {
    #[serde(borrow, deserialize_with = "reported")]
    name: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "reported")]
    uid: Option<Text<'a>>,
}

impl<'de> Reported<'de> for NameAndUid<'de> {
    fn of_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Self::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Returns a location with only the name, the uid and the status, as far as they can be read.
fn without_spec(value: &Value) -> Bsl<'_> {
    let text = |pointer| {
        let text = value.pointer(pointer).and_then(Value::as_str);
        text.map(Text::from)
    };
    Bsl {
        metadata: Metadata {
            name: text("/metadata/name"),
            uid: text("/metadata/uid"),
            ..Metadata::default()
        },
        spec: BslSpec::default(),
        status: BslStatus {
            phase: text("/status/phase"),
            message: text("/status/message"),
        },
    }
}

impl Bsl<'_> {
    /// Returns the name, or the empty string.
    pub fn name(&self) -> &str {
        or_empty(self.metadata.name.as_ref())
    }

    /// Returns the uid, or the empty string.
    pub fn uid(&self) -> &str {
        or_empty(self.metadata.uid.as_ref())
    }

    /// Returns `status.phase`, or the empty string.
    pub fn phase(&self) -> &str {
        or_empty(self.status.phase.as_ref())
    }

    /// Whether Velero reached the store at its last attempt.
    pub fn is_available(&self) -> bool {
        self.phase() == AVAILABLE
    }

    /// Returns the value of `spec.config[key]`.
    pub fn config(&self, key: &str) -> Option<&str> {
        let config = self.spec.config.as_ref()?;
        config
            .iter()
            .find(|(name, _)| **name == *key)
            .map(|(_, value)| &**value)
    }

    /// Returns the provider without Velero's own prefix: `aws` for `velero.io/aws`.
    pub fn provider(&self) -> &str {
        let provider = or_empty(self.spec.provider.as_ref());
        provider.strip_prefix("velero.io/").unwrap_or(provider)
    }

    /// Returns the same location with owned data. Copies only borrowed data.
    pub fn into_owned(self) -> Bsl<'static> {
        Bsl {
            metadata: self.metadata.into_owned(),
            spec: self.spec.into_owned(),
            status: self.status.into_owned(),
        }
    }
}

impl BslSpec<'_> {
    /// Returns the same spec with owned data.
    pub fn into_owned(self) -> BslSpec<'static> {
        BslSpec {
            provider: self.provider.map(Text::into_owned),
            config: self.config.map(map_into_owned),
            credential: self.credential.map(SecretKeySelector::into_owned),
            object_storage: self.object_storage.map(ObjectStorage::into_owned),
        }
    }
}

impl ObjectStorage<'_> {
    fn into_owned(self) -> ObjectStorage<'static> {
        ObjectStorage {
            bucket: self.bucket.map(Text::into_owned),
            prefix: self.prefix.map(Text::into_owned),
            ca_cert: self.ca_cert.map(Text::into_owned),
            ca_cert_ref: self.ca_cert_ref.map(SecretKeySelector::into_owned),
        }
    }
}

impl SecretKeySelector<'_> {
    fn into_owned(self) -> SecretKeySelector<'static> {
        SecretKeySelector {
            name: self.name.map(Text::into_owned),
            key: self.key.map(Text::into_owned),
        }
    }
}

impl BslStatus<'_> {
    /// Returns the same status with owned data.
    pub fn into_owned(self) -> BslStatus<'static> {
        BslStatus {
            phase: self.phase.map(Text::into_owned),
            message: self.message.map(Text::into_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const WHOLE: &str = r#"{"metadata":{"name":"default","uid":"u","labels":{"name":"1"},
        "annotations":{"velero-trust.io/ca-secret":"b"}},"spec":{"provider":"aws","config":{"region":"r"},
        "credential":{"name":"c","key":"k"},"objectStorage":{"bucket":"b","prefix":"p","caCert":"YQ==",
        "caCertRef":{"name":"n","key":"k"}}},"status":{"phase":"Available","message":"m"}}"#;

    #[test]
    fn an_owned_location_is_equal_and_borrows_nothing_that_was_owned() {
        let borrowed: Bsl<'_> = serde_json::from_str(WHOLE).unwrap();
        let text = borrowed.metadata.name.as_ref().unwrap();
        assert!(matches!(text.0, Cow::Borrowed(_)));
        let owned = borrowed.clone().into_owned();
        assert_eq!(owned, borrowed);
        // Owned data is moved, not copied.
        let before = owned.name().as_ptr();
        assert_eq!(owned.into_owned().name().as_ptr(), before);
    }

    #[test]
    fn text_and_value_read_the_same() {
        let value: Value = serde_json::from_str(WHOLE).unwrap();
        let read = Bsl::from_value(&value);
        assert_eq!(read, serde_json::from_str(WHOLE).unwrap());
        let actual = (read.name(), read.uid(), read.phase(), read.is_available());
        assert_eq!(actual, ("default", "u", "Available", true));
    }

    #[test]
    fn a_location_that_cannot_be_read_is_empty_and_has_its_name_and_status() {
        let text = WHOLE.replace(r#""aws""#, "[]");
        assert!(serde_json::from_str::<Bsl<'_>>(&text).is_err());
        let value: Value = serde_json::from_str(&text).unwrap();
        let read = Bsl::from_value(&value);
        let actual = (read.name(), read.uid(), read.is_available());
        assert_eq!(actual, ("default", "u", true));
        assert_eq!(read.spec, BslSpec::default());
        assert_eq!(read.metadata.annotations, None);
        assert_eq!(Bsl::from_json(&text), read);
        assert_eq!(Bsl::from_json(WHOLE), serde_json::from_str(WHOLE).unwrap());
        assert_eq!(Bsl::from_value(&Value::Null), Bsl::default());
        assert_eq!(Bsl::from_json("5"), Bsl::default());
    }

    #[test]
    fn a_location_with_more_settings_than_any_plugin_has_cannot_be_read() {
        let with = |count: usize| {
            let settings: Vec<_> = (0..count).map(|key| format!(r#""{key}": "v""#)).collect();
            format!(r#"{{"spec": {{"config": {{{}}}}}}}"#, settings.join(","))
        };
        let text = with(128);
        let read: Bsl<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(read.spec.config.unwrap().len(), 128);
        let error = serde_json::from_str::<Bsl<'_>>(&with(129)).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("a map has more than 128 entries")
        );
    }

    #[test]
    fn name_uid_and_status_of_another_type_do_not_make_a_location_unreadable() {
        for (field, wrong) in [
            (r#""name":"default""#, r#""name":5"#),
            (r#""uid":"u""#, r#""uid":{}"#),
            (r#"{"phase":"Available","message":"m"}"#, r#""none""#),
            (r#"{"phase":"Available","message":"m"}"#, "null"),
            (r#""phase":"Available""#, r#""phase":[1]"#),
            (r#""phase":"Available""#, r#""phase":{"a":[{}]}"#),
            (r#""phase":"Available""#, r#""phase":true"#),
            (r#""phase":"Available""#, r#""phase":-1"#),
            (r#""phase":"Available""#, r#""phase":1.5"#),
        ] {
            let text = WHOLE.replace(field, wrong);
            assert_ne!(text, WHOLE);
            let read: Bsl<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(read.provider(), "aws", "{wrong}");
        }
    }
}
