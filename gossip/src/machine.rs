//! The gossip machine: what comes in, what goes out, and when.

use crate::{
    check::Checked,
    clocks::Clocks,
    config::{ConfigError, GossipConfig, YOUNG_FOR},
    duplicates::Duplicates,
    entrypoints::Entrypoints,
    filters::{self, FilterSize},
    limits::Intake,
    metrics::Metrics,
    ping::{Pings, Place},
    publish::Publisher,
    pull::{Pull, choose_peer},
    push::{Push, StakeGate},
    recent::{Recent, before},
    registry::{AddressSpace, Outdated, Registry},
    slots_heard::SlotsHeard,
    table::{Stakes, Table},
    trouble::{Told, Trouble},
    wire::{
        Ping, Protocol,
        duplicate::DuplicateProof,
        value::{CrdsData, CrdsValue},
    },
};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use solana_transaction::versioned::VersionedTransaction;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use sundog_types::{
    Effects, Machine, Now, Pubkey, Slot,
    machine::earliest,
    peer::{Addresses, Peer},
    sign::Sign,
};

/// What may happen to gossip.
#[derive(Clone, Debug)]
pub enum Input {
    /// A datagram that passed [`crate::check()`].
    Packet {
        /// Where it came from.
        from: SocketAddr,
        /// What it is.
        packet: Checked,
    },
    /// We voted: the transaction (a legacy one) and the newest slot it votes for.
    PublishVote {
        /// The vote transaction.
        transaction: VersionedTransaction,
        /// The newest slot voted for.
        slot: Slot,
    },
    /// The leader of a slot made two versions of it: the two shreds that prove it go out in chunks.
    PublishDuplicate {
        /// The slot.
        slot: Slot,
        /// The shreds.
        proof: Box<DuplicateProof>,
    },
    /// Something else to say. Its origin and wallclock are filled in.
    Publish(Box<CrdsData>),
    /// Slots whose blocks this node has whole now, ascending: told to others in our epoch slots (reference 6.13).
    Completed(Vec<Slot>),
    /// The lowest slot of which this node has shreds: told to others when it changes.
    Lowest(Slot),
    /// The root moved: what others say of slots at or below it, or further above it than `window`, is of no interest.
    Root {
        /// The root.
        slot: Slot,
        /// Slots above the root that are of interest: an epoch.
        window: u64,
    },
    /// We listen elsewhere from now on.
    Addresses(Box<Addresses>),
    /// Stake by node identity in the current epoch, in lamports.
    Stakes(Arc<BTreeMap<Pubkey, u64>>),
}

/// What gossip asks of the world.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send a datagram from the gossip socket.
    Send {
        /// To whom.
        to: SocketAddr,
        /// What.
        bytes: Bytes,
    },
    /// The peers, ourselves included, by identity; at most one list in a round.
    Peers(Arc<Vec<Peer>>),
    /// A vote was heard; also one in our own name, of an earlier life or another instance, or our own come back. The
    /// transaction's own signatures are not verified.
    Vote {
        /// The node that published it.
        from: Pubkey,
        /// The vote transaction.
        transaction: VersionedTransaction,
    },
    /// A node with stake says that it has these slots whole; within the window of [`Input::Root`], but no farther above
    /// the root than [`SPAN`](crate::slots_heard::SPAN), ascending. Each slot once for each node.
    Slots {
        /// The node.
        from: Pubkey,
        /// The slots.
        slots: Vec<Slot>,
    },
    /// A node says that a leader made two versions of a slot: all chunks of its proof are here. Nothing of it is
    /// verified, not even that the shreds are shreds.
    Duplicate {
        /// The node.
        from: Pubkey,
        /// The slot.
        slot: Slot,
        /// The proof.
        proof: Box<DuplicateProof>,
    },
    /// Another instance of this node started after us. Two must not vote at once: stop this one.
    AnotherInstance {
        /// When it started, in microseconds since the Unix epoch.
        outset_us: u64,
        /// Where it listens.
        gossip: Option<SocketAddr>,
    },
    /// Something that an operator should know; each kind at most once a minute.
    Trouble(Trouble),
}

/// Contact infos that wait for their address to answer a ping: twice what one sender may name in the time they wait. Full:
/// the oldest is forgotten; it comes again with the next push or pull.
pub const WAITING_MAX: usize = 2_048;

/// How long they wait.
const WAITING_LASTS: Duration = Duration::from_secs(5);

/// How often what fell silent is looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// Learns who is out there and what they say, and says what we have to say.
pub struct Gossip {
    pub(crate) config: GossipConfig,
    pub(crate) signer: Arc<dyn Sign>,
    pub(crate) me: Pubkey,
    pub(crate) space: AddressSpace,
    pub(crate) shred_version: u16,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) table: Table,
    pub(crate) registry: Registry,
    pub(crate) pings: Pings,
    pub(crate) push: Push,
    pub(crate) pull: Pull,
    pub(crate) publisher: Publisher,
    pub(crate) slots_heard: SlotsHeard,
    pub(crate) duplicates: Duplicates,
    pub(crate) entrypoints: Entrypoints,
    pub(crate) clocks: Clocks,
    pub(crate) told: Told,
    pub(crate) waiting: Recent<Place, CrdsValue>,
    pub(crate) gate: StakeGate,
    pub(crate) metrics: Metrics,
    pub(crate) intake: Intake,
    started: Now,
    due: Due,
    /// Our contact info, when a roster says that our values are not kept.
    pub(crate) untracked: Option<CrdsValue>,
    /// Whether our contact info is no longer renewed.
    pub(crate) quiet: bool,
}

/// When each recurring thing is due next.
#[derive(Clone, Copy, Debug)]
struct Due {
    round: Now,
    refresh: Now,
    pull: Now,
    expire: Now,
    /// Something taken in waits to be passed on.
    push: Option<Now>,
}

impl Gossip {
    /// A machine that knows nobody. It speaks at the first [`Machine::handle_timeout`], which is due at
    /// once.
    ///
    /// # Errors
    /// [`ConfigError`] when settings contradict each other.
    pub fn new(config: GossipConfig, signer: Arc<dyn Sign>, seed: [u8; 32], now: Now) -> Result<Self, ConfigError> {
        let config = config.validate()?;
        let mut rng = ChaCha8Rng::from_seed(seed);
        let me = signer.identity();
        let space = if config.allow_private { AddressSpace::Private } else { AddressSpace::Public };
        let pings_rng = ChaCha8Rng::from_seed(rng.r#gen());
        let mut pings = Pings::new(signer.clone(), pings_rng, now);
        let mut registry = Registry::new(space, now);
        if let Some(roster) = &config.roster {
            pings.trust_everybody();
            registry = Registry::given(space, now, Arc::clone(&roster.peers));
        }
        Ok(Self {
            space,
            shred_version: config.shred_version,
            table: Table::new(me, config.limits),
            registry,
            pings,
            push: Push::new(config.fanout),
            pull: Pull::new(),
            publisher: Publisher::new(&config, signer.clone(), now),
            slots_heard: SlotsHeard::new(config.limits.origins),
            duplicates: Duplicates::default(),
            entrypoints: Entrypoints::new(&config, &me, now),
            clocks: Clocks::default(),
            told: Told::default(),
            waiting: Recent::new(WAITING_MAX),
            gate: StakeGate::new(Stakes::default()),
            metrics: Metrics::default(),
            intake: Intake::new(config.packet_limits),
            started: now,
            due: Due { round: now, refresh: now, pull: now, expire: now, push: None },
            untracked: None,
            quiet: false,
            config,
            signer,
            me,
            rng,
        })
    }

    /// The peers as of the last round, ourselves included, by identity.
    #[must_use]
    pub const fn peers(&self) -> &Arc<Vec<Peer>> {
        self.registry.peers()
    }

    /// The counters.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The counters, to count drops that [`crate::check()`] reports.
    pub const fn metrics_mut(&mut self) -> &mut Metrics {
        &mut self.metrics
    }

    /// What everybody says.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// How many contact infos wait for their address to answer a ping; at most [`WAITING_MAX`].
    #[must_use]
    pub fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// The chain we are on; 0 while none is adopted.
    #[must_use]
    pub const fn shred_version(&self) -> u16 {
        self.shred_version
    }

    /// Renews our contact info no more and files no caller's, so that the nodes of a world can come to hold the same
    /// values. Requests still carry one of now, for whoever answers tells nothing that is much newer.
    pub const fn fall_quiet(&mut self) {
        self.quiet = true;
    }

    pub(crate) fn send(&mut self, to: SocketAddr, bytes: Bytes, out: &mut Effects<Effect>) {
        self.metrics.sent += 1;
        self.metrics.sent_bytes += bytes.len() as u64;
        out.push(Effect::Send { to, bytes });
    }

    pub(crate) fn send_ping(&mut self, to: SocketAddr, ping: Ping, out: &mut Effects<Effect>) {
        self.metrics.pings_out += 1;
        self.send(to, Protocol::PingMessage(ping).encode().into(), out);
    }

    /// Sees to it that what is new in the table is passed on within `delay`.
    pub(crate) fn push_within(&mut self, now: Now, delay: Duration) {
        self.due.push = earliest(self.due.push, Some(now.after(delay)));
    }

    fn round(&mut self, now: Now, out: &mut Effects<Effect>) {
        self.due.round = now.after(self.config.round_every);
        let refresh = now.reached(self.due.refresh);
        if refresh {
            self.due.refresh = now.after(self.config.refresh_every);
            if !self.quiet {
                let contact = self.publisher.contact(self.shred_version);
                self.publish(now, contact);
            }
            self.registry.outdate(Outdated::Peers);
        }
        if now.reached(self.due.expire) {
            self.due.expire = now.after(EXPIRE_EVERY);
            self.expire(now);
            self.look_around(now, out);
        }
        self.ask_entrypoints(now, out);
        if now.reached(self.due.pull) {
            let young = now.since(self.started) < YOUNG_FOR;
            let every = if young { self.config.pull_every_young } else { self.config.pull_every };
            self.due.pull = now.after(every);
            self.ask_peers(now, out);
        }
        self.publish_due(now);
        self.hear_slots_again(out);
        self.due.push = None;
        self.flush_push(now, out);
        self.send_prunes(now, out);
        if let Some(peers) = self.registry.refresh(now, &self.table, self.shred_version) {
            out.push(Effect::Peers(peers));
        }
        if refresh {
            self.rotate_active(now, out);
        }
    }

    fn expire(&mut self, now: Now) {
        let expired = self.table.expire(now);
        self.metrics.expired += expired as u64;
        self.metrics.evicted = self.table.evicted();
        if expired > 0 {
            self.registry.outdate(Outdated::Peers);
        }
        self.pings.forget_old(now);
        self.intake.forget_old(now);
        self.waiting.forget_before(before(now, WAITING_LASTS));
    }

    /// Asks one address for whatever one filter covers.
    pub(crate) fn send_pull(&mut self, now: Now, to: SocketAddr, out: &mut Effects<Effect>) {
        for bytes in self.pull_requests(now).into_iter().take(1) {
            self.metrics.pull_requests_out += 1;
            self.intake.note_asked(now, to);
            self.send(to, bytes, out);
        }
    }

    fn ask_peers(&mut self, now: Now, out: &mut Effects<Effect>) {
        for bytes in self.pull_requests(now) {
            let peers = self.registry.peers().clone();
            let Some(peer) = choose_peer(now, &self.me, &peers, &mut self.rng) else {
                return;
            };
            let Some(address) = peer.addresses.gossip else {
                continue;
            };
            let standing = self.pings.meet(now, (peer.identity, address));
            if let Some(ping) = standing.ping {
                self.intake.note_pinged(now, address);
                self.send_ping(address, ping, out);
            }
            if standing.proven {
                self.metrics.pull_requests_out += 1;
                self.intake.note_asked(now, address);
                self.send(address, bytes, out);
            }
        }
    }

    /// The requests of one round. While we are young our contact info is signed anew for them, because
    /// nobody tells us what is newer than it.
    fn pull_requests(&mut self, now: Now) -> Vec<Bytes> {
        let contact = self.publisher.contact(self.shred_version);
        let filed = self.table.get(&self.publisher.label(&contact)).map(|filed| filed.value.clone());
        let young = now.since(self.started) < YOUNG_FOR && self.config.roster.is_none();
        let anew = young || self.quiet;
        let caller = match filed.or_else(|| self.untracked.clone()) {
            Some(value) if !anew => value,
            filed => self.publisher.sign(now, contact, filed.map(|value| value.wallclock())),
        };
        let size = FilterSize { items_min: self.config.pull_items_min, caller_bytes: caller.bytes().len() };
        let filters = filters::build(&self.table, size, &mut self.rng);
        let request = |filter| Protocol::PullRequest(filter, Box::new(caller.clone()));
        filters.into_iter().map(|filter| request(filter).encode().into()).collect()
    }

    fn set_stakes(&mut self, stakes: Stakes) {
        self.pull.set_staked(stakes.values().filter(|stake| **stake > 0).count());
        let own = stakes.get(&self.me).copied().unwrap_or(0);
        self.push.set_stakes(own, stakes.values().copied().max().unwrap_or(0));
        self.gate = StakeGate::new(stakes.clone());
        self.publisher.set_stakes(&stakes);
        self.slots_heard.set_stakes(stakes.clone());
        self.table.set_stakes(stakes);
        self.registry.outdate(Outdated::Peers);
    }
}

impl Machine for Gossip {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match input {
            Input::Packet { from, packet } => {
                self.metrics.packets += 1;
                self.take_message(now, from, packet.message, out);
            }
            Input::PublishVote { transaction, slot } => {
                if let Some(vote) = self.publisher.vote(now, transaction, slot) {
                    self.publish(now, vote);
                }
            }
            Input::PublishDuplicate { slot, proof } => {
                self.publish_proof(now, slot, &proof);
            }
            Input::Publish(data) => self.publish(now, *data),
            Input::Completed(slots) => {
                self.publisher.complete(&slots);
                self.publish_due(now);
            }
            Input::Lowest(slot) => self.publisher.lowest(slot),
            Input::Root { slot, window } => self.set_root(slot, window),
            Input::Addresses(addresses) => {
                self.publisher.move_to(&addresses);
                let contact = self.publisher.contact(self.shred_version);
                self.publish(now, contact);
                self.registry.outdate(Outdated::Peers);
            }
            Input::Stakes(stakes) => self.set_stakes(stakes),
        }
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        if now.reached(self.due.round) {
            self.round(now, out);
        } else if self.due.push.is_some_and(|due| now.reached(due)) {
            self.due.push = None;
            self.flush_push(now, out);
        }
    }

    fn poll_timeout(&self) -> Option<Now> {
        earliest(Some(self.due.round), self.due.push)
    }
}
