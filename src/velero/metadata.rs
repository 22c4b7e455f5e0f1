//! A view of an object's `metadata`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::lenient::wrong_is_default;
use super::text::{Text, map_into_owned};
use crate::names::PREFIX;

/// The fields of an object's `metadata` that velero-trust reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata<'a> {
    /// `metadata.name`.
    #[serde(borrow, deserialize_with = "wrong_is_default")]
    pub name: Option<Text<'a>>,
    /// `metadata.uid`.
    #[serde(borrow, deserialize_with = "wrong_is_default")]
    pub uid: Option<Text<'a>>,
    /// `metadata.labels`.
    #[serde(borrow)]
    pub labels: Option<BTreeMap<Text<'a>, Text<'a>>>,
    /// `metadata.annotations`.
    #[serde(borrow)]
    pub annotations: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

impl Metadata<'_> {
    /// Returns the value of the label `key`.
    pub fn label(&self, key: &str) -> Option<&str> {
        get(self.labels.as_ref(), key)
    }

    /// Returns the value of the annotation `key`.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        get(self.annotations.as_ref(), key)
    }

    /// Returns velero-trust's own annotations, sorted.
    pub fn own_annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        let annotations = self.annotations.iter().flatten();
        annotations
            .map(|(key, value)| (&**key, &**value))
            .filter(|(key, _)| key.starts_with(PREFIX))
    }

    /// Returns the same metadata with no borrow.
    pub fn into_owned(self) -> Metadata<'static> {
        Metadata {
            name: self.name.map(Text::into_owned),
            uid: self.uid.map(Text::into_owned),
            labels: self.labels.map(map_into_owned),
            annotations: self.annotations.map(map_into_owned),
        }
    }
}

fn get<'b>(map: Option<&'b BTreeMap<Text<'_>, Text<'_>>>, key: &str) -> Option<&'b str> {
    map?.iter()
        .find(|(name, _)| **name == *key)
        .map(|(_, value)| &**value)
}
