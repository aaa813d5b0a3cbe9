//! Gossip alone, among up to ten thousand nodes: real [`Gossip`](sundog_gossip::Gossip) machines and real datagrams, in one
//! thread and in virtual time.
//!
//! ```text
//!   Gossip -> Send -> loss, delay, partition -> queue by ms -> Known::check -> Gossip
//!                                                  |               one copy of each value for all nodes,
//!   votes, epoch slots, churn -> Input ------------+               its signature verified once
//! ```
//!
//! Signatures of values are real; pings, pongs and prunes carry stamps, which are cheaper. With
//! [`GossipWorldConfig::tracked`] membership is given and the tables hold the values of a few nodes, for a world of ten
//! thousand tables of ten thousand nodes has no room anywhere.
//!
//! [`measure`] lets votes through a world and makes a row of the table in `docs/gossip.md`.

mod config;
mod host;
mod measure;
mod plot;
mod stakes;
mod table;
mod tally;
mod world;

pub use config::GossipWorldConfig;
pub use host::GossipHost;
pub use measure::{Plan, Row, Spread, measure};
pub use plot::plot;
pub use stakes::stakes;
pub use table::{PLACE, table};
pub use tally::{CLASSES, KINDS, Probe, Tally, Traffic};
pub use world::{CHAIN, GossipWorld};
