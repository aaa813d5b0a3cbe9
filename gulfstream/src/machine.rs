//! The machine: what comes in, where it goes.

use crate::ballots::Ballots;
use crate::buffer::{Buffer, Offer};
use crate::dedup::{Seen, SeenKey};
use crate::forward::{Horizon, Outbox, Way};
use crate::ingress::Ingress;
use crate::lanes::{Lanes, Origin};
use crate::retry::{RETRIES_PER_CALL_MAX, Retries, Turn};
use crate::{DropReason, Effect, GulfstreamConfig, Input, Metrics, Source, VerifiedTransaction};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use sundog_types::machine::earliest;
use sundog_types::transaction::TRANSACTION_BYTES_MAX;
use sundog_types::{Effects, Machine, Now, Pubkey, Slot};

/// Blocks that a transaction may wait to land when RPC does not say: MAX_PROCESSING_AGE (reference 1.11).
const VALID_BLOCKS: u64 = 150;

/// Transactions left over from leading that are passed on when it ends.
const LEFTOVERS_MAX: usize = 1_024;

/// Of this node's own slot, the distance at which clients' transactions are held and not forwarded.
const HOLD_ONLY_SLOTS: u64 = 1;

/// Carries transactions to where they will be executed.
pub struct Gulfstream {
    relays_per_second: u64,
    relays_left: u64,
    relays_counted_since: Option<Now>,
    salt: [u8; 32],
    ingress: Ingress,
    seen_packets: Seen,
    seen_messages: Seen,
    lanes: Lanes,
    buffer: Buffer,
    ballots: Ballots,
    retries: Retries,
    horizon: Horizon,
    outbox: Outbox,
    leading: Option<Slot>,
    block_height: u64,
    metrics: Metrics,
}

impl Gulfstream {
    /// An empty one for the node `me`. `seed` salts the table of packets seen.
    #[must_use]
    pub fn new(config: GulfstreamConfig, me: Pubkey, seed: [u8; 32]) -> Self {
        Self {
            relays_per_second: config.relays_per_second,
            relays_left: config.relays_per_second,
            relays_counted_since: None,
            salt: seed,
            ingress: Ingress::new(config.ingress),
            seen_packets: Seen::default(),
            seen_messages: Seen::default(),
            lanes: Lanes::default(),
            buffer: Buffer::default(),
            ballots: Ballots::default(),
            retries: Retries::default(),
            horizon: Horizon::new(me),
            outbox: Outbox::default(),
            leading: None,
            block_height: 0,
            metrics: Metrics::default(),
        }
    }

    /// What it has counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Transactions and votes that wait for this node to lead.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len() + self.ballots.len()
    }

    /// For the leader loop: at most `max` transactions of at most `bytes_max` bytes together. Up to half
    /// are votes, then the best paying transactions, then votes again if there is room.
    pub fn take(&mut self, max: usize, bytes_max: usize) -> Vec<VerifiedTransaction> {
        let mut taken = Vec::new();
        let mut bytes_left = bytes_max;
        let mut fill = |count: usize, next: &mut dyn FnMut(usize) -> Option<VerifiedTransaction>| {
            while taken.len() < count
                && let Some(transaction) = next(bytes_left)
            {
                bytes_left -= transaction.packet().len();
                taken.push(transaction);
            }
        };
        fill(max.div_ceil(2), &mut |bytes| self.ballots.take_best(bytes));
        fill(max, &mut |bytes| self.buffer.take_best(bytes));
        fill(max, &mut |bytes| self.ballots.take_best(bytes));
        self.metrics.taken += taken.len() as u64;
        taken
    }

    /// As [`Self::take`], but votes alone: for a block so far beyond the root that nothing else is to be in it.
    pub fn take_votes(&mut self, max: usize, bytes_max: usize) -> Vec<VerifiedTransaction> {
        let mut bytes_left = bytes_max;
        let votes = std::iter::from_fn(|| {
            let vote = self.ballots.take_best(bytes_left)?;
            bytes_left -= vote.packet().len();
            Some(vote)
        });
        let taken: Vec<_> = votes.take(max).collect();
        self.metrics.taken += taken.len() as u64;
        taken
    }

    /// Takes back what the leader loop could not put into its block. It keeps its age.
    pub fn give_back(&mut self, transactions: Vec<VerifiedTransaction>) {
        self.metrics.given_back += transactions.len() as u64;
        for transaction in transactions {
            if let Some(since) = transaction.held_since {
                self.hold(since, transaction);
            }
        }
    }

    fn packet_in(&mut self, now: Now, origin: Origin, packet: Bytes) {
        self.metrics.received += 1;
        if let Err(why) = self.admit(now, origin, packet) {
            self.metrics.drop(why);
        }
    }

    /// The cheap part, before signatures.
    fn admit(&mut self, now: Now, origin: Origin, packet: Bytes) -> Result<(), DropReason> {
        if packet.len() > TRANSACTION_BYTES_MAX {
            return Err(DropReason::TooLarge);
        }
        if matches!(origin.source, Source::Forwarded(_)) && !self.leads_now_or_soon() {
            return Err(DropReason::NotLeadingSoon);
        }
        if !self.ingress.admit(now, origin.source) {
            return Err(DropReason::RateLimited);
        }
        let key = Sha256::new().chain_update(self.salt).chain_update(&packet).finalize();
        if !self.seen_packets.note(now, half(&key)) {
            return Err(DropReason::Duplicate);
        }
        self.lanes.push(origin, packet)
    }

    fn send_checks(&mut self, out: &mut Effects<Effect>) {
        while let Some(batch) = self.lanes.next_batch() {
            self.metrics.checks += batch.packets.len() as u64;
            out.push(Effect::Check { id: batch.id, packets: batch.packets });
        }
    }

    fn checked(
        &mut self,
        now: Now,
        origin: Origin,
        result: Result<VerifiedTransaction, DropReason>,
    ) -> Result<(), DropReason> {
        let mut transaction = result?;
        self.metrics.verified += 1;
        transaction.held_since = Some(now);
        if !self.seen_messages.note(now, half(transaction.message_hash().as_ref())) {
            return Err(DropReason::Duplicate);
        }
        match origin.source {
            Source::Vote if self.leads_now_or_soon() => self.offer_vote(transaction),
            Source::Vote => Err(DropReason::NotLeadingSoon),
            Source::Forwarded(_) if self.leads_now_or_soon() => {
                transaction.forwarded = true;
                self.hold(now, transaction);
                Ok(())
            }
            Source::Forwarded(_) => Err(DropReason::NotLeadingSoon),
            Source::Rpc => self.submitted(now, origin, transaction),
            Source::Internal => self.send_own(now, transaction),
            Source::Client(_) => self.client_sent(now, transaction),
        }
    }

    /// Sent by RPC: kept until it lands, and sent off at once unless it can be executed right here.
    fn submitted(&mut self, now: Now, origin: Origin, transaction: VerifiedTransaction) -> Result<(), DropReason> {
        let last_valid = origin.last_valid_block_height.unwrap_or(self.block_height.saturating_add(VALID_BLOCKS));
        let item = (transaction.signature(), transaction.packet().clone());
        if !self.retries.keep(now, item, last_valid, origin.retries_max) {
            self.metrics.drop(DropReason::RetriesFull);
        }
        self.send_own(now, transaction)
    }

    /// Not limited by the budget for relays.
    fn send_own(&mut self, now: Now, mut transaction: VerifiedTransaction) -> Result<(), DropReason> {
        let way = if transaction.is_vote() { Way::Vote } else { Way::Client };
        if self.leading.is_none() {
            let sent = self.outbox.put(&self.horizon, way, transaction.packet());
            self.metrics.forwarded += sent;
            transaction.forwarded = sent > 0;
            if !self.horizon.is_next() {
                return if sent > 0 { Ok(()) } else { Err(DropReason::NoLeader) };
            }
        }
        self.hold(now, transaction);
        Ok(())
    }

    /// Held if this node leads soon; forwarded unless it leads next.
    fn client_sent(&mut self, now: Now, mut transaction: VerifiedTransaction) -> Result<(), DropReason> {
        let distance = self.horizon.slots_to_own();
        let alone = self.leading.is_some() || distance.is_some_and(|d| d <= HOLD_ONLY_SLOTS);
        let relayed = if alone { Ok(()) } else { self.relay(now, &mut transaction) };
        if alone || self.horizon.leads_soon() {
            self.hold(now, transaction);
            return Ok(());
        }
        relayed
    }

    /// Passes a transaction on, once, within the budget.
    fn relay(&mut self, now: Now, transaction: &mut VerifiedTransaction) -> Result<(), DropReason> {
        let second = std::time::Duration::from_secs(1);
        if self.relays_counted_since.is_none_or(|since| now.since(since) >= second) {
            self.relays_counted_since = Some(now);
            self.relays_left = self.relays_per_second;
        }
        if self.relays_left == 0 {
            return Err(DropReason::RelayBudget);
        }
        let sent = self.outbox.put(&self.horizon, Way::Relay, transaction.packet());
        if sent == 0 {
            return Err(DropReason::NoLeader);
        }
        self.relays_left -= 1;
        self.metrics.forwarded += sent;
        transaction.forwarded = true;
        Ok(())
    }

    fn offer_vote(&mut self, vote: VerifiedTransaction) -> Result<(), DropReason> {
        let stake = self.ingress.stake(&vote.payer());
        if self.ballots.offer(stake, vote)? {
            self.metrics.drop(DropReason::VotesFull);
        }
        self.metrics.held += 1;
        Ok(())
    }

    /// Among the ballots if it is a vote, else in the buffer.
    fn hold(&mut self, since: Now, transaction: VerifiedTransaction) {
        if transaction.is_vote() {
            match self.offer_vote(transaction.clone()) {
                Err(DropReason::NotAVote) => {}
                Err(why) => return self.metrics.drop(why),
                Ok(()) => return,
            }
        }
        let offer = self.buffer.offer(since, transaction);
        match offer {
            Offer::Held => {}
            Offer::Displaced | Offer::Outbid => self.metrics.drop(DropReason::Outbid),
            Offer::Duplicate => self.metrics.drop(DropReason::Duplicate),
        }
        self.metrics.held += u64::from(matches!(offer, Offer::Held | Offer::Displaced));
    }

    /// Its slots are over: what is left goes to the next leaders, and stays for the next own slots.
    fn pass_on_leftovers(&mut self, now: Now) {
        let mut leftovers: Vec<_> = self.buffer.unforwarded(LEFTOVERS_MAX).cloned().collect();
        leftovers.retain_mut(|transaction| self.relay(now, transaction).is_ok());
        for transaction in leftovers {
            self.buffer.mark_forwarded(&transaction.signature());
        }
    }

    fn leads_now_or_soon(&self) -> bool {
        self.leading.is_some() || self.horizon.leads_soon()
    }

    fn retry(&mut self, now: Now) {
        for _ in 0..RETRIES_PER_CALL_MAX {
            match self.retries.turn(now, self.block_height) {
                Some(Turn::Again(packet)) => {
                    self.metrics.retried += 1;
                    self.metrics.forwarded += self.outbox.put(&self.horizon, Way::Client, &packet);
                    self.retry_here(packet);
                }
                Some(Turn::Expired) => self.metrics.drop(DropReason::Expired),
                None => return,
            }
        }
    }

    /// Holds a repeated one here too, as if it had been forwarded to us, if it may be executed here.
    fn retry_here(&mut self, packet: Bytes) {
        if self.leading.is_some() || self.horizon.is_next() {
            let origin = Source::Forwarded(self.horizon.me());
            if let Err(why) = self.lanes.push(origin.into(), packet) {
                self.metrics.drop(why);
            }
        }
    }
}

fn half(hash: &[u8]) -> SeenKey {
    hash.first_chunk().copied().unwrap_or_default()
}

impl Machine for Gulfstream {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match input {
            Input::Packets { source, packets } => {
                for packet in packets {
                    self.packet_in(now, source.into(), packet);
                }
                self.send_checks(out);
            }
            Input::Submit { packet, last_valid_block_height, retries_max } => {
                let source = Source::Rpc;
                let origin = Origin { source, last_valid_block_height, retries_max };
                self.packet_in(now, origin, packet);
                self.send_checks(out);
            }
            Input::Checked { id, results } => {
                for (origin, result) in self.lanes.returned(id).into_iter().zip(results) {
                    if let Err(why) = self.checked(now, origin, result) {
                        self.metrics.drop(why);
                    }
                }
                self.send_checks(out);
            }
            Input::Leaders(leaders) => self.horizon.set_leaders(leaders),
            Input::Peers(peers) => {
                let staked = peers.iter().filter(|peer| peer.stake > 0);
                self.ingress.weigh(staked.map(|peer| (peer.identity, peer.stake)).collect());
                self.horizon.set_peers(&peers);
            }
            Input::Tip { slot, block_height } => {
                self.horizon.set_tip(slot);
                self.block_height = block_height;
            }
            Input::Leading { slot } => {
                let over = self.leading.is_some() && slot.is_none();
                self.leading = slot;
                if over {
                    self.pass_on_leftovers(now);
                }
            }
            Input::Landed(signatures) => {
                for signature in &signatures {
                    self.metrics.landed += u64::from(self.retries.landed(signature));
                    self.buffer.forget(signature);
                }
            }
        }
        self.outbox.send(&self.horizon, out);
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        self.retry(now);
        self.send_checks(out);
        for _ in 0..self.buffer.expire(now) {
            self.metrics.drop(DropReason::Stale);
        }
        self.outbox.send(&self.horizon, out);
    }

    fn poll_timeout(&self) -> Option<Now> {
        earliest(self.retries.next_due(), self.buffer.next_expiry())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, Sample};
    use crate::{CHECK_BATCH_MAX, HELD_FOR, RETRY_EVERY, SEEN_FOR, check_packet};
    use std::time::Duration;
    use std::{net::SocketAddr, sync::Arc};
    use sundog_types::{
        peer::{Addresses, Peer, Version},
        sign::Verifier,
    };

    const T0: Now = Now { mono_us: 0, unix_ms: 0 };

    fn node(number: u8) -> Pubkey {
        Pubkey::from([number; 32])
    }

    fn address(number: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], port))
    }

    fn peer(number: u8) -> Peer {
        let addresses = Addresses {
            tpu_quic: Some(address(number, 8)),
            tpu_forwards_quic: Some(address(number, 7)),
            tpu_vote_quic: Some(address(number, 12)),
            ..Addresses::default()
        };
        let (stake, last_seen, version) = (100, T0, Version::default());
        Peer {
            identity: node(number),
            addresses,
            stake,
            last_seen,
            shred_version: 1,
            version,
            outset_us: 0,
            lowest_slot: Slot::ZERO,
        }
    }

    /// Node 1 of a cluster in which these nodes lead four slots each, from slot 0, and then nobody.
    struct Cluster {
        gulfstream: Gulfstream,
        sent: Vec<(u8, u16, usize)>,
    }

    impl Cluster {
        fn new(leaders: &[u8]) -> Self {
            let mut gulfstream = Gulfstream::new(GulfstreamConfig::default(), node(1), [3; 32]);
            let windows = leaders.iter().flat_map(|leader| [node(*leader); 4]);
            let leaders = (0..).map(Slot::new).zip(windows).collect();
            let mut out = Vec::new();
            gulfstream.handle(T0, Input::Leaders(Arc::new(leaders)), &mut out);
            let peers = [1, 2, 3, 4].map(peer).to_vec();
            gulfstream.handle(T0, Input::Peers(Arc::new(peers)), &mut out);
            assert!(out.is_empty());
            Self { gulfstream, sent: Vec::new() }
        }

        /// Gives an input, runs the checks it asks for, and notes what is sent.
        fn give(&mut self, now: Now, input: Input) {
            let mut out = Vec::new();
            self.gulfstream.handle(now, input, &mut out);
            self.play(now, out);
        }

        fn wait(&mut self, now: Now) {
            let mut out = Vec::new();
            self.gulfstream.handle_timeout(now, &mut out);
            self.play(now, out);
        }

        fn play(&mut self, now: Now, effects: Vec<Effect>) {
            for effect in effects {
                match effect {
                    Effect::Check { id, packets } => {
                        assert!(packets.len() <= CHECK_BATCH_MAX);
                        let results =
                            packets.iter().map(|packet| check_packet(packet, &Verifier::without_memory())).collect();
                        self.give(now, Input::Checked { id, results });
                    }
                    Effect::Forward { to, addr, transactions, votes } => {
                        assert_eq!(votes, addr.port() == 12);
                        let number = to.as_ref()[0];
                        assert_eq!(addr, address(number, addr.port()));
                        self.sent.push((number, addr.port(), transactions.len()));
                    }
                }
            }
        }

        fn packet(&mut self, now: Now, source: Source, packet: &Bytes) {
            self.give(now, Input::Packets { source, packets: vec![packet.clone()] });
        }

        #[track_caller]
        fn check(mut self, source: Source, sent: &[(u8, u16, usize)], held: usize) -> Self {
            self.packet(T0, source, &samples::transfer(Sample::default()));
            assert_eq!((self.sent.as_slice(), self.gulfstream.held()), (sent, held));
            self
        }

        fn dropped(&self, why: DropReason) -> u64 {
            self.gulfstream.metrics().dropped(why)
        }
    }

    #[test]
    fn what_rpc_gets_goes_to_the_next_two_leaders() {
        Cluster::new(&[2, 2, 3, 4]).check(Source::Rpc, &[(2, 8, 1), (3, 8, 1)], 0);
    }

    #[test]
    fn what_rpc_gets_is_held_too_if_this_node_is_one_of_them() {
        Cluster::new(&[2, 1, 3, 4]).check(Source::Rpc, &[(2, 8, 1)], 1);
    }

    #[test]
    fn a_leader_keeps_what_it_gets() {
        for source in [Source::Rpc, Source::Client(None), Source::Forwarded(node(2))] {
            let mut cluster = Cluster::new(&[1, 2, 3]);
            cluster.give(T0, Input::Leading { slot: Some(Slot::new(0)) });
            cluster.check(source, &[], 1);
        }
    }

    #[test]
    fn a_clients_transaction_is_passed_on_once_and_held_by_who_leads_soon() {
        let source = Source::Client(None);
        Cluster::new(&[2, 3, 4, 2, 3, 1]).check(source, &[(2, 7, 1), (3, 7, 1)], 0);
        Cluster::new(&[2, 3, 4, 1]).check(source, &[(2, 7, 1), (3, 7, 1)], 1);
        Cluster::new(&[1, 2]).check(source, &[], 1);
    }

    #[test]
    fn what_was_forwarded_is_not_forwarded_again() {
        let source = Source::Forwarded(node(4));
        Cluster::new(&[2, 3, 1]).check(source, &[], 1);
        let cluster = Cluster::new(&[2, 3, 4, 2, 3, 1]).check(source, &[], 0);
        assert_eq!(cluster.dropped(DropReason::NotLeadingSoon), 1);
        // Nor at the end of the own slots, where other leftovers are.
        let mut cluster = Cluster::new(&[2, 3, 1]).check(source, &[], 1);
        let other = samples::transfer(Sample { lamports: 2, ..Sample::default() });
        cluster.give(T0, Input::Leading { slot: Some(Slot::new(8)) });
        cluster.packet(T0, Source::Client(None), &other);
        cluster.give(T0, Input::Leading { slot: None });
        assert_eq!(cluster.sent, [(2, 7, 1), (3, 7, 1)]);
    }

    #[test]
    fn what_rpc_sent_is_repeated_every_two_seconds_until_it_lands() {
        let mut cluster = Cluster::new(&[2, 3]).check(Source::Rpc, &[(2, 8, 1), (3, 8, 1)], 0);
        cluster.sent.clear();
        assert_eq!(cluster.gulfstream.poll_timeout(), Some(T0.after(RETRY_EVERY)));
        cluster.wait(T0.after(RETRY_EVERY));
        assert_eq!(cluster.sent, [(2, 8, 1), (3, 8, 1)]);
        let packet = samples::transfer(Sample::default());
        let signature = check_packet(&packet, &Verifier::without_memory()).expect("good").signature();
        cluster.give(T0, Input::Landed(vec![signature]));
        assert_eq!(cluster.gulfstream.poll_timeout(), None);
        assert_eq!(cluster.gulfstream.metrics().landed, 1);
    }

    #[test]
    fn what_rpc_sent_is_repeated_until_it_expires() {
        let mut cluster = Cluster::new(&[2, 3]).check(Source::Rpc, &[(2, 8, 1), (3, 8, 1)], 0);
        cluster.give(T0, Input::Tip { slot: Slot::new(1), block_height: VALID_BLOCKS + 1 });
        cluster.wait(T0.after(RETRY_EVERY));
        assert_eq!(cluster.gulfstream.poll_timeout(), None);
        assert_eq!(cluster.dropped(DropReason::Expired), 1);
    }

    #[test]
    fn what_is_repeated_is_held_here_when_this_node_leads_by_then() {
        let mut cluster = Cluster::new(&[2, 3, 1]).check(Source::Rpc, &[(2, 8, 1), (3, 8, 1)], 0);
        cluster.give(T0, Input::Tip { slot: Slot::new(8), block_height: 0 });
        cluster.wait(T0.after(RETRY_EVERY));
        assert_eq!(cluster.gulfstream.held(), 1);
    }

    #[test]
    fn the_same_packet_is_looked_at_once_in_two_seconds() {
        let mut cluster = Cluster::new(&[1]);
        let packet = samples::transfer(Sample::default());
        for _ in 0..3 {
            cluster.packet(T0, Source::Client(None), &packet);
        }
        assert_eq!(cluster.dropped(DropReason::Duplicate), 2);
        assert_eq!(cluster.gulfstream.metrics().checks, 1);
        assert_eq!(cluster.gulfstream.take(9, 9_999).len(), 1);
        cluster.packet(T0.after(SEEN_FOR), Source::Client(None), &packet);
        assert_eq!(cluster.gulfstream.held(), 1);
    }

    #[test]
    fn what_is_held_too_long_is_dropped() {
        let mut cluster = Cluster::new(&[1]).check(Source::Client(None), &[], 1);
        assert_eq!(cluster.gulfstream.poll_timeout(), Some(T0.after(HELD_FOR)));
        cluster.wait(T0.after(HELD_FOR));
        assert_eq!((cluster.gulfstream.held(), cluster.dropped(DropReason::Stale)), (0, 1));
    }

    #[test]
    fn what_is_given_back_keeps_its_age() {
        let mut cluster = Cluster::new(&[1]).check(Source::Client(None), &[], 1);
        let taken = cluster.gulfstream.take(1, 9_999);
        assert_eq!(cluster.gulfstream.poll_timeout(), None);
        cluster.gulfstream.give_back(taken);
        assert_eq!(cluster.gulfstream.poll_timeout(), Some(T0.after(HELD_FOR)));
    }

    #[test]
    fn half_of_what_a_leader_takes_are_votes_and_the_rest_goes_by_price() {
        let mut cluster = Cluster::new(&[1]);
        for voter in 0..8 {
            cluster.packet(T0, Source::Vote, &samples::vote(voter, 5));
        }
        for unit_price in 0..8 {
            let sample = Sample { unit_price, ..Sample::default() };
            cluster.packet(T0, Source::Client(None), &samples::transfer(sample));
        }
        let taken = cluster.gulfstream.take(6, 99_999);
        let votes = taken.iter().map(VerifiedTransaction::is_vote).collect::<Vec<_>>();
        assert_eq!(votes, [true, true, true, false, false, false]);
        let prices: Vec<u64> = taken[3..].iter().map(|t| t.price().priority()).collect();
        assert!(prices.is_sorted_by(|a, b| a > b), "{prices:?}");
        let all = cluster.gulfstream.take(99, 99_999).len();
        assert_eq!(all, 10);
    }

    #[test]
    fn no_more_bytes_are_taken_than_asked_for() {
        let mut cluster = Cluster::new(&[1]).check(Source::Client(None), &[], 1);
        let length = samples::transfer(Sample::default()).len();
        assert!(cluster.gulfstream.take(1, length - 1).is_empty());
        assert_eq!(cluster.gulfstream.take(1, length).len(), 1);
    }

    #[test]
    fn only_votes_pass_on_the_lane_of_votes() {
        let cluster = Cluster::new(&[1]).check(Source::Vote, &[], 0);
        assert_eq!(cluster.dropped(DropReason::NotAVote), 1);
    }

    #[test]
    fn a_newer_vote_takes_the_place_of_an_older_one() {
        let mut cluster = Cluster::new(&[1]);
        for slot in [5, 7, 6] {
            cluster.packet(T0, Source::Vote, &samples::vote(1, slot));
        }
        assert_eq!((cluster.gulfstream.held(), cluster.dropped(DropReason::OldVote)), (1, 1));
    }

    #[test]
    fn an_own_vote_goes_to_the_vote_ports() {
        let mut cluster = Cluster::new(&[2, 3]);
        cluster.packet(T0, Source::Internal, &samples::vote(1, 5));
        assert_eq!(cluster.sent, [(2, 12, 1), (3, 12, 1)]);
    }

    #[test]
    fn a_flood_of_transactions_does_not_keep_votes_out() {
        let mut cluster = Cluster::new(&[1]);
        let mut out = Vec::new();
        let packets: Vec<Bytes> = (0..20_000u32).map(|n| n.to_le_bytes().to_vec().into()).collect();
        let flood = Input::Packets { source: Source::Client(Some(node(2))), packets };
        // The pool answers nothing of this.
        cluster.gulfstream.handle(T0, flood, &mut out);
        assert!(cluster.dropped(DropReason::LaneFull) > 0);
        cluster.packet(T0, Source::Vote, &samples::vote(1, 5));
        assert_eq!(cluster.gulfstream.held(), 1);
    }

    #[test]
    fn relays_have_a_budget_per_second() {
        let mut cluster = Cluster::new(&[2, 3]);
        cluster.gulfstream.relays_left = 1;
        cluster.gulfstream.relays_counted_since = Some(T0);
        for lamports in 1..4 {
            let sample = Sample { lamports, ..Sample::default() };
            cluster.packet(T0, Source::Client(None), &samples::transfer(sample));
        }
        assert_eq!(cluster.dropped(DropReason::RelayBudget), 2);
        let sample = Sample { lamports: 9, ..Sample::default() };
        let later = T0.after(Duration::from_secs(1));
        cluster.packet(later, Source::Client(None), &samples::transfer(sample));
        assert_eq!(cluster.dropped(DropReason::RelayBudget), 2);
    }
}
