//! Promises across crashes: power cuts at random moments, judged by an oracle of its own.

use super::*;
use sundog_validator::sim::Network;

/// A small generator, so that the moments of the cuts are those of the seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Eight power cuts at random moments of random nodes; every other seed on a network that loses a twentieth.
fn cut_the_power(seed: u64) {
    let slot = Duration::from_millis(100);
    let network = Network { loss_ppm: if seed.is_multiple_of(2) { 0 } else { 50_000 }, ..Network::default() };
    let mut world = World::new(WorldConfig { seed, slot, network, ..WorldConfig::default() });
    let mut dice = Dice(seed);
    run_to_root(&mut world, 1);
    for _ in 0..8 {
        run_for(&mut world, Duration::from_micros(dice.roll(1_500_000)));
        let host = usize::try_from(dice.roll(3)).expect("small");
        world.kill(host);
        run_for(&mut world, Duration::from_micros(dice.roll(800_000)));
        world.start(host);
    }
    holds(&world);
    let target = (0..3).map(|host| finalized(&world, host)).max().expect("three") + 40;
    run_to_root(&mut world, target);
    holds(&world);
}

#[test]
fn whatever_moment_the_power_fails_no_vote_breaks_a_lockout_and_no_slot_is_made_twice() {
    (100..110).for_each(cut_the_power);
}

#[test]
fn nor_at_ten_times_eight_other_moments() {
    (110..120).for_each(cut_the_power);
}
