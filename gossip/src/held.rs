//! What a gossip machine takes in memory, whatever others send.

use crate::{
    clocks::CLOCKS_BYTES_MAX,
    duplicates::DUPLICATES_BYTES_MAX,
    limits::INTAKE_BYTES_MAX,
    machine::{Gossip, WAITING_MAX},
    ping::{PINGS_BYTES_MAX, Place},
    publish::PUBLISHER_BYTES_MAX,
    pull::PULL_BYTES_MAX,
    push::PUSH_BYTES_MAX,
    recent::Recent,
    slots_heard::slots_heard_bytes_max,
    table::Limits,
    wire::value::CrdsValue,
};
use sundog_types::peer::Peer;

/// What a contact info takes at most, decoded: one that fills its datagram with sockets.
const CONTACT_BYTES_MAX: usize = 8_192;

const WAITING_BYTES_MAX: usize =
    WAITING_MAX * CONTACT_BYTES_MAX + Recent::<Place, CrdsValue>::held_bytes_at(WAITING_MAX);

/// What does not depend on the limits of the table.
const FIXED_BYTES_MAX: usize = WAITING_BYTES_MAX
    + PINGS_BYTES_MAX
    + INTAKE_BYTES_MAX
    + PULL_BYTES_MAX
    + PUSH_BYTES_MAX
    + DUPLICATES_BYTES_MAX
    + CLOCKS_BYTES_MAX
    + PUBLISHER_BYTES_MAX;

/// What [`Gossip::held_bytes`] never exceeds with such a table.
#[must_use]
pub const fn held_bytes_max(limits: &Limits) -> usize {
    // The list of peers grows by doubling.
    let registry = 2 * (limits.origins + 1) * size_of::<Peer>();
    limits.held_bytes_max() + slots_heard_bytes_max(limits.origins) + registry + FIXED_BYTES_MAX
}

impl Gossip {
    /// Bytes of memory held at most in all that grows with what others send. What the settings give (entrypoints, known
    /// peers) and the stakes, which the node shares with its other parts, come on top.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let waiting: usize = self.waiting.values().map(CrdsValue::held_bytes).sum();
        self.table.held_bytes()
            + waiting
            + self.waiting.held_bytes()
            + self.pings.held_bytes()
            + self.intake.held_bytes()
            + self.pull.held_bytes()
            + self.push.held_bytes()
            + self.slots_heard.held_bytes()
            + self.duplicates.held_bytes()
            + self.clocks.held_bytes()
            + self.publisher.held_bytes()
            + self.registry.held_bytes()
    }
}
