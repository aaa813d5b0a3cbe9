//! What the machines ask for is done.

use super::{Event, PassedOn, SpreadWorld};
use crate::sim::{Port, spread::Sending};
use bytes::Bytes;
use std::collections::VecDeque;
use sundog_turbine::{Effect, Input, RepairKind, SendKind, ServedKind};
use sundog_types::{Machine as _, shred::View};

impl SpreadWorld {
    /// Does what a machine asked for, and what it asks for in answer to that.
    pub(super) fn perform(&mut self, node: usize, mut out: Vec<Effect>) {
        let mut answers = VecDeque::new();
        loop {
            for effect in out.drain(..) {
                answers.extend(self.perform_one(node, effect));
            }
            let Some(answer) = answers.pop_front() else { break };
            self.hosts[node].turbine.handle(self.now, answer, &mut out);
        }
        self.scratch = out;
        self.wind(node);
    }

    fn perform_one(&mut self, node: usize, effect: Effect) -> Option<Input> {
        let host = &mut self.hosts[node];
        match effect {
            Effect::Verify { id, items } => {
                let answer = Input::Verified { id, valid: self.work.verify(&items) };
                return self.answer(node, answer);
            }
            Effect::Recover(job) => {
                let (id, outcome) = self.work.recover(job);
                return self.answer(node, Input::Recovered { id, outcome });
            }
            Effect::Store { shreds } => host.shelf.store(&shreds),
            Effect::Send { to, shred, kind, layer, .. } => {
                host.traffic.shreds += 1;
                let to = self.numbers[&to];
                if kind != SendKind::Broadcast {
                    self.note_copy(node, to, &shred);
                }
                let sending = Sending { to, port: Port::TvuQuic, bytes: shred };
                if self.post(node, sending) {
                    self.note_hops(layer);
                }
            }
            Effect::SendRepair { to, bytes, kind } => {
                host.traffic.requests += u64::from(kind != RepairKind::Pong);
                if let Some((to, port)) = Port::resolve(to) {
                    self.post(node, Sending { to, port, bytes });
                }
            }
            Effect::SendServed { to, bytes, kind } => {
                host.traffic.served += u64::from(kind == ServedKind::Shred);
                if let Some((to, port)) = Port::resolve(to) {
                    self.post(node, Sending { to, port, bytes });
                }
            }
            other => host.told.note(self.now, other),
        }
        None
    }

    fn note_copy(&mut self, from: usize, to: usize, shred: &Bytes) {
        if !self.config.note_copies {
            return;
        }
        let Ok(view) = View::read(shred) else { return };
        let mut version = [0; 8];
        version.copy_from_slice(&shred[..8]);
        *self.copies.entry(PassedOn { from, to, shred: view.id(), version }).or_default() += 1;
    }

    fn note_hops(&mut self, layer: u8) {
        let hops = usize::from(layer) + 1;
        if self.hops.len() <= hops {
            self.hops.resize(hops + 1, 0);
        }
        self.hops[hops] += 1;
    }

    /// Gives the answer of a node's pool back at once, or when its one core has done what came before, and this.
    fn answer(&mut self, node: usize, answer: Input) -> Option<Input> {
        let job = self.config.job;
        if job.is_zero() {
            return Some(answer);
        }
        let host = &mut self.hosts[node];
        host.pool_free = host.pool_free.max(self.now).after(job);
        let at = host.pool_free.mono_us.div_ceil(1_000).max(self.now_ms() + 1);
        self.queue.push(at, Event::Answer { node, answer: Box::new(answer) });
        None
    }

    /// Sets the node's timer to when its machine wants it.
    fn wind(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let Some(due) = host.turbine.poll_timeout() else {
            host.timer = None;
            return;
        };
        let at = due.mono_us.div_ceil(1_000).max(self.now.mono_us / 1_000 + 1);
        if host.timer != Some(at) {
            host.timer = Some(at);
            self.queue.push(at, Event::Timer { node });
        }
    }
}
