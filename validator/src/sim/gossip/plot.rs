//! Rows as a picture.

use super::Row;
use std::fmt::Write as _;

/// Width and height of the picture.
const SIZE: (f64, f64) = (800.0, 420.0);
/// Where the plot lies in it: left, top, right, bottom.
const FRAME: (f64, f64, f64, f64) = (56.0, 24.0, 590.0, 372.0);
/// Rounds that are shown; whatever still lacks a vote then gets it by pull.
const ROUNDS: usize = 20;
/// Points of a curve for each round.
const POINTS: usize = 2;
/// One for each size of cluster; seen on white and on black.
const COLOURS: [&str; 5] = ["#3f8fd2", "#d9822b", "#2fa36b", "#b45fc6", "#c94f5d"];
/// One for each loss.
const DASHES: [&str; 4] = ["none", "7 4", "2 4", "9 3 2 3"];
/// Of lines without churn, and with.
const WIDTHS: [f64; 2] = [1.0, 2.0];
/// Of axes and text: grey is seen on white and on black.
const GREY: &str = "#858585";

/// The share of nodes that a vote has reached over rounds, one line for each row, as SVG.
#[must_use]
pub fn plot(rows: &[Row]) -> String {
    let (width, height) = SIZE;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"{GREY}\">\n<title>Share of nodes that a new vote has reached, over rounds of 100 ms</title>\n"
    );
    axes(&mut text);
    let sizes = distinct(rows.iter().map(|row| row.nodes));
    let losses = distinct(rows.iter().map(|row| row.loss_percent as usize));
    for (number, row) in rows.iter().enumerate() {
        let colour = COLOURS[place(&sizes, row.nodes) % COLOURS.len()];
        let dash = DASHES[place(&losses, row.loss_percent as usize) % DASHES.len()];
        let width = WIDTHS[usize::from(row.churn_percent > 0)];
        let stroke = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-dasharray=\"{dash}\"");
        let points = row.settled.curve.iter().take(ROUNDS * POINTS + 1).enumerate().map(|(point, share)| {
            let (x, y) = spot(point as f64 / POINTS as f64, *share);
            format!("{x:.1},{y:.1}")
        });
        let _ = writeln!(text, "<polyline {stroke} points=\"{}\"/>", points.collect::<Vec<_>>().join(" "));
        let y = FRAME.1 + 10.0 + 18.0 * number as f64;
        let (left, right) = (FRAME.2 + 14.0, FRAME.2 + 44.0);
        let _ = writeln!(text, "<path {stroke} d=\"M{left} {y}H{right}\"/>");
        let name = format!("{} nodes, {} %, {} %", row.nodes, row.loss_percent, row.churn_percent);
        let _ = writeln!(text, "<text x=\"{}\" y=\"{}\">{name}</text>", right + 6.0, y + 4.0);
    }
    text.push_str("</svg>\n");
    text
}

fn axes(text: &mut String) {
    let (left, top, right, bottom) = FRAME;
    for tenth in (0..=10).step_by(2) {
        let share = f64::from(tenth) / 10.0;
        let (_, y) = spot(0.0, share);
        let _ = writeln!(text, "<path stroke=\"{GREY}\" stroke-opacity=\"0.4\" d=\"M{left} {y:.1}H{right}\"/>");
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{} %</text>",
            left - 8.0,
            y + 4.0,
            tenth * 10
        );
    }
    for round in (0..=ROUNDS).step_by(5) {
        let (x, _) = spot(round as f64, 0.0);
        let _ = writeln!(text, "<path stroke=\"{GREY}\" stroke-opacity=\"0.4\" d=\"M{x:.1} {top}V{bottom}\"/>");
        let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{round}</text>", bottom + 18.0);
    }
    let middle = f64::midpoint(left, right);
    let _ = writeln!(
        text,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">rounds of 100 ms since a node voted</text>",
        bottom + 38.0
    );
}

fn spot(rounds: f64, share: f64) -> (f64, f64) {
    let (left, top, right, bottom) = FRAME;
    (left + (right - left) * rounds / ROUNDS as f64, bottom - (bottom - top) * share)
}

fn distinct(values: impl Iterator<Item = usize>) -> Vec<usize> {
    values.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

fn place(values: &[usize], value: usize) -> usize {
    values.iter().position(|other| *other == value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::gossip::{Plan, measure};

    #[test]
    fn every_row_has_a_line_and_its_name() {
        let row = measure(&Plan { warm_s: 2, window_s: 6, ..Plan::usual(1, 10, 0, 0) });
        let picture = plot(&[row.clone(), Row { loss_percent: 30, ..row }]);
        assert_eq!(picture.matches("<polyline").count(), 2);
        assert!(picture.contains("10 nodes, 30 %, 0 %"));
        assert!(picture.ends_with("</svg>\n"));
    }
}
