//! About a bank as a whole: heights, blockhashes, fees, supply.

use super::{to_json, with_context};
use crate::{
    chain::Chain,
    commitment::Commitment,
    encoding::wire::decode_message,
    error::RpcError,
    params::{Params, bank_of, parse_addresses, parse_hash},
};
use serde_json::{Value, json};
use solana_rpc_client_types::{
    config::{CommitmentConfig, RpcContextConfig, RpcEpochConfig, RpcSupplyConfig},
    response::{RpcBlockCommitment, RpcBlockhash, RpcInflationGovernor, RpcInflationRate, RpcSupply},
};

/// The longest account data there can be, in bytes.
const ACCOUNT_BYTES_MAX: usize = 10 * 1024 * 1024;
/// For how many addresses rewards may be asked at once.
const REWARD_ADDRESSES_MAX: usize = 1_024;

/// `getSlot`
pub(super) fn get_slot(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let config: RpcContextConfig = params.config(0)?;
    Ok(json!(bank_of(chain, config.commitment, config.min_context_slot)?.slot().get()))
}

/// `getBlockHeight`
pub(super) fn get_block_height(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let config: RpcContextConfig = params.config(0)?;
    Ok(json!(bank_of(chain, config.commitment, config.min_context_slot)?.block_height()))
}

/// `getTransactionCount`
pub(super) fn get_transaction_count(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let config: RpcContextConfig = params.config(0)?;
    Ok(json!(bank_of(chain, config.commitment, config.min_context_slot)?.transaction_count()))
}

/// `getLatestBlockhash`
pub(super) fn get_latest_blockhash(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let config: RpcContextConfig = params.config(0)?;
    let bank = bank_of(chain, config.commitment, config.min_context_slot)?;
    let latest = bank.latest_blockhash();
    let value =
        RpcBlockhash { blockhash: latest.hash.to_string(), last_valid_block_height: latest.last_valid_block_height };
    with_context(chain, bank.slot().get(), value)
}

/// `isBlockhashValid`
pub(super) fn is_blockhash_valid(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let blockhash = parse_hash(&params.take::<String>(0)?)?;
    let config: RpcContextConfig = params.config(1)?;
    let bank = bank_of(chain, config.commitment, config.min_context_slot)?;
    with_context(chain, bank.slot().get(), bank.last_valid_block_height(&blockhash).is_some())
}

/// `getFeeForMessage`
pub(super) fn get_fee_for_message(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let message = decode_message(&params.take::<String>(0)?)?;
    let config: RpcContextConfig = params.config(1)?;
    let bank = bank_of(chain, config.commitment, config.min_context_slot)?;
    with_context(chain, bank.slot().get(), bank.fee_for_message(&message))
}

/// `getMinimumBalanceForRentExemption`
pub(super) fn get_minimum_balance(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let data_len: usize = params.take(0)?;
    let config = params.take::<Option<CommitmentConfig>>(1)?;
    if data_len > ACCOUNT_BYTES_MAX {
        return Err(RpcError::invalid_params(format!("Invalid data length {data_len}; max {ACCOUNT_BYTES_MAX}")));
    }
    Ok(json!(chain.bank(Commitment::of(config)).minimum_balance(data_len)))
}

/// `getStakeMinimumDelegation`
pub(super) fn get_stake_minimum_delegation(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let config: RpcContextConfig = params.config(0)?;
    let bank = bank_of(chain, config.commitment, config.min_context_slot)?;
    with_context(chain, bank.slot().get(), bank.stake_minimum_delegation())
}

/// `getSupply`. Nothing is known to be locked away, so everything circulates.
pub(super) fn get_supply(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let config: RpcSupplyConfig = params.config(0)?;
    let bank = chain.bank(Commitment::of(config.commitment));
    let total = bank.capitalization();
    let value = RpcSupply { total, circulating: total, non_circulating: 0, non_circulating_accounts: Vec::new() };
    with_context(chain, bank.slot().get(), value)
}

/// `getInflationGovernor`
pub(super) fn get_inflation_governor(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let config = params.take::<Option<CommitmentConfig>>(0)?;
    let inflation = chain.bank(Commitment::of(config)).inflation();
    to_json(RpcInflationGovernor {
        initial: inflation.initial,
        terminal: inflation.terminal,
        taper: inflation.taper,
        foundation: inflation.foundation,
        foundation_term: inflation.foundation_term,
    })
}

/// `getInflationRate`
pub(super) fn get_inflation_rate(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    let bank = chain.bank(Commitment::default());
    let inflation = bank.inflation();
    let slot = bank.slot();
    let year = if inflation.slots_per_year > 0.0 { slot.get() as f64 / inflation.slots_per_year } else { 0.0 };
    let total = (inflation.initial * (1.0 - inflation.taper).powf(year)).max(inflation.terminal);
    let foundation = if year < inflation.foundation_term { total * inflation.foundation } else { 0.0 };
    to_json(RpcInflationRate {
        total,
        validator: total - foundation,
        foundation,
        epoch: chain.leaders().epoch(slot).get(),
    })
}

/// `getInflationReward`. No rewards are paid out at epoch boundaries, so the answer is `null` for each.
pub(super) fn get_inflation_reward(_: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let texts: Vec<String> = params.take(0)?;
    let addresses = parse_addresses(&texts, REWARD_ADDRESSES_MAX)?;
    params.config::<RpcEpochConfig>(1)?;
    Ok(Value::Array(vec![Value::Null; addresses.len()]))
}

/// `getBlockCommitment`. Which stake voted how often on a block is not kept, so that part is `null`.
pub(super) fn get_block_commitment(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 1)?;
    params.take::<u64>(0)?;
    let voters = chain.bank(Commitment::Processed).vote_accounts();
    let total_stake = voters.iter().map(|vote| vote.stake).fold(0, u64::saturating_add);
    to_json(RpcBlockCommitment::<Vec<u64>> { commitment: None, total_stake })
}
