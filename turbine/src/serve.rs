//! Answers other nodes' repair requests from what the ledger holds (reference 7.1, 7.2).
//!
//! Costs are met in the order of what they are: header fields are free; checking a signature comes out of an
//! allowance, and who has ponged has one that strangers, who can be invented, can not use up; reading and sending
//! comes out of another. Of each allowance, nobody gets more than a share, and those without stake half at most.

use crate::{
    metrics::DropReason,
    ping::PingCache,
    quota::{Quota, Rates},
    repair_wire::{
        ANCESTORS_MAX, AncestorHashes, Ask, ORPHAN_ANSWERS, Packet, Ping, Pong, Request, RequestFault,
        encode_shred_response,
    },
};
use bytes::Bytes;
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};
use sundog_types::{Hash, Now, Pubkey, ShredIndex, Slot, peer::Peer, shred::variant::DATA_SHRED_SIZE, sign::Sign};

/// Bytes served in a second: the reference's figure, about 10,000 shreds. Over it, requests are dropped.
pub const SERVED_BYTES_PER_SECOND: u64 = 12_000_000;
/// Bytes served to one peer in a second.
pub const SERVED_BYTES_EACH: u64 = SERVED_BYTES_PER_SECOND / 4;
/// Requests of peers that have ponged whose signatures are checked in a second: a fifth of a core. Over it, requests
/// are dropped unread.
pub const CHECKS_PER_SECOND: u64 = 4_000;
/// Requests of one peer that are checked in a second.
pub const CHECKS_EACH: u64 = CHECKS_PER_SECOND / 2;
/// Requests from where nobody has ponged that are checked in a second. They are answered with a ping at most.
pub const STRANGERS_PER_SECOND: u64 = 500;
/// Of these, requests from one address.
pub const STRANGERS_EACH: u64 = 20;
/// Nodes whose stake is known: all that repair may ask. More: those with the least stake count as without.
pub const STAKED_MAX: usize = crate::peers::PEERS_MAX;
/// Most reads that one request costs: for each ancestor what is known of it, and whether it is rooted.
pub const READS_MAX: usize = 2 * (ANCESTORS_MAX + 2);
const _: () = assert!(READS_MAX >= 2 * ORPHAN_ANSWERS as usize, "a shred and a parent for each slot of an ancestry");

const SHRED_ANSWER_BYTES: u64 = DATA_SHRED_SIZE as u64 + 4;

/// Reads shreds from the ledger. Calls must be quick: they are made on the protocol's thread, [`READS_MAX`] for a
/// request, within the allowances above.
pub trait ShredSource: Send + Sync {
    /// The data shred at an index, if held.
    fn data_shred(&self, slot: Slot, index: ShredIndex) -> Option<Bytes>;
    /// The data shred with the highest index held of a slot.
    fn highest_data_shred(&self, slot: Slot) -> Option<Bytes>;
    /// The slot's parent, if known.
    fn parent(&self, slot: Slot) -> Option<Slot>;
    /// Bank hashes of the slot and its ancestors, the slot first, up to [`ANCESTORS_MAX`], if the cluster has confirmed
    /// that version of the slot. `None`, as if not given, or nothing: it has not; the answer is then an empty list.
    fn ancestor_hashes(&self, slot: Slot) -> Option<Vec<(Slot, Hash)>> {
        let _ = slot;
        None
    }
}

/// What the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedKind {
    /// A shred and the request's nonce.
    Shred,
    /// Bank hashes of ancestors, or an empty list.
    Ancestors,
    /// A ping.
    Ping,
}

type Answers = Vec<(Bytes, ServedKind)>;
/// An identity at an address, and whether there is stake behind it.
type Asker = ((Pubkey, SocketAddr), bool);

/// The repair server.
pub struct Serve {
    signer: Arc<dyn Sign>,
    source: Arc<dyn ShredSource>,
    pings: PingCache,
    staked: BTreeSet<Pubkey>,
    bytes: Quota<(Pubkey, SocketAddr)>,
    checks: Quota<(Pubkey, SocketAddr)>,
    strangers: Quota<SocketAddr>,
}

impl Serve {
    /// A server that reads from `source` and derives its ping tokens from `secret`.
    #[must_use]
    pub fn new(signer: Arc<dyn Sign>, source: Arc<dyn ShredSource>, secret: [u8; 32]) -> Self {
        let rates = |all, each| Rates { all, unstaked: all / 2, each };
        let strangers = Rates { all: STRANGERS_PER_SECOND, unstaked: STRANGERS_PER_SECOND, each: STRANGERS_EACH };
        Self {
            signer,
            source,
            pings: PingCache::new(secret),
            staked: BTreeSet::new(),
            bytes: Quota::new(rates(SERVED_BYTES_PER_SECOND, SERVED_BYTES_EACH)),
            checks: Quota::new(rates(CHECKS_PER_SECOND, CHECKS_EACH)),
            strangers: Quota::new(strangers),
        }
    }

    /// Takes the registry: who has stake.
    pub fn set_peers(&mut self, peers: &[Peer]) {
        let mut staked: Vec<_> = peers.iter().filter(|peer| peer.stake > 0).collect();
        if staked.len() > STAKED_MAX {
            staked.sort_by_key(|peer| (std::cmp::Reverse(peer.stake), peer.identity));
            staked.truncate(STAKED_MAX);
        }
        self.staked = staked.into_iter().map(|peer| peer.identity).collect();
    }

    /// Takes a datagram and tells what to send back to where it came from; nothing for a good pong.
    ///
    /// # Errors
    /// Why there is no answer. An address that has not ponged gets at most a ping, which is shorter than its request.
    pub fn answer(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) -> Result<Answers, DropReason> {
        let packet = Packet::decode(bytes)?;
        packet.check_header(&self.signer.identity(), now.unix_ms)?;
        let (identity, known) = match &packet {
            Packet::Pong(pong) if !self.pings.expects(now, pong.from, from, &pong.hash) => {
                return Err(DropReason::UnaskedPong);
            }
            // Whoever knows the token reads at that address, signature or not.
            Packet::Pong(pong) => (pong.from, true),
            Packet::Request(request, _) => (request.sender, self.pings.proven(now, request.sender, from)),
        };
        let asker = ((identity, from), self.staked.contains(&identity));
        let may_check =
            if known { self.checks.take(now, asker, 1) } else { self.strangers.take(now, (from, false), 1) };
        if !may_check {
            return Err(DropReason::RequestBudget);
        }
        packet.check_signature(bytes)?;
        match packet {
            Packet::Pong(Pong { from: identity, .. }) => {
                self.pings.prove(now, identity, from);
                Ok(Vec::new())
            }
            Packet::Request(request, _) => self.serve(now, asker, &request),
        }
    }

    fn serve(&mut self, now: Now, asker: Asker, request: &Request) -> Result<Answers, DropReason> {
        let standing = self.pings.standing(now, request.sender, asker.0.1);
        let ping = standing.ping.map(|token| {
            let ping = Ping::new(token, &*self.signer);
            let bytes = match request.ask {
                Ask::AncestorHashes { .. } => ping.encode_ancestor_response(),
                _ => ping.encode_response(),
            };
            (bytes, ServedKind::Ping)
        });
        let answers = if standing.proven { self.answers(now, asker, request) } else { Err(DropReason::Unproven) };
        match (ping, answers) {
            (None, answers) => answers,
            (Some(ping), answers) => {
                let mut answers = answers.unwrap_or_default();
                answers.push(ping);
                Ok(answers)
            }
        }
    }

    /// What a peer that has proved itself gets. Pays for the longest answer before anything is read; what was not
    /// needed is given back, but for one shred's worth, which is the price of having looked.
    fn answers(&mut self, now: Now, asker: Asker, request: &Request) -> Result<Answers, DropReason> {
        let most = u64::from(request.ask.answers()) * SHRED_ANSWER_BYTES;
        if !self.bytes.take(now, asker, most) {
            return Err(DropReason::AnswerBudget);
        }
        let answers = self.read(request);
        let size: usize = answers.iter().map(|(bytes, _)| bytes.len()).sum();
        let needed = (size as u64).max(SHRED_ANSWER_BYTES);
        self.bytes.give_back(asker, most.saturating_sub(needed));
        if answers.is_empty() { Err(DropReason::NotHeld) } else { Ok(answers) }
    }

    fn read(&self, request: &Request) -> Answers {
        let held: Vec<Bytes> = match request.ask {
            Ask::Window { slot, index } => {
                let index = u32::try_from(index).ok().map(ShredIndex::new);
                index.and_then(|index| self.source.data_shred(slot, index)).into_iter().collect()
            }
            Ask::Highest { slot, .. } => {
                let highest = self.source.highest_data_shred(slot);
                highest.filter(|shred| request.ask.answered_by(shred)).into_iter().collect()
            }
            Ask::Orphan { slot } => self.ancestry(slot),
            Ask::AncestorHashes { slot } => {
                let mut hashes = self.source.ancestor_hashes(slot).unwrap_or_default();
                hashes.truncate(ANCESTORS_MAX);
                let answer = AncestorHashes { hashes, nonce: request.nonce };
                return vec![(answer.encode(), ServedKind::Ancestors)];
            }
        };
        held.iter().map(|shred| (encode_shred_response(shred, request.nonce), ServedKind::Shred)).collect()
    }

    /// The highest shreds of a slot and its ancestors, up to the first of which nothing is held.
    fn ancestry(&self, slot: Slot) -> Vec<Bytes> {
        let mut held = Vec::new();
        let mut next = Some(slot);
        while let Some(slot) = next
            && held.len() < usize::from(ORPHAN_ANSWERS)
            && let Some(shred) = self.source.highest_data_shred(slot)
        {
            held.push(shred);
            next = self.source.parent(slot).filter(|parent| *parent < slot);
        }
        held
    }
}

impl From<RequestFault> for DropReason {
    fn from(fault: RequestFault) -> Self {
        match fault {
            RequestFault::TooShort => Self::RequestTooShort,
            RequestFault::Malformed => Self::RequestMalformed,
            RequestFault::OtherRecipient => Self::RequestOtherRecipient,
            RequestFault::FromSelf => Self::RequestFromSelf,
            RequestFault::TimeSkew => Self::RequestTimeSkew,
            RequestFault::BadSignature => Self::RequestBadSignature,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use solana_keypair::Keypair;
    use sundog_types::sign::Identity;

    /// Slots 1 to 20 in a row, each with shreds 0 to 9; a shred is only its header's slot and index.
    struct Shelf;

    fn shred(slot: Slot, index: u32) -> Bytes {
        let mut bytes = vec![0; 1_203];
        bytes[65..73].copy_from_slice(&slot.get().to_le_bytes());
        bytes[73..77].copy_from_slice(&index.to_le_bytes());
        bytes.into()
    }

    impl ShredSource for Shelf {
        fn data_shred(&self, slot: Slot, index: ShredIndex) -> Option<Bytes> {
            (slot.get() <= 20 && index.get() < 10).then(|| shred(slot, index.get()))
        }
        fn highest_data_shred(&self, slot: Slot) -> Option<Bytes> {
            (1..=20).contains(&slot.get()).then(|| shred(slot, 9))
        }
        fn parent(&self, slot: Slot) -> Option<Slot> {
            slot.previous()
        }
        fn ancestor_hashes(&self, slot: Slot) -> Option<Vec<(Slot, Hash)>> {
            (slot.get() == 3).then(|| vec![(slot, Hash::default()); 40])
        }
    }

    struct Pair {
        server: Serve,
        me: Arc<Identity>,
        asker: Identity,
        from: SocketAddr,
        now: Now,
    }

    impl Pair {
        fn new() -> Self {
            let me = Arc::new(Identity::new(Keypair::new_from_array([1; 32])));
            Self {
                server: Serve::new(Arc::clone(&me) as Arc<dyn Sign>, Arc::new(Shelf), [3; 32]),
                me,
                asker: Identity::new(Keypair::new_from_array([2; 32])),
                from: SocketAddr::from(([127, 0, 0, 1], 7)),
                now: Now { mono_us: 5_000_000, unix_ms: 1_000_000 },
            }
        }

        fn request(&self, ask: Ask) -> Bytes {
            let (sender, recipient) = (self.asker.identity(), self.me.identity());
            Request { sender, recipient, timestamp_ms: self.now.unix_ms, nonce: 77, ask }.sign(&self.asker)
        }

        fn ask(&mut self, ask: Ask) -> Result<Vec<(Bytes, ServedKind)>, DropReason> {
            let bytes = self.request(ask);
            self.server.answer(self.now, self.from, &bytes)
        }

        fn prove(&mut self) {
            let answer = self.ask(Ask::Orphan { slot: Slot::new(1) }).unwrap();
            let ping = Ping::decode_response(&answer[0].0).unwrap();
            let pong = Pong::new(&ping, &self.asker).encode();
            assert_eq!(self.server.answer(self.now, self.from, &pong), Ok(Vec::new()));
        }

        fn indexes(&mut self, ask: Ask) -> Vec<(u64, u32)> {
            let answers = self.ask(ask).unwrap_or_default();
            let place = |(bytes, _): &(Bytes, ServedKind)| {
                assert_eq!(bytes[bytes.len() - 4..], 77_u32.to_le_bytes());
                let slot = u64::from_le_bytes(bytes[65..73].try_into().unwrap());
                (slot, u32::from_le_bytes(bytes[73..77].try_into().unwrap()))
            };
            answers.iter().map(place).collect()
        }
    }

    #[test]
    fn a_stranger_gets_a_ping_shorter_than_its_request_and_nothing_else() {
        let slot = Slot::new(5);
        for ask in [
            Ask::Window { slot, index: 1 },
            Ask::Highest { slot, index: 0 },
            Ask::Orphan { slot },
            Ask::AncestorHashes { slot },
        ] {
            let mut pair = Pair::new();
            let answer = pair.ask(ask).unwrap();
            let [(bytes, ServedKind::Ping)] = &answer[..] else { panic!("one ping, not {answer:?}") };
            assert!(bytes.len() < pair.request(ask).len());
            assert_eq!(pair.ask(ask), Err(DropReason::Unproven), "not pinged again at once");
        }
    }

    #[test]
    fn whoever_ponged_is_served() {
        let mut pair = Pair::new();
        pair.prove();
        let slot = Slot::new(5);
        assert_eq!(pair.indexes(Ask::Window { slot, index: 3 }), [(5, 3)]);
        assert_eq!(pair.ask(Ask::Window { slot, index: 10 }), Err(DropReason::NotHeld));
        assert_eq!(pair.ask(Ask::Window { slot, index: u64::MAX }), Err(DropReason::NotHeld));
        assert_eq!(pair.indexes(Ask::Highest { slot, index: 9 }), [(5, 9)]);
        assert_eq!(pair.ask(Ask::Highest { slot, index: 10 }), Err(DropReason::NotHeld));
        assert_eq!(pair.indexes(Ask::Orphan { slot: Slot::new(2) }), [(2, 9), (1, 9)]);
        assert_eq!(pair.indexes(Ask::Orphan { slot: Slot::new(20) }).len(), 11);
        for (slot, count) in [(5, 0), (3, ANCESTORS_MAX)] {
            let answers = pair.ask(Ask::AncestorHashes { slot: Slot::new(slot) }).unwrap();
            let [(bytes, ServedKind::Ancestors)] = &answers[..] else { panic!("one list, not {answers:?}") };
            let list = AncestorHashes::decode(bytes).unwrap();
            assert_eq!((list.hashes.len(), list.nonce), (count, 77));
        }
    }

    #[test]
    fn a_pong_counts_only_from_the_address_that_was_pinged() {
        let mut pair = Pair::new();
        let ask = Ask::Window { slot: Slot::new(5), index: 0 };
        let answer = pair.ask(ask).unwrap();
        let pong = Pong::new(&Ping::decode_response(&answer[0].0).unwrap(), &pair.asker).encode();
        let elsewhere = SocketAddr::from(([127, 0, 0, 1], 8));
        assert_eq!(pair.server.answer(pair.now, elsewhere, &pong), Err(DropReason::UnaskedPong));
        assert_eq!(pair.ask(ask), Err(DropReason::Unproven));
    }

    /// Another asker at the same server: who, and how much it was served until it was refused.
    fn drain(pair: &mut Pair, number: u8) -> (u64, DropReason) {
        pair.asker = Identity::new(Keypair::new_from_array([number; 32]));
        pair.from = SocketAddr::from(([10, 0, 0, number], 7));
        pair.prove();
        let mut served = 0;
        loop {
            match pair.ask(Ask::Orphan { slot: Slot::new(20) }) {
                Ok(answers) => served += answers.iter().map(|(bytes, _)| bytes.len() as u64).sum::<u64>(),
                Err(why) => return (served, why),
            }
        }
    }

    fn stake(number: u8) -> Peer {
        let identity = Identity::new(Keypair::new_from_array([number; 32])).identity();
        let (addresses, version) = Default::default();
        let last_seen = Now { mono_us: 0, unix_ms: 0 };
        Peer {
            identity,
            addresses,
            stake: 1,
            last_seen,
            shred_version: 7,
            version,
            outset_us: 0,
            lowest_slot: Slot::ZERO,
        }
    }

    #[test]
    fn output_stops_at_the_budget_and_goes_on_later() {
        let mut pair = Pair::new();
        pair.server.set_peers(&(10..20).map(stake).collect::<Vec<_>>());
        let drained: Vec<_> = (10..16).map(|number| drain(&mut pair, number)).collect();
        let total: u64 = drained.iter().map(|(served, _)| served).sum();
        assert!(drained.iter().all(|(_, why)| *why == DropReason::AnswerBudget), "{drained:?}");
        assert!(total <= SERVED_BYTES_PER_SECOND / 10 && total > SERVED_BYTES_PER_SECOND / 11, "{total}");
        assert!(drained.iter().all(|(served, _)| *served <= SERVED_BYTES_EACH / 10));
        pair.now = pair.now.after(std::time::Duration::from_millis(100));
        assert!(pair.ask(Ask::Orphan { slot: Slot::new(20) }).is_ok());
    }

    #[test]
    fn a_greedy_peer_and_any_number_without_stake_leave_enough_for_others() {
        let mut pair = Pair::new();
        pair.server.set_peers(&[stake(40)]);
        let greedy: u64 = (10..30).map(|number| drain(&mut pair, number).0).sum();
        assert!(greedy <= SERVED_BYTES_PER_SECOND / 20, "half of a tenth of a second: {greedy}");
        let (staked, _) = drain(&mut pair, 40);
        assert!(staked > SERVED_BYTES_EACH / 11, "its whole share: {staked}");
    }

    #[test]
    fn what_is_not_held_costs_the_asker_a_shred() {
        let mut pair = Pair::new();
        pair.prove();
        let mut asked = 0;
        while pair.ask(Ask::Window { slot: Slot::new(90), index: 0 }) == Err(DropReason::NotHeld) {
            asked += 1;
        }
        assert_eq!(asked, CHECKS_EACH / 10 - 1, "the signature checks run out first");
        pair.now = pair.now.after(std::time::Duration::from_millis(100));
        assert!(!pair.indexes(Ask::Orphan { slot: Slot::new(2) }).is_empty());
    }

    #[test]
    fn a_flood_of_strangers_is_not_read_and_keeps_nobody_out_who_has_ponged() {
        let mut pair = Pair::new();
        pair.prove();
        let request = pair.request(Ask::Orphan { slot: Slot::new(2) });
        let mut checked = 0;
        let mut refused = 0;
        for port in 0..5_000_u16 {
            let elsewhere = SocketAddr::from(([10, 1, (port >> 8) as u8, port as u8], 9));
            match pair.server.answer(pair.now, elsewhere, &request) {
                Ok(_) => checked += 1,
                Err(why) => refused += u32::from(why == DropReason::RequestBudget),
            }
        }
        assert_eq!(
            (checked, refused),
            (STRANGERS_PER_SECOND as u32 / 10 - 1, 5_001 - STRANGERS_PER_SECOND as u32 / 10)
        );
        assert_eq!(pair.indexes(Ask::Orphan { slot: Slot::new(2) }), [(2, 9), (1, 9)]);
    }

    #[test]
    fn one_stranger_has_few_signatures_checked() {
        let mut pair = Pair::new();
        let ask = Ask::Orphan { slot: Slot::new(2) };
        assert!(pair.ask(ask).is_ok());
        assert_eq!(pair.ask(ask), Err(DropReason::Unproven));
        assert_eq!(pair.ask(ask), Err(DropReason::RequestBudget));
        pair.now = pair.now.after(std::time::Duration::from_millis(50));
        assert_eq!(pair.ask(ask), Err(DropReason::Unproven));
    }

    #[test]
    fn proof_holds_for_one_identity_at_one_address() {
        let mut pair = Pair::new();
        pair.prove();
        let ask = Ask::Orphan { slot: Slot::new(2) };
        let answer = |pair: &mut Pair| pair.ask(ask).map(|answers| answers.iter().map(|(_, kind)| *kind).collect());
        let ping: Result<Vec<_>, _> = Ok(vec![ServedKind::Ping]);
        pair.from = SocketAddr::from(([127, 0, 0, 1], 8));
        assert_eq!(answer(&mut pair), ping, "the same identity elsewhere");
        pair.from = SocketAddr::from(([127, 0, 0, 1], 7));
        pair.asker = Identity::new(Keypair::new_from_array([3; 32]));
        assert_eq!(answer(&mut pair), ping, "another identity there");
    }
}
