//! Bodies in, replies out.

use crate::{
    chain::Chain,
    error::RpcError,
    methods::{self, METHODS},
    params::Params,
    request::{self, BATCH_REPLY_BYTES_MAX, BODY_BYTES_MAX, Body, Call},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// What to send back for a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// JSON; empty if there was nothing to answer.
    pub body: Vec<u8>,
}

/// What has been asked so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Bodies read.
    pub bodies: u64,
    /// Calls answered with an error.
    pub errors: u64,
    /// Calls of methods that do not exist.
    pub unknown: u64,
    /// Calls by method, of those that exist.
    pub calls: BTreeMap<&'static str, u64>,
}

/// Answers JSON-RPC bodies. Shared by all connections.
#[derive(Debug)]
pub struct Rpc {
    bodies: AtomicU64,
    errors: AtomicU64,
    unknown: AtomicU64,
    calls: Vec<AtomicU64>,
}

impl Default for Rpc {
    fn default() -> Self {
        Self::new()
    }
}

impl Rpc {
    /// With nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bodies: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            calls: METHODS.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Answers a body: one call, or a list of them.
    #[must_use]
    pub fn call(&self, chain: &dyn Chain, body: &[u8]) -> Reply {
        count(&self.bodies);
        if body.len() > BODY_BYTES_MAX {
            return Reply { status: 413, body: Vec::new() };
        }
        let body = match request::parse(body) {
            Err(error) => {
                count(&self.errors);
                request::reply(&Value::Null, Err(error)).to_string().into_bytes()
            }
            Ok(Body::Single(call)) => self.answer(chain, call).map(String::into_bytes).unwrap_or_default(),
            Ok(Body::Batch(calls)) => self.answer_batch(chain, calls),
        };
        Reply { status: 200, body }
    }

    fn answer_batch(&self, chain: &dyn Chain, calls: Vec<Call>) -> Vec<u8> {
        let mut replies = Vec::new();
        for call in calls {
            let reply = if replies.len() > BATCH_REPLY_BYTES_MAX {
                self.finish(call.answer(|_, _| {
                    Err(RpcError::internal("The replies of this batch are too long; ask for less at once"))
                }))
            } else {
                self.answer(chain, call)
            };
            if let Some(reply) = reply {
                replies.push(if replies.is_empty() { b'[' } else { b',' });
                replies.extend_from_slice(reply.as_bytes());
            }
        }
        if !replies.is_empty() {
            replies.push(b']');
        }
        replies
    }

    fn answer(&self, chain: &dyn Chain, call: Call) -> Option<String> {
        self.finish(call.answer(|method, params| self.run(chain, method, params)))
    }

    fn finish(&self, reply: Option<Value>) -> Option<String> {
        let reply = reply?;
        if reply.get("error").is_some() {
            count(&self.errors);
        }
        Some(reply.to_string())
    }

    fn run(&self, chain: &dyn Chain, method: &str, params: Params) -> Result<Value, RpcError> {
        let Some(index) = methods::find(method) else {
            count(&self.unknown);
            return Err(RpcError::method_not_found());
        };
        count(&self.calls[index]);
        METHODS[index].1(chain, params)
    }

    /// What has been asked so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let counts = self.calls.iter().map(|count| count.load(Ordering::Relaxed));
        Metrics {
            bodies: self.bodies.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            unknown: self.unknown.load(Ordering::Relaxed),
            calls: METHODS.iter().map(|(name, _)| *name).zip(counts).collect(),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
