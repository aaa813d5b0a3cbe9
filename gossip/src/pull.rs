//! Whom to ask for what pushes missed, and answering who asks (reference 6.7).

use crate::{
    limits::{Bucket, Buckets, Host, Rate},
    push::StakeGate,
    table::Table,
    wire::{
        CrdsFilter, ENVELOPE_BYTES, PACKET_BYTES,
        value::{CrdsData, CrdsValue, Kind},
    },
};
use bytes::Bytes;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use std::{ops::Range, time::Duration};
use sundog_types::{Hash, Now, Pubkey, peer::Peer};

/// A request answered may be about values this much newer than the caller's wallclock.
const JITTER_MS: u64 = 3_750;

/// Values older than this are given whatever the caller's wallclock is. Pushes are through by then, and the wallclock is
/// that of the caller's contact info, up to 7.5 s old: the reference goes by it alone, and what pushes missed comes seconds
/// later.
const UNDER_WAY_MS: u64 = 600;

/// A caller's wallclock may be this far from ours, in milliseconds.
pub const CALLER_SKEW_MS: u64 = 15_000;

/// Looks at values for one request, from a random place of the partition on.
const SCAN_MAX: u64 = 8_192;

/// Looks for all requests: a quarter of a core's time at most. Nodes of a cluster of 5,000 ask for a third of that.
/// Spent: what was not looked at has its turn when the caller asks again.
const SCAN: Rate = Rate { per_second: 500_000, burst: 131_072 };

/// A look tries a value against so many keys of the caller's filter; a filter with more costs several looks for each
/// value. Honest ones have three; a datagram has room for 130.
const KEYS_PER_LOOK: usize = 4;

/// Datagrams in one answer, so that it fits the sending socket's buffer. What is left out is asked for again.
const DATAGRAMS_MAX: usize = 256;

/// Bytes of answers for each staked node (two at least) in a tenth of a second (reference 6.7).
const BUDGET_BYTES: u64 = 1_024;

/// Unspent budget of this many tenths of a second is kept.
const BUDGET_BURST: u64 = 5;

/// One caller's host may have a quarter of the budget, and of the looks, in the long run; callers without stake
/// together may have half.
const CALLER_SHARE: u32 = 4;

/// Hosts whose share is counted apart. Full: newcomers share one.
pub const CALLERS_MAX: usize = 4_096;

/// A peer not seen for this long is asked rarely, or never if it has no stake.
const ACTIVE_FOR: Duration = Duration::from_secs(60);

/// Answers who asks.
pub struct Pull {
    /// Bytes of answers.
    budget: Shared,
    budget_rate: Rate,
    /// Looks at values.
    scan: Shared,
}

/// What all callers share, so that neither one of them nor a crowd without stake uses all of it up.
struct Shared {
    all: Bucket,
    unstaked: Bucket,
    callers: Buckets<Host>,
}

impl Shared {
    const fn new() -> Self {
        Self { all: Bucket::new(), unstaked: Bucket::new(), callers: Buckets::new(CALLERS_MAX) }
    }

    /// How much this caller may use now.
    fn left(&self, now: Now, caller: &Caller, rate: Rate) -> u64 {
        let one = self.callers.left(now, &caller.host, rate.part(CALLER_SHARE, 2));
        let unstaked = if caller.staked { u64::MAX } else { self.unstaked.left(now, rate.part(2, 2)) };
        self.all.left(now, rate).min(one).min(unstaked)
    }

    /// Uses that much; whether it was left.
    fn take(&mut self, now: Now, caller: &Caller, (rate, uses): (Rate, u64)) -> bool {
        let uses = narrow(uses);
        let fits = self.all.has(now, rate, uses)
            && (caller.staked || self.unstaked.has(now, rate.part(2, 2), uses))
            && self.callers.take_many(now, caller.host, (rate.part(CALLER_SHARE, 2), uses));
        if fits {
            self.all.take_many(now, rate, uses);
            if !caller.staked {
                self.unstaked.take_many(now, rate.part(2, 2), uses);
            }
        }
        fits
    }
}

/// The budget for answers where so many nodes have stake, in bytes.
fn budget_rate(staked: usize) -> Rate {
    let tenth = BUDGET_BYTES * (staked as u64).max(2);
    Rate { per_second: narrow(10 * tenth), burst: narrow(BUDGET_BURST * tenth) }
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What is sent in answer to a request.
#[derive(Debug, Default)]
pub struct Answer {
    /// The values' bytes, contact infos first.
    pub values: Vec<Bytes>,
    /// Values left out because the budget is spent, or because they are too many for one answer.
    pub over_budget: usize,
    /// Whether not everything was looked through that may be for one request, because too much is asked for by all.
    pub over_scan: bool,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// From where.
    pub host: Host,
    /// Whether it has stake.
    pub staked: bool,
    /// Its wallclock, in milliseconds since the Unix epoch.
    pub wallclock: u64,
}

/// Who asks, and for what.
pub struct Request<'a> {
    /// What the caller lacks.
    pub filter: &'a CrdsFilter,
    /// Who asks.
    pub caller: Caller,
    /// Contact infos of other chains are kept from the caller.
    pub shred_version: u16,
    /// Who may say what.
    pub gate: &'a StakeGate,
}

impl Pull {
    /// Nothing answered yet.
    #[must_use]
    pub fn new() -> Self {
        Self { budget: Shared::new(), budget_rate: budget_rate(0), scan: Shared::new() }
    }

    /// Tells how many nodes have stake, which decides the budget for answers.
    pub fn set_staked(&mut self, nodes: usize) {
        self.budget_rate = budget_rate(nodes);
    }

    /// What the table has and the caller lacks, as far as the budget allows: datagrams by chance, weighted by
    /// the score of their best value.
    pub fn answer(&mut self, now: Now, request: &Request<'_>, table: &Table, rng: &mut ChaCha8Rng) -> Answer {
        let mut answer = Answer::default();
        let mut found = self.find(now, request, table, (rng, &mut answer));
        found.sort_by_key(|value| value.label().kind != Kind::ContactInfo);
        let lengths = found.iter().map(|value| value.bytes().len());
        let datagrams = split(lengths);
        let score = |range: &Range<usize>| {
            let scores = found[range.clone()].iter().map(|value| request.score(now, value, table));
            scores.max().unwrap_or(0)
        };
        let mut left: Vec<(u64, Range<usize>)> = datagrams.map(|range| (score(&range), range)).collect();
        let mut chosen = Vec::new();
        while chosen.len() < DATAGRAMS_MAX
            && let Some(range) = draw(&mut left, rng)
        {
            let bytes: usize = found[range.clone()].iter().map(|value| value.bytes().len()).sum();
            let bytes = (ENVELOPE_BYTES + bytes) as u64;
            if !self.budget.take(now, &request.caller, (self.budget_rate, bytes)) {
                break;
            }
            chosen.push(range);
        }
        // Contact infos first: without them the receiver can do nothing with the rest.
        chosen.sort_by_key(|range| range.start);
        answer.values = chosen.into_iter().flatten().map(|place| found[place].bytes().clone()).collect();
        answer.over_budget = found.len() - answer.values.len();
        answer
    }

    /// What the table has and the caller lacks, as far as may be looked.
    fn find<'a>(
        &mut self,
        now: Now,
        request: &Request<'_>,
        table: &'a Table,
        (rng, answer): (&mut ChaCha8Rng, &mut Answer),
    ) -> Vec<&'a CrdsValue> {
        let latest = request.caller.wallclock.saturating_add(rng.gen_range(0..JITTER_MS));
        let latest = latest.max(now.unix_ms.saturating_sub(UNDER_WAY_MS));
        let (low, high) = request.filter.range();
        let cost = request.filter.bloom.keys().len().div_ceil(KEYS_PER_LOOK).max(1) as u64;
        let most = SCAN_MAX.min(self.scan.left(now, &request.caller, SCAN)) / cost;
        if low > high {
            return Vec::new();
        }
        // From a random place on, so that what does not fit today has its turn another time.
        let middle = rng.gen_range(low..=high);
        let after = table.by_prefix(middle..=high);
        let wrapped = (middle > low).then(|| table.by_prefix(low..=middle - 1));
        let mut scan = after.chain(wrapped.into_iter().flatten()).map(|filed| &filed.value);
        let (mut looked, mut found) = (0, Vec::new());
        while looked < most
            && let Some(value) = scan.next()
        {
            looked += 1;
            if value.wallclock() <= latest && request.wants(value.hash()) && request.may_have(value.data()) {
                found.push(value);
            }
        }
        self.scan.take(now, &request.caller, (SCAN, looked * cost));
        answer.over_scan = looked == most && most < SCAN_MAX / cost && scan.next().is_some();
        found
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.budget.callers.held_bytes() + self.scan.callers.held_bytes()
    }
}

/// What [`Pull::held_bytes`] never exceeds.
pub const PULL_BYTES_MAX: usize = 2 * Buckets::<Host>::held_bytes_at(CALLERS_MAX);

/// Cuts values of these lengths into messages, in order.
fn split(lengths: impl Iterator<Item = usize>) -> impl Iterator<Item = Range<usize>> {
    let mut lengths = lengths.peekable();
    let mut start = 0;
    std::iter::from_fn(move || {
        let (mut end, mut bytes) = (start, 0);
        while let Some(length) = lengths.next_if(|length| end == start || bytes + length <= VALUES_BYTES) {
            bytes += length;
            end += 1;
        }
        let range = start..end;
        start = end;
        (!range.is_empty()).then_some(range)
    })
}

/// Takes one out by chance, weighted.
fn draw(left: &mut Vec<(u64, Range<usize>)>, rng: &mut ChaCha8Rng) -> Option<Range<usize>> {
    let total: u64 = left.iter().map(|(weight, _)| weight).sum();
    if total == 0 {
        return None;
    }
    let mut drawn: u64 = rng.gen_range(0..total);
    let place = left.iter().position(|(weight, _)| {
        let hit = drawn < *weight;
        drawn = drawn.saturating_sub(*weight);
        hit
    })?;
    Some(left.swap_remove(place).1)
}

impl Default for Pull {
    fn default() -> Self {
        Self::new()
    }
}

/// A value's age counts in units of this, in milliseconds, against the length of an epoch.
const SCORE_AGE_MS: u64 = 15_000;
const SCORE_EPOCH_MS: u64 = 432_000 * 400;

impl Request<'_> {
    /// How much a value is worth to be sent: more if it is new, twice if its origin has stake, and twice if it is a
    /// contact info (reference 6.7).
    fn score(&self, now: Now, value: &CrdsValue, table: &Table) -> u64 {
        let age = now.unix_ms.saturating_sub(value.wallclock());
        let young = (SCORE_EPOCH_MS.saturating_sub(age) / SCORE_AGE_MS).max(1);
        let staked = if table.stake(&value.origin()) > 0 { 2 } else { 1 };
        let contact = if value.label().kind == Kind::ContactInfo { 2 } else { 1 };
        young * staked * contact
    }

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
