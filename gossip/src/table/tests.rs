//! What the table keeps, for how long, and what it takes.

use super::*;
use crate::wire::{
    contact::ContactInfo,
    duplicate::DuplicateShred,
    kinds::{LowestSlot, SnapshotHashes, Vote},
    slots::EpochSlots,
};
use proptest::prelude::*;
use solana_transaction::Transaction;
use sundog_types::{
    Signature,
    peer::Addresses,
    sign::{Sign, SignRole},
};

/// When every test begins.
pub(crate) const START: Now = Now { mono_us: 1_000_000_000_000, unix_ms: 1_760_000_000_000 };

/// Signs nothing, fast: the table does not look at signatures.
struct Unsigned(Pubkey);

impl Sign for Unsigned {
    fn identity(&self) -> Pubkey {
        self.0
    }

    fn sign(&self, _: SignRole, _: &[u8]) -> Signature {
        Signature::from([7; 64])
    }
}

/// The key of node `number`.
pub(crate) fn node(number: u32) -> Pubkey {
    let mut bytes = [1; 32];
    bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    Pubkey::new_from_array(bytes)
}

fn vote(instructions: usize) -> Vote {
    let data = sundog_types::vote::VoteInstruction {
        kind: sundog_types::vote::VoteKind::TowerSync,
        slots: (100..131).map(|slot| (slot, (131 - slot) as u32)).collect(),
        root: Some(99),
        hash: Hash::default(),
        timestamp: Some(1),
        block_id: Hash::default(),
        switch_proof: None,
    };
    let mut transaction = Transaction::default();
    let mut first = solana_transaction::CompiledInstruction::new_from_raw_parts(1, Vec::new(), vec![0]);
    first.data = data.encode().expect("a vote");
    transaction.signatures = vec![Signature::default()];
    transaction.message.account_keys = vec![node(1), solana_vote_interface::program::ID];
    transaction.message.instructions = vec![first; 1];
    let empty = solana_transaction::CompiledInstruction::new_from_raw_parts(1, Vec::new(), Vec::new());
    transaction.message.instructions.extend(vec![empty; instructions - 1]);
    Vote::new(node(1), transaction, 0).expect("a vote")
}

/// What node `number` says under the label with this kind and index.
pub(crate) fn value(number: u32, (kind, index): (Kind, u32), wallclock: u64) -> CrdsValue {
    let index = u16::try_from(index).expect("small");
    let short = u8::try_from(index % 256).expect("small");
    let from = node(number);
    let mut data = match kind {
        Kind::ContactInfo => CrdsData::ContactInfo(Box::new(ContactInfo::new(from, 1, 1, &Addresses::default()))),
        Kind::Vote => CrdsData::Vote(short, vote(1)),
        Kind::LowestSlot => CrdsData::LowestSlot(0, LowestSlot::new(from, 5, 0)),
        Kind::EpochSlots => CrdsData::EpochSlots(short, EpochSlots { from, parts: Vec::new(), wallclock }),
        Kind::DuplicateShred => CrdsData::DuplicateShred(
            index,
            DuplicateShred {
                from,
                wallclock,
                slot: 1,
                unused_index: 0,
                unused_type: 0,
                num_chunks: 3,
                chunk_index: 0,
                chunk: vec![0; 1_000],
            },
        ),
        _ => CrdsData::SnapshotHashes(SnapshotHashes {
            from,
            full: (1, Hash::default()),
            incremental: Vec::new(),
            wallclock,
        }),
    };
    data.restamp(from, wallclock);
    CrdsValue::sign(data, &Unsigned(from))
}

fn limits(origins: usize, values: usize) -> Limits {
    Limits { origins, values, ..Limits::default() }
}

fn stakes(of: &[(u32, u64)]) -> Stakes {
    Arc::new(of.iter().map(|(number, stake)| (node(*number), *stake)).collect())
}

const CONTACT: (Kind, u32) = (Kind::ContactInfo, 0);

proptest! {
    /// The plainest table: values by label.
    #[test]
    fn it_finds_in_every_order_what_a_plain_map_would_hold(
        steps in prop::collection::vec((0..6u32, 0..5u32, 0..6u64, 0..20u64), 1..300),
    ) {
        let kinds = [CONTACT, (Kind::Vote, 0), (Kind::Vote, 31), (Kind::LowestSlot, 0), (Kind::EpochSlots, 9)];
        let mut table = Table::new(node(0), Limits::default());
        table.set_stakes(stakes(&[(1, 5)]));
        let mut model: BTreeMap<Label, (CrdsValue, Now)> = BTreeMap::new();
        let (mut seen, mut now, mut history) = (BTreeMap::new(), START, Vec::new());
        for (number, kind, wallclock, wait) in steps {
            now = now.after(Duration::from_millis(wait * 100));
            let value = value(number, kinds[kind as usize], wallclock);
            let label = value.label();
            let newer = model.get(&label).is_none_or(|(old, _)| {
                (old.wallclock(), old.hash()) < (value.wallclock(), value.hash())
            });
            prop_assert_eq!(table.offer(now, value.clone()).is_taken(), newer);
            if newer {
                seen.entry(label.origin).or_insert(now);
                if label.kind == Kind::ContactInfo {
                    seen.insert(label.origin, now);
                }
                history.retain(|old: &CrdsValue| old.label() != label);
                history.push(value.clone());
                model.insert(label, (value, now));
            }
            let silent = |label: &Label, at: Now| {
                let unstaked = label.origin != node(0) && label.origin != node(1);
                unstaked && now.since(seen[&label.origin]).min(now.since(at)) >= UNSTAKED_LASTS
            };
            model.retain(|label, (_, at)| !silent(label, *at));
            table.expire(now);
            history.retain(|value| model.contains_key(&value.label()));
            seen.retain(|node, _| model.keys().any(|label| label.origin == *node));
            prop_assert_eq!(table.since(0).map(|(_, filed)| filed.value.clone()).collect::<Vec<_>>(), history.clone());
        }
        prop_assert_eq!(table.len(), model.len());
        let all: Vec<_> = table.origins().flat_map(|node| table.values_of(node)).collect();
        prop_assert!(all.iter().map(|(label, filed)| (*label, filed.value.clone())).eq(
            model.iter().map(|(label, (value, _))| (*label, value.clone()))
        ));
        for (label, (value, at)) in &model {
            let filed = table.get(label).expect("there");
            prop_assert_eq!((&filed.value, filed.received), (value, *at));
        }
        let mut prefixes: Vec<u64> = model.values().map(|(value, _)| hash_prefix(value.hash())).collect();
        prefixes.sort_unstable();
        let found: Vec<u64> = table.by_prefix(0..=u64::MAX).map(|filed| hash_prefix(filed.value.hash())).collect();
        prop_assert_eq!(found, prefixes);
        prop_assert!(table.held_bytes() <= table.limits.held_bytes_max());
    }

    #[test]
    fn nobody_with_less_stake_displaces_anybody_with_as_much(
        steps in prop::collection::vec((0..12u32, 0..4u32), 1..200),
        stake in prop::collection::vec(0..4u64, 12),
        bytes in 1_500..20_000usize,
    ) {
        let kinds = [CONTACT, (Kind::Vote, 0), (Kind::LowestSlot, 0), (Kind::DuplicateShred, 9)];
        let limits = Limits { bytes, ..limits(4, 9) };
        let mut table = Table::new(node(0), limits);
        let staked: Vec<(u32, u64)> = (0..).zip(stake).collect();
        table.set_stakes(stakes(&staked));
        let mut before = Vec::new();
        for (wallclock, (number, kind)) in (1..).zip(steps) {
            let outcome = table.offer(START, value(number, kinds[kind as usize], wallclock));
            let own: usize = table.values_of(&node(0)).map(|(_, filed)| filed.bytes).sum();
            prop_assert!(table.bytes - own <= bytes && table.len() <= 9 + 4 && table.origins.len() <= 5);
            let gone = |node: &Pubkey| !table.origins.contains_key(node);
            let stake = table.stake(&node(number));
            prop_assert!(before.iter().filter(|node| gone(node)).all(|node| table.stake(node) < stake));
            if outcome == Offered::Full {
                prop_assert!(number != 0 && table.by_stake.first().is_none_or(|(least, _)| *least >= stake));
            }
            before = table.origins().copied().collect();
        }
        prop_assert_eq!(table.bytes, table.since(0).map(|(_, filed)| filed.bytes).sum::<usize>());
    }
}

#[test]
fn a_full_table_takes_no_more_memory_than_it_says() {
    let mut table = Table::new(node(0), Limits::default());
    let number_of = |count: usize| u32::try_from(count).expect("small");
    let per_node = number_of(VALUES_MAX / ORIGINS_MAX);
    for number in 1..=number_of(ORIGINS_MAX) + 100 {
        for index in 0..per_node {
            let outcome = table.offer(START, value(number, (Kind::EpochSlots, index), 1));
            assert_eq!(outcome == Offered::Full, number > number_of(ORIGINS_MAX), "node {number}");
        }
    }
    for index in 0..255 {
        assert_eq!(table.offer(START, value(0, (Kind::EpochSlots, index), 1)), Offered::New, "our own always fit");
    }
    assert_eq!((table.len(), table.origins().count()), (VALUES_MAX + 255, ORIGINS_MAX + 1));
    // What is replaced fills the memory of hashes; the log of the order is swept.
    for number in 1..=number_of(ORIGINS_MAX) / 2 {
        for index in 0..per_node {
            assert_eq!(table.offer(START, value(number, (Kind::EpochSlots, index), 2)), Offered::Newer);
        }
    }
    for number in 0..number_of(REFUSED_MAX) + 10 {
        table.refuse(START, Hash::new_from_array(node(number).to_bytes()));
    }
    assert_eq!(table.hashes_len(), VALUES_MAX + 255 + PURGED_MAX + REFUSED_MAX);
    assert!(table.held_bytes() <= HELD_BYTES_MAX, "{} of {HELD_BYTES_MAX}", table.held_bytes());
    const { assert!(HELD_BYTES_MAX < 600_000_000) };
    let after = START.after(Limits::default().staked_lasts);
    assert_eq!(table.expire(after), VALUES_MAX);
    table.expire(after.after(PURGED_LASTS + Duration::from_secs(1)));
    assert_eq!((table.len(), table.hashes_len()), (255, 255));
}

#[test]
fn values_made_to_be_large_in_memory_meet_the_limit_of_bytes() {
    let large = |number: u32, index| {
        let mut data = CrdsData::Vote(index, vote(220));
        data.restamp(node(number), 1);
        CrdsValue::sign(data, &Unsigned(node(number)))
    };
    let value = large(1, 0);
    assert!(value.bytes().len() < 1_188 && value.held_bytes() > 13_000, "{} bytes", value.held_bytes());
    let mut table = Table::new(node(0), Limits { bytes: 1_000_000, ..Limits::default() });
    let taken = (0..100).filter(|number| table.offer(START, large(number % 50 + 1, (number / 50) as u8)).is_taken());
    let taken = taken.count();
    assert!((60..80).contains(&taken), "{taken}");
    assert!(table.held_bytes() <= table.limits.held_bytes_max());
    // A small value cannot grow past the limit either.
    let mut table = Table::new(node(0), Limits { bytes: 14_500, ..Limits::default() });
    for number in 1..=5 {
        assert_eq!(table.offer(START, self::value(number, (Kind::Vote, 0), 0)), Offered::New);
    }
    assert_eq!(table.offer(START, large(1, 0)), Offered::Full);
    table.set_stakes(stakes(&[(1, 9), (2, 9)]));
    assert_eq!(table.offer(START, large(1, 0)), Offered::Full, "what has as much stake leaves too little room");
    assert_eq!(table.origins().count(), 2, "those without stake made room all the same");
    assert_eq!(table.offer(START, self::value(1, (Kind::Vote, 0), 0)), Offered::Duplicate);
}

#[test]
fn who_is_silent_is_forgotten_by_stake_and_never_we_ourselves() {
    let seconds = |count| START.after(Duration::from_secs(count));
    let filled = |stake: &[(u32, u64)]| {
        let limits = Limits { staked_lasts: Duration::from_secs(100), ..Limits::default() };
        let mut table = Table::new(node(0), limits);
        table.set_stakes(stakes(stake));
        for number in 0..3 {
            table.offer(START, value(number, CONTACT, 1));
            table.offer(START, value(number, (Kind::Vote, 0), 1));
        }
        table
    };
    let mut table = filled(&[(1, 1)]);
    assert_eq!(table.expire(seconds(14)), 0);
    assert_eq!(table.expire(seconds(15)), 2, "node 2 has no stake");
    assert_eq!(table.expire(seconds(99)), 0);
    assert_eq!(table.expire(seconds(100)), 2, "node 1 has some");
    assert_eq!(table.expire(seconds(1_000_000)), 0, "we ourselves stay");
    let mut table = filled(&[]);
    assert_eq!((table.expire(seconds(99)), table.expire(seconds(100))), (0, 4), "nobody can be told apart");
    let limits = Limits { staked_lasts: Duration::from_secs(1), ..Limits::default() };
    assert_eq!(Table::new(node(0), limits).lasts(&node(1)), UNSTAKED_LASTS, "an epoch shorter than that");
}

#[test]
fn a_renewed_contact_info_keeps_all_that_its_node_said_and_a_vote_only_itself() {
    let seconds = |count| START.after(Duration::from_secs(count));
    let mut table = Table::new(node(0), Limits::default());
    table.set_stakes(stakes(&[(9, 1)]));
    for kind in [CONTACT, (Kind::Vote, 0), (Kind::LowestSlot, 0)] {
        table.offer(START, value(1, kind, 1));
    }
    table.offer(seconds(10), value(1, CONTACT, 2));
    assert_eq!(table.expire(seconds(24)), 0);
    table.offer(seconds(24), value(1, (Kind::Vote, 1), 2));
    assert_eq!(table.expire(seconds(25)), 3, "contact info, old vote and lowest slot");
    assert!(table.contact(&node(1)).is_none());
    assert_eq!(table.expire(seconds(39)), 1, "the later vote");
    assert_eq!(table.origins().count(), 0);
}

#[test]
fn hashes_of_what_left_are_kept_longer_than_those_of_what_was_refused() {
    let seconds = |count| START.after(Duration::from_secs(count));
    let mut table = Table::new(node(0), Limits::default());
    table.offer(START, value(1, CONTACT, 1));
    table.offer(START, value(1, CONTACT, 2));
    table.refuse(START, Hash::default());
    let mut lengths = Vec::new();
    for second in [0, 20, 21, 75, 76] {
        table.expire(seconds(second));
        lengths.push(table.hashes_len());
    }
    assert_eq!(lengths, [3, 3, 2, 2, 1]);
}

#[test]
fn retired_kinds_are_not_kept_and_each_refusal_has_its_reason() {
    use crate::wire::retired::{Retired, RetiredKind};
    let (kind, from) = (RetiredKind::NodeInstance, node(1));
    let retired = Retired { kind, from, wallclock: 1, highest_slot: 0, bytes: vec![0; 56] };
    let value = CrdsValue::sign(CrdsData::Retired(retired), &Unsigned(from));
    assert_eq!(Table::new(node(0), Limits::default()).offer(START, value), Offered::Retired);
    let reasons = [Offered::Duplicate, Offered::Stale, Offered::Full, Offered::Retired].map(Offered::refusal);
    assert!(reasons.iter().all(Option::is_some));
    assert_eq!((Offered::New.refusal(), Offered::Newer.refusal()), (None, None));
}
