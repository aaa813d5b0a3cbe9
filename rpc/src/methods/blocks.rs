//! About blocks.

use super::to_json;
use crate::{
    chain::Chain,
    commitment::Commitment,
    encoding::transactions::{Shape, encode_block_transactions, encode_rewards},
    error::{self, RpcError},
    params::{Params, at_least_confirmed, bank_at},
};
use serde_json::{Value, json};
use solana_rpc_client_types::config::{
    RpcBlockConfig, RpcContextConfig, RpcEncodingConfigWrapper, TransactionDetails, UiTransactionEncoding,
};
use solana_transaction_status_client_types::UiConfirmedBlock;
use sundog_ledger::Block;
use sundog_types::Slot;

/// Over how many slots blocks may be listed at once.
pub(super) const BLOCKS_RANGE_MAX: u64 = 500_000;

/// `getBlock`
pub(super) fn get_block(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let slot = Slot::new(params.take(0)?);
    let wrapper = params.take::<Option<RpcEncodingConfigWrapper<RpcBlockConfig>>>(1)?;
    let config = wrapper.map(|wrapper| wrapper.convert_to_current()).unwrap_or_default();
    let commitment = at_least_confirmed(config.commitment)?;
    let block = block_at(chain, slot, commitment)?;
    let shape = Shape {
        encoding: config.encoding.unwrap_or(UiTransactionEncoding::Json),
        max_version: config.max_supported_transaction_version,
        rewards: config.rewards.unwrap_or(true),
    };
    let details = config.transaction_details.unwrap_or_default();
    let (transactions, signatures) = match details {
        TransactionDetails::None => (None, None),
        TransactionDetails::Signatures => {
            let signatures = block.transactions.iter().filter_map(|t| t.transaction.signatures.first());
            (None, Some(signatures.map(ToString::to_string).collect()))
        }
        TransactionDetails::Full | TransactionDetails::Accounts => {
            (Some(encode_block_transactions(&block, &shape, details)?), None)
        }
    };
    to_json(UiConfirmedBlock {
        previous_blockhash: block.meta.previous_blockhash.to_string(),
        blockhash: block.meta.blockhash.to_string(),
        parent_slot: block.meta.parent.get(),
        transactions,
        signatures,
        rewards: shape.rewards.then(|| encode_rewards(&block.meta.rewards)),
        num_reward_partitions: None,
        block_time: Some(block.meta.block_time),
        block_height: Some(block.meta.block_height),
    })
}

/// The block of a slot if it is sure enough, or why there is none.
fn block_at(chain: &dyn Chain, slot: Slot, commitment: Commitment) -> Result<Block, RpcError> {
    let history = chain.history();
    if history.standing(slot).is_some_and(|standing| standing >= commitment)
        && let Some(block) = history.block(slot)
    {
        return Ok(block);
    }
    Err(missing(chain, slot))
}

/// Why there is no block in a slot.
fn missing(chain: &dyn Chain, slot: Slot) -> RpcError {
    let first = chain.history().first_available();
    if slot < first {
        let message = format!("Block {slot} cleaned up, does not exist on node. First available block: {first}");
        return RpcError::new(error::BLOCK_CLEANED_UP, message);
    }
    if slot < chain.bank(Commitment::Finalized).slot() {
        let message = format!("Slot {slot} was skipped, or missing due to ledger jump to recent snapshot");
        return RpcError::new(error::SLOT_SKIPPED, message);
    }
    RpcError::new(error::BLOCK_NOT_AVAILABLE, format!("Block not available for slot {slot}"))
}

/// `getBlockTime`
pub(super) fn get_block_time(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 1)?;
    let slot = Slot::new(params.take(0)?);
    let history = chain.history();
    let sure = slot == Slot::ZERO || history.standing(slot).is_some_and(|standing| standing >= Commitment::Confirmed);
    match history.block_time(slot).filter(|_| sure) {
        Some(time) => Ok(json!(time)),
        None => Err(missing(chain, slot)),
    }
}

/// `getBlocks`
pub(super) fn get_blocks(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 3)?;
    let first: u64 = params.take(0)?;
    let (last, config) = if params.is_object(1) {
        (None, params.config::<RpcContextConfig>(1)?)
    } else {
        (params.take::<Option<u64>>(1)?, params.config::<RpcContextConfig>(2)?)
    };
    let commitment = at_least_confirmed(config.commitment)?;
    let tip = bank_at(chain, commitment, config.min_context_slot)?.slot().get();
    let last = last.unwrap_or_else(|| first.saturating_add(BLOCKS_RANGE_MAX)).min(tip);
    if last < first {
        return Ok(json!([]));
    }
    if last - first > BLOCKS_RANGE_MAX {
        return Err(RpcError::invalid_params(format!("Slot range too large; max {BLOCKS_RANGE_MAX}")));
    }
    listed(chain, first, last, (commitment, BLOCKS_RANGE_MAX as usize + 1))
}

/// `getBlocksWithLimit`
pub(super) fn get_blocks_with_limit(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(2, 3)?;
    let (first, limit) = (params.take::<u64>(0)?, params.take::<u64>(1)?);
    let config: RpcContextConfig = params.config(2)?;
    let commitment = at_least_confirmed(config.commitment)?;
    let tip = bank_at(chain, commitment, config.min_context_slot)?.slot().get();
    if limit > BLOCKS_RANGE_MAX {
        return Err(RpcError::invalid_params(format!("Limit too large; max {BLOCKS_RANGE_MAX}")));
    }
    if tip < first || limit == 0 {
        return Ok(json!([]));
    }
    listed(chain, first, tip, (commitment, limit as usize))
}

fn listed(
    chain: &dyn Chain,
    first: u64,
    last: u64,
    (commitment, limit): (Commitment, usize),
) -> Result<Value, RpcError> {
    let mut slots = chain.history().slots(first..=last, commitment, limit);
    slots.truncate(limit);
    Ok(slots.into_iter().map(|slot| json!(slot.get())).collect())
}

/// `getFirstAvailableBlock`
pub(super) fn get_first_available_block(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    Ok(json!(chain.history().first_available().get()))
}

/// `minimumLedgerSlot`
pub(super) fn minimum_ledger_slot(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    Ok(json!(chain.history().first_available().get()))
}

/// `getHighestSnapshotSlot`. Snapshot archives are not served.
pub(super) fn get_highest_snapshot_slot(_: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    Err(RpcError::new(error::NO_SNAPSHOT, "No snapshot"))
}
