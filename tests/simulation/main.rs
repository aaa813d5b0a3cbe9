//! Whole clusters in one thread and in virtual time, seen from outside.
//!
//! Every test names its seed: what fails can be replayed, `sundog sim --seed` included.

mod agreement;
mod catching_up;
mod chaos;
mod crashes;
mod epochs;
mod found_out;
mod gossip;
mod hearsay;
mod hostile;
mod leaders;
mod liars;
mod liveness;
mod lost;
mod lost_towers;
mod oracle;
mod outages;
mod partitions;
mod promises;
mod restart;
mod storms;
mod timelines;
mod transfers;
mod trees;
mod whole;
mod windows;

use std::time::Duration;
use sundog_types::{Pubkey, Slot};
use sundog_validator::sim::{World, WorldConfig};

/// Virtual time in which whatever a test waits for must have come.
const PATIENCE: Duration = Duration::from_secs(120);

/// The usual three validators.
fn three(seed: u64) -> World {
    sundog_validator::io::log_to_stderr("off");
    World::new(WorldConfig { seed, ..WorldConfig::default() })
}

/// Runs until every running node has rooted `slot`.
fn run_to_root(world: &mut World, slot: u64) {
    let done = world.run_until(PATIENCE, |world| world.rooted_everywhere() >= Slot::new(slot));
    assert!(done, "slot {slot} was not rooted everywhere: {:?}", world.outcome());
}

/// Runs for a stretch of virtual time.
fn run_for(world: &mut World, time: Duration) {
    world.run_until(time, |_| false);
}

/// The highest slot that a node says is finalized.
fn finalized(world: &World, host: usize) -> u64 {
    world.hosts[host].finalized.get()
}

/// The root of a node, as it last told.
fn root(world: &World, host: usize) -> Slot {
    world.hosts[host].rooted.last().copied().unwrap_or_default()
}

/// The identity of a node.
fn identity(world: &World, host: usize) -> Pubkey {
    solana_signer::Signer::pubkey(&*world.hosts[host].identity)
}

/// What must hold in every world at any time.
fn holds(world: &World) {
    assert_eq!(world.outcome().conflict, None, "seed {}", world.config().seed);
    assert_eq!(world.violation(), None, "seed {}", world.config().seed);
    assert!(world.signed_twice().is_empty(), "two versions of {:?} were signed", world.signed_twice());
    for (number, host) in world.hosts.iter().enumerate() {
        assert!(host.refrozen.is_empty(), "node {number} froze two versions of {:?}", host.refrozen);
    }
    oracle::lockouts_kept(world);
}
