//! How sure a caller wants to be that what is answered will not be undone.

use solana_rpc_client_types::config::{CommitmentConfig, CommitmentLevel};
use solana_transaction_status_client_types::TransactionConfirmationStatus;

/// A level of certainty; greater is surer (reference 8.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Commitment {
    /// Executed by this node on the fork it builds on.
    Processed,
    /// Voted for by two thirds of the stake.
    Confirmed,
    /// Rooted by two thirds of the stake. What is meant when a request says nothing.
    #[default]
    Finalized,
}

impl Commitment {
    /// Every level, least sure first.
    pub const ALL: [Self; 3] = [Self::Processed, Self::Confirmed, Self::Finalized];

    /// The level a request's configuration asks for.
    #[must_use]
    pub fn of(config: Option<CommitmentConfig>) -> Self {
        config.map_or(Self::default(), |config| config.commitment.into())
    }

    /// The level's name on the wire. Names of the first years still mean something (reference 10.2).
    #[must_use]
    pub fn modern_name(name: &str) -> Option<&'static str> {
        match name {
            "processed" | "recent" => Some("processed"),
            "confirmed" | "single" | "singleGossip" => Some("confirmed"),
            "finalized" | "root" | "max" => Some("finalized"),
            _ => None,
        }
    }
}

impl From<CommitmentLevel> for Commitment {
    fn from(level: CommitmentLevel) -> Self {
        match level {
            CommitmentLevel::Processed => Self::Processed,
            CommitmentLevel::Confirmed => Self::Confirmed,
            CommitmentLevel::Finalized => Self::Finalized,
        }
    }
}

impl From<Commitment> for TransactionConfirmationStatus {
    fn from(commitment: Commitment) -> Self {
        match commitment {
            Commitment::Processed => Self::Processed,
            Commitment::Confirmed => Self::Confirmed,
            Commitment::Finalized => Self::Finalized,
        }
    }
}
