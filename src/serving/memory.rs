//! The memory that all reviews may need together, shared by source address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::source_address::SourceAddress;

/// How long after its last review a source is expected to send another one. Until then, half of the
/// memory is kept free for it.
const PRESENCE: Duration = Duration::from_mins(10);

/// A review is small while it needs no more than this part of the memory for small reviews.
const SMALL_SHARE: usize = 4;

/// Shares the memory out.
#[derive(Clone, Debug)]
pub(super) struct MemoryBudget(Arc<Mutex<Shares>>);

/// There is not enough memory at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl MemoryBudget {
    /// Creates a budget of `bytes`, and of `small_bytes` that only small reviews may take.
    pub(super) fn new(bytes: usize, small_bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Shares::new(bytes, small_bytes))))
    }

    /// Takes `bytes` for a review that `source` sends, without waiting for them.
    pub(super) fn take(
        &self,
        source: SourceAddress,
        bytes: usize,
    ) -> Result<MemoryPermit, Exhausted> {
        let now = Instant::now();
        let mut shares = locked(&self.0);
        shares.seen.note(source, now);
        shares.open(source, bytes, now)?;
        Ok(MemoryPermit {
            shares: Arc::clone(&self.0),
            source,
            bytes,
        })
    }
}

/// A part of the budget. It is given back when dropped.
#[derive(Debug)]
pub(super) struct MemoryPermit {
    shares: Arc<Mutex<Shares>>,
    source: SourceAddress,
    bytes: usize,
}

impl MemoryPermit {
    /// Takes more, unless it already has `bytes`.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            locked(&self.shares).grow(self.source, self.bytes, more, Instant::now())?;
            self.bytes = bytes;
        }
        Ok(())
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        locked(&self.shares).close(self.source, self.bytes);
    }
}

fn locked(shares: &Mutex<Shares>) -> MutexGuard<'_, Shares> {
    shares.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who holds how much.
#[derive(Debug)]
struct Shares {
    all: usize,
    /// Part of `free` that only small reviews may take, so that they pass beside large ones.
    small: usize,
    free: usize,
    held: HashMap<SourceAddress, Held>,
    seen: LastSeen,
}

/// What one source holds.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    bytes: usize,
    reviews: usize,
}

impl Shares {
    fn new(all: usize, small: usize) -> Self {
        Self {
            all,
            small,
            free: all + small,
            held: HashMap::new(),
            seen: LastSeen::default(),
        }
    }

    /// Takes `bytes` for another review of `source`.
    fn open(&mut self, source: SourceAddress, bytes: usize, now: Instant) -> Result<(), Exhausted> {
        let held = self.held.get(&source).copied().unwrap_or_default();
        self.add(source, held, 0, bytes, held.reviews, now)?;
        self.held.entry(source).or_default().reviews += 1;
        Ok(())
    }

    /// Takes `bytes` more for a review of `source` that has some `before`.
    fn grow(
        &mut self,
        source: SourceAddress,
        before: usize,
        bytes: usize,
        now: Instant,
    ) -> Result<(), Exhausted> {
        let held = self.held.get(&source).copied().unwrap_or_default();
        let others = held.reviews.saturating_sub(1);
        self.add(source, held, before, bytes, others, now)
    }

    /// Adds `bytes` to what `source` holds. It may have more than half of the memory only where no
    /// other source is expected to need any, or for a single review, since the largest one needs
    /// half of it. `before` are the bytes that the review has, `others` is the number of its other
    /// reviews.
    fn add(
        &mut self,
        source: SourceAddress,
        held: Held,
        before: usize,
        bytes: usize,
        others: usize,
        now: Instant,
    ) -> Result<(), Exhausted> {
        let is_above_half = held.bytes.saturating_add(bytes) > self.all / 2;
        let is_small = before.saturating_add(bytes) <= self.small / SMALL_SHARE;
        let free = if is_small {
            self.free
        } else {
            self.free.saturating_sub(self.small)
        };
        if bytes > free || (is_above_half && others > 0 && self.seen.another(source, now)) {
            return Err(Exhausted);
        }
        self.free -= bytes;
        self.held.entry(source).or_default().bytes += bytes;
        Ok(())
    }

    /// Gives back the `bytes` of a review of `source`.
    fn close(&mut self, source: SourceAddress, bytes: usize) {
        self.free += bytes;
        if let Some(held) = self.held.get_mut(&source) {
            held.bytes -= bytes;
            held.reviews -= 1;
            if held.reviews == 0 {
                self.held.remove(&source);
            }
        }
    }
}

/// The last two sources that sent reviews, and when. Two are enough to know whether there is
/// another one than a given source.
#[derive(Clone, Copy, Debug, Default)]
struct LastSeen([Option<(SourceAddress, Instant)>; 2]);

impl LastSeen {
    fn note(&mut self, source: SourceAddress, now: Instant) {
        let [last, _] = self.0;
        let is_last = last.is_some_and(|(last, _)| last == source);
        let before = if is_last { self.0[1] } else { last };
        self.0 = [Some((source, now)), before];
    }

    /// Returns whether another source than `source` is expected to send reviews.
    fn another(&self, source: SourceAddress, now: Instant) -> bool {
        let mut seen = self.0.iter().flatten();
        seen.any(|(other, at)| *other != source && now.duration_since(*at) < PRESENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn source(number: u8) -> SourceAddress {
        IpAddr::from(Ipv4Addr::new(10, 0, 0, number)).into()
    }

    #[test]
    fn a_permit_grows_within_the_budget_and_returns_all_of_it() {
        let budget = MemoryBudget::new(100, 0);
        let mut first = budget.take(source(1), 40).unwrap();
        assert_eq!(first.grow_to(30), Ok(()));
        assert_eq!(first.grow_to(70), Ok(()));
        assert!(budget.take(source(1), 31).is_err());
        let second = budget.take(source(1), 30).unwrap();
        assert_eq!(first.grow_to(71), Err(Exhausted));
        drop(second);
        assert_eq!(first.grow_to(100), Ok(()));
        drop(first);
        assert!(budget.take(source(1), 100).is_ok());
        assert!(budget.take(source(1), 101).is_err());
        assert!(budget.take(source(1), usize::MAX).is_err());
        assert!(locked(&budget.0).held.is_empty());
    }

    #[test]
    fn a_source_has_half_at_most_while_another_one_may_need_the_rest() {
        let now = Instant::now();
        let mut shares = Shares::new(100, 0);
        let (api_server, flood) = (source(1), source(2));
        shares.seen.note(api_server, now);
        shares.seen.note(flood, now);
        shares.open(flood, 30, now).unwrap();
        shares.open(flood, 20, now).unwrap();
        assert_eq!(shares.open(flood, 1, now), Err(Exhausted));
        assert_eq!(shares.grow(flood, 20, 1, now), Err(Exhausted));
        shares.open(api_server, 50, now).unwrap();
        shares.close(api_server, 50);
        // Nobody else has sent a review for long.
        assert_eq!(shares.open(flood, 50, now + PRESENCE), Ok(()));
    }

    #[test]
    fn a_single_review_may_need_more_than_half() {
        let now = Instant::now();
        let mut shares = Shares::new(100, 0);
        shares.seen.note(source(1), now);
        shares.seen.note(source(2), now);
        shares.open(source(2), 20, now).unwrap();
        assert_eq!(shares.grow(source(2), 20, 50, now), Ok(()));
        assert_eq!(shares.open(source(2), 1, now), Err(Exhausted));
        assert_eq!(shares.open(source(1), 30, now), Ok(()));
    }

    #[test]
    fn small_reviews_pass_beside_large_ones_that_have_all_the_rest() {
        let budget = MemoryBudget::new(100, 40);
        let mut large = budget.take(source(1), 90).unwrap();
        assert_eq!(large.grow_to(101), Err(Exhausted));
        assert_eq!(large.grow_to(100), Ok(()));
        assert!(budget.take(source(1), 11).is_err());
        let mut small = budget.take(source(1), 5).unwrap();
        assert_eq!(small.grow_to(10), Ok(()));
        assert_eq!(small.grow_to(11), Err(Exhausted));
        let _others = [(); 3].map(|()| budget.take(source(1), 10).unwrap());
        assert!(budget.take(source(1), 1).is_err());
        drop(large);
        assert_eq!(small.grow_to(11), Ok(()));
    }

    #[test]
    fn the_last_two_sources_are_two() {
        let start = Instant::now();
        let mut seen = LastSeen::default();
        assert!(!seen.another(source(1), start));
        let later = |seconds| start + Duration::from_secs(seconds);
        for (second, number) in [(0, 1), (1, 1), (2, 2), (3, 1), (4, 2), (5, 2)] {
            seen.note(source(number), later(second));
        }
        assert_eq!(
            seen.0,
            [(2, 5), (1, 3)].map(|(number, at)| Some((source(number), later(at))))
        );
        assert!(seen.another(source(1), later(5)) && seen.another(source(3), later(5)));
        assert!(seen.another(source(2), later(3) + PRESENCE - Duration::from_secs(1)));
        assert!(!seen.another(source(2), later(3) + PRESENCE));
    }

    proptest! {
        #[test]
        fn the_books_balance(steps in proptest::collection::vec((0..3_u8, 0..60_usize, any::<bool>()), 0..60)) {
            let budget = MemoryBudget::new(80, 20);
            let mut permits: Vec<MemoryPermit> = Vec::new();
            for (number, bytes, opens) in steps {
                match permits.pop() {
                    Some(mut permit) if !opens && bytes % 2 == 0 => {
                        let _ = permit.grow_to(bytes);
                        permits.insert(0, permit);
                    }
                    Some(_) if !opens => {}
                    popped => {
                        permits.extend(popped);
                        permits.extend(budget.take(source(number), bytes));
                    }
                }
                let shares = locked(&budget.0);
                let taken: usize = permits.iter().map(|permit| permit.bytes).sum();
                prop_assert_eq!(shares.free + taken, 100);
                let held: usize = shares.held.values().map(|held| held.bytes).sum();
                prop_assert_eq!(held, taken);
            }
            drop(permits);
            prop_assert!(locked(&budget.0).held.is_empty());
        }
    }
}
