//! `repair.json`.

use crate::vectors::family;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::Value;
use solana_keypair::Keypair;
use std::{net::SocketAddr, sync::Arc};
use sundog_turbine::{
    DropReason, ServedKind, ShredSource,
    repair_wire::{
        AncestorHashes, Ask, Packet, Ping, Pong, Request, RequestFault, encode_shred_response, split_shred_response,
    },
    serve::Serve,
};
use sundog_types::{
    Hash, Now, Pubkey, ShredIndex, Signature, Slot,
    sign::{Identity, Sign},
};

fn vectors() -> Value {
    family("repair.json")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().expect(key)
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().expect("base64")).expect("base64")
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bs58::decode(value.as_str().expect("base58")).into_vec().expect("base58").try_into().expect("length")
}

fn identity(value: &Value) -> Identity {
    let identity = Identity::new(Keypair::new_from_array(array(&value["secret"])));
    assert_eq!(identity.identity(), Pubkey::from(array::<32>(&value["pubkey"])));
    identity
}

fn ask(kind: &str, slot: u64, index: Option<u64>) -> Ask {
    let slot = Slot::new(slot);
    match (kind, index) {
        ("WindowIndex" | "Shred", Some(index)) => Ask::Window { slot, index },
        ("HighestWindowIndex" | "HighestShred", Some(index)) => Ask::Highest { slot, index },
        ("Orphan", None) => Ask::Orphan { slot },
        ("AncestorHashes", None) => Ask::AncestorHashes { slot },
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_have_the_reference_bytes_and_signatures() {
    let vectors = vectors();
    for case in list(&vectors, "requests") {
        let sender = identity(&case["sender"]);
        let request = Request {
            sender: sender.identity(),
            recipient: Pubkey::from(array::<32>(&case["recipient"])),
            timestamp_ms: case["timestamp"].as_u64().unwrap(),
            nonce: case["nonce"].as_u64().unwrap() as u32,
            ask: ask(
                case["request"].as_str().unwrap(),
                case["slot"].as_u64().unwrap(),
                case.get("shred_index").and_then(Value::as_u64),
            ),
        };
        let expected = bytes(&case["bytes"]);
        assert_eq!(request.sign(&sender), expected);
        let packet = Packet::decode(&expected).unwrap();
        assert_eq!(packet, Packet::Request(request, Signature::from(array::<64>(&case["signature"]))));
        assert_eq!(packet.check(&expected, &request.recipient, request.timestamp_ms), Ok(()));
    }
}

#[test]
fn ping_and_pong_have_the_reference_bytes() {
    let case = &vectors()["ping_pong"];
    let (server, client) = (identity(&case["server"]), identity(&case["client"]));
    let ping = Ping::new(array(&case["token"]), &server);
    assert_eq!(ping.encode_response(), bytes(&case["ping_to_window_highest_orphan"]));
    assert_eq!(ping.encode_ancestor_response(), bytes(&case["ping_to_ancestor_hashes"]));
    assert_eq!(Ping::decode_response(&ping.encode_response()), Some(ping));
    let pong = Pong::new(&ping, &client);
    assert_eq!(pong.hash, Hash::new_from_array(array(&case["pong_hash"])));
    assert_eq!(pong.encode(), bytes(&case["pong"]));
    assert_eq!(Packet::decode(&pong.encode()), Ok(Packet::Pong(pong)));
}

#[test]
fn responses_have_the_reference_bytes() {
    let vectors = vectors();
    for case in list(&vectors, "shred_responses") {
        let expected = bytes(&case["bytes"]);
        let (shred, nonce) = (bytes(&case["shred"]), case["nonce"].as_u64().unwrap() as u32);
        assert_eq!(encode_shred_response(&shred, nonce), expected);
        assert_eq!(split_shred_response(&expected.into()), Some((shred.into(), nonce)));
    }
    for case in list(&vectors, "ancestor_hashes_responses") {
        let hash = |pair: &Value| (Slot::new(pair[0].as_u64().unwrap()), Hash::new_from_array(array(&pair[1])));
        let answer = AncestorHashes {
            hashes: list(case, "hashes").iter().map(hash).collect(),
            nonce: case["nonce"].as_u64().unwrap() as u32,
        };
        let expected = bytes(&case["bytes"]);
        assert_eq!(answer.encode(), expected);
        assert_eq!(AncestorHashes::decode(&expected), Some(answer));
    }
    let over = &vectors["ancestor_hashes_over_the_limit"];
    let many = over["count"].as_u64().unwrap() as usize;
    let answer = AncestorHashes { hashes: vec![(Slot::new(1), Hash::default()); many], nonce: 1 };
    assert_eq!(AncestorHashes::decode(&answer.encode()).is_some(), over["accepted"].as_bool().unwrap());
}

/// The response that a case names, rebuilt from the shred responses: only the header's fields matter.
fn described(response: &str, shreds: &[Value]) -> Vec<u8> {
    let shred = |index: u64| {
        let found = shreds.iter().find(|shred| shred["index"].as_u64() == Some(index));
        bytes(&found.expect("the shred is among the responses")["shred"])
    };
    if let Some(length) = response.strip_prefix("data shred cut to ") {
        let length: usize = length.trim_end_matches(" bytes").parse().unwrap();
        let mut cut = shred(0);
        cut.truncate(length);
        return cut;
    }
    let number: u32 = response.split_whitespace().nth(2).and_then(|word| word.parse().ok()).expect(response);
    let mut whole = shred(0);
    whole[73..77].copy_from_slice(&number.to_le_bytes());
    whole
}

#[test]
fn a_response_matches_a_request_when_the_reference_says_so() {
    let vectors = vectors();
    let shreds = list(&vectors, "shred_responses");
    for case in list(&vectors, "response_matching") {
        let text = case["request"].as_str().unwrap();
        let (kind, rest) = text.split_once('(').unwrap();
        let mut numbers = rest.trim_end_matches(')').split(", ").map(|number| number.parse().unwrap());
        let ask = ask(kind, numbers.next().unwrap(), numbers.next());
        let response = described(case["response"].as_str().unwrap(), shreds);
        assert_eq!(ask.answered_by(&response), case["matches"].as_bool().unwrap(), "{case}");
        assert_eq!(u64::from(ask.answers()), case["expected_responses"].as_u64().unwrap(), "{case}");
    }
}

#[test]
fn every_datagram_is_judged_as_the_reference_judges_it() {
    let vectors = vectors();
    let me = Pubkey::from(array::<32>(&vectors["judged_by"]["pubkey"]));
    let now = vectors["judged_at"].as_u64().unwrap();
    for case in list(&vectors, "judged") {
        let bytes = bytes(&case["bytes"]);
        let verdict = match Packet::decode(&bytes).and_then(|packet| packet.check(&bytes, &me, now)) {
            Ok(()) => "accepted",
            Err(RequestFault::TooShort) => "too_short",
            Err(RequestFault::Malformed) => "malformed",
            Err(RequestFault::OtherRecipient) => "id_mismatch",
            Err(RequestFault::FromSelf) => "self_repair",
            Err(RequestFault::TimeSkew) => "time_skew",
            Err(RequestFault::BadSignature) => "signature_invalid",
        };
        // Retired kinds carry no signature; here they are malformed like anything else that is not spoken.
        let expected = match case["agave"].as_str().unwrap() {
            "unsigned" => "malformed",
            other => other,
        };
        assert_eq!(verdict, expected, "{}", case["what"]);
    }
}

/// A ledger with nothing in it.
struct Nothing;

impl ShredSource for Nothing {
    fn data_shred(&self, _: Slot, _: ShredIndex) -> Option<Bytes> {
        None
    }
    fn highest_data_shred(&self, _: Slot) -> Option<Bytes> {
        None
    }
    fn parent(&self, _: Slot) -> Option<Slot> {
        None
    }
}

#[test]
fn the_server_pings_whoever_asks_as_the_reference_allows_and_names_why_it_drops_others() {
    let vectors = vectors();
    let me: Arc<dyn Sign> = Arc::new(identity(&vectors["judged_by"]));
    let now = Now { mono_us: 1, unix_ms: vectors["judged_at"].as_u64().unwrap() };
    for (number, case) in list(&vectors, "judged").iter().enumerate() {
        let mut server = Serve::new(Arc::clone(&me), Arc::new(Nothing), [number as u8; 32]);
        let request = bytes(&case["bytes"]);
        let outcome = server.answer(now, SocketAddr::from(([127, 0, 0, 1], 9)), &request);
        let dropped = match case["agave"].as_str().unwrap() {
            "accepted" => {
                let answers = outcome.unwrap_or_else(|why| panic!("{}: {why}", case["what"]));
                let [(ping, ServedKind::Ping)] = &answers[..] else { panic!("{}: {answers:?}", case["what"]) };
                assert!(ping.len() <= request.len(), "{}", case["what"]);
                continue;
            }
            "too_short" => DropReason::RequestTooShort,
            "malformed" | "unsigned" => DropReason::RequestMalformed,
            "id_mismatch" => DropReason::RequestOtherRecipient,
            "self_repair" => DropReason::RequestFromSelf,
            "time_skew" => DropReason::RequestTimeSkew,
            // A pong's token is looked at first: it costs less than its signature.
            "signature_invalid" if case["what"] == "Pong: hash changed" => DropReason::UnaskedPong,
            "signature_invalid" => DropReason::RequestBadSignature,
            other => panic!("{other}"),
        };
        assert_eq!(outcome, Err(dropped), "{}", case["what"]);
    }
}
