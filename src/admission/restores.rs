//! The handler that validates Restores.

use super::handler::Handler;
use super::request::{Operation, Request};
use super::reviewed_object::{Mode, ReviewedObject, Unreadable};
use crate::decision::{Context, Facts, Report};
use crate::integrity::{change, rules};
use crate::velero::restore::Restore;

/// Validates Restores.
pub(super) static HANDLER: Handler = Handler {
    path: "/validate/restores",
    group: "velero.io",
    resource: "restores",
    kind: "Restore",
    plural: "Restores",
    unjudged: "pass unjudged",
    operations: &[Operation::Create, Operation::Update],
    mode: Mode::Validate,
    // As for a BackupStorageLocation.
    max_body_bytes: 4 << 20,
    memory_per_byte: 8,
    read,
};

fn read<'a>(request: &'a Request<'a>) -> Result<Box<dyn ReviewedObject + 'a>, Unreadable> {
    let new = serde_json::from_str(request.object.unwrap_or("{}"))?;
    // A stored Restore that cannot be read counts as empty, so that the new one is checked.
    let old = request
        .old_object
        .and_then(|old| serde_json::from_str(old).ok());
    Ok(Box::new(Review {
        namespace: request.namespace,
        new,
        old: match request.operation {
            Operation::Update => Some(old.unwrap_or_default()),
            _ => None,
        },
    }))
}

struct Review<'a> {
    namespace: &'a str,
    new: Restore<'a>,
    old: Option<Restore<'a>>,
}

impl ReviewedObject for Review<'_> {
    fn decide(&self, facts: &Facts, context: Context<'_>) -> Report {
        let old = self.old.as_ref();
        if old.is_some_and(|old| !change::is_checked(&self.new, old)) {
            return Report::default();
        }
        rules::judge(self.namespace, &self.new, facts, context.policy)
    }
}
