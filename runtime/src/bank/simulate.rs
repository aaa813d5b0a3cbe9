//! Trying a transaction out.

use super::{Bank, Committed, execute::Way};
use solana_account::AccountSharedData;
use solana_message::VersionedMessage;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;
use sundog_types::{Hash, Pubkey};

use crate::{
    svm::{self, Quote},
    transaction::{self, Tx},
};

/// What a transaction would do if it landed now.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// What it did; `Err` if it could not be part of a block.
    pub outcome: Result<Committed, TransactionError>,
    /// The transaction's accounts afterwards, if it succeeded.
    pub accounts: Vec<(Pubkey, AccountSharedData)>,
}

impl Bank {
    /// Executes a transaction and forgets it. Its signatures are not checked. `blockhash`: use this one
    /// in place of its own.
    #[must_use]
    pub fn simulate(&self, mut transaction: VersionedTransaction, blockhash: Option<Hash>) -> Simulation {
        if let Some(blockhash) = blockhash {
            transaction.message.set_recent_blockhash(blockhash);
        }
        let mut executed = self.execute_with(vec![transaction], Way { after: true, plain: true });
        let item = executed.items.remove(0);
        let signature = item.transaction.signatures.first().copied().unwrap_or_default();
        let outcome = match item.result {
            Ok(outcome) => outcome,
            Err(error) => {
                return Simulation { outcome: Err(error), accounts: Vec::new() };
            }
        };
        let committed = Committed {
            index: 0,
            signature,
            transaction: item.transaction,
            status: outcome.status,
            fee: outcome.base_fee + outcome.priority_fee,
            units: outcome.units,
            loaded_bytes: outcome.loaded_bytes,
            logs: outcome.logs,
            inner: outcome.inner,
            return_data: outcome.return_data,
            loaded_addresses: item.loaded,
            balances: outcome.balances,
        };
        Simulation { outcome: Ok(committed), accounts: outcome.after }
    }

    /// What a message would pay, in lamports; `None` if its blockhash is neither recent nor a usable
    /// nonce, or if it is malformed.
    #[must_use]
    pub fn fee_for_message(&self, message: &VersionedMessage) -> Option<u64> {
        let tx = self.around(message).ok()?;
        let quote = svm::quote(&tx, &self.features).ok()?;
        match self.price(&tx)? {
            0 => Some(0),
            _ => Some(quote.base_fee + quote.priority_fee),
        }
    }

    /// What a message asks for and pays, if its blockhash is not a free one.
    ///
    /// # Errors
    /// If it is malformed, or its compute budget instructions are.
    pub fn quote(&self, message: &VersionedMessage) -> Result<Quote, TransactionError> {
        svm::quote(&self.around(message)?, &self.features)
    }

    fn around(&self, message: &VersionedMessage) -> Result<Tx, TransactionError> {
        self.prepare(transaction::unsigned(message.clone()))
    }
}
