//! What goes wrong in a run, and when: drawn from the seed before it starts.

use super::config::{Liars, VotesConfig};
use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Consecutive slots of one leader.
pub(super) const WINDOW: u64 = 4;
/// All stake, in lamports.
pub(super) const TOTAL_STAKE: u64 = 1_000_000;
/// What liars may have at most for optimistic confirmation to hold: 4 %.
const FEW: u64 = TOTAL_STAKE / 25;
/// Slots without faults at the start.
const CALM_START: u64 = 8;

/// How a voter lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// It runs two machines with one key that know nothing of each other.
    Twin,
    /// It votes for every block that it sees, on every fork as if there were no other.
    Free,
}

/// One voter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    pub(super) stake: u64,
    pub(super) lie: Option<Lie>,
    /// Whether it now and then makes two versions of a block.
    pub(super) forks: bool,
}

/// Something that changes.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Only hosts with the same number hear each other.
    Part(Vec<u8>),
    /// What the first sends does not reach the second any more.
    Cut(usize, usize),
    /// All links work.
    Join,
    /// A host dies.
    Crash(usize),
    /// It starts again.
    Start(usize),
    /// What a host sends takes so many milliseconds longer.
    Slow(usize, u64),
}

/// The whole run.
pub(super) struct Plan {
    pub(super) seats: Vec<Seat>,
    /// The seat of each host; a twin's second machine comes after all others.
    pub(super) hosts: Vec<usize>,
    pub(super) steps: BTreeMap<u64, Vec<Step>>,
    /// Milliseconds from host to host, least and most.
    pub(super) delay_ms: (u64, u64),
    /// Blocks and votes lost, in percent. They are fetched later.
    pub(super) loss_percent: u32,
    /// Milliseconds until a tower is durable, at most.
    pub(super) save_ms: u64,
    /// The seat that leads each window.
    leaders: Vec<usize>,
}

impl Plan {
    pub(super) fn new(config: &VotesConfig) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let nodes = config.nodes.unwrap_or_else(|| rng.gen_range(4..=6));
        let liars =
            config.liars.unwrap_or_else(|| *[Liars::None, Liars::Few, Liars::Many].choose(&mut rng).expect("some"));
        let seats = seats(&mut rng, nodes, liars);
        let mut hosts: Vec<usize> = (0..nodes).collect();
        hosts.extend((0..nodes).filter(|seat| seats[*seat].lie == Some(Lie::Twin)));
        let leaders = (0..=(config.slots * 8) / WINDOW).map(|_| by_stake(&mut rng, &seats)).collect();
        let slowest = *[60, 150, 150, 300, 700].choose(&mut rng).expect("some");
        let mut plan = Self {
            seats,
            steps: BTreeMap::new(),
            delay_ms: (20, slowest),
            loss_percent: *[0, 0, 2, 10].choose(&mut rng).expect("some"),
            save_ms: *[5, 20, 200].choose(&mut rng).expect("some"),
            leaders,
            hosts,
        };
        plan.outages(&mut rng, config.slots);
        for host in 0..plan.hosts.len() {
            plan.troubles(&mut rng, host, config.slots);
        }
        plan
    }

    /// Whether nobody lies, neither in votes nor in blocks.
    pub(super) fn is_truthful(&self) -> bool {
        self.seats.iter().all(|seat| seat.lie.is_none() && !seat.forks)
    }

    /// Who leads a slot.
    pub(super) fn leader(&self, slot: u64) -> usize {
        self.leaders[(slot / WINDOW) as usize % self.leaders.len()]
    }

    fn at(&mut self, slot: u64, step: Step) {
        self.steps.entry(slot).or_default().push(step);
    }

    /// Stretches in which links are cut, one after the other.
    fn outages(&mut self, rng: &mut ChaCha8Rng, end: u64) {
        let hosts = self.hosts.len();
        let mut slot = CALM_START + rng.gen_range(0..16);
        while slot < end {
            self.at(slot, Step::Join);
            match rng.gen_range(0..100) {
                0..25 => {}
                25..75 => {
                    let parts = rng.gen_range(2..=3_u8);
                    let groups = (0..hosts).map(|_| rng.gen_range(0..parts)).collect();
                    self.at(slot, Step::Part(groups));
                }
                _ => {
                    for _ in 0..rng.gen_range(1..=hosts) {
                        let (from, to) = (rng.gen_range(0..hosts), rng.gen_range(0..hosts));
                        self.at(slot, Step::Cut(from, to));
                    }
                }
            }
            slot += match rng.gen_range(0..3) {
                0 => rng.gen_range(2..8),
                1 => rng.gen_range(8..24),
                _ => rng.gen_range(24..70),
            };
        }
    }

    /// Crashes and slow stretches of one host.
    fn troubles(&mut self, rng: &mut ChaCha8Rng, host: usize, end: u64) {
        let mut slot = rng.gen_range(CALM_START..end);
        for _ in 0..rng.gen_range(0..3) {
            let down = rng.gen_range(1..30);
            if slot + down >= end {
                break;
            }
            self.at(slot, Step::Crash(host));
            self.at(slot + down, Step::Start(host));
            slot += down + rng.gen_range(1..60);
        }
        if rng.gen_bool(0.3) {
            let from = rng.gen_range(CALM_START..end);
            self.at(from, Step::Slow(host, rng.gen_range(200..2_500)));
            self.at(from + rng.gen_range(4..40), Step::Slow(host, 0));
        }
    }
}

fn by_stake(rng: &mut ChaCha8Rng, seats: &[Seat]) -> usize {
    let mut at = rng.gen_range(0..seats.iter().map(|seat| seat.stake).sum());
    let mut led = 0;
    while at >= seats[led].stake {
        at -= seats[led].stake;
        led += 1;
    }
    led
}

/// Random stakes, the last seat's with the liar if there is one.
fn seats(rng: &mut ChaCha8Rng, nodes: usize, liars: Liars) -> Vec<Seat> {
    let lying = match liars {
        Liars::None => 0,
        Liars::Few => rng.gen_range(FEW / 2..=FEW),
        Liars::Many => rng.gen_range(TOTAL_STAKE / 10..(TOTAL_STAKE - 1) / 3),
    };
    let honest = if lying > 0 { nodes - 1 } else { nodes };
    let shares: Vec<u64> = (0..honest).map(|_| rng.gen_range(1..=10)).collect();
    let (all, left) = (shares.iter().sum::<u64>(), TOTAL_STAKE - lying);
    let forking = rng.gen_bool(0.4);
    let mut seats: Vec<Seat> = shares
        .into_iter()
        .map(|share| Seat { stake: left * share / all, lie: None, forks: forking && rng.gen_bool(0.4) })
        .collect();
    // What the division left over: all stake is exactly the total.
    seats[0].stake += left - seats.iter().map(|seat| seat.stake).sum::<u64>();
    if lying > 0 {
        let lie = if rng.gen_bool(0.5) { Lie::Twin } else { Lie::Free };
        seats.push(Seat { stake: lying, lie: Some(lie), forks: true });
    }
    seats
}
