//! About SPL tokens: amounts, supplies, who holds them.

use super::{
    accounts::{encode_keyed, scan},
    with_context,
};
use crate::{
    chain::{BankView, Chain},
    commitment::Commitment,
    encoding::tokens::{Mint, TOKEN_PROGRAMS, TokenAccount, token_amount},
    error::RpcError,
    params::{Params, bank_of, parse_address},
};
use serde_json::Value;
use solana_account::{AccountSharedData, ReadableAccount};
use solana_rpc_client_types::{
    config::{CommitmentConfig, RpcAccountInfoConfig, RpcTokenAccountsFilter},
    response::RpcTokenAccountBalance,
};
use sundog_types::Pubkey;

/// How many of the largest accounts of a token are told.
const LARGEST_ACCOUNTS: usize = 20;

/// `getTokenAccountBalance`
pub(super) fn get_token_account_balance(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let address = params.address(0)?;
    let config = params.take::<Option<CommitmentConfig>>(1)?;
    let bank = chain.bank(Commitment::of(config));
    let account = bank.account(&address).ok_or_else(|| invalid("could not find account"))?;
    let token = Some(&account).filter(|account| is_token_program(account.owner()));
    let token = token.and_then(|account| TokenAccount::parse(account.data()));
    let token = token.ok_or_else(|| invalid("not a Token account"))?;
    let mint = mint_of(&*bank, &token.mint)?;
    with_context(chain, bank.slot().get(), token_amount(token.amount, mint.decimals))
}

/// `getTokenSupply`
pub(super) fn get_token_supply(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let address = params.address(0)?;
    let config = params.take::<Option<CommitmentConfig>>(1)?;
    let bank = chain.bank(Commitment::of(config));
    let mint = mint_of(&*bank, &address)?;
    with_context(chain, bank.slot().get(), token_amount(mint.supply, mint.decimals))
}

/// `getTokenLargestAccounts`
pub(super) fn get_token_largest_accounts(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(1, 2)?;
    let address = params.address(0)?;
    let config = params.take::<Option<CommitmentConfig>>(1)?;
    let bank = chain.bank(Commitment::of(config));
    let mint = mint_of(&*bank, &address)?;
    let mut largest = Vec::<(u64, Pubkey)>::new();
    for program in TOKEN_PROGRAMS {
        bank.accounts_of(&program, &mut |key, account| {
            if let Some(token) = TokenAccount::parse(account.data()).filter(|token| token.mint == address) {
                let place = largest.partition_point(|(amount, _)| *amount >= token.amount);
                largest.insert(place, (token.amount, *key));
                largest.truncate(LARGEST_ACCOUNTS);
            }
            true
        });
    }
    let named = largest.iter().map(|(amount, key)| RpcTokenAccountBalance {
        address: key.to_string(),
        amount: token_amount(*amount, mint.decimals),
    });
    with_context(chain, bank.slot().get(), named.collect::<Vec<_>>())
}

/// `getTokenAccountsByOwner`
pub(super) fn get_token_accounts_by_owner(chain: &dyn Chain, params: Params) -> Result<Value, RpcError> {
    token_accounts(chain, params, |token, who| token.owner == *who)
}

/// `getTokenAccountsByDelegate`
pub(super) fn get_token_accounts_by_delegate(chain: &dyn Chain, params: Params) -> Result<Value, RpcError> {
    token_accounts(chain, params, |token, who| token.delegate == Some(*who))
}

fn token_accounts(
    chain: &dyn Chain,
    mut params: Params,
    belongs: fn(&TokenAccount, &Pubkey) -> bool,
) -> Result<Value, RpcError> {
    params.arity(2, 3)?;
    let who = params.address(0)?;
    let filter: RpcTokenAccountsFilter = params.take(1)?;
    let config: RpcAccountInfoConfig = params.config(2)?;
    let bank = bank_of(chain, config.commitment, config.min_context_slot)?;
    let (program, mint) = match filter {
        RpcTokenAccountsFilter::ProgramId(text) => {
            let program = parse_address(&text)?;
            if !is_token_program(&program) {
                return Err(invalid("unrecognized Token program id"));
            }
            (program, None)
        }
        RpcTokenAccountsFilter::Mint(text) => {
            let mint = parse_address(&text)?;
            let account = bank.account(&mint).ok_or_else(|| invalid("could not find mint"))?;
            if !is_token_program(account.owner()) {
                return Err(invalid("not a Token mint"));
            }
            (*account.owner(), Some(mint))
        }
    };
    let mut want = |account: &AccountSharedData| {
        let token = TokenAccount::parse(account.data());
        token.is_some_and(|token| belongs(&token, &who) && mint.is_none_or(|mint| mint == token.mint))
    };
    let found = scan(&*bank, &program, &mut want)?;
    with_context(chain, bank.slot().get(), encode_keyed(&*bank, &found, &config)?)
}

fn mint_of(bank: &dyn BankView, address: &Pubkey) -> Result<Mint, RpcError> {
    let account = bank.account(address).ok_or_else(|| invalid("could not find mint"))?;
    let mint = Some(&account).filter(|account| is_token_program(account.owner()));
    mint.and_then(|account| Mint::parse(account.data())).ok_or_else(|| invalid("not a Token mint"))
}

fn is_token_program(program: &Pubkey) -> bool {
    TOKEN_PROGRAMS.contains(program)
}

fn invalid(what: &str) -> RpcError {
    RpcError::invalid_params(format!("Invalid param: {what}"))
}
