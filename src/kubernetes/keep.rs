//! Objects that must outlive their installation and stay out of Velero's backups.

use kube::api::{ObjectMeta, PostParams};

use super::bundle::KEEP_ANNOTATIONS;
use crate::names;

/// Label of what this installation made.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Returns metadata of an object of this installation, which GitOps tools, Helm and Velero leave alone.
pub fn metadata() -> ObjectMeta {
    let mut metadata = metadata_of_others();
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(MANAGED_BY.to_owned(), names::APP.to_owned());
    metadata
}

/// Returns metadata of an object that others own, which is left alone as well.
pub fn metadata_of_others() -> ObjectMeta {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let labels = [("velero.io/exclude-from-backup", "true")];
    ObjectMeta {
        annotations: Some(KEEP_ANNOTATIONS.map(owned).into()),
        labels: Some(labels.map(owned).into()),
        ..ObjectMeta::default()
    }
}

/// Returns the parameters that create an object in the name of our field manager.
pub fn create_params() -> PostParams {
    PostParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}
