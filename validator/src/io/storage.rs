//! The storage thread: writes in order, and says when they are durable.

use super::{lanes::Lanes, store::FjallStore, tower_file::TowerFile};
use crate::node::Input;
use crossbeam_channel::{Receiver, Sender, bounded};
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

/// Starts the thread; it ends when the returned sender is dropped, after the last write.
///
/// # Errors
/// If the system has no thread to give.
pub fn start(
    store: Arc<FjallStore>,
    tower: TowerFile,
    lanes: Lanes,
) -> std::io::Result<(Sender<Order>, std::thread::JoinHandle<()>)> {
    let (sender, orders) = bounded(WRITES_MAX);
    let thread =
        std::thread::Builder::new().name("storage".into()).spawn(move || run(&store, &tower, &lanes, &orders))?;
    Ok((sender, thread))
}

fn run(store: &FjallStore, tower: &TowerFile, lanes: &Lanes, orders: &Receiver<Order>) {
    for order in orders {
        let done = match order {
            Order::Ledger { batch, durable } => {
                store.commit(&batch, durable.is_some()).map(|()| durable).map_err(|e| e.to_string())
            }
            Order::Tower { id, bytes } => tower.save(&bytes).map(|()| Some(id)).map_err(|e| e.to_string()),
        };
        match done {
            Ok(Some(id)) => {
                let _ = lanes.answer(Input::Durable { id });
            }
            Ok(None) => {}
            Err(error) => {
                // Nothing that follows may be spoken as if it were durable: without an answer no vote and no
                // shred leaves, and the operator learns why.
                tracing::error!(%error, "a write failed; the node stops voting and leading until it is restarted");
            }
        }
    }
    if let Err(error) = store.commit(&Batch::default(), true) {
        tracing::error!(%error, "the last writes could not be made durable");
    }
}
