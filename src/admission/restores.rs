//! The handler that validates Restores.

use super::handler::Handler;
use super::request::{Operation, Request};
use super::reviewed_object::{Mode, ReviewedObject, Unreadable};
use crate::decision::{Context, Facts, Report};
use crate::integrity::rules;
use crate::velero::restore::Restore;

/// Validates Restores.
pub(super) static HANDLER: Handler = Handler {
    path: "/validate/restores",
    group: "velero.io",
    resource: "restores",
    operations: &[Operation::Create],
    mode: Mode::Validate,
    // As for a BackupStorageLocation.
    max_body_bytes: 4 << 20,
    memory_per_byte: 8,
    read,
};

fn read<'a>(request: &'a Request<'a>) -> Result<Box<dyn ReviewedObject + 'a>, Unreadable> {
    let restore = serde_json::from_str(request.object.unwrap_or("{}"))?;
    Ok(Box::new(Review {
        namespace: request.namespace,
        restore,
    }))
}

struct Review<'a> {
    namespace: &'a str,
    restore: Restore<'a>,
}

impl ReviewedObject for Review<'_> {
    fn decide(&self, facts: &Facts, context: Context<'_>) -> Report {
        rules::judge(
            self.namespace,
            &self.restore,
            facts,
            context.policy.restores,
        )
    }
}
