//! The number of Pods in each state.

use std::collections::BTreeMap;

use super::State;

/// The number of Pods of a namespace in each state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<State, usize>);

impl Tally {
    /// Returns the number of Pods in `state`.
    pub fn count(&self, state: State) -> usize {
        self.0.get(&state).copied().unwrap_or_default()
    }

    /// Returns the number of Pods that should carry the bundle: all but those that opted out.
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
