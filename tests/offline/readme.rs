//! The rule table of `docs/rules.md`, which is made from the rules and the golden cases.

use std::fmt::Write as _;

use velero_trust::admission::all_rules;

use crate::case_files;

const PAGE: &str = "docs/rules.md";
const BEGIN: &str = "<!-- rules:begin -->\n";
const END: &str = "<!-- rules:end -->";

/// With this variable, which `make docs` sets, the page is written instead of compared.
const UPDATE: &str = "UPDATE_DOCS";

#[test]
fn docs_rules_md_is_what_the_rules_and_the_cases_say() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let wanted = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(PAGE, wanted).unwrap();
    } else {
        assert!(
            page == wanted,
            "{PAGE} is not what the rules and the cases say; `make docs` writes it"
        );
    }
}

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
