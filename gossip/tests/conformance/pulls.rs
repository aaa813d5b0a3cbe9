//! Pull requests: which bits their filters set, which hashes they cover, and what they are answered with.

use crate::{
    messages::check_value,
    vectors::{bytes, family, file, hash, list, number, pubkey, text, truth, values_of},
};
use serde_json::Value;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use sundog_gossip::{
    CrdsValue,
    bloom::{Bloom, fnv},
    limits::Host,
    pull::{Caller, Pull, Request},
    push::StakeGate,
    table::{Limits, Stakes, Table},
    wire::{
        CrdsFilter, Protocol,
        codec::{Reader, Writer},
        hash_prefix,
    },
};
use sundog_types::{Hash, Now, Pubkey};

fn messages(gossip: &Value) -> BTreeMap<&str, Protocol> {
    let decode = |case: &Value| Protocol::decode(&bytes(&case["bytes"])).expect("decodes");
    family(gossip, "messages").iter().map(|case| (text(&case["name"]), decode(case))).collect()
}

#[test]
fn pull_requests_carry_the_filter_and_are_answered_with_the_same_values() {
    let gossip = file("gossip.json");
    let messages = messages(&gossip);
    for case in family(&gossip, "pull_requests") {
        let name = text(&case["message"]);
        let Some(Protocol::PullRequest(filter, caller)) = messages.get(name) else {
            panic!("{name} is not among the messages");
        };
        check_filter(name, filter, case);
        check_value(name, caller, &case["caller_value"]);
        assert_eq!(caller.origin(), pubkey(&case["caller"]["pubkey"]), "{name}");
        let answered = &case["answered_with"];
        let mut expected: Vec<Hash> = list(&answered["value_hashes"]).iter().map(hash).collect();
        let shred_version = number(&answered["own_shred_version"]) as u16;
        let all = messages.values().flat_map(values_of);
        let mut found = answer(all, filter, caller, shred_version);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{name}");
    }
}

fn answer<'a>(
    values: impl Iterator<Item = &'a CrdsValue>,
    filter: &CrdsFilter,
    caller: &CrdsValue,
    shred_version: u16,
) -> Vec<Hash> {
    let now = Now { mono_us: 0, unix_ms: caller.wallclock() };
    let mut table = Table::new(Pubkey::default(), Limits::default());
    for value in values {
        table.offer(now, value.clone());
    }
    let gate = StakeGate::new(Stakes::default());
    let mut pull = Pull::new();
    pull.set_staked(1_000);
    let host = Host::of(&SocketAddr::from(([10, 0, 0, 1], 8_001)));
    let caller = Caller { host, staked: true, wallclock: caller.wallclock() };
    let request = Request { filter, caller, shred_version, gate: &gate };
    let mut rng = rand_chacha::rand_core::SeedableRng::from_seed([3; 32]);
    let later = now.after(Duration::from_secs(1));
    let answer = pull.answer(later, &request, &table, &mut rng);
    assert_eq!(answer.over_budget, 0);
    let read = |bytes: &bytes::Bytes| CrdsValue::read(&mut Reader::new(bytes)).expect("a value");
    answer.values.iter().map(|bytes| *read(bytes).hash()).collect()
}

fn check_filter(name: &str, filter: &CrdsFilter, case: &Value) {
    let keys: Vec<u64> = list(&case["keys"]).iter().map(number).collect();
    assert_eq!(filter.bloom.keys(), keys, "{name}");
    assert_eq!(filter.bloom.bits().len(), number(&case["num_bits"]), "{name}");
    assert_eq!(filter.mask, number(&case["mask"]), "{name}");
    assert_eq!(u64::from(filter.mask_bits), number(&case["mask_bits"]), "{name}");
    let partition = filter.mask.checked_shr(64 - filter.mask_bits).unwrap_or(0);
    assert_eq!(CrdsFilter::mask_of(partition, filter.mask_bits), filter.mask, "{name}");
    let mut writer = Writer::new();
    filter.write(&mut writer);
    assert_eq!(writer.into_bytes(), bytes(&case["crds_filter"]), "{name}");
    let mut made = Bloom::new(number(&case["num_bits"]) as u32, keys);
    for inside in list(&case["hashes_inside"]) {
        made.add(&hash(inside));
    }
    assert_eq!(encoded(&made), bytes(&case["bloom"]), "{name}");
    assert_eq!(made, filter.bloom, "{name}");
    let (low, high) = filter.range();
    for probe in list(&case["probes"]) {
        let probed = hash(&probe["hash"]);
        assert_eq!(filter.bloom.contains(&probed), truth(&probe["in_bloom"]), "{name}: {probed}");
        assert_eq!(filter.covers(&probed), truth(&probe["in_partition"]), "{name}: {probed}");
        assert_eq!((low..=high).contains(&hash_prefix(&probed)), filter.covers(&probed), "{name}: {probed}");
    }
}

fn encoded(bloom: &Bloom) -> Vec<u8> {
    let mut writer = Writer::new();
    bloom.write(&mut writer);
    writer.into_bytes()
}

#[test]
fn bits_of_a_mask_below_the_partition_do_not_count() {
    let hash = Hash::new_from_array([0xa5; 32]);
    for mask_bits in 0..=66u32 {
        let below = u64::MAX.checked_shr(mask_bits).unwrap_or(0);
        let bloom = Bloom::new(64, vec![1]);
        let exact = CrdsFilter { bloom, mask: hash_prefix(&hash) | below, mask_bits };
        let sloppy = CrdsFilter { mask: hash_prefix(&hash) & !below, ..exact.clone() };
        for filter in [exact, sloppy] {
            assert!(filter.covers(&hash), "{mask_bits}");
            assert_eq!(filter.range(), (hash_prefix(&hash) & !below, hash_prefix(&hash) | below), "{mask_bits}");
        }
    }
}

#[test]
fn bloom_filters_set_the_reference_bits() {
    for case in family(&file("misc.json"), "bloom") {
        let keys: Vec<u64> = list(&case["keys"]).iter().map(number).collect();
        let mut bloom = Bloom::new(number(&case["num_bits"]) as u32, keys.clone());
        for added in list(&case["added"]) {
            let item = hash(&added["hash"]);
            for (index, key) in keys.iter().enumerate() {
                assert_eq!(fnv(*key, &item), number(&added["fnv_by_key"][index]));
                assert_eq!(bloom.position(*key, &item), number(&added["positions"][index]));
            }
            bloom.add(&item);
        }
        let set: Vec<u64> = list(&case["bits_set"]).iter().map(number).collect();
        assert_eq!(bloom.bits().ones().collect::<Vec<_>>(), set);
        for probe in list(&case["contains"]) {
            assert_eq!(bloom.contains(&hash(&probe[0])), truth(&probe[1]));
        }
        let wire = bytes(&case["bincode"]);
        assert_eq!(encoded(&bloom), wire);
        assert_eq!(Bloom::read(&mut Reader::new(&wire)), Ok(bloom));
    }
}
