//! About transactions that have been sent.

use super::{to_json, with_context};
use crate::{
    chain::{AddressWindow, Chain},
    commitment::Commitment,
    encoding::transactions::{Shape, encode_transaction},
    error::RpcError,
    params::{Params, at_least_confirmed, bank_at, parse_signature},
};
use serde_json::{Value, json};
use solana_rpc_client_types::{
    config::{
        RpcEncodingConfigWrapper, RpcSignatureStatusConfig, RpcSignaturesForAddressConfig, RpcTransactionConfig,
        UiTransactionEncoding,
    },
    response::RpcConfirmedTransactionStatusWithSignature,
};
use solana_transaction_status_client_types::EncodedConfirmedTransactionWithStatusMeta;

/// For how many signatures statuses may be asked at once.
const SIGNATURE_STATUSES_MAX: usize = 256;
/// How many lines of an address's history are told at most.
const SIGNATURES_FOR_ADDRESS_MAX: usize = 1_000;

/// `getSignatureStatuses`
pub(super) fn get_signature_statuses(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let texts: Vec<String> = params.take(0)?;
    let config = params.take::<Option<RpcSignatureStatusConfig>>(1)?;
    if texts.len() > SIGNATURE_STATUSES_MAX {
        return Err(RpcError::too_many(SIGNATURE_STATUSES_MAX));
    }
    let search_history = config.is_some_and(|config| config.search_transaction_history);
    let signatures = texts.iter().map(|text| parse_signature(text)).collect::<Result<Vec<_>, _>>()?;
    let statuses = signatures.iter().map(|signature| {
        let Some(found) = chain.signature_status(signature, search_history) else {
            return Value::Null;
        };
        let confirmations = (found.commitment != Commitment::Finalized).then_some(found.confirmations);
        json!({
            "slot": found.slot.get(),
            "confirmations": confirmations,
            "status": found.status,
            "err": found.status.as_ref().err(),
            "confirmationStatus": solana_transaction_status_client_types::TransactionConfirmationStatus::from(found.commitment),
        })
    });
    with_context(chain, chain.bank(Commitment::Processed).slot().get(), statuses.collect::<Vec<_>>())
}

/// `getTransaction`
pub(super) fn get_transaction(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let signature = parse_signature(&params.take::<String>(0)?)?;
    let wrapper = params.take::<Option<RpcEncodingConfigWrapper<RpcTransactionConfig>>>(1)?;
    let config = wrapper.map(|wrapper| wrapper.convert_to_current()).unwrap_or_default();
    let commitment = at_least_confirmed(config.commitment)?;
    let history = chain.history();
    let Some(found) = history.transaction(&signature) else {
        return Ok(Value::Null);
    };
    if history.standing(found.slot).is_none_or(|standing| standing < commitment) {
        return Ok(Value::Null);
    }
    let shape = Shape {
        encoding: config.encoding.unwrap_or(UiTransactionEncoding::Json),
        max_version: config.max_supported_transaction_version,
        rewards: true,
    };
    to_json(EncodedConfirmedTransactionWithStatusMeta {
        slot: found.slot.get(),
        transaction: encode_transaction(&found.record, &shape)?,
        block_time: history.block_time(found.slot),
        transaction_index: None,
    })
}

/// `getSignaturesForAddress`
pub(super) fn get_signatures_for_address(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let address = params.address(0)?;
    let config: RpcSignaturesForAddressConfig = params.config(1)?;
    let limit = config.limit.unwrap_or(SIGNATURES_FOR_ADDRESS_MAX);
    if limit == 0 || limit > SIGNATURES_FOR_ADDRESS_MAX {
        return Err(RpcError::invalid_params(format!("Invalid limit; max {SIGNATURES_FOR_ADDRESS_MAX}")));
    }
    let at_least = at_least_confirmed(config.commitment)?;
    bank_at(chain, at_least, config.min_context_slot)?;
    let window = AddressWindow {
        before: config.before.as_deref().map(parse_signature).transpose()?,
        until: config.until.as_deref().map(parse_signature).transpose()?,
        at_least,
        limit,
    };
    let history = chain.history();
    let lines = history.signatures_of(&address, &window).into_iter().take(limit).map(|line| {
        RpcConfirmedTransactionStatusWithSignature {
            signature: line.signature.to_string(),
            slot: line.slot.get(),
            err: line.err.map(Into::into),
            memo: line.memo,
            block_time: line.block_time,
            confirmation_status: history.standing(line.slot).map(Into::into),
            transaction_index: None,
        }
    });
    to_json(lines.collect::<Vec<_>>())
}
