//! The table of what is decided about a Restore, in `docs/restores.md`, which is generated from the golden
//! cases. `tests/cases/decisions.yaml` has its rows.

use std::fmt::Write as _;

use serde::Deserialize;
use velero_trust::admission::all_rules;

use crate::case_files::{self, Case, Want};
use crate::readme::is_generated;

/// A row: what is known, and the cases that show what is decided then.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    known: String,
    #[serde(default)]
    created: Vec<Shown>,
    #[serde(default)]
    begun: Vec<Shown>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    /// Stands before the outcome.
    #[serde(default)]
    after: String,
    case: String,
}

#[test]
fn docs_show_what_the_cases_decide_about_restores() {
    let rows = std::fs::read_to_string("tests/cases/decisions.yaml").unwrap();
    let rows: Vec<Row> = serde_saphyr::from_str(&rows).unwrap();
    let cases = case_files::all();
    let mut table = String::from(
        "\n| what is known | when it is created | when Velero begins it |\n|---|---|---|\n",
    );
    for row in &rows {
        let created = cell(&cases, &row.created, false);
        let begun = cell(&cases, &row.begun, true);
        let _ = writeln!(table, "| {} | {created} | {begun} |", row.known);
    }
    table.push('\n');
    is_generated("docs/restores.md", "decisions", &table);
}

fn cell(cases: &[Case], shown: &[Shown], begins: bool) -> String {
    let outcomes = shown.iter().map(|Shown { after, case: name }| {
        let case = cases.iter().find(|case| case.name == *name);
        let case = case.unwrap_or_else(|| panic!("tests/cases/decisions.yaml: no case {name}"));
        let is_begun = case.request.webhook.as_deref() == Some("/mutate/restores");
        assert_eq!(is_begun, begins, "{name}");
        format!(
            "{after}[{}](../tests/cases/{name})",
            outcome(&case.want, begins)
        )
    });
    outcomes.collect::<Vec<_>>().join("; ")
}

/// Returns what a case decides, with the rules that say so.
fn outcome(want: &Want, begins: bool) -> String {
    let what = match (want.allowed, want.stopped, begins) {
        (None, ..) => "waits",
        (_, true, _) => "stopped",
        (Some(false), ..) => "denied",
        (Some(true), _, true) => "begins",
        (Some(true), _, false) => "admitted",
    };
    let is_denied = want.stopped || want.allowed == Some(false);
    let (said, warns) = if is_denied {
        (&want.denied, "")
    } else {
        (&want.warned, ", with a warning")
    };
    let mut ids: Vec<&str> = said.iter().map(|said| said.rule.as_str()).collect();
    ids.dedup();
    let is_fixed = |id: &str| all_rules().iter().any(|rule| rule.id == id && rule.fixed);
    let is_always = is_denied && ids.iter().any(|id| is_fixed(id));
    let always = if is_always { ", always" } else { "" };
    match ids[..] {
        [] => what.to_owned(),
        _ => format!("{what}{warns} ({}){always}", ids.join(", ")),
    }
}
