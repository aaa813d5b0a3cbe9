//! About accounts.

use super::{to_json, with_context};
use crate::{
    chain::{BankView, Chain},
    encoding::{accounts::encode_account, tokens},
    error::{self, RpcError},
    params::{Params, bank_of, parse_addresses},
};
use serde_json::Value;
use solana_account::{AccountSharedData, ReadableAccount};
use solana_rpc_client_types::{
    config::{RpcAccountInfoConfig, RpcContextConfig, RpcProgramAccountsConfig, UiAccountEncoding},
    filter::RpcFilterType,
    response::RpcKeyedAccount,
};
use sundog_types::Pubkey;

/// For how many accounts may be asked at once.
const MULTIPLE_ACCOUNTS_MAX: usize = 100;
/// By how many filters accounts may be chosen at once.
const FILTERS_MAX: usize = 4;
/// How many bytes of accounts a scan may gather; beyond that it is refused, because the answer
/// would fill the memory of the node and of the caller.
pub(crate) const SCAN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What an account costs in an answer beside its data, in bytes, by which scans are bounded.
const ACCOUNT_OVERHEAD_BYTES: usize = 256;

/// `getBalance`
pub(super) fn get_balance(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let address = params.address(0)?;
    let config: RpcContextConfig = params.config(1)?;
    let bank = bank_of(chain, config.commitment, config.min_context_slot)?;
    with_context(chain, bank.slot().get(), bank.account(&address).map_or(0, |account| account.lamports()))
}

/// `getAccountInfo`
pub(super) fn get_account_info(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let address = params.address(0)?;
    let config: RpcAccountInfoConfig = params.config(1)?;
    let bank = bank_of(chain, config.commitment, config.min_context_slot)?;
    let encoding = config.encoding.unwrap_or(UiAccountEncoding::Binary);
    let account = bank.account(&address);
    let encoded = account.map(|account| encode_account(&*bank, &account, encoding, config.data_slice)).transpose()?;
    with_context(chain, bank.slot().get(), encoded)
}

/// `getMultipleAccounts`
pub(super) fn get_multiple_accounts(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let texts: Vec<String> = params.take(0)?;
    let config: RpcAccountInfoConfig = params.config(1)?;
    let addresses = parse_addresses(&texts, MULTIPLE_ACCOUNTS_MAX)?;
    let bank = bank_of(chain, config.commitment, config.min_context_slot)?;
    let encoding = config.encoding.unwrap_or(UiAccountEncoding::Base64);
    let encoded = addresses.iter().map(|address| {
        let account = bank.account(address);
        account.map(|account| encode_account(&*bank, &account, encoding, config.data_slice)).transpose()
    });
    with_context(chain, bank.slot().get(), encoded.collect::<Result<Vec<_>, _>>()?)
}

/// `getProgramAccounts`
pub(super) fn get_program_accounts(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let program = params.address(0)?;
    let config: RpcProgramAccountsConfig = params.config(1)?;
    let filters = config.filters.unwrap_or_default();
    check_filters(&filters)?;
    let bank = bank_of(chain, config.account_config.commitment, config.account_config.min_context_slot)?;
    let mut found = scan(&*bank, &program, &mut |account| passes(&filters, account))?;
    if config.sort_results.unwrap_or(true) {
        found.sort_by_key(|(address, _)| *address);
    }
    let accounts = encode_keyed(&*bank, &found, &config.account_config)?;
    if config.with_context.unwrap_or(false) {
        with_context(chain, bank.slot().get(), accounts)
    } else {
        to_json(accounts)
    }
}

/// Accounts with their addresses, as a caller wants to see them.
pub(super) fn encode_keyed(
    bank: &dyn BankView,
    found: &[(Pubkey, AccountSharedData)],
    config: &RpcAccountInfoConfig,
) -> Result<Vec<RpcKeyedAccount>, RpcError> {
    let encoding = config.encoding.unwrap_or(UiAccountEncoding::Binary);
    let keyed = found.iter().map(|(address, account)| {
        let account = encode_account(bank, account, encoding, config.data_slice)?;
        Ok(RpcKeyedAccount { pubkey: address.to_string(), account })
    });
    keyed.collect()
}

/// Checks filters before they are used on every account of a program.
///
/// # Errors
/// If there are too many, or one is too long or not in its encoding.
pub(crate) fn check_filters(filters: &[RpcFilterType]) -> Result<(), RpcError> {
    if filters.len() > FILTERS_MAX {
        return Err(RpcError::invalid_params(format!("Too many filters provided; max {FILTERS_MAX}")));
    }
    for filter in filters {
        filter.verify().map_err(|e| RpcError::invalid_params(format!("Invalid param: {e:?}")))?;
    }
    Ok(())
}

/// Whether an account passes every filter.
pub(crate) fn passes(filters: &[RpcFilterType], account: &AccountSharedData) -> bool {
    filters.iter().all(|filter| match filter {
        RpcFilterType::DataSize(size) => account.data().len() as u64 == *size,
        RpcFilterType::Memcmp(compare) => compare.bytes_match(account.data()),
        RpcFilterType::TokenAccountState => tokens::TokenAccount::parse(account.data()).is_some(),
    })
}

/// Every account of a program that is wanted.
///
/// # Errors
/// If they are too much for one answer.
pub(super) fn scan(
    bank: &dyn BankView,
    owner: &Pubkey,
    want: &mut dyn FnMut(&AccountSharedData) -> bool,
) -> Result<Vec<(Pubkey, AccountSharedData)>, RpcError> {
    let mut found = Vec::new();
    let mut bytes = 0usize;
    bank.accounts_of(owner, &mut |address, account| {
        if want(account) {
            bytes = bytes.saturating_add(account.data().len()).saturating_add(ACCOUNT_OVERHEAD_BYTES);
            found.push((*address, account.clone()));
        }
        bytes <= SCAN_BYTES_MAX
    });
    if bytes > SCAN_BYTES_MAX {
        return Err(RpcError::new(
            error::SCAN_ERROR,
            "The accounts are too many for one answer; use filters or a data slice",
        ));
    }
    Ok(found)
}
