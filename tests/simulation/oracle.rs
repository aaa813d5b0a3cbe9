//! Lockouts, worked out anew from the votes that left the nodes; it shares no code with the tower.

use std::collections::BTreeMap;
use sundog_types::Slot;
use sundog_validator::sim::{Host, World};

/// Votes in a tower; the oldest of a full one becomes the root.
const TOWER_VOTES: usize = 31;

/// Every vote that any node cast, over all its lives, kept the promises of the votes before it.
pub fn lockouts_kept(world: &World) {
    // A vote for a block that was thrown away later is a promise, too.
    let lost = world.hosts.iter().flat_map(|h| h.lost_parents.clone());
    let parents: BTreeMap<Slot, Slot> = lost.chain(world.hosts.iter().flat_map(|h| h.parents.clone())).collect();
    for (number, host) in world.hosts.iter().enumerate() {
        if let Err(broken) = replay(&host.voted, &parents).and_then(|()| ascending(host)) {
            panic!("seed {}: node {number} {broken}", world.config().seed);
        }
    }
}

/// Casts the votes one after the other into a stack of (slot, confirmations).
fn replay(voted: &[Slot], parents: &BTreeMap<Slot, Slot>) -> Result<(), String> {
    let mut stack: Vec<(Slot, u32)> = Vec::new();
    for (place, &vote) in voted.iter().enumerate() {
        let before = place.checked_sub(1).map(|before| voted[before]);
        if before == Some(vote) {
            continue; // The same vote again, with a newer blockhash.
        }
        if before.is_some_and(|before| vote < before) {
            return Err(format!("voted for {vote} after {before:?}"));
        }
        while stack.last().is_some_and(|&(slot, confirmations)| slot.get() + (1 << confirmations) < vote.get()) {
            stack.pop();
        }
        if let Some((slot, confirmations)) = stack.iter().find(|(slot, _)| !descends(vote, *slot, parents)) {
            return Err(format!("voted for {vote} while its vote for {slot} held for 2^{confirmations} slots"));
        }
        if stack.len() == TOWER_VOTES {
            stack.remove(0);
        }
        stack.push((vote, 0));
        let depth = stack.len();
        for (place, (_, confirmations)) in stack.iter_mut().enumerate() {
            if depth > place + *confirmations as usize {
                *confirmations += 1;
            }
        }
    }
    Ok(())
}

/// Whether `slot` descends from `ancestor`, as far as any node knows the way.
fn descends(slot: Slot, ancestor: Slot, parents: &BTreeMap<Slot, Slot>) -> bool {
    let mut at = slot;
    while at > ancestor {
        let Some(parent) = parents.get(&at) else { return false };
        at = *parent;
    }
    at == ancestor
}

/// The votes that left for leaders go up in slot and root, and none names a slot twice with two hashes.
fn ascending(host: &Host) -> Result<(), String> {
    let mut hashes = BTreeMap::new();
    let (mut slot, mut root) = (0, 0);
    for vote in &host.votes {
        let last = vote.last_slot().ok_or("voted for nothing")?;
        let voted_root = vote.root.unwrap_or_default();
        if last < slot || voted_root < root {
            return Err(format!("went back from {slot} on root {root} to {last} on root {voted_root}"));
        }
        if *hashes.entry(last).or_insert(vote.hash) != vote.hash {
            return Err(format!("voted for two blocks of slot {last}"));
        }
        if vote.slots.len() > TOWER_VOTES || !vote.slots.is_sorted_by(|a, b| a.0 < b.0 && a.1 > b.1) {
            return Err(format!("sent a tower that is no tower: {:?}", vote.slots));
        }
        (slot, root) = (last, voted_root);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots 1 to 9 in a chain, and 20, 21 on slot 2.
    fn parents() -> BTreeMap<Slot, Slot> {
        let chain = (1..10).map(|slot| (slot, slot - 1)).chain([(20, 2), (21, 20)]);
        chain.map(|(slot, parent)| (Slot::new(slot), Slot::new(parent))).collect()
    }

    fn judge(voted: &[u64]) -> Result<(), String> {
        let voted: Vec<Slot> = voted.iter().copied().map(Slot::new).collect();
        replay(&voted, &parents())
    }

    #[test]
    fn a_vote_off_the_fork_is_found_while_the_promise_holds_and_not_after() {
        assert!(judge(&[1, 2, 3, 4, 20]).is_ok(), "every vote since the fork had run out");
        let broken = judge(&[1, 2, 3, 4, 5, 6, 7, 20]).unwrap_err();
        assert!(broken.contains("its vote for 3"), "{broken}");
        assert!(judge(&[2, 1]).is_err(), "votes only go up");
    }
}
