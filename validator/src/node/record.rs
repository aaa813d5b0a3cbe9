//! An executed transaction as the ledger keeps it, and as subscribers are told of it.

use solana_message::inner_instruction::InnerInstruction as Called;
use sundog_ledger::{
    InnerInstruction, InnerInstructions, LoadedAddresses, StatusMeta, TokenBalance, TransactionRecord,
};
use sundog_rpc::subscriptions::ExecutedTransaction;
use sundog_runtime::Committed;
use sundog_types::vote;

/// What became of a transaction.
#[must_use]
pub fn status_meta(committed: &Committed) -> StatusMeta {
    let inner = (0_u8..).zip(&committed.inner).filter(|(_, calls)| !calls.is_empty());
    StatusMeta {
        status: committed.status.clone(),
        fee: committed.fee,
        pre_balances: committed.balances.before.clone(),
        post_balances: committed.balances.after.clone(),
        inner_instructions: Some(inner.map(|(index, calls)| inner_instructions(index, calls)).collect()),
        logs: Some(committed.logs.clone()),
        pre_token_balances: committed.balances.tokens_before.iter().map(token_balance).collect(),
        post_token_balances: committed.balances.tokens_after.iter().map(token_balance).collect(),
        loaded_addresses: LoadedAddresses {
            writable: committed.loaded_addresses.writable.clone(),
            readonly: committed.loaded_addresses.readonly.clone(),
        },
        return_data: committed.return_data.clone(),
        compute_units: Some(committed.units),
        cost_units: None,
    }
}

fn inner_instructions(index: u8, calls: &[Called]) -> InnerInstructions {
    let instruction = |call: &Called| InnerInstruction {
        program_id_index: call.instruction.program_id_index,
        accounts: call.instruction.accounts.clone(),
        data: call.instruction.data.clone(),
        stack_height: Some(u32::from(call.stack_height)),
    };
    InnerInstructions { index, instructions: calls.iter().map(instruction).collect() }
}

fn token_balance(balance: &sundog_runtime::TokenBalance) -> TokenBalance {
    TokenBalance {
        account_index: balance.account_index,
        mint: balance.mint,
        owner: balance.owner,
        program_id: balance.program,
        amount: balance.amount,
        decimals: balance.decimals,
    }
}

/// What the ledger keeps of it.
#[must_use]
pub fn record(committed: Committed) -> TransactionRecord {
    let meta = status_meta(&committed);
    TransactionRecord { transaction: committed.transaction, meta }
}

/// What subscribers are told of it.
#[must_use]
pub fn told(committed: &Committed) -> ExecutedTransaction {
    let loaded = &committed.loaded_addresses;
    let accounts = committed.transaction.message.static_account_keys().iter();
    ExecutedTransaction {
        signature: committed.signature,
        status: committed.status.clone(),
        logs: committed.logs.clone(),
        accounts: accounts.chain(&loaded.writable).chain(&loaded.readonly).copied().collect(),
        vote: vote::is_simple_vote(&committed.transaction),
    }
}
