//! Rows as a table for people.

use super::{Row, tally::CLASSES};
use std::fmt::Write as _;

/// The line before the table in a document.
pub const BEGIN: &str = "<!-- sundog sim gossip: begin -->";
/// The line after it.
pub const END: &str = "<!-- sundog sim gossip: end -->";

const HEAD: &str = "\
| nodes | origins | loss | churn | new: 50 % | 99 % | 100 % | reached | settled: 50 % | 99 % | 100 % | reached | pushed | copies of a Vote | EpochSlots | ContactInfo | kB/s out | kB/s in | of it pushes | pull requests | pull responses | prunes | pings, pongs |
|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
";

/// A table in Markdown.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = HEAD.to_owned();
    for row in rows {
        let spreads = [&row.fresh, &row.settled].map(|spread| {
            let [p50, p99, p100] = spread.rounds.map(rounds);
            format!("{p50} | {p99} | {p100} | {}", percent(spread.reached))
        });
        let [fresh, settled] = spreads;
        let copies = |kind: &str| row.copies.get(kind).map_or("-".into(), |copies| format!("{copies:.2}"));
        let total = |bytes: f64| format!("{:.1}", bytes / 1e3);
        let [pull_request, pull_response, push, prune, ping] =
            CLASSES.map(|class| total(row.received.get(class).copied().unwrap_or(0.0)));
        let _ = writeln!(
            text,
            "| {} | {} | {} % | {} % | {fresh} | {settled} | {:.1} % | {} | {} | {} | {} | {} | {push} | {pull_request} | {pull_response} | {prune} | {ping} |",
            grouped(row.nodes as u64),
            grouped(row.origins as u64),
            row.loss_percent,
            row.churn_percent,
            row.pushed_share * 100.0,
            copies("Vote"),
            copies("EpochSlots"),
            copies("ContactInfo"),
            total(row.sent.values().sum()),
            total(row.received.values().sum()),
        );
    }
    text
}

/// The document with the table between the two markers replaced. `None`: it does not have them.
#[must_use]
pub fn insert(document: &str, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

/// Never rounded up to a hundred.
fn percent(share: f64) -> String {
    if share >= 1.0 { "100 %".into() } else { format!("{:.2} %", (share * 1e4).floor() / 1e2) }
}

fn rounds(rounds: Option<f64>) -> String {
    rounds.map_or("never".into(), |rounds| format!("{rounds:.1}"))
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_finds_its_place() {
        let document = format!("# A\n\n{BEGIN}\nold\n{END}\n\nmore\n");
        let written = insert(&document, "new\n").expect("it has the markers");
        assert_eq!(written, format!("# A\n\n{BEGIN}\nnew\n{END}\n\nmore\n"));
        assert_eq!(insert(&written, "new\n").as_deref(), Some(written.as_str()));
        assert_eq!(insert("# A\n", "new\n"), None);
    }
}
