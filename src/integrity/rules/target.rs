//! The rule about the namespaces into which a Restore writes.

use crate::decision::{Code, FieldPath, Finding, Report, Rule, Severity};
use crate::velero::namespace_pattern::matches;
use crate::velero::restore::{MAX_NAMESPACES, Restore};
use crate::velero::text::shown;

pub(super) static RULES: [&Rule; 1] = [&OWN_NAMESPACE];

static OWN_NAMESPACE: Rule = Rule {
    id: "VT109",
    title: "Restore into velero-trust's own namespace",
    about: "A ConfigMap with a label in velero-trust's own namespace adds CAs to the bundle of every \
            namespace, and the serving key is there. velero-trust's own objects are in no backup, so \
            there is nothing to restore: install it from its manifests. A Restore of all namespaces \
            passes, because it does not name this one; what it restores here is not taken as a CA.",
    severity: Severity::Deny,
    code: Code::Forbidden,
    ..Rule::DEFAULT
};

/// The pattern that stands for all namespaces.
const ALL: &str = "*";

/// Checks that `restore` neither maps a namespace to `own`, velero-trust's own, nor names it.
pub(super) fn check(own: &str, restore: &Restore<'_>, report: &mut Report) {
    let spec = &restore.spec;
    let mut find = |path, message: String, fix: String| {
        let finding = Finding::new(&OWN_NAMESPACE, path, own, message, fix);
        report.add_finding(finding);
    };
    let mapped = spec.namespace_mapping.iter().flatten();
    for (from, _) in mapped.filter(|(from, to)| **to == *own && **from != *own) {
        find(
            FieldPath::of(&["spec", "namespaceMapping"]).key(&**from),
            format!(
                "it maps namespace {} to {own}, which is velero-trust's own",
                shown(from)
            ),
            "map it to another namespace".to_owned(),
        );
    }
    let mut targets = spec.namespace_mapping.iter().flatten();
    let is_mapped_away = targets.any(|(from, to)| **from == *own && **to != *own);
    let mut excluded = spec.excluded_namespaces.iter();
    if is_mapped_away || excluded.any(|pattern| matches(pattern, own)) {
        return;
    }
    let included = spec.included_namespaces.iter().enumerate();
    let mut named = included.filter(|(_, pattern)| **pattern != *ALL && matches(pattern, own));
    if spec.included_namespaces.is_cut() {
        find(
            FieldPath::of(&["spec", "includedNamespaces"]),
            format!(
                "it includes more than {MAX_NAMESPACES} namespaces, and {own} may be one of them"
            ),
            format!("add {own} to spec.excludedNamespaces"),
        );
    } else if let Some((index, _)) = named.next() {
        find(
            FieldPath::of(&["spec", "includedNamespaces"]).index(index),
            format!("it includes {own}, which is velero-trust's own namespace"),
            format!(
                "add {own} to spec.excludedNamespaces, and install velero-trust from its manifests"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_own_namespace_is_the_one_that_velero_trust_runs_in() {
        let spec = r#"{"namespaceMapping": {"a": "guards", "guards": "guards"},
            "includedNamespaces": ["*", "g*"]}"#;
        let restore = format!(r#"{{"spec": {spec}}}"#);
        let restore: Restore<'_> = serde_json::from_str(&restore).unwrap();
        let paths = |own| {
            let mut report = Report::default();
            check(own, &restore, &mut report);
            let findings = report.findings.iter();
            findings.map(|one| one.path.to_string()).collect::<Vec<_>>()
        };
        let expected = ["spec.namespaceMapping[a]", "spec.includedNamespaces[1]"];
        assert_eq!(paths("guards"), expected);
        assert!(paths("velero-trust").is_empty());
    }

    #[test]
    fn a_list_that_is_not_read_to_its_end_may_name_it() {
        let findings = |count, excluded| {
            let spec = json!({
                "includedNamespaces": vec!["a"; count], "excludedNamespaces": [excluded],
            });
            let restore = json!({"spec": spec});
            let restore = Restore::deserialize(&restore).unwrap();
            let mut report = Report::default();
            check("guards", &restore, &mut report);
            report.findings.len()
        };
        assert_eq!(findings(MAX_NAMESPACES, "x"), 0);
        assert_eq!(findings(MAX_NAMESPACES + 1, "x"), 1);
        assert_eq!(findings(MAX_NAMESPACES + 1, "guards"), 0);
    }
}
