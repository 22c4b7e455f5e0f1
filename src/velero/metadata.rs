//! A view of an object's `metadata`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::text::Text;

/// The fields of an object's `metadata` that velero-trust reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata<'a> {
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
}

fn get<'b>(map: Option<&'b BTreeMap<Text<'_>, Text<'_>>>, key: &str) -> Option<&'b str> {
    map?.iter()
        .find(|(name, _)| **name == *key)
        .map(|(_, value)| &**value)
}
