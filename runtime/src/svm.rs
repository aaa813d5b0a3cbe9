//! The one place that knows the SVM: its types end here, the rest of the crate has its own.

use crate::{
    precompiles,
    transaction::Tx,
};
use agave_feature_set::{FEATURE_NAMES, FeatureSet};
use agave_reserved_account_keys::ReservedAccountKeys;
use solana_account::{AccountSharedData, ReadableAccount};
use solana_compute_budget::compute_budget_limits::ComputeBudgetLimits;
use solana_compute_budget_instruction::instructions_processor::process_compute_budget_instructions;
use solana_fee::{FeeFeatures, calculate_fee_details};
use solana_fee_structure::FeeDetails;
use solana_message::inner_instruction::InnerInstruction;
use solana_precompile_error::PrecompileError;
use solana_program_runtime::{
    execution_budget::SVMTransactionExecutionBudget,
    loaded_programs::{BlockRelation, ForkGraph, ProgramRuntimeEnvironment, ProgramRuntimeEnvironments},
    program_cache_entry::ProgramCacheEntry,
    solana_sbpf::program::BuiltinFunctionDefinition,
};
use solana_rent::Rent;
use solana_sdk_ids as ids;
use solana_svm::{
    account_loader::CheckedTransactionDetails,
    transaction_balances::SvmTokenInfo,
    transaction_execution_result::ExecutedTransaction,
    transaction_processing_result::{ProcessedTransaction, TransactionProcessingResult},
    transaction_processor::{
        ExecutionRecordingConfig, TransactionBatchProcessor, TransactionProcessingConfig,
        TransactionProcessingEnvironment,
    },
};
use solana_svm_callback::{InvokeContextCallback, TransactionProcessingCallback};
use solana_svm_feature_set::SVMFeatureSet;
use solana_svm_transaction::svm_message::{SVMMessage, SVMStaticMessage};
use solana_transaction::sanitized::SanitizedTransaction;
use solana_transaction_error::TransactionError;
use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};
use sundog_types::{Hash, Pubkey};

/// What a signature costs, in lamports.
pub const LAMPORTS_PER_SIGNATURE: u64 = 5_000;

/// The feature gates that are active, with what follows from them.
pub(crate) struct Features {
    set: FeatureSet,
    svm: SVMFeatureSet,
    pub(crate) reserved: ReservedAccountKeys,
    environment: ProgramRuntimeEnvironment,
}

impl Features {
    /// Reads the gates. `activated`: the slot of a gate's activation, if it is active.
    pub(crate) fn read(activated: &dyn Fn(&Pubkey) -> Option<u64>) -> Self {
        let mut set = FeatureSet::default();
        for id in FEATURE_NAMES.keys() {
            if let Some(slot) = activated(id) {
                set.activate(id, slot);
            }
        }
        let mut reserved = ReservedAccountKeys::default();
        reserved.update_active_set(&set);
        let svm = set.runtime_features();
        let budget = SVMTransactionExecutionBudget::new_with_defaults(svm.raise_cpi_nesting_limit_to_8);
        let environment = solana_syscalls::create_program_runtime_environment(&svm, &budget, true, false)
            .expect("the system calls have distinct names");
        Self { set, svm, reserved, environment }
    }

    /// The slot in which a gate became active.
    pub(crate) fn activated(&self, id: &Pubkey) -> Option<u64> {
        self.set.activated_slot(id)
    }
}

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

    fn process_precompile(&self, program: &Pubkey, data: &[u8], instructions: Vec<&[u8]>) -> Result<(), PrecompileError> {
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

/// Which slot is whose parent, for the program cache.
#[derive(Default)]
struct Forks {
    parents: BTreeMap<u64, u64>,
    root: u64,
}

impl ForkGraph for Forks {
    fn relationship(&self, a: u64, b: u64) -> BlockRelation {
        match a.cmp(&b) {
            std::cmp::Ordering::Equal => BlockRelation::Equal,
            std::cmp::Ordering::Less if self.descends(b, a) => BlockRelation::Ancestor,
            std::cmp::Ordering::Greater if self.descends(a, b) => BlockRelation::Descendant,
            _ => BlockRelation::Unrelated,
        }
    }
}

impl Forks {
    fn descends(&self, slot: u64, from: u64) -> bool {
        let mut at = slot;
        while at > from {
            match self.parents.get(&at) {
                Some(parent) => at = *parent,
                // What is below the root is everybody's ancestor as far as the cache still knows it.
                None => return from < self.root && at <= self.root,
            }
        }
        at == from
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
    /// Whether to note logs, inner instructions, return data and balances.
    pub(crate) record: bool,
}

/// A transaction that passed the checks before execution.
#[derive(Clone)]
pub(crate) struct Checked(CheckedTransactionDetails);

/// Balances of a token account around a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBalance {
    /// The account's place among the transaction's accounts.
    pub account_index: u8,
    /// The token's mint.
    pub mint: Pubkey,
    /// Whose tokens they are.
    pub owner: Pubkey,
    /// The token program.
    pub program: Pubkey,
    /// How many, in the smallest unit.
    pub amount: u64,
    /// Decimal places of the mint.
    pub decimals: u8,
}

/// Programs that a transaction deployed or upgraded, compiled.
#[derive(Default)]
pub(crate) struct Programs(Vec<(Pubkey, Arc<ProgramCacheEntry>)>);

/// What executing a transaction came to.
pub(crate) struct Outcome {
    pub(crate) status: Result<(), TransactionError>,
    /// False: it could not be loaded, only the fee is taken.
    pub(crate) executed: bool,
    pub(crate) base_fee: u64,
    pub(crate) priority_fee: u64,
    pub(crate) units: u64,
    pub(crate) loaded_bytes: u32,
    pub(crate) logs: Vec<String>,
    pub(crate) inner: Vec<Vec<InnerInstruction>>,
    pub(crate) return_data: Option<(Pubkey, Vec<u8>)>,
    /// Accounts to store.
    pub(crate) writes: Vec<(Pubkey, AccountSharedData)>,
    /// All accounts after it, if it was executed and succeeded; for simulation.
    pub(crate) after: Vec<(Pubkey, AccountSharedData)>,
    pub(crate) balances: Balances,
    pub(crate) programs: Programs,
}

/// Lamports and tokens of a transaction's accounts before and after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// Lamports before, by place of the account.
    pub before: Vec<u64>,
    /// Lamports after.
    pub after: Vec<u64>,
    /// Token accounts before.
    pub tokens_before: Vec<TokenBalance>,
    /// Token accounts after.
    pub tokens_after: Vec<TokenBalance>,
}

/// What a transaction asks for and pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Compute units it may use.
    pub compute_unit_limit: u32,
    /// What it pays per unit, in micro-lamports.
    pub compute_unit_price: u64,
    /// Bytes of heap it asks for.
    pub heap_bytes: u32,
    /// Bytes of accounts it may load.
    pub loaded_bytes_max: u32,
    /// For its signatures, in lamports.
    pub base_fee: u64,
    /// For its priority, in lamports.
    pub priority_fee: u64,
}

fn limits(tx: &Tx, features: &Features) -> Result<ComputeBudgetLimits, TransactionError> {
    process_compute_budget_instructions(tx.sanitized.program_instructions_iter(), &features.set)
}

fn fees(tx: &Tx, limits: &ComputeBudgetLimits, features: &Features) -> FeeDetails {
    let priority = limits.get_prioritization_fee();
    calculate_fee_details(&tx.sanitized, LAMPORTS_PER_SIGNATURE, priority, FeeFeatures::from(&features.set))
}

/// What a transaction asks for and pays, unless its blockhash is a free one.
pub(crate) fn quote(tx: &Tx, features: &Features) -> Result<Quote, TransactionError> {
    let limits = limits(tx, features)?;
    let fees = fees(tx, &limits, features);
    Ok(Quote {
        compute_unit_limit: limits.compute_unit_limit,
        compute_unit_price: limits.compute_unit_price,
        heap_bytes: limits.updated_heap_bytes,
        loaded_bytes_max: limits.loaded_accounts_bytes.get(),
        base_fee: fees.transaction_fee(),
        priority_fee: fees.prioritization_fee(),
    })
}

/// Checks the compute budget instructions and works out the fee. `age` gives the nonce account, if the
/// transaction uses one, and the lamports per signature of its blockhash.
pub(crate) fn check(
    tx: &Tx,
    features: &Features,
    age: impl FnOnce() -> Result<(Option<Pubkey>, u64), TransactionError>,
) -> Result<Checked, TransactionError> {
    let limits = limits(tx, features)?;
    let (nonce, lamports_per_signature) = age()?;
    let fees = if lamports_per_signature == 0 { FeeDetails::default() } else { fees(tx, &limits, features) };
    let bytes = limits.loaded_accounts_bytes;
    let limits = limits.get_compute_budget_and_limits(bytes, fees, features.svm.raise_cpi_nesting_limit_to_8);
    Ok(Checked(CheckedTransactionDetails::new(nonce, limits)))
}

/// The nonce account that a transaction names in place of a recent blockhash, and those who sign for it.
pub(crate) fn durable_nonce(tx: &Tx) -> Option<(Pubkey, Vec<Pubkey>)> {
    let nonce = SVMMessage::get_durable_nonce(&tx.sanitized)?;
    Some((*nonce, tx.sanitized.get_ix_signers(0).copied().collect()))
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
        let loader = || solana_bpf_loader_program::Entrypoint::register;
        let name = |name: &str| name.len();
        let builtins = [
            (ids::system_program::ID, name("system_program"), ProgramCacheEntry::new_builtin(0, 14, solana_system_program::system_processor::Entrypoint::register)),
            (ids::vote::ID, name("vote_program"), ProgramCacheEntry::new_builtin(0, 12, solana_vote_program::vote_processor::Entrypoint::register)),
            (ids::bpf_loader_deprecated::ID, 0, ProgramCacheEntry::new_builtin(0, 36, loader())),
            (ids::bpf_loader::ID, 0, ProgramCacheEntry::new_builtin(0, 25, loader())),
            (ids::bpf_loader_upgradeable::ID, 0, ProgramCacheEntry::new_builtin(0, 37, loader())),
            (ids::compute_budget::ID, 0, ProgramCacheEntry::new_builtin(0, 22, solana_compute_budget_program::Entrypoint::register)),
        ];
        for (id, _, builtin) in builtins {
            processor.add_builtin(id, builtin);
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
            recording_config: ExecutionRecordingConfig::new_single_setting(environment.record),
            ..TransactionProcessingConfig::default()
        };
        let checks = checks.into_iter().map(|check| check.map(|checked| checked.0)).collect();
        let output = self.processor.load_and_execute_sanitized_transactions(
            &Callback(source),
            transactions,
            checks,
            &svm,
            &config,
        );
        let mut balances = balances(output.balance_collector.map(|collector| collector.into_vecs()));
        let results = output.processing_results.into_iter().zip(transactions);
        results.map(|(result, tx)| outcome(result, tx, balances.next().unwrap_or_default())).collect()
    }
}

type Collected = (Vec<Vec<u64>>, Vec<Vec<u64>>, Vec<Vec<SvmTokenInfo>>, Vec<Vec<SvmTokenInfo>>);

fn balances(collected: Option<Collected>) -> impl Iterator<Item = Balances> {
    let (before, after, tokens_before, tokens_after) = collected.unwrap_or_default();
    let lamports = before.into_iter().zip(after);
    let tokens = tokens_before.into_iter().zip(tokens_after);
    lamports.zip(tokens).map(|((before, after), (tokens_before, tokens_after))| Balances {
        before,
        after,
        tokens_before: tokens_before.into_iter().map(token).collect(),
        tokens_after: tokens_after.into_iter().map(token).collect(),
    })
}

fn token(info: SvmTokenInfo) -> TokenBalance {
    TokenBalance {
        account_index: info.account_index,
        mint: info.mint,
        owner: info.owner,
        program: info.program_id,
        amount: info.amount,
        decimals: info.decimals,
    }
}

fn outcome(
    result: TransactionProcessingResult,
    tx: &SanitizedTransaction,
    balances: Balances,
) -> Result<Outcome, TransactionError> {
    let processed = result?;
    let fees = processed.fee_details();
    let mut outcome = Outcome {
        status: processed.status(),
        executed: false,
        base_fee: fees.transaction_fee(),
        priority_fee: fees.prioritization_fee(),
        units: processed.executed_units(),
        loaded_bytes: processed.loaded_accounts_data_size(),
        logs: Vec::new(),
        inner: Vec::new(),
        return_data: None,
        writes: Vec::new(),
        after: Vec::new(),
        balances,
        programs: Programs::default(),
    };
    match processed {
        ProcessedTransaction::FeesOnly(fees) => outcome.writes = fees.rollback_accounts.iter().cloned().collect(),
        ProcessedTransaction::Executed(executed) => take_executed(&mut outcome, *executed, tx),
    }
    Ok(outcome)
}

fn take_executed(outcome: &mut Outcome, executed: ExecutedTransaction, tx: &SanitizedTransaction) {
    let details = executed.execution_details;
    outcome.executed = true;
    outcome.logs = details.log_messages.unwrap_or_default();
    outcome.inner = details.inner_instructions.unwrap_or_default();
    outcome.return_data = details.return_data.map(|data| (data.program_id, data.data));
    let loaded = executed.loaded_transaction;
    if outcome.status.is_err() {
        outcome.writes = loaded.rollback_accounts.iter().cloned().collect();
        return;
    }
    let touched = loaded.touched_flags.iter().enumerate().zip(&loaded.accounts);
    let stored = |index: usize| tx.is_writable(index) && (!tx.is_invoked(index) || tx.is_instruction_account(index));
    outcome.writes = touched
        .filter(|((index, touched), _)| **touched && stored(*index))
        .map(|(_, (key, account))| (*key, gone_if_empty(account.clone())))
        .collect();
    outcome.after = loaded.accounts;
    outcome.programs = Programs(executed.programs_modified_by_tx.into_iter().collect());
}

/// An account without lamports does not exist, whatever its data says.
fn gone_if_empty(account: AccountSharedData) -> AccountSharedData {
    if account.lamports() == 0 { AccountSharedData::default() } else { account }
}
