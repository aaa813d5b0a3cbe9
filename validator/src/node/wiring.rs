//! Between the machines: the effects of one are inputs of another, or leave the node.

use super::{Awaited, Divergence, Done, Effect, Event, Job, Node, Socket, Tally};
use std::sync::Arc;
use sundog_gossip::wire::duplicate::DuplicateProof;
use sundog_gulfstream::Source;
use sundog_types::{Effects, Machine, Now, Slot, store::Batch, vote};

impl Node {
    pub(super) fn done(&mut self, now: Now, done: Done, out: &mut Effects<Effect>) {
        self.checks.end(&done);
        match done {
            Done::Gossip { from, packet: Ok(packet) } => {
                self.gossip(now, sundog_gossip::Input::Packet { from, packet }, out);
            }
            Done::Gossip { packet: Err(why), .. } => self.gossip.metrics_mut().drop_one(why),
            Done::Shreds { id, valid } => self.turbine(now, sundog_turbine::Input::Verified { id, valid }, out),
            Done::Recovered { id, outcome } => {
                self.turbine(now, sundog_turbine::Input::Recovered { id, outcome }, out);
            }
            Done::Vote(Some(transaction)) => self.vote_in_gossip(now, &transaction, out),
            Done::Proof { slot, proof } => self.proof_checked(now, slot, proof, out),
            Done::Vote(None) => self.counters.unsigned_votes += 1,
            Done::Transactions { id, results } => {
                self.gulf(now, sundog_gulfstream::Input::Checked { id, results }, out);
                self.produce(out);
            }
            Done::Replayed(replayed) => self.replay_done(now, *replayed, out),
            Done::Executed { bank, transactions, executed } => {
                self.lead_executed(now, (bank, transactions, executed), out);
            }
            Done::Frozen { bank } => self.lead_frozen(now, bank, out),
            Done::Shredded { shredder, sets, last_in_slot } => {
                self.broadcast_shredded(now, (shredder, sets, last_in_slot), out);
            }
            Done::Loaded { id, blocks, next, lowest } => {
                self.sync(now, sundog_turbine::sync::Input::Loaded { id, blocks, next, lowest }, out);
            }
            Done::RangeChecked(checked) => self.sync(now, sundog_turbine::sync::Input::Checked(checked), out),
            Done::Rooted { bank, batch } => self.root_computed(now, &bank, batch, out),
        }
    }

    pub(super) fn durable(&mut self, now: Now, id: u64, out: &mut Effects<Effect>) {
        match self.awaited.remove(&id) {
            Some(Awaited::Tower(tower)) => self.consensus(now, sundog_tower::Input::Saved { id: tower }, out),
            Some(Awaited::Led(slot)) => self.lead_marked(now, slot, out),
            Some(Awaited::Root(slot)) => self.root_durable(now, slot, out),
            Some(Awaited::Blocks) | None => {}
        }
    }

    pub(super) fn gossip(&mut self, now: Now, input: sundog_gossip::Input, out: &mut Effects<Effect>) {
        let mut effects = Vec::new();
        self.gossip.handle(now, input, &mut effects);
        self.gossip_effects(now, effects, out);
    }

    pub(super) fn gossip_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        let mut effects = Vec::new();
        self.gossip.handle_timeout(now, &mut effects);
        self.gossip_effects(now, effects, out);
    }

    fn gossip_effects(&mut self, now: Now, effects: Vec<sundog_gossip::Effect>, out: &mut Effects<Effect>) {
        for effect in effects {
            match effect {
                sundog_gossip::Effect::Send { to, bytes } => {
                    out.push(Effect::SendUdp { socket: Socket::Gossip, to, bytes });
                }
                sundog_gossip::Effect::Peers(peers) => self.meet_peers(now, peers, out),
                sundog_gossip::Effect::Vote { from, transaction } if from == self.identity => {
                    self.hear_own_vote(transaction, out);
                }
                sundog_gossip::Effect::Vote { transaction, .. } => self.hear_vote(transaction, out),
                sundog_gossip::Effect::Slots { from, slots } => self.hear_slots(now, from, slots, out),
                sundog_gossip::Effect::Duplicate { slot, proof, .. } => self.hear_duplicate(slot, proof, out),
                sundog_gossip::Effect::AnotherInstance { gossip, .. } => {
                    let place = gossip.map_or_else(String::new, |address| format!(" at {address}"));
                    let why = format!(
                        "another instance runs with this node's identity{place} and started later, so this one stops; give each node its own keypair, or run only one of them"
                    );
                    out.push(Effect::Stop { why });
                }
                sundog_gossip::Effect::Trouble(trouble) => {
                    self.note_elsewhere(&trouble);
                    out.push(Effect::Event(Event::Gossip(trouble)));
                }
            }
        }
    }

    fn meet_peers(&mut self, now: Now, peers: Arc<Vec<sundog_types::peer::Peer>>, out: &mut Effects<Effect>) {
        self.peers = Arc::clone(&peers);
        self.turbine(now, sundog_turbine::Input::Peers(Arc::clone(&peers)), out);
        self.gulf(now, sundog_gulfstream::Input::Peers(Arc::clone(&peers)), out);
        self.sync(now, sundog_turbine::sync::Input::Peers(Arc::clone(&peers)), out);
        if !self.saw_supermajority {
            let stakes = self.forks.get(self.forks.root()).map(|f| f.bank.current_epoch_stakes());
            let stakes = stakes.map(|s| s.by_node()).unwrap_or_default();
            let total: u128 = stakes.values().map(|s| u128::from(*s)).sum();
            let seen: u128 = stakes
                .iter()
                .filter(|(node, _)| {
                    **node == self.identity || peers.binary_search_by_key(node, |p| &p.identity).is_ok()
                })
                .map(|(_, stake)| u128::from(*stake))
                .sum();
            self.saw_supermajority = seen * 3 > total * 2;
            if self.saw_supermajority {
                // The clock of a new chain starts when the cluster is there, not when the first process is.
                let build_on = self.leading.reset().map(|r| r.slot).filter(|slot| *slot == Slot::ZERO);
                if let Some(genesis) = build_on {
                    self.lead_reset(now, genesis, out);
                }
            }
        }
        self.look_around(now, out);
        self.view.touch();
    }

    pub(super) fn turbine(&mut self, now: Now, input: sundog_turbine::Input, out: &mut Effects<Effect>) {
        let mut effects = Vec::new();
        self.turbine.handle(now, input, &mut effects);
        self.turbine_effects(now, effects, out);
    }

    pub(super) fn turbine_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        let mut effects = Vec::new();
        self.turbine.handle_timeout(now, &mut effects);
        self.turbine_effects(now, effects, out);
    }

    fn turbine_effects(&mut self, now: Now, effects: Vec<sundog_turbine::Effect>, out: &mut Effects<Effect>) {
        use sundog_turbine::Effect as E;
        // Before a block that they complete.
        for effect in &effects {
            if let E::Store { shreds } = effect {
                self.remember_shreds(now, shreds, out);
            }
        }
        for effect in effects {
            match effect {
                E::Verify { id, items } => out.push(Effect::Run(Job::VerifyShreds { id, items })),
                E::Recover(job) => out.push(Effect::Run(Job::Recover(job))),
                E::Timeline { slot, timeline } => self.remember_timeline(slot, &timeline, out),
                E::Send { to, addresses, shred, .. } => out.push(Effect::SendShred { to, addresses, shred }),
                E::SendRepair { to, bytes, .. } => out.push(Effect::SendUdp { socket: Socket::Repair, to, bytes }),
                E::SendServed { to, bytes, .. } => out.push(Effect::SendUdp { socket: Socket::ServeRepair, to, bytes }),
                E::Store { .. } => {}
                E::SlotStarted { slot, .. } => self.slot_started(slot, out),
                E::Data { slot, parent, batch, first_index, last_in_slot } => {
                    self.replay_data(now, (slot, parent), (batch, first_index, last_in_slot), out);
                }
                E::Complete { slot, shreds, recovered, repaired, block_id, .. } => {
                    self.remember_whole(slot, out);
                    let tally = Tally { shreds, recovered, repaired, ms: 0 };
                    self.replay_arrived(now, slot, (tally, block_id), out);
                }
                E::Dead { slot, why } => self.mark_dead(now, slot, why.to_string(), out),
                E::Ancestors { hashes, .. } => self.ancestors_agreed(now, &hashes, out),
                E::Duplicate { slot, first, second, why, proof } => {
                    out.push(Effect::Event(Event::Duplicate { slot, why: why.to_string() }));
                    if let Some(proof) = proof {
                        self.duplicate_proven(now, slot, proof, out);
                        let proof = Box::new(DuplicateProof { first: first.into(), second: second.into() });
                        self.gossip(now, sundog_gossip::Input::PublishDuplicate { slot, proof }, out);
                    }
                }
            }
        }
    }

    fn slot_started(&mut self, slot: Slot, out: &mut Effects<Effect>) {
        self.highest_seen = self.highest_seen.max(slot);
        if self.is_own(slot) {
            return;
        }
        if let Some(leader) = self.leaders.leader(slot) {
            out.push(Effect::Event(Event::SlotStarted { slot, leader, mine: leader == self.identity }));
        }
    }

    pub(super) fn gulf(&mut self, now: Now, input: sundog_gulfstream::Input, out: &mut Effects<Effect>) {
        let mut effects = Vec::new();
        self.gulfstream.handle(now, input, &mut effects);
        gulf_effects(effects, out);
    }

    pub(super) fn gulf_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        let mut effects = Vec::new();
        self.gulfstream.handle_timeout(now, &mut effects);
        gulf_effects(effects, out);
    }

    pub(super) fn consensus(&mut self, now: Now, input: sundog_tower::Input, out: &mut Effects<Effect>) {
        self.tell_caught_up(now, out);
        let mut effects = Vec::new();
        self.consensus.handle(now, input, &mut effects);
        self.consensus_effects(now, effects, out);
    }

    pub(super) fn consensus_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        self.tell_caught_up(now, out);
        let mut effects = Vec::new();
        self.consensus.handle_timeout(now, &mut effects);
        self.consensus_effects(now, effects, out);
    }

    fn consensus_effects(&mut self, now: Now, effects: Vec<sundog_tower::Effect>, out: &mut Effects<Effect>) {
        use sundog_tower::Effect as E;
        for effect in effects {
            match effect {
                E::Save { id, bytes } => {
                    self.unsaved = Some((id, bytes));
                    self.save_tower(out);
                }
                E::Vote { vote, blockhash_of, last_slot } => self.cast(now, &vote, (blockhash_of, last_slot), out),
                E::Root { slot } => self.tower_rooted(slot, out),
                E::Reset { slot } => self.lead_reset(now, slot, out),
                E::Confirmed { slot, .. } => self.confirmed(now, slot, out),
                E::Finalized { slot } => self.finalized(slot, out),
                E::OtherVersion { slot, hash } => self.other_version(now, (slot, hash), out),
                E::Diverged { slot, ours, theirs, stake, total, voters } => {
                    let divergence = Divergence { slot, ours, theirs, stake, total, voters };
                    out.push(Effect::Event(Event::Diverged(Box::new(divergence))));
                }
                E::Abandoned { slot, hash, root } => {
                    out.push(Effect::Event(Event::Abandoned { slot, hash, root }));
                }
                E::Abstained { slot, why } => self.abstained(slot, why),
            }
        }
    }

    /// Replaces the tower on disk once the blocks that it votes for are there, own ones to their last set. A tower whose last
    /// vote is for a block that a power cut took from the ledger may leave its fork without proof (reference 8.5.4).
    pub(super) fn save_tower(&mut self, out: &mut Effects<Effect>) {
        if self.broadcast.owes() {
            return;
        }
        let Some((id, bytes)) = self.unsaved.take() else { return };
        let blocks = self.await_durable(Awaited::Blocks);
        out.push(Effect::Write { batch: Batch::default(), durable: Some(blocks) });
        let id = self.await_durable(Awaited::Tower(id));
        out.push(Effect::SaveTower { id, bytes });
    }

    /// A vote that gossip brought: it counts for confirmation at once, and a leader may include it.
    fn vote_in_gossip(
        &mut self,
        now: Now,
        transaction: &solana_transaction::versioned::VersionedTransaction,
        out: &mut Effects<Effect>,
    ) {
        if let Some(parsed) = vote::parse_vote(transaction) {
            self.vote_seen(now, &parsed, out);
        }
        if let Ok(bytes) = bincode::serialize(transaction) {
            self.gulf(
                now,
                sundog_gulfstream::Input::Packets { source: Source::Vote, packets: vec![bytes.into()] },
                out,
            );
        }
    }
}

fn gulf_effects(effects: Vec<sundog_gulfstream::Effect>, out: &mut Effects<Effect>) {
    for effect in effects {
        match effect {
            sundog_gulfstream::Effect::Check { id, packets } => {
                out.push(Effect::Run(Job::CheckTransactions { id, packets }));
            }
            sundog_gulfstream::Effect::Forward { addr, transactions, votes: true, .. } => {
                let send = |bytes| Effect::SendUdp { socket: Socket::TpuVote, to: addr, bytes };
                out.extend(transactions.into_iter().map(send));
            }
            sundog_gulfstream::Effect::Forward { to, addr, transactions, votes: false } => {
                out.push(Effect::SendTransactions { to, address: addr, transactions });
            }
        }
    }
}
