//! Because of which locations a namespace is held.

use std::collections::BTreeMap;

use crate::ca::evaluation::EvaluatedLocation;
use crate::ca::hold::{self, Seen, Verdict};
use crate::ca::merged_bundle::{Hold, Memory};

/// What was found of the endpoints of each location; one that has no entry was not looked at yet.
pub(super) type Found = BTreeMap<String, Vec<Verdict>>;

/// Most locations that are gone of which a hold is remembered.
const GONE: usize = 100;

/// Decides it anew; without anything `found` nothing is looked at, and no namespace is held.
pub(super) fn decide(
    memory: &mut Memory,
    found: Option<&Found>,
    evaluated: &BTreeMap<String, EvaluatedLocation>,
) {
    memory.holds = decided(memory, found, evaluated);
}

/// Whether [`decide`] would change something.
pub(super) fn are_moved(
    memory: &Memory,
    found: Option<&Found>,
    evaluated: &BTreeMap<String, EvaluatedLocation>,
) -> bool {
    memory.holds != decided(memory, found, evaluated)
}

/// Why the namespace is held, by one of its locations.
pub(super) fn why(
    memory: &Memory,
    evaluated: &BTreeMap<String, EvaluatedLocation>,
) -> Option<String> {
    let holds = memory.holds.iter();
    let mut holds = holds.filter(|(name, _)| evaluated.contains_key(*name));
    holds.find_map(|(name, hold)| match hold {
        Hold::Held(why) => Some(format!("BackupStorageLocation {name}: {why}")),
        Hold::Released => None,
    })
}

fn decided(
    memory: &Memory,
    found: Option<&Found>,
    evaluated: &BTreeMap<String, EvaluatedLocation>,
) -> BTreeMap<String, Hold> {
    // Helm deletes and makes a location again at an upgrade: what held for it holds still.
    let mut holds = memory.holds.clone();
    holds.retain(|name, hold| !evaluated.contains_key(name) && *hold != Hold::Released);
    while holds.len() > GONE {
        holds.pop_first();
    }
    let not_yet = [Verdict::Unknown(
        "its endpoint was not looked at yet".to_owned(),
    )];
    let seen = evaluated.iter().map(|(name, location)| Seen {
        name,
        is_available: location.is_available,
        verdicts: match found {
            None => &[],
            Some(found) => found.get(name).map_or(&not_yet[..], Vec::as_slice),
        },
    });
    holds.extend(hold::decide(&memory.holds, &seen.collect::<Vec<_>>()));
    holds
}
