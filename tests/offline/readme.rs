//! The rule tables of README and `docs/rules.md`, which are made from the rules and the golden cases;
//! and that every metric is documented.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use velero_trust::admission::all_rules;
use velero_trust::telemetry::{BundleGauges, Metrics, PodGauges};

use crate::case_files;

const BEGIN: &str = "<!-- rules:begin -->\n";
const END: &str = "<!-- rules:end -->";

/// With this variable, which `make docs` sets, the pages are written instead of compared.
const UPDATE: &str = "UPDATE_DOCS";

#[test]
fn docs_show_the_table_that_the_rules_and_the_cases_make() {
    for (page, table) in [("README.md", summary()), ("docs/rules.md", table())] {
        let text = std::fs::read_to_string(page).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        let wanted = format!("{before}{BEGIN}{table}{END}{after}");
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(page, wanted).unwrap();
        } else {
            assert!(
                text == wanted,
                "{page} is not what the rules and the cases say; `make docs` writes it"
            );
        }
    }
}

#[test]
fn every_metric_is_documented() {
    let page = std::fs::read_to_string("docs/operations.md").unwrap();
    // One with labels is shown only when it has a series.
    let metrics = Arc::new(Metrics::default());
    metrics.review("/validate/restores", "CREATE", "deny", &["VT101"]);
    metrics.error(413);
    metrics.took("/validate/restores", Duration::ZERO);
    let mut pods = PodGauges::new(Arc::clone(&metrics), "velero");
    pods.set([("stale", 1)]);
    let mut bundle = BundleGauges::new(Arc::clone(&metrics), "velero");
    bundle.set_bundle([("public", 1)].into_iter(), Some(1), true);
    bundle.set_findings([("default", "VT001")].into());
    let text = metrics.text().unwrap();
    let metrics = text.lines().filter_map(|line| {
        let name = line.strip_prefix("# TYPE ")?;
        name.split(' ').next()
    });
    let metrics: Vec<_> = metrics.collect();
    assert!(metrics.contains(&"velero_trust_pods"), "{text}");
    for metric in metrics {
        let entry = format!("`{metric}");
        assert!(
            page.contains(&entry),
            "docs/operations.md does not say {metric}"
        );
    }
}

/// The rules in short.
fn summary() -> String {
    let mut table = String::from("\n| rule | what is wrong | by default |\n|---|---|---|\n");
    for rule in all_rules() {
        let fixed = if rule.fixed { ", always" } else { "" };
        let _ = writeln!(
            table,
            "| {} | {} | {}{fixed} |",
            rule.id, rule.title, rule.severity
        );
    }
    table.push('\n');
    table
}

/// The rules with their reasons and cases.
fn table() -> String {
    let mut table = String::from(
        "\n| rule | what is wrong | by default | why, and what to do | cases |\n|---|---|---|---|---|\n",
    );
    let cases = case_files::all();
    for rule in all_rules() {
        let fixed = if rule.fixed { ", always" } else { "" };
        let links: Vec<_> = cases
            .iter()
            .filter(|case| case.rule() == Some(rule.id))
            .map(|case| {
                let name = case.name.rsplit('/').next().unwrap();
                format!("[{name}](../tests/cases/{})", case.name)
            })
            .collect();
        let _ = writeln!(
            table,
            "| {} | {} | {}{fixed} | {} | {} |",
            rule.id,
            rule.title,
            rule.severity,
            rule.about.replace('|', "\\|"),
            links.join(", ")
        );
    }
    table.push('\n');
    table
}
