//! Rules about what nobody but Velero and velero-trust writes of a Restore.

use super::question::Question;
use crate::decision::{Code, FieldPath, Finding, Report, Rule, Severity};
use crate::names::{
    ACCEPT_INSECURE_ANNOTATION, ACCEPTED_BY_ANNOTATION, ACCEPTED_WITH_ANNOTATION,
    BACKUP_CHECKSUM_ANNOTATION, VERDICT_ANNOTATION,
};
use crate::velero::restore::Restore;
use crate::velero::text::shown;

pub(super) static RULES: [&Rule; 2] = [&PHASE, &CHANGED];

static PHASE: Rule = Rule {
    id: "VT120",
    title: "Restore with a phase that somebody else set",
    about: "A Restore is created without a phase, and Velero sets it. One with another phase would not be \
            checked when it begins, and one that is set back runs again. It denies with `--restores=warn` too.",
    severity: Severity::Deny,
    code: Code::Invalid,
    fixed: true,
    ..Rule::DEFAULT
};

static CHANGED: Rule = Rule {
    id: "VT123",
    title: "Restore that was changed after it was created",
    about: "What a Restore restores, what is expected of its backup, and who accepted it are said when it is \
            created. Nobody changes it later. It denies with `--restores=warn` too.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    fixed: true,
    ..Rule::DEFAULT
};

/// The annotations that nobody changes.
const FIXED_ANNOTATIONS: [&str; 5] = [
    BACKUP_CHECKSUM_ANNOTATION,
    ACCEPT_INSECURE_ANNOTATION,
    ACCEPTED_BY_ANNOTATION,
    ACCEPTED_WITH_ANNOTATION,
    VERDICT_ANNOTATION,
];

/// Checks the Restore of `question` against what it was before, if it was there.
pub(super) fn check(question: &Question<'_>, old: Option<&Restore<'_>>, report: &mut Report) {
    let restore = question.restore;
    let mut find = |rule, path, message: String, fix: &str| {
        report.add_finding(Finding::new(rule, path, "", message, fix));
    };
    let phase = FieldPath::of(&["status", "phase"]);
    let Some(old) = old else {
        if !restore.is_waiting() {
            let message = format!("it is created with the phase {}", shown(restore.phase()));
            find(&PHASE, phase, message, "leave out status");
        }
        return;
    };
    if restore.is_waiting() && !old.is_waiting() {
        let message = format!("it was {} already, and would run again", shown(old.phase()));
        find(&PHASE, phase, message, "create another Restore");
    }
    for (field, is, was) in [
        ("backupName", restore.backup_name(), old.backup_name()),
        ("scheduleName", restore.schedule_name(), old.schedule_name()),
    ] {
        if is != was {
            let message = format!(
                "it was \"{}\", and is changed to \"{}\"",
                shown(was),
                shown(is)
            );
            let path = FieldPath::of(&["spec"]).field(field);
            find(&CHANGED, path, message, "create another Restore");
        }
    }
    for key in FIXED_ANNOTATIONS {
        if restore.metadata.annotation(key) != old.metadata.annotation(key) {
            let message = "it is changed after the Restore was created".to_owned();
            find(
                &CHANGED,
                FieldPath::annotation(key),
                message,
                "create another Restore",
            );
        }
    }
}
