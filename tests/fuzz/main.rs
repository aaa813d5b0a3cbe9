//! Everything that reads bytes of strangers, or of an old ledger, on at least a million inputs that are nearly right:
//! none makes it panic, and none makes it allocate what the input only claims.
//!
//! `SUNDOG_FUZZ_CASES` sets the number of inputs for each decoder, `SUNDOG_FUZZ_SEED` where their sequence begins.

mod gossip;
mod mutate;
mod samples;

use bytes::Bytes;
use cap::Cap;
use mutate::Mutator;
use std::{
    alloc::System,
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};
use sundog_turbine::{
    Timeline, proof,
    repair_wire::{AncestorHashes, Ask, Packet, Ping, split_shred_response},
    sync::Message,
};
use sundog_types::{
    Epoch, Pubkey, Slot,
    shred::{FilterContext, Gates, Shred, View, filter},
};

/// Counts what is allocated, and refuses what no test needs: whoever believes a claim of 2^40 bytes fails at once.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, 1 << 30);

/// Inputs for each decoder, unless the environment says otherwise.
const CASES: u64 = 1_000_000;
/// What a decoder may allocate whatever its input: errors, small tables, and what the test's own threads allocate
/// meanwhile.
const FREE: usize = 4_096;
/// The counter is the process's: one decoder runs at a time, and samples are read in its turn.
static TURN: Mutex<()> = Mutex::new(());

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}: a number, not {text}")))
}

/// What a decoder may allocate in all, freed or not, for each byte of its input. It bounds what it holds at a time: a
/// list that grows to its end allocates up to three times what it then holds.
#[derive(Clone, Copy)]
struct PerByte(usize);

/// Gives a decoder mutated samples. It tells whether it accepted them: one in a hundred must be, or the test shows
/// little beyond the first check.
fn survives(samples: fn() -> Vec<Vec<u8>>, PerByte(factor): PerByte, decode: impl Fn(&Bytes) -> bool) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = setting("SUNDOG_FUZZ_SEED", 1);
    let samples = samples();
    let mut mutator = Mutator::new(seed, &samples);
    let mut accepted = 0_u64;
    let cases = setting("SUNDOG_FUZZ_CASES", CASES);
    for case in 0..cases {
        let input = Bytes::from(mutator.next());
        let bound = FREE + factor * input.len();
        let mut allocated = usize::MAX;
        // Other threads allocate now and then; a decoder that allocates too much does so every time.
        for _ in 0..5 {
            let before = MEMORY.total_allocated();
            let outcome = catch_unwind(AssertUnwindSafe(|| decode(&input)));
            allocated = MEMORY.total_allocated() - before;
            accepted += u64::from(outcome.unwrap_or_else(|_| panic!("seed {seed}, case {case}: {}", hex(&input))));
            if allocated <= bound {
                break;
            }
        }
        assert!(allocated <= bound, "seed {seed}, case {case}: {allocated} bytes allocated for {}", hex(&input));
    }
    assert!(accepted >= cases / 100, "only {accepted} of {cases} inputs were accepted");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads all that a shred says.
fn read_shred(bytes: &Bytes) -> bool {
    let context = FilterContext {
        root: Slot::ZERO,
        max_slot: Slot::new(1 << 40),
        shred_version: 7,
        gates: Gates::since_genesis(Epoch::new(1)),
    };
    if let Ok(view) = View::read(bytes) {
        black_box(filter(view, &context).is_ok());
        black_box((view.id(), view.fec_set_index(), view.version(), view.signature()));
    }
    let Ok(shred) = Shred::raw(bytes.clone()).parse() else {
        return false;
    };
    black_box((shred.parent(), shred.data().len(), shred.data_bytes().len(), shred.erasure_shard().len()));
    black_box((shred.num_data(), shred.num_code(), shred.position(), shred.leaf_index(), shred.proof().len()));
    black_box((shred.chained_merkle_root(), shred.retransmitter_signature(), shred.merkle_root().is_ok()));
    true
}

#[test]
fn mutated_shreds_are_survived() {
    survives(samples::shreds, PerByte(1), read_shred);
}

#[test]
fn mutated_repair_requests_are_survived() {
    survives(samples::repair_requests, PerByte(0), |bytes| {
        let packet = Packet::decode(bytes);
        packet.is_ok_and(|packet| packet.check_header(&Pubkey::new_from_array([1; 32]), 0).is_err())
    });
}

#[test]
fn mutated_repair_responses_are_survived() {
    let slot = Slot::new(5_000);
    let asks = [Ask::Window { slot, index: 5 }, Ask::Highest { slot, index: 0 }, Ask::Orphan { slot }];
    survives(samples::repair_responses, PerByte(2), |bytes| {
        let ping = Ping::decode_response(bytes).is_some();
        let ancestors = AncestorHashes::decode(bytes).is_some();
        let shred = split_shred_response(bytes).is_some_and(|(shred, _)| {
            black_box(asks.map(|ask| ask.answered_by(&shred)));
            read_shred(&shred)
        });
        ping || ancestors || shred
    });
}

#[test]
fn mutated_duplicate_proofs_are_survived() {
    survives(samples::proofs, PerByte(1), |bytes| {
        let Ok([first, second]) = proof::decode(bytes) else {
            return false;
        };
        let shreds = [first, second].map(|shred| Shred::raw(shred).parse());
        let [Ok(first), Ok(second)] = shreds else {
            return false;
        };
        black_box(proof::conflicts(&first, &second, first.version(), |_| true).is_ok());
        true
    });
}

#[test]
fn mutated_timelines_are_survived() {
    // An arrival takes 3 bytes at least, and some 50 in memory.
    survives(samples::timelines, PerByte(64), |bytes| Timeline::decode(bytes).is_ok());
}

#[test]
fn mutated_sync_messages_are_survived() {
    // A block without shreds takes 16 bytes, and 32 in memory.
    survives(samples::sync_messages, PerByte(16), |bytes| Message::decode(bytes).is_ok());
}

#[test]
fn what_only_claims_to_be_long_is_noticed() {
    let believes = |bytes: &Bytes| {
        let claimed = u16::from_le_bytes([bytes[0], bytes[1]]);
        Vec::<u8>::with_capacity(claimed.into()).capacity() > 0
    };
    let outcome =
        catch_unwind(|| survives(|| vec![vec![1, 0]], PerByte(1), |bytes| bytes.len() >= 2 && believes(bytes)));
    let message = outcome.expect_err("it allocates up to 65,535 bytes for 2");
    assert!(message.downcast_ref::<String>().is_some_and(|text| text.contains("bytes allocated for")));
}
