//! Which changes of the rules hold for the shreds of an epoch.

use crate::{Epoch, Pubkey};

/// A change of the rules for shreds or Turbine, which a feature account switches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Trees are drawn with ChaCha8, not ChaCha20.
    ChaCha8,
    /// FEC sets are aligned and have 32 data and 32 code shreds.
    FixedFecSet,
    /// A batch ends only with its FEC set.
    DataCompleteAtEnd,
    /// A shred with a wrong retransmitter signature is dropped.
    RetransmitterSignature,
    /// A set that does not chain to its neighbour counts as a duplicate.
    ChainedConflicts,
    /// The fanout is 200 in every slot.
    NoFanoutExperiments,
    /// The experiments with the fanout use the larger values.
    ExtendedFanoutExperiments,
}

impl Gate {
    /// All gates.
    pub const ALL: [Self; 7] = [
        Self::ChaCha8,
        Self::FixedFecSet,
        Self::DataCompleteAtEnd,
        Self::RetransmitterSignature,
        Self::ChainedConflicts,
        Self::NoFanoutExperiments,
        Self::ExtendedFanoutExperiments,
    ];

    /// The account that switches it on (reference 0).
    #[must_use]
    pub const fn account(self) -> Pubkey {
        Pubkey::from_str_const(match self {
            Self::ChaCha8 => "CHaChatUnR3s6cPyPMMGNJa3VdQQ8PNH2JqdD4LpCKnB",
            Self::FixedFecSet => "fixfecLZYMfkGzwq6NJA11Yw6KYztzXiK9QcL3K78in",
            Self::DataCompleteAtEnd => "shredXP8xLjJWp1AWh3gAFsFn4GSH1vohhCMDHw5koU",
            Self::RetransmitterSignature => "51VCKU5eV6mcTc9q9ArfWELU2CqDoi13hdAjr6fHMdtv",
            Self::ChainedConflicts => "chaie9S2zVfuxJKNRGkyTDokLwWxx6kD2ZLsqQHaDD8",
            Self::NoFanoutExperiments => "turbnbNRp22nwZCmgVVXFSshz7H7V23zMzQgA46YpmQ",
            Self::ExtendedFanoutExperiments => "turbRpTzBzDU6PJmWvRTbcJXXGxUs19CvQamUrRD9bN",
        })
    }
}

/// The gates that hold for the shreds of one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gates(u8);

impl Gates {
    /// None: as in epoch 0 of any cluster.
    pub const NONE: Self = Self(0);

    /// The gates for an epoch, where `activated` tells in which epoch a gate's account was switched on.
    /// A gate holds from the epoch *after* that one, also when it was on at genesis (reference 0).
    #[must_use]
    pub fn at(epoch: Epoch, activated: impl Fn(Gate) -> Option<Epoch>) -> Self {
        let holds = |gate: &Gate| activated(*gate).is_some_and(|since| since < epoch);
        Gate::ALL.into_iter().filter(holds).fold(Self::NONE, Self::with)
    }

    /// All gates on since genesis, as on a development cluster.
    #[must_use]
    pub fn since_genesis(epoch: Epoch) -> Self {
        Self::at(epoch, |_| Some(Epoch::ZERO))
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, gate: Gate) -> Self {
        Self(self.0 | 1 << gate as u8)
    }

    /// Whether a gate holds.
    #[must_use]
    pub const fn has(self, gate: Gate) -> bool {
        self.0 & (1 << gate as u8) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_open_at_genesis_holds_from_epoch_1() {
        assert_eq!(Gates::since_genesis(Epoch::new(0)), Gates::NONE);
        let gates = Gates::since_genesis(Epoch::new(1));
        assert!(Gate::ALL.into_iter().all(|gate| gates.has(gate)));
    }

    #[test]
    fn a_gate_is_closed_in_the_epoch_that_switches_it_on() {
        let activated = |gate| (gate == Gate::FixedFecSet).then_some(Epoch::new(7));
        assert_eq!(Gates::at(Epoch::new(7), activated), Gates::NONE);
        assert_eq!(Gates::at(Epoch::new(8), activated), Gates::NONE.with(Gate::FixedFecSet));
    }
}
