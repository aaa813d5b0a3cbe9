//! What is still to happen, by millisecond.

use super::actor::Datagram;
use std::{collections::BTreeMap, vec};
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

/// Events by the millisecond they happen in; within one, in the order in which they were put in. A world of thousands
/// of nodes puts in a million, so this is a queue of buckets and not a heap.
#[derive(Debug, Default)]
pub(super) struct Queue {
    buckets: BTreeMap<u64, Vec<Event>>,
    /// What is left of the bucket that is being emptied.
    current: vec::IntoIter<Event>,
}

impl Queue {
    /// Puts an event in. `at_ms` lies in the future of all that was taken out.
    pub(super) fn push(&mut self, at_ms: u64, event: Event) {
        self.buckets.entry(at_ms).or_default().push(event);
    }

    /// When the next event happens.
    pub(super) fn next_ms(&self, now_ms: u64) -> Option<u64> {
        if self.current.len() > 0 { Some(now_ms) } else { self.buckets.first_key_value().map(|(ms, _)| *ms) }
    }

    /// Takes the next event out.
    pub(super) fn pop(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.current.next() {
                return Some(event);
            }
            self.current = self.buckets.pop_first()?.1.into_iter();
        }
    }
}
