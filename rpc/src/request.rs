//! From the bytes of a body to calls, and from their results to the bytes of a reply.

use crate::{error::PARSE_ERROR, error::RpcError, params::Params};
use serde_json::{Value, json};

/// The longest body that is looked at, in bytes (reference 10.1).
pub const BODY_BYTES_MAX: usize = 50 * 1024;
/// The most calls in one body. A longer batch is refused whole: nothing of it runs.
pub const BATCH_MAX: usize = 256;
/// Once the replies of a batch are this long, in bytes, its remaining calls are refused, so that a
/// small body of many heavy calls cannot fill the memory.
pub const BATCH_REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a body asks for.
#[derive(Debug)]
pub enum Body {
    /// One call.
    Single(Call),
    /// Several calls, answered by a list.
    Batch(Vec<Call>),
}

/// One call of a body.
#[derive(Debug)]
pub enum Call {
    /// It has an id and wants an answer.
    Method {
        /// Copied into the answer.
        id: Value,
        /// What is called.
        method: String,
        /// With what; kept unparsed until the method is known.
        params: Option<Value>,
    },
    /// It has no id and gets no answer. Nothing that Solana offers makes sense as one.
    Notification,
    /// It is not a call.
    Invalid {
        /// Its id as far as it had one.
        id: Value,
        /// What is wrong.
        error: RpcError,
    },
}

/// Reads a body.
///
/// # Errors
/// If it is not JSON, or an empty or too long batch: one answer without an id for the whole body.
pub fn parse(body: &[u8]) -> Result<Body, RpcError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(RpcError::invalid_request(format!("Request is longer than {BODY_BYTES_MAX} bytes")));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Array(calls)) if calls.is_empty() => Err(RpcError::invalid_request("Invalid request")),
        Ok(Value::Array(calls)) if calls.len() > BATCH_MAX => {
            Err(RpcError::invalid_request(format!("Too many requests in one batch; max {BATCH_MAX}")))
        }
        Ok(Value::Array(calls)) => Ok(Body::Batch(calls.into_iter().map(Call::new).collect())),
        Ok(value) => Ok(Body::Single(Call::new(value))),
        Err(_) => Err(RpcError::new(PARSE_ERROR, "Parse error")),
    }
}

impl Call {
    fn new(value: Value) -> Self {
        let Value::Object(mut fields) = value else {
            return Self::Invalid { id: Value::Null, error: RpcError::invalid_request("Invalid request") };
        };
        let id = fields.remove("id");
        if id.is_none() && fields.get("method").is_some_and(Value::is_string) {
            return Self::Notification;
        }
        let id = match id {
            Some(id @ (Value::Null | Value::Number(_) | Value::String(_))) => id,
            _ => {
                return Self::Invalid { id: Value::Null, error: RpcError::invalid_request("Invalid request") };
            }
        };
        if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Self::Invalid { id, error: RpcError::invalid_request("Unsupported JSON-RPC protocol version") };
        }
        match fields.remove("method") {
            Some(Value::String(method)) => Self::Method { id, method, params: fields.remove("params") },
            _ => Self::Invalid { id, error: RpcError::invalid_request("Invalid request") },
        }
    }

    /// Runs the call; `None` if it wants no answer.
    pub fn answer(self, run: impl FnOnce(&str, Params) -> Result<Value, RpcError>) -> Option<Value> {
        match self {
            Self::Notification => None,
            Self::Invalid { id, error } => Some(reply(&id, Err(error))),
            Self::Method { id, method, params } => {
                let result = Params::new(params).and_then(|params| run(&method, params));
                Some(reply(&id, result))
            }
        }
    }
}

/// The answer to the call with this id.
#[must_use]
pub fn reply(id: &Value, result: Result<Value, RpcError>) -> Value {
    match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "result": result, "id": id }),
        Err(error) => json!({ "jsonrpc": "2.0", "error": error.to_json(), "id": id }),
    }
}
