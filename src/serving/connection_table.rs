//! The open connections of a port, and which one is closed when a newcomer finds every place taken.

use std::collections::HashMap;
use std::hash::Hash;

use super::activity::{Activity, Peer};
use super::source_address::SourceAddress;

/// How many connections a port may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// All together.
    pub(super) all: usize,
    /// As many of one source never give way to another source.
    pub(super) protected: usize,
}

/// What is done with a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission<K> {
    /// There is a free place.
    Admit,
    /// It gets the place of this connection.
    Replace(K),
    /// It is closed.
    Refuse,
}

/// The open connections of a port.
#[derive(Debug)]
pub(super) struct ConnectionTable<K> {
    places: Places,
    peers: HashMap<K, Peer>,
    held: HashMap<SourceAddress, usize>,
}

impl<K: Copy + Eq + Hash> ConnectionTable<K> {
    /// Creates a table without connections.
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            peers: HashMap::new(),
            held: HashMap::new(),
        }
    }

    /// Adds the connection `key`.
    pub(super) fn insert(&mut self, key: K, peer: Peer) {
        *self.held.entry(peer.source).or_default() += 1;
        self.peers.insert(key, peer);
    }

    /// Removes the connection `key`, if it is there.
    pub(super) fn remove(&mut self, key: K) {
        let Some(peer) = self.peers.remove(&key) else {
            return;
        };
        if let Some(held) = self.held.get_mut(&peer.source) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&peer.source);
            }
        }
    }

    /// Returns the source with the most connections, and their number.
    pub(super) fn largest(&self) -> Option<(SourceAddress, usize)> {
        let held = self.held.iter().map(|(source, held)| (*source, *held));
        held.max_by_key(|(source, held)| (*held, *source))
    }

    /// Decides what is done with a new connection of `newcomer`.
    ///
    /// Places are shared by source: while all are taken, the source with the most gives one to any
    /// source that has fewer. Its connection that was used least is closed ([`Activity`]). That is
    /// one with a review in flight only where it has no other: if those were spared, a flood of
    /// reviews that take long would keep everybody else out.
    ///
    /// A newcomer whose own source has the most, or as many, can only take the place of a
    /// connection of its own source that was never used. So who shares an address with a flood
    /// still gets in, and nobody loses a connection that was used.
    pub(super) fn decide(&self, newcomer: SourceAddress) -> Admission<K> {
        if self.peers.len() < self.places.all {
            return Admission::Admit;
        }
        let own = self.held.get(&newcomer).copied().unwrap_or_default();
        let replaced = match self.largest() {
            Some((source, held)) if held > own && held > self.places.protected => {
                self.least_used(source)
            }
            _ if own > self.places.protected => self
                .least_used(newcomer)
                .filter(|(_, activity)| matches!(activity, Activity::Unproven(_))),
            _ => None,
        };
        replaced.map_or(Admission::Refuse, |(key, _)| Admission::Replace(key))
    }

    fn least_used(&self, source: SourceAddress) -> Option<(K, Activity)> {
        let of_source = self.peers.iter().filter(|(_, peer)| peer.source == source);
        of_source
            .map(|(key, peer)| (*key, peer.activity()))
            .min_by_key(|(_, activity)| *activity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;
    use tokio::time::Instant;

    const PLACES: Places = Places {
        all: 12,
        protected: 4,
    };

    fn source(number: u8) -> SourceAddress {
        IpAddr::from(Ipv4Addr::new(10, 0, 0, number)).into()
    }

    /// A table whose connections are numbered in the order of their insertion.
    struct Port {
        table: ConnectionTable<usize>,
        peers: Vec<Peer>,
        start: Instant,
    }

    impl Port {
        fn new() -> Self {
            Self {
                table: ConnectionTable::new(PLACES),
                peers: Vec::new(),
                start: Instant::now(),
            }
        }

        fn at(&self, second: usize) -> Instant {
            self.start + Duration::from_secs(u64::try_from(second).unwrap())
        }

        fn open(&mut self, source: SourceAddress, activity: Activity) -> usize {
            let key = self.peers.len();
            let peer = Peer::new(source, self.at(key));
            match activity {
                Activity::Unproven(_) => {}
                Activity::Idle(since) => peer.end_review(since),
                Activity::Reviewing(since) => peer.begin_review(since),
            }
            self.table.insert(key, peer.clone());
            self.peers.push(peer);
            key
        }

        /// Fills the table: `flood` has all places but those in `others`.
        fn full(flood: Activity, others: &[(u8, usize)]) -> Self {
            let mut port = Self::new();
            for (number, held) in others {
                for _ in 0..*held {
                    port.open(source(*number), Activity::Idle(port.start));
                }
            }
            while port.peers.len() < PLACES.all {
                port.open(source(1), flood);
            }
            port
        }
    }

    #[test]
    fn a_newcomer_replaces_one_of_the_source_with_the_most() {
        let now = Instant::now();
        let port = Port::full(Activity::Unproven(now), &[(2, 3)]);
        // The oldest of source 1, whoever asks, as long as it has fewer.
        assert_eq!(port.table.decide(source(2)), Admission::Replace(3));
        assert_eq!(port.table.decide(source(9)), Admission::Replace(3));
        assert_eq!(port.table.largest(), Some((source(1), 9)));
    }

    #[test]
    fn nobody_is_replaced_while_a_place_is_free() {
        let mut port = Port::full(Activity::Unproven(Instant::now()), &[]);
        port.table.remove(5);
        port.table.remove(5);
        assert_eq!(port.table.decide(source(9)), Admission::Admit);
        port.open(source(1), Activity::Unproven(port.start));
        assert_eq!(port.table.decide(source(9)), Admission::Replace(0));
    }

    #[test]
    fn what_is_protected_gives_way_to_nobody() {
        let port = Port::full(Activity::Unproven(Instant::now()), &[(2, 4), (3, 4)]);
        assert_eq!(port.table.decide(source(9)), Admission::Refuse);
        assert_eq!(port.table.decide(source(1)), Admission::Refuse);
        let port = Port::full(Activity::Unproven(Instant::now()), &[(2, 4), (3, 3)]);
        assert_eq!(port.table.decide(source(9)), Admission::Replace(7));
    }

    #[test]
    fn an_equal_share_is_not_taken() {
        let port = Port::full(Activity::Idle(Instant::now()), &[(2, 6)]);
        assert_eq!(port.table.decide(source(2)), Admission::Refuse);
        assert!(matches!(
            port.table.decide(source(3)),
            Admission::Replace(_)
        ));
    }

    #[test]
    fn who_shares_an_address_with_a_flood_replaces_only_what_was_never_used() {
        let mut port = Port::full(Activity::Unproven(Instant::now()), &[]);
        port.peers[0].end_review(port.start);
        port.peers[1].begin_review(port.start);
        assert_eq!(port.table.decide(source(1)), Admission::Replace(2));
        for peer in &port.peers {
            peer.end_review(port.start);
        }
        assert_eq!(port.table.decide(source(1)), Admission::Refuse);
        port.table.remove(0);
        port.open(source(9), Activity::Unproven(port.start));
        assert_eq!(port.table.decide(source(1)), Admission::Refuse);
    }

    #[test]
    fn the_unproven_go_first_then_the_longest_idle_then_the_oldest_review() {
        let mut port = Port::new();
        let at = |second| port.at(second);
        let activities = [
            Activity::Reviewing(at(5)),
            Activity::Idle(at(9)),
            Activity::Reviewing(at(6)),
            Activity::Idle(at(8)),
            Activity::Unproven(at(0)),
            Activity::Unproven(at(0)),
        ];
        for activity in activities {
            port.open(source(1), activity);
        }
        while port.peers.len() < PLACES.all {
            port.open(
                source(2 + u8::from(port.peers.len().is_multiple_of(2))),
                activities[0],
            );
        }
        let mut order = Vec::new();
        for _ in 0..2 {
            let Admission::Replace(key) = port.table.decide(source(9)) else {
                panic!("refused");
            };
            order.push(key);
            port.table.remove(key);
            // Keeps the table full, and source 1 the largest.
            port.open(source(1), Activity::Reviewing(port.at(100)));
        }
        for _ in 0..4 {
            let Admission::Replace(key) = port.table.decide(source(9)) else {
                panic!("refused");
            };
            order.push(key);
            port.table.remove(key);
            port.open(source(1), Activity::Reviewing(port.at(100)));
        }
        assert_eq!(order, [4, 5, 3, 1, 0, 2]);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Connect(u8),
        Close(usize),
        Begin(usize),
        End(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..6_u8).prop_map(Step::Connect),
            1 => any::<usize>().prop_map(Step::Close),
            2 => any::<usize>().prop_map(Step::Begin),
            2 => any::<usize>().prop_map(Step::End),
        ];
        proptest::collection::vec(step, 0..200)
    }

    /// Returns the open connections of each source, counted anew.
    fn counted(open: &HashMap<usize, Peer>, source: SourceAddress) -> usize {
        open.values().filter(|peer| peer.source == source).count()
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_nobody_takes_from_who_has_less(steps in steps()) {
            let mut port = Port::new();
            let mut open: HashMap<usize, Peer> = HashMap::new();
            for (time, step) in steps.into_iter().enumerate() {
                let now = port.at(1000 + time);
                let pick = |number: usize| {
                    let mut keys: Vec<_> = open.keys().copied().collect();
                    keys.sort_unstable();
                    (!keys.is_empty()).then(|| keys[number % keys.len()])
                };
                match step {
                    Step::Begin(number) => {
                        if let Some(key) = pick(number) { open[&key].begin_review(now); }
                    }
                    Step::End(number) => {
                        if let Some(key) = pick(number) { open[&key].end_review(now); }
                    }
                    Step::Close(number) => {
                        if let Some(key) = pick(number) {
                            open.remove(&key);
                            port.table.remove(key);
                        }
                    }
                    Step::Connect(number) => {
                        let newcomer = source(number);
                        let own = counted(&open, newcomer);
                        let most = (0..6).map(|other| counted(&open, source(other))).max().unwrap();
                        match port.table.decide(newcomer) {
                            Admission::Admit => prop_assert!(open.len() < PLACES.all),
                            Admission::Refuse => {
                                prop_assert_eq!(open.len(), PLACES.all);
                                prop_assert!(most <= own.max(PLACES.protected));
                                continue;
                            }
                            Admission::Replace(key) => {
                                prop_assert_eq!(open.len(), PLACES.all);
                                let gone = open.remove(&key).unwrap();
                                let rest = |peer: &&Peer| peer.source == gone.source;
                                let least = open.values().filter(rest).map(Peer::activity).min();
                                prop_assert!(least.is_none_or(|least| gone.activity() <= least));
                                if gone.source == newcomer {
                                    prop_assert!(matches!(gone.activity(), Activity::Unproven(_)));
                                    prop_assert!(own > PLACES.protected && most == own);
                                } else {
                                    let held = counted(&open, gone.source) + 1;
                                    prop_assert_eq!(held, most);
                                    prop_assert!(held > own && held > PLACES.protected);
                                }
                                port.table.remove(key);
                            }
                        }
                        let key = port.open(newcomer, Activity::Unproven(now));
                        open.insert(key, port.peers[key].clone());
                    }
                }
                prop_assert!(open.len() <= PLACES.all);
                prop_assert_eq!(port.table.peers.len(), open.len());
            }
        }
    }
}
