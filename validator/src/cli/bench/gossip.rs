//! Gossip: decoding, verifying and merging values, building pull filters, and what the table takes in memory.

use super::{
    keep, resident_bytes, say, say_json,
    turns::{Work, rates, timed},
};
use crate::io::driver::CHECKS_AT_ONCE;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
use serde::Serialize;
use solana_keypair::Keypair;
use std::{net::SocketAddr, time::Duration};
use sundog_gossip::{
    CrdsData, CrdsValue, check_all,
    filters::{self, FilterSize},
    table::{Limits, Table},
    wire::{Protocol, contact::ContactInfo, kinds::Vote},
};
use sundog_types::{
    Hash, Now, Pubkey, Signature,
    peer::Addresses,
    sign::{Identity, Sign, SignRole, Verifier},
    vote::{VoteOnWire, tower_sync_transaction},
};

/// Values that are decoded, verified and merged in one go; each signature takes some tens of microseconds.
const SIGNED: usize = 600;

/// Values in the table that is merged into, and that filters are made of.
const MERGED: usize = 10_000;

/// Votes of each node in that table.
const VOTES_EACH: usize = 12;

/// Values in the table whose memory is measured.
const WEIGHED: usize = 50_000;

/// Bytes of a contact info as it shares a datagram with a filter.
const CALLER_BYTES: usize = 180;

const START: Now = Now { mono_us: 1_000_000_000, unix_ms: 1_760_000_000_000 };

/// The figures of one run, on one core.
#[derive(Debug, Serialize)]
struct Report {
    /// Strict verifications of one signature over a vote, a second: what bounds the rest, and tells machines apart.
    strict_verify_per_second: f64,
    contact_info: Kind,
    vote: Kind,
    /// Distinct votes merged into an empty table, a second.
    merge_per_second: f64,
    /// Newer votes merged into a full one, each taking the place of an older.
    replace_per_second: f64,
    /// Merges for each strict verification.
    merge_per_strict_verify: f64,
    /// Milliseconds for the filters of one round over [`MERGED`] values.
    filter_build_ms: f64,
    memory: Memory,
}

#[derive(Debug, Serialize)]
struct Kind {
    /// Bytes of one value on the wire.
    bytes: usize,
    /// Values decoded and hashed, a second.
    decode_per_second: f64,
    /// Values decoded, checked, verified and merged, a second.
    decode_verify_merge_per_second: f64,
}

/// Votes of twelve a node in a table, decoded from datagrams.
#[derive(Debug, Serialize)]
struct Memory {
    values: usize,
    /// By the table's own count.
    held_bytes_per_1000: usize,
    /// By what the process grew, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_bytes_per_1000: Option<usize>,
}

/// Signs nothing: decoding and merging do not look at signatures.
struct Unsigned(Pubkey);

impl Sign for Unsigned {
    fn identity(&self) -> Pubkey {
        self.0
    }

    fn sign(&self, _: SignRole, _: &[u8]) -> Signature {
        Signature::from([7; 64])
    }
}

fn secret(number: usize) -> [u8; 32] {
    let mut secret = [1; 32];
    secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
    secret
}

fn contact(number: usize) -> CrdsValue {
    let signer = Identity::new(Keypair::new_from_array(secret(number)));
    let socket = |port| Some(SocketAddr::from(([10, 0, 0, 1], port)));
    let sockets = Addresses {
        gossip: socket(8_001),
        tvu: socket(8_002),
        tvu_quic: socket(8_003),
        tpu: socket(8_004),
        tpu_vote: socket(8_006),
        tpu_quic: socket(8_010),
        tpu_forwards_quic: socket(8_011),
        serve_repair: socket(8_008),
        rpc: socket(8_899),
        rpc_pubsub: socket(8_900),
        ..Addresses::default()
    };
    let mut info = ContactInfo::new(signer.identity(), 1, 1, &sockets);
    info.wallclock = START.unix_ms;
    CrdsValue::sign(CrdsData::ContactInfo(Box::new(info)), &signer)
}

/// A vote for 31 slots, as validators send them.
fn vote_data(identity: &Keypair, origin: Pubkey, (place, wallclock): (usize, u64)) -> CrdsData {
    let vote = VoteOnWire {
        vote_account: Pubkey::new_from_array([3; 32]),
        slots: (0..31).map(|n| (300_000_000 + u64::from(n), 31 - n)).collect(),
        root: Some(299_999_999),
        hash: Hash::new_from_array([4; 32]),
        block_id: Hash::new_from_array([5; 32]),
        timestamp: Some(1_760_000_000),
        switch: false,
    };
    let transaction = tower_sync_transaction(&vote, Hash::new_from_array([6; 32]), identity, identity);
    let transaction = transaction.into_legacy_transaction().expect("votes are legacy transactions");
    let vote = Vote::new(origin, transaction, wallclock).expect("it is a vote");
    CrdsData::Vote(u8::try_from(place).expect("few places"), vote)
}

fn signed_vote(number: usize) -> CrdsValue {
    let keypair = Keypair::new_from_array(secret(number));
    let signer = Identity::new(Keypair::new_from_array(secret(number)));
    CrdsValue::sign(vote_data(&keypair, signer.identity(), (0, START.unix_ms)), &signer)
}

/// Votes of many nodes, [`VOTES_EACH`] of each; those of one node come far from each other.
fn votes(count: usize, wallclock: u64) -> impl Iterator<Item = CrdsValue> {
    let keypair = Keypair::new_from_array(secret(0));
    let template = vote_data(&keypair, Pubkey::default(), (0, wallclock));
    let nodes = count.div_ceil(VOTES_EACH);
    (0..count).map(move |number| {
        let mut key = secret(number % nodes);
        key.reverse();
        let mut data = template.clone();
        if let CrdsData::Vote(place, _) = &mut data {
            *place = u8::try_from(number / nodes).expect("few places");
        }
        let origin = Pubkey::new_from_array(key);
        data.restamp(origin, wallclock);
        CrdsValue::sign(data, &Unsigned(origin))
    })
}

/// Datagrams of two values each, which is what fits of votes. Nothing else is left in memory.
fn datagrams(mut values: impl Iterator<Item = CrdsValue>) -> Vec<Vec<u8>> {
    let two = || {
        let two: Vec<CrdsValue> = values.by_ref().take(2).collect();
        (!two.is_empty()).then(|| Protocol::PushMessage(Pubkey::default(), two).encode())
    };
    std::iter::from_fn(two).collect()
}

fn values_of(message: &Protocol) -> &[CrdsValue] {
    match message {
        Protocol::PushMessage(_, values) => values,
        _ => &[],
    }
}

fn table() -> Table {
    Table::new(Pubkey::new_from_array([9; 32]), Limits::default())
}

fn decoding(packets: &[Vec<u8>]) -> Work<'_> {
    Box::new(move || {
        timed(SIGNED, || {
            for packet in packets {
                keep(Protocol::decode(packet).is_ok());
            }
        })
    })
}

fn merging_checked(packets: &[Vec<u8>]) -> Work<'_> {
    Box::new(move || {
        let (mut table, verifier) = (table(), Verifier::without_memory());
        let done = timed(SIGNED, || {
            for checked in packets.chunks(CHECKS_AT_ONCE).flat_map(|some| check_all(some, &verifier)) {
                for value in values_of(checked.expect("what we signed").message()) {
                    keep(table.offer(START, value.clone()));
                }
            }
        });
        assert_eq!(table.len(), SIGNED);
        done
    })
}

fn report(stretch: Duration) -> Report {
    let memory = weigh();
    let contacts: Vec<CrdsValue> = (0..SIGNED).map(contact).collect();
    let signed: Vec<CrdsValue> = (0..SIGNED).map(signed_vote).collect();
    let (contact_packets, vote_packets) = (datagrams(contacts.iter().cloned()), datagrams(signed.iter().cloned()));
    let [older, newer] = [0, 1].map(|later| votes(MERGED, START.unix_ms + later).collect::<Vec<_>>());
    let fill = |table: &mut Table, values: Vec<CrdsValue>| {
        timed(MERGED, || values.into_iter().for_each(|value| assert!(table.offer(START, value).is_taken())))
    };
    let mut full = table();
    fill(&mut full, older.clone());
    let mut rng = ChaCha8Rng::from_seed([1; 32]);
    let works: [Work<'_>; 8] = [
        Box::new(|| {
            timed(SIGNED, || {
                signed
                    .iter()
                    .for_each(|value| keep(value.signature().verify(value.origin().as_ref(), value.signed_bytes())))
            })
        }),
        decoding(&contact_packets),
        merging_checked(&contact_packets),
        decoding(&vote_packets),
        merging_checked(&vote_packets),
        Box::new(|| fill(&mut table(), older.clone())),
        Box::new(|| {
            let mut table = table();
            fill(&mut table, older.clone());
            fill(&mut table, newer.clone())
        }),
        Box::new(|| {
            let size = FilterSize { items_min: 65_536, caller_bytes: CALLER_BYTES };
            timed(1, || keep(filters::build(&full, size, &mut rng)))
        }),
    ];
    let rates = rates(stretch, works).map(|rate| rate.median);
    let kind = |value: &CrdsValue, at: usize| Kind {
        bytes: value.bytes().len(),
        decode_per_second: rates[at],
        decode_verify_merge_per_second: rates[at + 1],
    };
    Report {
        strict_verify_per_second: rates[0],
        contact_info: kind(&contacts[0], 1),
        vote: kind(&signed[0], 3),
        merge_per_second: rates[5],
        replace_per_second: rates[6],
        merge_per_strict_verify: rates[5] / rates[0],
        filter_build_ms: 1_000.0 / rates[7],
        memory,
    }
}

/// Fills a table from datagrams, as a node does, and sees what that takes.
fn weigh() -> Memory {
    let packets = datagrams(votes(WEIGHED, START.unix_ms));
    let before = resident_bytes();
    let mut table = table();
    for packet in &packets {
        let message = Protocol::decode(packet).expect("what we packed");
        values_of(&message).iter().for_each(|value| assert!(table.offer(START, value.clone()).is_taken()));
    }
    let grown = resident_bytes().zip(before).map(|(after, before)| after.saturating_sub(before));
    Memory {
        values: table.len(),
        held_bytes_per_1000: table.held_bytes() / (WEIGHED / 1_000),
        resident_bytes_per_1000: grown.map(|bytes| bytes / (WEIGHED / 1_000)),
    }
}

/// Measures and tells. `stretch`: how long each figure is measured.
pub fn run(stretch: Duration, json: bool) {
    let report = report(stretch);
    if json {
        say_json(&report);
        return;
    }
    let line = |name: &str, rate: f64| say(format_args!("{name:<44} {rate:>14.0} /s"));
    line("strict verification of a signature", report.strict_verify_per_second);
    for (name, kind) in [("contact infos", &report.contact_info), ("votes", &report.vote)] {
        line(&format!("{name} decoded"), kind.decode_per_second);
        line(&format!("{name} decoded, verified, merged"), kind.decode_verify_merge_per_second);
    }
    line("votes merged", report.merge_per_second);
    line("newer votes merged", report.replace_per_second);
    say(format_args!("{:<44} {:>14.3} ms", "filters over 10,000 values", report.filter_build_ms));
    let memory = &report.memory;
    say(format_args!("{:<44} {:>14} bytes", "1,000 votes in the table", memory.held_bytes_per_1000));
    if let Some(bytes) = memory.resident_bytes_per_1000 {
        say(format_args!("{:<44} {bytes:>14} bytes", "the same, by growth of the process"));
    }
}
