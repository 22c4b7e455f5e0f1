//! The loop of a decision: decide, look up what is missing, decide again.

use crate::decision::{Facts, Lookup};

/// The passes of a decision, each with all facts that were looked up before it.
#[derive(Debug)]
pub struct Passes {
    facts: Facts,
    left: usize,
}

impl Passes {
    /// Creates a loop of at most `max` passes, at least one.
    pub fn new(max: usize) -> Self {
        Self {
            facts: Facts::default(),
            left: max,
        }
    }

    /// Makes one `pass`, which returns what it needs. Returns what to look up and [`add`](Self::add)
    /// before the next one; none when it needs nothing or was the last.
    pub fn next<N>(&mut self, pass: impl FnOnce(&Facts) -> N) -> Option<Vec<Lookup>>
    where
        N: IntoIterator<Item = Lookup>,
    {
        let needs: Vec<_> = pass(&self.facts).into_iter().collect();
        self.left = self.left.saturating_sub(1);
        (self.left > 0 && !needs.is_empty()).then_some(needs)
    }

    /// Adds the facts for the next pass.
    pub fn add(&mut self, facts: Facts) {
        self.facts.extend(facts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Outcome, SecretKeyRef};

    fn secret(name: &str) -> Lookup {
        Lookup::Secret(SecretKeyRef::new("velero", name, "ca.crt"))
    }

    #[test]
    fn it_ends_when_nothing_is_needed_or_no_pass_is_left() {
        for (max, expected) in [(0, 1), (1, 1), (2, 2), (3, 3), (9, 3)] {
            let mut passes = Passes::new(max);
            let mut made = 0;
            let chain = [secret("a"), secret("b")];
            while let Some(needs) = passes.next(|facts| {
                made += 1;
                let missing = |need: &&Lookup| match need {
                    Lookup::Secret(key) => facts.secret(key).is_err(),
                    _ => false,
                };
                chain.iter().find(missing).cloned()
            }) {
                assert_eq!(needs.len(), 1);
                let mut facts = Facts::default();
                facts.insert(needs[0].clone(), Outcome::Absent);
                passes.add(facts);
            }
            assert_eq!(made, expected, "{max}");
        }
    }
}
