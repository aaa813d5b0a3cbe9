//! What can be subscribed to, and what there is to say about it.

use super::{ChainEvent, ExecutedTransaction, FrozenBlock};
use crate::{
    chain::{BankView, Chain},
    commitment::Commitment,
    encoding::accounts::encode_account,
    error::RpcError,
    methods::{check_filters, passes},
    params::{Params, parse_address, parse_signature},
};
use serde_json::{Value, json};
use solana_account::{AccountSharedData, ReadableAccount};
use solana_rpc_client_types::{
    config::{
        RpcAccountInfoConfig, RpcProgramAccountsConfig, RpcSignatureSubscribeConfig, RpcTransactionLogsConfig,
        RpcTransactionLogsFilter, UiAccountEncoding, UiDataSliceConfig,
    },
    filter::RpcFilterType,
    response::{ProcessedSignatureResult, RpcKeyedAccount, RpcLogsResponse, SlotTransactionStats, SlotUpdate},
};
use std::{collections::BTreeSet, sync::Arc};
use sundog_types::{Now, Pubkey, Signature, Slot};

/// The names of all topics, as they begin the names of their methods.
pub(super) const NAMES: [&str; 7] = ["account", "logs", "program", "root", "signature", "slot", "slotsUpdates"];

/// How a subscriber wants accounts.
#[derive(Clone, Copy)]
pub(super) struct View {
    encoding: UiAccountEncoding,
    slice: Option<UiDataSliceConfig>,
}

/// Which transactions' logs a subscriber wants.
pub(super) enum LogFilter {
    All,
    AllWithVotes,
    Mentions(Pubkey),
}

/// What somebody subscribed to.
pub(super) enum Topic {
    Account { address: Pubkey, view: View, commitment: Commitment, last: Option<AccountSharedData> },
    Logs { filter: LogFilter, commitment: Commitment },
    Program { program: Pubkey, filters: Vec<RpcFilterType>, view: View, commitment: Commitment },
    Root,
    Signature { signature: Signature, commitment: Commitment, received: bool },
    Slot,
    SlotsUpdates,
}

/// A bank that may be news, and the blocks that are news with it.
pub(super) struct Moment<'a> {
    pub(super) chain: &'a dyn Chain,
    pub(super) bank: &'a dyn BankView,
    pub(super) commitment: Commitment,
    pub(super) blocks: &'a [Arc<FrozenBlock>],
}

/// What there is to say to a subscriber.
#[derive(Default)]
pub(super) struct Told {
    /// One notification each.
    pub(super) results: Vec<Value>,
    /// Whether that was the last word.
    pub(super) over: bool,
}

impl Topic {
    /// Reads what a call subscribes to.
    pub(super) fn parse(name: &str, params: &mut Params, chain: &dyn Chain) -> Result<Self, RpcError> {
        match name {
            "account" => Self::parse_account(params, chain),
            "logs" => Self::parse_logs(params),
            "program" => Self::parse_program(params),
            "signature" => Self::parse_signature(params),
            "root" => params.arity(0, 0).map(|()| Self::Root),
            "slot" => params.arity(0, 0).map(|()| Self::Slot),
            "slotsUpdates" => params.arity(0, 0).map(|()| Self::SlotsUpdates),
            _ => Err(RpcError::method_not_found()),
        }
    }

    fn parse_account(params: &mut Params, chain: &dyn Chain) -> Result<Self, RpcError> {
        params.arity(1, 2)?;
        let address = params.address(0)?;
        let config: RpcAccountInfoConfig = params.config(1)?;
        let commitment = Commitment::of(config.commitment);
        let last = chain.bank(commitment).account(&address);
        Ok(Self::Account { address, view: View::new(&config), commitment, last })
    }

    fn parse_logs(params: &mut Params) -> Result<Self, RpcError> {
        params.arity(1, 2)?;
        let filter: RpcTransactionLogsFilter = params.take(0)?;
        let config = params.take::<Option<RpcTransactionLogsConfig>>(1)?;
        let filter = match filter {
            RpcTransactionLogsFilter::All => LogFilter::All,
            RpcTransactionLogsFilter::AllWithVotes => LogFilter::AllWithVotes,
            RpcTransactionLogsFilter::Mentions(keys) => match keys.as_slice() {
                [key] => LogFilter::Mentions(parse_address(key)?),
                _ => {
                    return Err(RpcError::invalid_params("Invalid Request: Only 1 address supported"));
                }
            },
        };
        Ok(Self::Logs { filter, commitment: Commitment::of(config.and_then(|config| config.commitment)) })
    }

    fn parse_program(params: &mut Params) -> Result<Self, RpcError> {
        params.arity(1, 2)?;
        let program = params.address(0)?;
        let config: RpcProgramAccountsConfig = params.config(1)?;
        let filters = config.filters.unwrap_or_default();
        check_filters(&filters)?;
        let view = View::new(&config.account_config);
        Ok(Self::Program { program, filters, view, commitment: Commitment::of(config.account_config.commitment) })
    }

    fn parse_signature(params: &mut Params) -> Result<Self, RpcError> {
        params.arity(1, 2)?;
        let signature = parse_signature(&params.take::<String>(0)?)?;
        let config: RpcSignatureSubscribeConfig = params.config(1)?;
        let received = config.enable_received_notification.unwrap_or(false);
        Ok(Self::Signature { signature, commitment: Commitment::of(config.commitment), received })
    }

    /// The topic's name, as it begins the names of its methods and its notification.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Account { .. } => "account",
            Self::Logs { .. } => "logs",
            Self::Program { .. } => "program",
            Self::Root => "root",
            Self::Signature { .. } => "signature",
            Self::Slot => "slot",
            Self::SlotsUpdates => "slotsUpdates",
        }
    }

    /// Whether one of these transactions, that just came in, is waited for. True once.
    pub(super) fn receives(&mut self, signatures: &[Signature]) -> bool {
        match self {
            Self::Signature { signature, received, .. } if *received && signatures.contains(signature) => {
                *received = false;
                true
            }
            _ => false,
        }
    }

    /// What there is to say at this moment.
    pub(super) fn tell(&mut self, moment: &Moment<'_>) -> Told {
        let results = match self {
            Self::Account { address, view, commitment, last } if *commitment == moment.commitment => {
                let account = moment.bank.account(address);
                if account == *last {
                    return Told::default();
                }
                last.clone_from(&account);
                view.show(moment.bank, &account.unwrap_or_default()).into_iter().collect()
            }
            Self::Logs { filter, commitment } if *commitment == moment.commitment => {
                let transactions = moment.blocks.iter().flat_map(|block| &block.transactions);
                transactions.filter(|transaction| filter.wants(transaction)).map(logs).collect()
            }
            Self::Program { program, filters, view, commitment } if *commitment == moment.commitment => {
                changed_accounts(moment, program, filters, *view)
            }
            Self::Signature { signature, commitment, .. } if *commitment == moment.commitment => {
                let status = moment.chain.signature_status(signature, false);
                let Some(status) = status.filter(|status| status.commitment >= *commitment) else {
                    return Told::default();
                };
                let err = status.status.err().map(Into::into);
                return Told { results: vec![json!(ProcessedSignatureResult { err })], over: true };
            }
            _ => Vec::new(),
        };
        Told { results, over: false }
    }
}

impl View {
    fn new(config: &RpcAccountInfoConfig) -> Self {
        Self { encoding: config.encoding.unwrap_or(UiAccountEncoding::Binary), slice: config.data_slice }
    }

    /// The account as the subscriber wants it; in base64 if it has become too long for base58.
    fn show(self, bank: &dyn BankView, account: &AccountSharedData) -> Option<Value> {
        let shown = encode_account(bank, account, self.encoding, self.slice);
        let shown = shown.or_else(|_| encode_account(bank, account, UiAccountEncoding::Base64, self.slice));
        serde_json::to_value(shown.ok()?).ok()
    }
}

impl LogFilter {
    fn wants(&self, transaction: &ExecutedTransaction) -> bool {
        match self {
            Self::All => !transaction.vote,
            Self::AllWithVotes => true,
            Self::Mentions(key) => transaction.accounts.contains(key),
        }
    }
}

fn logs(transaction: &ExecutedTransaction) -> Value {
    json!(RpcLogsResponse {
        signature: transaction.signature.to_string(),
        err: transaction.status.clone().err().map(Into::into),
        logs: transaction.logs.clone(),
    })
}

/// The accounts of a program that the new blocks changed, as they are now.
fn changed_accounts(moment: &Moment<'_>, program: &Pubkey, filters: &[RpcFilterType], view: View) -> Vec<Value> {
    let changed: BTreeSet<_> = moment.blocks.iter().flat_map(|block| &block.changed).collect();
    let shown = changed.into_iter().filter_map(|address| {
        let account = moment.bank.account(address)?;
        if account.owner() != program || !passes(filters, &account) {
            return None;
        }
        let account = serde_json::from_value(view.show(moment.bank, &account)?).ok()?;
        serde_json::to_value(RpcKeyedAccount { pubkey: address.to_string(), account }).ok()
    });
    shown.collect()
}

/// What `slotsUpdatesSubscribe` tells of an event.
pub(super) fn slot_update(now: Now, event: &ChainEvent) -> Option<Value> {
    let timestamp = now.unix_ms;
    let update = match event {
        ChainEvent::FirstShred(slot) => SlotUpdate::FirstShredReceived { slot: slot.get(), timestamp },
        ChainEvent::Completed(slot) => SlotUpdate::Completed { slot: slot.get(), timestamp },
        ChainEvent::Created { slot, parent, .. } => {
            SlotUpdate::CreatedBank { slot: slot.get(), parent: parent.get(), timestamp }
        }
        ChainEvent::Frozen(block) => SlotUpdate::Frozen { slot: block.slot.get(), timestamp, stats: stats(block) },
        ChainEvent::Dead { slot, why } => SlotUpdate::Dead { slot: slot.get(), timestamp, err: why.clone() },
        ChainEvent::Confirmed(slot) => SlotUpdate::OptimisticConfirmation { slot: slot.get(), timestamp },
        ChainEvent::Rooted(slot) => SlotUpdate::Root { slot: Slot::get(*slot), timestamp },
        ChainEvent::Moved | ChainEvent::Received(_) => return None,
    };
    serde_json::to_value(update).ok()
}

fn stats(block: &FrozenBlock) -> SlotTransactionStats {
    let total = block.transactions.len() as u64;
    let failed = block.transactions.iter().filter(|transaction| transaction.status.is_err()).count() as u64;
    SlotTransactionStats {
        num_transaction_entries: block.entries,
        num_successful_transactions: total - failed,
        num_failed_transactions: failed,
        max_transactions_per_entry: block.entry_transactions_max,
    }
}
