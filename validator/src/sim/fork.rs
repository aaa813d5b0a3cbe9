//! Leaders that sign FEC sets which they should not: of other versions of their block, or that do not decode.

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

/// A batch of the first version, to make one of another from.
#[derive(Clone)]
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

/// Another version, as far as it is made.
pub(super) struct Other {
    shredder: Shredder,
    /// Where its chain of hashes stands.
    hash: Hash,
}

impl Other {
    /// Begins a version on a parent whose last hash is `start`.
    fn begin(draft: &mut Draft, start: Hash, (seed, number): (u64, usize), shred_version: u16) -> Self {
        let payer = World::faucet(seed);
        let lamports = 1_000_000_000 * number as u64;
        let transfer = crate::payments::transfer(&payer, &payee(), lamports, start);
        if let Some(first) = draft.entries.first_mut() {
            first.num_hashes -= 1;
        }
        draft.entries.insert(0, Entry { num_hashes: 1, hash: Hash::default(), transactions: vec![transfer] });
        let shredder = Shredder::new(draft.slot, draft.parent, shred_version, draft.chained);
        Self { shredder: shredder.expect("the first version has the same parent"), hash: start }
    }

    /// The next sets of the version with this number: a good block with one more transfer than the first.
    pub(super) fn go_on(
        other: &mut Option<Self>,
        mut draft: Draft,
        first: &[FecSet],
        (start, seed, number): (Hash, u64, usize),
    ) -> Vec<FecSet> {
        let Some(shred) = first.first().and_then(|set| set.data.first()) else { return Vec::new() };
        let mut other_now = match other.take() {
            Some(other) => other,
            None => Self::begin(&mut draft, start, (seed, number), shred.view().version()),
        };
        for entry in &mut draft.entries {
            entry.hash = sundog_poh::next_hash(other_now.hash, entry);
            other_now.hash = entry.hash;
        }
        let bytes = entry::encode_batch(&draft.entries);
        let made = other_now.shredder.shred(&bytes, draft.reference_tick, draft.last_in_slot, &*draft.signer);
        *other = Some(other_now);
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
