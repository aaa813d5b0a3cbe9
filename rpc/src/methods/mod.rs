//! The methods, by what they ask about.

mod accounts;
pub(crate) use accounts::{check_filters, passes};
mod bank;
mod blocks;
mod cluster;
mod epoch;
mod send;
mod tokens;
mod transactions;
mod votes;

use crate::{chain::Chain, error::RpcError, params::Params};
use serde_json::{Value, json};

/// How a method is run.
pub(crate) type Run = fn(&dyn Chain, Params) -> Result<Value, RpcError>;

/// Every method by name, in the order of the names.
pub(crate) const METHODS: &[(&str, Run)] = &[
    ("getAccountInfo", accounts::get_account_info),
    ("getBalance", accounts::get_balance),
    ("getBlock", blocks::get_block),
    ("getBlockCommitment", bank::get_block_commitment),
    ("getBlockHeight", bank::get_block_height),
    ("getBlockProduction", epoch::get_block_production),
    ("getBlockTime", blocks::get_block_time),
    ("getBlocks", blocks::get_blocks),
    ("getBlocksWithLimit", blocks::get_blocks_with_limit),
    ("getClusterNodes", cluster::get_cluster_nodes),
    ("getEpochInfo", epoch::get_epoch_info),
    ("getEpochSchedule", epoch::get_epoch_schedule),
    ("getFeeForMessage", bank::get_fee_for_message),
    ("getFirstAvailableBlock", blocks::get_first_available_block),
    ("getGenesisHash", cluster::get_genesis_hash),
    ("getHealth", cluster::get_health),
    ("getHighestSnapshotSlot", blocks::get_highest_snapshot_slot),
    ("getIdentity", cluster::get_identity),
    ("getInflationGovernor", bank::get_inflation_governor),
    ("getInflationRate", bank::get_inflation_rate),
    ("getInflationReward", bank::get_inflation_reward),
    ("getLatestBlockhash", bank::get_latest_blockhash),
    ("getLeaderSchedule", epoch::get_leader_schedule),
    ("getMaxRetransmitSlot", cluster::get_max_retransmit_slot),
    ("getMaxShredInsertSlot", cluster::get_max_shred_insert_slot),
    ("getMinimumBalanceForRentExemption", bank::get_minimum_balance),
    ("getMultipleAccounts", accounts::get_multiple_accounts),
    ("getProgramAccounts", accounts::get_program_accounts),
    ("getRecentPerformanceSamples", cluster::get_recent_performance_samples),
    ("getRecentPrioritizationFees", cluster::get_recent_prioritization_fees),
    ("getSignatureStatuses", transactions::get_signature_statuses),
    ("getSignaturesForAddress", transactions::get_signatures_for_address),
    ("getSlot", bank::get_slot),
    ("getSlotLeader", epoch::get_slot_leader),
    ("getSlotLeaders", epoch::get_slot_leaders),
    ("getStakeMinimumDelegation", bank::get_stake_minimum_delegation),
    ("getSupply", bank::get_supply),
    ("getTokenAccountBalance", tokens::get_token_account_balance),
    ("getTokenAccountsByDelegate", tokens::get_token_accounts_by_delegate),
    ("getTokenAccountsByOwner", tokens::get_token_accounts_by_owner),
    ("getTokenLargestAccounts", tokens::get_token_largest_accounts),
    ("getTokenSupply", tokens::get_token_supply),
    ("getTransaction", transactions::get_transaction),
    ("getTransactionCount", bank::get_transaction_count),
    ("getVersion", cluster::get_version),
    ("getVoteAccounts", cluster::get_vote_accounts),
    ("isBlockhashValid", bank::is_blockhash_valid),
    ("minimumLedgerSlot", blocks::minimum_ledger_slot),
    ("requestAirdrop", send::request_airdrop),
    ("sendTransaction", send::send_transaction),
    ("simulateTransaction", send::simulate_transaction),
    ("sundog_getForks", votes::get_forks),
    ("sundog_getTower", votes::get_tower),
];

/// Where a method stands in [`METHODS`].
pub(crate) fn find(name: &str) -> Option<usize> {
    METHODS.binary_search_by(|(known, _)| (*known).cmp(name)).ok()
}

/// A value with the slot of the bank it was read from.
fn with_context(chain: &dyn Chain, slot: u64, value: impl serde::Serialize) -> Result<Value, RpcError> {
    let value = to_json(value)?;
    Ok(json!({ "context": { "slot": slot, "apiVersion": chain.node().version }, "value": value }))
}

/// A value as JSON.
fn to_json(value: impl serde::Serialize) -> Result<Value, RpcError> {
    serde_json::to_value(value).map_err(|e| RpcError::internal(format!("Internal error: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_are_in_order_so_that_they_can_be_found() {
        assert!(METHODS.is_sorted_by_key(|(name, _)| *name));
        assert_eq!(find("getSlot").map(|i| METHODS[i].0), Some("getSlot"));
        assert_eq!(find("getSlots"), None);
    }
}
