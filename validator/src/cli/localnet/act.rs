//! The verbs that act on a running localnet, and `logs`.

use super::{Layout, control};
use crate::cli::say;
use anyhow::Context as _;
use std::collections::VecDeque;

/// Asks the running localnet to do something.
///
/// # Errors
/// If none runs, or it refuses.
pub fn ask(layout: &Layout, request: &control::Request) -> anyhow::Result<()> {
    say(control::ask(layout, request)?);
    Ok(())
}

/// Prints the last lines of a node's log.
///
/// # Errors
/// If there is no such log.
pub fn logs(layout: &Layout, node: usize, lines: usize) -> anyhow::Result<()> {
    let path = layout.of_node(node, "validator.log");
    let file = std::fs::File::open(&path)
        .with_context(|| format!("{} is not there; `sundog localnet status` lists the nodes", path.display()))?;
    let mut last = VecDeque::with_capacity(lines.min(10_000));
    for line in std::io::BufRead::lines(std::io::BufReader::new(file)) {
        if last.len() >= lines.min(10_000) {
            last.pop_front();
        }
        last.push_back(line?);
    }
    last.into_iter().for_each(say);
    Ok(())
}
