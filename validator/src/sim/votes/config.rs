//! What a run is made of.

use sundog_tower::Checks;

/// How much of the stake lies in its votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liars {
    /// Nobody.
    None,
    /// At most 4 %: confirmations and roots hold.
    Few,
    /// Less than a third: roots hold.
    Many,
}

/// What a run is made of. What is left open is drawn from the seed.
#[derive(Clone, Copy, Debug)]
pub struct VotesConfig {
    /// Decides everything that is random.
    pub seed: u64,
    /// Voters. Without a number: 4 to 6.
    pub nodes: Option<usize>,
    /// Slots in which things go wrong; then everything heals.
    pub slots: u64,
    /// Who lies. Without it: nobody, few or many.
    pub liars: Option<Liars>,
    /// Whether a crash also loses the newest blocks of a ledger. The reference's rule for a last vote whose block is not
    /// known then lets nodes leave forks without proof (docs/chaos.md), so this is off unless asked for.
    pub torn_ledgers: bool,
    /// The checks of honest nodes before they vote.
    pub checks: Checks,
}

impl Default for VotesConfig {
    fn default() -> Self {
        Self { seed: 1, nodes: None, slots: 200, liars: None, torn_ledgers: false, checks: Checks::default() }
    }
}
