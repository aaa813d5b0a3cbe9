//! Answer questions about the chain: JSON-RPC, subscriptions, REST. Requests in, responses out; HTTP itself is the shell's.
//!
//! # Design
//!
//! ```text
//!  POST body -----> request ---> methods ---> reply          +-------------------------------+
//!                                   |                        | Chain: what the node published|
//!                                   +----------------------->| facts, peers, leaders,        |
//!  GET path ------> rest ----------------------------------->| three banks, history,         |
//!                                                            | submit, airdrop               |
//!  WebSocket text > +---------------+ --> replies            +-------------------------------+
//!  ChainEvent ----> | Subscriptions | --> notifications                      ^
//!                   +---------------+ ---------------------------------------+
//! ```
//!
//! [`Rpc`] is stateless but for its counters and is shared by all connections; [`Subscriptions`] is a
//! [`sundog_types::Machine`] that remembers who wants to hear of what. Both read the node through
//! [`chain::Chain`] alone, so a test needs no node. Shapes on the wire are the published client
//! types wherever there are any: what a stock client cannot read does not compile or does not pass.
//!
//! # Invariants
//! - No body, however hostile, panics, allocates by a length it claims, or runs more than
//!   [`request::BATCH_MAX`] calls.
//! - An answer comes from one bank, and says which.
//! - Every list a caller can make long has a limit, and refusing is an error with a sentence.
//! - A subscription that is refused is an answer; one that is accepted is counted until it ends.
//!
//! # What this crate does not know
//! HTTP, WebSocket frames, sockets, clocks, how banks and ledgers work inside.

pub mod chain;
pub mod commitment;
mod encoding;
pub mod error;
mod methods;
pub mod params;
pub mod request;
pub mod rest;
mod rpc;
pub mod subscriptions;
pub mod votes;

pub use chain::{BankView, Chain, History};
pub use commitment::Commitment;
pub use error::RpcError;
pub use rpc::{Metrics, Reply, Rpc};
pub use subscriptions::{ChainEvent, SubscriptionEffect, SubscriptionInput, Subscriptions};
