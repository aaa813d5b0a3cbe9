//! Transactions and messages as callers send them: text, at most a packet of bytes, decoded whole.

use crate::error::RpcError;
use base64::{Engine, prelude::BASE64_STANDARD};
use bincode::Options;
use serde::de::DeserializeOwned;
use solana_message::VersionedMessage;
use solana_rpc_client_types::config::UiTransactionEncoding;
use solana_transaction::versioned::VersionedTransaction;
use solana_transaction_status_client_types::TransactionBinaryEncoding;

/// The longest transaction, in bytes (reference 1.1).
pub const PACKET_BYTES_MAX: usize = 1_232;
/// The longest transaction in base58, in characters.
const BASE58_CHARS_MAX: usize = 1_683;
/// The longest transaction in base64, in characters.
const BASE64_CHARS_MAX: usize = 1_644;

/// A transaction and the bytes it came as.
#[derive(Debug)]
pub(crate) struct DecodedTransaction {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// What they say.
    pub(crate) transaction: VersionedTransaction,
}

/// Reads a transaction.
///
/// # Errors
/// If the encoding is not one for bytes, the text too long, or the bytes no transaction.
pub(crate) fn decode_transaction(text: &str, encoding: UiTransactionEncoding) -> Result<DecodedTransaction, RpcError> {
    let binary = encoding.into_binary_encoding().ok_or_else(|| {
        RpcError::invalid_params(format!("unsupported encoding: {encoding}. Supported encodings: base58, base64"))
    })?;
    let name = "solana_transaction::versioned::VersionedTransaction";
    let bytes = decode_text(text, binary, name)?;
    let transaction: VersionedTransaction = decode_bytes(&bytes, name)?;
    check_version(&transaction.message, name)?;
    Ok(DecodedTransaction { bytes, transaction })
}

/// Reads a message in base64.
///
/// # Errors
/// If the text is too long, or the bytes no message, or its parts do not agree with each other.
pub(crate) fn decode_message(text: &str) -> Result<VersionedMessage, RpcError> {
    let name = "solana_message::versions::VersionedMessage";
    let bytes = decode_text(text, TransactionBinaryEncoding::Base64, name)?;
    let message: VersionedMessage = decode_bytes(&bytes, name)?;
    check_version(&message, name)?;
    message.sanitize().map_err(|e| RpcError::invalid_params(format!("invalid transaction message: {e}")))?;
    Ok(message)
}

fn decode_text(text: &str, encoding: TransactionBinaryEncoding, what: &str) -> Result<Vec<u8>, RpcError> {
    let (name, chars_max) = match encoding {
        TransactionBinaryEncoding::Base58 => ("base58", BASE58_CHARS_MAX),
        TransactionBinaryEncoding::Base64 => ("base64", BASE64_CHARS_MAX),
    };
    if text.len() > chars_max {
        let chars = text.len();
        return Err(RpcError::invalid_params(format!(
            "{name} encoded {what} too large: {chars} bytes (max: encoded/raw {chars_max}/{PACKET_BYTES_MAX})"
        )));
    }
    let bytes = match encoding {
        TransactionBinaryEncoding::Base58 => bs58::decode(text).into_vec().map_err(|e| format!("{e:?}")),
        TransactionBinaryEncoding::Base64 => BASE64_STANDARD.decode(text).map_err(|e| format!("{e:?}")),
    };
    let bytes = bytes.map_err(|e| RpcError::invalid_params(format!("invalid {name} encoding: {e}")))?;
    if bytes.len() > PACKET_BYTES_MAX {
        let len = bytes.len();
        return Err(RpcError::invalid_params(format!(
            "decoded {what} too large: {len} bytes (max: {PACKET_BYTES_MAX} bytes)"
        )));
    }
    Ok(bytes)
}

fn decode_bytes<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, RpcError> {
    let options = bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(PACKET_BYTES_MAX as u64)
        .reject_trailing_bytes();
    options.deserialize(bytes).map_err(|e| RpcError::invalid_params(format!("failed to deserialize {what}: {e}")))
}

/// Only legacy and version 0 are in use (reference 1.4).
fn check_version(message: &VersionedMessage, what: &str) -> Result<(), RpcError> {
    match message {
        VersionedMessage::Legacy(_) | VersionedMessage::V0(_) => Ok(()),
        VersionedMessage::V1(_) => {
            Err(RpcError::invalid_params(format!("failed to deserialize {what}: version 1 is not in use")))
        }
    }
}
