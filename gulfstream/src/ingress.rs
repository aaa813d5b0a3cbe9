//! How much of each peer is taken in: token buckets, weighted by stake.

use crate::Source;
use std::collections::{BTreeMap, BTreeSet};
use sundog_types::{Now, Pubkey};

/// Peers with a bucket of their own, once for those with stake and once for those without. When full,
/// the one unheard for longest loses its bucket, and starts with a full one when it is heard again.
pub const BUCKETS_MAX: usize = 4_096;

/// Tokens of a bucket are counted in millionths, so that a rate per second is a rate per microsecond.
const TOKEN: u64 = 1_000_000;

/// How many transactions per second are taken in, before any signature is checked. Each bucket holds one
/// second's worth. What comes on top is dropped; a client sends again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngressConfig {
    /// Of all peers with stake together; each gets its share by stake.
    pub staked_per_second: u64,
    /// Of all peers without stake together.
    pub unstaked_per_second: u64,
    /// Of one peer without stake; also the least that a peer with stake gets.
    pub peer_per_second: u64,
    /// Of this node's own RPC.
    pub rpc_per_second: u64,
    /// Votes, of everybody: their budget is not touched by transactions.
    pub votes_per_second: u64,
}

impl Default for IngressConfig {
    /// More than a few cores can verify comes from those with stake; a fifth of it from others, and no
    /// single one of these more than a busy test client.
    fn default() -> Self {
        Self {
            staked_per_second: 40_000,
            unstaked_per_second: 10_000,
            peer_per_second: 5_000,
            rpc_per_second: 10_000,
            votes_per_second: 4_000,
        }
    }
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: u64,
    filled: Now,
}

impl Bucket {
    fn full(now: Now, per_second: u64) -> Self {
        Self { tokens: per_second.saturating_mul(TOKEN), filled: now }
    }

    fn take(&mut self, now: Now, per_second: u64) -> bool {
        let passed_us = now.mono_us.saturating_sub(self.filled.mono_us);
        let capacity = per_second.saturating_mul(TOKEN);
        let gained = passed_us.saturating_mul(per_second);
        self.tokens = self.tokens.saturating_add(gained).min(capacity);
        self.filled = now;
        let enough = self.tokens >= TOKEN;
        self.tokens -= if enough { TOKEN } else { 0 };
        enough
    }
}

/// Buckets of peers, bounded.
#[derive(Default)]
struct Buckets {
    by_peer: BTreeMap<Pubkey, Bucket>,
    by_age: BTreeSet<(Now, Pubkey)>,
}

impl Buckets {
    fn take(&mut self, now: Now, peer: Pubkey, per_second: u64) -> bool {
        if let Some(bucket) = self.by_peer.get(&peer) {
            self.by_age.remove(&(bucket.filled, peer));
        } else if self.by_peer.len() >= BUCKETS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_peer.remove(&oldest);
        }
        self.by_age.insert((now, peer));
        let bucket = self.by_peer.entry(peer).or_insert_with(|| Bucket::full(now, per_second));
        bucket.take(now, per_second)
    }
}

/// Decides how much comes in.
pub(crate) struct Ingress {
    config: IngressConfig,
    stakes: BTreeMap<Pubkey, u64>,
    total_stake: u64,
    staked: Buckets,
    unstaked: Buckets,
    all_unstaked: Option<Bucket>,
    rpc: Option<Bucket>,
    votes: Option<Bucket>,
}

impl Ingress {
    pub(crate) fn new(config: IngressConfig) -> Self {
        Self {
            config,
            stakes: BTreeMap::new(),
            total_stake: 0,
            staked: Buckets::default(),
            unstaked: Buckets::default(),
            all_unstaked: None,
            rpc: None,
            votes: None,
        }
    }

    /// Learns who has stake.
    pub(crate) fn weigh(&mut self, stakes: BTreeMap<Pubkey, u64>) {
        self.total_stake = stakes.values().fold(0, |sum: u64, stake| sum.saturating_add(*stake));
        self.stakes = stakes;
    }

    /// Stake of a node.
    pub(crate) fn stake(&self, node: &Pubkey) -> u64 {
        self.stakes.get(node).copied().unwrap_or(0)
    }

    /// Whether one more packet may come in by this way.
    pub(crate) fn admit(&mut self, now: Now, source: Source) -> bool {
        match source {
            Source::Internal => true,
            Source::Rpc => take_shared(&mut self.rpc, now, self.config.rpc_per_second),
            Source::Vote => take_shared(&mut self.votes, now, self.config.votes_per_second),
            Source::Client(None) => self.admit_unstaked(now),
            Source::Client(Some(peer)) | Source::Forwarded(peer) => match self.stake(&peer) {
                0 => self.admit_unstaked(now) && self.unstaked.take(now, peer, self.config.peer_per_second),
                stake => {
                    let rate = self.share(stake);
                    self.staked.take(now, peer, rate)
                }
            },
        }
    }

    fn admit_unstaked(&mut self, now: Now) -> bool {
        take_shared(&mut self.all_unstaked, now, self.config.unstaked_per_second)
    }

    fn share(&self, stake: u64) -> u64 {
        let all = u128::from(self.config.staked_per_second);
        let share = all * u128::from(stake) / u128::from(self.total_stake.max(1));
        u64::try_from(share).unwrap_or(u64::MAX).max(self.config.peer_per_second)
    }
}

fn take_shared(bucket: &mut Option<Bucket>, now: Now, per_second: u64) -> bool {
    bucket.get_or_insert_with(|| Bucket::full(now, per_second)).take(now, per_second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const T0: Now = Now { mono_us: 0, unix_ms: 0 };

    fn key(number: u64) -> Pubkey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Pubkey::from(bytes)
    }

    fn ingress() -> Ingress {
        let mut ingress = Ingress::new(IngressConfig {
            staked_per_second: 1_000,
            unstaked_per_second: 300,
            peer_per_second: 100,
            rpc_per_second: 50,
            votes_per_second: 40,
        });
        ingress.weigh([(key(1), 600), (key(2), 399), (key(3), 1)].into());
        ingress
    }

    #[track_caller]
    fn check(ingress: &mut Ingress, now: Now, source: Source, expected: usize) {
        let admitted = (0..5_000).filter(|_| ingress.admit(now, source)).count();
        assert_eq!(admitted, expected);
    }

    #[test]
    fn each_way_in_has_its_own_rate() {
        let mut ingress = ingress();
        check(&mut ingress, T0, Source::Client(Some(key(1))), 600);
        check(&mut ingress, T0, Source::Forwarded(key(2)), 399);
        check(&mut ingress, T0, Source::Client(Some(key(3))), 100);
        check(&mut ingress, T0, Source::Rpc, 50);
        check(&mut ingress, T0, Source::Vote, 40);
        check(&mut ingress, T0, Source::Internal, 5_000);
    }

    #[test]
    fn those_without_stake_share_a_rate_of_which_none_gets_all() {
        let mut ingress = ingress();
        for peer in 10..12 {
            let admitted = (0..120).filter(|_| ingress.admit(T0, Source::Client(Some(key(peer)))));
            assert_eq!(admitted.count(), 100);
        }
        check(&mut ingress, T0, Source::Client(None), 60);
    }

    #[test]
    fn a_bucket_refills_with_time_up_to_one_second() {
        let mut ingress = ingress();
        check(&mut ingress, T0, Source::Vote, 40);
        check(&mut ingress, T0.after(Duration::from_millis(500)), Source::Vote, 20);
        check(&mut ingress, T0.after(Duration::from_secs(60)), Source::Vote, 40);
    }

    #[test]
    fn when_full_the_peer_unheard_for_longest_loses_its_bucket() {
        let mut buckets = Buckets::default();
        for peer in 0..=BUCKETS_MAX as u64 {
            let now = T0.after(Duration::from_micros(peer));
            assert!(buckets.take(now, key(peer), 1));
        }
        assert_eq!((buckets.by_peer.len(), buckets.by_age.len()), (BUCKETS_MAX, BUCKETS_MAX));
        let now = T0.after(Duration::from_micros(BUCKETS_MAX as u64));
        assert!(!buckets.take(now, key(1), 1), "its bucket is still empty");
        assert!(buckets.take(now, key(0), 1), "forgotten, so it starts anew");
    }
}
