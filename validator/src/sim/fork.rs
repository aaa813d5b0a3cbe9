//! Leaders that sign FEC sets which they should not: of a second version of their block, or that do not decode.

use super::World;
use crate::node::Job;
use bytes::BytesMut;
use solana_keypair::Keypair;
use std::sync::Arc;
use sundog_turbine::{FecSet, Shredder};
use sundog_types::{
    Hash, Pubkey, Slot,
    entry::{self, Entry},
    shred::{SHREDS_PER_KIND, seal},
    sign::Sign,
};

/// A batch of the first version, to make one of the second from.
pub(super) struct Draft {
    slot: Slot,
    parent: Slot,
    /// The root that the first version's next set chains to.
    chained: Hash,
    entries: Vec<Entry>,
    reference_tick: u8,
    last_in_slot: bool,
    signer: Arc<dyn Sign>,
}

impl Draft {
    /// What a job is about to shred, if it is of this slot.
    pub(super) fn of(job: &Job, slot: Slot) -> Option<Self> {
        let Job::Shred(job) = job else { return None };
        (job.shredder.slot() == slot).then(|| Self {
            slot,
            parent: job.shredder.parent(),
            chained: job.shredder.chained_root(),
            entries: job.entries.clone(),
            reference_tick: job.reference_tick,
            last_in_slot: job.last_in_slot,
            signer: Arc::clone(&job.signer),
        })
    }
}

/// The second version, as far as it is made.
pub(super) struct Second {
    shredder: Shredder,
    /// Where its chain of hashes stands.
    hash: Hash,
}

impl Second {
    /// Begins a version on a parent whose last hash is `start`.
    fn begin(draft: &mut Draft, start: Hash, seed: u64, shred_version: u16) -> Self {
        let payer = World::faucet(seed);
        let transfer = crate::payments::transfer(&payer, &payee(), 1_000_000_000, start);
        if let Some(first) = draft.entries.first_mut() {
            first.num_hashes -= 1;
        }
        draft.entries.insert(0, Entry { num_hashes: 1, hash: Hash::default(), transactions: vec![transfer] });
        let shredder = Shredder::new(draft.slot, draft.parent, shred_version, draft.chained);
        Self { shredder: shredder.expect("the first version has the same parent"), hash: start }
    }

    /// The next sets of the second version: a good block with one more transfer than the first.
    pub(super) fn go_on(
        second: &mut Option<Self>,
        mut draft: Draft,
        first: &[FecSet],
        from: (Hash, u64),
    ) -> Vec<FecSet> {
        let Some(shred) = first.first().and_then(|set| set.data.first()) else { return Vec::new() };
        let (start, seed) = from;
        let mut second_now = match second.take() {
            Some(second) => second,
            None => Self::begin(&mut draft, start, seed, shred.view().version()),
        };
        for entry in &mut draft.entries {
            entry.hash = sundog_poh::next_hash(second_now.hash, entry);
            second_now.hash = entry.hash;
        }
        let bytes = entry::encode_batch(&draft.entries);
        let made = second_now.shredder.shred(&bytes, draft.reference_tick, draft.last_in_slot, &*draft.signer);
        *second = Some(second_now);
        made.expect("a simulated block is small")
    }
}

/// Makes the code shreds of a slot's last set noise, under a valid signature.
pub(super) fn spoil(draft: &Draft, sets: &mut [FecSet]) {
    let Some(set) = sets.last_mut().filter(|_| draft.last_in_slot) else { return };
    let shreds = set.data.iter().chain(&set.code).enumerate().map(|(place, shred)| {
        let mut bytes = BytesMut::from(&shred.payload()[..]);
        if place >= SHREDS_PER_KIND {
            bytes[200..900].fill(place as u8);
        }
        bytes
    });
    let mut data = seal::sign(shreds.collect(), &*draft.signer).expect("the set was whole");
    let code = data.split_off(SHREDS_PER_KIND);
    *set = FecSet { root: data[0].merkle_root(), data, code };
}

fn payee() -> Pubkey {
    use solana_signer::Signer as _;
    Keypair::new_from_array([6; 32]).pubkey()
}
