//! The handler that stamps Restores when they are created, and decides whether Velero may begin them.

use std::sync::Arc;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation};
use serde_json::{Map, Value};

use super::handler::Handler;
use super::request::{Operation, Request, UserRef};
use super::restores;
use super::reviewed_object::{Mode, ReviewedObject, Unreadable};
use crate::decision::{Context, Facts, FieldPath, Key, Report, RestoresMode, Stop, User, Verb};
use crate::integrity::change;
use crate::integrity::rules::{self, Moment, Question};
use crate::integrity::verdict::StoredVerdict;
use crate::names::{
    ACCEPT_INSECURE_ANNOTATION, ACCEPTED_BY_ANNOTATION, ACCEPTED_WITH_ANNOTATION,
    RESERVED_RESTORE_ANNOTATIONS, VERDICT_ANNOTATION,
};
use crate::velero::restore::Restore;

/// Stamps Restores, and decides whether Velero may begin them.
pub(super) static HANDLER: Handler = Handler {
    path: "/mutate/restores",
    group: "velero.io",
    resource: "restores",
    subresources: &["", "status"],
    kind: "Restore",
    plural: "Restores",
    unjudged: "begin without a look at their files",
    operations: &[Operation::Create, Operation::Update],
    mode: Mode::Gate,
    max_body_bytes: restores::HANDLER.max_body_bytes,
    memory_per_byte: restores::HANDLER.memory_per_byte,
    read,
};

fn read<'a>(request: &'a Request<'a>) -> Result<Box<dyn ReviewedObject + 'a>, Unreadable> {
    let new: Restore<'a> = serde_json::from_str(request.object.unwrap_or("{}"))?;
    if request.operation == Operation::Create {
        let user = request.user;
        return Ok(Box::new(Creation {
            namespace: request.namespace,
            new,
            user: Arc::new(UserRef::to_owned(user)),
        }));
    }
    // A stored Restore that cannot be read counts as one that waits.
    let old = request
        .old_object
        .and_then(|old| serde_json::from_str(old).ok());
    let old: Restore<'a> = old.unwrap_or_default();
    if !change::is_begin(&new, &old) {
        return Ok(Box::new(Unchecked));
    }
    Ok(Box::new(Beginning {
        namespace: request.namespace,
        restore: new,
    }))
}

/// Returns the decision whether Velero may begin `restore`, which is the JSON of a Restore that waits in
/// `namespace`.
pub fn would_begin<'a>(
    namespace: &'a str,
    restore: &'a str,
) -> Result<Box<dyn ReviewedObject + 'a>, Unreadable> {
    let restore: Restore<'a> = serde_json::from_str(restore)?;
    Ok(Box::new(Beginning { namespace, restore }))
}

/// A change with which Velero begins nothing.
struct Unchecked;

impl ReviewedObject for Unchecked {
    fn decide(&self, _: &Facts, _: Context<'_>) -> Report {
        Report::default()
    }
}

/// A Restore that is created.
struct Creation<'a> {
    namespace: &'a str,
    new: Restore<'a>,
    user: Arc<User>,
}

impl ReviewedObject for Creation<'_> {
    fn decide(&self, facts: &Facts, context: Context<'_>) -> Report {
        let mut report = Report::default();
        for key in RESERVED_RESTORE_ANNOTATIONS {
            if self.new.metadata.annotation(key).is_some() {
                report.patch.push(PatchOperation::Remove(RemoveOperation {
                    path: annotation(key),
                }));
                let path = FieldPath::annotation(key);
                report.note(path, "is removed: only velero-trust writes it");
            }
        }
        let is_off = context.policy.restores_mode(self.namespace) == RestoresMode::Off;
        let reason = self.new.metadata.annotation(ACCEPT_INSECURE_ANNOTATION);
        if reason.is_some() && !is_off {
            match self.right(facts) {
                Ok(Some(verb)) => {
                    let stamps = [
                        (ACCEPTED_BY_ANNOTATION, self.user.name.clone()),
                        (ACCEPTED_WITH_ANNOTATION, verb.as_str().to_owned()),
                    ];
                    let stamps =
                        stamps.map(|(key, value)| add(annotation(key), Value::from(value)));
                    report.patch.extend(stamps);
                }
                // The review that follows refuses it.
                Ok(None) => {}
                Err(stop) => report.record(Err(stop)),
            }
        }
        report
    }
}

impl Creation<'_> {
    /// Returns the strongest right that the user has on the backup, or on all of the namespace if Velero
    /// picks it.
    fn right(&self, facts: &Facts) -> Result<Option<Verb>, Stop> {
        let backup = Key::new(self.namespace, self.new.backup_name());
        let mut strongest = None;
        let mut stop = Ok(());
        for verb in Verb::ALL {
            match facts.may(&self.user, verb, &backup) {
                Ok(Some(true)) => strongest = Some(verb),
                Ok(_) => {}
                // Both are asked for together.
                Err(one) => stop = stop.and(Err(one)),
            }
        }
        stop.map(|()| strongest)
    }
}

/// A Restore that Velero begins.
struct Beginning<'a> {
    namespace: &'a str,
    restore: Restore<'a>,
}

impl ReviewedObject for Beginning<'_> {
    fn decide(&self, facts: &Facts, context: Context<'_>) -> Report {
        let question = Question {
            moment: Moment::Gate,
            namespace: self.namespace,
            restore: &self.restore,
            policy: context.policy,
            now: context.now,
        };
        let (mut report, known) = rules::judge(&question, None, facts);
        let verdict = StoredVerdict::new(&question, &known);
        let Ok(text) = serde_json::to_string(&verdict) else {
            return report;
        };
        if self.restore.metadata.annotations.is_none() {
            let path = PointerBuf::from_tokens(["metadata", "annotations"]);
            report.patch.push(add(path, Value::Object(Map::new())));
        }
        report
            .patch
            .push(add(annotation(VERDICT_ANNOTATION), Value::from(text)));
        report
    }
}

fn annotation(key: &str) -> PointerBuf {
    PointerBuf::from_tokens(["metadata", "annotations", key])
}

fn add(path: PointerBuf, value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path, value })
}
