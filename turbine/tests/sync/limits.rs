//! One machine and what strangers do to it: every refusal has its name, every limit holds.

use crate::{
    ledger::{SHRED_VERSION, main_chain},
    world::{config, hello},
};
use bytes::Bytes;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use sundog_turbine::sync::{
    ChainState, Effect, FRAME_BYTES_AIM, Hello, Input, LOADS_MAX, LinkId, LoadWhat, Message, OPEN_PER_LINK, PEERS_MAX,
    PeerEntry, Refusal, StoredBlock, Sync, SyncConfig, WANTED_MAX,
};
use sundog_types::{
    Hash, Machine as _, Now, Pubkey, Slot,
    peer::{Addresses, Peer, Version},
    shred::{MAX_SHREDS_PER_SLOT, variant::DATA_SHRED_SIZE},
};

struct Alone {
    sync: Sync,
    now: Now,
    out: Vec<Effect>,
}

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], port))
}

fn id(number: u8) -> Pubkey {
    Pubkey::new_from_array([number; 32])
}

impl Alone {
    fn new(config: SyncConfig) -> Self {
        let now = Now { mono_us: 5_000_000, unix_ms: 0 };
        let mut alone = Self { sync: Sync::new(config, id(1), [3; 32]), now, out: Vec::new() };
        let chain = ChainState { root: Slot::new(500), applied: Slot::new(540), ..ChainState::default() };
        alone.input(Input::Chain(chain));
        alone
    }

    fn input(&mut self, input: Input) {
        self.sync.handle(self.now, input, &mut self.out);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(wake) = self.sync.poll_timeout().filter(|wake| end.reached(*wake)) {
            self.now = self.now.max(wake);
            self.sync.handle_timeout(self.now, &mut self.out);
        }
        self.now = end;
    }

    /// A stranger opens a link.
    fn open(&mut self, link: u64, host: u8) {
        let opened = Input::Opened { link: LinkId::new(link), peer: id(50), address: address(host, 1), dialed: false };
        self.input(opened);
    }

    fn frame(&mut self, link: u64, message: &Message) {
        self.bytes(link, message.encode());
    }

    fn bytes(&mut self, link: u64, bytes: Bytes) {
        self.input(Input::Frame { link: LinkId::new(link), bytes });
    }

    fn greet(&mut self, link: u64, host: u8) {
        self.open(link, host);
        self.frame(link, &Message::Hello(hello()));
        assert!(self.take_refusal(link).is_none());
    }

    /// This node dials a peer; the link is open and greeted.
    fn dial(&mut self, link: u64) -> Pubkey {
        self.know(9);
        self.dialed(link, None);
        self.frame(link, &Message::Hello(hello()));
        id(9)
    }

    fn know(&mut self, host: u8) {
        let peer = Peer {
            identity: id(host),
            addresses: Addresses { serve_repair: Some(address(host, 1)), ..Addresses::default() },
            stake: 0,
            last_seen: self.now,
            shred_version: SHRED_VERSION,
            version: Version::default(),
            outset_us: 0,
            lowest_slot: Slot::ZERO,
        };
        self.input(Input::Peers(Arc::new(vec![peer])));
    }

    /// Answers the dial that was asked for, as that peer or as another.
    fn dialed(&mut self, link: u64, other: Option<Pubkey>) {
        let dial = self.out.iter().find_map(|effect| match effect {
            Effect::Dial { peer, address } => Some((*peer, *address)),
            _ => None,
        });
        let (peer, address) = dial.expect("a dial");
        self.out.clear();
        let peer = other.unwrap_or(peer);
        self.input(Input::Opened { link: LinkId::new(link), peer, address, dialed: true });
    }

    fn messages(&mut self, link: u64) -> Vec<Message> {
        let to = LinkId::new(link);
        let frames = self.out.iter().filter_map(|effect| match effect {
            Effect::Send { link, frame } if *link == to => Some(Message::decode(frame).unwrap()),
            _ => None,
        });
        frames.collect()
    }

    /// The last words of a link, if it was closed.
    fn take_refusal(&mut self, link: u64) -> Option<Refusal> {
        let to = LinkId::new(link);
        let closed = self.out.iter().any(|effect| matches!(effect, Effect::Close { link } if *link == to));
        let last = self.messages(link).pop();
        let told = self.out.iter().any(|effect| matches!(effect, Effect::Refused { .. }));
        self.out.clear();
        match last {
            Some(Message::Refuse { why, .. }) => {
                assert!(closed && told, "refused links are closed and reported");
                assert!(self.sync.metrics().refused(why) > 0, "{why} is counted");
                Some(why)
            }
            _ => None,
        }
    }
}

#[test]
fn strangers_of_another_protocol_or_chain_are_refused_by_name() {
    let cases = [
        (Hello { protocol: 2, ..hello() }, Refusal::OtherProtocol),
        (Hello { genesis_hash: Hash::default(), ..hello() }, Refusal::OtherGenesis),
        (Hello { shred_version: 8, ..hello() }, Refusal::OtherShredVersion),
    ];
    for (hello, why) in cases {
        let mut alone = Alone::new(config());
        alone.open(1, 2);
        alone.frame(1, &Message::Hello(hello));
        let told = alone.messages(1).pop();
        assert!(
            matches!(told, Some(Message::Refuse { detail, .. }) if detail.contains("here")),
            "what would do is said"
        );
        assert_eq!(alone.take_refusal(1), Some(why));
        assert_eq!(alone.sync.poll_timeout(), None);
    }
}

#[test]
fn frames_that_are_too_long_malformed_or_out_of_place_are_refused_by_name() {
    let ask = Message::GetBlocks { id: 1, from: Slot::new(1), count: 101 };
    let cases: [(Message, Refusal); 6] = [
        (Message::Hello(hello()), Refusal::Unexpected),
        (Message::Pong(hello().held), Refusal::Unexpected),
        (Message::Peers(vec![]), Refusal::Unexpected),
        (Message::Announce { slot: Slot::new(9), block_id: None }, Refusal::Unexpected),
        (ask.clone(), Refusal::Malformed),
        (Message::GetBlocks { id: 1, from: Slot::new(1), count: 0 }, Refusal::Malformed),
    ];
    for (message, why) in cases {
        let mut alone = Alone::new(config());
        alone.greet(1, 2);
        alone.frame(1, &message);
        assert_eq!(alone.take_refusal(1), Some(why), "{message:?}");
    }
    let mut alone = Alone::new(config());
    alone.open(1, 2);
    alone.frame(1, &Message::Ping(hello().held));
    assert_eq!(alone.take_refusal(1), Some(Refusal::Unexpected), "the greeting comes first");
    alone.open(2, 2);
    alone.bytes(2, Bytes::from_static(&[1, 2, 3]));
    assert_eq!(alone.take_refusal(2), Some(Refusal::Malformed));
    alone.open(3, 2);
    alone.input(Input::Oversized { link: LinkId::new(3), bytes: 4_000_000_000 });
    assert_eq!(alone.take_refusal(3), Some(Refusal::FrameTooLarge));
    alone.open(4, 2);
    alone.bytes(4, Bytes::from(vec![0; config().frame_bytes_max + 1]));
    assert_eq!(alone.take_refusal(4), Some(Refusal::FrameTooLarge));
}

#[test]
fn a_hundred_messages_a_second_are_taken_and_not_more() {
    let mut alone = Alone::new(config());
    alone.greet(1, 2);
    for _ in 1..100 {
        alone.frame(1, &Message::Ping(hello().held));
    }
    assert_eq!(alone.take_refusal(1), None);
    alone.pass(Duration::from_millis(100));
    for _ in 0..10 {
        alone.frame(1, &Message::Ping(hello().held));
    }
    assert_eq!(alone.take_refusal(1), None);
    alone.frame(1, &Message::Ping(hello().held));
    assert_eq!(alone.take_refusal(1), Some(Refusal::TooManyMessages));
}

#[test]
fn links_are_counted_by_address_and_in_all() {
    let mut alone = Alone::new(SyncConfig { links_max: 7, ..config() });
    for link in 0..3 {
        alone.greet(link, 2);
    }
    alone.open(3, 2);
    assert_eq!(alone.take_refusal(3), Some(Refusal::TooManyConnections));
    for link in 4..8 {
        alone.greet(link, link as u8);
    }
    alone.open(8, 100);
    assert_eq!(alone.take_refusal(8), Some(Refusal::LinksFull));
    assert_eq!(alone.sync.links(), (0, 7));
    alone.input(Input::Closed { link: LinkId::new(0) });
    alone.greet(9, 2);
    assert_eq!(alone.sync.links(), (0, 7));
}

#[test]
fn who_does_not_greet_or_falls_silent_is_refused() {
    let mut alone = Alone::new(config());
    alone.open(1, 2);
    alone.pass(Duration::from_millis(4_900));
    assert_eq!(alone.take_refusal(1), None);
    alone.pass(Duration::from_millis(200));
    assert_eq!(alone.take_refusal(1), Some(Refusal::Silent));
    alone.greet(2, 2);
    alone.pass(Duration::from_secs(14));
    alone.frame(2, &Message::Ping(hello().held));
    assert!(matches!(alone.messages(2)[..], [Message::Pong(held)] if held.root == Slot::new(500)));
    assert_eq!(alone.take_refusal(2), None);
    alone.pass(Duration::from_secs(14));
    assert_eq!(alone.take_refusal(2), None);
    alone.pass(Duration::from_secs(2));
    assert_eq!(alone.take_refusal(2), Some(Refusal::Silent));
    assert_eq!(alone.sync.poll_timeout(), None, "without links there is no timer");
}

#[test]
fn another_node_at_the_dialed_address_is_refused_and_not_blamed() {
    let mut alone = Alone::new(config());
    alone.know(9);
    alone.dialed(1, Some(id(10)));
    assert_eq!(alone.take_refusal(1), Some(Refusal::NotIdentified));
    alone.know(10);
    alone.dialed(2, None);
    assert!(matches!(alone.messages(2)[..], [Message::Hello(_)]));
}

#[test]
fn requests_wait_for_the_budget_and_too_many_are_refused() {
    let mut alone = Alone::new(SyncConfig { served_bytes_per_second: 1_000, ..config() });
    let ask = |id| Message::GetBlocks { id, from: Slot::new(1), count: 100 };
    let loads = |alone: &mut Alone| alone.out.iter().filter(|effect| matches!(effect, Effect::Load(_))).count();
    for link in 0..4 {
        alone.greet(link, link as u8);
    }
    for request in 0..OPEN_PER_LINK as u64 {
        for link in 0..4 {
            alone.frame(link, &ask(request));
        }
    }
    assert_eq!(loads(&mut alone), LOADS_MAX);
    alone.out.clear();
    alone.frame(0, &ask(99));
    assert_eq!(alone.take_refusal(0), Some(Refusal::TooManyMessages));
    let (blocks, next) = main_chain().range(Slot::new(1), 1_000, 60_000);
    let lowest = Slot::new(1);
    alone.input(Input::Loaded { id: 1, blocks, next, lowest });
    assert!(alone.messages(1).iter().any(|message| matches!(message, Message::Blocks { more: false, .. })));
    assert_eq!(loads(&mut alone), 0, "the budget is spent");
    alone.pass(Duration::from_secs(5));
    let refused = alone.sync.metrics().refused(Refusal::Busy);
    assert_eq!(refused, 3, "those whose requests waited too long");
}

#[test]
fn a_request_is_cut_to_the_root_and_a_large_block_into_frames() {
    let mut alone = Alone::new(config());
    alone.greet(1, 2);
    alone.frame(1, &Message::GetBlocks { id: 7, from: Slot::new(490), count: 100 });
    let what = alone.out.iter().find_map(|effect| match effect {
        Effect::Load(load) => Some(load.what),
        _ => None,
    });
    let bytes_max = config().answer_bytes;
    assert_eq!(what, Some(LoadWhat::Range { from: Slot::new(490), count: 11, bytes_max }));
    let shred = Bytes::from(vec![7; DATA_SHRED_SIZE]);
    let large = StoredBlock { slot: Slot::new(492), shreds: vec![shred.clone(); MAX_SHREDS_PER_SLOT as usize] };
    let small = StoredBlock { slot: Slot::new(490), shreds: vec![shred; 32] };
    let (blocks, next, lowest) = (vec![small, large], Slot::new(493), Slot::ZERO);
    alone.out.clear();
    alone.input(Input::Loaded { id: 0, blocks, next, lowest });
    let (mut shreds, mut last) = (0, false);
    for message in alone.messages(1) {
        assert!(message.encode().len() < FRAME_BYTES_AIM + FRAME_BYTES_AIM / 50);
        let Message::Blocks { id: 7, blocks, next: end, more } = message else { panic!("{message:?}") };
        assert!(!last && blocks.iter().all(|block| !block.shreds.is_empty()));
        shreds += blocks.iter().map(|block| block.shreds.len()).sum::<usize>();
        last = !more && end == next;
    }
    assert_eq!((shreds, last), (32 + MAX_SHREDS_PER_SLOT as usize, true));
    alone.out.clear();
    alone.frame(1, &Message::GetBlocks { id: 8, from: Slot::new(501), count: 1 });
    assert!(matches!(alone.messages(1)[..], [Message::NotHeld { id: 8, .. }]));
}

#[test]
fn links_hear_of_new_roots() {
    let mut alone = Alone::new(config());
    alone.greet(1, 2);
    alone.pass(Duration::from_secs(1));
    let chain = ChainState { root: Slot::new(501), applied: Slot::new(541), ..ChainState::default() };
    alone.input(Input::Chain(chain));
    assert!(matches!(alone.messages(1)[..], [Message::Announce { slot, block_id: None }] if slot == Slot::new(501)));
}

#[test]
fn what_peers_name_is_bounded_and_asked_for() {
    let mut alone = Alone::new(SyncConfig { probe_peers: 90, ..config() });
    alone.dial(1);
    let entry =
        |host: u8| PeerEntry { identity: id(host), address: address(host, 1), root: Slot::ZERO, highest: Slot::ZERO };
    assert!(alone.messages(1).contains(&Message::GetPeers));
    alone.out.clear();
    let many = Message::Peers((60..160).map(entry).collect());
    assert!(Message::decode(&many.encode()).is_err(), "one message names {PEERS_MAX} at most");
    alone.frame(1, &Message::Peers((60..60 + PEERS_MAX as u8).map(entry).collect()));
    assert_eq!(alone.take_refusal(1), None);
    alone.frame(1, &Message::Peers(vec![]));
    assert_eq!(alone.take_refusal(1), Some(Refusal::Unexpected), "it was asked once");
}

#[test]
fn wants_are_bounded_and_given_up_when_nobody_has_them() {
    let mut alone = Alone::new(config());
    for epoch in 0..6 {
        alone.input(Input::Epoch(crate::ledger::epoch(epoch)));
    }
    alone.know(9);
    for slot in 0..WANTED_MAX as u64 + 3 {
        alone.input(Input::Wanted { slot: Slot::new(600 + slot), block_id: Hash::default() });
    }
    assert_eq!(alone.sync.metrics().wanted_given_up, 3);
    alone.input(Input::Wanted { slot: Slot::new(100_000), block_id: Hash::default() });
    assert_eq!(alone.sync.metrics().wanted_given_up, 4, "nobody is known to lead that slot");
    alone.input(Input::DialFailed { peer: id(9), address: address(9, 1) });
    assert_eq!(alone.sync.metrics().wanted_given_up, 4 + WANTED_MAX as u64);
}

#[test]
fn an_answer_is_checked_on_the_pool() {
    let mut alone = Alone::new(config());
    for epoch in 0..6 {
        alone.input(Input::Epoch(crate::ledger::epoch(epoch)));
    }
    let chain = ChainState::default();
    alone.input(Input::Chain(chain));
    alone.dial(1);
    let asked = |alone: &mut Alone| {
        alone.messages(1).into_iter().find_map(|message| match message {
            Message::GetBlocks { id, from, count } => Some((id, from, count)),
            _ => None,
        })
    };
    let (request, from, count) = asked(&mut alone).expect("it is behind");
    alone.out.clear();
    let (blocks, next) = main_chain().range(from, count, usize::MAX);
    alone.frame(1, &Message::Blocks { id: request, blocks, next, more: false });
    let check = alone.out.iter().find_map(|effect| match effect {
        Effect::Check(check) => Some(check.clone()),
        _ => None,
    });
    let checked = check.expect("it is checked on the pool").run();
    assert_eq!(checked.result.map(|blocks| blocks.is_empty()), Ok(false));
}

/// How many ranges a node far behind asks its only peer for.
fn ranges_asked(config: SyncConfig) -> usize {
    let mut alone = Alone::new(config);
    for epoch in 0..6 {
        alone.input(Input::Epoch(crate::ledger::epoch(epoch)));
    }
    alone.input(Input::Chain(ChainState::default()));
    alone.dial(1);
    alone.messages(1).iter().filter(|message| matches!(message, Message::GetBlocks { .. })).count()
}

#[test]
fn requests_are_bounded_by_peer_by_ranges_and_by_bytes() {
    assert_eq!(ranges_asked(config()), 2, "of five");
    assert_eq!(ranges_asked(SyncConfig { requests_per_peer: 4, ..config() }), 4);
    assert_eq!(ranges_asked(SyncConfig { requests_per_peer: 9, ranges_max: 3, ..config() }), 3);
    assert_eq!(ranges_asked(SyncConfig { bytes_max: 1, ..config() }), 1, "the next range comes in any case");
}
