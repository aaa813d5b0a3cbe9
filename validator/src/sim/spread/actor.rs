//! What stands in a node's place when a run needs somebody hostile.

use crate::sim::Port;
use bytes::Bytes;
use sundog_types::Now;

/// A datagram that arrives.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// The number of the node that sent it.
    pub from: usize,
    /// The socket it arrives at.
    pub port: Port,
    /// What it carries.
    pub bytes: Bytes,
}

/// A datagram to send. It is delayed, and may be lost, like all others.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The number of the receiver.
    pub to: usize,
    /// The receiver's socket.
    pub port: Port,
    /// What it carries.
    pub bytes: Bytes,
}

/// Somebody in a node's place, with its address and its place in the trees.
pub trait Actor: Send {
    /// Hears a datagram; returns what to send.
    fn hear(&mut self, now: Now, datagram: &Datagram) -> Vec<Sending>;

    /// Called every 10 ms of virtual time; returns what to send.
    fn tick(&mut self, now: Now) -> Vec<Sending>;

    /// Whether the node's machine hears everything too, and does what it should.
    fn also_honest(&self) -> bool {
        false
    }
}
