//! Storms over whole nodes: partitions, one-way cuts, power cuts, loss, wrong clocks and fast recorders at random moments.
//! During a storm nothing may contradict; after it all must agree. `whole` plays a hundred seeds of chaos.

use super::*;
use liveness::agrees_after;
use promises::Dice;
use sundog_validator::sim::Network;

/// What may happen to a cluster at one moment.
fn strike(world: &mut World, dice: &mut Dice) {
    let nodes = world.hosts.len();
    let mut pick = |below: usize| usize::try_from(dice.roll(below as u64)).expect("small");
    let (one, other) = (pick(nodes), pick(nodes));
    match pick(8) {
        0 => world.part(&[&[one]]),
        1 => world.part(&[&[one, other]]),
        2 => world.part(&[&[one], &[(one + 1) % nodes]]),
        3 if one != other => world.cut_one_way(one, other),
        4 => world.skew(one, [-2_000, -100, 0, 100, 2_000][pick(5)]),
        5 => world.poh_rate(one, [90, 100, 110][pick(3)]),
        6 => {
            let running = world.hosts[one].node.is_some();
            if running { world.kill(one) } else { world.start(one) }
        }
        _ => world.heal(),
    }
}

/// A cluster of three or four in a storm of five seconds, and what comes after it.
fn storm(seed: u64) {
    storm_with(seed, Duration::from_millis(200));
}

/// As [`storm`], with slots of this length.
fn storm_with(seed: u64, slot: Duration) {
    let mut dice = Dice(seed);
    let stakes = [vec![1_000, 600, 400], vec![500, 500, 500], vec![700, 650, 650], vec![400, 400, 400, 400]];
    let stakes = stakes[usize::try_from(seed % 4).expect("small")].clone();
    let loss_ppm = u32::try_from(dice.roll(3) * 20_000).expect("small");
    let delay_max = Duration::from_millis(2 + dice.roll(20));
    let network = Network { delay_min: Duration::from_millis(1), delay_max, loss_ppm };
    let mut world = World::new(WorldConfig { seed, slot, network, stakes, ..WorldConfig::default() });
    run_to_root(&mut world, 1);
    for _ in 0..8 {
        strike(&mut world, &mut dice);
        run_for(&mut world, Duration::from_micros(dice.roll(6 * u64::try_from(slot.as_micros()).expect("short"))));
    }
    holds(&world);
    world.heal();
    for host in 0..world.hosts.len() {
        world.skew(host, 0);
        world.poh_rate(host, 100);
        if world.hosts[host].node.is_none() {
            world.start(host);
        }
    }
    agrees_after(&mut world);
}

/// A little more than a third of the stake voted on, far ahead on a fork of its own; the others took that for a sign
/// that they were behind, and made no block on the fork that most of the stake was bound to. Nothing was rooted again.
#[test]
fn more_than_a_third_far_ahead_on_another_fork_does_not_stop_the_others_from_making_blocks() {
    storm_with(610, Duration::from_millis(80));
}

#[test]
fn in_ten_storms_nothing_contradicts_and_after_each_all_agree() {
    (600..610).for_each(storm);
}

/// These took one to six slots more than the 64 while promises on the fork that won were not counted.
#[test]
fn after_three_storms_that_were_once_late_all_agree_in_time() {
    storm(662);
    storm_with(659, Duration::from_millis(80));
    storm(659);
}
