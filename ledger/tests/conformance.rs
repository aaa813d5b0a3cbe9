//! The ledger as its users see it: what is put is read back, what is broken is named, what is old is forgotten.

use proptest::prelude::*;
use solana_transaction::{Transaction, versioned::VersionedTransaction};
use solana_transaction_error::TransactionError;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use sundog_ledger::*;
use sundog_types::{
    Hash, Pubkey, ShredIndex, Signature, Slot,
    shred::{Kind, Shred, Signed},
    store::{Batch, Space, Store, Write},
};

fn slot(number: u64) -> Slot {
    Slot::new(number)
}

fn fresh() -> (Arc<MemoryStore>, Ledger) {
    let store = Arc::new(MemoryStore::new());
    (Arc::clone(&store), Ledger::new(store))
}

fn write(store: &MemoryStore, change: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::default();
    change(&mut batch);
    store.commit(&batch, false).unwrap();
}

fn key(number: u8) -> Pubkey {
    Pubkey::new_from_array([number; 32])
}

/// A transaction with this signature that names these addresses; the last is the program, called with `data`.
fn record(signature: u8, addresses: &[Pubkey], data: &[u8]) -> TransactionRecord {
    let signatures = vec![Signature::from([signature; 64])];
    let mut transaction = Transaction { signatures, ..Transaction::default() };
    let message = &mut transaction.message;
    message.header.num_required_signatures = 1;
    message.account_keys = addresses.to_vec();
    let program = u8::try_from(addresses.len()).unwrap() - 1;
    // Written as bytes: one instruction with no accounts.
    let mut bytes = bincode::serialize(&transaction).unwrap();
    assert_eq!(bytes.pop(), Some(0), "no instructions");
    bytes.extend([1, program, 0, u8::try_from(data.len()).unwrap()]);
    bytes.extend(data);
    let transaction: VersionedTransaction = bincode::deserialize(&bytes).unwrap();
    TransactionRecord { transaction, meta: StatusMeta::default() }
}

fn full_meta() -> StatusMeta {
    let token = TokenBalance {
        account_index: 1,
        mint: key(5),
        owner: key(6),
        program_id: key(7),
        amount: u64::MAX,
        decimals: 9,
    };
    let call = InnerInstruction { program_id_index: 3, accounts: vec![0, 1], data: vec![9; 40], stack_height: Some(2) };
    StatusMeta {
        status: Err(TransactionError::InsufficientFundsForRent { account_index: 4 }),
        fee: 5_000,
        pre_balances: vec![1, 2, 3],
        post_balances: vec![3, 2, 1],
        inner_instructions: Some(vec![InnerInstructions { index: 0, instructions: vec![call] }]),
        logs: Some(vec!["Program log: hello".into(), String::new()]),
        pre_token_balances: vec![token.clone()],
        post_token_balances: vec![token],
        loaded_addresses: LoadedAddresses { writable: vec![key(20)], readonly: vec![key(21), key(22)] },
        return_data: Some((key(8), vec![1, 2, 3])),
        compute_units: Some(150),
        cost_units: Some(1_700),
    }
}

/// The shreds of the vectors, with their slot.
fn shreds() -> Vec<Shred<Signed>> {
    let vectors = std::env::var_os("SUNDOG_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors")), PathBuf::from);
    let text = std::fs::read_to_string(vectors.join("shreds.json")).expect("shreds.json");
    let json: serde_json::Value = serde_json::from_str(&text).expect("json");
    let mut shreds = Vec::new();
    for case in json["cases"].as_array().unwrap() {
        let mut bytes = std::fs::read(vectors.join(case["file"].as_str().unwrap())).expect("shreds");
        for set in case["fec_sets"].as_array().unwrap() {
            let sizes = [(set["num_data"].as_u64(), 1_203), (set["num_code"].as_u64(), 1_228)];
            for (count, size) in sizes {
                for _ in 0..count.unwrap() {
                    let rest = bytes.split_off(size);
                    let shred = Shred::raw(bytes.into()).parse().expect("a shred");
                    shreds.push(shred.trust_own_ledger().expect("a root"));
                    bytes = rest;
                }
            }
        }
    }
    shreds
}

/// The data shreds of the sets of 32 and 32.
fn whole_sets() -> Vec<Vec<Shred<Signed>>> {
    let mut sets: BTreeMap<_, Vec<Shred<Signed>>> = BTreeMap::new();
    for shred in shreds().into_iter().filter(|shred| shred.kind() == Kind::Data && shred.proof().len() == 6 * 20) {
        sets.entry((shred.slot(), shred.fec_set_index())).or_default().push(shred);
    }
    sets.into_values().filter(|set| set.len() == 32).collect()
}

#[test]
fn a_set_that_came_in_pieces_before_it_was_whole_is_read_as_one() {
    for set in whole_sets() {
        let (store, ledger) = fresh();
        let (at, first) = (set[0].slot(), set[0].index());
        let pieces = [&set[3..4], &set[20..24]].concat();
        write(&store, |batch| put_shreds(batch, &pieces));
        assert_eq!(store.len(Space::DataShreds), 5);
        assert_eq!(ledger.shred_slots(Slot::ZERO, 9).unwrap(), [at]);
        assert_eq!(ledger.highest_data_shred(at).unwrap().as_ref(), Some(set[23].payload()));
        assert_eq!(ledger.data_shred(at, set[3].index()).unwrap().as_ref(), Some(set[3].payload()));
        assert_eq!(ledger.data_shred(at, first).unwrap(), None);
        write(&store, |batch| put_shreds(batch, &set));
        let payloads: Vec<_> = set.iter().map(|shred| shred.payload().clone()).collect();
        assert_eq!(ledger.data_shreds(at).unwrap(), payloads);
        assert_eq!(ledger.highest_data_shred(at).unwrap().as_ref(), payloads.last());
        assert_eq!(ledger.data_shred(at, first).unwrap().as_ref(), payloads.first());
        assert_eq!(ledger.shred_slots(Slot::ZERO, 9).unwrap(), [at]);
        write(&store, |batch| batch.writes.append(&mut ledger.forget(at, 0).unwrap().writes));
        assert_eq!(ledger.data_shreds(at).unwrap(), [] as [bytes::Bytes; 0]);
    }
}

#[test]
fn of_two_versions_of_a_set_what_was_kept_later_is_read() {
    let set = whole_sets().swap_remove(0);
    let at = set[0].slot();
    // Another signature makes another version of every shred; their proofs still fit.
    let other: Vec<Shred<Signed>> = set
        .iter()
        .map(|shred| {
            let mut bytes = shred.payload().to_vec();
            bytes[..64].fill(9);
            Shred::raw(bytes.into()).parse().unwrap().trust_own_ledger().unwrap()
        })
        .collect();
    let payloads = |shreds: &[Shred<Signed>]| shreds.iter().map(|s| s.payload().clone()).collect::<Vec<_>>();
    let (store, ledger) = fresh();
    write(&store, |batch| put_shreds(batch, &set));
    write(&store, |batch| put_shreds(batch, &other[..31]));
    let mixed = [&other[..31], &set[31..]].concat();
    assert_eq!(ledger.data_shreds(at).unwrap(), payloads(&mixed));
    assert_eq!(ledger.data_shred(at, set[4].index()).unwrap().as_ref(), Some(other[4].payload()));
    assert_eq!(ledger.highest_data_shred(at).unwrap().as_ref(), Some(set[31].payload()));
    write(&store, |batch| put_shreds(batch, &other[31..]));
    assert_eq!(ledger.highest_data_shred(at).unwrap().as_ref(), Some(other[31].payload()));
    write(&store, |batch| put_shreds(batch, &set));
    assert_eq!(ledger.data_shreds(at).unwrap(), payloads(&set));
    assert_eq!((store.len(Space::FecSets), store.len(Space::DataShreds)), (1, 0));
}

#[test]
fn a_broken_set_is_an_error_with_a_name() {
    let set = whole_sets().swap_remove(0);
    let (store, ledger) = fresh();
    write(&store, |batch| put_shreds(batch, &set));
    let (key, packed) = store.range(Space::FecSets, &[], &[0xff; 13], 1).unwrap().remove(0);
    let mut random = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    for round in 0..4_000 {
        let mut broken = packed.to_vec();
        match round % 3 {
            0 => broken.truncate(random.random_range(0..packed.len())),
            1 => (0..4).for_each(|_| broken[random.random_range(0..packed.len())] = random.random()),
            _ => broken.push(random.random()),
        }
        write(&store, |batch| batch.put(Space::FecSets, key.to_vec(), broken));
        match ledger.data_shreds(set[0].slot()) {
            Ok(shreds) => assert_eq!(shreds.len(), 32, "a byte of a payload does not show here"),
            Err(error) => assert!(error.to_string().contains("an FEC set"), "{error}"),
        }
    }
}

#[test]
fn data_shreds_are_read_back_and_code_shreds_are_not_kept() {
    let (store, ledger) = fresh();
    let mut by_slot: BTreeMap<Slot, BTreeMap<ShredIndex, Shred<Signed>>> = BTreeMap::new();
    let shreds = shreds();
    write(&store, |batch| put_shreds(batch, &shreds));
    for shred in &shreds {
        if shred.kind() == Kind::Data {
            by_slot.entry(shred.slot()).or_default().insert(shred.index(), shred.clone());
        }
    }
    let (whole, single) = (store.len(Space::FecSets), store.len(Space::DataShreds));
    assert!(whole > 0, "the vectors have sets of 32 and 32");
    assert_eq!(32 * whole + single, by_slot.values().map(BTreeMap::len).sum::<usize>());
    for (slot, expected) in by_slot {
        let payloads: Vec<_> = expected.values().map(|shred| shred.payload().clone()).collect();
        assert_eq!(ledger.data_shreds(slot).unwrap(), payloads);
        assert_eq!(ledger.highest_data_shred(slot).unwrap().as_ref(), payloads.last());
        for (index, shred) in expected {
            assert_eq!(ledger.data_shred(slot, index).unwrap().as_ref(), Some(shred.payload()));
        }
    }
    assert_eq!(ledger.data_shred(slot(u64::MAX), ShredIndex::new(0)).unwrap(), None);
    assert_eq!(ledger.highest_data_shred(slot(999_999)).unwrap(), None);
}

#[test]
fn a_stretch_of_the_rooted_chain_is_read_up_to_its_bytes() {
    let (store, ledger) = fresh();
    let shreds = shreds();
    let sizes: BTreeMap<Slot, usize> =
        shreds.iter().filter(|s| s.kind() == Kind::Data).fold(BTreeMap::new(), |mut sizes, shred| {
            *sizes.entry(shred.slot()).or_default() += shred.payload().len();
            sizes
        });
    let (&left_out, _) = sizes.iter().nth(1).expect("several slots");
    let rooted: Vec<Slot> = sizes.keys().copied().filter(|slot| *slot != left_out).collect();
    write(&store, |batch| {
        put_shreds(batch, &shreds);
        set_root(batch, rooted[1], &rooted[..2]);
    });
    // Some are marked, one is not yet, and one was marked meanwhile.
    let read = |bytes_max| {
        let stretch = ledger.rooted_blocks(slot(0), u64::MAX, bytes_max, &rooted[1..]).unwrap();
        for block in &stretch.blocks {
            assert_eq!(block.shreds, ledger.data_shreds(block.slot).unwrap());
        }
        (stretch.blocks.iter().map(|block| block.slot).collect::<Vec<_>>(), stretch.next)
    };
    assert_eq!(read(usize::MAX), (rooted.clone(), slot(u64::MAX)));
    assert_eq!(read(0), (rooted[..1].to_vec(), rooted[1]));
    assert_eq!(read(sizes[&rooted[0]]), (rooted[..1].to_vec(), rooted[1]));
    assert_eq!(read(sizes[&rooted[0]] + 1), (rooted[..2].to_vec(), rooted[2]));
    assert_eq!(ledger.rooted_blocks(rooted[1], 1, usize::MAX, &rooted).unwrap().blocks.len(), 1);
    assert_eq!(ledger.rooted_blocks(rooted[1], 0, usize::MAX, &rooted).unwrap().next, rooted[1]);
}

#[test]
fn metadata_is_read_back_with_the_mark_of_a_root() {
    let (store, ledger) = fresh();
    let reward = Reward { pubkey: key(1), lamports: -5, post_balance: 7, kind: RewardKind::Fee, commission: Some(10) };
    let meta = SlotMeta {
        parent: slot(6),
        last_index: Some(31),
        received: 32,
        full: true,
        dead: false,
        blockhash: Hash::new_from_array([1; 32]),
        previous_blockhash: Hash::new_from_array([2; 32]),
        block_height: 5,
        block_time: -3,
        bank_hash: Hash::new_from_array([3; 32]),
        rewards: vec![reward],
        rooted: false,
    };
    for number in 5..10 {
        write(&store, |batch| put_meta(batch, slot(number), &meta));
    }
    assert_eq!(ledger.root().unwrap(), None);
    write(&store, |batch| set_root(batch, slot(8), &[slot(5), slot(7), slot(8)]));
    // Metadata written later, by someone who does not know of the root, does not undo it.
    write(&store, |batch| put_meta(batch, slot(7), &meta));
    assert_eq!(ledger.root().unwrap(), Some(slot(8)));
    assert_eq!(ledger.slot_meta(slot(6)).unwrap(), Some(meta.clone()));
    assert_eq!(ledger.slot_meta(slot(7)).unwrap(), Some(SlotMeta { rooted: true, ..meta }));
    assert_eq!(ledger.slot_meta(slot(11)).unwrap(), None);
    assert_eq!(ledger.rooted_slots(slot(0), slot(u64::MAX), 9).unwrap(), [slot(5), slot(7), slot(8)]);
    assert_eq!(ledger.rooted_slots(slot(6), slot(7), 9).unwrap(), [slot(7)]);
    assert_eq!(ledger.rooted_slots(slot(0), slot(9), 2).unwrap(), [slot(5), slot(7)]);
    assert_eq!(ledger.lowest_slot().unwrap(), Some(slot(5)));
    let marks: Vec<_> = ledger.slots(slot(6), slot(8), 9).unwrap().iter().map(|(s, m)| (s.get(), m.rooted)).collect();
    assert_eq!(marks, [(6, false), (7, true), (8, true)]);
}

#[test]
fn the_timeline_and_the_proof_of_a_slot_are_read_back_and_replaced() {
    let (store, ledger) = fresh();
    let (bytes, proof) = (vec![1, 2, 3], bytes::Bytes::from_static(b"two versions"));
    write(&store, |batch| put_timeline(batch, slot(7), vec![9]));
    write(&store, |batch| put_timeline(batch, slot(7), bytes.clone()));
    write(&store, |batch| put_duplicate(batch, slot(8), proof.clone()));
    assert_eq!(ledger.timeline(slot(7)).unwrap().as_deref(), Some(&bytes[..]));
    assert_eq!(ledger.duplicate(slot(8)).unwrap(), Some(proof));
    for (missing, from) in [(ledger.timeline(slot(8)), 8), (ledger.duplicate(slot(7)), 7)] {
        assert_eq!(missing.unwrap(), None, "slot {from} has only the other one");
    }
    // Neither is taken for metadata or a root.
    assert_eq!((ledger.lowest_slot().unwrap(), ledger.slot_meta(slot(7)).unwrap()), (None, None));
    assert!(!ledger.is_rooted(slot(8)).unwrap());
}

#[test]
fn a_block_is_its_transactions_in_order_once_it_was_executed() {
    let (store, ledger) = fresh();
    let records = [record(1, &[key(1), key(9)], b"a"), record(2, &[key(2), key(9)], b"b")];
    let late = [TransactionRecord { meta: full_meta(), ..record(3, &[key(3), key(9)], b"c") }];
    write(&store, |batch| put_transactions(batch, slot(4), 2, &late));
    write(&store, |batch| put_transactions(batch, slot(4), 0, &records));
    assert_eq!(ledger.block(slot(4)).unwrap(), None);
    let mut meta = SlotMeta { full: true, ..SlotMeta::default() };
    write(&store, |batch| put_meta(batch, slot(4), &meta));
    assert_eq!(ledger.block(slot(4)).unwrap(), None);
    meta.blockhash = Hash::new_from_array([4; 32]);
    write(&store, |batch| put_meta(batch, slot(4), &meta));
    let block = ledger.block(slot(4)).unwrap().expect("a block");
    assert_eq!(block.transactions, [records.as_slice(), late.as_slice()].concat());
    assert_eq!(ledger.transaction_at(slot(4), 2).unwrap(), Some(late[0].clone()));
}

#[test]
fn a_transaction_on_two_forks_is_told_from_the_rooted_one() {
    let (store, ledger) = fresh();
    let here = record(1, &[key(1), key(9)], b"");
    let there = TransactionRecord { meta: full_meta(), ..here.clone() };
    write(&store, |batch| put_transactions(batch, slot(4), 7, std::slice::from_ref(&here)));
    write(&store, |batch| put_transactions(batch, slot(5), 3, std::slice::from_ref(&there)));
    let signature = here.signature();
    assert_eq!(ledger.places(&signature).unwrap(), [(slot(5), 3), (slot(4), 7)]);
    assert_eq!(ledger.transaction(&signature).unwrap().unwrap().slot, slot(5));
    let on_four = ledger.transaction_on(&signature, &|s| s == slot(4)).unwrap();
    assert_eq!(on_four, Some(Located { slot: slot(4), index: 7, record: here }));
    write(&store, |batch| set_root(batch, slot(4), &[]));
    assert_eq!(ledger.transaction(&signature).unwrap().unwrap().index, 7);
    assert_eq!(ledger.transaction(&Signature::from([9; 64])).unwrap(), None);
}

#[test]
fn an_addresss_history_is_newest_first_page_by_page() {
    let (store, ledger) = fresh();
    let memo = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr".parse().unwrap();
    for number in 1..=6u8 {
        let mut said = record(number, &[key(1), memo], b"hi");
        if number == 3 {
            said.meta = full_meta();
        }
        let place = u32::from(number % 2);
        write(&store, |batch| put_transactions(batch, slot(u64::from(number / 2)), place, &[said]));
    }
    let meta = SlotMeta { blockhash: Hash::new_from_array([4; 32]), block_time: 77, ..SlotMeta::default() };
    write(&store, |batch| put_meta(batch, slot(3), &meta));
    let ask = |before: Option<u8>, until: Option<u8>, limit| {
        let name = |number: u8| Signature::from([number; 64]);
        let page = Page { before: before.map(name), until: until.map(name), limit };
        ledger.signatures_for_address(&key(1), &page, &|_| true).unwrap()
    };
    let numbers = |lines: Vec<AddressRecord>| lines.iter().map(|l| l.signature.as_ref()[0]).collect::<Vec<_>>();
    assert_eq!(numbers(ask(None, None, 1_000)), [6, 5, 4, 3, 2, 1]);
    assert_eq!(numbers(ask(None, None, 2)), [6, 5]);
    assert_eq!(numbers(ask(Some(5), None, 2)), [4, 3]);
    assert_eq!(numbers(ask(Some(5), Some(2), 9)), [4, 3]);
    assert_eq!(numbers(ask(None, Some(4), 9)), [6, 5]);
    assert_eq!(numbers(ask(Some(99), None, 9)), [0u8; 0], "an unknown start");
    assert_eq!(numbers(ask(None, Some(99), 2)), [6, 5], "an unknown end is no end");
    let lines = ask(None, None, 4);
    assert_eq!((lines[0].slot, lines[0].index, lines[0].block_time), (slot(3), 0, Some(77)));
    assert_eq!(lines[1].memo.as_deref(), Some("[2] hi"));
    assert_eq!((lines[3].err.clone(), lines[3].block_time), (full_meta().status.err(), None));
    // Loaded addresses count as named.
    let loaded = ledger.signatures_for_address(&key(21), &Page { limit: 9, ..Page::default() }, &|_| true).unwrap();
    assert_eq!(numbers(loaded), [3]);
    let page = Page { limit: 9, ..Page::default() };
    let even = ledger.signatures_for_address(&key(1), &page, &|s| s == slot(2)).unwrap();
    assert_eq!(numbers(even), [5, 4]);
}

#[test]
fn a_question_about_history_ends_after_so_many_rows() {
    let (store, ledger) = fresh();
    let records: Vec<_> = (0..HISTORY_SCAN_MAX + 2_000).map(|_| record(1, &[key(1), key(2)], b"")).collect();
    write(&store, |batch| put_transactions(batch, slot(9), 0, &records));
    write(&store, |batch| put_transactions(batch, slot(8), 0, &[record(2, &[key(1), key(2)], b"")]));
    let page = Page { limit: usize::MAX, ..Page::default() };
    assert_eq!(ledger.signatures_for_address(&key(1), &page, &|_| true).unwrap().len(), HISTORY_LIMIT);
    assert!(ledger.signatures_for_address(&key(1), &page, &|s| s == slot(8)).unwrap().is_empty());
}

#[test]
fn the_last_led_slot_survives_a_crash_once_durable() {
    let (store, ledger) = fresh();
    assert_eq!(ledger.last_led().unwrap(), None);
    let mut batch = Batch::default();
    put_led(&mut batch, slot(12));
    store.commit(&batch, true).unwrap();
    write(&store, |batch| put_led(batch, slot(16)));
    assert_eq!(ledger.last_led().unwrap(), Some(slot(16)));
    store.crash();
    assert_eq!(ledger.last_led().unwrap(), Some(slot(12)));
}

#[test]
fn a_directory_belongs_to_one_genesis_and_the_error_names_both() {
    let (store, ledger) = fresh();
    let (ours, other) = (Hash::new_from_array([1; 32]), Hash::new_from_array([2; 32]));
    ledger.claim(&ours).unwrap();
    store.crash();
    ledger.claim(&ours).unwrap();
    let refused = ledger.claim(&other).expect_err("another chain");
    assert!(matches!(refused, LedgerError::OtherGenesis { stored, wanted } if stored == ours && wanted == other));
    let text = refused.to_string();
    assert!(text.contains(&ours.to_string()) && text.contains(&other.to_string()), "{text}");
}

/// Everything of slots 0 to 9, with roots.
fn ten_slots() -> (Arc<MemoryStore>, Ledger) {
    let (store, ledger) = fresh();
    for number in 0..10u8 {
        let at = slot(u64::from(number));
        write(&store, |batch| {
            let shred = |index: u8| [&u64::from(number).to_be_bytes()[..], &u32::from(index).to_be_bytes()].concat();
            (0..8).for_each(|index| {
                batch.put(Space::DataShreds, shred(index), [vec![0; 4], vec![number; 1_203]].concat())
            });
            put_transactions(batch, at, 0, &[record(number, &[key(1), key(2)], b"")]);
            put_meta(batch, at, &SlotMeta::default());
            set_root(batch, at, &[]);
            put_timeline(batch, at, vec![number; 300]);
            put_duplicate(batch, at, vec![number; 2_500].into());
        });
    }
    (store, ledger)
}

fn rows(store: &MemoryStore) -> Vec<usize> {
    let spaces = [Space::DataShreds, Space::Slots, Space::Transactions, Space::Signatures, Space::Addresses];
    spaces.iter().map(|space| store.len(*space)).collect()
}

#[test]
fn purging_forgets_what_is_old_and_nothing_else() {
    let (store, ledger) = ten_slots();
    assert_eq!(rows(&store), [80, 40, 10, 10, 20]);
    let batch = ledger.purge(slot(7), 4_096).unwrap();
    store.commit(&batch, false).unwrap();
    assert_eq!(rows(&store), [24, 12, 3, 3, 6]);
    assert_eq!(ledger.lowest_slot().unwrap(), Some(slot(7)));
    assert_eq!((ledger.timeline(slot(6)).unwrap(), ledger.duplicate(slot(6)).unwrap()), (None, None));
    assert!(ledger.timeline(slot(7)).unwrap().is_some() && ledger.duplicate(slot(7)).unwrap().is_some());
    assert_eq!(ledger.root().unwrap(), Some(slot(9)));
    assert!(ledger.purge(slot(7), 4_096).unwrap().is_empty());
    assert!(ledger.purge(slot(3), 4_096).unwrap().is_empty());
}

#[test]
fn a_block_that_lost_leaves_nothing_but_the_proof_that_there_were_two() {
    let (store, ledger) = ten_slots();
    write(&store, |batch| put_settled(batch, slot(4), &Hash::new_from_array([4; 32])));
    let before = rows(&store);
    store.commit(&ledger.forget(slot(4), 8).unwrap(), false).unwrap();
    // Eight shreds; metadata, timeline and what was settled; a transaction with its rows.
    let gone: Vec<usize> = before.iter().zip(rows(&store)).map(|(before, now)| before - now).collect();
    assert_eq!(gone, [8, 3, 1, 1, 2]);
    assert!(ledger.data_shreds(slot(4)).unwrap().is_empty() && ledger.transactions(slot(4)).unwrap().is_empty());
    assert_eq!((ledger.slot_meta(slot(4)).unwrap(), ledger.timeline(slot(4)).unwrap()), (None, None));
    assert!(ledger.duplicate(slot(4)).unwrap().is_some());
    assert!([3, 5].iter().all(|other| ledger.data_shreds(slot(*other)).unwrap().len() == 8), "its neighbours stay");
    store.commit(&ledger.forget(slot(4), 8).unwrap(), false).unwrap();
    store.crash();
    assert_eq!(ledger.data_shreds(slot(4)).unwrap().len(), 0, "nothing was durable here");
}

#[test]
fn shreds_that_wait_to_be_written_go_with_the_block_that_lost() {
    let (store, ledger) = fresh();
    let batch = ledger.forget(slot(4), 3).unwrap();
    assert_eq!(batch.writes.iter().filter(|write| matches!(write, Write::Delete(Space::DataShreds, _))).count(), 3);
    let endless = ledger.forget(slot(4), u32::MAX).unwrap();
    assert!(endless.writes.len() < 40_000, "no more than a slot may have: {}", endless.writes.len());
    store.commit(&batch, false).unwrap();
    assert!(store.is_empty());
}

/// A chain of executed blocks 1 to 40, of which 1 to 20 are rooted, with a bank hash each.
fn chain() -> (Arc<MemoryStore>, Ledger) {
    let (store, ledger) = fresh();
    for number in 1..=40 {
        let hash = Hash::new_from_array([number; 32]);
        let parent = slot(u64::from(number) - 1);
        let meta = SlotMeta { parent, bank_hash: hash, blockhash: hash, ..SlotMeta::default() };
        write(&store, |batch| put_meta(batch, slot(number.into()), &meta));
    }
    let rooted: Vec<_> = (1..20).map(slot).collect();
    write(&store, |batch| set_root(batch, slot(20), &rooted));
    (store, ledger)
}

#[test]
fn ancestors_are_told_of_what_is_rooted_or_settled_and_of_nothing_else() {
    let (store, ledger) = chain();
    let slots = |of: u64| -> Vec<u64> {
        let hashes = ledger.ancestor_hashes(slot(of), 30).unwrap();
        assert!(hashes.iter().all(|(at, hash)| u64::from(hash.to_bytes()[0]) == at.get()));
        hashes.iter().map(|(at, _)| at.get()).collect()
    };
    assert_eq!(slots(20), (1..=20).rev().collect::<Vec<_>>());
    assert_eq!((slots(30), slots(50)), (vec![], vec![]));
    write(&store, |batch| put_settled(batch, slot(35), &Hash::new_from_array([35; 32])));
    write(&store, |batch| put_settled(batch, slot(36), &Hash::new_from_array([99; 32])));
    assert_eq!(slots(35), (6..=35).rev().collect::<Vec<_>>(), "no more than may be in an answer");
    assert_eq!(slots(36), Vec::<u64>::new(), "another version is settled than the one here");
    write(&store, |batch| put_meta(batch, slot(30), &SlotMeta { parent: slot(29), ..SlotMeta::default() }));
    assert_eq!(slots(35), (31..=35).rev().collect::<Vec<_>>(), "as far as they were executed");
}

#[test]
fn slots_with_shreds_are_listed_in_order() {
    let (store, ledger) = ten_slots();
    write(&store, |batch| batch.delete(Space::DataShreds, [&7u64.to_be_bytes()[..], &[0; 4]].concat()));
    assert_eq!(ledger.shred_slots(slot(6), 9).unwrap(), [6, 7, 8, 9].map(slot));
    assert_eq!(ledger.shred_slots(slot(0), 3).unwrap(), [0, 1, 2].map(slot));
    assert!(ledger.shred_slots(slot(10), 9).unwrap().is_empty());
}

#[test]
fn purging_in_small_steps_comes_to_the_same() {
    let (store, ledger) = ten_slots();
    let mut steps = 0;
    loop {
        let batch = ledger.purge(slot(7), 5).unwrap();
        if batch.is_empty() {
            break;
        }
        assert!(batch.writes.len() <= 5 * 4 + 1);
        store.commit(&batch, false).unwrap();
        steps += 1;
    }
    assert!(steps > 10, "{steps}");
    assert_eq!(rows(&store), [24, 12, 3, 3, 6]);
}

#[test]
fn purging_removes_what_does_not_decode() {
    let (store, ledger) = ten_slots();
    write(&store, |batch| batch.put(Space::Transactions, [0u8; 12].to_vec(), b"broken".to_vec()));
    store.commit(&ledger.purge(slot(10), 4_096).unwrap(), false).unwrap();
    assert_eq!(store.len(Space::Transactions), 0);
}

#[test]
fn truncated_values_are_named_and_not_taken_for_missing() {
    let (store, ledger) = fresh();
    let whole = TransactionRecord { meta: full_meta(), ..record(1, &[key(1), key(9)], b"") };
    write(&store, |batch| {
        put_transactions(batch, slot(1), 0, std::slice::from_ref(&whole));
        put_meta(batch, slot(1), &SlotMeta::default());
        put_led(batch, slot(1));
        set_root(batch, slot(1), &[]);
    });
    for space in [Space::Transactions, Space::Slots, Space::Singles, Space::Signatures, Space::Addresses] {
        for (name, value) in store.range(space, &[], &[0xff; 80], 99).unwrap() {
            for length in 0..value.len() {
                write(&store, |batch| batch.put(space, name.clone(), value.slice(..length)));
                let page = Page { limit: 9, ..Page::default() };
                let reads = [
                    ledger.transactions(slot(1)).is_err(),
                    ledger.slot_meta(slot(1)).is_err(),
                    ledger.root().is_err() || ledger.last_led().is_err(),
                    ledger.places(&whole.signature()).is_err(),
                    [1, 9, 20, 21, 22]
                        .iter()
                        .any(|a| ledger.signatures_for_address(&key(*a), &page, &|_| true).is_err()),
                ];
                assert!(reads.contains(&true), "{space:?} cut to {length} of {}", value.len());
            }
            write(&store, |batch| batch.put(space, name.clone(), value.clone()));
        }
    }
    assert_eq!(ledger.transactions(slot(1)).unwrap(), [whole]);
}

fn error() -> impl Strategy<Value = TransactionError> {
    prop_oneof![
        Just(TransactionError::AccountNotFound),
        any::<u8>().prop_map(TransactionError::DuplicateInstruction),
        any::<u8>().prop_map(|account_index| TransactionError::InsufficientFundsForRent { account_index }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_round_trip(
        error in proptest::option::of(error()),
        balances in proptest::collection::vec(any::<u64>(), 0..9),
        logs in proptest::option::of(proptest::collection::vec(".*", 0..4)),
        data in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let (store, ledger) = fresh();
        let meta = StatusMeta {
            status: error.map_or(Ok(()), Err), pre_balances: balances, logs, ..full_meta()
        };
        let whole = TransactionRecord { meta, ..record(3, &[key(1), key(9)], &data) };
        write(&store, |batch| put_transactions(batch, slot(1), 0, std::slice::from_ref(&whole)));
        prop_assert_eq!(ledger.transaction_at(slot(1), 0).unwrap(), Some(whole));
    }

    #[test]
    fn mutated_and_random_values_never_panic(
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
        noise in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let (store, ledger) = fresh();
        let whole = TransactionRecord { meta: full_meta(), ..record(1, &[key(1), key(9)], b"") };
        write(&store, |batch| {
            put_transactions(batch, slot(1), 0, &[whole]);
            put_meta(batch, slot(1), &SlotMeta::default());
        });
        for space in [Space::Transactions, Space::Slots, Space::Signatures, Space::Addresses] {
            for (name, value) in store.range(space, &[], &[0xff; 80], 99).unwrap() {
                let mut mutated = value.to_vec();
                for (at, flip) in &flips {
                    let at = at % mutated.len();
                    mutated[at] ^= flip;
                }
                for bytes in [mutated, noise.clone()] {
                    write(&store, |batch| batch.put(space, name.clone(), bytes));
                    let page = Page { limit: 9, ..Page::default() };
                    let _ = (ledger.transactions(slot(1)), ledger.slot_meta(slot(1)), ledger.block(slot(1)));
                    let _ = ledger.transaction(&Signature::from([1; 64]));
                    let _ = ledger.signatures_for_address(&key(1), &page, &|_| true);
                    let _ = ledger.purge(slot(2), 9);
                }
            }
        }
    }
}
