//! The parts: hashing, verifying, shredding, recovering, signatures.

use super::{Figure, keep, measure};
use crate::payments::transfer;
use solana_keypair::Keypair;
use std::{sync::Arc, time::Duration};
use sundog_poh::Chain;
use sundog_turbine::{Codec, FecSet, Shredder};
use sundog_types::{
    Hash, Pubkey, Slot,
    entry::Entry,
    sign::{Identity, Sign},
};

/// Hashes in a tick of the verified block: a localnet's order of magnitude (reference anchors use 12,500).
const HASHES_PER_TICK: u64 = 12_500;
/// Ticks of a block.
const TICKS: usize = 64;

/// One chain of hashes.
pub fn poh(stretch: Duration) -> Vec<Figure> {
    let mut chain = Chain::new(Hash::default(), None);
    vec![measure(("one chain", "hashes"), (10_000, 0), stretch, || keep(chain.advance(10_000)))]
}

/// A block of ticks.
pub fn verify(stretch: Duration) -> anyhow::Result<Vec<Figure>> {
    let mut hash = Hash::default();
    let entries: Vec<Entry> = (0..TICKS)
        .map(|_| {
            let mut entry = Entry { num_hashes: HASHES_PER_TICK, ..Entry::default() };
            hash = sundog_poh::next_hash(hash, &entry);
            entry.hash = hash;
            entry
        })
        .collect();
    let budget = sundog_poh::hash_budget(TICKS as u64, Some(HASHES_PER_TICK));
    let count = TICKS as u64 * HASHES_PER_TICK;
    let mut figures = Vec::new();
    for (name, threads) in [("64 ticks of 12,500, one core", 1), ("64 ticks of 12,500, all cores", 0)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let work = || {
            pool.install(|| sundog_poh::verify_entries(Hash::default(), &entries, budget)).expect("the block is right");
        };
        figures.push(measure((name, "hashes"), (count, 0), stretch, work));
    }
    Ok(figures)
}

fn signer() -> Arc<dyn Sign> {
    Arc::new(Identity::new(Keypair::new_from_array([1; 32])))
}

fn sets(bytes: &[u8], signer: &dyn Sign) -> Vec<FecSet> {
    let mut shredder = Shredder::new(Slot::new(2), Slot::new(1), 1, Hash::default()).expect("slot 2 follows slot 1");
    shredder.shred(bytes, 0, false, signer).expect("a few sets fit a slot")
}

/// Entries into FEC sets.
pub fn shred(stretch: Duration) -> Vec<Figure> {
    let signer = signer();
    let bytes = vec![7; 30_816 * 8];
    let len = bytes.len() as u64;
    vec![
        measure(("entries to signed FEC sets, data shreds", "shreds"), (8 * 32, len), stretch, || {
            keep(sets(&bytes, &*signer));
        }),
        measure(("the same, shreds of both kinds", "shreds"), (8 * 64, 8 * 32 * (1_203 + 1_228)), stretch, || {
            keep(sets(&bytes, &*signer));
        }),
    ]
}

/// FEC sets with shreds missing.
pub fn recover(stretch: Duration) -> Vec<Figure> {
    let signer = signer();
    let set = sets(&[7; 30_816], &*signer).remove(0);
    let codec = Codec::new();
    let all_missing = set.code.clone();
    let mut one_missing: Vec<_> = set.data[1..].to_vec();
    one_missing.push(set.code[0].clone());
    [("all 32 data shreds missing", all_missing), ("one data shred missing", one_missing)]
        .into_iter()
        .map(|(name, held)| {
            measure((name, "sets"), (1, 30_816), stretch, || {
                keep(codec.recover(&held).expect("32 shreds are enough"));
            })
        })
        .collect()
}

/// Transfer packets.
pub fn sigverify(stretch: Duration) -> Vec<Figure> {
    let payer = Keypair::new_from_array([1; 32]);
    let packets: Vec<Vec<u8>> = (0..64_u8)
        .map(|i| {
            let to = Pubkey::new_from_array([i; 32]);
            bincode::serialize(&transfer(&payer, &to, 1, Hash::default())).expect("a transaction serialises")
        })
        .collect();
    let bytes = packets.iter().map(|p| p.len() as u64).sum();
    vec![measure(("transfer packets, one core", "packets"), (64, bytes), stretch, || {
        for packet in &packets {
            keep(sundog_gulfstream::check(packet).is_ok());
        }
    })]
}
