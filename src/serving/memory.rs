//! The memory that all reviews may need together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Shares the memory out.
#[derive(Clone, Debug)]
pub(super) struct MemoryBudget(Arc<Semaphore>);

/// There is not enough memory at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl MemoryBudget {
    /// Creates a budget of `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes `bytes`, without waiting for them.
    pub(super) fn take(&self, bytes: usize) -> Result<MemoryPermit, Exhausted> {
        take(&self.0, bytes).map(MemoryPermit)
    }
}

/// A part of the budget. It is given back when dropped.
#[derive(Debug)]
pub(super) struct MemoryPermit(OwnedSemaphorePermit);

impl MemoryPermit {
    /// Takes more, unless it already has `bytes`.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.0.num_permits());
        if more > 0 {
            self.0.merge(take(self.0.semaphore(), more)?);
        }
        Ok(())
    }
}

fn take(budget: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Exhausted> {
    let bytes = u32::try_from(bytes).map_err(|_| Exhausted)?;
    Arc::clone(budget)
        .try_acquire_many_owned(bytes)
        .map_err(|_| Exhausted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_grows_within_the_budget_and_returns_all_of_it() {
        let budget = MemoryBudget::new(100);
        let mut first = budget.take(40).unwrap();
        assert_eq!(first.grow_to(30), Ok(()));
        assert_eq!(first.grow_to(70), Ok(()));
        assert!(budget.take(31).is_err());
        let second = budget.take(30).unwrap();
        assert_eq!(first.grow_to(71), Err(Exhausted));
        drop(second);
        assert_eq!(first.grow_to(100), Ok(()));
        drop(first);
        assert!(budget.take(100).is_ok() && budget.take(101).is_err());
        assert!(budget.take(usize::MAX).is_err());
    }
}
