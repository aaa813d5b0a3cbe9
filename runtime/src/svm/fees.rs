//! What a transaction may use and what it pays, and the checks before it is executed.

use super::Features;
use crate::transaction::Tx;
use solana_compute_budget::compute_budget_limits::ComputeBudgetLimits;
use solana_compute_budget_instruction::instructions_processor::process_compute_budget_instructions;
use solana_fee::{FeeFeatures, calculate_fee_details};
use solana_fee_structure::FeeDetails;
use solana_svm::account_loader::CheckedTransactionDetails;
use solana_svm_transaction::svm_message::{SVMMessage, SVMStaticMessage};
use solana_transaction_error::TransactionError;
use sundog_types::Pubkey;

/// What a signature costs, in lamports.
pub const LAMPORTS_PER_SIGNATURE: u64 = 5_000;

/// A transaction that passed the checks before execution.
#[derive(Clone)]
pub(crate) struct Checked(CheckedTransactionDetails);

impl Checked {
    pub(super) fn into_details(self) -> CheckedTransactionDetails {
        self.0
    }
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
