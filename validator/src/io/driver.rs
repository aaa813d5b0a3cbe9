//! The node's thread: inputs from the lanes, effects to the world, and no decision of its own.

use super::{
    clock::Clock,
    feed::Feed,
    lanes::{Ends, Lanes},
    quic::Dialer,
    storage::Order,
    sync::SyncNet,
    udp::Outgoing,
    workers::Workers,
};
use crate::node::{Effect, Input, Job, Node};
use arc_swap::ArcSwapOption;
use flume::Sender;
use std::{sync::Arc, time::Duration};
use sundog_poh::RecorderInput;
use sundog_turbine::sync;
use sundog_types::Machine as _;

/// The longest sleep of the node's thread.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Checks of one round that are one piece of work for the pool: a millisecond or so, so that a thread is not woken for
/// each, signatures are verified side by side, and several threads share what is more.
pub const CHECKS_AT_ONCE: usize = 16;

/// Everything that a node's effects go to.
pub struct World {
    /// Answers come back through these.
    pub lanes: Lanes,
    /// Time.
    pub clock: Clock,
    /// Heavy work.
    pub workers: Workers,
    /// The Proof of History thread.
    pub recorder: Sender<RecorderInput>,
    /// The storage thread.
    pub storage: Sender<Order>,
    /// Datagrams.
    pub udp: Outgoing,
    /// Shreds over QUIC.
    pub turbine: Arc<Dialer>,
    /// Transactions over QUIC.
    pub tpu: Arc<Dialer>,
    /// Bulk sync over TCP.
    pub sync: Arc<SyncNet>,
    /// Readers.
    pub view: Arc<ArcSwapOption<crate::node::View>>,
    /// Subscribers and the log.
    pub feed: Feed,
    /// Says why the node must end.
    pub stop: tokio::sync::mpsc::Sender<String>,
}

/// Drives a node until nobody can give it input any more.
pub fn run(mut node: Node, ends: &Ends, world: &World, mut effects: Vec<Effect>) {
    let mut inputs: Vec<Input> = Vec::new();
    let mut checks: Vec<Job> = Vec::new();
    loop {
        for effect in effects.drain(..) {
            match effect {
                Effect::Run(job) if job.is_check() => checks.push(job),
                effect => world.carry_out(effect),
            }
        }
        while !checks.is_empty() {
            let some = checks.drain(..checks.len().min(CHECKS_AT_ONCE)).collect();
            world.workers.run(some);
        }
        let now = world.clock.now();
        let wait = node.poll_timeout().map_or(SLEEP_MAX, |due| due.since(now)).min(SLEEP_MAX);
        if !ends.take(wait, &mut inputs) || world.feed.closed() {
            node.write_last_root(&mut effects);
            effects.drain(..).for_each(|effect| world.carry_out(effect));
            return;
        }
        let now = world.clock.now();
        for input in inputs.drain(..) {
            node.handle(now, input, &mut effects);
        }
        if node.poll_timeout().is_some_and(|due| now.reached(due)) {
            node.handle_timeout(now, &mut effects);
        }
    }
}

impl World {
    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::SendUdp { socket, to, bytes } => self.udp.send(socket, to, &bytes),
            Effect::SendShred { to, addresses, shred } => self.udp.send_shred(&self.turbine, (to, addresses), shred),
            Effect::SendTransactions { to, address, transactions } => {
                for transaction in transactions {
                    self.tpu.send(address, Some(to), transaction);
                }
            }
            Effect::Sync(order) => self.carry_out_sync(order),
            Effect::Run(job) => self.workers.run(vec![job]),
            Effect::Poh(input) => {
                let _ = self.recorder.send(input);
            }
            Effect::Write { batch, durable } => {
                let _ = self.storage.send(Order::Ledger { batch, durable });
            }
            Effect::SaveTower { id, bytes } => {
                let _ = self.storage.send(Order::Tower { id, bytes });
            }
            Effect::Publish(view) => {
                self.turbine.keep_warm(&view.peers, &self.feed.identity);
                self.tpu.keep_warm(&view.peers, &self.feed.identity);
                self.feed.view(&view);
                self.view.store(Some(view));
            }
            Effect::Event(event) => self.feed.event(event),
            Effect::Stop { why } => {
                let _ = self.stop.try_send(why);
            }
        }
    }

    /// What bulk sync asks of its links. Everything else that it asks is the node's to do.
    fn carry_out_sync(&self, order: sync::Effect) {
        match order {
            sync::Effect::Dial { peer, address } => self.sync.dial(peer, address),
            sync::Effect::Send { link, frame } => self.sync.send(link, frame),
            sync::Effect::Close { link } => self.sync.close(link),
            _ => {}
        }
    }
}
