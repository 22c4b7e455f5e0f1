//! How many Pods are in which state.

use std::collections::BTreeMap;

use super::State;

/// How many Pods of a namespace are in which state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<State, usize>);

impl Tally {
    /// How many are in `state`.
    pub fn count(&self, state: State) -> usize {
        self.0.get(&state).copied().unwrap_or_default()
    }

    /// Those that should carry the bundle: all but those that a person opted out.
    pub fn wanted(&self) -> usize {
        self.0.values().sum::<usize>() - self.count(State::OptedOut)
    }
}

impl FromIterator<State> for Tally {
    fn from_iter<I: IntoIterator<Item = State>>(states: I) -> Self {
        let mut tally = Self::default();
        for state in states {
            *tally.0.entry(state).or_default() += 1;
        }
        tally
    }
}
