//! Decides which locations hold their namespace, and why.

use std::collections::BTreeMap;

use crate::ca::evaluation::EvaluatedLocation;
use crate::ca::hold::{self, EndpointVerdict, LocationState};
use crate::ca::merged_bundle::{Hold, Memory};
use crate::controllers::channels::EndpointVerdicts;

/// Most deleted locations whose hold is remembered.
const MAX_DELETED: usize = 100;

/// Why a location holds its namespace before its endpoint was looked at.
const NOT_LOOKED_AT: &str = "its endpoint was not looked at yet";

/// Whether nothing but the first look at its endpoint makes the location `name` hold its namespace. That
/// is over in seconds, and no reason for anybody to act.
pub(super) fn awaits_first_look(memory: &Memory, name: &str) -> bool {
    matches!(memory.holds.get(name), Some(Hold::Held(why)) if why == NOT_LOOKED_AT)
}

/// Updates the holds in `memory`. `verdicts` is `None` if endpoints are not probed; then no
/// namespace is held.
pub(super) fn update(
    memory: &mut Memory,
    verdicts: Option<&EndpointVerdicts>,
    evaluated: &BTreeMap<String, EvaluatedLocation>,
) {
    memory.holds = decide(memory, verdicts, evaluated);
}

/// Returns whether [`update`] would change a hold.
pub(super) fn would_change(
    memory: &Memory,
    verdicts: Option<&EndpointVerdicts>,
    evaluated: &BTreeMap<String, EvaluatedLocation>,
) -> bool {
    memory.holds != decide(memory, verdicts, evaluated)
}

/// Returns why the namespace is held, with the name of the location that holds it.
pub(super) fn reason(
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

fn decide(
    memory: &Memory,
    verdicts: Option<&EndpointVerdicts>,
    evaluated: &BTreeMap<String, EvaluatedLocation>,
) -> BTreeMap<String, Hold> {
    // An upgrade by Helm deletes and recreates a location, whose hold must stay.
    let mut holds = memory.holds.clone();
    holds.retain(|name, hold| !evaluated.contains_key(name) && *hold != Hold::Released);
    while holds.len() > MAX_DELETED {
        holds.pop_first();
    }
    let not_yet = [EndpointVerdict::Unknown(NOT_LOOKED_AT.to_owned())];
    let states = evaluated.iter().map(|(name, location)| LocationState {
        name,
        is_available: location.is_available,
        verdicts: match verdicts {
            None => &[],
            Some(verdicts) => verdicts.get(name).map_or(&not_yet[..], Vec::as_slice),
        },
    });
    holds.extend(hold::decide(&memory.holds, &states.collect::<Vec<_>>()));
    holds
}
