//! Messages, warnings and audit annotations made of findings.

use std::collections::BTreeMap;

use crate::decision::{Finding, Judged, Note};
use crate::velero::printable::printable;
use crate::velero::text::single_line;

/// Maximum length of a warning, in characters: the API server may cut a longer one.
const MAX_WARNING_CHARS: usize = 256;

/// Length that the API server recommends, in characters. A fix that makes a warning longer becomes a
/// warning of its own.
const SHORT_WARNING_CHARS: usize = 120;

/// Maximum number of warnings in one answer. All warnings of one API request share 4,096
/// characters, and those of other webhooks need some of them.
const MAX_WARNINGS: usize = 8;

/// Maximum number of findings in the message of a denial. `details.causes` always has all of them.
const MAX_MESSAGE_FINDINGS: usize = 5;

/// Returns the ids of the rules with findings, sorted, each once.
pub(super) fn rule_ids(judged: &Judged) -> Vec<&'static str> {
    let mut ids: Vec<_> = judged
        .denials
        .iter()
        .chain(&judged.warnings)
        .map(|finding| finding.rule.id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Returns the first findings, joined by `separator`, and the number of the remaining ones.
pub(super) fn summary(findings: &[Finding], separator: &str) -> String {
    let mut lines: Vec<_> = findings
        .iter()
        .take(MAX_MESSAGE_FINDINGS)
        .map(|finding| printable(&finding.to_string()).into_owned())
        .collect();
    if findings.len() > MAX_MESSAGE_FINDINGS {
        lines.push(format!(
            "and {} more",
            findings.len() - MAX_MESSAGE_FINDINGS
        ));
    }
    lines.join(separator)
}

/// Start of each error that velero-trust puts into the status of a Restore.
pub const VALIDATION_ERROR_PREFIX: &str = "velero-trust: ";

/// Maximum length of an error in the status of a Restore, in characters.
const MAX_VALIDATION_ERROR_CHARS: usize = 2000;

/// Returns the findings as errors for the status of a Restore, which `velero restore describe` shows.
pub(super) fn validation_errors(findings: &[Finding]) -> Vec<String> {
    let errors = findings.iter().take(MAX_MESSAGE_FINDINGS).map(|finding| {
        let error = format!("{VALIDATION_ERROR_PREFIX}{finding}");
        single_line(&error, MAX_VALIDATION_ERROR_CHARS).into_owned()
    });
    let mut errors: Vec<_> = errors.collect();
    if findings.len() > MAX_MESSAGE_FINDINGS {
        let more = findings.len() - MAX_MESSAGE_FINDINGS;
        errors.push(format!("{VALIDATION_ERROR_PREFIX}and {more} more"));
    }
    errors
}

/// Returns the findings and the notes as warnings that the API server passes on to the user.
///
/// What is wrong comes first, so that a terminal or a log that cuts lines shows it; then the field,
/// then the fix. If there are too many warnings, fixes are left out first.
pub(super) fn warnings(findings: &[Finding], notes: &[Note]) -> Vec<String> {
    let mut texts: Vec<_> = findings.iter().map(texts_of).collect();
    texts.extend(notes.iter().map(|note| vec![line(&note.to_string())]));
    let mut count: usize = texts.iter().map(Vec::len).sum();
    for fixes in texts.iter_mut().rev() {
        if count > MAX_WARNINGS && fixes.len() > 1 {
            count -= fixes.len() - 1;
            fixes.truncate(1);
        }
    }
    let mut all = texts.concat();
    if all.len() > MAX_WARNINGS {
        let more = all.len() - (MAX_WARNINGS - 1);
        all.truncate(MAX_WARNINGS - 1);
        all.push(format!("and {more} more warnings from velero-trust"));
    }
    all
}

/// Returns the warning about a finding, and one with the fix if both are too long for one.
fn texts_of(finding: &Finding) -> Vec<String> {
    let Finding {
        rule,
        path,
        message,
        fix,
        ..
    } = finding;
    let id = rule.id;
    let fault = format!("[{id}] {message} (at {path})");
    let both = format!("{fault}; {fix}");
    if both.chars().count() <= SHORT_WARNING_CHARS {
        vec![line(&both)]
    } else {
        vec![line(&fault), line(&format!("[{id}] to fix it: {fix}"))]
    }
}

/// Returns `text` in one line, because the API server drops a warning with a control character.
fn line(text: &str) -> String {
    single_line(text, MAX_WARNING_CHARS).into_owned()
}

/// Returns the audit annotations. Their keys are fixed: the API server drops a key that is not a
/// qualified name.
pub(super) fn audit_annotations(
    decision: &'static str,
    rules: &[&'static str],
) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("decision", decision.to_owned()),
        ("rules", rules.join(",")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{FieldPath, Rule};

    static RULE: Rule = Rule {
        id: "VT999",
        ..Rule::DEFAULT
    };

    fn finding(message: &str) -> Finding {
        Finding::new(&RULE, FieldPath::of(&["spec"]), "", message, "fix it")
    }

    #[test]
    fn a_warning_begins_with_the_rule_and_what_is_wrong() {
        let said = warnings(&[finding("a\nb\u{7}c")], &[]);
        assert_eq!(said, ["[VT999] a b c (at spec); fix it"]);
        let said = warnings(&[finding(&"ö".repeat(500))], &[]);
        assert_eq!(said[0].chars().count(), 256);
        assert!(said[0].starts_with("[VT999] ö") && said[0].ends_with('…'));
    }

    #[test]
    fn a_fix_that_does_not_fit_is_a_second_warning() {
        let fault = "x".repeat(91);
        let said = warnings(&[finding(&fault)], &[]);
        assert_eq!(said, [format!("[VT999] {fault} (at spec); fix it")]);
        assert_eq!(said[0].len(), 117);
        let fault = "x".repeat(95);
        let said = warnings(&[finding(&fault)], &[]);
        assert_eq!(
            said,
            [
                format!("[VT999] {fault} (at spec)"),
                "[VT999] to fix it: fix it".to_owned()
            ]
        );
        // No fault is left out for a fix.
        let said = warnings(&vec![finding(&fault); 7], &[]);
        assert_eq!(said.len(), 8);
        assert_eq!(said[1], "[VT999] to fix it: fix it");
        assert!(said[2..].iter().all(|said| said.contains("(at spec)")));
    }

    #[test]
    fn there_are_never_more_than_8_warnings_and_the_last_counts_the_rest() {
        let many = vec![finding("x"); 8];
        assert_eq!(warnings(&many, &[]).len(), 8);
        let note = Note {
            message: "a note".to_owned(),
            ..Note::default()
        };
        let said = warnings(&many, &[note]);
        assert_eq!(said.len(), 8);
        assert_eq!(said[7], "and 2 more warnings from velero-trust");
    }

    #[test]
    fn a_message_has_5_findings_and_counts_the_rest() {
        let said = summary(&vec![finding("x"); 7], "\n");
        assert_eq!(said.lines().count(), 6);
        assert!(said.ends_with("\nand 2 more"), "{said}");
    }

    #[test]
    fn audit_keys_are_qualified_names() {
        // The API server prepends `<webhook name>/` and drops a key that is not a qualified name.
        for key in audit_annotations("deny", &["VT999"]).keys() {
            assert!(key.len() <= 63 && key.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }
}
