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
use sundog_turbine::sync;
use tokio::sync::Semaphore;

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
    /// Bulk sync. Never dropped: who sends it waits for room, and so does the peer.
    Sync,
    /// Gossip.
    Gossip,
    /// Transactions.
    Transactions,
}

/// All lanes, the most important first.
pub const LANES: [Lane; 6] = [Lane::Consensus, Lane::Votes, Lane::Shreds, Lane::Sync, Lane::Gossip, Lane::Transactions];

/// Room in the lane of bulk sync is counted in units of 4 KiB, so that it holds bytes and not only inputs.
const SYNC_UNIT_BYTES: usize = 4 << 10;
/// Room in the lane of bulk sync: 64 MiB, a dozen ranges of blocks.
const SYNC_ROOM: usize = (64 << 20) / SYNC_UNIT_BYTES;

impl Lane {
    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Votes => "votes",
            Self::Shreds => "shreds",
            Self::Sync => "sync",
            Self::Gossip => "gossip",
            Self::Transactions => "transactions",
        }
    }

    /// How many inputs wait in it at most: about 100 ms of a busy node's traffic.
    const fn capacity(self) -> usize {
        match self {
            Self::Consensus => 65_536,
            Self::Shreds => 16_384,
            // Each takes a unit at least, so that the room ends before the places.
            Self::Sync => SYNC_ROOM,
            Self::Votes | Self::Gossip | Self::Transactions => 4_096,
        }
    }

    /// Inputs taken from it in one round, so that no lane starves the ones behind it.
    const fn share(self) -> usize {
        match self {
            Self::Consensus => 256,
            Self::Shreds => 256,
            // A frame may hold megabytes to decode.
            Self::Sync => 8,
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
    sync_room: Arc<Semaphore>,
}

/// Room that an input takes in the lane of bulk sync; never more than there is.
fn sync_units(input: &sync::Input) -> u32 {
    let bytes = if let sync::Input::Frame { bytes, .. } = input { bytes.len() } else { 0 };
    u32::try_from((1 + bytes / SYNC_UNIT_BYTES).min(SYNC_ROOM)).expect("the room is far below 2^32")
}

impl Lanes {
    /// Empty lanes, and the node's end of them.
    #[must_use]
    pub fn new() -> (Self, Ends) {
        let (senders, receivers) = LANES.iter().map(|lane| bounded(lane.capacity())).unzip();
        let sync_room = Arc::new(Semaphore::new(SYNC_ROOM));
        let ends = Ends { receivers, sync_room: Arc::clone(&sync_room) };
        (Self { senders, dropped: Arc::default(), sync_room }, ends)
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

    /// Hands in what bulk sync received, in the order of the calls; waits until the node has taken enough of what came
    /// before. False once the node has ended.
    pub async fn sync(&self, input: sync::Input) -> bool {
        let Ok(room) = self.sync_room.acquire_many(sync_units(&input)).await else { return false };
        // The node gives it back when it takes the input.
        room.forget();
        self.offer(Lane::Sync, Input::Sync(input))
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
    sync_room: Arc<Semaphore>,
}

impl Drop for Ends {
    /// Nobody waits for room in a node that has ended.
    fn drop(&mut self) {
        self.sync_room.close();
    }
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
            let before = taken.len();
            taken.extend(self.receivers[lane as usize].try_iter().take(lane.share()));
            if lane == Lane::Sync {
                let units = |input: &Input| if let Input::Sync(input) = input { sync_units(input) } else { 0 };
                self.sync_room.add_permits(taken[before..].iter().map(|input| units(input) as usize).sum());
            }
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

    #[tokio::test]
    async fn bulk_sync_waits_for_room_and_loses_nothing() {
        let (lanes, ends) = Lanes::new();
        let link = sync::LinkId::new(1);
        let frame = move |bytes| sync::Input::Frame { link, bytes };
        let megabyte = bytes::Bytes::from(vec![0; 1 << 20]);
        let sender = lanes.clone();
        let sending = tokio::spawn(async move {
            for _ in 0..200 {
                assert!(sender.sync(frame(megabyte.clone())).await);
            }
        });
        while lanes.sync_room.available_permits() > (1 << 20) / SYNC_UNIT_BYTES {
            tokio::task::yield_now().await;
        }
        assert!(lanes.senders[Lane::Sync as usize].len() < 64, "64 MiB at most");
        let (mut frames, mut taken) = (0, Vec::new());
        while frames < 200 {
            ends.take(Duration::ZERO, &mut taken);
            assert!(taken.len() <= Lane::Sync.share());
            frames += taken.drain(..).count();
            tokio::task::yield_now().await;
        }
        sending.await.expect("all are in");
        assert_eq!((lanes.sync_room.available_permits(), lanes.dropped(Lane::Sync)), (SYNC_ROOM, 0));
        drop(ends);
        assert!(!lanes.sync(sync::Input::Closed { link }).await, "the node has ended");
    }

    #[test]
    fn the_node_ends_when_nobody_can_send() {
        let (lanes, ends) = Lanes::new();
        drop(lanes);
        assert!(!ends.take(Duration::ZERO, &mut Vec::new()));
    }
}
