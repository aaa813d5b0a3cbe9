//! `sundog tower`.

use super::{Names, Whom, ask, stopped, watch};
use crate::cli::{say, say_json};
use clap::Args;
use std::fmt::Write as _;
use sundog_rpc::votes::TowerFacts;

/// Votes in a full tower.
const FULL: usize = 31;

/// Arguments of `sundog tower`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sundog tower                                        (node 0 of the running localnet)
  sundog tower --node node-2 --watch
  sundog tower --ledger localnet/node-0/ledger --json (of a stopped node)")]
pub struct TowerArgs {
    #[command(flatten)]
    whom: Whom,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Draw it again whenever it changes.
    #[arg(long, conflicts_with_all = ["json", "ledger"])]
    watch: bool,
}

/// Runs it.
///
/// # Errors
/// One line of cause and one of remedy.
pub fn run(args: &TowerArgs) -> anyhow::Result<()> {
    let cluster = args.whom.cluster();
    let names = Names(cluster.as_ref());
    let facts: TowerFacts = match &args.whom.ledger {
        Some(path) => stopped::tower(path)?,
        None => {
            let client = args.whom.client(cluster.as_ref())?;
            if args.watch {
                return watch(|| Ok(page(&ask(&client, "sundog_getTower")?, &names)));
            }
            ask(&client, "sundog_getTower")?
        }
    };
    if args.json {
        say_json(&facts);
    } else {
        say(page(&facts, &names).trim_end());
    }
    Ok(())
}

/// The tower as text, the newest vote on top.
fn page(facts: &TowerFacts, names: &Names<'_>) -> String {
    let mut text = names.of(&facts.identity);
    let _ = match &facts.vote_account {
        Some(account) => writeln!(text, " votes with {account}"),
        None => writeln!(text, " does not vote"),
    };
    if !facts.votes.is_empty() {
        let _ = writeln!(text, "\n{:>12}  {:>5}  {:>12}", "slot", "depth", "binds until");
    }
    for (place, vote) in facts.votes.iter().enumerate().rev() {
        let depth = "#".repeat(vote.confirmation_count as usize);
        let mark = match (place, facts.landed) {
            _ if place + 1 == facts.votes.len() && facts.landed.is_some_and(|landed| landed < vote.slot) => {
                " not landed"
            }
            (0, _) if facts.votes.len() == FULL => " the next vote on top makes it the root",
            _ => "",
        };
        let _ =
            writeln!(text, "{:>12}  {:>5}  {:>12}  {depth}{mark}", vote.slot, vote.confirmation_count, vote.expires);
    }
    if let Some(root) = facts.root {
        let _ = writeln!(text, "{root:>12}  {:>5}  {:>12}", "root", "for ever");
    }
    text.push('\n');
    if let Some(hash) = &facts.voted_hash {
        let _ = writeln!(text, "newest vote for bank hash {hash}");
    }
    if facts.heaviest > 0 {
        let _ = writeln!(text, "heaviest block {}, the next own block builds on {}", facts.heaviest, facts.builds_on);
    }
    if let Some(abstained) = &facts.abstained {
        let _ = writeln!(text, "last block not voted for: {}: {}", abstained.slot, abstained.why);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_rpc::votes::{Abstention, TowerVote};

    #[test]
    fn a_tower_is_drawn_with_the_newest_vote_on_top() {
        let vote = |slot, depth| TowerVote { slot, confirmation_count: depth, expires: slot + (1 << depth) };
        let facts = TowerFacts {
            identity: "Node".into(),
            vote_account: Some("Account".into()),
            root: Some(4),
            votes: vec![vote(5, 2), vote(6, 1)],
            landed: Some(5),
            heaviest: 7,
            builds_on: 6,
            abstained: Some(Abstention { slot: 7, reason: "switch".into(), why: "it is on another fork".into() }),
            ..TowerFacts::default()
        };
        let expected = "\
Node votes with Account

        slot  depth   binds until
           6      1             8  # not landed
           5      2             9  ##
           4   root      for ever

heaviest block 7, the next own block builds on 6
last block not voted for: 7: it is on another fork
";
        assert_eq!(page(&facts, &Names(None)), expected);
    }

    #[test]
    fn a_node_without_votes_has_a_page_too() {
        let facts = TowerFacts { identity: "Node".into(), root: Some(0), ..TowerFacts::default() };
        assert_eq!(page(&facts, &Names(None)), "Node does not vote\n           0   root      for ever\n\n");
    }
}
