//! How far a node that catches up has come, read from its metrics.

use crate::io::client::Client;
use serde::Serialize;
use std::fmt;

/// How far a node that catches up has come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CatchingUp {
    /// It fetches blocks.
    Fetches {
        /// Slots until it has what its peers have finalised.
        slots_to_go: u64,
        /// Its rate.
        slots_per_second: f64,
        /// Time until then at this rate; `None` while nothing moves.
        seconds_left: Option<u64>,
    },
    /// Nobody has the blocks any more that it needs.
    Stranded {
        /// The oldest block that anybody has is of this slot.
        oldest_slot: u64,
    },
}

impl CatchingUp {
    /// Asks a node. `None`: it does not catch up, or does not answer.
    pub fn ask(client: &Client, metrics: &str) -> Option<Self> {
        Self::read(&client.get(metrics).ok()?)
    }

    fn read(page: &str) -> Option<Self> {
        let value = |name: &str| {
            let line = page.lines().find(|line| line.split_whitespace().next() == Some(name))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        };
        if let Some(oldest) = value("sundog_sync_stranded_below") {
            return Some(Self::Stranded { oldest_slot: oldest as u64 });
        }
        Some(Self::Fetches {
            slots_to_go: value("sundog_sync_slots_to_go")? as u64,
            slots_per_second: value("sundog_sync_milli_slots_per_second")? / 1_000.0,
            seconds_left: value("sundog_sync_seconds_left").map(|seconds| seconds as u64),
        })
    }
}

impl fmt::Display for CatchingUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slots_to_go, slots_per_second, seconds_left) = match self {
            Self::Fetches { slots_to_go, slots_per_second, seconds_left } => {
                (slots_to_go, slots_per_second, seconds_left)
            }
            Self::Stranded { oldest_slot } => {
                return write!(f, "no peer has blocks before slot {oldest_slot}; its log says what to do");
            }
        };
        write!(f, "{slots_to_go} slots to go, {slots_per_second:.1} slots/s")?;
        match seconds_left {
            Some(left) => write!(f, ", {left} s left"),
            None => f.write_str(", waiting for blocks"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_the_page_and_a_node_that_keeps_up_has_none() {
        let page = "# HELP sundog_sync_slots_to_go Slots.\n# TYPE sundog_sync_slots_to_go gauge\n\
                    sundog_sync_slots_to_go 1200\nsundog_sync_milli_slots_per_second 52500\n";
        let waiting = CatchingUp::read(page).expect("it catches up");
        assert_eq!(waiting.to_string(), "1200 slots to go, 52.5 slots/s, waiting for blocks");
        let moving = CatchingUp::read(&format!("{page}sundog_sync_seconds_left 22\n")).expect("it catches up");
        assert_eq!(moving.to_string(), "1200 slots to go, 52.5 slots/s, 22 s left");
        assert_eq!(CatchingUp::read("sundog_blocks 7\n"), None);
        let stranded = CatchingUp::read("sundog_sync_stranded_below 900\n").expect("it cannot catch up");
        assert_eq!(stranded.to_string(), "no peer has blocks before slot 900; its log says what to do");
    }
}
