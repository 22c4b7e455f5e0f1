//! Because of which locations a namespace is held.

use std::collections::BTreeMap;

use crate::ca::hold::{self, Verdict};
use crate::ca::keeping::{Hold, Memory};
use crate::ca::survey::Surveyed;

/// What was found of the endpoints of each location; one that has no entry was not looked at yet.
pub(super) type Found = BTreeMap<String, Vec<Verdict>>;

/// Most locations that are gone of which a hold is remembered.
const GONE: usize = 100;

/// Decides it anew; without anything `found` nothing is looked at, and no namespace is held.
pub(super) fn decide(
    memory: &mut Memory,
    found: Option<&Found>,
    surveyed: &BTreeMap<String, Surveyed>,
) {
    // Helm deletes and makes a location again at an upgrade: what held for it holds still.
    let mut holds = memory.holds.clone();
    holds.retain(|name, hold| !surveyed.contains_key(name) && *hold != Hold::Released);
    while holds.len() > GONE {
        holds.pop_first();
    }
    for (name, location) in surveyed {
        holds.insert(name.clone(), next(memory, found, name, location));
    }
    memory.holds = holds;
}

/// Whether [`decide`] would change something.
pub(super) fn are_moved(
    memory: &Memory,
    found: Option<&Found>,
    surveyed: &BTreeMap<String, Surveyed>,
) -> bool {
    let mut locations = surveyed.iter();
    locations.any(|(name, location)| {
        memory.holds.get(name) != Some(&next(memory, found, name, location))
    })
}

/// Why the namespace is held, by one of its locations.
pub(super) fn why(memory: &Memory, surveyed: &BTreeMap<String, Surveyed>) -> Option<String> {
    let holds = memory.holds.iter();
    let mut holds = holds.filter(|(name, _)| surveyed.contains_key(*name));
    holds.find_map(|(name, hold)| match hold {
        Hold::Held(why) => Some(format!("BackupStorageLocation {name}: {why}")),
        Hold::Released => None,
    })
}

fn next(memory: &Memory, found: Option<&Found>, name: &str, location: &Surveyed) -> Hold {
    let not_yet = [Verdict::Unknown(
        "its endpoint was not looked at yet".to_owned(),
    )];
    let verdicts = match found {
        None => &[][..],
        Some(found) => found.get(name).map_or(&not_yet[..], Vec::as_slice),
    };
    hold::next(memory.holds.get(name), location.is_available, verdicts)
}
