//! The table of handlers. Routes, metrics, the rules of an installation and the check that the
//! manifests agree are fed from it.

use super::handler::{Handler, UNREADABLE};
use super::{locations, pods, restores};
use crate::decision::Rule;

/// All handlers.
pub static HANDLERS: [&Handler; 3] = [&locations::HANDLER, &restores::HANDLER, &pods::HANDLER];

/// All rules, in the order of their ids.
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
