//! `sundog forks`.

use super::{Names, Whom, ask, stopped, watch};
use crate::cli::{say, say_json};
use clap::Args;
use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _};
use sundog_rpc::votes::{ForkBlock, ForksFacts};

/// Characters of the bar that shows how much of the stake is behind a block.
const BAR: u64 = 20;
/// Voters named for a block at most.
const VOTERS_SHOWN: usize = 6;
/// Characters for the leader's name at least.
const LEADER_WIDTH: usize = 8;
/// So many blocks in a row where nothing happens become one line.
const FOLDED_MIN: usize = 3;

/// Arguments of `sundog forks`.
#[derive(Args)]
#[command(after_help = "\
Every line is a block: o, or x while two versions of it or of an ancestor are known and none is confirmed; where nothing
happens, one line stands for many. The stake is that of voters whose newest vote in a block is this block or one built
on it.

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
    /// Give every block a line, also where nothing happens.
    #[arg(long, conflicts_with_all = ["json", "dot"])]
    all: bool,
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
                let draw = |facts: &ForksFacts, lines| page(facts, &names, Look { all: args.all, lines });
                return watch(|| ask(&client, "sundog_getForks"), draw);
            }
            ask(&client, "sundog_getForks")?
        }
    };
    if args.json {
        say_json(&facts);
    } else if args.dot {
        say(dot(&facts, &names).trim_end());
    } else {
        say(page(&facts, &names, Look { all: args.all, lines: usize::MAX }).trim_end());
    }
    Ok(())
}

/// Chains of the tree, each with a column of its own from the block that it leaves to its last one.
struct Columns {
    /// The heaviest child of each block, which goes on in its column.
    heir: BTreeMap<u64, u64>,
    /// The other children, ascending.
    others: BTreeMap<u64, Vec<u64>>,
    /// Which block each column waits for.
    open: Vec<Option<u64>>,
}

impl Columns {
    fn of(blocks: &[ForkBlock]) -> Self {
        let mut children: BTreeMap<u64, Vec<&ForkBlock>> = BTreeMap::new();
        for block in blocks {
            if let Some(parent) = block.parent {
                children.entry(parent).or_default().push(block);
            }
        }
        let (mut heir, mut others) = (BTreeMap::new(), BTreeMap::new());
        for (parent, children) in children {
            // Of equals the first goes on, as it does in the fork choice.
            let rank = |block: &&&ForkBlock| (block.valid, block.stake_above, Reverse(block.slot));
            let heaviest = children.iter().max_by_key(rank).map_or(parent, |block| block.slot);
            heir.insert(parent, heaviest);
            others.insert(parent, children.iter().map(|block| block.slot).filter(|slot| *slot != heaviest).collect());
        }
        Self { heir, others, open: Vec::new() }
    }

    /// The first free column, left to this block.
    fn reserve(&mut self, slot: u64) -> usize {
        let place = self.open.iter().position(Option::is_none).unwrap_or(self.open.len());
        if place == self.open.len() {
            self.open.push(None);
        }
        self.open[place] = Some(slot);
        place
    }

    /// The picture of a block's line, and below it one line for every chain that leaves it.
    fn lines(&mut self, slot: u64, letter: char) -> Vec<String> {
        let own = self.open.iter().position(|open| *open == Some(slot)).unwrap_or_else(|| self.reserve(slot));
        let picture: Vec<char> =
            (0..self.open.len()).map(|at| if at == own { letter } else { self.passing(at) }).collect();
        let mut lines = vec![spaced(&picture, None)];
        self.open[own] = self.heir.get(&slot).copied();
        for child in self.others.remove(&slot).unwrap_or_default() {
            let place = self.reserve(child);
            let picture: Vec<char> = (0..self.open.len())
                .map(|at| match at {
                    at if at == own => '+',
                    at if at == place => '.',
                    at => self.passing(at),
                })
                .collect();
            lines.push(spaced(&picture, Some((own.min(place), own.max(place)))));
        }
        while self.open.last() == Some(&None) {
            self.open.pop();
        }
        lines
    }

    fn passing(&self, column: usize) -> char {
        if self.open[column].is_some() { '|' } else { ' ' }
    }
}

/// Columns with a space between them, or a dash from one to another.
fn spaced(picture: &[char], bridge: Option<(usize, usize)>) -> String {
    let mut line = String::new();
    for (at, letter) in picture.iter().enumerate() {
        let under = bridge.is_some_and(|(from, to)| (from..to).contains(&at));
        let passed = bridge.is_some_and(|(from, to)| from < at && at < to);
        line.push(if passed && *letter == ' ' { '-' } else { *letter });
        line.push(if under { '-' } else { ' ' });
    }
    line.trim_end().to_owned()
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

/// A block's line, and whether anything is to be seen there.
struct Row {
    /// Its picture, and those of the chains that leave it.
    pictures: Vec<String>,
    slot: u64,
    /// What is said of it.
    facts: String,
    /// Nothing begins, ends or changes there, and nobody's newest vote is there.
    dull: bool,
}

fn rows(facts: &ForksFacts, names: &Names<'_>) -> Vec<Row> {
    let known: BTreeMap<u64, u64> = facts.blocks.iter().map(|block| (block.slot, block.stake_above)).collect();
    let leader = |block: &ForkBlock| block.leader.as_deref().map_or_else(String::new, |leader| names.of(leader));
    let leader_width = facts.blocks.iter().map(|block| leader(block).len()).max().unwrap_or(0).max(LEADER_WIDTH);
    let mut columns = Columns::of(&facts.blocks);
    let row = |block: &ForkBlock| {
        let pictures = columns.lines(block.slot, if block.valid { 'o' } else { 'x' });
        let notes = notes(block, (facts, &known), names);
        let share = percent(block.stake_above, facts.total_stake);
        let bar = "#".repeat((share * BAR as f64 / 100.0).round() as usize);
        let goes_on = columns.heir.contains_key(&block.slot) && pictures.len() == 1;
        let as_below = block.parent.and_then(|parent| known.get(&parent)) == Some(&block.stake_above);
        let dull = notes.is_empty() && goes_on && as_below;
        let text = format!("{:<leader_width$}  {share:>5.1} %  {bar:<20}{notes}", leader(block));
        Row { pictures, slot: block.slot, facts: text.trim_end().to_owned(), dull }
    };
    facts.blocks.iter().map(row).collect()
}

/// What is special about a block, who voted for it, and whether its parent is missing.
fn notes(block: &ForkBlock, (facts, known): (&ForksFacts, &BTreeMap<u64, u64>), names: &Names<'_>) -> String {
    let mut notes: String = marks(block, facts).iter().map(|mark| format!("  [{mark}]")).collect();
    if !block.voters.is_empty() {
        let _ = write!(notes, "  votes: {}", voters(block, names));
    }
    if let Some(parent) = block.parent.filter(|parent| !known.contains_key(parent)) {
        let _ = write!(notes, "  on {parent}, which is left out");
    }
    notes
}

/// How a page is to look.
#[derive(Clone, Copy)]
struct Look {
    /// Every block has a line; otherwise many blocks where nothing happens share one.
    all: bool,
    /// Lines at most: the oldest blocks are left out.
    lines: usize,
}

/// The tree as text, the oldest block on top.
fn page(facts: &ForksFacts, names: &Names<'_>, look: Look) -> String {
    let own = facts.own_vote.map_or_else(|| "none".to_owned(), |slot| slot.to_string());
    let ForksFacts { root, finalized, confirmed, heaviest, .. } = facts;
    let mut text =
        format!("finalized {finalized}  root {root}  confirmed {confirmed}  heaviest {heaviest}  own vote {own}\n\n");
    if let Some(why) = &facts.tower_unreadable {
        let _ = writeln!(text, "own votes are not known: {why}");
    }
    let rows = rows(facts, names);
    let width = rows.iter().flat_map(|row| &row.pictures).map(String::len).max().unwrap_or(0).max("fork".len());
    let runs: Vec<Run> = rows
        .chunk_by(|row, next| !look.all && row.dull && next.dull)
        .flat_map(|run| if run.len() < FOLDED_MIN { run.chunks(1) } else { run.chunks(run.len()) })
        .map(|rows| Run::of(rows, width))
        .collect();
    // One line is the head of the columns.
    let room = look.lines.saturating_sub(text.lines().count() + 1);
    let (shown, hidden) = newest(&runs, room, facts.left_out);
    if hidden > 0 {
        let _ = writeln!(text, "{hidden} older blocks are left out");
    }
    let _ = writeln!(text, "{:<width$}  {:>10}  {:<LEADER_WIDTH$}  {:>7}", "fork", "slot", "leader", "stake");
    shown.iter().for_each(|run| text.push_str(&run.text));
    text
}

/// The newest that have room, and how many blocks are left out then, with those that are left out anyway. To say so takes
/// a line too.
fn newest(runs: &[Run], room: usize, left_out: usize) -> (&[Run], usize) {
    let lines = |from: usize| runs[from..].iter().map(|run| run.text.lines().count()).sum::<usize>();
    let fits = |from: &usize| lines(*from) + usize::from(*from > 0 || left_out > 0) <= room;
    // However little room there is, the newest is shown.
    let from = (0..runs.len()).find(fits).unwrap_or(runs.len().saturating_sub(1));
    (&runs[from..], left_out + runs[..from].iter().map(|run| run.blocks).sum::<usize>())
}

/// Blocks that are drawn together.
struct Run {
    blocks: usize,
    /// Their lines.
    text: String,
}

impl Run {
    /// A block, or many that share a line.
    fn of(rows: &[Row], width: usize) -> Self {
        let mut text = String::new();
        match rows {
            [first, .., last] => {
                let picture: String = last.pictures[0].chars().map(|it| if it == ' ' { ' ' } else { ':' }).collect();
                let (first, last) = (first.slot, last.slot);
                let _ = writeln!(text, "{picture:<width$}  {:>10}  {} blocks, {first} to {last}", "", rows.len());
            }
            rows => rows.iter().for_each(|row| draw(&mut text, row, width)),
        }
        Self { blocks: rows.len(), text }
    }
}

fn draw(text: &mut String, row: &Row, width: usize) {
    let _ = writeln!(text, "{:<width$}  {:>10}  {}", row.pictures[0], row.slot, row.facts);
    text.truncate(text.trim_end().len());
    text.push('\n');
    for below in &row.pictures[1..] {
        let _ = writeln!(text, "{below}");
    }
}

/// Whose newest vote a block is.
fn voters(block: &ForkBlock, names: &Names<'_>) -> String {
    let mut named: Vec<String> = block.voters.iter().take(VOTERS_SHOWN).map(|voter| names.of(voter)).collect();
    named.sort();
    let more = block.voters.len() - named.len();
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    named.join(" ")
}

/// The tree for Graphviz.
fn dot(facts: &ForksFacts, names: &Names<'_>) -> String {
    let mut text = String::from("digraph forks {\n  rankdir=LR;\n  node [shape=box, fontname=\"monospace\"];\n");
    if let Some(why) = &facts.tower_unreadable {
        let _ = writeln!(text, "  label=\"own votes are not known: {}\";", quoted(why));
    }
    for block in &facts.blocks {
        let mut label = vec![block.slot.to_string()];
        label.extend(block.leader.as_deref().map(|leader| names.of(leader)));
        label.push(format!("{:.1} %", percent(block.stake_above, facts.total_stake)));
        label.extend(marks(block, facts).into_iter().map(str::to_owned));
        if !block.voters.is_empty() {
            label.push(format!("votes: {}", voters(block, names)));
        }
        let style = match (block.valid, block.slot <= facts.confirmed) {
            (false, _) => "dashed",
            (true, true) => "bold",
            (true, false) => "solid",
        };
        let label: Vec<String> = label.iter().map(|line| quoted(line)).collect();
        let _ = writeln!(text, "  b{} [label=\"{}\", style={style}];", block.slot, label.join("\\n"));
        if let Some(parent) = block.parent {
            let _ = writeln!(text, "  b{parent} -> b{};", block.slot);
        }
    }
    text.push_str("}\n");
    text
}

/// Text inside the quotes of Graphviz's language.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(slot: u64, parent: u64, stake_above: u64, voters: &[&str]) -> ForkBlock {
        let voters = voters.iter().map(ToString::to_string).collect();
        let parent = (parent != slot).then_some(parent);
        ForkBlock { slot, parent, stake_above, voters, valid: true, ..ForkBlock::default() }
    }

    const FOLDED: Look = Look { all: false, lines: usize::MAX };

    fn facts() -> ForksFacts {
        let mut blocks = vec![
            block(4, 4, 100, &[]),
            block(5, 4, 40, &[]),
            block(6, 4, 60, &["a"]),
            block(7, 5, 40, &["b", "c"]),
            block(8, 6, 50, &["d"]),
        ];
        blocks[3].valid = false;
        blocks[4].leader = Some("somebody unknown".into());
        let (own_vote, total_stake) = (Some(8), 100);
        let facts = ForksFacts { root: 4, confirmed: 4, finalized: 2, heaviest: 8, ..ForksFacts::default() };
        ForksFacts { own_vote, total_stake, blocks, ..facts }
    }

    #[test]
    fn a_fork_has_a_column_of_its_own_from_where_it_leaves() {
        let expected = "\
finalized 2  root 4  confirmed 4  heaviest 8  own vote 8

fork        slot  leader      stake
o              4            100.0 %  ####################  [root]  [confirmed]
+-.
| o            5             40.0 %  ########
o |            6             60.0 %  ############          votes: a
| x            7             40.0 %  ########              [two versions: not chosen]  votes: b c
o              8  somebody   50.0 %  ##########            [heaviest]  [own vote]  votes: d
";
        let text = page(&facts(), &Names(None), FOLDED);
        assert_eq!(text, expected, "\n{text}");
    }

    /// The pictures alone of a tree of pairs of slot and parent; all weigh the same.
    fn drawn(tree: &[(u64, u64)]) -> String {
        let blocks: Vec<_> = tree.iter().map(|(slot, parent)| block(*slot, *parent, 1, &[])).collect();
        let mut columns = Columns::of(&blocks);
        let mut text = String::new();
        for block in &blocks {
            for (place, line) in columns.lines(block.slot, 'o').iter().enumerate() {
                let slot = if place == 0 { format!(" {}", block.slot) } else { String::new() };
                text.push_str(&format!("{line}{slot}\n"));
            }
        }
        text
    }

    #[test]
    fn three_chains_from_one_block_and_one_from_an_inner_column() {
        let tree = [(0, 0), (1, 0), (2, 0), (3, 0), (4, 2), (5, 2), (6, 1), (7, 5)];
        let expected = "\
o 0
+-.
+-|-.
o | | 1
| o | 2
| +-|-.
| | o | 3
| o   | 4
|     o 5
o     | 6
      o 7
";
        let text = drawn(&tree);
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn a_column_that_is_free_again_is_used_again_also_to_the_left() {
        let tree = [(0, 0), (1, 0), (2, 0), (3, 2), (4, 2)];
        let expected = "\
o 0
+-.
o | 1
  o 2
.-+
| o 3
o 4
";
        let text = drawn(&tree);
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn blocks_where_nothing_happens_share_a_line_unless_all_are_wanted() {
        let mut blocks = vec![block(1, 1, 9, &[])];
        blocks.extend((2..8).map(|slot| block(slot, slot - 1, 9, &[])));
        blocks.extend([block(8, 7, 5, &["a"]), block(9, 7, 4, &[]), block(10, 8, 5, &[]), block(11, 9, 4, &[])]);
        blocks.extend([block(12, 10, 5, &["b"]), block(13, 11, 4, &["c"])]);
        let facts = ForksFacts { root: 1, total_stake: 10, blocks, ..ForksFacts::default() };
        let expected = "\
finalized 0  root 1  confirmed 0  heaviest 0  own vote none

fork        slot  leader      stake
o              1             90.0 %  ##################    [root]
:                 5 blocks, 2 to 6
o              7             90.0 %  ##################
+-.
o |            8             50.0 %  ##########            votes: a
| o            9             40.0 %  ########
o |           10             50.0 %  ##########
| o           11             40.0 %  ########
o |           12             50.0 %  ##########            votes: b
  o           13             40.0 %  ########              votes: c
";
        let text = page(&facts, &Names(None), FOLDED);
        assert_eq!(text, expected, "\n{text}");
        let text = page(&facts, &Names(None), Look { all: true, ..FOLDED });
        assert_eq!(text.lines().count(), 3 + 13 + 1, "{text}");
    }

    #[test]
    fn a_parent_that_is_left_out_is_said() {
        let blocks = vec![block(9, 8, 1, &[])];
        let facts = ForksFacts { blocks, left_out: 3, total_stake: 1, ..ForksFacts::default() };
        let text = page(&facts, &Names(None), FOLDED);
        assert!(text.contains("3 older blocks") && text.contains("on 8, which is left out"), "{text}");
    }

    #[test]
    fn a_low_screen_shows_the_newest_blocks_and_says_how_many_it_leaves_out() {
        let at = |lines: usize| page(&facts(), &Names(None), Look { lines, ..FOLDED });
        let whole = page(&facts(), &Names(None), FOLDED);
        assert_eq!(at(whole.lines().count()), whole);
        let expected = "\
finalized 2  root 4  confirmed 4  heaviest 8  own vote 8

2 older blocks are left out
fork        slot  leader      stake
o |            6             60.0 %  ############          votes: a
| x            7             40.0 %  ########              [two versions: not chosen]  votes: b c
o              8  somebody   50.0 %  ##########            [heaviest]  [own vote]  votes: d
";
        let text = at(7);
        assert_eq!(text, expected, "\n{text}");
        assert!((5..9).all(|lines| at(lines).lines().count() <= lines), "{}", at(8));
        assert!(at(0).ends_with("[heaviest]  [own vote]  votes: d\n"), "the newest is always there");
        // Those that share a line are left out together, beside what is missing anyway.
        let mut blocks = vec![block(1, 1, 9, &[])];
        blocks.extend((2..8).map(|slot| block(slot, slot - 1, 9, &[])));
        let facts = ForksFacts { root: 1, blocks, left_out: 100, total_stake: 10, ..ForksFacts::default() };
        let text = page(&facts, &Names(None), Look { lines: 5, ..FOLDED });
        assert!(text.contains("106 older blocks are left out"), "{text}");
        assert!(page(&facts, &Names(None), Look { lines: 6, ..FOLDED }).contains("101 older"), "{text}");
    }

    #[test]
    fn why_the_own_votes_are_not_known_is_said_on_the_page_and_in_the_picture() {
        let facts = ForksFacts { tower_unreadable: Some("the \"file\" is torn".into()), own_vote: None, ..facts() };
        let text = page(&facts, &Names(None), FOLDED);
        assert!(text.contains("own vote none\n\nown votes are not known: the \"file\" is torn\nfork  "), "{text}");
        let dot = dot(&facts, &Names(None));
        assert!(dot.contains("  label=\"own votes are not known: the \\\"file\\\" is torn\";\n"), "{dot}");
    }

    #[test]
    fn of_many_voters_some_are_named_and_the_others_counted() {
        let voters = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let text = page(&ForksFacts { blocks: vec![block(1, 1, 1, &voters)], ..facts() }, &Names(None), FOLDED);
        assert!(text.contains("votes: a b c d e f and 2 more\n"), "{text}");
    }

    #[test]
    fn the_tree_for_graphviz_has_every_block_and_edge() {
        let text = dot(&facts(), &Names(None));
        let expected = r#"digraph forks {
  rankdir=LR;
  node [shape=box, fontname="monospace"];
  b4 [label="4\n100.0 %\nroot\nconfirmed", style=bold];
  b5 [label="5\n40.0 %", style=solid];
  b4 -> b5;
  b6 [label="6\n60.0 %\nvotes: a", style=solid];
  b4 -> b6;
  b7 [label="7\n40.0 %\ntwo versions: not chosen\nvotes: b c", style=dashed];
  b5 -> b7;
  b8 [label="8\nsomebody\n50.0 %\nheaviest\nown vote\nvotes: d", style=solid];
  b6 -> b8;
}
"#;
        assert_eq!(text, expected, "\n{text}");
        assert_eq!(quoted(r#"a "b" \ c"#), r#"a \"b\" \\ c"#);
    }
}
