//! What nodes say, and who has heard it.

use super::GossipWorld;
use crate::sim::gossip::tally::Probe;
use solana_transaction::versioned::VersionedTransaction;
use std::time::Duration;
use sundog_gossip::{
    CrdsData, Input,
    wire::slots::{CompressedSlots, EpochSlots},
};
use sundog_types::{
    Hash, Slot,
    vote::{VoteOnWire, tower_sync_transaction},
};

/// Votes in a tower.
const TOWER: usize = 31;
/// Time between two votes of a node: a slot.
const SLOT: Duration = Duration::from_millis(400);
/// Slots that a node tells at once in a bitmap.
const SLOTS_TOLD: u64 = 512;
/// Places for epoch slots that a node uses in turn.
const PLACES: u64 = 255;

impl GossipWorld {
    /// Lets time pass while these nodes vote in each slot, and tell in each slot which slots they have. They take turns
    /// within a slot.
    pub fn run_speaking(&mut self, time: Duration, speakers: &[usize]) {
        let end = self.now.after(time);
        let mut slot = self.slot() + 1;
        while !self.now.reached(end) {
            let begin = self.now;
            for (turn, speaker) in speakers.iter().enumerate() {
                let at = begin.after(SLOT * turn as u32 / speakers.len() as u32);
                self.run_for(at.since(self.now));
                self.vote(*speaker, slot);
                self.tell_slots(*speaker, slot);
            }
            self.run_for(begin.after(SLOT).since(self.now));
            slot += 1;
        }
    }

    /// The slot of the clock.
    fn slot(&self) -> u64 {
        self.now.mono_us / SLOT.as_micros() as u64
    }

    /// A node that runs votes for a slot; how that spreads is followed.
    pub fn vote(&mut self, node: usize, slot: u64) {
        let host = &mut self.hosts[node];
        if !host.runs() {
            return;
        }
        host.voted.push(slot);
        let surplus = host.voted.len().saturating_sub(TOWER);
        host.voted.drain(..surplus);
        let count = host.voted.len() as u32;
        let slots = host.voted.iter().enumerate().map(|(place, slot)| (*slot, count - place as u32));
        let vote = VoteOnWire {
            vote_account: host.key(),
            slots: slots.collect(),
            root: host.voted.first().and_then(|oldest| oldest.checked_sub(1)),
            hash: Hash::new_from_array([1; 32]),
            block_id: Hash::default(),
            timestamp: Some(self.now.unix_ms as i64 / 1_000),
            switch: false,
        };
        let transaction = tower_sync_transaction(&vote, mark(self.probes.len()), &host.keypair, &host.keypair);
        let mut ms = vec![u16::MAX; self.hosts.len()];
        ms[node] = 0;
        self.probes.push(Probe { at: self.now, origin: node, ms });
        self.tally.published[0] += 1;
        self.input(node, Input::PublishVote { transaction, slot: Slot::new(slot) });
    }

    /// A node tells which slots it has.
    fn tell_slots(&mut self, node: usize, slot: u64) {
        let slots: Vec<_> = (slot.saturating_sub(SLOTS_TOLD)..=slot).filter(|slot| slot % 13 != 0).collect();
        let Some(part) = CompressedSlots::pack(&slots) else { return };
        let said = EpochSlots { from: self.hosts[node].key(), parts: vec![part], wallclock: 0 };
        let place = (slot % PLACES) as u8;
        self.tally.published[2] += u64::from(self.hosts[node].runs());
        self.input(node, Input::Publish(Box::new(CrdsData::EpochSlots(place, said))));
    }

    /// A vote arrived at a node.
    pub(super) fn heard(&mut self, node: usize, transaction: &VersionedTransaction) {
        let now = self.now;
        let number = marked(transaction.message.recent_blockhash());
        let Some(probe) = self.probes.get_mut(number) else { return };
        if let Some(ms) = probe.ms.get_mut(node)
            && *ms == u16::MAX
        {
            *ms = now.since(probe.at).as_millis().min(u128::from(u16::MAX - 1)) as u16;
        }
    }
}

/// The number of a followed vote, as its blockhash.
fn mark(number: usize) -> Hash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Hash::new_from_array(bytes)
}

fn marked(hash: &Hash) -> usize {
    let (head, _) = hash.as_bytes().split_first_chunk::<8>().expect("32 bytes");
    u64::from_le_bytes(*head) as usize
}
