//! Fees, rent and durable nonces, against the reference's vectors.

use super::*;
use solana_nonce::{
    state::{Data, DurableNonce, State},
    versions::Versions,
};

#[test]
fn limits_and_fees_are_the_reference_ones() {
    let bank = start(&localnet(8_192));
    let file = vectors("misc.json");
    for case in file["fees"]["cases"].as_array().unwrap() {
        let bytes = BASE64_STANDARD.decode(case["message"].as_str().unwrap()).unwrap();
        let message: Message = bincode::deserialize(&bytes).unwrap();
        let at = case["name"].as_str().unwrap();
        let expected = &case["agave"];
        match bank.quote(&VersionedMessage::Legacy(message)) {
            Ok(quote) => {
                assert_eq!(
                    u64::from(quote.compute_unit_limit),
                    expected["compute_unit_limit"].as_u64().unwrap(),
                    "{at}"
                );
                assert_eq!(quote.compute_unit_price, expected["compute_unit_price"].as_u64().unwrap(), "{at}");
                assert_eq!(u64::from(quote.heap_bytes), expected["heap_bytes"].as_u64().unwrap(), "{at}");
                assert_eq!(
                    u64::from(quote.loaded_bytes_max),
                    expected["loaded_accounts_bytes"].as_u64().unwrap(),
                    "{at}"
                );
                assert_eq!(quote.base_fee, expected["signature_fee"].as_u64().unwrap(), "{at}");
                assert_eq!(quote.priority_fee, expected["prioritization_fee"].as_u64().unwrap(), "{at}");
            }
            Err(error) => assert_eq!(format!("{error:?}"), expected["error"].as_str().unwrap(), "{at}"),
        }
    }
}

#[test]
fn rent_minimums_are_the_reference_ones() {
    for case in vectors("misc.json")["rent"].as_array().unwrap() {
        let bytes = BASE64_STANDARD.decode(case["bincode"].as_str().unwrap()).unwrap();
        let rent: Rent = bincode::deserialize(&bytes).unwrap();
        for pair in case["minimum_balance"].as_array().unwrap() {
            let length = pair[0].as_u64().unwrap() as usize;
            assert_eq!(rent.minimum_balance(length), pair[1].as_u64().unwrap(), "{}: {length}", case["name"]);
        }
    }
}

#[test]
fn durable_nonces_are_the_reference_ones() {
    for case in vectors("misc.json")["durable_nonces"].as_array().unwrap() {
        let nonce = DurableNonce::from_blockhash(&Hash::new_from_array(base58(&case["blockhash"])));
        assert_eq!(*nonce.as_hash(), Hash::new_from_array(base58(&case["durable_nonce"])));
        let price = case["lamports_per_signature"].as_u64().unwrap();
        let data = Data::new(Pubkey::from(base58(&case["authority"])), nonce, price);
        let bytes = bincode::serialize(&Versions::new(State::Initialized(data))).unwrap();
        assert_eq!(BASE64_STANDARD.encode(bytes), case["account_data"].as_str().unwrap());
    }
}
