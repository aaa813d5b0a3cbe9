//! Rates of works that take turns, so that all meet the same noise of the machine.

use serde::Serialize;
use std::time::{Duration, Instant};

/// Stretches of time of which the median counts.
const STRETCHES: u32 = 7;

/// One thing to be timed: how many times it was done, and how long that took.
pub(super) type Work<'a> = Box<dyn FnMut() -> (usize, Duration) + 'a>;

/// A rate a second over several stretches of time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Rate {
    pub(super) median: f64,
    pub(super) lowest: f64,
    pub(super) highest: f64,
}

/// Times one piece of work that does something so many times.
pub(super) fn timed(count: usize, work: impl FnOnce()) -> (usize, Duration) {
    let start = Instant::now();
    work();
    (count, start.elapsed())
}

/// The rates of all works. `stretch`: how long each is measured.
pub(super) fn rates<const N: usize>(stretch: Duration, works: [Work<'_>; N]) -> [Rate; N] {
    rates_of_all(stretch, works.into()).try_into().expect("a rate for each work")
}

/// The same of any number of works.
pub(super) fn rates_of_all(stretch: Duration, mut works: Vec<Work<'_>>) -> Vec<Rate> {
    let mut rates = vec![Vec::new(); works.len()];
    for _ in 0..STRETCHES {
        for (work, rates) in works.iter_mut().zip(&mut rates) {
            let (mut count, mut took) = (0, Duration::ZERO);
            while took < stretch / STRETCHES {
                let (more, longer) = work();
                count += more;
                took += longer;
            }
            rates.push(count as f64 / took.as_secs_f64());
        }
    }
    let median = |mut rates: Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        Rate { median: rates[rates.len() / 2], lowest: rates[0], highest: rates[rates.len() - 1] }
    };
    rates.into_iter().map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_take_turns_and_the_median_of_their_stretches_counts() {
        let order = std::cell::RefCell::new(Vec::new());
        let work = |name: char, seconds: u64| {
            let order = &order;
            Box::new(move || {
                order.borrow_mut().push(name);
                (10_usize, Duration::from_secs(seconds))
            }) as Work<'_>
        };
        let mut slower = 0;
        let noisy: Work<'_> = Box::new(|| {
            slower += 1;
            (10, Duration::from_secs(if slower == 1 { 100 } else { 10 }))
        });
        let [a, b, noisy] = rates(Duration::from_secs(7), [work('a', 1), work('b', 2), noisy]);
        assert_eq!((a.median, b.median), (10.0, 5.0));
        assert_eq!((noisy.lowest, noisy.median, noisy.highest), (0.1, 1.0, 1.0));
        assert_eq!(order.into_inner().iter().collect::<String>(), "ab".repeat(7));
    }
}
