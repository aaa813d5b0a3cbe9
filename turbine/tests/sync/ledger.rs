//! Chains of signed blocks in memory.

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use solana_keypair::Keypair;
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};
use sundog_turbine::{EpochInfo, Shredder, sync::StoredBlock};
use sundog_types::{
    Epoch, Hash, Pubkey, Slot,
    schedule::LeaderSchedule,
    shred::Gates,
    sign::{Identity, Sign as _},
    stakes::{EpochStakes, VoteStake},
};

pub const SHRED_VERSION: u16 = 7;
pub const SLOTS_PER_EPOCH: u64 = 128;

/// The leaders of the chain.
pub fn leaders() -> &'static [Identity] {
    static LEADERS: OnceLock<Vec<Identity>> = OnceLock::new();
    LEADERS.get_or_init(|| (1..=3).map(|seed| Identity::new(Keypair::new_from_array([seed; 32]))).collect())
}

pub fn epoch(number: u64) -> EpochInfo {
    let vote = |identity: &Identity| {
        let node = identity.identity();
        (node, VoteStake { node, authorized_voter: node, stake: 10 })
    };
    let stakes = EpochStakes { by_vote_account: leaders().iter().map(vote).collect() };
    let epoch = Epoch::new(number);
    EpochInfo {
        epoch,
        first_slot: Slot::new(number * SLOTS_PER_EPOCH),
        slots: SLOTS_PER_EPOCH,
        leaders: Arc::new(LeaderSchedule::new(epoch, SLOTS_PER_EPOCH, &stakes)),
        stakes: Arc::new(stakes),
        gates: Gates::since_genesis(epoch),
    }
}

fn leader(slot: u64) -> &'static Identity {
    static EPOCHS: OnceLock<Vec<EpochInfo>> = OnceLock::new();
    let epochs = EPOCHS.get_or_init(|| (0..64).map(epoch).collect());
    let place = (slot / SLOTS_PER_EPOCH) as usize;
    let key: Pubkey = epochs[place].leaders.leader_at(slot % SLOTS_PER_EPOCH);
    leaders().iter().find(|identity| identity.identity() == key).unwrap()
}

#[derive(Clone, Debug)]
pub struct Block {
    pub parent: Slot,
    pub parent_id: Hash,
    pub id: Hash,
    pub shreds: Vec<Bytes>,
}

/// Makes a block as the leader of its slot would, or as somebody else.
pub fn make(slot: u64, parent: (Slot, Hash), bytes: usize, signer: Option<&Identity>) -> Block {
    let mut shredder = Shredder::new(Slot::new(slot), parent.0, SHRED_VERSION, parent.1).unwrap();
    let batch = vec![slot as u8; bytes];
    let sets = shredder.shred(&batch, 0, true, signer.unwrap_or_else(|| leader(slot))).unwrap();
    let shreds = sets.into_iter().flat_map(|set| set.data).map(|shred| shred.into_payload()).collect();
    Block { parent: parent.0, parent_id: parent.1, id: shredder.chained_root(), shreds }
}

/// A chain, finalised to its last block.
#[derive(Clone, Debug, Default)]
pub struct Ledger(pub BTreeMap<Slot, Block>);

impl Ledger {
    /// Blocks in about four fifths of the slots `1..=last`.
    pub fn grow(seed: u64, last: u64) -> Self {
        let mut ledger = Self::default();
        ledger.extend(seed, 1..=last, 80);
        ledger
    }

    pub fn extend(&mut self, seed: u64, slots: std::ops::RangeInclusive<u64>, percent: u32) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let last = *slots.end();
        for slot in slots {
            if slot == last || rng.gen_ratio(percent, 100) {
                let parent = self.tip();
                let bytes = if rng.gen_ratio(1, 50) { 40_000 } else { 100 };
                self.0.insert(Slot::new(slot), make(slot, parent, bytes, None));
            }
        }
    }

    pub fn tip(&self) -> (Slot, Hash) {
        self.0.last_key_value().map_or((Slot::ZERO, Hash::default()), |(slot, block)| (*slot, block.id))
    }

    /// The chain up to a slot.
    pub fn until(&self, slot: u64) -> Self {
        Self(self.0.range(..=Slot::new(slot)).map(|(slot, block)| (*slot, block.clone())).collect())
    }

    pub fn stored(&self, slot: Slot) -> Option<StoredBlock> {
        self.0.get(&slot).map(|block| StoredBlock { slot, shreds: block.shreds.clone() })
    }

    /// What a node reads for [`sundog_turbine::sync::LoadWhat::Range`].
    pub fn range(&self, from: Slot, count: u64, bytes_max: usize) -> (Vec<StoredBlock>, Slot) {
        let end = from.saturating_add(count);
        let (mut blocks, mut bytes) = (Vec::new(), 0);
        for (slot, block) in self.0.range(from..end) {
            bytes += block.shreds.iter().map(Bytes::len).sum::<usize>();
            blocks.push(StoredBlock { slot: *slot, shreds: block.shreds.clone() });
            if bytes >= bytes_max {
                return (blocks, slot.next());
            }
        }
        (blocks, end)
    }
}

/// The chain that most tests sync: 700 slots.
pub fn main_chain() -> &'static Ledger {
    static CHAIN: OnceLock<Ledger> = OnceLock::new();
    CHAIN.get_or_init(|| Ledger::grow(1, 700))
}
