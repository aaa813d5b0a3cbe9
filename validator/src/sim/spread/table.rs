//! Rows as a table for people.

use super::measure::Row;
use std::fmt::Write as _;

/// The line before the table in a document.
pub const BEGIN: &str = "<!-- sundog sim turbine: begin -->";
/// The line after it.
pub const END: &str = "<!-- sundog sim turbine: end -->";

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

fn milliseconds(ms: Option<u64>) -> String {
    ms.map_or("never".into(), |ms| format!("{} ms", grouped(ms)))
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

    #[test]
    fn numbers_are_readable_and_honest() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1.0, 0.99999, 0.5].map(percent), ["100 %", "99.99 %", "50.00 %"]);
    }
}
