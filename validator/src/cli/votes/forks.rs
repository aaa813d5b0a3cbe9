//! `sundog forks`.

use super::{Names, Whom, ask, stopped, watch};
use crate::cli::{say, say_json};
use clap::Args;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};
use sundog_rpc::votes::{ForkBlock, ForksFacts};

/// Characters of the bar that shows how much of the stake is behind a block.
const BAR: u64 = 20;

/// Arguments of `sundog forks`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sundog forks                                  (node 0 of the running localnet)
  sundog forks --node 2 --watch
  sundog forks --dot | dot -Tsvg > forks.svg
  sundog forks --ledger localnet/node-0/ledger  (of a stopped node)")]
pub struct ForksArgs {
    #[command(flatten)]
    whom: Whom,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print the tree in Graphviz's language.
    #[arg(long, conflicts_with = "json")]
    dot: bool,
    /// Draw it again whenever it changes.
    #[arg(long, conflicts_with_all = ["json", "dot", "ledger"])]
    watch: bool,
}

/// Runs it.
///
/// # Errors
/// One line of cause and one of remedy.
pub fn run(args: &ForksArgs) -> anyhow::Result<()> {
    let cluster = args.whom.cluster();
    let names = Names(cluster.as_ref());
    let facts: ForksFacts = match &args.whom.ledger {
        Some(path) => stopped::forks(path)?,
        None => {
            let client = args.whom.client(cluster.as_ref())?;
            if args.watch {
                return watch(|| Ok(page(&ask(&client, "sundog_getForks")?, &names)));
            }
            ask(&client, "sundog_getForks")?
        }
    };
    if args.json {
        say_json(&facts);
    } else if args.dot {
        say(dot(&facts, &names).trim_end());
    } else {
        say(page(&facts, &names).trim_end());
    }
    Ok(())
}

/// Chains of the tree, each with a column of its own while it goes on.
struct Columns {
    /// The chain of each block: the slot that the chain begins with.
    chain: BTreeMap<u64, u64>,
    /// The last block of each chain.
    end: BTreeMap<u64, u64>,
    /// Which chain has each column.
    open: Vec<Option<u64>>,
}

impl Columns {
    /// A block goes on with its parent's chain if it is the heaviest child, else it begins one.
    fn of(blocks: &[ForkBlock]) -> Self {
        let mut heir: BTreeMap<u64, &ForkBlock> = BTreeMap::new();
        for block in blocks {
            let Some(parent) = block.parent else { continue };
            let best = heir.entry(parent).or_insert(block);
            if (block.valid, block.stake_above) > (best.valid, best.stake_above) {
                *best = block;
            }
        }
        let (mut chain, mut end) = (BTreeMap::new(), BTreeMap::new());
        for block in blocks {
            let parent = block.parent.filter(|parent| heir.get(parent).is_some_and(|heir| heir.slot == block.slot));
            let begins = parent.and_then(|parent| chain.get(&parent).copied()).unwrap_or(block.slot);
            chain.insert(block.slot, begins);
            end.insert(begins, block.slot);
        }
        Self { chain, end, open: Vec::new() }
    }

    /// The picture of a block's line: what goes on is a bar, the block a letter.
    fn line(&mut self, slot: u64, letter: char) -> String {
        let chain = self.chain[&slot];
        if !self.open.contains(&Some(chain)) {
            match self.open.iter().position(Option::is_none) {
                Some(free) => self.open[free] = Some(chain),
                None => self.open.push(Some(chain)),
            }
        }
        let picture = |open: &Option<u64>| match open {
            Some(open) if *open == chain => letter,
            Some(_) => '|',
            None => ' ',
        };
        let line: Vec<String> = self.open.iter().map(|open| picture(open).to_string()).collect();
        if self.end[&chain] == slot {
            self.open.iter_mut().filter(|open| **open == Some(chain)).for_each(|open| *open = None);
            while self.open.last() == Some(&None) {
                self.open.pop();
            }
        }
        line.join(" ")
    }
}

fn percent(stake: u64, total: u64) -> f64 {
    100.0 * stake as f64 / total.max(1) as f64
}

/// What is special about a block.
fn marks(block: &ForkBlock, facts: &ForksFacts) -> Vec<&'static str> {
    let marks = [
        (block.slot == facts.root, "root"),
        (block.slot == facts.confirmed, "confirmed"),
        (block.slot == facts.heaviest, "heaviest"),
        (Some(block.slot) == facts.own_vote, "own vote"),
        (!block.valid, "two versions: not chosen"),
    ];
    marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect()
}

/// The tree as text, the oldest block on top.
fn page(facts: &ForksFacts, names: &Names<'_>) -> String {
    let slots: BTreeSet<u64> = facts.blocks.iter().map(|block| block.slot).collect();
    let mut columns = Columns::of(&facts.blocks);
    let lines: Vec<String> =
        facts.blocks.iter().map(|block| columns.line(block.slot, if block.valid { 'o' } else { 'x' })).collect();
    let width = lines.iter().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    if facts.left_out > 0 {
        let _ = writeln!(text, "{} older blocks are left out", facts.left_out);
    }
    let mut before = None;
    for (block, line) in facts.blocks.iter().zip(&lines) {
        let bar = "#"
            .repeat((u128::from(block.stake_above) * u128::from(BAR) / u128::from(facts.total_stake.max(1))) as usize);
        let leader = block.leader.as_deref().map_or_else(String::new, |leader| names.of(leader));
        let share = percent(block.stake_above, facts.total_stake);
        let _ = write!(text, "{line:<width$}  {:>8}  {leader:<8}  {share:>5.1} % {bar:<20}", block.slot);
        if let Some(parent) = block.parent.filter(|parent| before != Some(*parent)) {
            let gone = if slots.contains(&parent) { "" } else { ", which is left out" };
            let _ = write!(text, "  on {parent}{gone}");
        }
        if !block.voters.is_empty() {
            let voters: Vec<String> = block.voters.iter().map(|voter| names.of(voter)).collect();
            let _ = write!(text, "  votes: {}", voters.join(" "));
        }
        for mark in marks(block, facts) {
            let _ = write!(text, "  [{mark}]");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        before = Some(block.slot);
    }
    text
}

/// The tree for Graphviz.
fn dot(facts: &ForksFacts, names: &Names<'_>) -> String {
    let mut text = String::from("digraph forks {\n  rankdir=LR;\n  node [shape=box, fontname=\"monospace\"];\n");
    for block in &facts.blocks {
        let leader = block.leader.as_deref().map_or_else(String::new, |leader| names.of(leader));
        let mut label = vec![block.slot.to_string(), leader];
        label.push(format!("{:.1} %", percent(block.stake_above, facts.total_stake)));
        label.extend(marks(block, facts).into_iter().map(str::to_owned));
        let style = match (block.valid, block.slot <= facts.confirmed) {
            (false, _) => "dashed",
            (true, true) => "bold",
            (true, false) => "solid",
        };
        let _ = writeln!(text, "  b{} [label=\"{}\", style={style}];", block.slot, label.join("\\n"));
        if let Some(parent) = block.parent {
            let _ = writeln!(text, "  b{parent} -> b{};", block.slot);
        }
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(slot: u64, parent: u64, stake_above: u64, voters: &[&str]) -> ForkBlock {
        let voters = voters.iter().map(ToString::to_string).collect();
        let parent = (parent != slot).then_some(parent);
        ForkBlock { slot, parent, stake_above, voters, valid: true, ..ForkBlock::default() }
    }

    fn facts() -> ForksFacts {
        let mut blocks = vec![
            block(4, 4, 100, &[]),
            block(5, 4, 40, &[]),
            block(6, 4, 60, &["a"]),
            block(7, 5, 40, &["b", "c"]),
            block(8, 6, 50, &["d"]),
        ];
        blocks[3].valid = false;
        let own_vote = Some(8);
        ForksFacts { root: 4, confirmed: 4, heaviest: 8, own_vote, total_stake: 100, blocks, ..ForksFacts::default() }
    }

    #[test]
    fn a_fork_has_a_column_of_its_own_while_it_goes_on() {
        let expected = "\
o           4            100.0 % ####################  [root]  [confirmed]
| o         5             40.0 % ########
o |         6             60.0 % ############          on 4  votes: a
| x         7             40.0 % ########              on 5  votes: b c  [two versions: not chosen]
o           8             50.0 % ##########            on 6  votes: d  [heaviest]  [own vote]
";
        assert_eq!(page(&facts(), &Names(None)), expected);
    }

    #[test]
    fn a_parent_that_is_left_out_is_said() {
        let blocks = vec![block(9, 8, 1, &[])];
        let facts = ForksFacts { blocks, left_out: 3, total_stake: 1, ..ForksFacts::default() };
        let text = page(&facts, &Names(None));
        assert!(text.contains("3 older blocks") && text.contains("on 8, which is left out"), "{text}");
    }

    #[test]
    fn the_tree_for_graphviz_has_every_block_and_edge() {
        let text = dot(&facts(), &Names(None));
        assert_eq!(text.matches("label=").count(), 5, "{text}");
        for edge in ["b4 -> b5", "b4 -> b6", "b5 -> b7", "b6 -> b8"] {
            assert!(text.contains(edge), "{text}");
        }
        assert!(text.contains("b7 [label=\"7\\n\\n40.0 %\\ntwo versions: not chosen\", style=dashed]"), "{text}");
    }
}
