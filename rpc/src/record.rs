//! What became of transactions and blocks, as the chain remembers it.

use solana_message::v0::LoadedAddresses;
use solana_rpc_client_types::response::RewardType;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_error::TransactionError;
use sundog_types::{Hash, Pubkey, Signature, Slot};

/// An instruction that a program called.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerInstructions {
    /// Which instruction of the transaction.
    pub index: u8,
    /// What it called.
    pub instructions: Vec<InnerInstruction>,
}

/// A token account's amount before or after a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// What the leader or a voter got for a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reward {
    /// Who got it.
    pub pubkey: Pubkey,
    /// How much, in lamports; negative for rent.
    pub lamports: i64,
    /// The account's balance afterwards, in lamports.
    pub post_balance: u64,
    /// What it was for.
    pub kind: Option<RewardType>,
    /// The vote account's commission in percent, for staking and voting rewards.
    pub commission: Option<u8>,
}

/// What became of an executed transaction.
#[derive(Clone, Debug, PartialEq)]
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

/// A transaction in a block.
#[derive(Clone, Debug, PartialEq)]
pub struct TransactionRecord {
    /// The block's slot.
    pub slot: Slot,
    /// The block's time in seconds since the Unix epoch, if known.
    pub block_time: Option<i64>,
    /// Its place in the block.
    pub index: Option<u32>,
    /// The transaction as it was signed.
    pub transaction: VersionedTransaction,
    /// What became of it; `None` if that was not recorded.
    pub meta: Option<StatusMeta>,
}

/// A block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockRecord {
    /// Its slot.
    pub slot: Slot,
    /// The slot of the block before it.
    pub parent: Slot,
    /// The last hash of its chain of hashes.
    pub blockhash: Hash,
    /// The parent's blockhash.
    pub previous_blockhash: Hash,
    /// How many blocks are before it on its fork.
    pub height: Option<u64>,
    /// Its time in seconds since the Unix epoch.
    pub time: Option<i64>,
    /// Its transactions in order.
    pub transactions: Vec<TransactionRecord>,
    /// What was paid out with it.
    pub rewards: Vec<Reward>,
}

/// A line of an address's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRecord {
    /// Which transaction.
    pub signature: Signature,
    /// The slot of its block.
    pub slot: Slot,
    /// Its place in the block.
    pub index: Option<u32>,
    /// Why it failed, if it failed.
    pub err: Option<TransactionError>,
    /// What its memo instructions said.
    pub memo: Option<String>,
    /// Its block's time in seconds since the Unix epoch.
    pub block_time: Option<i64>,
}
