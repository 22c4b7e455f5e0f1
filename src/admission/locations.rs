//! The handler that validates BackupStorageLocations.

use super::handler::Handler;
use super::request::{Operation, Request};
use super::reviewed_object::{Mode, ReviewedObject, Unreadable};
use crate::ca::rules::{self, Location};
use crate::decision::{Context, Facts, Judged, Report, Verdict};
use crate::velero::bsl::Bsl;

/// Validates BackupStorageLocations.
pub(super) static HANDLER: Handler = Handler {
    path: "/validate/backupstoragelocations",
    group: "velero.io",
    resource: "backupstoragelocations",
    subresources: &[""],
    kind: "BackupStorageLocation",
    plural: "BackupStorageLocations",
    unjudged: "pass unjudged",
    operations: &[Operation::Create, Operation::Update],
    mode: Mode::Validate,
    // etcd takes requests of 1.5 MiB, and stores custom resources in JSON. An UPDATE carries two
    // objects, and the request around them.
    max_body_bytes: 4 << 20,
    memory_per_byte: 8,
    read,
};

fn read<'a>(request: &'a Request<'a>) -> Result<Box<dyn ReviewedObject + 'a>, Unreadable> {
    let new = serde_json::from_str(request.object.unwrap_or("{}"))?;
    // A stored object that cannot be read must not stop anybody from fixing it.
    let old = request
        .old_object
        .and_then(|old| serde_json::from_str(old).ok());
    let update = request.operation == Operation::Update;
    Ok(Box::new(Review {
        namespace: request.namespace,
        dry_run: request.dry_run,
        new,
        old: if update {
            Some(old.unwrap_or_default())
        } else {
            None
        },
    }))
}

struct Review<'a> {
    namespace: &'a str,
    dry_run: bool,
    new: Bsl<'a>,
    old: Option<Bsl<'a>>,
}

impl Review<'_> {
    const fn location<'b>(
        &'b self,
        bsl: &'b Bsl<'b>,
        old: Option<&'b Bsl<'b>>,
        now: i64,
    ) -> Location<'b> {
        Location {
            namespace: self.namespace,
            dry_run: self.dry_run,
            bsl,
            old,
            now,
        }
    }
}

impl ReviewedObject for Review<'_> {
    fn decide(&self, facts: &Facts, Context { policy, now }: Context<'_>) -> Report {
        let new = self.location(&self.new, self.old.as_ref(), now);
        let Some(old) = &self.old else {
            return rules::judge(&new, facts);
        };
        // Velero writes the status, `default` and `accessMode` into the same object.
        if rules::is_same_location(&self.new, old) {
            return Report::default();
        }
        let is_denied = |report: &_| Judged::apply_policy(report, policy).verdict == Verdict::Deny;
        rules::judge_change(&new, &self.location(old, None, now), facts, is_denied)
    }
}
