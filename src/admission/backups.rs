//! The handler that mutates Backups.

use serde::Deserialize;

use super::handler::Handler;
use super::request::{Operation, Request};
use super::reviewed_object::{Mode, ReviewedObject, Unreadable};
use crate::decision::{Context, Facts, Report};
use crate::integrity::rules::strip_reserved;
use crate::velero::metadata::Metadata;

/// Removes the annotations with which no Backup may come from Backups that are created.
pub(super) static HANDLER: Handler = Handler {
    path: "/mutate/backups",
    group: "velero.io",
    resource: "backups",
    subresources: &[""],
    kind: "Backup",
    plural: "Backups with reserved annotations",
    unjudged: "keep them",
    operations: &[Operation::Create],
    mode: Mode::Mutate,
    // As for a BackupStorageLocation.
    max_body_bytes: 4 << 20,
    memory_per_byte: 8,
    read,
};

/// A Backup, of which only the metadata is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Backup<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

fn read<'a>(request: &'a Request<'a>) -> Result<Box<dyn ReviewedObject + 'a>, Unreadable> {
    let Backup { metadata } = serde_json::from_str(request.object.unwrap_or("{}"))?;
    Ok(Box::new(Review { metadata }))
}

struct Review<'a> {
    metadata: Metadata<'a>,
}

impl ReviewedObject for Review<'_> {
    fn decide(&self, _: &Facts, _: Context<'_>) -> Report {
        strip_reserved(&self.metadata)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decision::Policy;
    use crate::names::RESERVED_BACKUP_ANNOTATIONS;

    /// Returns what the API server stores of `backup`, and the number of findings.
    fn stored(mut backup: Value) -> (Value, usize) {
        let text = backup.to_string();
        let Backup { metadata } = serde_json::from_str(&text).unwrap();
        let context = Context {
            policy: &Policy::default(),
            now: 0,
        };
        let report = Review { metadata }.decide(&Facts::default(), context);
        json_patch::patch(&mut backup, &report.patch).unwrap();
        (backup, report.findings.len())
    }

    #[test]
    fn reserved_annotations_are_removed_and_nothing_else() {
        let mut annotations = json!({"a": "b", "velero-trust.io/adopted": "", "velero.io/x": ""});
        let others = annotations.clone();
        for key in RESERVED_BACKUP_ANNOTATIONS {
            annotations[key] = json!("sha256:forged");
        }
        let spec = json!({"ttl": "1h"});
        let backup = json!({"metadata": {"name": "b", "annotations": annotations}, "spec": spec});
        let (stored, findings) = stored(backup);
        let wanted = json!({"metadata": {"name": "b", "annotations": others}, "spec": spec});
        assert_eq!(
            (stored, findings),
            (wanted, RESERVED_BACKUP_ANNOTATIONS.len())
        );
    }

    #[test]
    fn one_without_any_stays_as_it_is() {
        for annotations in [json!(null), json!({}), json!({"a": "b"})] {
            let backup = json!({"metadata": {"annotations": annotations}});
            assert_eq!(stored(backup.clone()), (backup, 0));
        }
    }
}
