//! Gossip's datagrams: the decoder alone, and machines that take in what it accepts.

use crate::{CASES, FREE, MEMORY, PerByte, TURN, hex, mutate::Mutator, samples, setting, survives};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use solana_keypair::Keypair;
use std::{
    collections::BTreeMap,
    hint::black_box,
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::Duration,
};
use sundog_gossip::{
    Contact, CrdsData, CrdsValue, Effect, Gossip, GossipConfig, Input, check,
    wire::{Pong, Protocol, Prune, contact::ContactInfo, duplicate::DuplicateProof},
};
use sundog_types::{
    Machine as _, Now, Pubkey, Signature, Slot,
    peer::Addresses,
    sign::{Identity, Sign as _, SignRole},
};

/// Reads all that a datagram says.
fn read_datagram(bytes: &Bytes) -> bool {
    let Ok(message) = Protocol::decode(bytes) else {
        return false;
    };
    match &message {
        Protocol::PullRequest(filter, caller) => {
            black_box((filter.range(), filter.covers(caller.hash()), caller.label()));
            if !filter.bloom.bits().is_empty() {
                black_box(filter.bloom.contains(caller.hash()));
            }
        }
        Protocol::PushMessage(_, values) | Protocol::PullResponse(_, values) => {
            for value in values {
                black_box((value.label(), value.wallclock(), value.signature()));
                read_value(value.data());
            }
        }
        Protocol::PruneMessage(..) | Protocol::PingMessage(_) | Protocol::PongMessage(_) => {}
    }
    black_box(check(bytes).is_ok());
    true
}

fn read_value(data: &CrdsData) {
    match data {
        CrdsData::ContactInfo(info) => black_box(info.sockets().count() + info.ips().len()),
        CrdsData::DuplicateShred(_, chunk) => black_box(DuplicateProof::join(&[chunk]).map_or(0, |_| 1)),
        CrdsData::Vote(_, vote) => black_box(vote.slot().map_or(0, |_| 1)),
        _ => 0,
    };
}

#[test]
fn mutated_gossip_packets_are_survived() {
    // Values take up more in memory than on the wire, and they are encoded again to be verified; each byte of runs
    // becomes two, and lists grow by doubling.
    survives(samples::gossip, PerByte(16), read_datagram);
}

/// What may be allocated to read one part of epoch slots: its slots in a list that grows by doubling, its bitmap, and
/// what inflates it.
const PART: usize = 4 * 8 * 16_384 + 2_048 + 64 * 1_024;
/// What may be allocated to read the slots of a restart: a list of offsets that grows by doubling, and one of slots.
const RESTART: usize = 6 * 8 * 65_535;

#[test]
fn slots_said_in_a_few_bytes_are_read_with_bounds() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let samples = samples::gossip();
    let mut mutator = Mutator::new(setting("SUNDOG_FUZZ_SEED", 1), &samples);
    for case in 0..setting("SUNDOG_FUZZ_CASES", CASES) / SHARE {
        let wire = mutator.next();
        let Ok(Protocol::PushMessage(_, values) | Protocol::PullResponse(_, values)) = Protocol::decode(&wire) else {
            continue;
        };
        for value in values {
            let before = MEMORY.total_allocated();
            let bound = match value.data() {
                CrdsData::EpochSlots(_, slots) => {
                    assert!(slots.parts.iter().all(|part| part.slots().len() < 16_384));
                    slots.parts.len() * PART
                }
                CrdsData::RestartLastVotedForkSlots(restart) => {
                    assert!(restart.slots(0).len() <= 65_535);
                    RESTART
                }
                _ => 0,
            };
            let allocated = MEMORY.total_allocated() - before;
            assert!(allocated <= FREE + bound, "case {case}: {allocated} bytes for {}", hex(&wire));
        }
    }
}

/// Nodes that a machine in the test hears of.
const NODES: usize = 8;
/// Of so many inputs of the decoder one is fed to a machine: each costs several signatures.
const SHARE: u64 = 5;
/// Memory that the machine may keep: a table of [`NODES`] origins with every place of every kind taken, what waits, and
/// what is known of addresses, are far below.
const KEPT: usize = 64 << 20;

/// A world of one machine and whatever it hears.
struct Trial {
    gossip: Gossip,
    own: Pubkey,
    rng: ChaCha8Rng,
    now: Now,
    signers: Vec<Identity>,
    answers: Vec<(SocketAddr, Bytes)>,
    sent: u64,
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9_000 + node as u16))
}

fn signer(node: usize) -> Identity {
    Identity::new(Keypair::new_from_array([node as u8 + 10; 32]))
}

impl Trial {
    fn new(seed: u64) -> Self {
        let now = Now { mono_us: 5_000_000, unix_ms: 1_760_000_000_000 };
        let addresses = Addresses { gossip: Some(address(99)), ..Addresses::default() };
        let contact = Contact { addresses, outset_us: 1_760_000_000_000_000, ..Contact::default() };
        let mut config = GossipConfig::new(4_711, contact);
        config.allow_private = true;
        config.entrypoints = vec![address(0)];
        let gossip = Gossip::new(config, Arc::new(signer(99)), [7; 32], now).expect("good settings");
        let signers = (0..NODES).map(signer).collect();
        let own = signer(99).identity();
        Self { gossip, own, rng: ChaCha8Rng::seed_from_u64(seed), now, signers, answers: Vec::new(), sent: 0 }
    }

    /// Time passes: mostly a little, now and then much; and the wall clock is set.
    fn pass(&mut self) {
        let step = match self.rng.gen_range(0..1_000) {
            0 => Duration::from_secs(self.rng.gen_range(1..200)),
            1..=900 => Duration::from_micros(self.rng.gen_range(0..300)),
            _ => Duration::from_millis(self.rng.gen_range(0..100)),
        };
        self.now = self.now.after(step);
        if self.rng.gen_ratio(1, 5_000) {
            self.now.unix_ms = 1_760_000_000_000 + self.rng.gen_range(0..100_000);
        }
    }

    fn give(&mut self, input: Input) {
        let mut out = Vec::new();
        self.gossip.handle(self.now, input, &mut out);
        self.take(out);
    }

    fn time_out(&mut self) {
        if self.gossip.poll_timeout().is_some_and(|due| self.now.reached(due)) {
            let mut out = Vec::new();
            self.gossip.handle_timeout(self.now, &mut out);
            self.take(out);
        }
    }

    /// Looks at what the machine wants, and answers its pings.
    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let Effect::Send { to, bytes } = effect else { continue };
            assert!(bytes.len() <= 1_232, "a datagram of {} bytes", bytes.len());
            self.sent += 1;
            if self.sent.is_multiple_of(16) {
                assert!(check(&bytes).is_ok(), "it sends what it would refuse");
            }
            let node = usize::from(to.port().saturating_sub(9_000));
            if let (Ok(Protocol::PingMessage(ping)), true) = (Protocol::decode(&bytes), node < NODES) {
                let pong = Pong::answer(&ping.token, &self.signers[node]);
                self.answers.push((to, Protocol::PongMessage(pong).encode().into()));
            }
        }
    }

    fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) -> bool {
        let Ok(packet) = check(bytes) else {
            return false;
        };
        self.give(Input::Packet { from, packet });
        true
    }

    /// The contact infos of all nodes, so that what they say is of interest.
    fn introduce(&mut self) {
        for node in 0..NODES {
            let signer = &self.signers[node];
            let addresses = Addresses { gossip: Some(address(node)), ..Addresses::default() };
            let mut info = ContactInfo::new(signer.identity(), node as u64, 4_711, &addresses);
            info.wallclock = self.now.unix_ms;
            let value = CrdsValue::sign(CrdsData::ContactInfo(Box::new(info)), signer);
            let wire = Protocol::PushMessage(signer.identity(), vec![value]).encode();
            self.datagram(address(node), &wire);
            for (from, pong) in std::mem::take(&mut self.answers) {
                self.datagram(from, &pong);
            }
        }
    }

    /// What a mutated datagram says, said by one of the nodes, about now, and signed.
    fn sign_anew(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let signer = &self.signers[self.rng.gen_range(0..NODES)];
        let near = self.now.unix_ms + self.rng.gen_range(0..2_000) - 1_000;
        let sign = |value: &CrdsValue| {
            let mut data = value.data().clone();
            if !matches!(data, CrdsData::Retired(_)) {
                data.restamp(signer.identity(), near);
                return CrdsValue::sign(data, signer);
            }
            value.clone()
        };
        let all = |values: Vec<CrdsValue>| values.iter().map(sign).collect();
        let message = match Protocol::decode(bytes).ok()? {
            Protocol::PullRequest(filter, caller) => Protocol::PullRequest(filter, Box::new(sign(&caller))),
            Protocol::PullResponse(from, values) => Protocol::PullResponse(from, all(values)),
            Protocol::PushMessage(from, values) => Protocol::PushMessage(from, all(values)),
            Protocol::PruneMessage(_, prune) => {
                let (pubkey, destination) = (signer.identity(), self.own);
                let signature = Signature::default();
                let mut prune = Prune { pubkey, destination, signature, wallclock: near, ..prune };
                prune.signature = signer.sign(SignRole::Gossip, &prune.signed_bytes(false));
                Protocol::PruneMessage(pubkey, prune)
            }
            other => other,
        };
        Some(message.encode())
    }

    /// What the node itself wants of its machine now and then.
    fn own_input(&mut self) {
        let slot = self.rng.gen_range(0..200_000);
        let input = match self.rng.gen_range(0..5) {
            0 => Input::Completed((slot..slot + self.rng.gen_range(1..50)).map(Slot::new).collect()),
            1 => Input::Lowest(Slot::new(slot)),
            2 => Input::Root { slot: Slot::new(slot), window: self.rng.gen_range(0..1 << 20) },
            3 => {
                let staked = (0..NODES).filter(|_| self.rng.r#gen()).collect::<Vec<_>>();
                let stakes: BTreeMap<Pubkey, u64> = staked
                    .into_iter()
                    .map(|node| (self.signers[node].identity(), self.rng.r#gen::<u64>() >> 8))
                    .collect();
                Input::Stakes(Arc::new(stakes))
            }
            _ => {
                let proof = DuplicateProof { first: vec![1; 1_203], second: vec![2; 1_228] };
                Input::PublishDuplicate { slot: Slot::new(slot), proof: Box::new(proof) }
            }
        };
        self.give(input);
    }
}

#[test]
fn a_machine_survives_whatever_is_accepted_at_whatever_time() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = setting("SUNDOG_FUZZ_SEED", 1);
    let samples = samples::gossip();
    let mut mutator = Mutator::new(seed, &samples);
    let held = MEMORY.allocated();
    let mut trial = Trial::new(seed);
    let (mut accepted, cases) = (0_u64, setting("SUNDOG_FUZZ_CASES", CASES) / SHARE);
    for case in 0..cases {
        trial.pass();
        if case.is_multiple_of(256) {
            trial.introduce();
        }
        if case.is_multiple_of(64) {
            trial.own_input();
        }
        trial.time_out();
        let from = address(trial.rng.gen_range(0..NODES + 4));
        let input = mutator.next();
        accepted += u64::from(trial.datagram(from, &input));
        if let Some(wire) = trial.sign_anew(&input) {
            accepted += u64::from(trial.datagram(from, &wire));
        }
        for (from, pong) in std::mem::take(&mut trial.answers) {
            trial.datagram(from, &pong);
        }
        if case.is_multiple_of(1_000) {
            let kept = MEMORY.allocated().saturating_sub(held);
            assert!(kept <= KEPT, "seed {seed}, case {case}: the machine keeps {kept} bytes");
        }
    }
    assert!(accepted >= cases / 5, "only {accepted} of {cases} were accepted");
    assert!(trial.gossip.table().len() > NODES * 3, "{} values", trial.gossip.table().len());
}
