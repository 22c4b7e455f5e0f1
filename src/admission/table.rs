//! The table of handlers. The routes, the metrics and the rules of an installation are derived from
//! it, and a test checks the manifests against it.

use super::handler::{Handler, UNREADABLE};
use super::schema::DROPPED;
use super::{backups, locations, pods, restore_gate, restores};
use crate::decision::Rule;

/// All handlers.
pub static HANDLERS: [&Handler; 5] = [
    &locations::HANDLER,
    &restores::HANDLER,
    &pods::HANDLER,
    &backups::HANDLER,
    &restore_gate::HANDLER,
];

/// Returns all rules, sorted by id.
pub fn all_rules() -> Vec<&'static Rule> {
    let mut rules: Vec<_> = [&UNREADABLE, &DROPPED]
        .into_iter()
        .chain(crate::ca::rules::all())
        .chain(crate::injection::rules())
        .chain(crate::integrity::rules::all())
        .collect();
    rules.sort_by_key(|rule| rule.id);
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Rule::DEFAULT` has no identity of its own.
    #[test]
    fn every_rule_has_a_unique_id_a_title_and_a_reason() {
        let rules = all_rules();
        for rule in &rules {
            let is_id = rule.id.len() == 5 && rule.id.starts_with("VT");
            assert!(is_id, "{rule:?}");
            assert!(!rule.title.is_empty() && !rule.about.is_empty(), "{rule:?}");
        }
        // Sorted by id.
        assert!(rules.windows(2).all(|pair| pair[0].id < pair[1].id));
    }

    #[test]
    fn the_rules_that_depend_on_the_date_and_cover_expiry_are_those_of_certificates() {
        let ids = |is: fn(&Rule) -> bool| {
            let rules = all_rules().into_iter().filter(|rule| is(rule));
            rules.map(|rule| rule.id).collect::<Vec<_>>()
        };
        let dated = ids(|rule| rule.depends_on_date);
        assert_eq!(dated, ["VT020", "VT021", "VT022"]);
        assert_eq!(ids(|rule| rule.covers_expiry), ["VT017"]);
    }
}
