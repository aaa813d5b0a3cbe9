//! About the node and its peers.

use super::to_json;
use crate::{
    chain::{Chain, Health, VoteAccountFacts},
    commitment::Commitment,
    error::RpcError,
    params::{Params, parse_address, parse_addresses},
};
use serde_json::{Value, json};
use solana_rpc_client_types::{
    config::RpcGetVoteAccountsConfig,
    response::{
        RpcContactInfo, RpcPerfSample, RpcPrioritizationFee, RpcVersionInfo, RpcVoteAccountInfo, RpcVoteAccountStatus,
    },
};
use sundog_types::{Slot, peer::Peer};

/// A vote account that has not voted for this many slots counts as delinquent.
pub const DELINQUENT_SLOT_DISTANCE: u64 = 128;
/// How many epochs of credits are told of a vote account.
const EPOCH_CREDITS_MAX: usize = 5;
/// How many performance samples are told at most.
const PERFORMANCE_SAMPLES_MAX: usize = 720;
/// For how many accounts fees may be asked at once.
const FEE_ACCOUNTS_MAX: usize = 128;

/// `getHealth`
pub(super) fn get_health(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    healthy(chain)?;
    Ok(json!("ok"))
}

/// Refuses if the node does not keep up.
pub(super) fn healthy(chain: &dyn Chain) -> Result<(), RpcError> {
    match chain.health() {
        Health::Ok => Ok(()),
        Health::Behind(slots) => Err(RpcError::unhealthy(Some(slots))),
        Health::Unknown => Err(RpcError::unhealthy(None)),
        Health::Waiting { slot, percent } => Err(RpcError::waiting(slot, percent)),
    }
}

/// `getVersion`
pub(super) fn get_version(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    let node = chain.node();
    to_json(RpcVersionInfo { solana_core: node.version.clone(), feature_set: Some(node.feature_set) })
}

/// `getIdentity`
pub(super) fn get_identity(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    Ok(json!({ "identity": chain.node().identity.to_string() }))
}

/// `getGenesisHash`
pub(super) fn get_genesis_hash(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    Ok(json!(chain.node().genesis_hash.to_string()))
}

/// `getClusterNodes`
pub(super) fn get_cluster_nodes(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    let ours = chain.node().shred_version;
    let peers = chain.peers();
    let nodes = peers.iter().filter(|peer| peer.shred_version == ours).map(contact_info);
    to_json(nodes.collect::<Vec<_>>())
}

fn contact_info(peer: &Peer) -> RpcContactInfo {
    let at = &peer.addresses;
    let [major, minor, patch] = peer.version.number;
    RpcContactInfo {
        pubkey: peer.identity.to_string(),
        gossip: at.gossip,
        tvu: at.tvu,
        tpu: at.tpu,
        tpu_quic: at.tpu_quic,
        tpu_forwards: None,
        tpu_forwards_quic: at.tpu_forwards_quic,
        tpu_vote: at.tpu_vote,
        serve_repair: at.serve_repair,
        rpc: at.rpc,
        pubsub: at.rpc_pubsub,
        version: Some(format!("{major}.{minor}.{patch}")),
        client_id: Some(peer.version.client.to_string()),
        feature_set: Some(peer.version.feature_set),
        shred_version: Some(peer.shred_version),
    }
}

/// `getVoteAccounts`
pub(super) fn get_vote_accounts(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let config: RpcGetVoteAccountsConfig = params.config(0)?;
    let only = config.vote_pubkey.as_deref().map(parse_address).transpose()?;
    let distance = config.delinquent_slot_distance.unwrap_or(DELINQUENT_SLOT_DISTANCE);
    let keep_unstaked = config.keep_unstaked_delinquents.unwrap_or(false);
    let bank = chain.bank(Commitment::of(config.commitment));
    // Below the distance there is no slot that would be too old: any vote at all will do.
    let oldest = bank.slot().get().saturating_sub(distance);
    let wanted = bank.vote_accounts().into_iter().filter(|vote| only.is_none_or(|only| vote.vote_account == only));
    let (current, mut delinquent): (Vec<_>, Vec<_>) =
        wanted.map(|vote| vote_account_info(&vote)).partition(|vote| vote.last_vote > oldest);
    delinquent.retain(|vote| keep_unstaked || vote.activated_stake > 0);
    to_json(RpcVoteAccountStatus { current, delinquent })
}

fn vote_account_info(vote: &VoteAccountFacts) -> RpcVoteAccountInfo {
    let credits = &vote.epoch_credits;
    RpcVoteAccountInfo {
        vote_pubkey: vote.vote_account.to_string(),
        node_pubkey: vote.node.to_string(),
        activated_stake: vote.stake,
        commission: vote.commission,
        inflation_rewards_commission_bps: None,
        epoch_vote_account: vote.in_epoch,
        epoch_credits: credits[credits.len().saturating_sub(EPOCH_CREDITS_MAX)..].to_vec(),
        last_vote: vote.last_vote.map_or(0, Slot::get),
        root_slot: vote.root.map_or(0, Slot::get),
    }
}

/// `getRecentPerformanceSamples`
pub(super) fn get_recent_performance_samples(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let limit = params.take::<Option<usize>>(0)?.unwrap_or(PERFORMANCE_SAMPLES_MAX);
    if limit > PERFORMANCE_SAMPLES_MAX {
        return Err(RpcError::invalid_params(format!("Invalid limit; max {PERFORMANCE_SAMPLES_MAX}")));
    }
    let samples = chain.performance_samples(limit);
    let samples = samples.iter().take(limit).map(|sample| RpcPerfSample {
        slot: sample.slot.get(),
        num_transactions: sample.transactions,
        num_non_vote_transactions: Some(sample.non_vote_transactions),
        num_slots: sample.slots,
        sample_period_secs: sample.seconds,
    });
    to_json(samples.collect::<Vec<_>>())
}

/// `getRecentPrioritizationFees`
pub(super) fn get_recent_prioritization_fees(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let texts: Vec<String> = params.config(0)?;
    let accounts = parse_addresses(&texts, FEE_ACCOUNTS_MAX)?;
    let fees = chain.prioritization_fees(&accounts);
    let fees = fees.iter().map(|(slot, fee)| RpcPrioritizationFee { slot: slot.get(), prioritization_fee: *fee });
    to_json(fees.collect::<Vec<_>>())
}

/// `getMaxRetransmitSlot`
pub(super) fn get_max_retransmit_slot(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    Ok(json!(chain.heights().retransmitted.get()))
}

/// `getMaxShredInsertSlot`
pub(super) fn get_max_shred_insert_slot(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    Ok(json!(chain.heights().stored.get()))
}
