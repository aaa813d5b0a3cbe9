//! About epochs: where the chain is in one, who leads, and who led.

use super::{to_json, with_context};
use crate::{
    chain::Chain,
    commitment::Commitment,
    error::RpcError,
    params::{Params, bank_of, parse_address},
};
use serde_json::{Value, json};
use solana_rpc_client_types::config::{RpcBlockProductionConfig, RpcContextConfig, RpcLeaderScheduleConfig};
use std::collections::BTreeMap;
use sundog_types::{Epoch, Slot, schedule::LeaderSchedule};

/// For how many slots leaders may be asked at once.
const SLOT_LEADERS_MAX: usize = 5_000;
/// Over how many slots block production may be asked: more than an epoch of the public clusters.
const PRODUCTION_SLOTS_MAX: u64 = 500_000;

/// `getEpochInfo`
pub(super) fn get_epoch_info(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let config: RpcContextConfig = params.config(0)?;
    let bank = bank_of(chain, config.commitment, config.min_context_slot)?;
    let slot = bank.slot().get();
    let leaders = chain.leaders();
    let schedule = leaders.epoch_schedule();
    let (epoch, slot_index) = schedule.get_epoch_and_slot_index(slot);
    Ok(json!({
        "epoch": epoch,
        "slotIndex": slot_index,
        "slotsInEpoch": schedule.get_slots_in_epoch(epoch),
        "absoluteSlot": slot,
        "blockHeight": bank.block_height(),
        "transactionCount": bank.transaction_count(),
    }))
}

/// `getEpochSchedule`
pub(super) fn get_epoch_schedule(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    let leaders = chain.leaders();
    let schedule = leaders.epoch_schedule();
    Ok(json!({
        "slotsPerEpoch": schedule.slots_per_epoch,
        "leaderScheduleSlotOffset": schedule.leader_schedule_slot_offset,
        "warmup": schedule.warmup,
        "firstNormalEpoch": schedule.first_normal_epoch,
        "firstNormalSlot": schedule.first_normal_slot,
    }))
}

/// `getSlotLeader`
pub(super) fn get_slot_leader(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let config: RpcContextConfig = params.config(0)?;
    let slot = bank_of(chain, config.commitment, config.min_context_slot)?.slot();
    let leader = chain.leaders().leader(slot);
    let leader =
        leader.ok_or_else(|| RpcError::internal(format!("Internal error: no leader known for slot {slot}")))?;
    Ok(json!(leader.to_string()))
}

/// `getSlotLeaders`
pub(super) fn get_slot_leaders(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(2, 2)?;
    let (start, limit) = (params.take::<u64>(0)?, params.take::<u64>(1)?);
    if limit > SLOT_LEADERS_MAX as u64 {
        return Err(RpcError::invalid_params(format!("Invalid limit; max {SLOT_LEADERS_MAX}")));
    }
    let leaders = chain.leaders();
    let slots = (start..start.saturating_add(limit)).map(Slot::new);
    let named = slots.map(|slot| {
        let leader = leaders.leader(slot).ok_or_else(|| {
            let epoch = leaders.epoch(slot);
            RpcError::invalid_params(format!("Invalid slot range: leader schedule for epoch {epoch} is unavailable"))
        })?;
        Ok(leader.to_string())
    });
    to_json(named.collect::<Result<Vec<_>, RpcError>>()?)
}

/// `getLeaderSchedule`
pub(super) fn get_leader_schedule(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 2)?;
    let (slot, config) = if params.is_object(0) {
        (None, params.config::<RpcLeaderScheduleConfig>(0)?)
    } else {
        (params.take::<Option<u64>>(0)?, params.config::<RpcLeaderScheduleConfig>(1)?)
    };
    let only = config.identity.as_deref().map(parse_address).transpose()?;
    let slot = slot.map_or_else(|| chain.bank(Commitment::of(config.commitment)).slot(), Slot::new);
    let leaders = chain.leaders();
    let Some(schedule) = leaders.schedule(leaders.epoch(slot)) else {
        return Ok(Value::Null);
    };
    let mut by_identity = BTreeMap::<String, Vec<u64>>::new();
    for (index, leader) in (0u64..).zip(schedule.iter()) {
        if only.is_none_or(|only| only == leader) {
            by_identity.entry(leader.to_string()).or_default().push(index);
        }
    }
    to_json(by_identity)
}

/// `getBlockProduction`
pub(super) fn get_block_production(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 1)?;
    let config: RpcBlockProductionConfig = params.config(0)?;
    let only = config.identity.as_deref().map(parse_address).transpose()?;
    let commitment = Commitment::of(config.commitment);
    let tip = chain.bank(commitment).slot().get();
    let leaders = chain.leaders();
    let schedule = leaders.epoch_schedule();
    let (first, last) = match config.range {
        Some(range) => (range.first_slot, range.last_slot.unwrap_or(tip)),
        None => (schedule.get_first_slot_in_epoch(schedule.get_epoch(tip)), tip),
    };
    if last > tip {
        return Err(RpcError::invalid_params(format!("lastSlot, {last}, is too large; max {tip}")));
    }
    if first > last {
        return Err(RpcError::invalid_params(format!("lastSlot, {last}, cannot be less than firstSlot, {first}")));
    }
    if last - first >= PRODUCTION_SLOTS_MAX {
        return Err(RpcError::invalid_params(format!("Slot range too large; max {PRODUCTION_SLOTS_MAX}")));
    }
    let mut by_identity = BTreeMap::<String, (u64, u64)>::new();
    let made = chain.history().slots(first..=last, commitment, PRODUCTION_SLOTS_MAX as usize);
    let mut epoch: Option<(Epoch, &LeaderSchedule)> = None;
    for slot in first..=last {
        let (number, index) = schedule.get_epoch_and_slot_index(slot);
        if epoch.is_none_or(|(known, _)| known.get() != number) {
            epoch = leaders.schedule(Epoch::new(number)).map(|s| (Epoch::new(number), s.as_ref()));
        }
        let leader = epoch.and_then(|(_, schedule)| schedule.get(index));
        if let Some(leader) = leader.filter(|leader| only.is_none_or(|only| only == *leader)) {
            let counts = by_identity.entry(leader.to_string()).or_default();
            counts.0 += 1;
            counts.1 += u64::from(made.binary_search(&Slot::new(slot)).is_ok());
        }
    }
    let value = json!({ "byIdentity": by_identity, "range": { "firstSlot": first, "lastSlot": last } });
    with_context(chain, tip, value)
}
