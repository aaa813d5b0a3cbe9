//! Answers other nodes' repair requests from what the ledger holds (reference 7.1, 7.2).

use crate::{
    metrics::DropReason,
    ping::PingCache,
    repair_wire::{Ask, ORPHAN_ANSWERS, Packet, Ping, Pong, Request, RequestFault, encode_shred_response},
};
use bytes::Bytes;
use std::{net::SocketAddr, sync::Arc};
use sundog_types::{Now, ShredIndex, Slot, sign::Sign};

/// Bytes served in a second: the reference's figure, about 10,000 shreds. Over it, requests are dropped.
pub const SERVED_BYTES_PER_SECOND: u64 = 12_000_000;
/// Requests whose signatures are checked in a second: a fifth of a core. Over it, requests are dropped unread.
pub const CHECKS_PER_SECOND: u64 = 4_000;

/// Reads shreds from the ledger. Calls must be quick: they are made on the protocol's thread.
pub trait ShredSource: Send + Sync {
    /// The data shred at an index, if held.
    fn data_shred(&self, slot: Slot, index: ShredIndex) -> Option<Bytes>;
    /// The data shred with the highest index held of a slot.
    fn highest_data_shred(&self, slot: Slot) -> Option<Bytes>;
    /// The slot's parent, if known.
    fn parent(&self, slot: Slot) -> Option<Slot>;
}

/// What the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedKind {
    /// A shred and the request's nonce.
    Shred,
    /// A ping.
    Ping,
}

/// An allowance that fills with time. Full at the start.
#[derive(Debug)]
struct Allowance {
    per_second: u64,
    /// In millionths; at most a tenth of a second's worth.
    left: u64,
    filled: Option<Now>,
}

impl Allowance {
    const fn new(per_second: u64) -> Self {
        Self { per_second, left: per_second * 100_000, filled: None }
    }

    /// Takes `amount` if there is so much.
    fn take(&mut self, now: Now, amount: u64) -> bool {
        if let Some(filled) = self.filled {
            let us = now.mono_us.saturating_sub(filled.mono_us);
            let full = self.per_second * 100_000;
            self.left = self.left.saturating_add(us.saturating_mul(self.per_second)).min(full);
        }
        self.filled = Some(now);
        let enough = self.left >= amount * 1_000_000;
        if enough {
            self.left -= amount * 1_000_000;
        }
        enough
    }
}

/// The repair server.
pub struct Serve {
    signer: Arc<dyn Sign>,
    source: Arc<dyn ShredSource>,
    pings: PingCache,
    bytes: Allowance,
    checks: Allowance,
}

impl Serve {
    /// A server that reads from `source` and derives its ping tokens from `secret`.
    #[must_use]
    pub fn new(signer: Arc<dyn Sign>, source: Arc<dyn ShredSource>, secret: [u8; 32]) -> Self {
        Self {
            signer,
            source,
            pings: PingCache::new(secret),
            bytes: Allowance::new(SERVED_BYTES_PER_SECOND),
            checks: Allowance::new(CHECKS_PER_SECOND),
        }
    }

    /// Takes a datagram and tells what to send back to where it came from; nothing for a good pong.
    ///
    /// # Errors
    /// Why there is no answer. An address that has not ponged gets at most a ping, which is shorter than its request.
    pub fn answer(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) -> Result<Vec<(Bytes, ServedKind)>, DropReason> {
        let packet = Packet::decode(bytes)?;
        packet.check_header(&self.signer.identity(), now.unix_ms)?;
        if let Packet::Pong(pong) = &packet
            && !self.pings.expects(now, pong.from, from, &pong.hash)
        {
            return Err(DropReason::UnaskedPong);
        }
        if !self.checks.take(now, 1) {
            return Err(DropReason::RequestBudget);
        }
        packet.check_signature(bytes)?;
        match packet {
            Packet::Pong(Pong { from: identity, .. }) => {
                self.pings.prove(now, identity, from);
                Ok(Vec::new())
            }
            Packet::Request(request, _) => self.serve(now, from, &request),
        }
    }

    fn serve(&mut self, now: Now, from: SocketAddr, request: &Request) -> Result<Vec<(Bytes, ServedKind)>, DropReason> {
        let standing = self.pings.standing(now, request.sender, from);
        let ping = standing.ping.map(|token| {
            let ping = Ping::new(token, &*self.signer);
            let bytes = match request.ask {
                Ask::AncestorHashes { .. } => ping.encode_ancestor_response(),
                _ => ping.encode_response(),
            };
            (bytes, ServedKind::Ping)
        });
        let shreds = if standing.proven { self.shreds(now, request) } else { Err(DropReason::Unproven) };
        match (ping, shreds) {
            (None, shreds) => shreds,
            (Some(ping), shreds) => {
                let mut answers = shreds.unwrap_or_default();
                answers.push(ping);
                Ok(answers)
            }
        }
    }

    fn shreds(&mut self, now: Now, request: &Request) -> Result<Vec<(Bytes, ServedKind)>, DropReason> {
        let held: Vec<Bytes> = match request.ask {
            Ask::Window { slot, index } => {
                let index = u32::try_from(index).map_err(|_| DropReason::NotHeld)?;
                self.source.data_shred(slot, ShredIndex::new(index)).into_iter().collect()
            }
            Ask::Highest { slot, .. } => self
                .source
                .highest_data_shred(slot)
                .filter(|shred| request.ask.answered_by(shred))
                .into_iter()
                .collect(),
            Ask::Orphan { slot } => self.ancestry(slot),
            Ask::AncestorHashes { .. } => return Err(DropReason::NotServed),
        };
        if held.is_empty() {
            return Err(DropReason::NotHeld);
        }
        let size: usize = held.iter().map(|shred| shred.len() + 4).sum();
        if !self.bytes.take(now, size as u64) {
            return Err(DropReason::AnswerBudget);
        }
        let answer = |shred: Bytes| (encode_shred_response(&shred, request.nonce), ServedKind::Shred);
        Ok(held.into_iter().map(answer).collect())
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
        assert_eq!(pair.ask(Ask::AncestorHashes { slot }), Err(DropReason::NotServed));
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

    #[test]
    fn output_stops_at_the_budget_and_goes_on_later() {
        let mut pair = Pair::new();
        pair.prove();
        let ask = Ask::Orphan { slot: Slot::new(20) };
        let mut served = 0;
        let refused = loop {
            match pair.ask(ask) {
                Ok(answers) => served += answers.iter().map(|(bytes, _)| bytes.len() as u64).sum::<u64>(),
                Err(why) => break why,
            }
        };
        assert!(matches!(refused, DropReason::AnswerBudget | DropReason::RequestBudget));
        assert!(served <= SERVED_BYTES_PER_SECOND / 10);
        pair.now = pair.now.after(std::time::Duration::from_millis(100));
        assert!(pair.ask(ask).is_ok());
    }
}
