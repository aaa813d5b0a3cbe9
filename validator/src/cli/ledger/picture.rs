//! A slot's shreds as a page of text.

use crate::io::shreds::{ShredArrival, ShredKind, SlotShreds, Way};
use std::{collections::BTreeMap, fmt::Write as _};
use sundog_types::shred::{MAX_SHREDS_PER_SLOT, SHREDS_PER_KIND};

/// Shreds of each kind in a FEC set.
const SET: u32 = SHREDS_PER_KIND as u32;
/// A bar's heights, from one arrival to the most in a column.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// What a row of the histogram has beside its columns: the name and the sum.
const BESIDE: usize = 20;
/// Columns of a histogram at least.
const COLUMNS_MIN: usize = 20;
/// Characters of an identity that are shown where it has no name.
const SHORT: usize = 8;

/// The whole page. `width`: characters of a line.
#[must_use]
pub fn page(shreds: &SlotShreds, width: usize) -> String {
    let mut text = header(shreds);
    text.push('\n');
    text.push_str(&sets(shreds));
    text.push('\n');
    text.push_str(&histogram(shreds, width));
    text.push('\n');
    text.push_str(&table(shreds));
    if shreds.left_out > 0 {
        let _ = writeln!(text, "{} further arrivals were not written down", shreds.left_out);
    }
    text
}

fn header(shreds: &SlotShreds) -> String {
    let leader = shreds
        .leader_name
        .clone()
        .map_or_else(|| short(&shreds.leader), |n| format!("{n} ({})", short(&shreds.leader)));
    let parent = shreds.parent.map_or_else(|| "unknown".to_owned(), |parent| parent.to_string());
    let complete = shreds.complete_ms.map_or_else(|| "not complete".to_owned(), |ms| format!("complete after {ms} ms"));
    let mut text = format!("slot {}  leader {leader}  parent {parent}  {complete}\n", shreds.slot);
    let ways = Way::ALL.iter().filter_map(|way| Some(format!("{} {}", shreds.counts.get(way)?, way.name())));
    let ways: Vec<_> = ways.collect();
    let _ = writeln!(
        text,
        "{} shreds: {}; the first at {} UTC",
        shreds.arrivals.len(),
        ways.join(", "),
        clock(shreds.first_unix_ms)
    );
    if shreds.two_versions {
        text.push_str("its leader signed two versions of it; the proof is kept\n");
    }
    text
}

/// The time of day.
fn clock(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1_000, unix_ms % 1_000);
    format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60)
}

fn short(identity: &str) -> String {
    // An address is not an identity and stays whole; base58 is ASCII.
    match identity.get(..SHORT) {
        Some(start) if !identity.contains(':') => format!("{start}…"),
        _ => identity.to_owned(),
    }
}

/// One letter for how a shred came.
fn letter(arrival: &ShredArrival) -> char {
    match (arrival.how, arrival.layer) {
        (Way::Turbine, None | Some(0)) => 'r',
        (Way::Turbine, Some(layer)) => char::from_digit(layer.min(9).into(), 10).unwrap_or('9'),
        (Way::Recovered, _) => 'c',
        (Way::Repair, _) => 'p',
        (Way::Synced, _) => 's',
        (Way::Own, _) => 'o',
        (Way::Stored, _) => 'l',
    }
}

/// A row for every FEC set, from the first to the last of which a shred came.
fn sets(shreds: &SlotShreds) -> String {
    let mut rows: BTreeMap<u32, [char; 2 * SET as usize]> = BTreeMap::new();
    for arrival in &shreds.arrivals {
        let row = rows.entry(arrival.index / SET).or_insert(['.'; 2 * SET as usize]);
        let half = if arrival.kind == ShredKind::Data { 0 } else { SET };
        let place = &mut row[(half + arrival.index % SET) as usize];
        if *place == '.' {
            *place = letter(arrival);
        }
    }
    let mut text = String::from(
        "r by Turbine, this node at the root of the shred's tree, 1 2 3 in that layer below it\n\
         c recovered  p repair  s synced  o own  l stored: read back from the ledger  . never seen\n",
    );
    let _ = writeln!(text, "{:>6}  {:<32} | code", "set", "data");
    let Some(last) = rows.keys().last().copied() else { return text };
    for set in 0..=last.min(MAX_SHREDS_PER_SLOT / SET) {
        let row = rows.get(&set).copied().unwrap_or(['.'; 2 * SET as usize]);
        let (data, code) = row.split_at(SET as usize);
        let (data, code) = (data.iter().collect::<String>(), code.iter().collect::<String>());
        let _ = writeln!(text, "{:>6}  {data} | {code}", set * SET);
    }
    text
}

/// How many came when: a row for each way, a column for each stretch of time.
fn histogram(shreds: &SlotShreds, width: usize) -> String {
    let columns = u32::try_from(width.saturating_sub(BESIDE).max(COLUMNS_MIN)).unwrap_or(u32::MAX);
    let last = shreds.arrivals.iter().map(|a| a.at_ms).chain(shreds.complete_ms).max().unwrap_or(0);
    let step = last / columns + 1;
    let columns = last / step + 1;
    let mut rows: BTreeMap<Way, Vec<usize>> = BTreeMap::new();
    for arrival in &shreds.arrivals {
        let row = rows.entry(arrival.how).or_insert_with(|| vec![0; columns as usize]);
        row[(arrival.at_ms / step) as usize] += 1;
    }
    let most = rows.values().flatten().copied().max().unwrap_or(0);
    let mut text = format!("arrivals from +0 to +{last} ms, {step} ms a column, at most {most} in one\n");
    for (way, row) in &rows {
        let bars: String = row.iter().map(|count| bar(*count, most)).collect();
        let _ = writeln!(text, "{:<9} |{bars}| {:>5}", way.name(), row.iter().sum::<usize>());
    }
    if let Some(complete) = shreds.complete_ms {
        let before = " ".repeat((complete / step) as usize);
        let _ = writeln!(text, "{:<9}  {before}^", "complete");
    }
    text
}

fn bar(count: usize, most: usize) -> char {
    match count {
        0 => ' ',
        count => BARS[(count * BARS.len()).div_ceil(most.max(1)).clamp(1, BARS.len()) - 1],
    }
}

/// A line for every arrival.
fn table(shreds: &SlotShreds) -> String {
    let mut text = format!("{:>7}  kind  {:>5}  {:<9}  {:>5}  from\n", "+ms", "index", "how", "layer");
    for arrival in &shreds.arrivals {
        let layer = arrival.layer.map_or_else(|| "-".to_owned(), |layer| layer.to_string());
        let from = match (&arrival.name, &arrival.from) {
            (Some(name), _) => name.clone(),
            (None, Some(from)) => short(from),
            (None, None) => "-".to_owned(),
        };
        let (at, kind, index, how) = (arrival.at_ms, arrival.kind, arrival.index, arrival.how.name());
        let _ = writeln!(text, "{at:>7}  {kind}  {index:>5}  {how:<9}  {layer:>5}  {from}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(at_ms: u32, kind: ShredKind, index: u32, how: Way) -> ShredArrival {
        ShredArrival { at_ms, kind, index, how, layer: None, from: None, name: None }
    }

    fn sent(arrival: ShredArrival, layer: u8, from: &str) -> ShredArrival {
        ShredArrival { layer: Some(layer), from: Some(from.into()), ..arrival }
    }

    fn of(arrivals: Vec<ShredArrival>) -> SlotShreds {
        let mut counts = BTreeMap::new();
        arrivals.iter().for_each(|arrival| *counts.entry(arrival.how).or_default() += 1);
        SlotShreds {
            slot: 77,
            leader: "7XSvJnS8kFVGv3bBqYrtjS1k7Gyw9oyLRNFZ7pPVtYcC".into(),
            leader_name: None,
            parent: Some(75),
            first_unix_ms: 1_700_000_000_123,
            complete_ms: Some(31),
            two_versions: false,
            counts,
            left_out: 0,
            arrivals,
        }
    }

    fn small() -> SlotShreds {
        use ShredKind::{Code, Data};
        let peer = "4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi";
        let mut shreds = of(vec![
            sent(came(0, Data, 0, Way::Turbine), 0, peer),
            sent(came(0, Data, 1, Way::Turbine), 1, peer),
            sent(came(2, Code, 3, Way::Turbine), 2, "127.0.0.1:8001"),
            came(9, Data, 2, Way::Recovered),
            ShredArrival { from: Some(peer.into()), ..came(31, Data, 33, Way::Repair) },
        ]);
        shreds.arrivals[1].name = Some("node-2".into());
        shreds
    }

    #[test]
    fn a_small_slot_is_a_whole_page() {
        let expected = "\
slot 77  leader 7XSvJnS8…  parent 75  complete after 31 ms
5 shreds: 3 turbine, 1 recovered, 1 repair; the first at 22:13:20.123 UTC

r by Turbine, this node at the root of the shred's tree, 1 2 3 in that layer below it
c recovered  p repair  s synced  o own  l stored: read back from the ledger  . never seen
   set  data                             | code
     0  r1c............................. | ...2............................
    32  .p.............................. | ................................

arrivals from +0 to +31 ms, 2 ms a column, at most 2 in one
turbine   |█▄              |     3
recovered |    ▄           |     1
repair    |               ▄|     1
complete                  ^

    +ms  kind  index  how        layer  from
      0  data      0  turbine        0  4vJ9JU1b…
      0  data      1  turbine        1  node-2
      2  code      3  turbine        2  127.0.0.1:8001
      9  data      2  recovered      -  -
     31  data     33  repair         -  4vJ9JU1b…
";
        assert_eq!(page(&small(), 40), expected);
    }

    #[test]
    fn a_wide_page_has_a_column_for_each_millisecond() {
        let text = histogram(&small(), 200);
        assert!(text.starts_with("arrivals from +0 to +31 ms, 1 ms a column, at most 2 in one\n"), "{text}");
        assert!(text.contains("turbine   |█ ▄                             |     3\n"), "{text}");
    }

    #[test]
    fn every_way_has_a_letter_of_its_own_and_deep_layers_share_the_nine() {
        let letters: Vec<char> = Way::ALL.into_iter().map(|way| letter(&came(0, ShredKind::Data, 0, way))).collect();
        assert_eq!(letters, ['r', 'c', 'p', 's', 'o', 'l']);
        let layers =
            [1, 2, 9, 10, 255].map(|layer| letter(&sent(came(0, ShredKind::Data, 0, Way::Turbine), layer, "")));
        assert_eq!(layers, ['1', '2', '9', '9', '9']);
    }

    #[test]
    fn a_shred_that_came_twice_is_drawn_as_it_came_first_and_a_missing_set_as_never_seen() {
        use ShredKind::{Code, Data};
        let again =
            of(vec![came(0, Code, 64, Way::Own), came(1, Data, 64, Way::Repair), came(2, Data, 64, Way::Recovered)]);
        let rows: Vec<String> = sets(&again).lines().skip(3).map(str::to_owned).collect();
        let never = ".".repeat(32);
        assert_eq!(
            rows,
            [
                format!("     0  {never} | {never}"),
                format!("    32  {never} | {never}"),
                format!("    64  p{} | o{}", &never[1..], &never[1..]),
            ]
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        let shreds = SlotShreds {
            parent: None,
            complete_ms: None,
            two_versions: true,
            left_out: 12,
            leader_name: Some("node-1".into()),
            ..of(Vec::new())
        };
        let text = page(&shreds, 80);
        assert!(
            text.starts_with("slot 77  leader node-1 (7XSvJnS8…)  parent unknown  not complete\n0 shreds"),
            "{text}"
        );
        assert!(text.contains("two versions of it; the proof is kept"), "{text}");
        assert!(text.ends_with("12 further arrivals were not written down\n"), "{text}");
    }

    #[test]
    fn a_narrow_page_and_late_arrivals_do_not_break_it() {
        let far = u32::MAX;
        let late = of(vec![came(0, ShredKind::Data, 0, Way::Repair), came(far, ShredKind::Code, far, Way::Repair)]);
        assert!(sets(&late).lines().count() < 1_100, "indexes beyond the limit of a slot are not drawn");
        for width in [0, 10, 500] {
            let rows = histogram(&late, width);
            assert!(rows.lines().all(|line| line.chars().count() <= width.max(COLUMNS_MIN + BESIDE) + 40), "{rows}");
        }
    }
}
