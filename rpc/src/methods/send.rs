//! Sending transactions, and trying them out first.

use super::{cluster::healthy, to_json, with_context};
use crate::{
    chain::{AirdropRefusal, BankView, Chain, Simulation, Submission},
    commitment::Commitment,
    encoding::{
        accounts::encode_account,
        transactions::{encode_inner_instructions, encode_loaded_addresses, encode_return_data, encode_token_balances},
        wire::{DecodedTransaction, decode_transaction},
    },
    error::{self, RpcError},
    params::{Params, bank_at, bank_of, parse_addresses, parse_hash},
};
use serde_json::{Value, json};
use solana_rpc_client_types::{
    config::{
        RpcRequestAirdropConfig, RpcSendTransactionConfig, RpcSimulateTransactionAccountsConfig,
        RpcSimulateTransactionConfig, UiAccountEncoding, UiTransactionEncoding,
    },
    response::{RpcBlockhash, RpcSimulateTransactionResult, UiAccount},
};
use solana_transaction::versioned::VersionedTransaction;

/// `sendTransaction`
pub(super) fn send_transaction(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let text: String = params.take(0)?;
    let config: RpcSendTransactionConfig = params.config(1)?;
    let decoded = decode_transaction(&text, config.encoding.unwrap_or(UiTransactionEncoding::Base58))?;
    let commitment = match config.preflight_commitment {
        _ if config.skip_preflight => Commitment::Processed,
        Some(level) => level.into(),
        None => Commitment::default(),
    };
    let bank = bank_at(chain, commitment, config.min_context_slot)?;
    let signature = sanitize(&decoded.transaction)?;
    if !config.skip_preflight {
        verify_signatures(&decoded.transaction)?;
        healthy(chain)?;
        preflight(&*bank, &decoded)?;
    }
    let submission = Submission {
        last_valid_block_height: bank.last_valid_block_height(decoded.transaction.message.recent_blockhash()),
        bytes: decoded.bytes,
        signature,
        retries_max: config.max_retries,
    };
    chain.submit(submission).map_err(|refusal| RpcError::internal(refusal.to_string()))?;
    Ok(json!(signature.to_string()))
}

/// Checks that the parts of a transaction agree with each other, and returns what names it.
fn sanitize(transaction: &VersionedTransaction) -> Result<sundog_types::Signature, RpcError> {
    transaction.sanitize().map_err(|e| RpcError::invalid_params(format!("invalid transaction: {e}")))?;
    let first = transaction.signatures.first().copied();
    first.ok_or_else(|| RpcError::invalid_params("invalid transaction: it has no signature"))
}

fn verify_signatures(transaction: &VersionedTransaction) -> Result<(), RpcError> {
    if transaction.verify_with_results().into_iter().all(|valid| valid) {
        return Ok(());
    }
    Err(RpcError::new(error::SIGNATURE_VERIFICATION_FAILURE, "Transaction signature verification failure"))
}

/// Refuses a transaction that would fail if it landed now.
fn preflight(bank: &dyn BankView, decoded: &DecodedTransaction) -> Result<(), RpcError> {
    let simulation = bank.simulate(&decoded.transaction);
    let Err(err) = &simulation.meta.status else {
        return Ok(());
    };
    let message = format!("Transaction simulation failed: {err}");
    let data = to_json(simulation_result(&simulation, decoded, false))?;
    Err(RpcError::new(error::PREFLIGHT_FAILURE, message).with_data(data))
}

/// The shape that a simulation has on the wire, without what has to be asked for.
fn simulation_result(
    simulation: &Simulation,
    decoded: &DecodedTransaction,
    inner: bool,
) -> RpcSimulateTransactionResult {
    let meta = &simulation.meta;
    RpcSimulateTransactionResult {
        err: meta.status.clone().err().map(Into::into),
        logs: Some(meta.logs.clone().unwrap_or_default()),
        accounts: None,
        units_consumed: Some(meta.compute_units.unwrap_or(0)),
        loaded_accounts_data_size: Some(simulation.loaded_accounts_data_size),
        return_data: meta.return_data.as_ref().map(encode_return_data),
        inner_instructions: inner.then(|| {
            let inner = meta.inner_instructions.as_deref().unwrap_or_default();
            encode_inner_instructions(inner, Some((&decoded.transaction.message, &meta.loaded_addresses)))
        }),
        replacement_blockhash: None,
        fee: Some(meta.fee),
        pre_balances: Some(meta.pre_balances.clone()),
        post_balances: Some(meta.post_balances.clone()),
        pre_token_balances: Some(encode_token_balances(&meta.pre_token_balances)),
        post_token_balances: Some(encode_token_balances(&meta.post_token_balances)),
        loaded_addresses: Some(encode_loaded_addresses(&meta.loaded_addresses)),
    }
}

/// `simulateTransaction`
pub(super) fn simulate_transaction(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let text: String = params.take(0)?;
    let config: RpcSimulateTransactionConfig = params.config(1)?;
    if config.sig_verify && config.replace_recent_blockhash {
        return Err(RpcError::invalid_params("sigVerify may not be used with replaceRecentBlockhash"));
    }
    let mut decoded = decode_transaction(&text, config.encoding.unwrap_or(UiTransactionEncoding::Base58))?;
    let bank = bank_of(chain, config.commitment, config.min_context_slot)?;
    let mut replacement = None;
    if config.replace_recent_blockhash {
        let latest = bank.latest_blockhash();
        decoded.transaction.message.set_recent_blockhash(latest.hash);
        replacement = Some(RpcBlockhash {
            blockhash: latest.hash.to_string(),
            last_valid_block_height: latest.last_valid_block_height,
        });
    }
    sanitize(&decoded.transaction)?;
    if config.sig_verify {
        verify_signatures(&decoded.transaction)?;
    }
    let simulation = bank.simulate(&decoded.transaction);
    let mut result = simulation_result(&simulation, &decoded, config.inner_instructions);
    result.replacement_blockhash = replacement;
    if let Some(wanted) = config.accounts {
        let loaded = &simulation.meta.loaded_addresses;
        let fixed = decoded.transaction.message.static_account_keys().len();
        let keys = fixed + loaded.writable.len() + loaded.readonly.len();
        result.accounts = Some(accounts_after(&*bank, &simulation, &wanted, keys)?);
    }
    with_context(chain, bank.slot().get(), result)
}

/// The accounts a caller wants to see as they are after the transaction.
fn accounts_after(
    bank: &dyn BankView,
    simulation: &Simulation,
    wanted: &RpcSimulateTransactionAccountsConfig,
    max: usize,
) -> Result<Vec<Option<UiAccount>>, RpcError> {
    let encoding = wanted.encoding.unwrap_or(UiAccountEncoding::Base64);
    if matches!(encoding, UiAccountEncoding::Binary | UiAccountEncoding::Base58) {
        return Err(RpcError::invalid_params("base58 encoding not supported"));
    }
    if wanted.addresses.len() > max {
        return Err(RpcError::invalid_params(format!("Too many accounts provided; max {max}")));
    }
    let addresses = parse_addresses(&wanted.addresses, max)?;
    if simulation.meta.status.is_err() {
        return Ok(vec![None; addresses.len()]);
    }
    let find = |address| simulation.accounts.iter().find(|(key, _)| key == address).map(|(_, account)| account);
    addresses
        .iter()
        .map(|address| find(address).map(|account| encode_account(bank, account, encoding, None)).transpose())
        .collect()
}

/// `requestAirdrop`
pub(super) fn request_airdrop(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(2, 3)?;
    let (to, lamports) = (params.address(0)?, params.take::<u64>(1)?);
    let config: RpcRequestAirdropConfig = params.config(2)?;
    let blockhash = config.recent_blockhash.as_deref().map(parse_hash).transpose()?;
    let signature = chain.airdrop(&to, lamports, blockhash).map_err(|refusal| match refusal {
        AirdropRefusal::NoFaucet => RpcError::invalid_request(refusal.to_string()),
        AirdropRefusal::Refused(why) => RpcError::internal(why),
    })?;
    Ok(json!(signature.to_string()))
}
