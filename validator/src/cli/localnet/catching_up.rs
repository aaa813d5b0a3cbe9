//! How far a node that catches up has come, read from its metrics.

use crate::io::client::Client;
use serde::Serialize;
use std::fmt;

/// How far a node that catches up has come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CatchingUp {
    /// Slots until it has what its peers have finalised.
    slots_to_go: u64,
    /// Its rate.
    slots_per_second: f64,
    /// Time until then at this rate; `None` while nothing moves.
    seconds_left: Option<u64>,
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
        Some(Self {
            slots_to_go: value("sundog_sync_slots_to_go")? as u64,
            slots_per_second: value("sundog_sync_milli_slots_per_second")? / 1_000.0,
            seconds_left: value("sundog_sync_seconds_left").map(|seconds| seconds as u64),
        })
    }
}

impl fmt::Display for CatchingUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slots to go, {:.1} slots/s", self.slots_to_go, self.slots_per_second)?;
        match self.seconds_left {
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
    }
}
