//! The handler that validates Restores.

use super::handler::Handler;
use super::request::{Operation, Request};
use super::reviewed_object::{Mode, ReviewedObject, Unreadable};
use crate::decision::{Context, Facts, Report};
use crate::integrity::change;
use crate::integrity::rules::{self, Moment, Question};
use crate::velero::restore::Restore;

/// Validates Restores.
pub(super) static HANDLER: Handler = Handler {
    path: "/validate/restores",
    group: "velero.io",
    resource: "restores",
    subresources: &[""],
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
    let new: Restore<'a> = serde_json::from_str(request.object.unwrap_or("{}"))?;
    let (old, is_checked) = match (request.operation, request.old_object) {
        (Operation::Update, stored) => match stored.map(serde_json::from_str::<Restore<'a>>) {
            Some(Ok(old)) => {
                let is_checked = change::is_checked(&new, &old);
                (Some(old), is_checked)
            }
            // One that cannot be read counts as what it becomes, which is checked.
            _ => (Some(new.clone()), true),
        },
        _ => (None, true),
    };
    Ok(Box::new(Review {
        namespace: request.namespace,
        new,
        old,
        is_checked,
    }))
}

struct Review<'a> {
    namespace: &'a str,
    new: Restore<'a>,
    /// What is updated.
    old: Option<Restore<'a>>,
    is_checked: bool,
}

impl ReviewedObject for Review<'_> {
    fn decide(&self, facts: &Facts, context: Context<'_>) -> Report {
        if !self.is_checked {
            return Report::default();
        }
        let question = Question {
            moment: Moment::Create,
            namespace: self.namespace,
            restore: &self.new,
            policy: context.policy,
            now: context.now,
        };
        rules::judge(&question, self.old.as_ref(), facts).0
    }
}
