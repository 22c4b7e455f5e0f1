//! The rule about the namespaces into which a Restore writes.

use crate::decision::{Code, FieldPath, Finding, Report, Rule, Severity};
use crate::velero::glob::matches;
use crate::velero::namespace_pattern::{is_simple, may_match};
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
    let mut mapped = mapped.filter(|(from, to)| **to == *own && **from != *own);
    if let Some((from, _)) = mapped.next() {
        let others = mapped.count();
        let more = if others == 0 {
            String::new()
        } else {
            format!(" and {others} more")
        };
        let from = shown(from);
        find(
            FieldPath::of(&["spec", "namespaceMapping"]).key(&from),
            format!("it maps namespace {from}{more} to {own}, which is velero-trust's own"),
            "map it to another namespace".to_owned(),
        );
    }
    let mut targets = spec.namespace_mapping.iter().flatten();
    let is_mapped_away = targets.any(|(from, to)| **from == *own && **to != *own);
    if is_mapped_away || excludes(restore, own) {
        return;
    }
    let included = spec.included_namespaces.iter().enumerate();
    let mut named = included.filter(|(_, pattern)| **pattern != *ALL && may_match(pattern, own));
    if spec.included_namespaces.is_cut() {
        find(
            FieldPath::of(&["spec", "includedNamespaces"]),
            format!(
                "it includes more than {MAX_NAMESPACES} namespaces, and {own} may be one of them"
            ),
            exclude(own),
        );
    } else if let Some((index, _)) = named.next() {
        find(
            FieldPath::of(&["spec", "includedNamespaces"]).index(index),
            format!("it includes, or may include, {own}, which is velero-trust's own namespace"),
            exclude(own),
        );
    }
}

/// Returns how to exclude the namespace `own`.
fn exclude(own: &str) -> String {
    format!(
        "add {own} to spec.excludedNamespaces, without a pattern with brackets, braces or \\ in that \
         list, and install velero-trust from its manifests"
    )
}

/// Whether `restore` certainly excludes the namespace `own`. In Velero, a pattern that does not
/// compile makes the list match nothing from there on, so one that may not compile excludes nothing.
fn excludes(restore: &Restore<'_>, own: &str) -> bool {
    let excluded = &restore.spec.excluded_namespaces;
    !excluded.is_cut()
        && excluded.iter().all(|pattern| is_simple(pattern))
        && excluded.iter().any(|pattern| matches(pattern, own))
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

    /// What Velero does with each was tried with the module that it uses.
    #[test]
    fn no_pattern_hides_the_own_namespace() {
        let is_denied = |included: &[&str], excluded: &[&str]| {
            let spec = json!({"includedNamespaces": included, "excludedNamespaces": excluded});
            let restore = json!({"spec": spec});
            let restore = Restore::deserialize(&restore).unwrap();
            let mut report = Report::default();
            check("velero-trust", &restore, &mut report);
            !report.findings.is_empty()
        };
        for (included, excluded) in [
            (["{velero-trust,x}"], &[][..]),
            (["velero-{trust,x}"], &[]),
            ([r"velero-\trust"], &[]),
            (["velero-trus?"], &["[", "velero-trust"]),
            (["velero-trust"], &["velero[a-]trust"]),
            (["velero-trust"], &["velero-[t-]rust"]),
            (["velero-trust"], &["{velero-trust,x}"]),
        ] {
            assert!(is_denied(&included, excluded), "{included:?} {excluded:?}");
        }
        for (included, excluded) in [
            (["velero-*"], &["velero-trust"][..]),
            (["velero-*"], &["a", "*-trust"]),
            (["shop-{a,b}"], &[]),
            (["*"], &[]),
        ] {
            assert!(!is_denied(&included, excluded), "{included:?} {excluded:?}");
        }
    }

    #[test]
    fn many_mappings_are_one_finding() {
        let mapping: std::collections::BTreeMap<_, _> = (0..1000)
            .map(|index| (format!("{index}{}", "n".repeat(1000)), "velero-trust"))
            .collect();
        let restore = json!({"spec": {"namespaceMapping": mapping}});
        let restore = Restore::deserialize(&restore).unwrap();
        let mut report = Report::default();
        check("velero-trust", &restore, &mut report);
        let [finding] = &report.findings[..] else {
            panic!("{}", report.findings.len());
        };
        assert!(finding.message.contains(" and 999 more to velero-trust"));
        let text = finding.message.len() + finding.path.to_string().len();
        assert!(text < 300, "{finding:?}");
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
