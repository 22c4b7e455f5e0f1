//! Objects that must outlive their installation and stay out of Velero's backups.

use kube::api::{ObjectMeta, PostParams};

use super::bundle::KEEP_ANNOTATIONS;
use crate::names;

/// Returns metadata with which GitOps tools, Helm and Velero leave an object alone.
pub fn metadata() -> ObjectMeta {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let labels = [
        ("app.kubernetes.io/managed-by", names::APP),
        ("velero.io/exclude-from-backup", "true"),
    ];
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
