//! A development genesis for a local cluster.
//!
//! Beside the programs it holds exactly what Agave's own development genesis holds; a test with the
//! reference's keys gets the reference's genesis hash once the programs are taken out. The programs are
//! in it because stake, address lookup tables, config and feature gates are no longer native (reference
//! 11.5), and because wallets and SDKs expect the SPL programs everywhere.

use super::{ClusterType, FEATURE_GATES, FeeRateGovernor, GenesisConfig, GenesisError, Inflation, PohConfig};
use solana_account::{Account, AccountSharedData};
use solana_epoch_schedule::EpochSchedule;
use solana_rent::Rent;
use solana_sdk_ids as ids;
use solana_vote_interface::{
    authorized_voters::AuthorizedVoters,
    state::{VoteStateV4, VoteStateVersions},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use sundog_types::Pubkey;

/// Slots of an epoch unless told otherwise: 55 minutes at 400 ms.
pub const DEFAULT_SLOTS_PER_EPOCH: u64 = 8_192;
/// What the faucet starts with unless told otherwise: 500,000,000 SOL.
pub const DEFAULT_FAUCET_LAMPORTS: u64 = 500_000_000_000_000_000;
/// What Agave's tools give: a vote account's data is this long whatever its version (reference 8.4).
const VOTE_ACCOUNT_BYTES: usize = 3_762;
/// The length of a stake account's data (reference 11.5).
const STAKE_ACCOUNT_BYTES: usize = 200;
/// The mint of wrapped SOL, which SPL programs expect to exist.
const NATIVE_MINT: Pubkey = Pubkey::from_str_const("So11111111111111111111111111111111111111112");
/// The SPL token program, which owns the mint.
const TOKEN_PROGRAM: Pubkey = Pubkey::from_str_const("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
/// Where stake's parameters stood before it became a program of its own.
const STAKE_CONFIG: Pubkey = Pubkey::from_str_const("StakeConfig11111111111111111111111111111111");
/// Warm-up rate that old layouts carry; nothing reads it any more.
const STORED_WARMUP_RATE: f64 = 0.25;

/// A validator that is there from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisValidator {
    /// The node's identity.
    pub identity: Pubkey,
    /// What the identity starts with, in lamports: it pays for votes.
    pub identity_lamports: u64,
    /// The vote account.
    pub vote: Pubkey,
    /// The key that signs its votes and may withdraw from it; the reference's genesis takes the vote key.
    pub vote_authority: Pubkey,
    /// What the vote account starts with; at least what rent asks of it, so 0 means just that.
    pub vote_lamports: u64,
    /// The stake account, which is its own staker and withdrawer.
    pub stake: Pubkey,
    /// How many lamports it delegates to the vote account, at once effective.
    pub delegated: u64,
}

/// What a localnet starts from; [`Self::build`] makes it a genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalnetGenesis {
    /// Unix time of slot 0, in seconds.
    pub creation_time: i64,
    /// The validators, at least one.
    pub validators: Vec<GenesisValidator>,
    /// The account that hands out SOL.
    pub faucet: Pubkey,
    /// What it starts with, in lamports.
    pub faucet_lamports: u64,
    /// Ticks in a slot.
    pub ticks_per_slot: u64,
    /// Time from tick to tick.
    pub tick_duration: Duration,
    /// Hashes from tick to tick. `None`: a tick takes one hash, and time passes by sleeping.
    pub hashes_per_tick: Option<u64>,
    /// Slots in an epoch; there is no warm-up.
    pub slots_per_epoch: u64,
    /// Further accounts, say of a test's users. They may not replace one that the genesis has by itself.
    pub more_accounts: BTreeMap<Pubkey, Account>,
}

/// Why no genesis can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Nobody could make a block.
    #[error("a genesis needs at least one validator; name one")]
    NoValidator,
    /// A validator that nobody would let lead.
    #[error("validator {0} delegates no stake; give it at least one lamport")]
    NoStake(Pubkey),
    /// Two accounts at one address.
    #[error("the genesis names {0} twice; give every account a key of its own")]
    SameKey(Pubkey),
    /// More SOL than fits in a number.
    #[error("the balances of the genesis exceed 2^64 lamports together; lower the faucet's or the stakes")]
    TooMuch,
    /// A setting that no chain can run with.
    #[error(transparent)]
    Settings(#[from] GenesisError),
}

impl LocalnetGenesis {
    /// The usual localnet: 64 ticks of 6.25 ms, paced by sleeping, epochs of 8,192 slots, a faucet with
    /// 500,000,000 SOL.
    #[must_use]
    pub fn new(creation_time: i64, faucet: Pubkey, validators: Vec<GenesisValidator>) -> Self {
        Self {
            creation_time,
            validators,
            faucet,
            faucet_lamports: DEFAULT_FAUCET_LAMPORTS,
            ticks_per_slot: 64,
            tick_duration: Duration::from_micros(6_250),
            hashes_per_tick: None,
            slots_per_epoch: DEFAULT_SLOTS_PER_EPOCH,
            more_accounts: BTreeMap::new(),
        }
    }

    /// Makes the genesis. The same arguments give the same bytes.
    ///
    /// # Errors
    /// Without validators or stakes, with a key named twice, or with settings that no chain can run with.
    pub fn build(&self) -> Result<GenesisConfig, BuildError> {
        self.check()?;
        let rent = genesis_rent();
        let mut config = GenesisConfig {
            creation_time: self.creation_time,
            accounts: BTreeMap::new(),
            native_instruction_processors: Vec::new(),
            rewards_pools: BTreeMap::new(),
            ticks_per_slot: self.ticks_per_slot,
            unused: 1_024,
            poh_config: PohConfig {
                target_tick_duration: self.tick_duration,
                target_tick_count: None,
                hashes_per_tick: self.hashes_per_tick,
            },
            unused_too: 0,
            fee_rate_governor: FeeRateGovernor::default(),
            rent: rent.clone(),
            inflation: Inflation::default(),
            // An epoch too short for a schedule is found by `validate` below, with a message.
            epoch_schedule: EpochSchedule {
                slots_per_epoch: self.slots_per_epoch,
                leader_schedule_slot_offset: self.slots_per_epoch,
                warmup: false,
                first_normal_epoch: 0,
                first_normal_slot: 0,
            },
            cluster_type: ClusterType::Development,
        };
        let accounts = fixed_accounts(&rent).into_iter().chain(self.own_accounts(&rent)?);
        for (key, account) in accounts {
            if config.accounts.insert(key, account).is_some() {
                return Err(BuildError::SameKey(key));
            }
        }
        let mut lamports = config.accounts.values().map(|account| account.lamports);
        lamports.try_fold(0u64, u64::checked_add).ok_or(BuildError::TooMuch)?;
        config.validate()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), BuildError> {
        if self.validators.is_empty() {
            return Err(BuildError::NoValidator);
        }
        if let Some(idle) = self.validators.iter().find(|validator| validator.delegated == 0) {
            return Err(BuildError::NoStake(idle.identity));
        }
        let keys = self.validators.iter().flat_map(|v| [v.identity, v.vote, v.stake]);
        let mut seen = BTreeSet::from([self.faucet]);
        for key in keys {
            if !seen.insert(key) {
                return Err(BuildError::SameKey(key));
            }
        }
        Ok(())
    }

    /// The accounts that the arguments ask for.
    fn own_accounts(&self, rent: &Rent) -> Result<Vec<(Pubkey, Account)>, BuildError> {
        let mut accounts = vec![(self.faucet, funded(self.faucet_lamports))];
        for validator in &self.validators {
            accounts.push((validator.identity, funded(validator.identity_lamports)));
            accounts.push((validator.vote, vote_account(validator, rent)));
            accounts.push((validator.stake, stake_account(validator, rent)?));
        }
        accounts.extend(self.more_accounts.iter().map(|(key, account)| (*key, account.clone())));
        Ok(accounts)
    }
}

/// What Agave's genesis says; a bank turns it into 6,960 lamports per byte without a threshold, which is
/// the same minimum (reference 16.16).
fn genesis_rent() -> Rent {
    let mut bytes = Vec::with_capacity(17);
    bytes.extend(3_480u64.to_le_bytes());
    bytes.extend(2.0f64.to_le_bytes());
    bytes.push(50);
    bincode::deserialize(&bytes).expect("seventeen bytes are a rent")
}

fn owned(lamports: u64, data: Vec<u8>, owner: Pubkey) -> Account {
    Account { lamports, data, owner, executable: false, rent_epoch: 0 }
}

fn funded(lamports: u64) -> Account {
    owned(lamports, Vec::new(), ids::system_program::ID)
}

/// Features, programs and the few accounts that every development genesis has.
fn fixed_accounts(rent: &Rent) -> BTreeMap<Pubkey, Account> {
    let mut accounts = BTreeMap::new();
    // `Some(0)`: active since slot 0.
    let active = [1, 0, 0, 0, 0, 0, 0, 0, 0];
    for gate in &FEATURE_GATES {
        let lamports = rent.minimum_balance(active.len());
        accounts.insert(gate.id, owned(lamports, active.to_vec(), ids::feature::ID));
    }
    let programs = solana_program_binaries::core_bpf_programs(rent, |_| true);
    let programs = programs.into_iter().chain(solana_program_binaries::spl_programs(rent));
    accounts.extend(programs.map(|(key, program): (Pubkey, AccountSharedData)| (key, Account::from(program))));
    accounts.insert(STAKE_CONFIG, stake_config(rent));
    accounts.insert(NATIVE_MINT, native_mint());
    let rewards = Account { rent_epoch: u64::MAX, ..owned(rent.minimum_balance(81), vec![0; 81], ids::sysvar::ID) };
    accounts.insert(ids::sysvar::epoch_rewards::ID, rewards);
    accounts
}

/// No keys (a count of one byte), the warm-up rate, and the slash penalty of 12.
fn stake_config(rent: &Rent) -> Account {
    let mut data = vec![0];
    data.extend(STORED_WARMUP_RATE.to_le_bytes());
    data.push(12);
    owned(rent.minimum_balance(data.len()), data, ids::config::ID)
}

/// A mint without authority and supply, 9 decimals, initialised.
fn native_mint() -> Account {
    let mut data = vec![0; 82];
    data[44] = 9;
    data[45] = 1;
    Account { rent_epoch: 1, ..owned(1_000_000_000, data, TOKEN_PROGRAM) }
}

fn vote_account(validator: &GenesisValidator, rent: &Rent) -> Account {
    let state = VoteStateV4 {
        node_pubkey: validator.identity,
        authorized_withdrawer: validator.vote_authority,
        authorized_voters: AuthorizedVoters::new(0, validator.vote_authority),
        ..VoteStateV4::default()
    };
    let versioned = VoteStateVersions::V4(Box::new(state));
    let mut data = bincode::serialize(&versioned).expect("a vote state in memory always encodes");
    data.resize(VOTE_ACCOUNT_BYTES, 0);
    owned(validator.vote_lamports.max(rent.minimum_balance(VOTE_ACCOUNT_BYTES)), data, ids::vote::ID)
}

/// The 200 bytes of reference 11.5: state 2, delegated since before the first epoch, never deactivated.
fn stake_account(validator: &GenesisValidator, rent: &Rent) -> Result<Account, BuildError> {
    let reserve = rent.minimum_balance(STAKE_ACCOUNT_BYTES);
    let mut data = Vec::with_capacity(STAKE_ACCOUNT_BYTES);
    data.extend(2u32.to_le_bytes());
    data.extend(reserve.to_le_bytes());
    data.extend(validator.stake.as_ref());
    data.extend(validator.stake.as_ref());
    data.extend([0; 48]);
    data.extend(validator.vote.as_ref());
    data.extend(validator.delegated.to_le_bytes());
    data.extend(u64::MAX.to_le_bytes());
    data.extend(u64::MAX.to_le_bytes());
    data.extend(STORED_WARMUP_RATE.to_le_bytes());
    data.resize(STAKE_ACCOUNT_BYTES, 0);
    let lamports = validator.delegated.checked_add(reserve).ok_or(BuildError::TooMuch)?;
    Ok(owned(lamports, data, ids::stake::ID))
}
