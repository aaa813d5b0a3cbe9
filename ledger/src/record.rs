//! Executed transactions with what became of them: all that `getTransaction` and `getBlock` tell.

use serde::{Deserialize, Serialize};
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;
use sundog_types::{Pubkey, Signature};

/// An instruction that a program called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InnerInstruction {
    /// Which of the transaction's account keys is the program called.
    pub program_id_index: u8,
    /// Which of the transaction's account keys it was given.
    pub accounts: Vec<u8>,
    /// Its data.
    pub data: Vec<u8>,
    /// How deep the call was; 1 is an instruction of the transaction itself.
    pub stack_height: Option<u32>,
}

/// Everything that one instruction of the transaction called, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InnerInstructions {
    /// Which instruction of the transaction.
    pub index: u8,
    /// What it called.
    pub instructions: Vec<InnerInstruction>,
}

/// A token account's amount before or after a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBalance {
    /// Which of the transaction's account keys is the token account.
    pub account_index: u8,
    /// The kind of token.
    pub mint: Pubkey,
    /// Who owns the tokens.
    pub owner: Pubkey,
    /// The token program that owns the account.
    pub program_id: Pubkey,
    /// How many of the smallest unit.
    pub amount: u64,
    /// How many decimals the mint shows.
    pub decimals: u8,
}

/// Addresses that a transaction took from lookup tables; they follow its own keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedAddresses {
    /// Those it may write.
    pub writable: Vec<Pubkey>,
    /// Those it only reads.
    pub readonly: Vec<Pubkey>,
}

/// What became of an executed transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusMeta {
    /// Whether it succeeded.
    pub status: Result<(), TransactionError>,
    /// The fee it paid, in lamports.
    pub fee: u64,
    /// Lamports of every account before it, in the order of the account keys.
    pub pre_balances: Vec<u64>,
    /// Lamports of every account after it, in the order of the account keys.
    pub post_balances: Vec<u64>,
    /// What its instructions called; `None` if that was not recorded.
    pub inner_instructions: Option<Vec<InnerInstructions>>,
    /// What its programs logged; `None` if that was not recorded.
    pub logs: Option<Vec<String>>,
    /// Token amounts before it.
    pub pre_token_balances: Vec<TokenBalance>,
    /// Token amounts after it.
    pub post_token_balances: Vec<TokenBalance>,
    /// Addresses it loaded from lookup tables.
    pub loaded_addresses: LoadedAddresses,
    /// The last data a program returned, and which program.
    pub return_data: Option<(Pubkey, Vec<u8>)>,
    /// Compute units it used.
    pub compute_units: Option<u64>,
    /// What it counted against the block's limits (reference 9.6).
    pub cost_units: Option<u64>,
}

impl Default for StatusMeta {
    fn default() -> Self {
        Self {
            status: Ok(()),
            fee: 0,
            pre_balances: Vec::new(),
            post_balances: Vec::new(),
            inner_instructions: None,
            logs: None,
            pre_token_balances: Vec::new(),
            post_token_balances: Vec::new(),
            loaded_addresses: LoadedAddresses::default(),
            return_data: None,
            compute_units: None,
            cost_units: None,
        }
    }
}

/// An executed transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransactionRecord {
    /// The transaction as it was signed.
    pub transaction: VersionedTransaction,
    /// What became of it.
    pub meta: StatusMeta,
}

/// The memo programs, in both of their versions that wallets show.
const MEMO_PROGRAMS: [Pubkey; 2] = [
    Pubkey::from_str_const("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo"),
    Pubkey::from_str_const("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"),
];

impl TransactionRecord {
    /// The signature that names the transaction: its first.
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.transaction.signatures.first().copied().unwrap_or_default()
    }

    /// Every address that it names or loaded.
    pub fn addresses(&self) -> impl Iterator<Item = &Pubkey> {
        let loaded = &self.meta.loaded_addresses;
        self.transaction.message.static_account_keys().iter().chain(&loaded.writable).chain(&loaded.readonly)
    }

    /// What its memo instructions say: each as its length in brackets and the text, joined by semicolons.
    #[must_use]
    pub fn memo(&self) -> Option<String> {
        let keys = self.transaction.message.static_account_keys();
        let memos = self.transaction.message.instructions().iter().filter_map(|instruction| {
            let program = keys.get(usize::from(instruction.program_id_index))?;
            MEMO_PROGRAMS.contains(program).then(|| {
                let text = std::str::from_utf8(&instruction.data).unwrap_or("(unparseable)");
                format!("[{}] {text}", instruction.data.len())
            })
        });
        let memos: Vec<String> = memos.collect();
        (!memos.is_empty()).then(|| memos.join("; "))
    }
}
