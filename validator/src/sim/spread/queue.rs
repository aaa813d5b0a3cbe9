//! What may happen in the world.

use super::actor::Datagram;
use sundog_turbine::Input;

/// Something that happens to a node.
#[derive(Debug)]
pub(super) enum Event {
    /// A datagram arrives.
    Datagram { to: usize, datagram: Datagram },
    /// The node's timer may be due.
    Timer { node: usize },
    /// The node's pool is done with a job.
    Answer { node: usize, answer: Box<Input> },
    /// The node's actor ticks.
    Tick { node: usize },
}

/// What is still to happen.
pub(super) type Queue = crate::sim::queue::Queue<Event>;
