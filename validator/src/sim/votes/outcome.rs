//! What came of a run.

use super::{
    checker::{Standstill, Violation},
    config::VotesConfig,
    plan::{Lie, Plan},
};
use serde::{Serialize, Serializer};
use sundog_types::Now;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VotesOutcome {
    /// Its seed.
    pub seed: u64,
    /// Stakes of the voters, in lamports.
    pub stakes: Vec<u64>,
    /// Stake that lies, in lamports.
    pub lying: u64,
    /// How it lies.
    pub lie: Option<&'static str>,
    /// Slots that passed.
    pub slots: u64,
    /// Blocks made, and second versions.
    pub blocks: u64,
    /// Votes sent, those sent again included.
    pub votes: u64,
    /// Votes that left a fork.
    pub switches: u64,
    /// Times that a host learned of two versions.
    pub duplicates: u64,
    /// Times that a host threw its version away for the cluster's.
    pub replaced: u64,
    /// Times that a host died.
    pub crashes: u64,
    /// Confirmed blocks that were left behind.
    pub abandoned: u64,
    /// The hosts' roots at the end.
    pub roots: Vec<u64>,
    /// Slots after the faults until every honest host had a new root.
    pub recovered_in: Option<u64>,
    /// Slots that it might have taken.
    pub allowed: Option<u64>,
    /// Whether that took longer. It is a violation unless somebody lied and the rules let nobody go on.
    pub late: bool,
    /// Why they did not, last.
    pub standstill: Option<Standstill>,
    /// The first rule that was broken.
    #[serde(serialize_with = "sentence")]
    pub violation: Option<Violation>,
    /// Witness that a seed gives one history.
    pub history: u64,
}

impl VotesOutcome {
    pub(super) fn new(config: &VotesConfig, plan: &Plan) -> Self {
        let liar = plan.seats.iter().find(|seat| seat.lie.is_some());
        let name = |lie| match lie {
            Lie::Twin => "twin",
            Lie::Free => "free",
        };
        Self {
            seed: config.seed,
            stakes: plan.seats.iter().map(|seat| seat.stake).collect(),
            lying: liar.map_or(0, |seat| seat.stake),
            lie: liar.and_then(|seat| seat.lie).map(name),
            slots: 0,
            blocks: 0,
            votes: 0,
            switches: 0,
            duplicates: 0,
            replaced: 0,
            crashes: 0,
            abandoned: 0,
            roots: Vec::new(),
            recovered_in: None,
            allowed: None,
            late: false,
            standstill: None,
            violation: None,
            history: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Adds an event to the history.
    pub(super) fn note(&mut self, now: Now, host: usize, what: u64) {
        for word in [now.mono_us, host as u64, what] {
            self.history = (self.history ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }
}

fn sentence<S: Serializer>(violation: &Option<Violation>, serializer: S) -> Result<S::Ok, S::Error> {
    violation.as_ref().map(ToString::to_string).serialize(serializer)
}
