//! The storage thread: writes in order, and says when they are durable.

use super::{lanes::Lanes, store::FjallStore, tower_file::TowerFile, watch::Watch};
use crate::node::Input;
use flume::{Receiver, Sender, bounded};
use std::sync::Arc;
use sundog_types::store::{Batch, Store as _};

/// Writes that wait. When the disk does not keep up, the node's thread waits here: a slow node beats one that
/// forgets.
const WRITES_MAX: usize = 8_192;

/// A write.
pub enum Order {
    /// Change the ledger.
    Ledger {
        /// The changes.
        batch: Batch,
        /// Make them durable, and answer with this id.
        durable: Option<u64>,
    },
    /// Replace the tower file durably, and answer with this id.
    Tower {
        /// The id.
        id: u64,
        /// The content.
        bytes: Vec<u8>,
    },
}

/// Starts the thread; it ends when the returned sender is dropped, after the last write, or when a write fails.
///
/// # Errors
/// If the system has no thread to give.
pub fn start(
    store: Arc<FjallStore>,
    tower: TowerFile,
    lanes: Lanes,
    watch: Watch,
) -> std::io::Result<(Sender<Order>, std::thread::JoinHandle<()>)> {
    let (sender, orders) = bounded(WRITES_MAX);
    let thread = std::thread::Builder::new().name("storage".into()).spawn(move || {
        if let Err(error) = run(&store, &tower, &lanes, &orders) {
            tracing::error!(%error, "a write failed");
            watch.fail(&format!(
                "a write failed ({error}); see to the ledger directory's disk, and start the node again"
            ));
        }
    })?;
    Ok((sender, thread))
}

/// Nothing is written after a write that failed, and nothing is answered: what was not durable is never spoken.
fn run(store: &FjallStore, tower: &TowerFile, lanes: &Lanes, orders: &Receiver<Order>) -> anyhow::Result<()> {
    for order in orders {
        let done = match order {
            Order::Ledger { batch, durable } => {
                store.commit(&batch, durable.is_some())?;
                durable
            }
            Order::Tower { id, bytes } => {
                tower.save(&bytes)?;
                Some(id)
            }
        };
        if let Some(id) = done {
            let _ = lanes.answer(Input::Durable { id });
        }
    }
    Ok(store.commit(&Batch::default(), true)?)
}
