//! The one place that knows the SVM: its types end here, the rest of the crate has its own.

mod features;
mod fees;
mod forks;
mod outcome;
mod plain;

pub(crate) use features::Features;
pub(crate) use fees::{Checked, check, durable_nonce, quote};
pub use fees::{LAMPORTS_PER_SIGNATURE, Quote};
pub use outcome::{Balances, TokenBalance};
pub(crate) use outcome::{Outcome, Programs};
pub(crate) use plain::{Plain, Transfers};

use crate::precompiles;
use forks::Forks;
use solana_account::AccountSharedData;
use solana_precompile_error::PrecompileError;
use solana_program_runtime::{
    invoke_context::BuiltinFunctionRegisterer,
    loaded_programs::{ProgramRuntimeEnvironment, ProgramRuntimeEnvironments},
    program_cache_entry::ProgramCacheEntry,
    solana_sbpf::program::BuiltinFunctionDefinition,
};
use solana_rent::Rent;
use solana_sdk_ids as ids;
use solana_svm::transaction_processor::{
    ExecutionRecordingConfig, TransactionBatchProcessor, TransactionProcessingConfig, TransactionProcessingEnvironment,
};
use solana_svm_callback::{InvokeContextCallback, TransactionProcessingCallback};
use solana_transaction::sanitized::SanitizedTransaction;
use solana_transaction_error::TransactionError;
use std::sync::{Arc, RwLock};
use sundog_types::{Hash, Pubkey};

/// Where the SVM reads accounts and stakes: a bank.
pub(crate) trait Source: Sync {
    fn account(&self, key: &Pubkey) -> Option<(AccountSharedData, u64)>;
    /// Stake of a vote account in this epoch; of all of them for `None`.
    fn epoch_stake(&self, vote_account: Option<&Pubkey>) -> u64;
}

struct Callback<'a>(&'a dyn Source);

impl TransactionProcessingCallback for Callback<'_> {
    fn get_account_shared_data(&self, key: &Pubkey) -> Option<(AccountSharedData, u64)> {
        self.0.account(key)
    }
}

impl InvokeContextCallback for Callback<'_> {
    fn get_epoch_stake(&self) -> u64 {
        self.0.epoch_stake(None)
    }

    fn get_epoch_stake_for_vote_account(&self, vote_account: &Pubkey) -> u64 {
        self.0.epoch_stake(Some(vote_account))
    }

    fn is_precompile(&self, program: &Pubkey) -> bool {
        [ids::ed25519_program::ID, ids::secp256k1_program::ID, ids::secp256r1_program::ID].contains(program)
    }

    fn process_precompile(
        &self,
        program: &Pubkey,
        data: &[u8],
        instructions: Vec<&[u8]>,
    ) -> Result<(), PrecompileError> {
        if *program != ids::ed25519_program::ID {
            return Err(PrecompileError::InvalidPublicKey);
        }
        precompiles::ed25519(data, &instructions).map_err(|fault| match fault {
            precompiles::Fault::Size => PrecompileError::InvalidInstructionDataSize,
            precompiles::Fault::Offsets => PrecompileError::InvalidDataOffsets,
            precompiles::Fault::Signature => PrecompileError::InvalidSignature,
        })
    }
}

/// The SVM as one bank uses it. Banks share the cache of compiled programs.
pub(crate) struct Svm {
    processor: TransactionBatchProcessor<Forks>,
    forks: Arc<RwLock<Forks>>,
    slot: u64,
}

/// What all transactions of a batch have in common.
pub(crate) struct Environment<'a> {
    pub(crate) features: &'a Features,
    /// The newest blockhash and its lamports per signature.
    pub(crate) blockhash: (Hash, u64),
    pub(crate) epoch_total_stake: u64,
    pub(crate) rent: &'a Rent,
}

impl Svm {
    /// For the first bank, with every builtin program this build has.
    pub(crate) fn new(slot: u64, epoch: u64, features: &Features) -> Self {
        let forks = Arc::new(RwLock::new(Forks { root: slot, ..Forks::default() }));
        let mut processor = TransactionBatchProcessor::new_uninitialized(slot, epoch);
        processor.set_program_runtime_environment(ProgramRuntimeEnvironment::clone(&features.environment));
        {
            let mut cache = processor.global_program_cache.write().expect("no panic while locked");
            cache.set_fork_graph(Arc::downgrade(&forks));
        }
        for (id, name_length, register) in builtins() {
            processor.add_builtin(id, ProgramCacheEntry::new_builtin(0, name_length, register));
        }
        Self { processor, forks, slot }
    }

    /// For a child of this bank.
    pub(crate) fn child(&self, slot: u64, epoch: u64) -> Self {
        let known = {
            let mut forks = self.forks.write().expect("no panic while locked");
            forks.parents.insert(slot, self.slot).is_some()
        };
        if known {
            // Another version of this block was executed before: its programs are not this one's.
            let mut cache = self.processor.global_program_cache.write().expect("no panic while locked");
            cache.prune_by_deployment_slot(slot);
        }
        Self { processor: self.processor.new_from(slot, epoch), forks: Arc::clone(&self.forks), slot }
    }

    /// Reads the sysvars that programs ask for, once per bank, before its first transaction.
    pub(crate) fn read_sysvars(&self, source: &dyn Source) {
        self.processor.reset_and_fill_sysvar_cache_entries(&Callback(source));
    }

    /// Forgets compiled programs of other forks.
    pub(crate) fn root(&self) {
        let mut cache = self.processor.global_program_cache.write().expect("no panic while locked");
        let mut forks = self.forks.write().expect("no panic while locked");
        if self.slot < cache.latest_root_slot {
            return;
        }
        cache.prune(self.slot, None, &forks);
        forks.root = self.slot;
        forks.parents = forks.parents.split_off(&(self.slot + 1));
    }

    /// Makes the programs that a committed transaction deployed known to later batches.
    pub(crate) fn learn(&self, programs: &Programs, features: &Features) {
        if programs.0.is_empty() {
            return;
        }
        let mut cache = self.processor.global_program_cache.write().expect("no panic while locked");
        for (key, entry) in &programs.0 {
            cache.assign_program(&features.environment, *key, self.slot, Arc::clone(entry));
        }
    }

    /// Loads and executes transactions in order; later ones see what earlier ones did.
    pub(crate) fn execute(
        &self,
        source: &dyn Source,
        environment: &Environment<'_>,
        transactions: &[SanitizedTransaction],
        checks: Vec<Result<Checked, TransactionError>>,
    ) -> Vec<Result<Outcome, TransactionError>> {
        let features = environment.features;
        let programs = || ProgramRuntimeEnvironment::clone(&features.environment);
        let svm = TransactionProcessingEnvironment {
            blockhash: environment.blockhash.0,
            blockhash_lamports_per_signature: environment.blockhash.1,
            alpenglow_migration_succeeded: false,
            epoch_total_stake: environment.epoch_total_stake,
            feature_set: features.svm,
            program_runtime_environments: ProgramRuntimeEnvironments::new(programs(), programs()),
            rent: environment.rent.clone(),
        };
        let config = TransactionProcessingConfig {
            recording_config: ExecutionRecordingConfig::new_single_setting(true),
            ..TransactionProcessingConfig::default()
        };
        let checks = checks.into_iter().map(|check| check.map(Checked::into_details)).collect();
        let output = self.processor.load_and_execute_sanitized_transactions(
            &Callback(source),
            transactions,
            checks,
            &svm,
            &config,
        );
        let mut balances = outcome::balances(output.balance_collector.map(|collector| collector.into_vecs()));
        let results = output.processing_results.into_iter().zip(transactions);
        results.map(|(result, tx)| outcome::outcome(result, tx, balances.next().unwrap_or_default())).collect()
    }
}

/// Address, length of the account's data (its name), and the function of every native program.
fn builtins() -> [(Pubkey, usize, BuiltinFunctionRegisterer); 6] {
    let loader: BuiltinFunctionRegisterer = solana_bpf_loader_program::Entrypoint::register;
    [
        (ids::system_program::ID, 14, solana_system_program::system_processor::Entrypoint::register),
        (ids::vote::ID, 12, solana_vote_program::vote_processor::Entrypoint::register),
        (ids::bpf_loader_deprecated::ID, 36, loader),
        (ids::bpf_loader::ID, 25, loader),
        (ids::bpf_loader_upgradeable::ID, 37, loader),
        (ids::compute_budget::ID, 22, solana_compute_budget_program::Entrypoint::register),
    ]
}
