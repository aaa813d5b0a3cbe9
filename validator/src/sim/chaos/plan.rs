//! What goes wrong in a run, and when: drawn from the seed before it starts.

use super::ChaosConfig;
use crate::sim::{Fault, Network};
use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, time::Duration};

/// Slots between two lies of a leader.
const LIE_EVERY: u64 = 20;

/// Something that changes.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Only machines of one group hear each other; those in none are one more.
    Part(Vec<Vec<usize>>),
    /// What the first sends does not reach the second any more.
    Cut(usize, usize),
    /// All links work.
    Join,
    /// A machine dies.
    Crash(usize),
    /// It starts again.
    Start(usize),
    /// A machine's wall clock is so many milliseconds wrong.
    Skew(usize, i64),
    /// A machine's recorder hashes at so many percent of the speed that is due.
    Pace(usize, u32),
    /// The network changes.
    Network(Network),
    /// The liar lies once more.
    Lie(usize),
}

/// The whole run.
pub(super) struct Plan {
    /// By node, in SOL.
    pub(super) stakes: Vec<u64>,
    /// The network while nothing is wrong.
    pub(super) network: Network,
    /// Who lies in its blocks, with less than a third of the stake, and how.
    pub(super) liar: Option<(usize, Fault)>,
    steps: BTreeMap<u64, Vec<Step>>,
}

impl Plan {
    pub(super) fn new(config: &ChaosConfig) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let nodes = config.nodes.unwrap_or_else(|| rng.gen_range(4..=5));
        let stakes: Vec<u64> = (0..nodes).map(|_| rng.gen_range(1..=10) * 100).collect();
        let network = network(Duration::from_millis(rng.gen_range(5..40)), 0);
        let liar = liar(&mut rng, &stakes);
        let mut plan = Self { stakes, network, liar, steps: BTreeMap::new() };
        plan.cuts(&mut rng, config.slots);
        for host in 0..nodes {
            plan.troubles(&mut rng, host, config.slots);
        }
        plan.weather(&mut rng, config.slots);
        if let Some((liar, _)) = liar {
            (LIE_EVERY..config.slots).step_by(LIE_EVERY as usize).for_each(|slot| plan.push(slot, Step::Lie(liar)));
        }
        plan
    }

    /// What changes at a slot, counted from the end of the calm.
    pub(super) fn at(&self, slot: u64) -> &[Step] {
        self.steps.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// Whether a leader makes several versions of a block.
    pub(super) fn forks(&self) -> bool {
        matches!(self.liar, Some((_, Fault::TwoVersions)))
    }

    fn push(&mut self, slot: u64, step: Step) {
        self.steps.entry(slot).or_default().push(step);
    }

    /// Stretches in which links are cut, one after the other.
    fn cuts(&mut self, rng: &mut ChaCha8Rng, end: u64) {
        let nodes = self.stakes.len();
        let mut slot = rng.gen_range(0..12);
        while slot < end {
            self.push(slot, Step::Join);
            match rng.gen_range(0..100) {
                0..30 => {}
                30..75 => {
                    let parts = rng.gen_range(2..=3);
                    let mut groups = vec![Vec::new(); parts];
                    (0..nodes).for_each(|host| groups[rng.gen_range(0..parts)].push(host));
                    self.push(slot, Step::Part(groups));
                }
                _ => {
                    for _ in 0..rng.gen_range(1..=nodes) {
                        let (from, to) = (rng.gen_range(0..nodes), rng.gen_range(0..nodes));
                        if from != to {
                            self.push(slot, Step::Cut(from, to));
                        }
                    }
                }
            }
            slot += if rng.gen_bool(0.5) { rng.gen_range(2..10) } else { rng.gen_range(10..40) };
        }
    }

    /// Crashes and wrong clocks of one machine.
    fn troubles(&mut self, rng: &mut ChaCha8Rng, host: usize, end: u64) {
        let mut slot = rng.gen_range(0..end);
        for _ in 0..rng.gen_range(0..3) {
            let down = rng.gen_range(1..25);
            self.push(slot, Step::Crash(host));
            self.push(slot + down, Step::Start(host));
            slot += down + rng.gen_range(1..40);
        }
        if rng.gen_bool(0.3) {
            let ms = *[-2_000, -300, 300, 2_000].choose(rng).expect("some");
            self.push(rng.gen_range(0..end), Step::Skew(host, ms));
        }
        if rng.gen_bool(0.3) {
            self.push(rng.gen_range(0..end), Step::Pace(host, *[90, 110].choose(rng).expect("some")));
        }
    }

    /// Stretches in which the network is slow and loses much.
    fn weather(&mut self, rng: &mut ChaCha8Rng, end: u64) {
        if rng.gen_bool(0.5) {
            let from = rng.gen_range(0..end);
            let slow = network(Duration::from_millis(rng.gen_range(40..400)), rng.gen_range(0..100_000));
            self.push(from, Step::Network(slow));
            self.push(from + rng.gen_range(5..40), Step::Network(self.network));
        }
    }
}

fn network(delay_max: Duration, loss_ppm: u32) -> Network {
    Network { delay_min: Duration::from_millis(2), delay_max, loss_ppm }
}

/// One of those with less than a third of the stake, in half of the seeds.
fn liar(rng: &mut ChaCha8Rng, stakes: &[u64]) -> Option<(usize, Fault)> {
    const LIES: [Fault; 5] = [
        Fault::WrongEntryHash,
        Fault::WrongTickCount,
        Fault::InvalidTransaction,
        Fault::TwoVersions,
        Fault::NotDecodable,
    ];
    let total: u64 = stakes.iter().sum();
    let few: Vec<usize> = (0..stakes.len()).filter(|host| stakes[*host] * 3 < total).collect();
    let (liar, lie, lies) = (few.choose(rng).copied(), *LIES.choose(rng).expect("some"), rng.gen_bool(0.5));
    liar.filter(|_| lies).map(|liar| (liar, lie))
}
