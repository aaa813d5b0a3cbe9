//! The order in which all nodes draw a tree (reference 4.3).

use rand::RngCore;
use std::sync::Arc;

/// Draws indexes without replacement, by weight; those without weight come last, evenly (reference 4.3).
#[derive(Clone, Debug)]
pub struct WeightedShuffle {
    /// By index; never changed, and shared by all copies.
    weights: Arc<[u64]>,
    /// A search tree: node `i` holds what is left of the weights below its left child, `2 * i`; leaves would begin at
    /// `width`.
    left: Vec<u64>,
    width: usize,
    /// What is left of all weights.
    total: u64,
    /// What has no weight, in order.
    weightless: Vec<u32>,
    removed: Vec<usize>,
}

impl WeightedShuffle {
    /// Over the indexes of `weights`. A weight that would bring the sum over 64 bits counts as none.
    ///
    /// # Panics
    /// If there are more than 32 bits can count.
    #[must_use]
    pub fn new(weights: impl IntoIterator<Item = u64>) -> Self {
        let (mut total, mut weightless) = (0_u64, Vec::new());
        let mut kept = Vec::new();
        for (index, weight) in weights.into_iter().enumerate() {
            let sum = total.checked_add(weight).filter(|_| weight > 0);
            if sum.is_none() {
                weightless.push(u32::try_from(index).expect("a cluster has fewer nodes"));
            }
            kept.push(if sum.is_some() { weight } else { 0 });
            total = sum.unwrap_or(total);
        }
        let width = kept.len().next_power_of_two();
        let mut sums = vec![0; 2 * width];
        sums[width..width + kept.len()].copy_from_slice(&kept);
        let mut left = vec![0; width];
        for parent in (1..width).rev() {
            left[parent] = sums[2 * parent];
            sums[parent] = sums[2 * parent] + sums[2 * parent + 1];
        }
        Self { weights: kept.into(), left, width, total, weightless, removed: Vec::new() }
    }

    /// Takes an index out before anything is drawn. Does nothing if it is out already.
    pub fn remove(&mut self, index: usize) {
        let Some(weight) = self.weights.get(index).copied().filter(|_| !self.removed.contains(&index)) else { return };
        self.removed.push(index);
        if weight > 0 {
            self.take(index, weight);
        } else {
            self.weightless.retain(|other| *other as usize != index);
        }
    }

    /// Draws the rest in order.
    pub fn shuffle<R: RngCore>(mut self, mut rng: R) -> impl Iterator<Item = usize> {
        std::iter::from_fn(move || {
            if self.total > 0 {
                let index = self.find(sample_below(&mut rng, self.total));
                self.take(index, self.weights[index]);
                return Some(index);
            }
            let left = self.weightless.len() as u64;
            let drawn = (left > 0).then(|| sample_below(&mut rng, left) as usize)?;
            Some(self.weightless.swap_remove(drawn) as usize)
        })
    }

    /// The first leaf up to which the weights add up to more than `sum`.
    fn find(&self, mut sum: u64) -> usize {
        let mut place = 1;
        while place < self.width {
            let left = self.left[place];
            let right = sum >= left;
            sum -= if right { left } else { 0 };
            place = 2 * place + usize::from(right);
        }
        place - self.width
    }

    fn take(&mut self, index: usize, weight: u64) {
        let mut place = self.width + index;
        while place > 1 {
            let parent = place / 2;
            self.left[parent] -= if place.is_multiple_of(2) { weight } else { 0 };
            place = parent;
        }
        self.total -= weight;
    }
}

/// A number below `range`, evenly: the rule of rand 0.8 for 64-bit integers, which the whole network follows.
fn sample_below<R: RngCore>(rng: &mut R, range: u64) -> u64 {
    let zone = (range << range.leading_zeros()).wrapping_sub(1);
    loop {
        let wide = u128::from(rng.next_u64()) * u128::from(range);
        if wide as u64 <= zone {
            return (wide >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};

    #[test]
    fn weights_beyond_64_bits_count_as_none() {
        let shuffle = WeightedShuffle::new([u64::MAX, 1, 0, 5]);
        let order = shuffle.shuffle(ChaCha8Rng::from_seed([1; 32])).collect::<Vec<_>>();
        assert_eq!(order.first(), Some(&0));
        assert_eq!(order.len(), 4);
    }

    #[test]
    fn each_is_drawn_once_and_by_the_weights_that_are_left() {
        let weights: Vec<u64> = (0..77).map(|index| (index * 7_919) % 31).collect();
        for (seed, without) in [(1, None), (2, Some(0)), (3, Some(40)), (4, Some(76)), (5, Some(31)), (6, Some(99))] {
            let mut rng = ChaCha8Rng::from_seed([seed; 32]);
            let mut shuffle = WeightedShuffle::new(weights.clone());
            without.into_iter().chain(without).for_each(|index| shuffle.remove(index));
            let drawn: Vec<usize> = shuffle.shuffle(rng.clone()).collect();
            let mut left: Vec<(usize, u64)> = weights.iter().copied().enumerate().collect();
            left.retain(|(index, _)| Some(*index) != without);
            for index in &drawn {
                let total: u64 = left.iter().map(|(_, weight)| weight).sum();
                if total == 0 {
                    break;
                }
                let mut at = sample_below(&mut rng, total);
                let chosen = left.iter().position(|(_, weight)| {
                    let here = at < *weight;
                    at = at.saturating_sub(*weight);
                    here
                });
                assert_eq!(left.remove(chosen.expect("below the total")).0, *index);
            }
            let mut all = drawn;
            all.sort_unstable();
            assert_eq!(all, (0..77).filter(|index| Some(*index) != without).collect::<Vec<_>>());
        }
    }

    #[test]
    fn nothing_is_drawn_from_nothing() {
        let shuffle = WeightedShuffle::new([]);
        assert_eq!(shuffle.shuffle(ChaCha8Rng::from_seed([1; 32])).count(), 0);
    }
}
