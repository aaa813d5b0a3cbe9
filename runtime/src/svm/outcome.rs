//! What became of a transaction, taken out of what the SVM answers.

use solana_account::{AccountSharedData, ReadableAccount};
use solana_message::inner_instruction::InnerInstruction;
use solana_program_runtime::program_cache_entry::ProgramCacheEntry;
use solana_svm::{
    transaction_balances::SvmTokenInfo,
    transaction_execution_result::ExecutedTransaction,
    transaction_processing_result::{ProcessedTransaction, TransactionProcessingResult},
};
use solana_svm_transaction::svm_message::SVMMessage;
use solana_transaction::sanitized::SanitizedTransaction;
use solana_transaction_error::TransactionError;
use std::sync::Arc;
use sundog_types::Pubkey;

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
pub(crate) struct Programs(pub(super) Vec<(Pubkey, Arc<ProgramCacheEntry>)>);

impl Programs {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What executing a transaction came to.
pub(crate) struct Outcome {
    pub(crate) status: Result<(), TransactionError>,
    /// False: it could not be loaded, only the fee is taken.
    pub(crate) executed: bool,
    /// It neither had nor wrote any account that is not the system program's: then `before` says what stood in the place
    /// of each of `writes` before it.
    pub(crate) plain: bool,
    pub(crate) before: Vec<Option<AccountSharedData>>,
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

pub(super) type Collected = (Vec<Vec<u64>>, Vec<Vec<u64>>, Vec<Vec<SvmTokenInfo>>, Vec<Vec<SvmTokenInfo>>);

pub(super) fn balances(collected: Option<Collected>) -> impl Iterator<Item = Balances> {
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

pub(super) fn outcome(
    result: TransactionProcessingResult,
    tx: &SanitizedTransaction,
    balances: Balances,
) -> Result<Outcome, TransactionError> {
    let processed = result?;
    let fees = processed.fee_details();
    let mut outcome = Outcome {
        status: processed.status(),
        executed: false,
        plain: false,
        before: Vec::new(),
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
