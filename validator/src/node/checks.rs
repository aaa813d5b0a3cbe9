//! Checks of what gossip brought that the pool has not answered yet.

use super::{Done, Job};
use std::collections::BTreeMap;
use sundog_gossip::limits::Host;

/// Datagrams, votes and proofs of gossip that the pool checks at a time, a fraction of a second's work; what comes beyond
/// is dropped and counted, and gossip brings it again.
const CHECKS_MAX: usize = 1_024;

/// Of these, how many datagrams leave to votes and proofs, which come out of datagrams that were checked.
const RESERVED: usize = 256;

/// Datagrams of one host checked at a time: a quarter of all, so that a host that floods within its rate, with what is
/// dear to verify, does not fill the pool.
const OF_HOST_MAX: usize = (CHECKS_MAX - RESERVED) / 4;

/// How many checks are under way, and how many of datagrams from which host.
#[derive(Default)]
pub(super) struct Checks {
    under_way: usize,
    of_host: BTreeMap<Host, usize>,
}

impl Checks {
    /// Whether this check may begin; counts it if so.
    pub(super) fn begin(&mut self, job: &Job) -> bool {
        if let Job::CheckGossip { from, .. } = job {
            let host = Host::of(from);
            let of_host = self.of_host.get(&host).copied().unwrap_or(0);
            if self.under_way + RESERVED >= CHECKS_MAX || of_host >= OF_HOST_MAX {
                return false;
            }
            self.of_host.insert(host, of_host + 1);
        } else if self.under_way >= CHECKS_MAX {
            return false;
        }
        self.under_way += 1;
        true
    }

    /// The pool answered. Answers to other work than checks do not count.
    pub(super) fn end(&mut self, done: &Done) {
        match done {
            Done::Gossip { from, .. } => {
                let host = Host::of(from);
                if let Some(left) = self.of_host.remove(&host).filter(|count| *count > 1) {
                    self.of_host.insert(host, left - 1);
                }
            }
            Done::Vote(_) | Done::Proof { .. } => {}
            _ => return,
        }
        self.under_way -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use solana_transaction::versioned::VersionedTransaction;
    use std::net::SocketAddr;
    use sundog_gossip::DropReason;

    fn home(host: usize) -> SocketAddr {
        let host = u8::try_from(host).expect("small");
        SocketAddr::from(([10, 0, 0, host], 8_000))
    }

    fn datagram(host: usize) -> Job {
        Job::CheckGossip { from: home(host), bytes: Bytes::new() }
    }

    fn vote() -> Job {
        Job::CheckVote { transaction: Box::new(VersionedTransaction::default()) }
    }

    #[test]
    fn one_host_gets_a_quarter_all_together_leave_room_for_votes_and_answers_make_room_again() {
        let mut checks = Checks::default();
        for host in 0..5 {
            let begun = (0..CHECKS_MAX).filter(|_| checks.begin(&datagram(host))).count();
            assert_eq!(begun, if host < 4 { OF_HOST_MAX } else { 0 }, "host {host}");
        }
        assert_eq!((0..CHECKS_MAX).filter(|_| checks.begin(&vote())).count(), RESERVED);
        (0..RESERVED).for_each(|_| checks.end(&Done::Vote(None)));
        checks.end(&Done::Gossip { from: home(2), packet: Err(DropReason::Undecodable) });
        assert!(!checks.begin(&datagram(1)), "it still has its share");
        assert!(checks.begin(&datagram(2)) && !checks.begin(&datagram(2)));
        for host in (0..4).flat_map(|host| [host; OF_HOST_MAX]) {
            checks.end(&Done::Gossip { from: home(host), packet: Err(DropReason::Undecodable) });
        }
        assert_eq!((checks.under_way, checks.of_host.len()), (0, 0));
    }
}
