//! The genesis configuration: bincode, and the hash of those bytes names the chain (reference 12.2).

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use solana_account::Account;
use solana_epoch_schedule::{EpochSchedule, MINIMUM_SLOTS_PER_EPOCH};
use solana_rent::Rent;
use std::{collections::BTreeMap, time::Duration};
use sundog_types::{Hash, Pubkey, shred::shred_version};

/// The most bytes a genesis may have: three times that of a localnet with every program in it, and
/// little enough to hold in memory twice.
pub const MAX_GENESIS_BYTES: usize = 16 << 20;

/// Which public cluster a chain is, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterType {
    /// The public test network.
    Testnet,
    /// The main network.
    MainnetBeta,
    /// The public network for developers.
    Devnet,
    /// Any other cluster, such as a localnet.
    Development,
}

/// How fast the chain of hashes runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PohConfig {
    /// Time from tick to tick.
    pub target_tick_duration: Duration,
    /// Tests only: how many ticks to make before stopping.
    pub target_tick_count: Option<u64>,
    /// Hashes from tick to tick. `None`: a tick takes one hash, and time passes by sleeping.
    pub hashes_per_tick: Option<u64>,
}

/// How the fee per signature follows the load. Kept for its bytes: signatures cost a fixed 5,000
/// lamports (reference 11.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeRateGovernor {
    /// Lamports per signature at the target load.
    pub target_lamports_per_signature: u64,
    /// Signatures per slot that are the target load.
    pub target_signatures_per_slot: u64,
    /// Lamports per signature at no load.
    pub min_lamports_per_signature: u64,
    /// The most lamports per signature.
    pub max_lamports_per_signature: u64,
    /// How much of a fee is burnt, in percent.
    pub burn_percent: u8,
}

impl Default for FeeRateGovernor {
    fn default() -> Self {
        Self {
            target_lamports_per_signature: 10_000,
            target_signatures_per_slot: 20_000,
            min_lamports_per_signature: 0,
            max_lamports_per_signature: 0,
            burn_percent: 50,
        }
    }
}

/// How much is minted for stakers. The default mints nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inflation {
    /// Yearly rate at genesis, as a fraction.
    pub initial: f64,
    /// Yearly rate in the end.
    pub terminal: f64,
    /// By which fraction the rate falls each year.
    pub taper: f64,
    /// The part that goes to a foundation.
    pub foundation: f64,
    /// For how many years it does.
    pub foundation_term: f64,
    /// Holds its place in the bytes.
    pub unused: f64,
}

/// Everything a chain starts from. Field order is wire order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenesisConfig {
    /// Unix time of slot 0, in seconds.
    pub creation_time: i64,
    /// The accounts there are before the first block.
    pub accounts: BTreeMap<Pubkey, Account>,
    /// Native programs beyond the builtin ones; empty nowadays.
    pub native_instruction_processors: Vec<(String, Pubkey)>,
    /// Accounts that rewards were once paid from; empty nowadays.
    pub rewards_pools: BTreeMap<Pubkey, Account>,
    /// Ticks in a slot.
    pub ticks_per_slot: u64,
    /// Holds its place in the bytes.
    pub unused: u64,
    /// How fast the chain of hashes runs.
    pub poh_config: PohConfig,
    /// Holds its place in the bytes.
    pub unused_too: u64,
    /// How the fee per signature follows the load.
    pub fee_rate_governor: FeeRateGovernor,
    /// What an account must hold to exist.
    pub rent: Rent,
    /// How much is minted for stakers.
    pub inflation: Inflation,
    /// Which slots make up which epoch.
    pub epoch_schedule: EpochSchedule,
    /// Which public cluster it is, or none.
    pub cluster_type: ClusterType,
}

/// Why bytes are no genesis that a chain can start from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// More bytes than a genesis may have.
    #[error("the genesis has {0} bytes, the limit is {MAX_GENESIS_BYTES}; check that the file is genesis.bin")]
    TooLong(usize),
    /// The bytes end early, or something in them is not of its type.
    #[error("the genesis does not decode ({0}); fetch genesis.bin again or check that the file is one")]
    Malformed(String),
    /// Bytes after the end, keys out of order, or a value in an unusual form: its hash would be ambiguous.
    #[error("the genesis decodes, but is not in its canonical form; fetch genesis.bin again")]
    NotCanonical,
    /// A value that no chain can run with.
    #[error("the genesis sets {field} to {value}, which no chain can run with; make a new genesis")]
    Unusable {
        /// Which setting.
        field: &'static str,
        /// What it says.
        value: u64,
    },
}

impl GenesisConfig {
    /// Reads the bytes of a `genesis.bin`.
    ///
    /// # Errors
    /// If they are too many, malformed or not canonical, or if no chain can run with a setting in them.
    pub fn decode(bytes: &[u8]) -> Result<Self, GenesisError> {
        if bytes.len() > MAX_GENESIS_BYTES {
            return Err(GenesisError::TooLong(bytes.len()));
        }
        let config: Self = bincode::deserialize(bytes).map_err(|e| GenesisError::Malformed(e.to_string()))?;
        if config.encode() != bytes {
            return Err(GenesisError::NotCanonical);
        }
        config.validate()?;
        Ok(config)
    }

    /// The bytes of `genesis.bin`.
    ///
    /// # Panics
    /// Never: writing to memory cannot fail, and every length is known.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        bincode::serialize(self).expect("a genesis in memory always encodes")
    }

    /// The chain's name: the SHA-256 of the encoded genesis.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::new_from_array(Sha256::digest(self.encode()).into())
    }

    /// The shred version that the genesis alone gives, without hard forks (reference 3.11).
    #[must_use]
    pub fn shred_version(&self) -> u16 {
        shred_version(&self.hash(), &[])
    }

    /// Ticks in a slot.
    #[must_use]
    pub const fn ticks_per_slot(&self) -> u64 {
        self.ticks_per_slot
    }

    /// Time from tick to tick.
    #[must_use]
    pub const fn tick_duration(&self) -> Duration {
        self.poh_config.target_tick_duration
    }

    /// Time from slot to slot.
    #[must_use]
    pub fn slot_duration(&self) -> Duration {
        let ticks = u32::try_from(self.ticks_per_slot).unwrap_or(u32::MAX);
        self.poh_config.target_tick_duration.saturating_mul(ticks)
    }

    /// Nanoseconds from slot to slot, as the clock estimate counts (reference 12.4).
    #[must_use]
    pub const fn nanoseconds_per_slot(&self) -> u128 {
        self.poh_config.target_tick_duration.as_nanos().saturating_mul(self.ticks_per_slot as u128)
    }

    /// Hashes from tick to tick; `None` if time passes by sleeping.
    #[must_use]
    pub const fn hashes_per_tick(&self) -> Option<u64> {
        self.poh_config.hashes_per_tick
    }

    /// All lamports of the genesis accounts.
    #[must_use]
    pub fn capitalization(&self) -> u64 {
        self.accounts.values().map(|account| account.lamports).fold(0, u64::saturating_add)
    }

    /// The ticks that are the block of slot 0: how many hashes each adds, and the hash it ends with.
    /// They start from the genesis hash; without hashes per tick they add none (reference 2.7).
    #[must_use]
    pub fn slot_zero_ticks(&self) -> Vec<(u64, Hash)> {
        let hashes = self.hashes_per_tick().unwrap_or(0);
        let mut hash = self.hash();
        let mut tick = || {
            for _ in 0..hashes {
                hash = Hash::new_from_array(Sha256::digest(hash.as_ref()).into());
            }
            (hashes, hash)
        };
        (0..self.ticks_per_slot).map(|_| tick()).collect()
    }

    /// Checks the settings that everything else divides and multiplies by.
    ///
    /// # Errors
    /// If no chain can run with one of them.
    pub fn validate(&self) -> Result<(), GenesisError> {
        let unusable = |field, value| Err(GenesisError::Unusable { field, value });
        let poh = &self.poh_config;
        let epochs = &self.epoch_schedule;
        let nanoseconds = u64::try_from(poh.target_tick_duration.as_nanos()).unwrap_or(u64::MAX);
        if !(1..=MAX_TICKS_PER_SLOT).contains(&self.ticks_per_slot) {
            return unusable("ticks_per_slot", self.ticks_per_slot);
        }
        if !(1..=MAX_TICK_NANOSECONDS).contains(&nanoseconds) {
            return unusable("target_tick_duration (nanoseconds)", nanoseconds);
        }
        if let Some(hashes) = poh.hashes_per_tick
            && !(2..=MAX_HASHES_PER_TICK).contains(&hashes)
        {
            return unusable("hashes_per_tick", hashes);
        }
        if !(MINIMUM_SLOTS_PER_EPOCH..=MAX_SLOTS_PER_EPOCH).contains(&epochs.slots_per_epoch) {
            return unusable("slots_per_epoch", epochs.slots_per_epoch);
        }
        let offset = epochs.leader_schedule_slot_offset;
        if !(1..=epochs.slots_per_epoch).contains(&offset) {
            return unusable("leader_schedule_slot_offset", offset);
        }
        if *epochs != EpochSchedule::custom(epochs.slots_per_epoch, offset, epochs.warmup) {
            return unusable("first_normal_slot (with these slots_per_epoch and warmup)", epochs.first_normal_slot);
        }
        if self.rent.try_minimum_balance(MAX_ACCOUNT_BYTES).is_none() {
            return unusable("lamports_per_byte_year", self.rent.lamports_per_byte);
        }
        let mut lamports = self.accounts.values().map(|account| account.lamports);
        if lamports.try_fold(0u64, u64::checked_add).is_none() {
            return unusable("lamports (of all accounts together)", u64::MAX);
        }
        Ok(())
    }
}

/// The largest account there can be, in bytes.
const MAX_ACCOUNT_BYTES: usize = 10 << 20;
/// A slot has 64 ticks everywhere; a genesis from outside must not make slot 0 endless to hash.
const MAX_TICKS_PER_SLOT: u64 = 4_096;
/// The main network has 62,500; a genesis from outside must not make slot 0 endless to hash.
const MAX_HASHES_PER_TICK: u64 = 1_000_000;
/// A tick of a minute is slower than anyone waits for.
const MAX_TICK_NANOSECONDS: u64 = 60_000_000_000;
/// The main network has 432,000; the leader schedule of an epoch is held in memory.
const MAX_SLOTS_PER_EPOCH: u64 = 1 << 22;
