//! The rule about annotations with which no Backup may be created.

use json_patch::jsonptr::PointerBuf;
use json_patch::{PatchOperation, RemoveOperation};

use crate::decision::{Code, FieldPath, Finding, Report, Rule, Severity};
use crate::names::RESERVED_BACKUP_ANNOTATIONS;
use crate::velero::metadata::Metadata;

pub(super) static RULES: [&Rule; 1] = [&RESERVED];

static RESERVED: Rule = Rule {
    id: "VT111",
    title: "reserved annotation on a new Backup",
    about: "velero-trust writes `velero-trust.io/checksum`, `velero-trust.io/manifest` and \
            `velero-trust.io/verified-at` itself, once it has read the files of the backup. With \
            `velero-trust.io/adopt` and `velero-trust.io/declared-checksum`, a person vouches for a \
            Backup that is there. One that a \
            new Backup comes with, from a Schedule, a person, or Velero's sync from the bucket, is \
            removed. The Backup is never refused, whatever severity the rule has: that would fail \
            every backup of the Schedule.",
    severity: Severity::Warn,
    code: Code::Forbidden,
    ..Rule::DEFAULT
};

/// Removes the reserved annotations of a Backup that is being created. Its `metadata` has at most as
/// many as are reserved, so that the patch is small however many annotations the Backup has.
pub fn strip(metadata: &Metadata<'_>) -> Report {
    let mut report = Report::default();
    for annotation in RESERVED_BACKUP_ANNOTATIONS {
        if metadata.annotation(annotation).is_none() {
            continue;
        }
        report.patch.push(PatchOperation::Remove(RemoveOperation {
            path: PointerBuf::from_tokens(["metadata", "annotations", annotation]),
        }));
        let finding = Finding::new(
            &RESERVED,
            FieldPath::annotation(annotation),
            annotation,
            "is removed: no Backup may come with it",
            "take it out of the Schedule or the command that makes the Backup",
        );
        report.add_finding(finding.softened());
    }
    report
}
