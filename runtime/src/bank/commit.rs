//! Making executed transactions part of the bank.

use super::{Bank, Before, Executed, execute::Item};
use crate::svm::{Balances, Outcome};
use solana_message::{inner_instruction::InnerInstruction, v0::LoadedAddresses};
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;
use sundog_types::{Pubkey, Signature};

/// What a committed transaction did: everything a history wants to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Its place in the batch that was executed.
    pub index: usize,
    /// Its first signature.
    pub signature: Signature,
    /// The transaction.
    pub transaction: VersionedTransaction,
    /// Whether it succeeded; if not, only its fee was taken.
    pub status: Result<(), TransactionError>,
    /// Base and priority fee, in lamports.
    pub fee: u64,
    /// Compute units used.
    pub units: u64,
    /// Bytes of accounts loaded.
    pub loaded_bytes: u32,
    /// What its programs said.
    pub logs: Vec<String>,
    /// Instructions that its instructions called; one list for each.
    pub inner: Vec<Vec<InnerInstruction>>,
    /// The program that returned data last, and the data.
    pub return_data: Option<(Pubkey, Vec<u8>)>,
    /// Addresses from lookup tables.
    pub loaded_addresses: LoadedAddresses,
    /// Lamports and tokens before and after.
    pub balances: Balances,
}

impl Bank {
    /// Makes executed transactions part of this bank; those that were rejected are left out.
    ///
    /// # Panics
    /// If they were executed on another state than the bank's present one.
    pub fn commit(&mut self, executed: Executed) -> Vec<Committed> {
        assert_eq!(
            (executed.slot, executed.generation, self.is_frozen()),
            (self.place.slot, self.generation, false),
            "committed (slot, batch, frozen) on another state than it was executed on",
        );
        self.generation += 1;
        let items = executed.items.into_iter().enumerate();
        items.filter_map(|(index, item)| self.commit_one(index, item)).collect()
    }

    fn commit_one(&mut self, index: usize, item: Item) -> Option<Committed> {
        let Item { transaction, message_hash, loaded, result } = item;
        let outcome = result.ok()?;
        let signature = transaction.signatures[0];
        self.place.transaction_count += 1;
        self.place.signature_count += transaction.signatures.len() as u64;
        self.fees.base += outcome.base_fee;
        self.fees.priority += outcome.priority_fee;
        self.own_statuses.insert(message_hash, signature, outcome.status.clone());
        let Outcome {
            status,
            plain,
            before,
            base_fee,
            priority_fee,
            units,
            loaded_bytes,
            logs,
            inner,
            return_data,
            writes,
            balances,
            programs,
            ..
        } = outcome;
        if plain {
            for ((key, account), before) in writes.into_iter().zip(before) {
                self.put(key, account, Before::Known(before));
            }
        } else {
            writes.into_iter().for_each(|(key, account)| self.store(key, account));
        }
        self.svm.learn(&programs, &self.features);
        Some(Committed {
            index,
            signature,
            transaction,
            status,
            fee: base_fee + priority_fee,
            units,
            loaded_bytes,
            logs,
            inner,
            return_data,
            loaded_addresses: loaded,
            balances,
        })
    }
}
