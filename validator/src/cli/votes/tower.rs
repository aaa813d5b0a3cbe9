//! `sundog tower`.

use super::{Names, Whom, ask, stopped, watch};
use crate::cli::{say, say_json};
use clap::Args;
use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};
use sundog_rpc::votes::{TowerFacts, TowerVote};

/// Votes in a full tower.
const FULL: usize = 31;

/// Arguments of `sundog tower`.
#[derive(Args)]
#[command(after_help = "\
A vote of depth n forbids votes on other forks until its slot plus its lockout, 2^n slots. A vote on top makes those
below one deeper where the stack allows; the oldest of 31 becomes the root.

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
                return watch(|| ask(&client, "sundog_getTower"), |facts, _| page(facts, &names, now()));
            }
            ask(&client, "sundog_getTower")?
        }
    };
    if args.json {
        say_json(&facts);
    } else {
        say(page(&facts, &names, now()).trim_end());
    }
    Ok(())
}

/// Seconds since the Unix epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The tower as text, the newest vote on top.
fn page(facts: &TowerFacts, names: &Names<'_>, now: i64) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "node          {}", names.full(&facts.identity));
    let account = facts.vote_account.as_deref();
    let follows = if facts.votes.is_empty() { "none: it follows and does not vote" } else { "unknown" };
    let _ = writeln!(text, "vote account  {}\n", account.unwrap_or(follows));
    if facts.votes.is_empty() && facts.root.is_none() {
        text.push_str("no votes\n");
    } else {
        let _ = writeln!(text, "{:>12}  {:>5}  {:>10}  {:>12}", "slot", "depth", "lockout", "binds until");
    }
    for (place, vote) in facts.votes.iter().enumerate().rev() {
        text.push_str(line(vote, note(facts, place)).trim_end());
        text.push('\n');
    }
    if let Some(root) = facts.root {
        let _ = writeln!(text, "{root:>12}  {:>5}  {:>10}  {:>12}", "root", "", "for ever");
    }
    text.push('\n');
    if let (Some(hash), Some(newest)) = (&facts.voted_hash, facts.votes.last()) {
        let cast = if facts.voted_at > 0 { format!(", cast {} ago", age(now - facts.voted_at)) } else { String::new() };
        let _ = writeln!(text, "newest vote   {}, bank hash {hash}{cast}", newest.slot);
    }
    decided(&mut text, facts);
    text
}

fn line(vote: &TowerVote, note: &str) -> String {
    let TowerVote { slot, confirmation_count: depth, expires } = *vote;
    let lockout = expires.saturating_sub(slot);
    format!("{slot:>12}  {depth:>5}  {lockout:>10}  {expires:>12}  {:<31}  {note}", "#".repeat(depth as usize))
}

/// What is special about a vote.
fn note(facts: &TowerFacts, place: usize) -> &'static str {
    let runs = facts.vote_account.is_some() && facts.decision.is_some();
    if runs && facts.landed.is_none_or(|landed| landed < facts.votes[place].slot) {
        "not in a block yet"
    } else if place == 0 && facts.votes.len() == FULL {
        "becomes the root with the next vote on top"
    } else {
        ""
    }
}

/// What the node decided last.
fn decided(text: &mut String, facts: &TowerFacts) {
    let Some(decision) = &facts.decision else { return };
    let verdict = match decision.verdict.as_str() {
        "vote" | "not_newer" | "saving" | "nothing" => decision.why.clone(),
        reason => format!("does not vote ({reason}): {}", decision.why),
    };
    let _ = writeln!(text, "heaviest      {}: {verdict}", decision.heaviest);
    let because = match decision.builds_because.as_str() {
        "heaviest" => "the heaviest block",
        "switched" => "the heaviest block; the fork of the last vote may be left for it",
        "own_fork" => "the heaviest block on the fork of the last vote, which may not be left yet",
        "deepest" => "the longest chain on the fork of the last vote, which stands on a slot of two versions",
        "rollback" => "back before a slot of two versions, which the last vote stands on",
        "other_version" => "the version of the last voted slot that the cluster chose",
        "purged" => "the heaviest block; that of the last vote was thrown away",
        "stray" => "the heaviest block; that of the last vote is not known here",
        other => other,
    };
    let _ = writeln!(text, "builds on     {}: {because}", decision.builds_on);
    // What is said above need not be said again, and what is below the root is over.
    let again = |slot: u64, why: &str| why == decision.why || facts.root.is_some_and(|root| slot <= root);
    if let Some(abstained) = facts.abstained.as_ref().filter(|it| !again(it.slot, &it.why)) {
        let _ = writeln!(text, "last refused  {} ({}): {}", abstained.slot, abstained.reason, abstained.why);
    }
}

/// A time that has passed, in one unit.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_rpc::votes::{Abstention, LastDecision};

    fn vote(slot: u64, depth: u32) -> TowerVote {
        TowerVote { slot, confirmation_count: depth, expires: slot + (1 << depth) }
    }

    fn facts() -> TowerFacts {
        TowerFacts {
            identity: "Node".into(),
            vote_account: Some("Account".into()),
            root: Some(4),
            votes: vec![vote(5, 4), vote(6, 3), vote(8, 1)],
            voted_hash: Some("Hash".into()),
            voted_at: 1_000,
            landed: Some(6),
            decision: Some(LastDecision {
                heaviest: 9,
                verdict: "switch".into(),
                why: "it is on another fork".into(),
                builds_on: 8,
                builds_because: "own_fork".into(),
            }),
            abstained: Some(Abstention { slot: 9, reason: "switch".into(), why: "it is on another fork".into() }),
        }
    }

    #[test]
    fn a_tower_is_drawn_with_the_newest_vote_on_top_and_where_each_expires() {
        let expected = "\
node          Node
vote account  Account

        slot  depth     lockout   binds until
           8      1           2            10  #                                not in a block yet
           6      3           8            14  ###
           5      4          16            21  ####
           4   root                  for ever

newest vote   8, bank hash Hash, cast 7 s ago
heaviest      9: does not vote (switch): it is on another fork
builds on     8: the heaviest block on the fork of the last vote, which may not be left yet
";
        assert_eq!(page(&facts(), &Names(None), 1_007), expected);
    }

    #[test]
    fn a_full_tower_shows_what_becomes_the_root_and_an_older_refusal_is_still_told() {
        let votes: Vec<_> = (0..31).map(|n| vote(100 + u64::from(n), 31 - n)).collect();
        let mut facts = TowerFacts { votes, landed: Some(130), ..facts() };
        let decision = facts.decision.as_mut().expect("one");
        (decision.verdict, decision.why) = ("not_newer".into(), "voted for 130, waits for a newer block".into());
        let text = page(&facts, &Names(None), 1_000 + 3 * 3_600);
        let oldest = text.lines().find(|line| line.trim_start().starts_with("100 ")).expect("it is there");
        let expected =
            "         100     31  2147483648    2147483748  ###############################  becomes the root";
        assert!(oldest.starts_with(expected), "{oldest}");
        assert!(text.contains("cast 3 h ago\n"), "{text}");
        assert!(text.contains("heaviest      9: voted for 130, waits for a newer block\n"), "{text}");
        assert!(text.contains("last refused  9 (switch): it is on another fork\n"), "{text}");
    }

    #[test]
    fn a_node_without_votes_has_a_page_too() {
        let facts = TowerFacts { identity: "Node".into(), root: Some(0), ..TowerFacts::default() };
        let expected = "\
node          Node
vote account  none: it follows and does not vote

        slot  depth     lockout   binds until
           0   root                  for ever

";
        assert_eq!(page(&facts, &Names(None), 0), expected);
    }
}
