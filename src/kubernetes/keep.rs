//! Metadata of objects that must outlive their installation and stay out of Velero's backups.

use kube::api::ObjectMeta;

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
