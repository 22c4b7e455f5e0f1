//! What the annotations of a bundle ConfigMap say of it.

use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;

use super::bundle::is_ours;
use crate::injection::coverage;
use crate::names;

/// What the annotations of a bundle ConfigMap say. All of it is as it stands there: whoever may
/// write the ConfigMap may have written this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleAnnotations {
    /// `sha256:<hex>` of the bundle's text.
    pub hash: String,
    /// How many certificates it holds.
    pub certificates: Option<usize>,
    /// How many of them come from where.
    pub origins: Option<String>,
    /// When the first of them expires.
    pub earliest_expiry: Option<Timestamp>,
    /// When a certificate was last added.
    pub last_added: Option<Timestamp>,
    /// Why the namespace is held.
    pub held: Option<String>,
}

impl BundleAnnotations {
    /// Reads the annotations; none of a ConfigMap that is not ours.
    pub fn read(metadata: &ObjectMeta) -> Option<Self> {
        if !is_ours(metadata) {
            return None;
        }
        let of = |key| metadata.annotations.as_ref()?.get(key).cloned();
        let time = |key| of(key)?.parse().ok();
        Some(Self {
            hash: of(names::bundle::HASH).unwrap_or_default(),
            certificates: of(names::bundle::COUNT).and_then(|count| count.parse().ok()),
            origins: of(names::bundle::ORIGINS),
            earliest_expiry: time(names::bundle::EARLIEST_EXPIRY),
            last_added: time(names::bundle::LAST_ADDED),
            held: of(names::bundle::HOLD),
        })
    }

    /// What of it decides on the state of a Pod.
    pub fn for_coverage(&self) -> coverage::Bundle {
        coverage::Bundle {
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
        let published = BundleAnnotations::read(&metadata(&[
            (names::bundle::HASH, "sha256:aa"),
            (names::bundle::COUNT, "many"),
            (names::bundle::LAST_ADDED, "1970-01-01T00:01:00Z"),
            held,
        ]));
        let published = published.unwrap();
        assert_eq!(
            (published.certificates, published.origins.clone()),
            (None, None)
        );
        let facts = published.for_coverage();
        assert_eq!((facts.last_added, facts.held), (Some(60), true));
    }
}
