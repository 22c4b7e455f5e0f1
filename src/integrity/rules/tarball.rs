//! The rule about backups of which only the tarball is recorded, by a URL that Velero signed.

use super::named;
use super::question::Question;
use crate::decision::{BackupRecord, Code, Finding, RecordState, Report, Rule, Severity, Verb};
use crate::integrity::checksum::Checksum;
use crate::names::ACCEPT_INSECURE_ANNOTATION;

pub(super) static RULES: [&Rule; 1] = [&TARBALL_ONLY];

static TARBALL_ONLY: Rule = Rule {
    id: "VT128",
    title: "backup of which only the tarball is recorded",
    about: "velero-trust may not read the bucket, and Velero may: Velero signed a URL for the tarball, and for nothing \
            else that a Restore reads. The tarball is compared when Velero begins; the lists of volumes beside it, the \
            Backup and its PodVolumeBackups are not, and nothing is signed. With `--accept-partial` it is a warning.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    accepted_with: Some(Verb::RestoreUnverified),
    ..Rule::DEFAULT
};

/// Returns the checksum of the tarball that `record` has alone.
pub(super) fn recorded(record: Option<&BackupRecord>) -> Option<Checksum<'_>> {
    let record = record.filter(|record| record.state == RecordState::TarballOnly)?;
    Checksum::parse(record.checksum.as_deref()?).ok()
}

/// Reports that nothing but the tarball of the backup of `record` is known.
pub(super) fn check(question: &Question<'_>, record: &BackupRecord, report: &mut Report) {
    let key = &record.backup;
    let why = record.reason.as_deref().unwrap_or("refused");
    let message = format!(
        "only the tarball of Backup {key} is recorded: velero-trust may not read its bucket ({why})"
    );
    let name = &key.name;
    let fix = format!(
        "let velero-trust read the bucket (`velero-trust backup show {name}` tells more), and delete BackupRecord {}, so \
         that the backup is recorded anew; to restore from tarballs alone, run velero-trust with --accept-partial; if you \
         must restore this one, and may, run `velero restore create --from-backup {name} --annotations \
         {ACCEPT_INSECURE_ANNOTATION}=REASON`",
        record.name
    );
    let path = named::path(question.restore);
    let finding = Finding::new(&TARBALL_ONLY, path, &key.name, message, fix);
    report.add_finding(if question.policy.accepts_partial {
        finding.softened()
    } else {
        finding
    });
}
