//! Rows as a table for people.

use super::measure::Row;
use crate::sim::page::{Place, grouped, percent};
use std::fmt::Write as _;

/// Where in a document the table goes.
pub const PLACE: Place = Place { begin: "<!-- sundog sim turbine: begin -->", end: "<!-- sundog sim turbine: end -->" };

const HEAD: &str = "\
| nodes | fanout | loss | blocks x sets | complete without repair | with repair | hops, mean | max | 50 % | 90 % | 99 % | 100 % | kB sent, mean | max | times the bound | repair requests |
|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
";

/// A table in Markdown.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = HEAD.to_owned();
    for row in rows {
        let [p50, p90, p99, p100] = row.ms.map(milliseconds);
        let (nodes, fanout, loss) = (grouped(row.nodes as u64), row.fanout, row.loss_percent);
        let (slots, sets) = (row.slots, row.sets);
        let (without, with) = (percent(row.complete_without_repair), percent(row.complete));
        let (mean, max) = (row.bytes_mean as f64 / 1e3, row.bytes_max as f64 / 1e3);
        let bound = row.bytes_mean as f64 / row.bytes_bound.max(1) as f64;
        let _ = writeln!(
            text,
            "| {nodes} | {fanout} | {loss} % | {slots} x {sets} | {without} | {with} | {:.1} | {} | {p50} | {p90} | {p99} | {p100} | \
             {mean:.0} | {} | {bound:.2} | {:.1} |",
            row.hops_mean,
            row.hops_max,
            grouped(max as u64),
            row.requests_mean,
        );
    }
    text
}

fn milliseconds(ms: Option<u64>) -> String {
    ms.map_or("never".into(), |ms| format!("{} ms", grouped(ms)))
}
