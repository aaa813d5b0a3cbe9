//! The table of outgoing connections: a fixed number of places, and who gets them.
//!
//! ```text
//!            send, warm             handshake done
//!  nothing ------------> Opening ------------------> Open
//!     ^                   ^   |                       |
//!     |    back-off over, |   | failed                | ended
//!     |    or reset       |   v                       |
//!     +---------------- Failed <----------------------+
//!       place needed
//! ```
//!
//! When the table is full, the failed link that was used least recently gives its place up, else the open one that is
//! not kept warm and was idle for the longest; a link that is being opened keeps its place.

use super::QuicLimits;
use crate::io::traffic::Unsent;
use bytes::Bytes;
use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};
use sundog_types::Pubkey;

/// How long a peer is left alone after its first failure, and at most; doubled with every failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A connection that lived for this long proves its peer: the back-off begins anew after it.
const SETTLED: Duration = Duration::from_secs(1);
/// An open link that was used this recently does not give up its place.
const BUSY: Duration = Duration::from_secs(1);
/// A link that was not used for this long and is not kept warm is closed.
const UNUSED: Duration = Duration::from_secs(60);

/// Tells one connection to an address from a later one.
pub(super) type Attempt = u64;

enum State<C> {
    Open { connection: C, since: Instant, full_since: Option<Instant> },
    Opening { waiting: Vec<Bytes> },
    Failed { since: Instant },
}

struct Link<C> {
    state: State<C>,
    attempt: Attempt,
    used: Instant,
    warm: bool,
    backoff: Duration,
}

impl<C> Link<C> {
    fn is_over(&self, now: Instant) -> bool {
        matches!(self.state, State::Failed { since } if now.saturating_duration_since(since) >= self.backoff)
    }

    fn fail(&mut self, now: Instant) {
        self.state = State::Failed { since: now };
        self.backoff = (self.backoff * 2).clamp(BACKOFF.0, BACKOFF.1);
    }
}

/// Where a link leads, and who is expected there. Both: a peer that advertises another one's address gets links of its
/// own, and cannot take that one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub to: SocketAddr,
    pub expect: Option<Pubkey>,
}

/// A connection to be opened, or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dial {
    pub key: Key,
    pub attempt: Attempt,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sending<C> {
    /// It goes out now. `was_full`: the send buffer had no room lately.
    Now { connection: C, dial: Dial, bytes: Bytes, was_full: bool },
    /// It waits until the connection is open.
    Waits,
    /// It waits, and somebody opens the connection. `pruned` had to give its place up.
    Dial { dial: Dial, pruned: Option<C> },
    /// It is lost.
    Lost(Unsent),
}

/// What keeping connections warm asks for.
#[derive(Debug)]
pub(super) struct Warming<C> {
    pub dials: Vec<Dial>,
    pub pruned: Vec<C>,
    /// Messages that waited for links that are gone.
    pub lost: usize,
}

/// The table.
pub(super) struct Links<C> {
    limits: QuicLimits,
    table: HashMap<Key, Link<C>>,
    /// Messages in all links that are being opened.
    waiting: usize,
    attempts: Attempt,
}

impl<C: Clone> Links<C> {
    pub fn new(limits: QuicLimits) -> Self {
        Self { limits, table: HashMap::new(), waiting: 0, attempts: 0 }
    }

    /// Takes a message for an address.
    pub fn send(&mut self, now: Instant, key: Key, bytes: Bytes) -> Sending<C> {
        let room = self.waiting < self.limits.waiting_max;
        let Some(link) = self.table.get_mut(&key) else {
            let Some(pruned) = self.make_place(now) else { return Sending::Lost(Unsent::LinksFull) };
            let dial = self.open(now, key);
            self.wait(key, room.then_some(bytes));
            return Sending::Dial { dial, pruned };
        };
        link.used = now;
        let over = link.is_over(now);
        match &mut link.state {
            State::Open { connection, full_since, .. } => Sending::Now {
                connection: connection.clone(),
                dial: Dial { key, attempt: link.attempt },
                bytes,
                was_full: full_since.is_some(),
            },
            State::Opening { waiting } if room && waiting.len() < self.limits.waiting_per_link_max => {
                self.wait(key, Some(bytes));
                Sending::Waits
            }
            State::Opening { .. } => Sending::Lost(Unsent::Waiting),
            State::Failed { .. } if over => {
                let dial = self.open(now, key);
                self.wait(key, room.then_some(bytes));
                Sending::Dial { dial, pruned: None }
            }
            State::Failed { .. } => Sending::Lost(Unsent::BackingOff),
        }
    }

    fn wait(&mut self, key: Key, bytes: Option<Bytes>) {
        if let (Some(bytes), Some(Link { state: State::Opening { waiting }, .. })) = (bytes, self.table.get_mut(&key)) {
            waiting.push(bytes);
            self.waiting += 1;
        }
    }

    fn open(&mut self, now: Instant, key: Key) -> Dial {
        self.attempts += 1;
        let attempt = self.attempts;
        let state = State::Opening { waiting: Vec::new() };
        match self.table.get_mut(&key) {
            Some(link) => (link.state, link.attempt) = (state, attempt),
            None => {
                let link = Link { state, attempt, used: now, warm: false, backoff: Duration::ZERO };
                self.table.insert(key, link);
            }
        }
        Dial { key, attempt }
    }

    /// Room for one more link; the connection that gave its place up, if one did. `None`: there is no room.
    fn make_place(&mut self, now: Instant) -> Option<Option<C>> {
        if self.table.len() < self.limits.links_max {
            return Some(None);
        }
        let may_go = |link: &Link<C>| match link.state {
            State::Failed { .. } => true,
            State::Open { .. } => !link.warm && now.saturating_duration_since(link.used) >= BUSY,
            State::Opening { .. } => false,
        };
        let open = |link: &Link<C>| matches!(link.state, State::Open { .. });
        let candidates = self.table.iter().filter(|(_, link)| may_go(link));
        let key = candidates.min_by_key(|(_, link)| (open(link), link.used)).map(|(key, _)| *key)?;
        Some(self.forget(&key).0)
    }

    /// Removes a link: its connection, and the number of messages that waited for one.
    fn forget(&mut self, key: &Key) -> (Option<C>, usize) {
        match self.table.remove(key).map(|link| link.state) {
            Some(State::Open { connection, .. }) => (Some(connection), 0),
            Some(State::Opening { waiting }) => {
                self.waiting -= waiting.len();
                (None, waiting.len())
            }
            Some(State::Failed { .. }) | None => (None, 0),
        }
    }

    fn of(&mut self, dial: &Dial) -> Option<&mut Link<C>> {
        self.table.get_mut(&dial.key).filter(|link| link.attempt == dial.attempt)
    }

    /// A connection is open: what waited for it. `None`: nobody wants it any more.
    pub fn opened(&mut self, now: Instant, dial: &Dial, connection: C) -> Option<Vec<Bytes>> {
        let link = self.of(dial)?;
        let State::Opening { waiting } = &mut link.state else { return None };
        let waiting = std::mem::take(waiting);
        link.state = State::Open { connection, since: now, full_since: None };
        self.waiting -= waiting.len();
        Some(waiting)
    }

    /// A connection could not be opened: how many messages waited for it.
    pub fn failed(&mut self, now: Instant, dial: &Dial) -> usize {
        let Some(link) = self.of(dial) else { return 0 };
        let lost = match &link.state {
            State::Opening { waiting } => waiting.len(),
            State::Open { .. } | State::Failed { .. } => 0,
        };
        link.fail(now);
        self.waiting -= lost;
        lost
    }

    /// An open connection ended. One that a living peer reset is opened again at once, if it is of use and did
    /// not end as soon as it began.
    pub fn ended(&mut self, now: Instant, dial: &Dial, reset: bool) -> Option<Dial> {
        let link = self.of(dial)?;
        let State::Open { since, .. } = link.state else { return None };
        let settled = now.saturating_duration_since(since) >= SETTLED;
        if settled {
            link.backoff = Duration::ZERO;
        }
        let wanted = link.warm || now.saturating_duration_since(link.used) < UNUSED;
        if reset && settled && wanted {
            return Some(self.open(now, dial.key));
        }
        link.fail(now);
        None
    }

    /// The send buffer of a connection is full: true if it has been for too long, and the link now counts as failed.
    pub fn full(&mut self, now: Instant, dial: &Dial) -> bool {
        let slow_for = self.limits.slow_for;
        let Some(link) = self.of(dial) else { return false };
        let State::Open { full_since, .. } = &mut link.state else { return false };
        let since = *full_since.get_or_insert(now);
        let slow = now.saturating_duration_since(since) >= slow_for;
        if slow {
            link.fail(now);
        }
        slow
    }

    /// The send buffer of a connection has room again.
    pub fn drained(&mut self, dial: &Dial) {
        if let Some(Link { state: State::Open { full_since, .. }, .. }) = self.of(dial) {
            *full_since = None;
        }
    }

    /// An identity shows that it is there: what to open again before its back-off is over.
    pub fn alive(&mut self, now: Instant, identity: &Pubkey) -> Vec<Dial> {
        let back = |link: &Link<C>| match link.state {
            State::Failed { since } => now.saturating_duration_since(since) >= BACKOFF.0,
            State::Open { .. } | State::Opening { .. } => false,
        };
        let theirs = self.table.iter().filter(|(key, link)| key.expect.as_ref() == Some(identity) && back(link));
        let theirs: Vec<Key> = theirs.map(|(key, _)| *key).collect();
        theirs.into_iter().map(|key| self.open(now, key)).collect()
    }

    /// Keeps connections to these peers, which are `warm_max` at most, and lets go of what nobody needs: links to
    /// where one of them is no longer, and unused ones.
    pub fn warm(&mut self, now: Instant, peers: &HashMap<Pubkey, SocketAddr>) -> Warming<C> {
        let mut warming = Warming { dials: Vec::new(), pruned: Vec::new(), lost: 0 };
        let mut gone = Vec::new();
        for (key, link) in &mut self.table {
            let place = key.expect.as_ref().and_then(|identity| peers.get(identity));
            link.warm = place == Some(&key.to);
            let moved = place.is_some() && !link.warm;
            let unused = now.saturating_duration_since(link.used) >= UNUSED;
            if moved || (unused && !link.warm && !matches!(link.state, State::Opening { .. })) {
                gone.push(*key);
            }
        }
        for key in gone {
            let (connection, lost) = self.forget(&key);
            warming.pruned.extend(connection);
            warming.lost += lost;
        }
        for (identity, to) in peers.iter().take(self.limits.warm_max) {
            let key = Key { to: *to, expect: Some(*identity) };
            let due = self.table.get(&key).map(|link| link.is_over(now));
            if due == Some(false) {
                continue;
            }
            if due.is_none() {
                let Some(pruned) = self.make_place(now) else { continue };
                warming.pruned.extend(pruned);
            }
            warming.dials.push(self.open(now, key));
            if let Some(link) = self.table.get_mut(&key) {
                link.warm = true;
            }
        }
        warming
    }

    /// Links of every state.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Every open connection.
    pub fn connections(&self) -> impl Iterator<Item = &C> {
        self.table.values().filter_map(|link| match &link.state {
            State::Open { connection, .. } => Some(connection),
            State::Opening { .. } | State::Failed { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QuicLimits = QuicLimits {
        links_max: 8,
        warm_max: 4,
        waiting_per_link_max: 3,
        waiting_max: 10,
        slow_for: Duration::from_secs(2),
        ..QuicLimits::DEFAULT
    };

    /// Connections are numbers here.
    type Table = Links<u64>;

    fn to(number: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], number))
    }

    fn identity(number: u16) -> Pubkey {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_le_bytes());
        Pubkey::from(bytes)
    }

    fn key(number: u16) -> Key {
        Key { to: to(number), expect: Some(identity(number)) }
    }

    fn shred() -> Bytes {
        Bytes::from_static(b"shred")
    }

    /// Sends and expects that a connection is dialed for it.
    fn dial(links: &mut Table, now: Instant, number: u16) -> (Dial, Option<u64>) {
        match links.send(now, key(number), shred()) {
            Sending::Dial { dial, pruned } => (dial, pruned),
            other => panic!("{number}: {other:?}"),
        }
    }

    /// Opens a link whose connection has its number.
    fn open(links: &mut Table, now: Instant, number: u16) -> Dial {
        let (dial, _) = dial(links, now, number);
        assert_eq!(links.opened(now, &dial, number.into()), Some(vec![shred()]));
        dial
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_full_table_of_links_being_opened_takes_nobody_and_never_grows() {
        let (now, mut links) = (Instant::now(), Table::new(LIMITS));
        for number in 0..8 {
            dial(&mut links, now, number);
        }
        for number in 8..1_000 {
            assert_eq!(links.send(now, key(number), shred()), Sending::Lost(Unsent::LinksFull));
        }
        assert_eq!(links.len(), 8);
    }

    #[test]
    fn a_failed_link_loses_its_place_first_and_then_the_open_one_that_was_idle_for_the_longest() {
        let (start, mut links) = (Instant::now(), Table::new(LIMITS));
        for number in 0..8 {
            open(&mut links, start + seconds(number.into()), number);
        }
        let now = start + seconds(20);
        let (again, _) = {
            let Sending::Now { dial, .. } = links.send(now, key(5), shred()) else { panic!("it is open") };
            (dial, links.ended(now, &dial, false))
        };
        assert_eq!(again.key, key(5));
        assert_eq!(dial(&mut links, now, 100).1, None, "the failed one had no connection any more");
        assert_eq!(dial(&mut links, now, 101).1, Some(0), "the connection that was idle for the longest");
        for number in 0..500 {
            drop(links.send(now, key(200 + number), shred()));
            assert!(links.len() <= 8);
        }
    }

    #[test]
    fn links_that_are_warm_or_in_use_keep_their_places() {
        let (start, mut links) = (Instant::now(), Table::new(LIMITS));
        let warm: HashMap<_, _> = (0..4).map(|number| (identity(number), to(number))).collect();
        for (number, dial) in (0..).zip(links.warm(start, &warm).dials) {
            assert_eq!(links.opened(start, &dial, number), Some(Vec::new()));
        }
        let now = start + seconds(30);
        for number in 4..8 {
            open(&mut links, now, number);
        }
        assert_eq!(links.send(now, key(9), shred()), Sending::Lost(Unsent::LinksFull));
        let later = now + seconds(1);
        assert!(matches!(dial(&mut links, later, 9).1, Some(4..8)));
    }

    #[test]
    fn what_waits_is_bounded_for_each_link_and_over_all() {
        let (now, mut links) = (Instant::now(), Table::new(LIMITS));
        let dials: Vec<Dial> = (0..5).map(|number| dial(&mut links, now, number).0).collect();
        let more = (0..5).flat_map(|number| [number; 10]);
        let kept = more.filter(|number| links.send(now, key(*number), shred()) == Sending::Waits).count();
        assert_eq!((5 + kept, links.waiting), (10, 10));
        let lost: usize = dials.iter().map(|dial| links.failed(now, dial)).sum();
        assert_eq!((lost, links.waiting), (10, 0));
    }

    #[test]
    fn the_back_off_doubles_up_to_its_bound_and_begins_anew_after_a_connection_that_lasted() {
        let (mut now, mut links) = (Instant::now(), Table::new(LIMITS));
        let mut waits = Vec::new();
        for _ in 0..8 {
            let (dial, _) = dial(&mut links, now, 1);
            links.failed(now, &dial);
            let failed = now;
            while links.send(now, key(1), Bytes::new()) == Sending::Lost(Unsent::BackingOff) {
                now += Duration::from_millis(100);
            }
            waits.push(now.duration_since(failed).as_millis());
            let attempt = links.table[&key(1)].attempt;
            links.failed(now, &Dial { key: key(1), attempt });
            now += BACKOFF.1;
        }
        assert_eq!(waits[0], 100);
        assert!(waits.is_sorted() && waits[7] == 5_000, "{waits:?}");
        let lasting = open(&mut links, now, 1);
        now += SETTLED;
        assert_eq!(links.ended(now, &lasting, false), None);
        dial(&mut links, now + BACKOFF.0, 1);
    }

    #[test]
    fn a_link_that_a_living_peer_resets_is_opened_again_at_once_but_not_in_a_loop() {
        let (start, mut links) = (Instant::now(), Table::new(LIMITS));
        let first = open(&mut links, start, 1);
        let now = start + SETTLED;
        let second = links.ended(now, &first, true).expect("dialed at once");
        assert_eq!(second.key, key(1));
        assert_eq!(links.ended(now, &first, true), None, "that one ended already");
        links.opened(now, &second, 7).expect("wanted");
        assert_eq!(links.ended(now, &second, true), None, "it was reset as soon as it was open");
        assert_eq!(links.send(now, key(1), shred()), Sending::Lost(Unsent::BackingOff));
    }

    #[test]
    fn a_peer_that_shows_itself_is_tried_again_before_its_back_off_is_over() {
        let (mut now, mut links) = (Instant::now(), Table::new(LIMITS));
        for _ in 0..6 {
            let (dial, _) = dial(&mut links, now, 1);
            links.failed(now, &dial);
            now += BACKOFF.1;
        }
        let (last, _) = dial(&mut links, now, 1);
        links.failed(now, &last);
        assert!(links.alive(now, &identity(1)).is_empty(), "it failed this very moment");
        now += BACKOFF.0;
        assert!(links.alive(now, &identity(2)).is_empty());
        assert_eq!(links.alive(now, &identity(1)).len(), 1);
        assert!(links.alive(now, &identity(1)).is_empty(), "it is being opened");
    }

    #[test]
    fn a_peer_that_stays_full_for_long_counts_as_failed() {
        let (start, mut links) = (Instant::now(), Table::new(LIMITS));
        let dial = open(&mut links, start, 1);
        assert!(!links.full(start, &dial));
        assert!(!links.full(start + seconds(1), &dial));
        assert!(matches!(links.send(start, key(1), shred()), Sending::Now { was_full: true, .. }));
        links.drained(&dial);
        assert!(!links.full(start + seconds(2), &dial), "the count begins anew");
        assert!(links.full(start + seconds(4), &dial));
        assert_eq!(links.send(start + seconds(4), key(1), shred()), Sending::Lost(Unsent::BackingOff));
    }

    #[test]
    fn a_peer_that_moved_is_dialed_where_it_is_now_and_its_old_connection_goes() {
        let (now, mut links) = (Instant::now(), Table::new(LIMITS));
        let old = open(&mut links, now, 1);
        let warming = links.warm(now, &HashMap::from([(identity(1), to(2))]));
        assert_eq!(warming.pruned, [1]);
        let dialed: Vec<Key> = warming.dials.iter().map(|dial| dial.key).collect();
        assert_eq!(dialed, [Key { to: to(2), expect: Some(identity(1)) }]);
        assert_eq!(links.opened(now, &old, 9), None, "nobody wants the old one any more");
    }

    #[test]
    fn a_peer_that_advertises_anothers_address_does_not_keep_that_one_from_its_shreds() {
        let (now, mut links) = (Instant::now(), Table::new(LIMITS));
        let theirs = Key { to: to(1), expect: Some(identity(66)) };
        let Sending::Dial { dial, .. } = links.send(now, theirs, shred()) else { panic!("a new link") };
        links.failed(now, &dial);
        open(&mut links, now, 1);
        assert!(matches!(links.send(now, key(1), shred()), Sending::Now { .. }));
    }

    #[test]
    fn an_unused_link_is_closed_in_the_end() {
        let (now, mut links) = (Instant::now(), Table::new(LIMITS));
        open(&mut links, now, 1);
        assert!(links.warm(now + seconds(59), &HashMap::new()).pruned.is_empty());
        assert_eq!(links.warm(now + seconds(60), &HashMap::new()).pruned, [1]);
        assert_eq!(links.len(), 0);
    }
}
