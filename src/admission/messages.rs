//! Messages, warnings and audit annotations made of findings.

use std::collections::BTreeMap;

use crate::decision::{Finding, Judged, Note};
use crate::velero::printable::printable;
use crate::velero::text::single_line;

/// Maximum length of a warning, in characters. The API server recommends 120 and may cut above 256.
const MAX_WARNING_CHARS: usize = 120;

/// Maximum number of warnings in one answer. All warnings of one API request share 4,096
/// characters.
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

/// Returns the findings and the notes as warnings that the API server passes on to the user.
pub(super) fn warnings(findings: &[Finding], notes: &[Note]) -> Vec<String> {
    // The id comes first, so that it is never cut off.
    let findings = findings.iter().map(|finding| {
        let Finding {
            rule,
            path,
            message,
            fix,
            ..
        } = finding;
        format!("[{}] {path}: {message}; {fix}", rule.id)
    });
    let mut all: Vec<_> = findings
        .chain(notes.iter().map(Note::to_string))
        // The API server drops a warning with a control character.
        .map(|line| single_line(&line, MAX_WARNING_CHARS).into_owned())
        .collect();
    if all.len() > MAX_WARNINGS {
        let more = all.len() - (MAX_WARNINGS - 1);
        all.truncate(MAX_WARNINGS - 1);
        all.push(format!("and {more} more warnings from velero-trust"));
    }
    all
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
    fn a_warning_is_one_line_of_at_most_120_characters_that_begins_with_the_rule() {
        let said = warnings(&[finding("a\nb\u{7}c")], &[]);
        assert_eq!(said, ["[VT999] spec: a b c; fix it"]);
        let said = warnings(&[finding(&"ö".repeat(500))], &[]);
        assert_eq!(said[0].chars().count(), 120);
        assert!(said[0].starts_with("[VT999] ") && said[0].ends_with('…'));
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
