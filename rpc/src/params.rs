//! The parameters of a call: a list of JSON values that become typed one by one.

use crate::{
    chain::{BankView, Chain},
    commitment::Commitment,
    error::RpcError,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use solana_rpc_client_types::config::CommitmentConfig;
use std::sync::Arc;
use sundog_types::{Hash, Pubkey, Signature};

/// The parameters of a call, in order. Absent, `null` and `[]` are the same.
#[derive(Debug, Default)]
pub struct Params(Vec<Value>);

impl Params {
    /// Takes what stood under `params`.
    ///
    /// # Errors
    /// If it is neither absent nor a list, or asks for a commitment that does not exist.
    pub fn new(raw: Option<Value>) -> Result<Self, RpcError> {
        let mut values = match raw {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(values)) => values,
            Some(_) => return Err(RpcError::invalid_params("`params` should be an array")),
        };
        for config in values.iter_mut().filter_map(Value::as_object_mut) {
            for key in ["commitment", "preflightCommitment"] {
                if let Some(Value::String(name)) = config.get_mut(key) {
                    let modern = Commitment::modern_name(name).ok_or_else(|| {
                        RpcError::invalid_params(format!("Invalid params: unknown commitment `{name}`."))
                    })?;
                    modern.clone_into(name);
                }
            }
        }
        Ok(Self(values))
    }

    /// Checks how many there are: at least `required`, at most `total`, not counting `null` at the end.
    ///
    /// # Errors
    /// If there are fewer or more.
    pub fn arity(&mut self, required: usize, total: usize) -> Result<(), RpcError> {
        while self.0.last().is_some_and(Value::is_null) {
            self.0.pop();
        }
        let got = self.0.len();
        if got < required {
            return Err(RpcError::invalid_params(format!("`params` should have at least {required} argument(s)")));
        }
        if got > total {
            let error = RpcError::invalid_params(format!(
                "Invalid parameters: Expected from {required} to {total} parameters."
            ));
            return Err(error.with_data(json!(format!("\"Got: {got}\""))));
        }
        Ok(())
    }

    /// The parameter at `index`, taken out, as a `T`; `null` if it is absent.
    ///
    /// # Errors
    /// If it is not a `T`.
    pub fn take<T: DeserializeOwned>(&mut self, index: usize) -> Result<T, RpcError> {
        let value = self.0.get_mut(index).map_or(Value::Null, Value::take);
        serde_json::from_value(value).map_err(|e| RpcError::invalid_params(format!("Invalid params: {e}.")))
    }

    /// The optional configuration at `index`.
    ///
    /// # Errors
    /// If it is neither absent nor a `T`.
    pub fn config<T: DeserializeOwned + Default>(&mut self, index: usize) -> Result<T, RpcError> {
        Ok(self.take::<Option<T>>(index)?.unwrap_or_default())
    }

    /// The address at `index`.
    ///
    /// # Errors
    /// If it is not an address.
    pub fn address(&mut self, index: usize) -> Result<Pubkey, RpcError> {
        parse_address(&self.take::<String>(index)?)
    }

    /// Whether the parameter at `index` is an object.
    #[must_use]
    pub fn is_object(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(Value::is_object)
    }
}

/// An address in base58.
///
/// # Errors
/// If it is not base58 or not 32 bytes.
pub fn parse_address(text: &str) -> Result<Pubkey, RpcError> {
    text.parse().map_err(|e| RpcError::invalid_params(format!("Invalid param: {e:?}")))
}

/// Many addresses in base58.
///
/// # Errors
/// If there are more than `max`, or one is not an address.
pub fn parse_addresses(texts: &[String], max: usize) -> Result<Vec<Pubkey>, RpcError> {
    if texts.len() > max {
        return Err(RpcError::too_many(max));
    }
    texts.iter().map(|text| parse_address(text)).collect()
}

/// A signature in base58.
///
/// # Errors
/// If it is not base58 or not 64 bytes.
pub fn parse_signature(text: &str) -> Result<Signature, RpcError> {
    text.parse().map_err(|e| RpcError::invalid_params(format!("Invalid param: {e:?}")))
}

/// A hash in base58.
///
/// # Errors
/// If it is not base58 or not 32 bytes.
pub fn parse_hash(text: &str) -> Result<Hash, RpcError> {
    text.parse().map_err(|e| RpcError::invalid_params(format!("{e:?}")))
}

/// The bank a call wants to be answered from.
///
/// # Errors
/// If that bank is older than the caller can use.
pub fn bank_of(
    chain: &dyn Chain,
    commitment: Option<CommitmentConfig>,
    min_context_slot: Option<u64>,
) -> Result<Arc<dyn BankView>, RpcError> {
    bank_at(chain, Commitment::of(commitment), min_context_slot)
}

/// The newest bank that is sure enough.
///
/// # Errors
/// If that bank is older than the caller can use.
pub fn bank_at(
    chain: &dyn Chain,
    commitment: Commitment,
    min_context_slot: Option<u64>,
) -> Result<Arc<dyn BankView>, RpcError> {
    let bank = chain.bank(commitment);
    let slot = bank.slot().get();
    match min_context_slot {
        Some(min) if slot < min => Err(RpcError::min_context_slot(slot)),
        _ => Ok(bank),
    }
}

/// A commitment that the history has: blocks that are only processed are not in it.
///
/// # Errors
/// If the caller asks for `processed`.
pub fn at_least_confirmed(commitment: Option<CommitmentConfig>) -> Result<Commitment, RpcError> {
    match Commitment::of(commitment) {
        Commitment::Processed => Err(RpcError::invalid_params("Method does not support commitment below `confirmed`")),
        commitment => Ok(commitment),
    }
}
