//! `velero-trust explain`: what a rule is about, from the source that docs/rules.md is made of.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::bail;
use clap::Args;

use super::exit;
use super::stdout::Stdout;
use super::table::Table;
use super::wrap::wrap_indented;
use crate::admission::all_rules;
use crate::decision::Rule;

/// Width of the text in columns.
const WIDTH: usize = 80;

/// Explain a rule: what is wrong, why it matters and what to do
///
/// Without a rule, all rules are listed.
#[derive(Args, Debug)]
pub(super) struct Explain {
    /// Id of the rule, such as `VT013`
    #[arg(value_name = "RULE")]
    rule: Option<String>,
}

impl Explain {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let text = match &self.rule {
            None => list(),
            Some(id) => {
                let rules = all_rules();
                let rule = rules.iter().find(|rule| rule.id.eq_ignore_ascii_case(id));
                let Some(rule) = rule else {
                    bail!("there is no rule `{id}`; `velero-trust explain` lists all rules");
                };
                page(rule)
            }
        };
        Stdout::fail_when_closed().write_all(text.as_bytes())?;
        Ok(exit::CLEAN)
    }
}

fn list() -> String {
    let mut table = Table::new(&["RULE", "WHAT IS WRONG", "BY DEFAULT"]);
    for rule in all_rules() {
        let severity = rule.severity.to_string();
        let always = if rule.fixed { ", always" } else { "" };
        table.row([
            rule.id.to_owned(),
            rule.title.to_owned(),
            format!("{severity}{always}"),
        ]);
    }
    table.text()
}

fn page(rule: &Rule) -> String {
    let severity = if rule.fixed {
        format!("{}, always: no option changes it", rule.severity)
    } else {
        format!(
            "{}; `--rule {}=deny|warn|off` changes it",
            rule.severity, rule.id
        )
    };
    let mut text = format!("{}: {}\n\n", rule.id, rule.title);
    text.push_str(&wrap_indented(rule.about, WIDTH, ""));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\nBy default: {severity}");
    let _ = writeln!(
        text,
        "A denial has the code {} ({}).",
        rule.code.http(),
        rule.code.reason()
    );
    text
}
