//! The merged CA bundle of a namespace as a fact.

use super::{Fact, Facts, Known, Lookup};

/// The merged bundle of a namespace, which exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Whether the namespace is held ([`crate::names::bundle::HOLD`]): `AWS_CA_BUNDLE` is not set.
    pub held: bool,
}

/// Why a review of a Pod makes no bundle in its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBundle {
    /// Nothing in the cluster says that the namespace is Velero's.
    NotVelero,
    /// The namespace does not exist.
    NoNamespace,
    /// The namespace is velero-trust's own. Only the controllers write there.
    OwnNamespace,
}

impl Facts {
    /// Returns the merged bundle of `namespace`.
    pub fn bundle(&self, namespace: &str) -> Known<&Bundle> {
        self.get(Lookup::Bundle(namespace.to_owned()), |fact| match fact {
            Fact::Bundle(bundle) => Some(bundle),
            _ => None,
        })
    }
}
