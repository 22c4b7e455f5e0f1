//! A view of an object's `metadata`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::lenient::reported;
use super::pod_kind;
use super::text::{Text, map_into_owned};
use crate::names::{
    ACCEPT_INSECURE_ANNOTATION, BACKUP_CHECKSUM_ANNOTATION, CA_SECRET_ANNOTATION, INJECT, PREFIX,
    RECONCILE_ANNOTATION, RESERVED_BACKUP_ANNOTATIONS, RESERVED_RESTORE_ANNOTATIONS,
};

/// Annotation that the kubelet sets on the mirror Pods of what it runs without the API server. A
/// mirror Pod must not be changed.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// The labels and annotations that are read, besides the labels of Velero's Pods and what is reserved
/// on Backups. All others are skipped: an object can have any number of them.
const READ: [&str; 5] = [
    ACCEPT_INSECURE_ANNOTATION,
    BACKUP_CHECKSUM_ANNOTATION,
    CA_SECRET_ANNOTATION,
    INJECT,
    MIRROR_ANNOTATION,
];

/// Whether the label or annotation `key` is read.
pub fn is_read(key: &str) -> bool {
    READ.contains(&key)
        || RESERVED_BACKUP_ANNOTATIONS.contains(&key)
        || RESERVED_RESTORE_ANNOTATIONS.contains(&key)
        || pod_kind::LABELS.contains(&key)
}

/// The fields of an object's `metadata` that velero-trust reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata<'a> {
    /// `metadata.name`.
    #[serde(borrow, deserialize_with = "reported")]
    pub name: Option<Text<'a>>,
    /// `metadata.uid`.
    #[serde(borrow, deserialize_with = "reported")]
    pub uid: Option<Text<'a>>,
    /// `metadata.creationTimestamp`.
    #[serde(borrow, deserialize_with = "reported")]
    pub creation_timestamp: Option<Text<'a>>,
    /// Those of `metadata.labels` that are read ([`is_read`]).
    #[serde(borrow, deserialize_with = "read_entries")]
    pub labels: Option<BTreeMap<Text<'a>, Text<'a>>>,
    /// Those of `metadata.annotations` that are read ([`is_read`]).
    #[serde(borrow, deserialize_with = "read_entries")]
    pub annotations: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

impl Metadata<'_> {
    /// Returns the value of the label `key`, which is one that is read.
    pub fn label(&self, key: &str) -> Option<&str> {
        get(self.labels.as_ref(), key)
    }

    /// Returns the value of the annotation `key`, which is one that is read.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        get(self.annotations.as_ref(), key)
    }

    /// Returns velero-trust's own annotations that mean something, sorted.
    pub fn own_annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        let annotations = self.annotations.iter().flatten();
        annotations
            .map(|(key, value)| (&**key, &**value))
            .filter(|(key, _)| key.starts_with(PREFIX) && *key != RECONCILE_ANNOTATION)
    }

    /// Returns the same metadata with no borrow.
    pub fn into_owned(self) -> Metadata<'static> {
        Metadata {
            name: self.name.map(Text::into_owned),
            uid: self.uid.map(Text::into_owned),
            creation_timestamp: self.creation_timestamp.map(Text::into_owned),
            labels: self.labels.map(map_into_owned),
            annotations: self.annotations.map(map_into_owned),
        }
    }
}

fn get<'b>(map: Option<&'b BTreeMap<Text<'_>, Text<'_>>>, key: &str) -> Option<&'b str> {
    debug_assert!(is_read(key), "{key} is not among the keys that are read");
    map?.iter()
        .find(|(name, _)| **name == *key)
        .map(|(_, value)| &**value)
}

/// Reads those entries of a map whose keys are read; `null` as `None`.
fn read_entries<'de, D>(deserializer: D) -> Result<Option<BTreeMap<Text<'de>, Text<'de>>>, D::Error>
where
    D: Deserializer<'de>,
{
    let entries = Option::<Entries<'de>>::deserialize(deserializer)?;
    Ok(entries.map(|Entries(entries)| entries))
}

struct Entries<'a>(BTreeMap<Text<'a>, Text<'a>>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReadEntries;

        impl<'de> Visitor<'de> for ReadEntries {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    if is_read(&key) {
                        entries.insert(key, map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(ReadEntries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_labels_and_annotations_that_are_read_are_kept() {
        let text = r#"{"labels": {"a": "1", "component": "velero", "b": "2"},
            "annotations": {"velero-trust.io/inject": "x", "c": [{}], "velero-trust.io/inject": "y"}}"#;
        let metadata: Metadata<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(metadata.labels.as_ref().map(BTreeMap::len), Some(1));
        assert_eq!(metadata.label("component"), Some("velero"));
        // As Go reads it, the last of several counts.
        assert_eq!(metadata.annotation(INJECT), Some("y"));
        let metadata: Metadata<'_> = serde_json::from_str(r#"{"labels": null}"#).unwrap();
        assert_eq!(metadata, Metadata::default());
        assert!(serde_json::from_str::<Metadata<'_>>(r#"{"labels": []}"#).is_err());
        assert!(serde_json::from_str::<Metadata<'_>>(r#"{"labels": {"name": 1}}"#).is_err());
    }
}
