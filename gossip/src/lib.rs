//! Learn who is out there and what they say.
//!
//! # Design
//!
//! ```text
//!  datagram --check()--> Checked --> Gossip::handle
//!             (pool)                   |  ping     who has proven where it listens
//!                                      |  table    newest value of each label, of each node
//!                                      |  push     news to a few peers, who pass it on
//!                                      |  pull     filters of what we have; answers to those of others
//!                                      v
//!                         Send | Peers (registry) | Vote | AnotherInstance
//! ```
//!
//! Nodes say things about themselves (where they listen, what they vote for, which slots they have) as
//! signed values. A value is filed under its label; of two with one label the newer stays. News is pushed to
//! a few peers at once ([`mod@push`]: chosen by stake and changed little by little; who brings what others brought sooner
//! is asked to stop) and what pushes miss is pulled: a node sends a Bloom filter of the hashes it has
//! and is sent what the filter lacks. Formats and rules are those of the reference (section 6), byte for
//! byte.
//!
//! Of others' values [`slots_heard`] and [`duplicates`] tell the node what is new in them. Under an identity that was
//! here before, others still hold what its earlier instance said: a machine listens for that first, goes on behind it,
//! and says anew, with a later wallclock, what would lose against it.
//!
//! # Invariants
//! - Only [`check()`] makes a [`Checked`]: bounds and signatures of whatever the machine sees hold.
//! - What one datagram makes us send to addresses that have not answered a ping is no longer than the datagram
//!   ([`ping`] has the rules); and the contact info that names such an address is not in the table.
//! - Every way in is limited by address, by identity and by origin ([`limits`]), so that one peer neither displaces
//!   what others say nor keeps them from being served.
//! - Our own values come from us alone: nothing from outside enters the table in our name.
//! - Table, ping cache, waiting room, active set and memories of hashes are bounded; the bounds are named
//!   constants, and evictions and drops are counted.
//! - Same inputs, same seed: same effects.
//!
//! # What this crate does not know
//! Sockets and threads; what a vote means (it only passes it on); which shreds prove a duplicate slot; where
//! stakes come from.

pub mod bloom;
pub mod check;
pub mod clocks;
pub mod config;
pub mod duplicates;
pub mod entrypoints;
pub mod filters;
pub mod held;
mod ingest;
pub mod known;
pub mod limits;
mod lookout;
pub mod machine;
pub mod metrics;
pub mod ping;
mod publish;
pub mod pull;
pub mod push;
pub mod recent;
pub mod registry;
pub mod roster;
pub mod slots_heard;
pub mod table;
pub mod trouble;
pub mod wire;

pub use check::{Checked, check};
pub use config::{Contact, GossipConfig, KnownPeer};
pub use limits::PacketLimits;
pub use machine::{Effect, Gossip, Input};
pub use metrics::{DropReason, Metrics};
pub use roster::Roster;
pub use trouble::{Trouble, TroubleKind};
pub use wire::value::{CrdsData, CrdsValue};
