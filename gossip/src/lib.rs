//! Learn who is out there and what they say.
//!
//! # Design
//!
//! ```text
//!  datagram --accept--> --check()--> Checked --> Gossip::handle
//!            (limits)     (pool)                   |  limits   how much of whom is looked at
//!                                                  |  ping     who has proven where it listens
//!                                                  |  table    newest value of each label, of each node
//!   own votes, slots, proofs -----> publish ------>|  push     news to a few peers, who pass it on; prunes
//!   entrypoints, known peers ----> whom to ask --->|  pull     filters of what we have; answers to those of others
//!                                                  v
//!                    Send | Peers (registry) | Vote | Slots | Duplicate | AnotherInstance | Trouble
//! ```
//!
//! Nodes say things about themselves (where they listen, what they vote for, which slots they have) as
//! signed values. A value is filed under its label; of two with one label the newer stays. News is pushed to
//! a few peers at once ([`mod@push`]: chosen by stake and changed little by little; who brings what others brought sooner
//! is asked to stop) and what pushes miss is pulled: a node sends a Bloom filter of the hashes it has
//! and is sent what the filter lacks. Formats and rules are those of the reference (section 6), byte for
//! byte.
//!
//! A machine that knows nobody asks its [`entrypoints`], and peers of an earlier run when these are silent. What keeps it
//! apart from others, and it cannot mend itself, it tells as [`trouble`]: its own clock ([`clocks`]), another chain, silent
//! entrypoints. A namesake that started later makes it say so and stop.
//!
//! Of others' values [`slots_heard`] and [`duplicates`] tell the node what is new in them: who has which slots, and proofs
//! of leaders that made two versions of one, put together of their chunks. Under an identity that was here before, others still hold what its earlier instance said: a machine listens for that first, goes on behind it,
//! and says anew, with a later wallclock, what would lose against it.
//!
//! # Invariants
//! - Only [`check()`] makes a [`Checked`] (and [`known`], which checks once for a whole simulated world): bounds and
//!   signatures of whatever the machine sees hold.
//! - What one datagram makes us send to addresses that have not answered a ping is no longer than the datagram
//!   ([`ping`] has the rules); and the contact info that names such an address is not in the table.
//! - Every way in is limited by address, by identity and by origin ([`limits`]), so that one peer neither displaces
//!   what others say nor keeps them from being served.
//! - Known peers, strangers, and those that were pinged do not compete for what is looked at; nor do callers with stake
//!   and without for answers.
//! - Our own values come from us alone: nothing from outside enters the table in our name.
//! - A value of a node with less stake never displaces one of a node with as much or more.
//! - All that grows with what others send is bounded by named constants, in sum by [`held::held_bytes_max`];
//!   evictions and drops are counted by reason.
//! - Same inputs, same seed: same effects.
//!
//! # What this crate does not know
//! Sockets, threads and disks; what a vote means (it only passes it on); which shreds prove a duplicate slot; which slots
//! this node has, and what it makes of who has them; where stakes come from; where known peers are kept; TCP, over which
//! a node learns its public address before gossip begins.

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

pub use check::{Checked, check, check_all, check_with};
pub use config::{Contact, GossipConfig, KnownPeer};
pub use limits::PacketLimits;
pub use machine::{Effect, Gossip, Input};
pub use metrics::{DropReason, Metrics};
pub use roster::Roster;
pub use trouble::{Trouble, TroubleKind};
pub use wire::value::{CrdsData, CrdsValue};
