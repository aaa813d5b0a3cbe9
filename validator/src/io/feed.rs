//! What happened, to the log and to subscribers.

use crate::node::{Event, View};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use sundog_types::Pubkey;
use tokio::sync::broadcast;

/// Events kept for a slow subscriber before it misses some.
const EVENTS_MAX: usize = 4_096;

/// What a subscriber is told.
#[derive(Clone, Debug)]
pub enum News {
    /// Something happened.
    Event(Event),
    /// The banks changed.
    View(Arc<View>),
}

/// Tells the log and the subscribers.
#[derive(Clone)]
pub struct Feed {
    /// The node's identity.
    pub identity: Pubkey,
    news: broadcast::Sender<News>,
    closed: Arc<AtomicBool>,
}

impl Feed {
    /// A feed without subscribers.
    #[must_use]
    pub fn new(identity: Pubkey) -> Self {
        Self { identity, news: broadcast::Sender::new(EVENTS_MAX), closed: Arc::default() }
    }

    /// A new subscriber: it hears what happens from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// Ends the node's thread at its next step.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether the node's thread is to end.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The banks changed.
    pub fn view(&self, view: &Arc<View>) {
        if self.news.receiver_count() > 0 {
            let _ = self.news.send(News::View(Arc::clone(view)));
        }
    }

    /// Something happened: a line in the log, and word to the subscribers.
    pub fn event(&self, event: Event) {
        event.log();
        if self.news.receiver_count() > 0 {
            let _ = self.news.send(News::Event(event));
        }
    }
}
