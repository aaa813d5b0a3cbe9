//! Errors as a caller sees them: a code that programs match on, and a sentence for people.

use serde_json::{Value, json};

/// A JSON-RPC error object (reference 10.3).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// What programs match on.
    pub code: i64,
    /// What people read. Some clients match on it all the same, so the words are the reference's.
    pub message: String,
    /// Facts that belong to it.
    pub data: Option<Value>,
}

/// The body is not JSON.
pub const PARSE_ERROR: i64 = -32_700;
/// The JSON is not a request.
pub const INVALID_REQUEST: i64 = -32_600;
/// There is no such method.
pub const METHOD_NOT_FOUND: i64 = -32_601;
/// The method cannot be called with these parameters.
pub const INVALID_PARAMS: i64 = -32_602;
/// It is the node's fault.
pub const INTERNAL_ERROR: i64 = -32_603;
/// The block is older than what the node keeps.
pub const BLOCK_CLEANED_UP: i64 = -32_001;
/// A transaction would fail.
pub const PREFLIGHT_FAILURE: i64 = -32_002;
/// A signature is wrong.
pub const SIGNATURE_VERIFICATION_FAILURE: i64 = -32_003;
/// The block is not there yet.
pub const BLOCK_NOT_AVAILABLE: i64 = -32_004;
/// The node does not keep up.
pub const NODE_UNHEALTHY: i64 = -32_005;
/// The slot has no block.
pub const SLOT_SKIPPED: i64 = -32_007;
/// The node has no snapshot.
pub const NO_SNAPSHOT: i64 = -32_008;
/// Too much would have to be looked through.
pub const SCAN_ERROR: i64 = -32_012;
/// The caller does not know this transaction version.
pub const UNSUPPORTED_TRANSACTION_VERSION: i64 = -32_015;
/// The bank is older than the caller asked for.
pub const MIN_CONTEXT_SLOT_NOT_REACHED: i64 = -32_016;

impl RpcError {
    /// An error with nothing beyond its code and sentence.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The same error with facts.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The method cannot be called with these parameters.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    /// Too many of something in a list.
    #[must_use]
    pub fn too_many(max: usize) -> Self {
        Self::invalid_params(format!("Too many inputs provided; max {max}"))
    }

    /// The JSON is not a request.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(INVALID_REQUEST, message)
    }

    /// It is the node's fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(INTERNAL_ERROR, message)
    }

    /// There is no such method.
    #[must_use]
    pub fn method_not_found() -> Self {
        Self::new(METHOD_NOT_FOUND, "Method not found")
    }

    /// The node is behind by so many slots, or does not know.
    #[must_use]
    pub fn unhealthy(behind: Option<u64>) -> Self {
        let message = match behind {
            Some(slots) => format!("Node is behind by {slots} slots"),
            None => "Node is unhealthy".to_owned(),
        };
        Self::new(NODE_UNHEALTHY, message).with_data(json!({ "numSlotsBehind": behind }))
    }

    /// The cluster is restarted at a slot, and so many percent of the stake are there.
    #[must_use]
    pub fn waiting(slot: u64, percent: u64) -> Self {
        let message = format!("Node waits at slot {slot} for a supermajority of the stake: {percent}% is there");
        Self::new(NODE_UNHEALTHY, message).with_data(json!({ "numSlotsBehind": null }))
    }

    /// The bank is only at `slot`.
    #[must_use]
    pub fn min_context_slot(slot: u64) -> Self {
        Self::new(MIN_CONTEXT_SLOT_NOT_REACHED, "Minimum context slot has not been reached")
            .with_data(json!({ "contextSlot": slot }))
    }

    /// A transaction of a version that the caller did not say it knows.
    #[must_use]
    pub fn unsupported_version(version: u8) -> Self {
        Self::new(
            UNSUPPORTED_TRANSACTION_VERSION,
            format!(
                "Transaction version ({version}) is not supported by the requesting client. Please try the request \
                 again with the following configuration parameter: \"maxSupportedTransactionVersion\": {version}"
            ),
        )
    }

    /// The object on the wire.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.data {
            Some(data) => json!({ "code": self.code, "message": self.message, "data": data }),
            None => json!({ "code": self.code, "message": self.message }),
        }
    }
}
