//! The rule tables of README and `docs/rules.md`, which are generated from the rules and the golden
//! cases, and the documentation of the metrics.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use velero_trust::admission::all_rules;

use crate::case_files;
use crate::tree::files;

/// Environment variable, set by `make docs`, that writes the pages instead of comparing them.
pub(crate) const UPDATE: &str = "UPDATE_DOCS";

#[test]
fn docs_show_the_table_that_the_rules_and_the_cases_make() {
    is_generated("README.md", "rules", &summary());
    is_generated("docs/rules.md", "rules", &table());
}

/// Asserts that `page` has `table` between the comments that are called `name`, or writes it there.
pub(crate) fn is_generated(page: &str, name: &str, table: &str) {
    let (begin, end) = (
        format!("<!-- {name}:begin -->\n"),
        format!("<!-- {name}:end -->"),
    );
    let text = std::fs::read_to_string(page).unwrap();
    let (before, rest) = text.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    let wanted = format!("{before}{begin}{table}{end}{after}");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(page, wanted).unwrap();
    } else {
        assert!(
            text == wanted,
            "{page} is not what the rules and the cases say; `make docs` writes it"
        );
    }
}

#[test]
fn every_metric_is_documented() {
    let page = std::fs::read_to_string("docs/operations.md").unwrap();
    let metrics = metrics();
    // The metrics endpoint is not enough: it shows a metric with labels only once it has a series.
    assert!(metrics.len() > 10, "{metrics:?}");
    for metric in metrics {
        let entry = format!("`velero_trust_{metric}");
        assert!(
            page.contains(&entry),
            "docs/operations.md does not say {metric}"
        );
    }
}

#[test]
fn every_path_on_the_map_of_the_code_exists() {
    let page = std::fs::read_to_string("docs/code.md").unwrap();
    let quoted = page.split('`').skip(1).step_by(2);
    let is_path = |text: &&str| text.contains('/') || text.contains(".rs");
    let paths: Vec<_> = quoted.filter(is_path).collect();
    assert!(paths.len() > 30, "{paths:?}");
    let files = ["src", "tests"]
        .map(|folder| files(Path::new(folder)))
        .concat();
    for path in paths {
        let is_it = |file: &PathBuf| file.ancestors().any(|file| file.ends_with(path));
        let exists = files.iter().any(is_it);
        assert!(exists, "docs/code.md names {path}, which does not exist");
    }
}

/// Returns the names of the metrics that the code registers.
fn metrics() -> Vec<String> {
    let mut names = Vec::new();
    for file in std::fs::read_dir("src/telemetry").unwrap() {
        let code = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for call in code.split(".register(").skip(1) {
            if let Some(literal) = call.trim_start().strip_prefix('"') {
                names.push(literal.split('"').next().unwrap().to_owned());
            }
        }
    }
    names
}

/// Returns the short table of the rules.
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

/// Returns the table of the rules with their reasons and cases.
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
