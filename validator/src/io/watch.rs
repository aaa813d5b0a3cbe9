//! Sees to it that the process ends when one of its threads does before it was told to.

use super::feed::Feed;
use tokio::sync::mpsc;

/// Held by a thread while it runs. Dropped before the node is told to end, by a panic or a failure, it ends the
/// process with an error: a node that only answers queries would look alive and be dead.
pub struct Watch {
    what: &'static str,
    feed: Feed,
    fail: mpsc::Sender<anyhow::Error>,
}

impl Watch {
    /// A watch over the thread that does `what`.
    #[must_use]
    pub const fn new(what: &'static str, feed: Feed, fail: mpsc::Sender<anyhow::Error>) -> Self {
        Self { what, feed, fail }
    }

    /// Ends the process for this reason.
    pub fn fail(&self, why: &str) {
        let _ = self.fail.try_send(anyhow::anyhow!("{}: {why}", self.what));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.feed.closed() {
            self.fail("its thread ended by a fault of this program; its last lines in the log say more. Start the node again: it goes on from its ledger");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_types::Pubkey;

    fn watched() -> (Watch, Feed, mpsc::Receiver<anyhow::Error>) {
        let (fail, failed) = mpsc::channel(1);
        let feed = Feed::new(Pubkey::default());
        (Watch::new("storage", feed.clone(), fail), feed, failed)
    }

    #[test]
    fn a_thread_that_ends_too_early_ends_the_process() {
        let (watch, _feed, mut failed) = watched();
        let thread = std::thread::spawn(move || {
            let _watch = watch;
            panic!("a fault");
        });
        assert!(thread.join().is_err());
        assert!(failed.try_recv().expect("the process is told").to_string().starts_with("storage: "));
    }

    #[test]
    fn a_thread_that_was_told_to_end_says_nothing() {
        let (watch, feed, mut failed) = watched();
        feed.close();
        drop(watch);
        assert!(failed.try_recv().is_err());
    }
}
