//! Nodes that abuse repair.

use super::*;
use std::sync::{Arc, Mutex};
use sundog_turbine::{
    DropReason,
    repair_wire::{Ask, Packet, Ping, Pong, Request, encode_shred_response},
    serve::SERVED_BYTES_EACH,
};
use sundog_types::sign::Sign as _;
use sundog_validator::sim::Port;

#[test]
fn a_node_that_asks_for_everything_in_a_loop_gets_its_share_and_the_others_theirs() {
    let mut trial = Trial::new(SpreadConfig { fanout: 2, ..with_loss(config(40, 12), 20) });
    let node = 5;
    let me = Arc::clone(&trial.world.hosts[node].identity);
    let servers: Vec<_> = trial.others(node).into_iter().map(|to| (to, trial.world.hosts[to].key())).collect();
    let got: Arc<Mutex<BTreeMap<usize, u64>>> = Arc::default();
    let (gets, signer) = (Arc::clone(&got), Arc::clone(&me));
    let hear = Box::new(move |_, datagram: &Datagram| {
        if datagram.port != Port::Repair {
            return Vec::new();
        }
        *gets.lock().unwrap().entry(datagram.from).or_default() += datagram.bytes.len() as u64;
        let pong = Ping::decode_response(&datagram.bytes).map(|ping| Pong::new(&ping, &*signer).encode());
        pong.map(|bytes| Sending { to: datagram.from, port: Port::ServeRepair, bytes }).into_iter().collect()
    });
    let mut nonce = 0;
    let tick = Box::new(move |now: Now| {
        let mut sendings = Vec::new();
        let highest = Slot::new(now.mono_us / 400_000);
        for (to, recipient) in &servers {
            for number in 0..24_u64 {
                nonce += 1;
                let ask = match number {
                    0..20 => Ask::Orphan { slot: highest.saturating_sub(number % 4) },
                    _ => Ask::Window { slot: highest.saturating_sub(2), index: u64::from(nonce) % 128 },
                };
                let sender = me.identity();
                let request = Request { sender, recipient: *recipient, timestamp_ms: now.unix_ms, nonce, ask };
                sendings.push(Sending { to: *to, port: Port::ServeRepair, bytes: request.sign(&*me) });
            }
        }
        sendings
    });
    trial.replace(node, Acts { honest: false, hear, tick });
    trial.lead(6, 4);
    trial.finish();
    trial.check("asks for everything", SMALL);
    let seconds = trial.world.now().mono_us / 1_000_000;
    for (server, bytes) in got.lock().unwrap().iter() {
        assert!(*bytes < SERVED_BYTES_EACH * (seconds + 1), "node {server} served {bytes} bytes in {seconds} s");
    }
    for why in [DropReason::RequestBudget, DropReason::AnswerBudget] {
        assert!(trial.dropped(why) > 100, "it asks for more than its share: {why} {}", trial.dropped(why));
    }
    let repaired: u64 = trial.honest().map(|(_, host)| host.turbine.metrics().repaired).sum();
    assert!(repaired > 0, "others were served meanwhile");
}

/// How a server lies.
#[derive(Clone, Copy)]
enum Lie {
    /// Noise.
    Noise,
    /// A shred of another slot.
    OtherShred,
    /// The shred that was asked for, with a byte changed.
    Damaged,
    /// As many answers as there is time for.
    Many,
}

/// A server that answers every request, with the right nonce and lies.
fn liar(lie: Lie) -> Acts {
    let mut known: BTreeMap<(Slot, u32), Bytes> = BTreeMap::new();
    let hear = Box::new(move |_, datagram: &Datagram| {
        if datagram.port == Port::TvuQuic {
            if let Ok(shred) = Shred::raw(datagram.bytes.clone()).parse().and_then(Shred::trust_own_ledger)
                && shred.kind() == Kind::Data
            {
                known.insert((shred.slot(), shred.index().get()), datagram.bytes.clone());
            }
            return Vec::new();
        }
        let Ok(Packet::Request(request, _)) = Packet::decode(&datagram.bytes) else { return Vec::new() };
        let asked = match request.ask {
            Ask::Window { slot, index } => known.get(&(slot, index as u32)),
            ask => known.range(..(ask.slot().next(), 0)).next_back().map(|(_, shred)| shred),
        };
        let other = known.iter().find(|((slot, _), _)| *slot != request.ask.slot()).map(|(_, shred)| shred);
        let noise = Bytes::from(vec![7; 1_203]);
        let (shred, times) = match lie {
            Lie::Noise => (noise, 1),
            Lie::OtherShred => (other.unwrap_or(&noise).clone(), 1),
            Lie::Damaged | Lie::Many => {
                let mut bytes = asked.unwrap_or(&noise).to_vec();
                bytes[300] ^= 1;
                (bytes.into(), if matches!(lie, Lie::Many) { 20 } else { 1 })
            }
        };
        let bytes = encode_shred_response(&shred, request.nonce);
        vec![Sending { to: datagram.from, port: Port::Repair, bytes }; times]
    });
    Acts { hear, ..Acts::idle(false) }
}

#[test]
fn servers_that_answer_with_lies_are_refused_and_others_asked() {
    let mut trial = Trial::new(SpreadConfig { fanout: 4, ..with_loss(config(41, 16), 10) });
    for (node, lie) in [(4, Lie::Noise), (7, Lie::OtherShred), (9, Lie::Damaged), (11, Lie::Many)] {
        trial.replace(node, liar(lie));
    }
    trial.lead(8, 4);
    trial.finish();
    trial.check("lying repair servers", SMALL);
    let proofs = sundog_types::shred::DropReason::BadProof.index();
    let metrics: Vec<_> = trial.honest().map(|(_, host)| host.turbine.metrics()).collect();
    let damaged: u64 = metrics.iter().map(|metrics| metrics.refused[proofs]).sum();
    assert!(damaged > 0, "a damaged shred is refused by its Merkle path");
    for why in [DropReason::WrongAnswer, DropReason::UnknownNonce] {
        assert!(trial.dropped(why) > 0, "{why}");
    }
    assert!(metrics.iter().map(|metrics| metrics.repaired).sum::<u64>() > 100);
}
