//! Whole blocks: made into shreds, and replayed, that is decoded, verified with all signatures, executed and frozen.
//!
//! Their Proof of History is that of a localnet: one hash an entry. What more hashes cost is what `bench verify` measures.

use super::{
    Part,
    execute::{Scene, one_core},
    keep,
};
use crate::node::{Replay, Start};
use bytes::Bytes;
use solana_keypair::Keypair;
use solana_transaction::versioned::VersionedTransaction;
use std::sync::Arc;
use sundog_turbine::Shredder;
use sundog_types::{
    Hash, Pubkey, Slot,
    entry::{Entry, encode_batch},
    sign::{Identity, Verifier},
};

/// Transfers in the blocks, with what their parts are called.
const BLOCKS: [(usize, &str, &str); 5] = [
    (0, "shredding an empty block", "replaying an empty block"),
    (10, "shredding a block of 10 transfers", "replaying a block of 10 transfers"),
    (100, "shredding a block of 100 transfers", "replaying a block of 100 transfers"),
    (1_000, "shredding a block of 1,000 transfers", "replaying a block of 1,000 transfers"),
    (10_000, "shredding a block of 10,000 transfers", "replaying a block of 10,000 transfers"),
];
/// Ticks of a block.
const TICKS: usize = 64;
/// Transactions in an entry at most, as leaders make them.
const ENTRY_TRANSACTIONS: usize = 64;
/// Bytes of a batch of entries: two FEC sets.
const BATCH_BYTES: usize = 2 * 30_816;

/// A block's entries: its transfers spread over the ticks.
fn entries(start: Hash, transfers: &[VersionedTransaction]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let share = transfers.len().div_ceil(TICKS);
    for tick in 0..TICKS {
        let some = &transfers[(tick * share).min(transfers.len())..((tick + 1) * share).min(transfers.len())];
        let records = some.chunks(ENTRY_TRANSACTIONS).map(<[_]>::to_vec);
        entries.extend(records.map(|transactions| Entry { num_hashes: 1, transactions, ..Entry::default() }));
        entries.push(Entry { num_hashes: 1, ..Entry::default() });
    }
    let mut hash = start;
    for entry in &mut entries {
        hash = sundog_poh::next_hash(hash, entry);
        entry.hash = hash;
    }
    entries
}

/// The batches that a busy leader makes of entries: each as large as fits its sets.
fn batches(entries: &[Entry]) -> Vec<Bytes> {
    let mut batches: Vec<Bytes> = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let fits = |count: &usize| encode_batch(&rest[..*count]).len() <= BATCH_BYTES;
        let count = (1..=rest.len()).take_while(fits).last().unwrap_or(1);
        batches.push(encode_batch(&rest[..count]).into());
        rest = &rest[count..];
    }
    batches
}

/// What is measured.
///
/// # Errors
/// If a block is refused, which only a bug can cause.
pub fn parts() -> anyhow::Result<Vec<Part<'static>>> {
    let largest = BLOCKS.iter().map(|(transfers, ..)| *transfers).max().unwrap_or_default();
    let scene = Scene::new(largest)?;
    let transfers = scene.transfers();
    let mut parts = Vec::new();
    for (count, shredding, replaying) in BLOCKS {
        let entries = entries(scene.root.last_blockhash(), &transfers[..count]);
        let batches = batches(&entries);
        let (parent, pool) = (Arc::clone(&scene.root), one_core()?);
        let replay = {
            let batches = batches.clone();
            move || {
                let start = Start::Child { parent: Arc::clone(&parent), leader: Pubkey::default() };
                let slot = parent.slot().next();
                // Nothing was verified before.
                let verifier = Verifier::of_keys();
                let replay = Replay { slot, attempt: 1, start, batches: batches.clone(), last: true };
                pool.install(|| replay.run(&verifier))
            }
        };
        let replayed = replay();
        anyhow::ensure!(replayed.frozen && replayed.committed.len() == count, "a block was refused");
        let signer = Identity::new(Keypair::new_from_array([1; 32]));
        let shred = move || {
            let shredder = Shredder::new(Slot::new(1), Slot::ZERO, 1, Hash::default());
            let mut shredder = shredder.expect("slot 1 follows slot 0");
            for (place, batch) in batches.iter().enumerate() {
                let last = place + 1 == batches.len();
                keep(shredder.shred(batch, 0, last, &signer).expect("a block has room for 10,000 transfers"));
            }
        };
        parts.push(Part::new(shredding, "blocks", 1, shred));
        parts.push(Part::new(replaying, "blocks", 1, move || keep(replay())));
    }
    Ok(parts)
}
