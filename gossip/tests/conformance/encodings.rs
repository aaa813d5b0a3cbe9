//! Compact integers and bit vectors.

use crate::vectors::{bytes, family, file, number};
use sundog_gossip::wire::{
    bits::BitVec,
    codec::{Reader, Writer},
};

#[test]
fn compact_integers_have_one_spelling() {
    let misc = file("misc.json");
    let encodings = &misc["encodings"];
    for name in ["compact_u16", "varint_u64"] {
        for case in family(encodings, name) {
            let (value, wire) = (number(&case[0]), bytes(&case[1]));
            let mut writer = Writer::new();
            writer.varint(value);
            assert_eq!(writer.into_bytes(), wire, "{name} {value}");
            assert_eq!(Reader::new(&wire).varint(64), Ok(value));
        }
    }
    for case in family(encodings, "compact_u16_decode") {
        let wire = bytes(&case["bytes"]);
        let mut reader = Reader::new(&wire);
        let read = reader.compact_u16().ok();
        assert_eq!(read.map(u64::from), case["agave"]["value"].as_u64(), "{}", case["hex"]);
        if read.is_some() {
            let length = (wire.len() - reader.rest().len()) as u64;
            assert_eq!(Some(length), case["agave"]["length"].as_u64());
        }
    }
    for case in family(encodings, "varint_decode") {
        let wire = bytes(&case["bytes"]);
        for (bits, name) in [(16, "u16"), (32, "u32"), (64, "u64")] {
            let read = Reader::new(&wire).varint(bits).ok();
            assert_eq!(read, case[name].as_u64(), "{name} {}", case["hex"]);
        }
    }
}

#[test]
fn a_bit_vector_with_announced_but_missing_blocks_is_refused() {
    let mut writer = Writer::new();
    writer.u8(1);
    writer.u64(0);
    writer.u64(0);
    assert!(BitVec::<u64>::read(&mut Reader::new(&writer.into_bytes())).is_err());
}
