//! Rows as a table for people.

use super::{Row, tally::CLASSES};
use crate::sim::page::{Place, grouped, percent};
use std::fmt::Write as _;

/// Where in a document the table goes.
pub const PLACE: Place = Place { begin: "<!-- sundog sim gossip: begin -->", end: "<!-- sundog sim gossip: end -->" };

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

fn rounds(rounds: Option<f64>) -> String {
    rounds.map_or("never".into(), |rounds| format!("{rounds:.1}"))
}
