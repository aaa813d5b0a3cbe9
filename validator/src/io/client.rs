//! A small JSON-RPC client: what the command line asks of running nodes.

use serde_json::{Value, json};
use std::time::Duration;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answers there.
    #[error("{url} does not answer: {message}; is the node running?")]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        message: String,
    },
    /// The node refuses.
    #[error("{method}: {message}")]
    Refused {
        /// What was asked.
        method: String,
        /// Its answer.
        message: String,
    },
}

/// Asks one node.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    /// A client of the node that serves JSON-RPC at `url`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self::patient(url, Duration::from_secs(10))
    }

    /// A client that waits no longer than this for an answer.
    #[must_use]
    pub fn patient(url: &str, patience: Duration) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(patience)).http_status_as_error(false).build();
        Self { agent: config.into(), url: url.to_owned() }
    }

    /// Calls a method.
    ///
    /// # Errors
    /// If the node does not answer, or refuses.
    pub fn call(&self, method: &str, params: &Value) -> Result<Value, CallError> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let unreachable = |e: ureq::Error| CallError::Unreachable { url: self.url.clone(), message: e.to_string() };
        let mut response = self.agent.post(&self.url).send_json(&request).map_err(unreachable)?;
        let mut answer: Value = response.body_mut().read_json().map_err(unreachable)?;
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => {
                let message = answer["error"]["message"].as_str().unwrap_or("an answer without result").to_owned();
                Err(CallError::Refused { method: method.to_owned(), message })
            }
        }
    }

    /// Gets a page as text.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn get(&self, url: &str) -> Result<String, CallError> {
        self.page(url).map(|(_, text)| text)
    }

    /// Gets a page as its HTTP status and text.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn page(&self, url: &str) -> Result<(u16, String), CallError> {
        let unreachable = |e: ureq::Error| CallError::Unreachable { url: url.to_owned(), message: e.to_string() };
        let mut response = self.agent.get(url).call().map_err(unreachable)?;
        let text = response.body_mut().read_to_string().map_err(unreachable)?;
        Ok((response.status().as_u16(), text))
    }

    /// The slot at a commitment.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn slot(&self, commitment: &str) -> Result<u64, CallError> {
        Ok(self.call("getSlot", &json!([{"commitment": commitment}]))?.as_u64().unwrap_or_default())
    }
}
