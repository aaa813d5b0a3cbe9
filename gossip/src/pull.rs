//! Whom to ask for what pushes missed, and answering who asks (reference 6.7).

use crate::{
    push::StakeGate,
    table::Table,
    wire::{
        CrdsFilter, ENVELOPE_BYTES, PACKET_BYTES,
        value::{CrdsData, Kind},
    },
};
use bytes::Bytes;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use std::{net::SocketAddr, time::Duration};
use sundog_types::{Hash, Now, Pubkey, peer::Peer};

/// A request answered may be about values this much newer than the caller's wallclock.
const JITTER_MS: u64 = 3_750;

/// A caller's wallclock may be this far from ours, in milliseconds.
pub const CALLER_SKEW_MS: u64 = 15_000;

/// Values looked at for one request, from a random place of the partition on.
const SCAN_MAX: usize = 8_192;

/// Bytes of answers for each staked node (two at least) in [`BUDGET_EVERY`].
const BUDGET_BYTES: u64 = 1_024;
const BUDGET_EVERY: Duration = Duration::from_millis(100);
/// Unspent budget of this many intervals is kept.
const BUDGET_BURST: u64 = 5;

/// A peer not seen for this long is asked rarely, or never if it has no stake.
const ACTIVE_FOR: Duration = Duration::from_secs(60);

/// Builds requests and answers.
pub struct Pull {
    budget: Budget,
}

/// How much may still be sent in answers.
struct Budget {
    bytes: u64,
    rate: u64,
    filled: Now,
}

impl Budget {
    fn refill(&mut self, now: Now) {
        let interval = BUDGET_EVERY.as_micros() as u64;
        let intervals = now.since(self.filled).as_micros() as u64 / interval;
        if intervals > 0 {
            let more = self.rate.saturating_mul(intervals);
            self.bytes = self.bytes.saturating_add(more).min(self.rate * BUDGET_BURST);
            self.filled = Now { mono_us: self.filled.mono_us + intervals * interval, ..now };
        }
    }

    fn take(&mut self, bytes: usize) -> bool {
        let left = self.bytes.checked_sub(bytes as u64);
        self.bytes = left.unwrap_or(self.bytes);
        left.is_some()
    }
}

/// What is sent in answer to a request.
#[derive(Debug, Default)]
pub struct Answer {
    /// The values' bytes, contact infos first.
    pub values: Vec<Bytes>,
    /// Values left out because the budget is spent.
    pub over_budget: usize,
}

/// Who asks, and for what.
pub struct Request<'a> {
    /// What the caller lacks.
    pub filter: &'a CrdsFilter,
    /// The caller's wallclock, in milliseconds since the Unix epoch.
    pub wallclock: u64,
    /// Contact infos of other chains are kept from the caller.
    pub shred_version: u16,
    /// Who may say what.
    pub gate: &'a StakeGate,
}

impl Pull {
    /// Nothing answered yet.
    #[must_use]
    pub const fn new(now: Now) -> Self {
        let rate = 2 * BUDGET_BYTES;
        let budget = Budget { bytes: rate * BUDGET_BURST, rate, filled: now };
        Self { budget }
    }

    /// Tells how many nodes have stake, which decides the budget for answers.
    pub fn set_staked(&mut self, nodes: usize) {
        self.budget.rate = (nodes as u64).max(2) * BUDGET_BYTES;
    }

    /// What the table has and the caller lacks, as far as the budget allows.
    pub fn answer(&mut self, now: Now, request: &Request<'_>, table: &Table, rng: &mut ChaCha8Rng) -> Answer {
        self.budget.refill(now);
        let latest = request.wallclock.saturating_add(rng.gen_range(0..JITTER_MS));
        let (low, high) = request.filter.range();
        if low > high {
            return Answer::default();
        }
        // From a random place on, so that what does not fit today has its turn another time.
        let middle = rng.gen_range(low..=high);
        let after = table.by_prefix(middle..=high);
        let wrapped = (middle > low).then(|| table.by_prefix(low..=middle - 1));
        let scan = after.chain(wrapped.into_iter().flatten());
        let mut found: Vec<_> = scan
            .take(SCAN_MAX)
            .map(|filed| &filed.value)
            .filter(|value| value.wallclock() <= latest && request.wants(value.hash()))
            .filter(|value| request.may_have(value.data()))
            .collect();
        found.sort_by_key(|value| value.label().kind != Kind::ContactInfo);
        let mut answer = Answer::default();
        for value in found {
            if self.budget.take(value.bytes().len()) {
                answer.values.push(value.bytes().clone());
            } else {
                answer.over_budget += 1;
            }
        }
        answer
    }
}

impl Request<'_> {
    fn wants(&self, hash: &Hash) -> bool {
        self.filter.covers(hash) && !self.filter.bloom.contains(hash)
    }

    fn may_have(&self, data: &CrdsData) -> bool {
        let same_chain = match data {
            CrdsData::ContactInfo(info) => info.shred_version == self.shred_version,
            _ => true,
        };
        same_chain && self.gate.may_be_pulled(data)
    }
}

/// Bytes that values may take in one message.
pub const VALUES_BYTES: usize = PACKET_BYTES - ENVELOPE_BYTES;

/// A random peer to ask, by stake: who has more is asked more often, who is silent rarely.
#[must_use]
pub fn choose_peer<'a>(now: Now, me: &Pubkey, peers: &'a [Peer], rng: &mut ChaCha8Rng) -> Option<&'a Peer> {
    let weight = |peer: &Peer| {
        if peer.identity == *me || peer.addresses.gossip.is_none() {
            return 0;
        }
        let bucket = u64::from(stake_bucket(peer.stake));
        let weight = 16 * (bucket + 1) * (bucket + 1);
        match (now.since(peer.last_seen) <= ACTIVE_FOR, peer.stake > 0) {
            (true, _) => weight,
            (false, true) => weight / 16,
            (false, false) => 0,
        }
    };
    let total: u64 = peers.iter().map(weight).sum();
    if total == 0 {
        return None;
    }
    let mut draw = rng.gen_range(0..total);
    peers.iter().find(|peer| {
        let weight = weight(peer);
        let hit = draw < weight;
        draw = draw.saturating_sub(weight);
        hit
    })
}

/// Bits in a stake counted in SOL, at most 24.
#[must_use]
pub const fn stake_bucket(lamports: u64) -> u32 {
    let sol = lamports / 1_000_000_000;
    let bits = u64::BITS - sol.leading_zeros();
    if bits > 24 { 24 } else { bits }
}

/// An entrypoint: an address whose identity is learned by asking it.
#[derive(Clone, Copy, Debug)]
pub struct Entrypoint {
    /// Where it is.
    pub address: SocketAddr,
    /// Who it is, once known.
    pub identity: Option<Pubkey>,
    asked: u32,
    next: Now,
    pinged: Option<Now>,
}

/// At first an entrypoint is asked this often,
const ENTRYPOINT_FIRST: Duration = Duration::from_millis(200);
/// so many times,
const ENTRYPOINT_EAGER: u32 = 25;
/// and then ever more seldom, down to this.
const ENTRYPOINT_LAST: Duration = Duration::from_millis(7_500);

impl Entrypoint {
    /// An address nobody has answered from yet.
    #[must_use]
    pub const fn new(address: SocketAddr, now: Now) -> Self {
        Self { address, identity: None, asked: 0, next: now, pinged: None }
    }

    /// Whether to ask it now; counts the asking.
    pub fn ask(&mut self, now: Now) -> bool {
        if self.identity.is_some() || !now.reached(self.next) {
            return false;
        }
        let doublings = self.asked.saturating_sub(ENTRYPOINT_EAGER).min(10);
        let wait = ENTRYPOINT_FIRST.saturating_mul(1 << doublings).min(ENTRYPOINT_LAST);
        self.next = now.after(wait);
        self.asked += 1;
        true
    }

    /// It pinged us. Whether to ask it again at once, which nobody can make us do more often than we would
    /// ask by ourselves.
    pub fn ask_after_ping(&mut self, now: Now) -> bool {
        let soon = self.pinged.is_some_and(|at| now.since(at) < ENTRYPOINT_FIRST);
        if soon || self.identity.is_some() {
            return false;
        }
        self.pinged = Some(now);
        true
    }

    /// Its node left: it is unknown again.
    pub const fn forget(&mut self) {
        self.identity = None;
        self.asked = 0;
    }
}
