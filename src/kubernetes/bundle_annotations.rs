//! The annotations of a bundle ConfigMap.

use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;

use super::bundle::is_ours;
use crate::injection::coverage;
use crate::names;

/// The annotations of a bundle ConfigMap. None of them is verified: whoever may write the ConfigMap
/// may have written them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleAnnotations {
    /// The hash of the bundle's text: `sha256:<hex>`.
    pub hash: String,
    /// The number of certificates in the bundle.
    pub certificates: Option<usize>,
    /// The number of certificates from each origin: `<origin>=<count>`, separated by spaces.
    pub origins: Option<String>,
    /// When the first certificate expires.
    pub earliest_expiry: Option<Timestamp>,
    /// When a certificate was last added.
    pub last_added: Option<Timestamp>,
    /// Why the namespace is held; `None` if it is not held.
    pub held: Option<String>,
}

impl BundleAnnotations {
    /// Reads the annotations. Returns `None` if velero-trust did not write the ConfigMap.
    pub fn read(metadata: &ObjectMeta) -> Option<Self> {
        if !is_ours(metadata) {
            return None;
        }
        let value = |key| metadata.annotations.as_ref()?.get(key).cloned();
        let time = |key| value(key)?.parse().ok();
        Some(Self {
            hash: value(names::bundle::HASH).unwrap_or_default(),
            certificates: value(names::bundle::COUNT).and_then(|count| count.parse().ok()),
            origins: value(names::bundle::ORIGINS),
            earliest_expiry: time(names::bundle::EARLIEST_EXPIRY),
            last_added: time(names::bundle::LAST_ADDED),
            held: value(names::bundle::HOLD),
        })
    }

    /// Returns the part that decides on the state of a Pod.
    pub fn for_coverage(&self) -> coverage::BundleSummary {
        coverage::BundleSummary {
            last_added: self.last_added.map(Timestamp::as_second),
            held: self.held.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there_and_nothing_of_a_foreign_one() {
        let metadata = |annotations: &[(&str, &str)]| ObjectMeta {
            annotations: Some(
                annotations
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            ),
            ..ObjectMeta::default()
        };
        assert_eq!(BundleAnnotations::read(&metadata(&[])), None);
        let held = (names::bundle::HOLD, "default: not verified");
        assert_eq!(BundleAnnotations::read(&metadata(&[held])), None);
        let annotations = BundleAnnotations::read(&metadata(&[
            (names::bundle::HASH, "sha256:aa"),
            (names::bundle::COUNT, "many"),
            (names::bundle::LAST_ADDED, "1970-01-01T00:01:00Z"),
            held,
        ]));
        let annotations = annotations.unwrap();
        assert_eq!(
            (annotations.certificates, annotations.origins.clone()),
            (None, None)
        );
        let facts = annotations.for_coverage();
        assert_eq!((facts.last_added, facts.held), (Some(60), true));
    }
}
