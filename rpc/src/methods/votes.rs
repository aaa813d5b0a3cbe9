//! About the node's own votes, and the forks it knows.

use super::to_json;
use crate::{chain::Chain, error::RpcError, params::Params};
use serde_json::Value;

/// `sundog_getTower`
pub(super) fn get_tower(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    to_json(chain.tower())
}

/// `sundog_getForks`
pub(super) fn get_forks(chain: &dyn Chain, mut params: Params) -> Result<Value, RpcError> {
    params.arity(0, 0)?;
    to_json(chain.forks())
}
