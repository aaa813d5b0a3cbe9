//! Blocks that lost: the cluster chose another version of a slot than the one that is here.
//!
//! ```text
//!   votes of 52 %, with a block id ----> other_version ----+
//!   a chosen block that names its -----> trace ------------+--> lose: banks, own block on them, shreds, transactions
//!   parent by another block id                             |      | tower: Forgotten     | Turbine: Choose
//!   bulk sync brings another version --> give_way ---------+      v                      v
//!   a block is dead or muddled here, --> ancestors_agreed -+   build elsewhere        fetch, replay
//!   and peers agree on bank hashes
//! ```
//!
//! Votes for a slot may be long gone when a node comes back that has the version that lost. But every block names its
//! parent's block id, in a shred that its leader signed: from a block that is chosen, the way back says which versions
//! were. Where votes tell no block id, several peers are asked for ancestor hashes ([`super::ancestors`]).
//!
//! A block is muddled if shreds of several versions are here before any is whole: those that came first may be of a version
//! that nobody has the rest of, and keep out what everybody has. Nothing of it was executed, so nothing contradicts the
//! votes; it is looked at like a block that is dead.
//!
//! What is thrown away leaves the ledger with a write that is not made durable at once: a crash may bring all of it
//! back, never a part, since writes keep their order. Then it is found out once more, in one of these ways.

use super::{Effect, Event, Node};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use sundog_turbine::pin::PINS_MAX;
use sundog_types::{Effects, Hash, Now, Slot};

/// Blocks that are followed back at most from one that was chosen: no vote counts further from the root.
const TRACE_MAX: usize = 512;
/// A version that is fetched by its block id has so long to come. One that is real comes within a second or two.
const CHOSEN_FOR: Duration = Duration::from_secs(10);
/// Block ids that are remembered because nobody could bring them. More: those of the lowest slot may be tried again.
const GIVEN_UP_MAX: usize = 256;

/// Versions that are fetched by their block id, and those that nobody had.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    /// As many as Turbine remembers.
    slots: BTreeMap<Slot, (Hash, Now)>,
    given_up: BTreeSet<(Slot, Hash)>,
}

impl Fetched {
    /// Notes that a version is fetched.
    fn begin(&mut self, now: Now, slot: Slot, block_id: Option<Hash>) {
        self.slots.remove(&slot);
        self.slots.extend(block_id.map(|block_id| (slot, (block_id, now))));
        if self.slots.len() > PINS_MAX {
            self.slots.pop_last();
        }
    }

    /// Those that did not come in time, and are given up now.
    fn late(&mut self, now: Now, is_here: impl Fn(Slot, Hash) -> bool) -> Vec<Slot> {
        self.slots.retain(|slot, (block_id, _)| !is_here(*slot, *block_id));
        let late = |(_, since): &(Hash, Now)| now.since(*since) >= CHOSEN_FOR;
        let late: Vec<(Slot, Hash)> =
            self.slots.iter().filter(|(_, fetched)| late(fetched)).map(|(slot, (id, _))| (*slot, *id)).collect();
        for version in &late {
            self.slots.remove(&version.0);
            self.given_up.insert(*version);
            if self.given_up.len() > GIVEN_UP_MAX {
                self.given_up.pop_first();
            }
        }
        late.into_iter().map(|(slot, _)| slot).collect()
    }

    fn is_given_up(&self, slot: Slot, block_id: Hash) -> bool {
        self.given_up.contains(&(slot, block_id))
    }

    pub(super) fn set_root(&mut self, root: Slot) {
        self.slots = self.slots.split_off(&root.next());
        self.given_up.retain(|(slot, _)| *slot > root);
    }
}

impl Node {
    /// More than 52 % of the stake voted for another version of a slot than the one that is here, or that is dead here.
    pub(super) fn other_version(&mut self, now: Now, (slot, hash): (Slot, Hash), out: &mut Effects<Effect>) {
        let chosen = self.consensus.chosen_version(slot).filter(|(chosen, _)| *chosen == hash);
        let block_id = chosen.and_then(|(_, block_id)| block_id).filter(|id| !self.fetched.is_given_up(slot, *id));
        let why = format!("the cluster voted for another version, {hash}, than this node has; it is fetched afresh");
        out.push(Effect::Event(Event::Duplicate { slot, why }));
        if block_id.is_none() || block_id != self.held_version(slot) {
            return self.lose(now, (slot, true), block_id, out);
        }
        // It is the very same block. Executed here with another result, it stays: the tower judges that. Dead here, its
        // parent may be another one than it was built on.
        if self.forks.get(slot).is_none() && !self.trace(now, (slot, block_id.unwrap_or_default()), out) {
            self.replay_renew(slot);
            self.turbine(now, sundog_turbine::Input::Forget(slot), out);
        }
    }

    /// The block id of the version that is here, if it is whole.
    fn held_version(&self, slot: Slot) -> Option<Hash> {
        let frozen = self.forks.get(slot).and_then(|frozen| frozen.block_id);
        frozen.or_else(|| self.turbine.block_id(slot))
    }

    /// Follows what was voted for, and is not executed here, back to where another version is.
    pub(super) fn trace_versions(&mut self, now: Now, out: &mut Effects<Effect>) {
        for slot in self.wanted() {
            if let Some((_, Some(block_id))) = self.consensus.chosen_version(slot) {
                self.trace(now, (slot, block_id), out);
            }
        }
    }

    /// Follows a chosen block back to its first ancestor of which another version is here, or parts of several, and gives
    /// that up. Whether there was one.
    fn trace(&mut self, now: Now, chosen: (Slot, Hash), out: &mut Effects<Effect>) -> bool {
        let (mut slot, mut block_id) = chosen;
        for _ in 0..TRACE_MAX {
            if slot <= self.roots.tower() || self.fetched.is_given_up(slot, block_id) {
                return false;
            }
            match self.held_version(slot) {
                Some(held) if held != block_id => {
                    self.lose(now, (slot, true), Some(block_id), out);
                    return true;
                }
                Some(_) if self.forks.get(slot).is_none() => {}
                None if self.turbine.is_muddled(slot) => {
                    self.lose(now, (slot, true), Some(block_id), out);
                    return true;
                }
                _ => return false,
            }
            let (Some(parent), Some(parent_id)) = (self.turbine.parent(slot), self.turbine.parent_id(slot)) else {
                return false;
            };
            (slot, block_id) = (parent, parent_id);
        }
        false
    }

    /// Bulk sync brings another version of a slot than the one that is here, on a chain that its peers call final. Makes
    /// room for it, unless that is a lie, or it is too late. Whether there is room now.
    pub(super) fn give_way(
        &mut self,
        now: Now,
        (slot, block_id): (Slot, Option<Hash>),
        out: &mut Effects<Effect>,
    ) -> bool {
        let mut tell = |why: &str| out.push(Effect::Event(Event::Duplicate { slot, why: why.to_owned() }));
        let Some(executed) = self.forks.get(slot).map(|frozen| frozen.bank.hash()) else {
            self.make_room_for(now, (slot, block_id), out);
            return true;
        };
        if self.consensus.chosen_version(slot).is_some_and(|(hash, _)| hash == executed) {
            tell("a peer of bulk sync calls another version final than the one that the cluster voted for");
            self.sync_dead(now, slot, out);
            return false;
        }
        if slot <= self.roots.tower() {
            tell("the peers of bulk sync call another version final than the one that this node rooted");
            self.counters.lost_too_late += 1;
            return false;
        }
        tell("the peers of bulk sync have another version on their final chain: it takes the place of the one here");
        self.lose(now, (slot, false), block_id, out);
        true
    }

    /// Forgets what was gathered of a slot and is not executed, for a version that is whole. Nothing of it may stay in
    /// the ledger: parts of two versions are a dead block.
    fn make_room_for(&mut self, now: Now, (slot, block_id): (Slot, Option<Hash>), out: &mut Effects<Effect>) {
        if self.turbine.slot_status(slot).is_some() {
            self.throw_away(slot, out);
        }
        self.replay_renew(slot);
        let choose = sundog_turbine::Input::Choose { slot, block_id, lost: None, fetch: false };
        let other = self.turbine.is_chosen(slot);
        self.turbine(now, if other { choose } else { sundog_turbine::Input::Forget(slot) }, out);
    }

    /// Throws away what is here of a slot, and all that was built on it, and fetches the version with this block id; if
    /// it is not known, any other. `proven`: by the votes of more than 52 %, and not by what a few peers say.
    pub(super) fn lose(
        &mut self,
        now: Now,
        (slot, proven): (Slot, bool),
        block_id: Option<Hash>,
        out: &mut Effects<Effect>,
    ) {
        if slot <= self.roots.tower() {
            self.counters.lost_too_late += 1;
            return;
        }
        self.fetched.begin(now, slot, block_id);
        let gone = self.forks.subtree(slot);
        self.set_aside_children(now, slot, &gone, out);
        for at in gone.iter().copied().filter(|at| *at != slot).chain([slot]) {
            let lost = self.held_version(at);
            self.throw_away(at, out);
            let (chosen, fetch) = if at == slot { (block_id, true) } else { (None, false) };
            let input = sundog_turbine::Input::Choose { slot: at, block_id: chosen, lost, fetch };
            self.turbine(now, input, out);
        }
        self.lead_rooted(now, out);
        self.consensus(now, sundog_tower::Input::Forgotten { slot, proven }, out);
        self.recall_without(now, Some(slot), out);
        self.lead_again(now, out);
        self.view.touch();
    }

    /// Fetches a block that is dead or muddled afresh, in whichever version comes: its parent may have been another one.
    pub(super) fn fetch_again(&mut self, now: Now, slot: Slot, out: &mut Effects<Effect>) {
        self.throw_away(slot, out);
        self.turbine(now, sundog_turbine::Input::Forget(slot), out);
        self.consensus(now, sundog_tower::Input::Forgotten { slot, proven: false }, out);
    }

    /// Gives up what nobody could bring: more than a third of the stake lied about its block id, or its leader did in
    /// what names it. Any other version is fetched then; if that is executed to another bank hash than was voted for, it
    /// loses in turn. The reference never fetches by block id: it fetches any version, executes it, compares the bank
    /// hash, and if that is wrong throws it away and begins anew.
    pub(super) fn give_up_versions(&mut self, now: Now, out: &mut Effects<Effect>) {
        if self.sync.is_syncing() {
            return;
        }
        let (forks, turbine) = (&self.forks, &self.turbine);
        let is_here = |slot: Slot, id: Hash| forks.get(slot).is_some() || turbine.block_id(slot) == Some(id);
        for slot in self.fetched.late(now, is_here) {
            self.counters.versions_given_up += 1;
            let input = sundog_turbine::Input::Choose { slot, block_id: None, lost: None, fetch: true };
            self.turbine(now, input, out);
        }
    }

    /// Blocks that build on what is lost, and are not executed or could not be: they may belong to the version that is
    /// to come. Their shreds are in the ledger, and are taken up again with it.
    fn set_aside_children(&mut self, now: Now, slot: Slot, gone: &BTreeSet<Slot>, out: &mut Effects<Effect>) {
        let on_lost = |parent: Slot| parent == slot || gone.contains(&parent);
        let mut aside = self.replays.on(&on_lost);
        let dead = self.dead.iter().filter_map(|dead| Some((*dead, self.turbine.parent(*dead)?)));
        let dead: Vec<(Slot, Slot)> = dead.filter(|(_, parent)| on_lost(*parent)).collect();
        aside.extend(&dead);
        for (child, parent) in aside {
            self.replay_renew(child);
            self.replays.put_off(child, parent);
        }
        for (child, _) in dead.into_iter().filter(|(child, _)| *child != slot) {
            self.consensus(now, sundog_tower::Input::Forgotten { slot: child, proven: false }, out);
        }
    }

    /// Forgets a block, in memory and in the ledger.
    fn throw_away(&mut self, slot: Slot, out: &mut Effects<Effect>) {
        let shreds = self.turbine.length(slot).unwrap_or_default();
        self.replay_renew(slot);
        self.shelf.take_slot(slot);
        self.transactions_in_block.remove(&slot);
        self.propagation.forget(slot);
        if let Some(frozen) = self.forks.remove(slot) {
            self.counters.lost += 1;
            self.leading.lose(slot);
            out.push(Effect::Event(Event::Lost { slot, hash: frozen.bank.hash() }));
        }
        match self.ledger.forget(slot, shreds) {
            Ok(batch) => out.push(Effect::Write { batch, durable: None }),
            Err(error) => tracing::error!(%error, %slot, "a block that lost cannot be removed"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        node::{Frozen, forks::Forks},
        sim::{World, WorldConfig},
    };
    use std::sync::Arc;
    use sundog_runtime::Bank;
    use sundog_turbine::Shredder;
    use sundog_types::{
        Pubkey,
        shred::{Shred, Signed},
        sign::Identity,
    };

    /// A node that others cannot reach any more, out of the world that it was in, which stands still.
    pub(in crate::node) struct Alone {
        pub(in crate::node) world: World,
        pub(in crate::node) node: Node,
        pub(in crate::node) now: Now,
        pub(in crate::node) out: Effects<Effect>,
    }

    impl Alone {
        /// A fifth of the stake, with blocks of its own that nobody else voted for.
        pub(in crate::node) fn new() -> Self {
            let mut world = Self::world();
            world.part(&[&[0, 1]]);
            Self::of(world, |node| Self::own(node).count() >= 2)
        }

        /// The same stake, at a moment when the others can still be reached.
        fn when(it: impl Fn(&Node) -> bool) -> Self {
            Self::of(Self::world(), it)
        }

        fn world() -> World {
            let slot = Duration::from_millis(100);
            let mut world = World::new(WorldConfig { seed: 5, slot, ..WorldConfig::default() });
            assert!(world.run_until(slot * 200, |world| world.rooted_everywhere() >= Slot::new(8)));
            world
        }

        fn of(mut world: World, when: impl Fn(&Node) -> bool) -> Self {
            let it = |world: &World| world.hosts[2].node.as_ref().is_some_and(&when);
            assert!(world.run_until(Duration::from_secs(20), it), "that moment comes");
            let node = world.hosts[2].node.take().expect("it runs");
            Self { now: world.now(), world, node, out: Vec::new() }
        }

        /// Executed blocks above the root that too few voted for, the lowest first.
        fn own(node: &Node) -> impl Iterator<Item = Slot> + '_ {
            let above = node.forks.iter().map(|(slot, _)| slot).filter(|slot| *slot > node.roots.tower());
            above.filter(|slot| node.consensus.chosen_version(*slot).is_none())
        }

        /// The lowest block that only this node voted for.
        pub(in crate::node) fn lowest_own(&self) -> Slot {
            Self::own(&self.node).next().expect("it has some")
        }

        /// A block above the root that the others voted for, too.
        pub(in crate::node) fn chosen(&self) -> Slot {
            let mut above = self.node.forks.iter().map(|(slot, _)| slot).filter(|slot| *slot > self.node.roots.tower());
            above.find(|slot| self.node.consensus.chosen_version(*slot).is_some()).expect("it has some")
        }

        pub(in crate::node) fn hash(&self, slot: Slot) -> Option<Hash> {
            self.node.forks.get(slot).map(|frozen| frozen.bank.hash())
        }

        /// A whole block of a slot with this content, signed by its leader, as bulk sync brings it.
        pub(in crate::node) fn version(&self, slot: Slot, content: u8) -> Vec<Shred<Signed>> {
            let leader = self.node.leaders.leader(slot).expect("the schedule is known");
            let host = self.world.hosts.iter().find(|host| solana_signer::Signer::pubkey(&*host.identity) == leader);
            let keys = Identity::new(host.expect("one of them leads").identity.insecure_clone());
            let version = self.node.config.shred_version;
            let mut shredder = Shredder::new(slot, slot.saturating_sub(1), version, Hash::default()).expect("near");
            let sets = shredder.shred(&[content; 900], 1, true, &keys).expect("short");
            sets.into_iter().flat_map(|set| set.data).collect()
        }

        /// What was said since this was asked last: blocks thrown away, and what was told of duplicates.
        pub(in crate::node) fn said(&mut self) -> (Vec<Slot>, Vec<String>) {
            let (mut lost, mut told) = (Vec::new(), Vec::new());
            for effect in self.out.drain(..) {
                match effect {
                    Effect::Event(Event::Lost { slot, .. }) => lost.push(slot),
                    Effect::Event(Event::Duplicate { why, .. }) => told.push(why),
                    _ => {}
                }
            }
            (lost, told)
        }
    }

    const OTHER: Hash = Hash::new_from_array([9; 32]);

    #[test]
    fn a_version_that_bulk_sync_brings_takes_the_place_of_one_that_too_few_voted_for() {
        let mut alone = Alone::new();
        let slot = alone.lowest_own();
        let built_on = alone.node.forks.subtree(slot);
        assert!(built_on.len() > 1, "it has built on it");
        assert!(alone.node.give_way(alone.now, (slot, Some(OTHER)), &mut alone.out));
        let (lost, told) = alone.said();
        assert_eq!(lost.into_iter().collect::<BTreeSet<_>>(), built_on);
        assert!(told[0].contains("takes the place"), "{told:?}");
        assert!(built_on.iter().all(|slot| alone.hash(*slot).is_none()));
    }

    #[test]
    fn what_was_voted_for_does_not_give_way_to_what_a_peer_of_bulk_sync_calls_final() {
        let mut alone = Alone::new();
        let slot = alone.chosen();
        let here = alone.hash(slot);
        assert!(!alone.node.give_way(alone.now, (slot, Some(OTHER)), &mut alone.out), "the votes are signed");
        let (lost, told) = alone.said();
        assert!(lost.is_empty() && told[0].contains("than the one that the cluster voted for"), "{told:?}");
        assert!(here.is_some() && alone.hash(slot) == here);
    }

    #[test]
    fn what_is_rooted_here_does_not_give_way_to_what_a_peer_of_bulk_sync_calls_final() {
        // The tower's root is ahead of the one on disk, and what is between them is still in the tree.
        let between = |node: &Node| node.forks.chain_to(node.roots.tower()).first().copied();
        let passed = |node: &Node| between(node).is_some_and(|slot| slot < node.roots.tower());
        let mut alone = Alone::when(passed);
        let slot = between(&alone.node).expect("that was waited for");
        assert!(!alone.node.give_way(alone.now, (slot, Some(OTHER)), &mut alone.out), "it is too late");
        let (lost, told) = alone.said();
        assert!(lost.is_empty() && told[0].contains("than the one that this node rooted"), "{told:?}");
        assert_eq!(alone.node.counters.lost_too_late, 1);
        assert!(alone.hash(slot).is_some());
    }

    #[test]
    fn what_was_gathered_and_not_executed_makes_room_whatever_was_chosen_before() {
        let mut alone = Alone::new();
        let slot = alone.node.forks.highest().saturating_add(3);
        for chosen in [false, true] {
            let (here, there) = (alone.version(slot, 1), alone.version(slot, 2));
            let part = here[..4].to_vec();
            alone.node.turbine(alone.now, synced(part), &mut alone.out);
            assert_eq!(alone.node.turbine.slot_status(slot), Some(sundog_turbine::Status::Gathering));
            if chosen {
                let choose = sundog_turbine::Input::Choose { slot, block_id: Some(OTHER), lost: None, fetch: false };
                alone.node.turbine(alone.now, choose, &mut alone.out);
            }
            let id = there.last().map(Shred::<Signed>::merkle_root);
            assert!(alone.node.give_way(alone.now, (slot, id), &mut alone.out));
            alone.node.turbine(alone.now, synced(there), &mut alone.out);
            assert_eq!(alone.node.turbine.block_id(slot), id, "chosen before: {chosen}");
            alone.node.throw_away(slot, &mut alone.out);
            alone.node.turbine(alone.now, sundog_turbine::Input::Forget(slot), &mut alone.out);
        }
        assert_eq!(alone.said().0, [], "nothing was executed");
    }

    fn synced(shreds: Vec<Shred<Signed>>) -> sundog_turbine::Input {
        sundog_turbine::Input::Synced { from: Pubkey::default(), shreds }
    }

    /// The others' votes for a bank hash of a slot, with a block id: 80 % of the stake.
    fn vote(alone: &mut Alone, slot: Slot, (hash, block_id): (Hash, Hash)) {
        for host in 0..2 {
            let vote_account = solana_signer::Signer::pubkey(&*alone.world.hosts[host].vote);
            let seen = sundog_tower::Input::VoteSeen { vote_account, slot, hash, block_id };
            alone.node.consensus(alone.now, seen, &mut alone.out);
        }
    }

    #[test]
    fn the_very_same_block_with_another_result_stays_and_one_with_another_id_does_not() {
        let mut alone = Alone::new();
        let slot = alone.lowest_own();
        let id = alone.node.held_version(slot).expect("it is whole");
        vote(&mut alone, slot, (OTHER, id));
        alone.out.clear();
        alone.node.other_version(alone.now, (slot, OTHER), &mut alone.out);
        assert_eq!(alone.said().0, [], "that is for the tower to judge");
        assert!(alone.hash(slot).is_some());
        let mut alone = Alone::new();
        vote(&mut alone, slot, (OTHER, OTHER));
        assert!(alone.said().0.contains(&slot));
        assert!(alone.hash(slot).is_none() && alone.node.turbine.is_chosen(slot));
    }

    #[test]
    fn a_dead_block_that_is_what_was_voted_for_is_executed_anew() {
        let mut alone = Alone::new();
        let slot = alone.node.forks.highest().saturating_add(3);
        let block = alone.version(slot, 1);
        let id = block.last().map(Shred::<Signed>::merkle_root).expect("it has shreds");
        alone.node.turbine(alone.now, synced(block), &mut alone.out);
        alone.node.mark_dead(alone.now, slot, "built on another parent".to_owned(), &mut alone.out);
        assert!(alone.node.dead.contains(&slot) && alone.node.held_version(slot) == Some(id));
        vote(&mut alone, slot, (OTHER, id));
        assert!(!alone.node.dead.contains(&slot));
        assert_eq!(alone.node.turbine.slot_status(slot), None, "it is fetched again");
    }

    #[test]
    fn a_version_that_nobody_brings_in_time_makes_way_for_any() {
        let mut alone = Alone::new();
        let slot = alone.lowest_own();
        alone.node.lose(alone.now, (slot, true), Some(OTHER), &mut alone.out);
        alone.node.give_up_versions(alone.now.after(CHOSEN_FOR / 2), &mut alone.out);
        assert_eq!(alone.node.counters.versions_given_up, 0);
        let late = alone.now.after(CHOSEN_FOR);
        alone.node.give_up_versions(late, &mut alone.out);
        assert_eq!(alone.node.counters.versions_given_up, 1);
        assert!(alone.node.fetched.is_given_up(slot, OTHER));
        assert!(!alone.node.trace(late, (slot, OTHER), &mut alone.out), "nor is it followed again");
        let any = alone.version(slot, 3);
        let id = any.last().map(Shred::<Signed>::merkle_root);
        alone.node.turbine(late, synced(any), &mut alone.out);
        assert_eq!(alone.node.turbine.block_id(slot), id);
    }

    #[test]
    fn what_is_rooted_here_is_never_thrown_away() {
        let mut alone = Alone::new();
        let root = alone.node.roots.tower();
        let here = alone.hash(root);
        alone.node.lose(alone.now, (root, true), Some(OTHER), &mut alone.out);
        assert_eq!((alone.said().0, alone.hash(root)), (Vec::new(), here));
        assert_eq!(alone.node.counters.lost_too_late, 1);
    }

    #[test]
    fn a_version_that_nobody_brings_is_given_up_and_not_fetched_by_its_id_again() {
        let mut fetched = Fetched::default();
        let (start, id) = (Now { mono_us: 1, unix_ms: 1 }, Hash::new_from_array([7; 32]));
        (1..=2).for_each(|slot| fetched.begin(start, Slot::new(slot), Some(id)));
        fetched.begin(start, Slot::new(3), None);
        let here = |slot: Slot, _: Hash| slot == Slot::new(1);
        assert!(fetched.late(start.after(CHOSEN_FOR / 2), here).is_empty());
        assert_eq!(fetched.late(start.after(CHOSEN_FOR), here), [Slot::new(2)]);
        assert_eq!([1, 2, 3].map(|slot| fetched.is_given_up(Slot::new(slot), id)), [false, true, false]);
        assert!(fetched.late(start.after(CHOSEN_FOR * 9), here).is_empty(), "once");
        fetched.set_root(Slot::new(2));
        assert!(!fetched.is_given_up(Slot::new(2), id));
    }

    #[test]
    fn what_is_fetched_and_given_up_is_remembered_up_to_bounds() {
        let mut fetched = Fetched::default();
        let (start, nowhere) = (Now { mono_us: 1, unix_ms: 1 }, |_: Slot, _: Hash| false);
        for round in 0..10 {
            (0..2 * PINS_MAX as u64)
                .for_each(|slot| fetched.begin(start, Slot::new(round * 100 + slot), Some(Hash::default())));
            assert_eq!(fetched.slots.len(), PINS_MAX);
            assert_eq!(fetched.late(start.after(CHOSEN_FOR), nowhere).len(), PINS_MAX);
        }
        assert_eq!(fetched.given_up.len(), GIVEN_UP_MAX);
    }

    #[test]
    fn a_block_goes_with_all_that_is_built_on_it_and_nothing_else() {
        let world = World::new(WorldConfig::default());
        let node = world.hosts[0].node.as_ref().expect("it runs");
        let root = node.forks().get(Slot::ZERO).expect("genesis").clone();
        let mut forks = Forks::new(root);
        for (slot, parent) in [(1, 0), (2, 1), (3, 2), (4, 1), (5, 3), (6, 4)] {
            let parent = &forks.get(Slot::new(parent)).expect("added before").bank;
            let mut bank = Bank::child(parent, Slot::new(slot), Pubkey::default());
            while bank.tick_height() < bank.max_tick_height() {
                bank.register_tick(&Hash::default());
            }
            bank.freeze();
            assert!(forks.insert(Frozen { bank: Arc::new(bank), mine: false, block_id: None, transactions: 0 }));
        }
        let gone = forks.subtree(Slot::new(2));
        assert_eq!(gone.iter().map(|slot| slot.get()).collect::<Vec<_>>(), [2, 3, 5]);
        assert!(forks.subtree(Slot::new(9)).is_empty());
        assert!(gone.iter().rev().all(|slot| forks.remove(*slot).is_some()));
        assert_eq!(forks.iter().map(|(slot, _)| slot.get()).collect::<Vec<_>>(), [0, 1, 4, 6]);
        assert!(forks.remove(Slot::ZERO).is_none(), "the root stays");
    }
}
