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
        log(&event);
        if self.news.receiver_count() > 0 {
            let _ = self.news.send(News::Event(event));
        }
    }
}

/// The lines that a person greps for.
fn log(event: &Event) {
    match event {
        Event::SlotStarted { slot, leader, mine } => tracing::info!(%slot, %leader, mine, "slot started"),
        Event::BlockComplete { slot, parent, shreds, recovered, repaired, transactions, ms, bank_hash, .. } => {
            tracing::info!(%slot, %parent, shreds, recovered, repaired, txs = transactions, ms, %bank_hash, "block complete");
        }
        Event::Skipped { slot, leader } => tracing::info!(%slot, %leader, "skipped"),
        Event::Dead { slot, why } => tracing::warn!(%slot, why, "dead"),
        Event::Voted { slot, root } => tracing::info!(%slot, %root, "vote"),
        Event::Rooted { slot } => tracing::info!(%slot, "root"),
        Event::Confirmed { slot } => tracing::debug!(%slot, "confirmed"),
        Event::Finalized { slot } => tracing::debug!(%slot, "finalized"),
        Event::Duplicate { slot, why } => tracing::warn!(%slot, why, "duplicate"),
    }
}
