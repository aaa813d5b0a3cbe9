//! The order in which all nodes draw a tree (reference 4.3).

use rand::RngCore;

/// Draws indexes without replacement, by weight; those without weight come last, evenly (reference 4.3).
#[derive(Clone, Debug)]
pub struct WeightedShuffle {
    /// A sum tree: node `i` holds the weight of the leaves below it, leaves start at `width`.
    sums: Vec<u64>,
    width: usize,
    /// What has no weight, in order.
    weightless: Vec<usize>,
}

impl WeightedShuffle {
    /// Over the indexes of `weights`. A weight that would bring the sum over 64 bits counts as none.
    #[must_use]
    pub fn new(weights: impl IntoIterator<Item = u64>) -> Self {
        let (mut total, mut weightless) = (0_u64, Vec::new());
        let mut kept = Vec::new();
        for (index, weight) in weights.into_iter().enumerate() {
            let sum = total.checked_add(weight).filter(|_| weight > 0);
            if sum.is_none() {
                weightless.push(index);
            }
            kept.push(if sum.is_some() { weight } else { 0 });
            total = sum.unwrap_or(total);
        }
        let width = kept.len().next_power_of_two();
        let mut sums = vec![0; 2 * width];
        sums[width..width + kept.len()].copy_from_slice(&kept);
        for parent in (1..width).rev() {
            sums[parent] = sums[2 * parent] + sums[2 * parent + 1];
        }
        Self { sums, width, weightless }
    }

    /// Takes an index out without drawing it. Does nothing if it is out already.
    pub fn remove(&mut self, index: usize) {
        let weight = self.sums.get(self.width + index).copied().unwrap_or(0);
        if weight > 0 {
            self.take_weight(index, weight);
        } else {
            self.weightless.retain(|other| *other != index);
        }
    }

    /// Draws the rest in order.
    pub fn shuffle<R: RngCore>(mut self, rng: R) -> impl Iterator<Item = usize> {
        let mut rng = rng;
        std::iter::from_fn(move || {
            if self.sums[1] > 0 {
                let (index, weight) = self.find(sample_below(&mut rng, self.sums[1]));
                self.take_weight(index, weight);
                return Some(index);
            }
            let left = self.weightless.len() as u64;
            let drawn = (left > 0).then(|| sample_below(&mut rng, left) as usize)?;
            Some(self.weightless.swap_remove(drawn))
        })
    }

    /// The first leaf up to which the weights add up to more than `sum`, and its weight.
    fn find(&self, mut sum: u64) -> (usize, u64) {
        let mut place = 1;
        while place < self.width {
            place *= 2;
            if sum >= self.sums[place] {
                sum -= self.sums[place];
                place += 1;
            }
        }
        (place - self.width, self.sums[place])
    }

    fn take_weight(&mut self, index: usize, weight: u64) {
        let mut place = self.width + index;
        while place > 0 {
            self.sums[place] -= weight;
            place /= 2;
        }
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
    fn nothing_is_drawn_from_nothing() {
        let shuffle = WeightedShuffle::new([]);
        assert_eq!(shuffle.shuffle(ChaCha8Rng::from_seed([1; 32])).count(), 0);
    }
}
