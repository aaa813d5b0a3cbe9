//! News for a few peers at a time, who pass it on (reference 6.10).
//!
//! ```text
//!  table's history --cursor--> fresh? may be pushed? --bucket--> active set --> up to nine peers
//!                                                                   ^ rotated, and told who prunes what
//!  pushed copies ---> who was in time? --> after twenty: the best stay, the others are sent a prune
//! ```

pub mod active;
pub mod gate;
pub mod received;

use crate::{
    machine::{Effect, Gossip},
    metrics::DropReason,
    ping::{Pings, Place},
    registry::AddressSpace,
    roster::Roster,
    table::Table,
    wire::{
        Carrier, Protocol, Prune, pack,
        value::{CrdsValue, Label},
    },
};
use active::{ActiveSet, Candidates};
use bytes::Bytes;
pub use gate::StakeGate;
use rand_chacha::ChaCha8Rng;
use received::{Due, PRUNES_PER_ROUND, Received};
use std::{net::SocketAddr, time::Duration};
use sundog_types::{Effects, Now, Pubkey, peer::Peer};

/// Peers that one value is pushed to.
pub const FANOUT: usize = 9;

/// Values pushed in one round. What is left goes out in the next round.
pub const VALUES_PER_ROUND: usize = 4_096;

/// Values with a wallclock further from ours than this are neither taken nor passed on.
pub const FRESH_FOR: Duration = Duration::from_secs(15);

/// Whom we push to, how far the table's history is pushed, and who pushes to us.
pub struct Push {
    active: ActiveSet,
    received: Received,
    due: Due,
    cursor: u64,
    fanout: usize,
    own_stake: u64,
    /// The bucket of the largest stake there is.
    top: u32,
    /// Kept to save allocations: who gets which of the values at hand.
    chosen: Vec<(SocketAddr, u32)>,
}

/// Values, and everybody who is sent exactly these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// To whom.
    pub to: Vec<SocketAddr>,
    /// What.
    pub values: Vec<Bytes>,
}

/// What decides about pushes besides the active set.
pub struct View<'a> {
    /// When.
    pub now: Now,
    /// What is known.
    pub table: &'a Table,
    /// Who has proven where it listens.
    pub pings: &'a Pings,
    /// Who may say what.
    pub gate: &'a StakeGate,
    /// Membership, where it is given.
    pub roster: Option<&'a Roster>,
}

impl View<'_> {
    fn is_pushed(&self, value: &CrdsValue) -> bool {
        is_fresh(value.wallclock(), self.now.unix_ms) && self.gate.may_push(value.data())
    }

    fn address(&self, peer: &Pubkey) -> Option<SocketAddr> {
        let address = match self.roster {
            Some(roster) => roster.gossip_of(peer)?,
            None => self.table.contact(peer)?.gossip()?,
        };
        self.pings.is_proven(self.now, &(*peer, address)).then_some(address)
    }
}

impl Push {
    /// Nobody to push to yet; each value goes to `fanout` peers.
    #[must_use]
    pub fn new(fanout: usize) -> Self {
        Self {
            active: ActiveSet::new(),
            received: Received::default(),
            due: Due::default(),
            cursor: 0,
            fanout,
            own_stake: 0,
            top: 0,
            chosen: Vec::new(),
        }
    }

    /// Tells our own stake and the largest there is, in lamports.
    pub fn set_stakes(&mut self, own: u64, largest: u64) {
        self.own_stake = own;
        self.top = crate::pull::stake_bucket(largest);
        self.active.set_own_stake(own);
    }

    /// Adds a peer that became known or moved where there is room; whether it is pushed to.
    pub fn welcome(&mut self, peer: Pubkey, address: SocketAddr) -> bool {
        self.active.welcome(peer, address)
    }

    /// Lets the oldest peer of each bucket go if others wait, and fills up by weight with those of `peers` (by
    /// identity) whom `fit` accepts.
    pub fn rotate(
        &mut self,
        (now, me): (Now, Pubkey),
        peers: &[Peer],
        fit: &mut dyn FnMut(&Peer) -> bool,
        rng: &mut ChaCha8Rng,
    ) {
        self.active.rotate(&Candidates { now, me, peers, top: self.top }, fit, rng);
    }

    /// A peer asks not to be sent what these origins say; how many were noted. Only known origins are, so that a peer
    /// cannot fill our memory with names, and never we ourselves: what we say nobody else can say first.
    pub fn prune(&mut self, peer: &Pubkey, origins: &[Pubkey], (me, table): (&Pubkey, &Table)) -> usize {
        let noted = |origin: &&Pubkey| {
            *origin != me && table.seen(origin).is_some() && self.active.prune(peer, origin, table.stake(origin))
        };
        origins.iter().filter(noted).count()
    }

    /// Whether everything in the table's history is pushed.
    #[must_use]
    pub const fn is_done(&self, table: &Table) -> bool {
        self.cursor == table.next_order()
    }

    /// What is new in the table since last time and for whom, at most [`VALUES_PER_ROUND`].
    pub fn collect(&mut self, view: &View<'_>) -> Vec<Parcel> {
        let mut values = Vec::new();
        let mut chosen = std::mem::take(&mut self.chosen);
        let mut taken = 0;
        for (order, filed) in view.table.since(self.cursor) {
            if taken == VALUES_PER_ROUND {
                break;
            }
            self.cursor = order + 1;
            taken += 1;
            if !view.is_pushed(&filed.value) {
                continue;
            }
            let origin = filed.value.origin();
            let bucket = if self.own_stake == 0 { 0 } else { self.active.bucket(view.table.stake(&origin)) };
            self.active.look_up(view.now, bucket, |peer| view.address(peer));
            let number = u32::try_from(values.len()).expect("few values in a round");
            let before = chosen.len();
            self.active.receivers(bucket, (&origin, self.fanout), |address| chosen.push((address, number)));
            if chosen.len() > before {
                values.push(filed.value.bytes().clone());
            }
        }
        if taken < VALUES_PER_ROUND {
            self.cursor = view.table.next_order();
        }
        let parcels = parcels(&mut chosen, &values);
        chosen.clear();
        self.chosen = chosen;
        parcels
    }

    /// Notes that `relayer`, which has proven where it listens, brought a copy of what `origin` says, of which so many
    /// copies had come before.
    pub fn received(&mut self, now: Now, (origin, relayer): (&Pubkey, &Pubkey), before: u8, table: &Table) {
        if self.received.note(now, origin, relayer, before) {
            for useless in self.received.judge(origin, self.own_stake, |node| table.stake(node)) {
                self.due.note(useless, *origin);
            }
        }
    }

    /// A relayer that should be asked to stop, and what.
    pub fn take_due(&mut self) -> Option<(Pubkey, Vec<Pubkey>)> {
        self.due.take()
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let chosen = self.chosen.capacity() * size_of::<(SocketAddr, u32)>();
        self.active.held_bytes() + self.received.held_bytes() + self.due.held_bytes() + chosen
    }

    /// The peers pushed to, by stake bucket, with how many values were pushed to each since it is active there.
    pub fn active(&self) -> impl Iterator<Item = (usize, Pubkey, u64)> {
        self.active.peers()
    }
}

/// What [`Push::held_bytes`] never exceeds.
pub const PUSH_BYTES_MAX: usize = active::ACTIVE_BYTES_MAX
    + received::RECEIVED_BYTES_MAX
    + received::DUE_BYTES_MAX
    + 2 * VALUES_PER_ROUND * (active::ACTIVE_MAX + 1) * size_of::<(SocketAddr, u32)>();

fn numbers(run: &[(SocketAddr, u32)]) -> impl Iterator<Item = u32> {
    run.iter().map(|(_, number)| *number)
}

/// Puts together who gets the same values, so that these are packed once.
fn parcels(chosen: &mut [(SocketAddr, u32)], values: &[Bytes]) -> Vec<Parcel> {
    chosen.sort_unstable();
    let mut runs: Vec<&[(SocketAddr, u32)]> = chosen.chunk_by(|a, b| a.0 == b.0).collect();
    runs.sort_by(|a, b| numbers(a).cmp(numbers(b)));
    let alike = runs.chunk_by(|a, b| numbers(a).eq(numbers(b)));
    let parcel = |runs: &[&[(SocketAddr, u32)]]| Parcel {
        to: runs.iter().map(|run| run[0].0).collect(),
        values: numbers(runs[0]).map(|number| values[number as usize].clone()).collect(),
    };
    alike.map(parcel).collect()
}

/// Whether two wallclocks in milliseconds are no more than [`FRESH_FOR`] apart.
#[must_use]
pub fn is_fresh(wallclock: u64, unix_ms: u64) -> bool {
    u128::from(wallclock.abs_diff(unix_ms)) <= FRESH_FOR.as_millis()
}

/// Whether `contact`'s gossip address may be talked to, and which it is.
#[must_use]
pub fn gossip_place(contact: &crate::wire::contact::ContactInfo, space: AddressSpace) -> Option<Place> {
    let address = contact.gossip().filter(|address| space.allows(address))?;
    Some((contact.pubkey, address))
}

impl Gossip {
    /// Whom we push to, and for values of which stake bucket.
    pub fn pushes_to(&self) -> impl Iterator<Item = (usize, Pubkey)> {
        self.push.active().map(|(bucket, peer, _)| (bucket, peer))
    }

    /// How many values were pushed to each peer since it is pushed to, by stake bucket. No more than 300 entries.
    pub fn pushed_to(&self) -> impl Iterator<Item = (usize, Pubkey, u64)> {
        self.push.active()
    }

    fn view(&self, now: Now) -> View<'_> {
        let roster = self.config.roster.as_ref();
        View { now, table: &self.table, pings: &self.pings, gate: &self.gate, roster }
    }

    /// The relayer a push message names, if the datagram came from where that node has proven to listen. The name
    /// itself is not signed, and who could borrow it could make us send an honest relayer away.
    pub(crate) fn proven_relayer(&self, now: Now, from: SocketAddr, relayer: &Pubkey) -> Option<Pubkey> {
        (self.view(now).address(relayer)? == from).then_some(*relayer)
    }

    /// Notes a pushed copy of the value with this label: taken in, or refused.
    pub(crate) fn note_copy(&mut self, now: Now, label: &Label, relayer: Option<Pubkey>, refused: Option<DropReason>) {
        let outdated = match refused {
            None | Some(DropReason::Duplicate) => false,
            Some(DropReason::Stale) => true,
            Some(_) => return,
        };
        self.metrics.copies.count(label.kind, refused.is_none());
        if let Some(relayer) = relayer {
            // What is outdated is no longer in the table to count on, and it surely came late.
            let before = if outdated { u8::MAX } else { self.table.count_copy(label, &relayer) };
            self.push.received(now, (&label.origin, &relayer), before, &self.table);
        }
    }

    /// Stops pushing to who asks for it, given that its message is signed by it, for us and recent.
    pub(crate) fn obey_prune(&mut self, prune: &Prune) {
        let noted = self.push.prune(&prune.pubkey, &prune.prunes, (&self.me, &self.table));
        self.metrics.prunes_obeyed += noted as u64;
    }

    /// Pushes what is new, packed once for all who are sent the same.
    pub(crate) fn flush_push(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.push.is_done(&self.table) {
            return;
        }
        let view =
            View { now, table: &self.table, pings: &self.pings, gate: &self.gate, roster: self.config.roster.as_ref() };
        for parcel in self.push.collect(&view) {
            self.send_parcel(&parcel, out);
        }
    }

    pub(crate) fn send_parcel(&mut self, parcel: &Parcel, out: &mut Effects<Effect>) {
        self.metrics.pushed_out += (parcel.to.len() * parcel.values.len()) as u64;
        let datagrams = pack(Carrier::Push, &self.me, &parcel.values);
        for to in &parcel.to {
            for datagram in &datagrams {
                self.send(*to, datagram.clone(), out);
            }
        }
    }

    /// Asks relayers to stop what others bring sooner; only those at addresses that are proven.
    pub(crate) fn send_prunes(&mut self, now: Now, out: &mut Effects<Effect>) {
        for _ in 0..PRUNES_PER_ROUND {
            let Some((relayer, origins)) = self.push.take_due() else {
                return;
            };
            let Some(address) = self.view(now).address(&relayer) else {
                continue;
            };
            self.metrics.prunes_sent += origins.len() as u64;
            self.metrics.prune_messages_sent += 1;
            let prune = Prune::sign(relayer, origins, now.unix_ms, &*self.signer);
            self.send(address, Protocol::PruneMessage(self.me, prune).encode().into(), out);
        }
    }

    /// Changes a little whom we push to. Who might be chosen but has not proven where it listens lately is pinged.
    pub(crate) fn rotate_active(&mut self, now: Now, out: &mut Effects<Effect>) {
        let peers = self.registry.peers().clone();
        let mut pings = Vec::new();
        let mut fit = |peer: &Peer| {
            let Some(address) = peer.addresses.gossip else {
                return false;
            };
            let standing = self.pings.meet(now, (peer.identity, address));
            pings.extend(standing.ping.map(|ping| (address, ping)));
            standing.proven
        };
        self.push.rotate((now, self.me), &peers, &mut fit, &mut self.rng);
        for (address, ping) in pings {
            self.intake.note_pinged(now, address);
            self.send_ping(address, ping, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::contact::ContactInfo;
    use crate::{
        CrdsData,
        table::{Limits, Stakes},
        wire::{Ping, Pong, slots::EpochSlots},
    };
    use rand::SeedableRng as _;
    use solana_keypair::Keypair;
    use std::sync::Arc;
    use sundog_types::peer::Addresses;
    use sundog_types::sign::{Identity, Sign as _};

    const NOW: Now = Now { mono_us: 1_000_000, unix_ms: 1_760_000_000_000 };

    fn signer(number: u8) -> Identity {
        Identity::new(Keypair::new_from_array([number; 32]))
    }

    fn listens(number: u8) -> SocketAddr {
        SocketAddr::new([10, 0, 0, number].into(), 8_000)
    }

    fn contact(number: u8) -> CrdsValue {
        let signer = signer(number);
        let addresses = Addresses { gossip: Some(listens(number)), ..Addresses::default() };
        let mut info = ContactInfo::new(signer.identity(), 1, 7, &addresses);
        info.wallclock = NOW.unix_ms;
        CrdsValue::sign(CrdsData::ContactInfo(Box::new(info)), &signer)
    }

    fn slots(number: u8, index: u8, wallclock: u64) -> CrdsValue {
        let signer = signer(number);
        let data = EpochSlots { from: signer.identity(), parts: Vec::new(), wallclock };
        CrdsValue::sign(CrdsData::EpochSlots(index, data), &signer)
    }

    fn prove(pings: &mut Pings, number: u8) {
        let place = (signer(number).identity(), listens(number));
        let Ping { token, .. } = pings.meet(NOW, place).ping.expect("first meeting");
        assert!(pings.pong(NOW, place.1, (&Pong::answer(&token, &signer(number)), false)).is_ok());
    }

    #[test]
    fn stale_values_stay_and_a_round_pushes_so_many_values_and_the_next_the_rest() {
        let me = Arc::new(signer(0));
        let mut pings = Pings::new(me.clone(), ChaCha8Rng::from_seed([1; 32]), NOW);
        let mut table = Table::new(me.identity(), Limits::default());
        let gate = StakeGate::new(Stakes::default());
        let mut push = Push::new(FANOUT);
        for number in 1..=40 {
            table.offer(NOW, contact(number));
            push.welcome(signer(number).identity(), listens(number));
        }
        for number in 1..=5 {
            prove(&mut pings, number);
        }
        let mut left = 5_000;
        'fill: for number in 1..=40 {
            for index in 0..200 {
                if left == 0 {
                    break 'fill;
                }
                left -= 1;
                table.offer(NOW, slots(number, index, NOW.unix_ms));
            }
        }
        table.offer(NOW, slots(39, 0, NOW.unix_ms - 15_001));
        let held = table.len();
        let view = View { now: NOW, table: &table, pings: &pings, gate: &gate, roster: None };
        let mut pushed = Vec::new();
        while !push.is_done(&table) {
            let parcels = push.collect(&view);
            let mut values: Vec<&Bytes> = parcels.iter().flat_map(|parcel| &parcel.values).collect();
            values.sort();
            values.dedup();
            pushed.push(values.len());
            for parcel in &parcels {
                assert!(
                    parcel.to.iter().all(|to| (1..=5).map(listens).any(|proven| proven == *to)),
                    "only proven ones"
                );
            }
        }
        assert_eq!(pushed, [VALUES_PER_ROUND, held - VALUES_PER_ROUND - 1]);
        assert!(push.collect(&view).is_empty());
    }
}
