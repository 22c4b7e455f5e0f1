//! The table of handlers. The routes, the metrics and the rules of an installation are derived from
//! it, and a test checks the manifests against it.

use super::handler::{Handler, UNREADABLE};
use super::{locations, pods, restores};
use crate::decision::Rule;

/// All handlers.
pub static HANDLERS: [&Handler; 3] = [&locations::HANDLER, &restores::HANDLER, &pods::HANDLER];

/// Returns all rules, sorted by id.
pub fn all_rules() -> Vec<&'static Rule> {
    let mut rules: Vec<_> = [&UNREADABLE]
        .into_iter()
        .chain(crate::ca::rules::all())
        .chain(crate::injection::rules())
        .chain(crate::integrity::rules::all())
        .collect();
    rules.sort_by_key(|rule| rule.id);
    rules
}
