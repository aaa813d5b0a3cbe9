//! What bulk sync counts.

use super::refusal::Refusal;

/// Counters since the start.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Links that were opened, by either side.
    pub links_opened: u64,
    /// Links that other nodes closed, or that broke.
    pub links_lost: u64,
    /// Peers that were dialed.
    pub dials: u64,
    /// Dials that came to nothing.
    pub dials_failed: u64,
    /// Frames that arrived.
    pub frames_received: u64,
    /// Bytes of frames that arrived.
    pub bytes_received: u64,
    /// Frames that were sent.
    pub frames_sent: u64,
    /// Bytes of frames that were sent.
    pub bytes_sent: u64,
    /// Ranges that peers were asked for.
    pub ranges_asked: u64,
    /// Ranges that were asked for and did not come, or came wrong.
    pub ranges_failed: u64,
    /// Blocks that passed their check.
    pub blocks_checked: u64,
    /// Blocks that were handed on to be executed.
    pub blocks_released: u64,
    /// Single blocks that were fetched by their id.
    pub wanted_fetched: u64,
    /// Single blocks that nobody had, or for which there was no room.
    pub wanted_given_up: u64,
    /// Times that blocks of two peers did not link.
    pub disputes: u64,
    /// Times that the fetch began again further back.
    pub rewinds: u64,
    /// Requests of other nodes that were answered with blocks.
    pub served_requests: u64,
    /// Blocks that were sent to other nodes.
    pub served_blocks: u64,
    /// Bytes of blocks that were sent to other nodes.
    pub served_bytes: u64,
    /// Links that this node refused, by reason.
    refused: [u64; Refusal::COUNT],
    /// Links that others refused to this node, by reason.
    refused_by: [u64; Refusal::COUNT],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            links_opened: 0,
            links_lost: 0,
            dials: 0,
            dials_failed: 0,
            frames_received: 0,
            bytes_received: 0,
            frames_sent: 0,
            bytes_sent: 0,
            ranges_asked: 0,
            ranges_failed: 0,
            blocks_checked: 0,
            blocks_released: 0,
            wanted_fetched: 0,
            wanted_given_up: 0,
            disputes: 0,
            rewinds: 0,
            served_requests: 0,
            served_blocks: 0,
            served_bytes: 0,
            refused: [0; Refusal::COUNT],
            refused_by: [0; Refusal::COUNT],
        }
    }
}

impl Metrics {
    /// Links that this node refused for this reason.
    #[must_use]
    pub fn refused(&self, why: Refusal) -> u64 {
        self.refused[why as usize]
    }

    /// Links that others refused to this node for this reason.
    #[must_use]
    pub fn refused_by(&self, why: Refusal) -> u64 {
        self.refused_by[why as usize]
    }

    pub(crate) fn count_refused(&mut self, why: Refusal) {
        self.refused[why as usize] += 1;
    }

    pub(crate) fn count_refused_by(&mut self, why: Refusal) {
        self.refused_by[why as usize] += 1;
    }
}
