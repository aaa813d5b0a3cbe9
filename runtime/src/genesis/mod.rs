//! Genesis: the bytes that a chain starts from, and how to make them for a local cluster.

mod builder;
mod config;
mod features;

pub use builder::{BuildError, DEFAULT_FAUCET_LAMPORTS, DEFAULT_SLOTS_PER_EPOCH, GenesisValidator, LocalnetGenesis};
pub use config::{ClusterType, FeeRateGovernor, GenesisConfig, GenesisError, Inflation, MAX_GENESIS_BYTES, PohConfig};
pub use features::{FEATURE_GATES, FeatureGate};
