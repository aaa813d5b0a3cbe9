//! The bounded lanes into the node's thread, ordered by importance.

use crate::node::Input;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What an input is, by how much the cluster depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Answers to the node's own effects and Proof of History. Never dropped, and nothing from the network: who sends
    /// it waits for room.
    Consensus,
    /// Votes that came straight.
    Votes,
    /// Shreds and repair.
    Shreds,
    /// Gossip.
    Gossip,
    /// Transactions.
    Transactions,
}

/// All lanes, the most important first.
pub const LANES: [Lane; 5] = [Lane::Consensus, Lane::Votes, Lane::Shreds, Lane::Gossip, Lane::Transactions];

impl Lane {
    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Votes => "votes",
            Self::Shreds => "shreds",
            Self::Gossip => "gossip",
            Self::Transactions => "transactions",
        }
    }

    /// How many inputs wait in it at most: about 100 ms of a busy node's traffic.
    const fn capacity(self) -> usize {
        match self {
            Self::Consensus => 65_536,
            Self::Shreds => 16_384,
            Self::Votes | Self::Gossip | Self::Transactions => 4_096,
        }
    }

    /// Inputs taken from it in one round, so that no lane starves the ones behind it.
    const fn share(self) -> usize {
        match self {
            Self::Consensus => 256,
            Self::Shreds => 256,
            Self::Votes => 64,
            Self::Gossip | Self::Transactions => 32,
        }
    }
}

/// The sending ends.
#[derive(Clone)]
pub struct Lanes {
    senders: Vec<Sender<Input>>,
    dropped: Arc<[AtomicU64; LANES.len()]>,
}

impl Lanes {
    /// Empty lanes, and the node's end of them.
    #[must_use]
    pub fn new() -> (Self, Ends) {
        let (senders, receivers) = LANES.iter().map(|lane| bounded(lane.capacity())).unzip();
        let dropped = Arc::default();
        (Self { senders, dropped }, Ends { receivers })
    }

    /// Hands in an input from the network. A full lane drops it, and counts that: the network loses packets too.
    pub fn offer(&self, lane: Lane, input: Input) -> bool {
        match self.senders[lane as usize].try_send(input) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.dropped[lane as usize].fetch_add(1, Ordering::Relaxed);
                false
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// Hands in an answer that must not be lost; waits for room. False once the node has ended.
    #[must_use]
    pub fn answer(&self, input: Input) -> bool {
        self.senders[Lane::Consensus as usize].send(input).is_ok()
    }

    /// Inputs dropped because the lane was full.
    #[must_use]
    pub fn dropped(&self, lane: Lane) -> u64 {
        self.dropped[lane as usize].load(Ordering::Relaxed)
    }
}

/// The node's end of the lanes.
pub struct Ends {
    receivers: Vec<Receiver<Input>>,
}

impl Ends {
    /// Takes what waits, the most important first; if nothing does, waits for `timeout` at most. False once nobody
    /// can send any more.
    pub fn take(&self, timeout: Duration, taken: &mut Vec<Input>) -> bool {
        self.take_ready(taken);
        if !taken.is_empty() {
            return true;
        }
        let mut select = crossbeam_channel::Select::new();
        for receiver in &self.receivers {
            select.recv(receiver);
        }
        let _ = select.ready_timeout(timeout);
        let consensus = &self.receivers[Lane::Consensus as usize];
        match consensus.try_recv() {
            Ok(input) => taken.push(input),
            Err(crossbeam_channel::TryRecvError::Disconnected) => return false,
            Err(crossbeam_channel::TryRecvError::Empty) => {}
        }
        self.take_ready(taken);
        true
    }

    fn take_ready(&self, taken: &mut Vec<Input>) {
        for lane in LANES {
            taken.extend(self.receivers[lane as usize].try_iter().take(lane.share()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_gulfstream::Source;

    fn transactions() -> Input {
        Input::Transactions { source: Source::Rpc, packets: Vec::new() }
    }

    #[test]
    fn a_full_lane_drops_and_counts() {
        let (lanes, _ends) = Lanes::new();
        for _ in 0..Lane::Transactions.capacity() {
            assert!(lanes.offer(Lane::Transactions, transactions()));
        }
        assert!(!lanes.offer(Lane::Transactions, transactions()));
        assert_eq!(lanes.dropped(Lane::Transactions), 1);
        for lane in [Lane::Votes, Lane::Shreds, Lane::Gossip] {
            assert!(lanes.offer(lane, transactions()), "other lanes have their own room");
        }
    }

    #[test]
    fn the_most_important_lane_is_taken_first() {
        let (lanes, ends) = Lanes::new();
        assert!(lanes.offer(Lane::Transactions, transactions()));
        assert!(lanes.answer(Input::Durable { id: 1 }));
        let mut taken = Vec::new();
        assert!(ends.take(Duration::ZERO, &mut taken));
        assert!(matches!(taken[..], [Input::Durable { id: 1 }, Input::Transactions { .. }]));
    }

    #[test]
    fn the_node_ends_when_nobody_can_send() {
        let (lanes, ends) = Lanes::new();
        drop(lanes);
        assert!(!ends.take(Duration::ZERO, &mut Vec::new()));
    }
}
