//! `shreds.json` and `shreds/*.bin`.

use crate::vectors::{array, base64, family, file, list, number, signer, text};
use bytes::Bytes;
use serde_json::Value;
use sundog_turbine::{Codec, FecSet, RecoverError, Shredder};
use sundog_types::{
    Hash, Pubkey, ShredIndex, Signature, Slot,
    shred::{
        DropReason, FilterContext, Gate, Gates, Kind, Shred, ShredError, Signed, View, filter, merkle, signature_holds,
    },
    sign::Sign as _,
};

/// What the leader of a case makes of its entries.
fn shred_case(case: &Value) -> Vec<FecSet> {
    let slot = Slot::new(number(case, "slot"));
    let parent = Slot::new(number(case, "parent_slot"));
    let version = u16::try_from(number(case, "shred_version")).expect("u16");
    let chained = Hash::new_from_array(array(&case["chained_merkle_root"]));
    let index = |key| ShredIndex::new(u32::try_from(number(case, key)).expect("u32"));
    let mut shredder = Shredder::new(slot, parent, version, chained)
        .expect("a parent that fits")
        .continue_at(index("next_shred_index"), index("next_code_index"));
    let tick = u8::try_from(number(case, "reference_tick")).expect("u8");
    let last = case["is_last_in_slot"].as_bool().expect("bool");
    let batch = base64(&case["entries"]);
    assert_eq!(Shredder::sets_for(batch.len(), last), list(case, "fec_sets").len());
    let sets = shredder.shred(&batch, tick, last, &signer(&case["leader"])).expect("room");
    let next = Hash::new_from_array(array(&case["next_chained_merkle_root"]));
    assert_eq!(shredder.chained_root(), next, "{}", text(case, "name"));
    sets
}

fn case_named<'a>(vectors: &'a Value, name: &Value) -> &'a Value {
    list(vectors, "cases").iter().find(|case| case["name"] == *name).expect("a case")
}

#[test]
fn entries_are_shredded_byte_for_byte() {
    for case in list(&family("shreds.json"), "cases") {
        let name = text(case, "name");
        let (expected, sets) = (file(text(case, "file")), shred_case(case));
        let made = sets.iter().flat_map(|set| set.data.iter().chain(&set.code));
        let mut offset = 0;
        for shred in made {
            let size = shred.payload().len();
            assert_eq!(shred.payload()[..], expected[offset..offset + size], "{name} {:?}", shred.id());
            offset += size;
        }
        assert_eq!(offset, expected.len(), "{name}");
        for (set, expected) in sets.iter().zip(list(case, "fec_sets")) {
            assert_eq!(set.root, Hash::new_from_array(array(&expected["merkle_root"])), "{name}");
            assert_eq!(set.data.len() as u64, number(expected, "num_data"));
            assert_eq!(set.code.len() as u64, number(expected, "num_code"));
            let signature = Signature::from(array::<64>(&expected["leader_signature"]));
            assert!(set.data.iter().chain(&set.code).all(|s| s.signature() == signature));
        }
    }
}

#[test]
fn shreds_of_the_reference_parse_verify_and_show_their_fields() {
    for case in list(&family("shreds.json"), "cases") {
        let bytes = Bytes::from(file(text(case, "file")));
        let leader = Pubkey::new_from_array(array(&case["leader"]["pubkey"]));
        for set in list(case, "fec_sets") {
            let mut offset = number(set, "offset_in_file") as usize;
            for place in 0..64 {
                let size = if place < 32 { 1_203 } else { 1_228 };
                let shred = Shred::raw(bytes.slice(offset..offset + size)).parse().expect("parses");
                let shred = shred.verify(&leader, signature_holds).expect("is signed");
                offset += size;
                assert_eq!(shred.leaf_index(), place);
                assert_eq!(shred.slot().get(), number(case, "slot"));
                assert_eq!(u64::from(shred.fec_set_index().get()), number(set, "fec_set_index"));
                assert_eq!(shred.resigned(), set["resigned"].as_bool().expect("bool"));
                let chained = Hash::new_from_array(array(&set["chained_merkle_root"]));
                assert_eq!(shred.chained_merkle_root(), chained);
                if shred.kind() == Kind::Data {
                    assert_eq!(shred.parent().map(Slot::get), case["parent_slot"].as_u64());
                    assert_eq!(u64::from(shred.flags()), set["data_flags"][place]);
                    assert_eq!(shred.data().len() as u64 + 88, set["data_sizes"][place]);
                } else {
                    assert_eq!((shred.num_data(), shred.num_code()), (32, 32));
                }
            }
        }
    }
}

#[test]
fn lost_shreds_come_back_byte_for_byte_or_not_at_all() {
    let (vectors, codec) = (family("shreds.json"), Codec::new());
    for attempt in list(&vectors, "recovery") {
        let what = text(attempt, "what");
        let sets = shred_case(case_named(&vectors, &attempt["case"]));
        let wanted = number(attempt, "fec_set_index");
        let set = sets.iter().find(|set| u64::from(set.data[0].fec_set_index().get()) == wanted).expect("the set");
        let all = set.data.iter().chain(&set.code).collect::<Vec<_>>();
        let present = crate::vectors::indexes(&attempt["present_erasure_shards"]);
        let given = present.iter().map(|place| all[*place].clone()).collect::<Vec<_>>();
        let result = codec.recover(&given);
        let Some(expected) = attempt["result"]["recovered"].as_array() else {
            let refused = matches!(result, Err(RecoverError::TooFew(31) | RecoverError::NoCode));
            assert!(refused, "{what}: {result:?}");
            continue;
        };
        let recovered = result.unwrap_or_else(|error| panic!("{what}: {error}"));
        let ids = recovered.iter().map(|shred| serde_json::json!([shred.kind().to_string(), shred.index().get()]));
        assert_eq!(ids.collect::<Vec<_>>(), *expected, "{what}");
        for shred in &recovered {
            assert_eq!(shred.payload(), all[shred.leaf_index()].payload(), "{what}");
        }
    }
}

#[test]
fn a_retransmitter_signs_where_the_variant_has_room() {
    let vectors = family("shreds.json");
    for sample in list(&vectors, "retransmitter_signature") {
        let sets = shred_case(case_named(&vectors, &sample["case"]));
        let of_kind = |set: &FecSet| {
            if sample["type"] == "data" { set.data.clone() } else { set.code.clone() }
        };
        let shred = sets
            .iter()
            .flat_map(of_kind)
            .find(|shred| u64::from(shred.index().get()) == number(sample, "index"))
            .expect("the shred");
        let retransmitter = signer(&sample["retransmitter"]);
        let before = shred.clone();
        let after = shred.resign(&retransmitter);
        assert!(!after.differs_from(&before));
        let Some(offset) = sample["result"]["offset"].as_u64() else {
            assert_eq!(after.payload(), before.payload());
            let refused = before.set_retransmitter_signature(&Signature::default());
            assert_eq!(refused.err(), Some(ShredError::NotResigned));
            continue;
        };
        let zero = Some(before.retransmitter_signature() == Some(Signature::default()));
        assert_eq!(zero, sample["leader_left_retransmitter_signature_zero"].as_bool());
        let expected = Signature::from(array::<64>(&sample["result"]["signature"]));
        assert_eq!(after.retransmitter_signature(), Some(expected));
        assert_eq!(after.variant().retransmitter_range().start as u64, offset);
        let root = after.merkle_root();
        assert!(signature_holds(&retransmitter.identity(), root.as_ref(), &expected));
    }
}

/// The reference's name for a reason to drop: it has fewer names for shape and range, more for ends.
fn name_in_reference(reason: DropReason, datagram: &[u8]) -> &'static str {
    match reason {
        DropReason::TooShort | DropReason::BadVariant => "index_overrun",
        DropReason::ShredVersion => "shred_version_mismatch",
        DropReason::SlotTooFar | DropReason::SlotRooted => "slot_out_of_range",
        DropReason::BadParent => match View::read(datagram).expect("readable").parent() {
            Some(_) => "slot_out_of_range",
            None => "bad_parent_offset",
        },
        DropReason::IndexTooHigh => "index_out_of_bounds",
        DropReason::BadFlags => "unexpected_data_complete_shred",
        DropReason::BadErasureConfig => "misaligned_erasure_config",
        DropReason::BadFecSet => "misaligned_fec_set",
        other => panic!("{other} is no reason of the filter"),
    }
}

/// The reference's class of a parse error: what stands before the values in its text.
fn class_in_reference(error: ShredError) -> &'static [&'static str] {
    match error {
        ShredError::Unreadable(_, DropReason::TooShort) => &["Invalid payload size", "io error"],
        ShredError::Unreadable(..) => &["Invalid shred variant"],
        ShredError::Index(Kind::Data, _) => &["Invalid Data shred index"],
        ShredError::Index(Kind::Code, _) => &["Invalid Code shred index"],
        ShredError::DataEnd(_) => &["Invalid data size"],
        ShredError::Flags(_) => &["Invalid shred flags"],
        ShredError::Parent(_) => &["Invalid parent_offset"],
        ShredError::NumCode(_) => &["Invalid num coding shreds"],
        ShredError::Place(_) => &["Invalid erasure shard index"],
        ShredError::Proof | ShredError::Signature { .. } | ShredError::NotResigned => &[],
    }
}

fn discard(datagram: &[u8], context: &FilterContext) -> Value {
    let verdict = View::read(datagram).and_then(|view| filter(view, context));
    verdict.err().map_or(Value::Bool(false), |why| name_in_reference(why, datagram).into())
}

/// Whether the signature holds, of bytes that need not parse.
fn leader_signed(datagram: &[u8], leader: &Pubkey) -> bool {
    View::read(datagram).is_ok_and(|view| {
        merkle::root_of(view).is_some_and(|root| signature_holds(leader, root.as_ref(), &view.signature()))
    })
}

#[test]
fn datagrams_are_judged_as_the_reference_judges_them() {
    let vectors = family("shreds.json");
    for sample in list(&vectors, "judged") {
        let what = format!("{}: {}", text(sample, "case"), text(sample, "what"));
        let datagram = Bytes::from(base64(&sample["bytes"]));
        let leader = Pubkey::new_from_array(array(&sample["leader"]));
        let fixed = Gates::NONE.with(Gate::FixedFecSet).with(Gate::DataCompleteAtEnd);
        let context = |gates| FilterContext {
            root: Slot::new(number(sample, "root")),
            max_slot: Slot::new(number(sample, "max_slot")),
            shred_version: u16::try_from(number(sample, "shred_version")).expect("u16"),
            gates,
        };
        let verdict = &sample["verdict"];
        let (gated, ungated) = (discard(&datagram, &context(fixed)), discard(&datagram, &context(Gates::NONE)));
        assert_eq!(gated, verdict["ingest_discard"], "{what}");
        assert_eq!(ungated, verdict["ingest_discard_without_fixed_fec_gates"], "{what}");
        assert_eq!(leader_signed(&datagram, &leader), verdict["leader_signature"], "{what}");
        let parsed = Shred::raw(datagram).parse();
        match (&parsed, verdict["parse"]["error"].as_str()) {
            (Ok(_), None) => {}
            (Err(error), Some(text)) => {
                let class = class_in_reference(*error);
                assert!(class.iter().any(|c| text.starts_with(c)), "{what}: {error} is not {text}");
            }
            _ => panic!("{what}: {parsed:?} is not {}", verdict["parse"]),
        }
        let signed = parsed.and_then(|shred| shred.verify(&leader, signature_holds)).is_ok();
        let accepted = signed && gated == Value::Bool(false);
        assert_eq!(accepted, sample["expect"] == "accepted", "{what}");
    }
}

#[test]
fn a_range_without_data_bytes_is_a_batch_of_no_entries() {
    let vectors = family("shreds.json");
    let length = number(&vectors["empty_range_deshreds_to"], "length");
    assert!(length > 8, "the reference reads zeros, of which the first eight count the entries");
    let signer = signer(&list(&vectors, "cases")[0]["leader"]);
    let mut shredder = Shredder::new(Slot::new(9), Slot::new(8), 1, Hash::default()).expect("parent");
    let sets = shredder.shred(&[], 64, true, &signer).expect("room");
    let batch = sets.iter().flat_map(|set| &set.data).flat_map(Shred::<Signed>::data).count();
    assert_eq!(batch, 0);
    let zeros = vec![0; length as usize];
    for bytes in [&[][..], &zeros] {
        assert!(sundog_types::entry::decode_batch(bytes).expect("decodes").is_empty());
    }
}
