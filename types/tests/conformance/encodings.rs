//! misc.json, `encodings`: the compact counts of transactions.

use crate::vectors;
use sundog_types::transaction::decode_compact_u16;

#[test]
fn compact_counts_decode_as_in_the_reference() {
    let file = vectors::load("misc.json");
    for case in file["encodings"]["compact_u16"].as_array().expect("list") {
        let bytes = vectors::base64(&case[1]);
        let (value, length) = decode_compact_u16(&bytes).expect("canonical");
        assert_eq!(Some(u64::from(value)), case[0].as_u64());
        assert_eq!(length, bytes.len());
        let encoded = bincode::serialize(&solana_short_vec::ShortU16(value)).expect("fits");
        assert_eq!(encoded, bytes);
    }
}

#[test]
fn other_forms_of_compact_counts_are_refused_as_in_the_reference() {
    let file = vectors::load("misc.json");
    for case in file["encodings"]["compact_u16_decode"].as_array().expect("list") {
        let decoded = decode_compact_u16(&vectors::base64(&case["bytes"])).ok();
        let decoded = decoded.map(|(value, length)| (u64::from(value), length as u64));
        let agave = &case["agave"];
        let expected = agave["value"].as_u64().zip(agave["length"].as_u64());
        assert_eq!(decoded, expected, "{}", case["hex"]);
    }
}
