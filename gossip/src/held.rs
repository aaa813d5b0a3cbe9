//! What a gossip machine takes in memory, whatever others send.

use crate::{
    limits::INTAKE_BYTES_MAX,
    machine::{Gossip, WAITING_MAX},
    ping::{PINGS_BYTES_MAX, Place},
    pull::PULL_BYTES_MAX,
    recent::Recent,
    table::Limits,
    wire::value::CrdsValue,
};

/// What a contact info takes at most, decoded: one that fills its datagram with sockets.
const CONTACT_BYTES_MAX: usize = 8_192;

const WAITING_BYTES_MAX: usize =
    WAITING_MAX * CONTACT_BYTES_MAX + Recent::<Place, CrdsValue>::held_bytes_at(WAITING_MAX);

/// What [`Gossip::held_bytes`] never exceeds with such a table.
#[must_use]
pub const fn held_bytes_max(limits: &Limits) -> usize {
    limits.held_bytes_max() + WAITING_BYTES_MAX + PINGS_BYTES_MAX + INTAKE_BYTES_MAX + PULL_BYTES_MAX
}

impl Gossip {
    /// Bytes of memory held at most in what others can fill: table, waiting room, ping cache and limits.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let waiting: usize = self.waiting.values().map(CrdsValue::held_bytes).sum();
        self.table.held_bytes()
            + waiting
            + self.waiting.held_bytes()
            + self.pings.held_bytes()
            + self.intake.held_bytes()
            + self.pull.held_bytes()
    }
}
