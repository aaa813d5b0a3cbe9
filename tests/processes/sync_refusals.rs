//! Hostile peers of bulk sync against a running validator: each gets its named refusal, and the node goes on.

use super::{
    program::{Localnet, Validator, metric, until},
    stranger::{Last, Stranger, connect, ends, frame},
};
use serde_json::json;
use std::{io::Write as _, net::SocketAddr};
use sundog_turbine::sync::{Held, Hello, Message, PROTOCOL, Refusal, Role};
use sundog_types::{Hash, Slot};
use sundog_validator::io::sockets::Bound;

/// Connections that the limit of a validator allows one address unless it is told otherwise.
const CONNECTIONS: usize = 3;
/// Slots that the node has before strangers ask for them.
const SLOTS: u64 = 130;
/// What all of this may make the node's memory grow: what one link (64 MiB) has queued, what frames that arrive (32 MiB)
/// and what the node's lane (64 MiB) hold, and as much for reads and growth of its own.
const GROWTH_BYTES_MAX: u64 = 256 << 20;

/// Where a validator serves its metrics.
fn metrics_of(bound: &Bound) -> String {
    format!("http://{}/metrics", bound.metrics)
}

/// A node under attack.
struct Target {
    address: SocketAddr,
    metrics: String,
    pid: u32,
    genesis_hash: Hash,
    shred_version: u16,
    memory: u64,
}

impl Target {
    fn new(localnet: &Localnet, bound: &Bound, pid: u32) -> Self {
        let genesis_hash = localnet.cluster()["genesis_hash"].as_str().and_then(|hash| hash.parse().ok());
        let nodes = localnet.call(0, "getClusterNodes", &json!([])).expect("it answers");
        let shred_version = nodes[0]["shredVersion"].as_u64().and_then(|version| version.try_into().ok());
        let (genesis_hash, shred_version) = (genesis_hash.expect("a hash"), shred_version.expect("a version"));
        let (address, metrics) = (bound.serve_repair, metrics_of(bound));
        let mut target = Self { address, metrics, pid, genesis_hash, shred_version, memory: 0 };
        target.memory = target.resident_bytes();
        target
    }

    fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid)).expect("it runs");
        let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
        pages.expect("a number") * 4_096
    }

    /// Its memory has not grown beyond the bound.
    fn is_bounded(&self) {
        let growth = self.resident_bytes().saturating_sub(self.memory);
        assert!(growth < GROWTH_BYTES_MAX, "the node's memory grew by {growth} bytes");
    }

    /// Something happens, and a counter grows by exactly so much.
    fn counts<T>(&self, (name, times): (&str, u64), act: impl FnOnce() -> T) -> T {
        let before = metric(&self.metrics, name);
        let done = act();
        until(name, || metric(&self.metrics, name) >= before + times);
        assert_eq!(metric(&self.metrics, name), before + times, "{name}");
        done
    }

    fn faults<T>(&self, (why, times): (&str, u64), act: impl FnOnce() -> T) -> T {
        self.counts((&format!("sundog_sync_faults_total{{why=\"{why}\"}}"), times), act)
    }

    /// A stranger does something, hears that it is refused for that, and it is counted once.
    fn refuses(&self, why: Refusal, act: impl FnOnce(&mut Stranger)) {
        let name = format!("sundog_sync_refused_total{{reason=\"{why}\"}}");
        let last = self.counts((&name, 1), || {
            let mut stranger = Stranger::new(self.address).expect("it speaks TLS");
            act(&mut stranger);
            stranger.last()
        });
        assert_eq!(last, Last::Refused(why));
    }

    fn hello(&self) -> Hello {
        let (genesis_hash, shred_version) = (self.genesis_hash, self.shred_version);
        Hello { protocol: PROTOCOL, genesis_hash, shred_version, held: Held::default(), role: Role::Following }
    }

    /// A peer that is welcome, and what the node holds.
    fn greeted(&self) -> (Stranger, Held) {
        let mut peer = Stranger::new(self.address).expect("it speaks TLS");
        peer.say(&[Message::Hello(self.hello())]);
        match peer.hear() {
            Some(Message::Hello(hello)) => (peer, hello.held),
            other => panic!("not greeted but {other:?}"),
        }
    }

    /// Peers that say nothing, before TLS and after.
    fn silence(&self) {
        let silent: Vec<_> = (0..30).map(|_| connect(self.address)).collect();
        self.faults(("handshake", 30), || {
            self.refuses(Refusal::Silent, |_| {});
            silent.into_iter().for_each(ends);
        });
    }

    /// No TLS, other protocols, and none.
    fn before_tls(&self) {
        self.faults(("handshake", 1), || {
            let mut garbage = connect(self.address);
            garbage.write_all(&[b'#'; 3_000]).expect("it is connected");
            ends(garbage);
        });
        self.faults(("handshake", 1), || {
            // It may learn of the end while it greets, or after.
            if let Ok(mut other) = Stranger::speaking(self.address, &[b"h3"]) {
                assert_eq!(other.last(), Last::End);
            }
        });
        self.faults(("not_identified", 1), || {
            let mut other = Stranger::speaking(self.address, &[]).expect("TLS lets it pass");
            assert_eq!(other.last(), Last::End);
        });
    }

    /// Peers of another protocol or another chain, and one that does not greet first.
    fn greetings(&self) {
        let hello = self.hello();
        let says = |hello: Hello| move |peer: &mut Stranger| peer.say(&[Message::Hello(hello)]);
        self.refuses(Refusal::OtherProtocol, says(Hello { protocol: PROTOCOL + 1, ..hello }));
        self.refuses(Refusal::OtherGenesis, says(Hello { genesis_hash: Hash::new_from_array([7; 32]), ..hello }));
        self.refuses(Refusal::OtherShredVersion, says(Hello { shred_version: hello.shred_version ^ 1, ..hello }));
        self.refuses(Refusal::Unexpected, |peer| peer.say(&[Message::GetPeers]));
    }

    /// Frames that are too long, cut, no messages, too many, or of the wrong side.
    fn frames(&self) {
        let hello = Message::Hello(self.hello());
        self.faults(("oversized", 1), || {
            self.refuses(Refusal::FrameTooLarge, |peer| {
                peer.write(&10_000_001_u32.to_le_bytes()).expect("it is connected");
            });
        });
        self.faults(("lost", 1), || {
            let mut peer = Stranger::new(self.address).expect("it speaks TLS");
            peer.write(&frame(&[0; 100])[..50]).expect("it is connected");
        });
        self.refuses(Refusal::Malformed, |peer| peer.write(&frame(&[0xff; 100])).expect("it is connected"));
        self.refuses(Refusal::TooManyMessages, |peer| {
            peer.say(&[vec![hello.clone()], vec![Message::Ping(Held::default()); 250]].concat());
        });
        self.refuses(Refusal::Unexpected, |peer| peer.say(&[hello.clone(), Message::Pong(Held::default())]));
    }

    /// Ranges that are not there, that cannot be, and everything at once.
    fn requests(&self) {
        let hello = Message::Hello(self.hello());
        let (mut peer, held) = self.greeted();
        for from in [held.root.get() + 100_000, u64::MAX] {
            peer.say(&[Message::GetBlocks { id: from, from: Slot::new(from), count: 100 }]);
            assert_eq!(peer.hear_answer(), Some(Message::NotHeld { id: from, lowest: held.lowest }));
        }
        let block_id = Hash::new_from_array([9; 32]);
        for slot in [Slot::new(1), held.root, Slot::new(u64::MAX)] {
            peer.say(&[Message::GetBlock { id: 5, slot, block_id }]);
            assert_eq!(peer.hear_answer(), Some(Message::NotHeld { id: 5, lowest: held.lowest }));
        }
        for count in [0, 101, u64::MAX] {
            let request = Message::GetBlocks { id: 1, from: Slot::new(1), count };
            self.refuses(Refusal::Malformed, |peer| peer.say(&[hello.clone(), request]));
        }
        let all = |id| Message::GetBlocks { id, from: Slot::new(1), count: 100 };
        self.refuses(Refusal::TooManyMessages, |peer| {
            peer.say(&[vec![hello.clone()], (0..250).map(all).collect()].concat());
        });
    }

    /// One asks for more and more and reads nothing.
    fn asks_and_does_not_read(&self) {
        self.faults(("slow", 1), || {
            let (mut peer, _) = self.greeted();
            peer.hurry();
            let served = "sundog_sync_blocks_total{what=\"served\"}";
            let mut slow = 0;
            until("the node gives it up", || {
                let before = metric(&self.metrics, served);
                peer.say(&[Message::GetBlocks { id: 1, from: Slot::new(1), count: 100 }]);
                until("it is answered", || {
                    slow = metric(&self.metrics, "sundog_sync_faults_total{why=\"slow\"}");
                    slow > 0 || metric(&self.metrics, served) > before
                });
                slow > 0
            });
            self.is_bounded();
        });
    }

    /// Many begin large frames at once and do not end them.
    fn begins_and_does_not_end(&self) {
        let mut peers: Vec<Stranger> = (0..40).map(|_| self.greeted().0).collect();
        for peer in &mut peers {
            peer.hurry();
            let _ = peer.write(&10_000_000_u32.to_le_bytes());
            let _ = peer.write(&vec![0; 4 << 20]);
        }
        self.is_bounded();
    }
}

/// Beyond its connections an address is told so once, and then closed before TLS.
fn crowds(target: &Target) {
    let mut welcome: Vec<Stranger> = (0..CONNECTIONS).map(|_| target.greeted().0).collect();
    let told = target.counts(("sundog_sync_refused_total{reason=\"too_many_connections\"}", 1), || {
        let mut told = Stranger::new(target.address).expect("it is let in to be told");
        assert!(matches!(told.hear(), Some(Message::Refuse { why: Refusal::TooManyConnections, .. })));
        told
    });
    // As long as that one has not hung up, it is one too many.
    target.faults(("address_full", 8), || {
        for _ in 0..8 {
            ends(connect(target.address));
        }
    });
    drop(told);
    for peer in &mut welcome {
        peer.say(&[Message::GetPeers]);
        assert!(matches!(peer.hear_answer(), Some(Message::Peers(_))), "those before them stay");
    }
}

#[test]
fn hostile_peers_of_bulk_sync_get_their_named_refusals_and_the_node_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut localnet = Localnet::start(directory.path(), &["--slot-ms", "50", "--validators", "1"]);
    localnet.wait_until_ready();
    let follower = Validator::follow(&localnet, &directory.path().join("follower"));
    let followed = || metric(&metrics_of(follower.bound()), "sundog_slot_finalized");
    until("the follower follows", || followed() > 0);
    let pid = localnet.cluster()["nodes"][0]["pid"].as_u64().and_then(|pid| pid.try_into().ok());
    let target = Target::new(&localnet, &localnet.bound(0), pid.expect("it runs"));

    target.silence();
    target.before_tls();
    target.greetings();
    target.frames();
    crowds(&Target::new(&localnet, follower.bound(), follower.pid()));
    until("there is something to ask for", || localnet.slot(0, "finalized") > SLOTS);
    target.requests();
    target.asks_and_does_not_read();
    target.begins_and_does_not_end();

    let reached = localnet.slot(0, "finalized");
    until("the node makes blocks", || localnet.slot(0, "finalized") > reached + 10);
    until("and others follow", || followed() > reached + 10);
    let (mut peer, _) = target.greeted();
    peer.say(&[Message::GetBlocks { id: 1, from: Slot::new(1), count: 100 }]);
    assert!(matches!(peer.hear_answer(), Some(Message::Blocks { blocks, .. }) if !blocks.is_empty()));
    target.is_bounded();
    localnet.down();
}
