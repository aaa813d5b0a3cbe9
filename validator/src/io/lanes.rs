//! The bounded lanes into the node's thread, ordered by importance.
//!
//! All lanes stand behind one lock: the node takes from all of them at once, and a sender wakes it only when it sleeps.
//! A lane takes memory for what waits in it and not for what may: six channels that reserve their places would be
//! 25 MB of an idle node.

use crate::node::Input;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
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

/// Places that an empty lane keeps.
const KEPT_PLACES: usize = 1_024;

/// What waits, and who does.
#[derive(Default)]
struct Queues {
    lanes: [VecDeque<Input>; LANES.len()],
    /// The node sleeps until something comes.
    node_sleeps: bool,
    /// Threads that wait for room in the lane of consensus.
    waiting_for_room: usize,
    /// Nobody can send any more.
    senders_gone: bool,
    /// Nobody takes any more.
    node_gone: bool,
}

#[derive(Default)]
struct Shared {
    queues: Mutex<Queues>,
    arrived: Condvar,
    room: Condvar,
    dropped: [AtomicU64; LANES.len()],
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an input to a lane that has room, and wakes the node if it sleeps.
    fn push(&self, mut queues: MutexGuard<'_, Queues>, lane: Lane, input: Input) {
        queues.lanes[lane as usize].push_back(input);
        let wake = std::mem::take(&mut queues.node_sleeps);
        drop(queues);
        if wake {
            self.arrived.notify_one();
        }
    }
}

/// Held by everybody who can send.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.queues().senders_gone = true;
        self.0.arrived.notify_one();
    }
}

/// The sending ends.
#[derive(Clone)]
pub struct Lanes {
    open: Arc<Open>,
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
        let shared = Arc::new(Shared::default());
        let sync_room = Arc::new(Semaphore::new(SYNC_ROOM));
        let ends = Ends { shared: Arc::clone(&shared), sync_room: Arc::clone(&sync_room) };
        (Self { open: Arc::new(Open(shared)), sync_room }, ends)
    }

    fn shared(&self) -> &Shared {
        &self.open.0
    }

    /// Hands in an input from the network. A full lane drops it, and counts that: the network loses packets too.
    pub fn offer(&self, lane: Lane, input: Input) -> bool {
        let shared = self.shared();
        let queues = shared.queues();
        if queues.node_gone {
            return false;
        }
        if queues.lanes[lane as usize].len() >= lane.capacity() {
            drop(queues);
            shared.dropped[lane as usize].fetch_add(1, Ordering::Relaxed);
            return false;
        }
        shared.push(queues, lane, input);
        true
    }

    /// Hands in an answer that must not be lost; waits for room. False once the node has ended.
    #[must_use]
    pub fn answer(&self, input: Input) -> bool {
        let shared = self.shared();
        let mut queues = shared.queues();
        while !queues.node_gone && queues.lanes[Lane::Consensus as usize].len() >= Lane::Consensus.capacity() {
            queues.waiting_for_room += 1;
            queues = shared.room.wait(queues).unwrap_or_else(PoisonError::into_inner);
            queues.waiting_for_room -= 1;
        }
        if queues.node_gone {
            return false;
        }
        shared.push(queues, Lane::Consensus, input);
        true
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
        self.shared().dropped[lane as usize].load(Ordering::Relaxed)
    }
}

/// The node's end of the lanes.
pub struct Ends {
    shared: Arc<Shared>,
    sync_room: Arc<Semaphore>,
}

impl Drop for Ends {
    /// Nobody waits for room in a node that has ended.
    fn drop(&mut self) {
        self.sync_room.close();
        let mut queues = self.shared.queues();
        queues.node_gone = true;
        // What waits may hold the sending ends; it goes outside of the lock.
        let lanes = std::mem::take(&mut queues.lanes);
        drop(queues);
        drop(lanes);
        self.shared.room.notify_all();
    }
}

impl Ends {
    /// Takes what waits, the most important first; if nothing does, waits for `timeout` at most. False once nobody
    /// can send any more.
    pub fn take(&self, timeout: Duration, taken: &mut Vec<Input>) -> bool {
        let mut queues = self.shared.queues();
        self.take_ready(&mut queues, taken);
        if !taken.is_empty() {
            return true;
        }
        if queues.senders_gone {
            return false;
        }
        queues.node_sleeps = true;
        let waited = self.shared.arrived.wait_timeout(queues, timeout).unwrap_or_else(PoisonError::into_inner);
        queues = waited.0;
        queues.node_sleeps = false;
        self.take_ready(&mut queues, taken);
        !(taken.is_empty() && queues.senders_gone)
    }

    fn take_ready(&self, queues: &mut Queues, taken: &mut Vec<Input>) {
        for lane in LANES {
            let waiting = &mut queues.lanes[lane as usize];
            let before = taken.len();
            taken.extend(waiting.drain(..waiting.len().min(lane.share())));
            if waiting.is_empty() && waiting.capacity() > KEPT_PLACES {
                waiting.shrink_to(KEPT_PLACES);
            }
            if lane == Lane::Sync {
                let units = |input: &Input| if let Input::Sync(input) = input { sync_units(input) } else { 0 };
                self.sync_room.add_permits(taken[before..].iter().map(|input| units(input) as usize).sum());
            }
        }
        if queues.waiting_for_room > 0 {
            self.shared.room.notify_all();
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
        assert!(lanes.shared().queues().lanes[Lane::Sync as usize].len() < 64, "64 MiB at most");
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

    #[test]
    fn an_answer_waits_for_room_and_is_not_lost() {
        let (lanes, ends) = Lanes::new();
        for id in 0..Lane::Consensus.capacity() as u64 {
            assert!(lanes.answer(Input::Durable { id }));
        }
        let sender = lanes.clone();
        let waiting = std::thread::spawn(move || sender.answer(Input::Durable { id: u64::MAX }));
        while lanes.shared().queues().waiting_for_room == 0 {
            std::thread::yield_now();
        }
        let (mut taken, mut last) = (Vec::new(), 0);
        while last != u64::MAX {
            assert!(ends.take(Duration::from_secs(60), &mut taken));
            for input in taken.drain(..) {
                let Input::Durable { id } = input else { panic!("nothing else was sent") };
                last = id;
            }
        }
        assert!(waiting.join().expect("it ends"));
        assert!(lanes.shared().queues().lanes.iter().all(|lane| lane.capacity() <= 2 * KEPT_PLACES));
    }

    #[test]
    fn who_waits_for_room_is_told_when_the_node_ends() {
        let (lanes, ends) = Lanes::new();
        while lanes.shared().queues().lanes[Lane::Consensus as usize].len() < Lane::Consensus.capacity() {
            assert!(lanes.answer(Input::Durable { id: 1 }));
        }
        let sender = lanes.clone();
        let waiting = std::thread::spawn(move || sender.answer(Input::Durable { id: 2 }));
        while lanes.shared().queues().waiting_for_room == 0 {
            std::thread::yield_now();
        }
        drop(ends);
        assert!(!waiting.join().expect("it ends"));
        assert!(!lanes.offer(Lane::Votes, transactions()));
    }

    #[test]
    fn a_sleeping_node_is_woken() {
        let (lanes, ends) = Lanes::new();
        let node = std::thread::spawn(move || {
            let mut taken = Vec::new();
            while taken.is_empty() {
                assert!(ends.take(Duration::from_secs(600), &mut taken));
            }
            taken.len()
        });
        assert!(lanes.offer(Lane::Votes, transactions()));
        assert_eq!(node.join().expect("it ends"), 1);
    }
}
