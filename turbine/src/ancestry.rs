//! Asks several nodes for the bank hashes of a slot and its ancestors, and believes what over half of them say
//! (reference 7.1 to 7.3).
//!
//! ```text
//!   a block that is dead here --ask--> up to 21 peers, drawn by stake
//!                                        |  A: 9 = x, 8 = y, 7 = z     B: 9 = x, 8 = y     C: nothing     D: 9 = q
//!                                        v
//!                   over half of those asked, and of their stake, say 9 = x: agreed, with all that has such a majority
//! ```
//!
//! No answer is worth more than who gives it: a list is not signed by a leader, and whoever lies about it costs his
//! place in the sample. So half of the peers must agree, as the reference has it, and half of the stake among them,
//! which keeps many nodes with little stake from deciding in a small cluster.

use crate::{
    effect::{Effect, RepairKind},
    metrics::DropReason,
    peers::{RepairPeer, same_host},
    repair_wire::{AncestorHashes, Ask, Request},
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use sundog_types::{Hash, Now, Pubkey, Slot, sign::Sign};

/// Peers asked about one slot: the reference's figure.
pub const SAMPLE: usize = 21;
/// Slots that may be asked about at a time: two begin in a second, and each is over after five. Full: no more is asked.
pub const QUERIES_MAX: usize = 16;
/// How long answers are taken.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// So long after its pong a server is asked again: the pong must be there first.
const AFTER_PONG: Duration = Duration::from_millis(50);

/// A peer that was asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    peer: Pubkey,
    address: SocketAddr,
    weight: u64,
    /// When it is asked once more, after it has pinged.
    again: Again,
}

/// A server that pings answers nothing before its pong is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Unpinged,
    At(Now),
    Done,
}

/// What is asked about one slot.
#[derive(Debug)]
struct Query {
    until: Now,
    /// Who was asked, by nonce, and did not answer yet.
    open: BTreeMap<u32, Asked>,
    asked: usize,
    weight: u128,
    /// How many said so, and with what stake.
    said: BTreeMap<(Slot, Hash), (usize, u128)>,
}

impl Query {
    /// What over half of all said, the highest slot first.
    fn agreed(&self) -> Vec<(Slot, Hash)> {
        let most = |(count, weight): &(usize, u128)| count * 2 > self.asked && weight * 2 > self.weight;
        self.said.iter().rev().filter(|(_, said)| most(said)).map(|(block, _)| *block).collect()
    }
}

/// How the queries ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    /// Begun.
    pub(crate) asked: u64,
    /// With an answer that a majority gave.
    pub(crate) agreed: u64,
    /// With answers, but no majority for one.
    pub(crate) split: u64,
    /// Without anybody who knows.
    pub(crate) unknown: u64,
    /// Not begun, because too many were under way or nobody can be asked.
    pub(crate) refused: u64,
}

/// The requester.
pub(crate) struct Ancestry {
    signer: Arc<dyn Sign>,
    rng: ChaCha8Rng,
    queries: BTreeMap<Slot, Query>,
    pub(crate) ends: Ends,
}

impl Ancestry {
    pub(crate) fn new(signer: Arc<dyn Sign>, seed: [u8; 32]) -> Self {
        Self { signer, rng: ChaCha8Rng::from_seed(seed), queries: BTreeMap::new(), ends: Ends::default() }
    }

    /// Whether an answer is awaited.
    pub(crate) fn is_idle(&self) -> bool {
        self.queries.is_empty()
    }

    /// Asks a sample of the peers about a slot. Tells whom.
    pub(crate) fn ask(&mut self, now: Now, slot: Slot, peers: Vec<RepairPeer>, out: &mut Vec<Effect>) -> Vec<Pubkey> {
        let sample = self.sample(peers.into_iter().filter(|peer| peer.lowest_slot <= slot).collect());
        if self.queries.contains_key(&slot) || self.queries.len() >= QUERIES_MAX || sample.is_empty() {
            self.ends.refused += 1;
            return Vec::new();
        }
        self.ends.asked += 1;
        let (until, asked) = (now.after(ANSWERED_WITHIN), sample.len());
        let mut query = Query { until, open: BTreeMap::new(), asked, weight: 0, said: BTreeMap::new() };
        let mut asked = Vec::new();
        for (peer, weight) in sample {
            let nonce = loop {
                let nonce = self.rng.r#gen();
                if !self.is_awaited(nonce) && !query.open.contains_key(&nonce) {
                    break nonce;
                }
            };
            query.weight += u128::from(weight);
            let to = Asked { peer: peer.identity, address: peer.address, weight, again: Again::Unpinged };
            query.open.insert(nonce, to);
            asked.push(peer.identity);
            out.push(self.request(now, slot, nonce, to));
        }
        self.queries.insert(slot, query);
        asked
    }

    /// Draws peers by stake, each once. Those without stake are asked only where nobody has any.
    fn sample(&mut self, mut peers: Vec<RepairPeer>) -> Vec<(RepairPeer, u64)> {
        let staked = peers.iter().any(|peer| peer.stake > 0);
        let weigh = |peer: &RepairPeer| if staked { peer.stake } else { 1 };
        peers.retain(|peer| weigh(peer) > 0);
        let mut total: u128 = peers.iter().map(|peer| u128::from(weigh(peer))).sum();
        let mut sample = Vec::new();
        while sample.len() < SAMPLE && !peers.is_empty() {
            let mut ticket = self.rng.gen_range(0..total.max(1));
            let hit = peers.iter().position(|peer| {
                let weight = u128::from(weigh(peer));
                let hit = ticket < weight;
                ticket = ticket.saturating_sub(weight);
                hit
            });
            let peer = peers.swap_remove(hit.unwrap_or_default());
            total -= u128::from(weigh(&peer));
            sample.push((peer, weigh(&peer)));
        }
        sample
    }

    fn request(&self, now: Now, slot: Slot, nonce: u32, to: Asked) -> Effect {
        let ask = Ask::AncestorHashes { slot };
        let sender = self.signer.identity();
        let request = Request { sender, recipient: to.peer, timestamp_ms: now.unix_ms, nonce, ask };
        Effect::SendRepair { to: to.address, bytes: request.sign(&*self.signer), kind: RepairKind::Ancestors }
    }

    /// Whether a request with this nonce is open.
    pub(crate) fn is_awaited(&self, nonce: u32) -> bool {
        self.queries.values().any(|query| query.open.contains_key(&nonce))
    }

    /// A server pinged, and gets its pong: soon it is asked once more.
    pub(crate) fn ponged(&mut self, now: Now, server: &Pubkey) {
        let open = self.queries.values_mut().flat_map(|query| query.open.values_mut());
        for asked in open.filter(|asked| asked.peer == *server && asked.again == Again::Unpinged) {
            asked.again = Again::At(now.after(AFTER_PONG));
        }
    }

    /// Asks those once more that have their pong by now.
    pub(crate) fn ask_again(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut due = Vec::new();
        for (slot, query) in &mut self.queries {
            for (nonce, asked) in &mut query.open {
                if matches!(asked.again, Again::At(at) if now.reached(at)) {
                    asked.again = Again::Done;
                    due.push((*slot, *nonce, *asked));
                }
            }
        }
        out.extend(due.into_iter().map(|(slot, nonce, asked)| self.request(now, slot, nonce, asked)));
    }

    /// Takes an answer. `bytes` ends with a nonce for which [`Self::is_awaited`] holds. Tells what is agreed, once it is.
    ///
    /// # Errors
    /// Why it is not counted.
    pub(crate) fn answered(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<Option<Effect>, DropReason> {
        let nonce = bytes.last_chunk().map(|nonce| u32::from_le_bytes(*nonce)).ok_or(DropReason::ResponseTooShort)?;
        let of = |(_, query): &(&Slot, &mut Query)| query.open.contains_key(&nonce);
        let (slot, query) = self.queries.iter_mut().find(of).ok_or(DropReason::UnknownNonce)?;
        let slot = *slot;
        let asked = *query.open.get(&nonce).ok_or(DropReason::UnknownNonce)?;
        if !same_host(asked.address, from) {
            return Err(DropReason::OtherAddress);
        }
        // One answer from each: a bad one is one, too.
        query.open.remove(&nonce);
        let answer = AncestorHashes::decode(bytes).ok_or(DropReason::AncestorsMalformed);
        let fits = |answer: &AncestorHashes| {
            let descends = answer.hashes.windows(2).all(|pair| pair[1].0 < pair[0].0);
            descends && answer.hashes.first().is_none_or(|(first, _)| *first == slot)
        };
        let judged = answer.and_then(|answer| if fits(&answer) { Ok(answer) } else { Err(DropReason::AncestorsWrong) });
        if let Ok(answer) = &judged {
            for block in &answer.hashes {
                let (count, weight) = query.said.entry(*block).or_default();
                (*count, *weight) = (*count + 1, *weight + u128::from(asked.weight));
            }
        }
        let agreed = self.judge(slot);
        judged.map(|_| agreed)
    }

    /// Ends a query if over half agree about its slot, or nobody is left to answer.
    fn judge(&mut self, slot: Slot) -> Option<Effect> {
        let query = self.queries.get(&slot)?;
        let hashes = query.agreed();
        let agreed = hashes.first().is_some_and(|(first, _)| *first == slot);
        if !agreed && !query.open.is_empty() {
            return None;
        }
        let query = self.queries.remove(&slot)?;
        self.end(&query, agreed);
        agreed.then_some(Effect::Ancestors { slot, hashes })
    }

    fn end(&mut self, query: &Query, agreed: bool) {
        let ends = &mut self.ends;
        *(match (agreed, query.said.is_empty()) {
            (true, _) => &mut ends.agreed,
            (false, false) => &mut ends.split,
            (false, true) => &mut ends.unknown,
        }) += 1;
    }

    /// Ends what was not answered in time. Tells who stayed silent.
    pub(crate) fn expire(&mut self, now: Now) -> Vec<Pubkey> {
        let late: Vec<Slot> =
            self.queries.iter().filter(|(_, query)| now.reached(query.until)).map(|(slot, _)| *slot).collect();
        let mut silent = Vec::new();
        for query in late.iter().filter_map(|slot| self.queries.remove(slot)).collect::<Vec<_>>() {
            self.end(&query, false);
            silent.extend(query.open.values().map(|asked| asked.peer));
        }
        silent
    }

    /// What is at or below the root is of no interest any more.
    pub(crate) fn set_root(&mut self, root: Slot) {
        self.queries.retain(|slot, _| *slot > root);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repair_wire::Packet;
    use solana_keypair::Keypair;
    use sundog_types::sign::Identity;

    const NOW: Now = Now { mono_us: 1_000_000, unix_ms: 1_000_000 };
    const SLOT: Slot = Slot::new(9);

    fn peer(number: u8, stake: u64) -> RepairPeer {
        let address = SocketAddr::from(([10, 0, 0, number], 7));
        RepairPeer::unasked((Pubkey::from([number; 32]), address), stake, Slot::ZERO)
    }

    fn ancestry() -> Ancestry {
        Ancestry::new(Arc::new(Identity::new(Keypair::new_from_array([1; 32]))), [7; 32])
    }

    /// Asks these peers; the nonce that each got, by the last part of its address.
    fn asked(ancestry: &mut Ancestry, peers: &[RepairPeer]) -> BTreeMap<u8, u32> {
        let mut out = Vec::new();
        ancestry.ask(NOW, SLOT, peers.to_vec(), &mut out);
        let nonce = |effect: &Effect| {
            let Effect::SendRepair { to: SocketAddr::V4(to), bytes, kind: RepairKind::Ancestors } = effect else {
                panic!("a request, not {effect:?}")
            };
            let Ok(Packet::Request(request, _)) = Packet::decode(bytes) else { panic!("it decodes") };
            assert_eq!(request.ask, Ask::AncestorHashes { slot: SLOT });
            (to.ip().octets()[3], request.nonce)
        };
        out.iter().map(nonce).collect()
    }

    fn chain(fill: u8, length: u64) -> Vec<(Slot, Hash)> {
        (0..length).map(|back| (SLOT.saturating_sub(back), Hash::new_from_array([fill; 32]))).collect()
    }

    fn answer(
        ancestry: &mut Ancestry,
        from: u8,
        nonce: u32,
        hashes: Vec<(Slot, Hash)>,
    ) -> Result<Option<Effect>, DropReason> {
        let bytes = AncestorHashes { hashes, nonce }.encode();
        ancestry.answered(SocketAddr::from(([10, 0, 0, from], 99)), &bytes)
    }

    /// What comes out when each peer says this, in order, as long as the query lasts.
    fn outcome(peers: &[RepairPeer], said: &[(u8, Vec<(Slot, Hash)>)]) -> (Option<Vec<(Slot, Hash)>>, Ends) {
        let mut ancestry = ancestry();
        let nonces = asked(&mut ancestry, peers);
        let mut agreed = None;
        for (from, hashes) in said {
            if let Ok(Some(Effect::Ancestors { hashes, .. })) =
                answer(&mut ancestry, *from, nonces[from], hashes.clone())
            {
                agreed = Some(hashes);
            }
        }
        ancestry.expire(NOW.after(ANSWERED_WITHIN));
        assert!(ancestry.is_idle());
        (agreed, ancestry.ends)
    }

    #[test]
    fn what_over_half_say_is_believed_as_soon_as_they_do() {
        let peers = [1, 2, 3, 4, 5].map(|number| peer(number, 100));
        let said = [(1, chain(7, 4)), (2, chain(7, 2)), (3, chain(7, 3)), (4, chain(8, 4))];
        let (agreed, ends) = outcome(&peers, &said);
        assert_eq!(agreed, Some(chain(7, 2)), "only so far back as over half go");
        assert_eq!((ends.asked, ends.agreed, ends.split), (1, 1, 0));
    }

    #[test]
    fn liars_below_half_decide_nothing_and_neither_do_the_silent() {
        let peers = [1, 2, 3, 4, 5].map(|number| peer(number, 100));
        let lies = [(1, chain(8, 4)), (2, chain(8, 4)), (3, chain(7, 4)), (4, chain(7, 4))];
        let (agreed, ends) = outcome(&peers, &lies);
        assert_eq!((agreed, ends.split), (None, 1), "two against two, and one silent");
        let (agreed, ends) = outcome(&peers, &[(1, Vec::new()), (2, Vec::new())]);
        assert_eq!((agreed, ends.unknown), (None, 1), "nobody knows");
    }

    #[test]
    fn many_with_little_stake_do_not_outvote_few_with_much() {
        let peers = [(1, 1), (2, 1), (3, 1), (4, 1_000), (5, 1_000)].map(|(number, stake)| peer(number, stake));
        let small = [(1, chain(8, 4)), (2, chain(8, 4)), (3, chain(8, 4)), (4, chain(7, 4)), (5, chain(7, 4))];
        assert_eq!(outcome(&peers, &small).0, None, "three of five, with hardly any stake");
        let both = [(1, chain(7, 4)), (4, chain(7, 4)), (5, chain(7, 4))];
        assert_eq!(outcome(&peers, &both).0, Some(chain(7, 4)));
    }

    #[test]
    fn a_sample_is_drawn_by_stake_and_has_each_peer_once() {
        let mut ancestry = ancestry();
        let mut peers: Vec<_> = (1..=200).map(|number| peer(number, 1)).collect();
        peers.extend((201..=220).map(|number| peer(number, 1_000_000)));
        peers.push(peer(221, 0));
        let nonces = asked(&mut ancestry, &peers);
        assert_eq!(nonces.len(), SAMPLE);
        assert!(nonces.keys().filter(|number| **number > 200).count() >= 19, "{nonces:?}");
        assert!(!nonces.contains_key(&221), "it has no stake");
        let strangers = asked(&mut self::ancestry(), &[peer(1, 0), peer(2, 0)]);
        assert_eq!(strangers.len(), 2, "where nobody has stake, all are asked");
    }

    #[test]
    fn each_peer_answers_once_from_where_it_was_asked_and_what_is_wrong_is_named() {
        let mut ancestry = ancestry();
        let nonces = asked(&mut ancestry, &[1, 2, 3, 4].map(|number| peer(number, 100)));
        assert_eq!(answer(&mut ancestry, 2, nonces[&1], chain(7, 2)).unwrap_err(), DropReason::OtherAddress);
        assert!(answer(&mut ancestry, 1, nonces[&1], chain(7, 2)).is_ok());
        assert_eq!(answer(&mut ancestry, 1, nonces[&1], chain(7, 2)).unwrap_err(), DropReason::UnknownNonce);
        let mut rising = chain(7, 3);
        rising.swap(1, 2);
        assert_eq!(answer(&mut ancestry, 2, nonces[&2], rising).unwrap_err(), DropReason::AncestorsWrong);
        let other = chain(7, 3)[1..].to_vec();
        assert_eq!(answer(&mut ancestry, 3, nonces[&3], other).unwrap_err(), DropReason::AncestorsWrong);
        let mut long = AncestorHashes { hashes: chain(7, 3), nonce: nonces[&4] }.encode().to_vec();
        long.splice(4..4, [0]);
        let from = SocketAddr::from(([10, 0, 0, 4], 7));
        assert_eq!(ancestry.answered(from, &long).unwrap_err(), DropReason::AncestorsMalformed);
        assert!(ancestry.is_idle(), "nobody is left to answer");
    }

    #[test]
    fn a_server_that_pings_is_asked_once_more_and_no_more() {
        let mut ancestry = ancestry();
        let first = asked(&mut ancestry, &[peer(1, 5)]);
        let mut out = Vec::new();
        ancestry.ponged(NOW, &Pubkey::from([1; 32]));
        ancestry.ponged(NOW, &Pubkey::from([2; 32]));
        ancestry.ask_again(NOW, &mut out);
        assert!(out.is_empty(), "not before its pong can be there");
        ancestry.ask_again(NOW.after(AFTER_PONG), &mut out);
        ancestry.ponged(NOW.after(AFTER_PONG), &Pubkey::from([1; 32]));
        ancestry.ask_again(NOW.after(AFTER_PONG * 3), &mut out);
        let [Effect::SendRepair { bytes, .. }] = &out[..] else { panic!("one request, not {out:?}") };
        let Ok(Packet::Request(request, _)) = Packet::decode(bytes) else { panic!("it decodes") };
        assert_eq!(Some(&request.nonce), first.get(&1));
    }

    #[test]
    fn no_more_is_asked_than_may_be_under_way() {
        let mut ancestry = ancestry();
        let mut out = Vec::new();
        for slot in 1..=QUERIES_MAX as u64 + 3 {
            ancestry.ask(NOW, Slot::new(slot), vec![peer(1, 5)], &mut out);
        }
        assert_eq!((out.len(), ancestry.ends.refused), (QUERIES_MAX, 3));
        ancestry.set_root(Slot::new(4));
        ancestry.ask(NOW, Slot::new(50), vec![peer(1, 5)], &mut out);
        assert_eq!(out.len(), QUERIES_MAX + 1);
        assert_eq!(ancestry.expire(NOW.after(ANSWERED_WITHIN)).len(), QUERIES_MAX - 3);
    }
}
