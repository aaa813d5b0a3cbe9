//! Transactions and what became of them as text.

use super::instructions::parse_instruction;
use crate::error::RpcError;
use base64::{Engine, prelude::BASE64_STANDARD};
use solana_message::{VersionedMessage, compiled_instruction::CompiledInstruction};
use solana_rpc_client_types::{
    config::{TransactionDetails, UiTransactionEncoding},
    response::RewardType,
};
use solana_transaction::versioned::{TransactionVersion, VersionedTransaction};
use solana_transaction_status_client_types::{
    EncodedTransaction, EncodedTransactionWithStatusMeta, ParsedAccount, ParsedAccountSource,
    TransactionBinaryEncoding, UiAccountsList, UiAddressTableLookup, UiCompiledInstruction, UiInnerInstructions,
    UiInstruction, UiLoadedAddresses, UiMessage, UiParsedMessage, UiRawMessage, UiReturnDataEncoding, UiTransaction,
    UiTransactionReturnData, UiTransactionStatusMeta, UiTransactionTokenBalance, option_serializer::OptionSerializer,
};
use sundog_ledger::{
    Block, InnerInstruction, InnerInstructions, LoadedAddresses, Reward, RewardKind, StatusMeta, TokenBalance,
    TransactionRecord,
};
use sundog_types::Pubkey;

/// The depth of a transaction's own instructions.
const TOP_STACK_HEIGHT: u32 = 1;

/// How a caller wants transactions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// In which encoding.
    pub(crate) encoding: UiTransactionEncoding,
    /// The newest version the caller knows; `None` is a caller who knows only legacy transactions,
    /// and does not expect to be told versions.
    pub(crate) max_version: Option<u8>,
    /// Whether to tell rewards.
    pub(crate) rewards: bool,
}

/// The transactions of a block, whole or only with their accounts.
///
/// # Errors
/// If one has a version that the caller does not know.
pub(crate) fn encode_block_transactions(
    block: &Block,
    shape: &Shape,
    details: TransactionDetails,
) -> Result<Vec<EncodedTransactionWithStatusMeta>, RpcError> {
    let encode = match details {
        TransactionDetails::Accounts => encode_accounts_only,
        _ => encode_transaction,
    };
    block.transactions.iter().map(|record| encode(record, shape)).collect()
}

/// A transaction and what became of it.
///
/// # Errors
/// If it has a version that the caller does not know.
pub(crate) fn encode_transaction(
    record: &TransactionRecord,
    shape: &Shape,
) -> Result<EncodedTransactionWithStatusMeta, RpcError> {
    let version = version(&record.transaction, shape.max_version)?;
    let transaction = &record.transaction;
    let parsed = shape.encoding == UiTransactionEncoding::JsonParsed;
    let loaded = &record.meta.loaded_addresses;
    let encoded = match shape.encoding {
        UiTransactionEncoding::Binary => {
            EncodedTransaction::LegacyBinary(bs58::encode(bytes_of(transaction)?).into_string())
        }
        UiTransactionEncoding::Base58 => EncodedTransaction::Binary(
            bs58::encode(bytes_of(transaction)?).into_string(),
            TransactionBinaryEncoding::Base58,
        ),
        UiTransactionEncoding::Base64 => EncodedTransaction::Binary(
            BASE64_STANDARD.encode(bytes_of(transaction)?),
            TransactionBinaryEncoding::Base64,
        ),
        UiTransactionEncoding::Json => json_transaction(transaction, UiMessage::Raw(raw_message(&transaction.message))),
        UiTransactionEncoding::JsonParsed => {
            json_transaction(transaction, UiMessage::Parsed(parsed_message(&transaction.message, loaded)))
        }
    };
    let mut meta = encode_meta(&record.meta, parsed.then_some(&transaction.message));
    if !shape.rewards {
        meta.rewards = OptionSerializer::Skip;
    }
    Ok(EncodedTransactionWithStatusMeta { transaction: encoded, meta: Some(meta), version })
}

/// A transaction's signatures and accounts, and how it changed their balances.
fn encode_accounts_only(
    record: &TransactionRecord,
    shape: &Shape,
) -> Result<EncodedTransactionWithStatusMeta, RpcError> {
    let version = version(&record.transaction, shape.max_version)?;
    let loaded = &record.meta.loaded_addresses;
    let transaction = EncodedTransaction::Accounts(UiAccountsList {
        signatures: signatures(&record.transaction),
        account_keys: account_keys(&record.transaction.message, loaded),
    });
    let meta = UiTransactionStatusMeta {
        inner_instructions: OptionSerializer::Skip,
        log_messages: OptionSerializer::Skip,
        rewards: if shape.rewards { OptionSerializer::Some(Vec::new()) } else { OptionSerializer::Skip },
        loaded_addresses: OptionSerializer::Skip,
        return_data: OptionSerializer::Skip,
        compute_units_consumed: OptionSerializer::Skip,
        cost_units: OptionSerializer::Skip,
        ..encode_meta(&record.meta, None)
    };
    Ok(EncodedTransactionWithStatusMeta { transaction, meta: Some(meta), version })
}

/// The version to tell the caller, if it wants to know.
fn version(transaction: &VersionedTransaction, max: Option<u8>) -> Result<Option<TransactionVersion>, RpcError> {
    match (transaction.version(), max) {
        (TransactionVersion::Legacy(_), None) => Ok(None),
        (version @ TransactionVersion::Legacy(_), Some(_)) => Ok(Some(version)),
        (TransactionVersion::Number(number), Some(max)) if number <= max => {
            Ok(Some(TransactionVersion::Number(number)))
        }
        (TransactionVersion::Number(number), _) => Err(RpcError::unsupported_version(number)),
    }
}

fn bytes_of(transaction: &VersionedTransaction) -> Result<Vec<u8>, RpcError> {
    bincode::serialize(transaction).map_err(|e| RpcError::internal(format!("Internal error: {e}")))
}

fn signatures(transaction: &VersionedTransaction) -> Vec<String> {
    transaction.signatures.iter().map(ToString::to_string).collect()
}

fn json_transaction(transaction: &VersionedTransaction, message: UiMessage) -> EncodedTransaction {
    EncodedTransaction::Json(UiTransaction { signatures: signatures(transaction), message })
}

fn raw_message(message: &VersionedMessage) -> UiRawMessage {
    let instructions = message.instructions().iter();
    UiRawMessage {
        header: *message.header(),
        account_keys: message.static_account_keys().iter().map(ToString::to_string).collect(),
        recent_blockhash: message.recent_blockhash().to_string(),
        instructions: instructions.map(|i| UiCompiledInstruction::from(i, Some(TOP_STACK_HEIGHT))).collect(),
        address_table_lookups: lookups(message),
        transaction_config: None,
    }
}

fn parsed_message(message: &VersionedMessage, loaded: &LoadedAddresses) -> UiParsedMessage {
    let keys = keys_of(message, loaded);
    let instructions = message.instructions().iter();
    UiParsedMessage {
        account_keys: account_keys(message, loaded),
        recent_blockhash: message.recent_blockhash().to_string(),
        instructions: instructions.map(|i| parse_instruction(i, &keys, Some(TOP_STACK_HEIGHT))).collect(),
        address_table_lookups: lookups(message),
        transaction_config: None,
    }
}

fn lookups(message: &VersionedMessage) -> Option<Vec<UiAddressTableLookup>> {
    Some(message.address_table_lookups()?.iter().map(UiAddressTableLookup::from).collect())
}

/// All keys that instructions can name, in the order of their indices (reference 1.6).
fn keys_of(message: &VersionedMessage, loaded: &LoadedAddresses) -> Vec<Pubkey> {
    let keys = message.static_account_keys().iter();
    keys.chain(&loaded.writable).chain(&loaded.readonly).copied().collect()
}

fn account_keys(message: &VersionedMessage, loaded: &LoadedAddresses) -> Vec<ParsedAccount> {
    let fixed = message.static_account_keys().iter().enumerate().map(|(index, key)| ParsedAccount {
        pubkey: key.to_string(),
        writable: message.is_maybe_writable_with_reserved_addresses(index, None::<&std::collections::BTreeSet<Pubkey>>),
        signer: message.is_signer(index),
        source: Some(ParsedAccountSource::Transaction),
    });
    let looked_up = |keys: &[Pubkey], writable| {
        let list = keys.iter().map(|key| ParsedAccount {
            pubkey: key.to_string(),
            writable,
            signer: false,
            source: Some(ParsedAccountSource::LookupTable),
        });
        list.collect::<Vec<_>>()
    };
    fixed.chain(looked_up(&loaded.writable, true)).chain(looked_up(&loaded.readonly, false)).collect()
}

/// What became of a transaction; with instructions spelled out if the message is given, as in `jsonParsed`.
fn encode_meta(meta: &StatusMeta, parse: Option<&VersionedMessage>) -> UiTransactionStatusMeta {
    let names = parse.map(|message| (message, &meta.loaded_addresses));
    UiTransactionStatusMeta {
        err: meta.status.clone().err().map(Into::into),
        status: meta.status.clone().map_err(Into::into),
        fee: meta.fee,
        pre_balances: meta.pre_balances.clone(),
        post_balances: meta.post_balances.clone(),
        inner_instructions: meta
            .inner_instructions
            .as_ref()
            .map(|inner| encode_inner_instructions(inner, names))
            .into(),
        log_messages: meta.logs.clone().into(),
        pre_token_balances: OptionSerializer::Some(encode_token_balances(&meta.pre_token_balances)),
        post_token_balances: OptionSerializer::Some(encode_token_balances(&meta.post_token_balances)),
        rewards: OptionSerializer::Some(Vec::new()),
        loaded_addresses: match parse {
            Some(_) => OptionSerializer::Skip,
            None => OptionSerializer::Some(encode_loaded_addresses(&meta.loaded_addresses)),
        },
        return_data: OptionSerializer::or_skip(meta.return_data.as_ref().map(encode_return_data)),
        compute_units_consumed: OptionSerializer::or_skip(meta.compute_units),
        cost_units: OptionSerializer::or_skip(meta.cost_units),
    }
}

/// Called instructions; spelled out if the message they belong to is given.
pub(crate) fn encode_inner_instructions(
    inner: &[InnerInstructions],
    parse: Option<(&VersionedMessage, &LoadedAddresses)>,
) -> Vec<UiInnerInstructions> {
    let keys = parse.map(|(message, loaded)| keys_of(message, loaded));
    let encode = |called: &InnerInstruction| {
        let compiled = CompiledInstruction {
            program_id_index: called.program_id_index,
            accounts: called.accounts.clone(),
            data: called.data.clone(),
        };
        match &keys {
            Some(keys) => parse_instruction(&compiled, keys, called.stack_height),
            None => UiInstruction::Compiled(UiCompiledInstruction::from(&compiled, called.stack_height)),
        }
    };
    let groups = inner.iter().map(|group| UiInnerInstructions {
        index: group.index,
        instructions: group.instructions.iter().map(encode).collect(),
    });
    groups.collect()
}

/// Token amounts.
pub(crate) fn encode_token_balances(balances: &[TokenBalance]) -> Vec<UiTransactionTokenBalance> {
    let shown = balances.iter().map(|balance| UiTransactionTokenBalance {
        account_index: balance.account_index,
        mint: balance.mint.to_string(),
        ui_token_amount: super::tokens::token_amount(balance.amount, balance.decimals),
        owner: OptionSerializer::Some(balance.owner.to_string()),
        program_id: OptionSerializer::Some(balance.program_id.to_string()),
    });
    shown.collect()
}

/// Addresses that came from lookup tables.
pub(crate) fn encode_loaded_addresses(loaded: &LoadedAddresses) -> UiLoadedAddresses {
    let names = |keys: &[Pubkey]| keys.iter().map(ToString::to_string).collect();
    UiLoadedAddresses { writable: names(&loaded.writable), readonly: names(&loaded.readonly) }
}

/// What a program returned.
pub(crate) fn encode_return_data((program, data): &(Pubkey, Vec<u8>)) -> UiTransactionReturnData {
    UiTransactionReturnData {
        program_id: program.to_string(),
        data: (BASE64_STANDARD.encode(data), UiReturnDataEncoding::Base64),
    }
}

/// What was paid out with a block.
pub(crate) fn encode_rewards(rewards: &[Reward]) -> Vec<solana_transaction_status_client_types::Reward> {
    let shown = rewards.iter().map(|reward| solana_transaction_status_client_types::Reward {
        pubkey: reward.pubkey.to_string(),
        lamports: reward.lamports,
        post_balance: reward.post_balance,
        reward_type: Some(reward_type(reward.kind)),
        commission: reward.commission,
        commission_bps: None,
    });
    shown.collect()
}

fn reward_type(kind: RewardKind) -> RewardType {
    match kind {
        RewardKind::Fee => RewardType::Fee,
        RewardKind::Rent => RewardType::Rent,
        RewardKind::Staking => RewardType::Staking,
        RewardKind::Voting => RewardType::Voting,
    }
}
