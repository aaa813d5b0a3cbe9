//! Stakes like those of a large public cluster.

const LAMPORTS_PER_SOL: u64 = 1_000_000_000;
/// Of the largest holder, in SOL.
const LARGEST: f64 = 12_000_000.0;
/// Places in the ranking after which the curve begins to fall steeply.
const SHOULDER: f64 = 8.0;
/// How steeply it falls.
const SLOPE: f64 = 1.3;

/// Stakes of so many nodes in lamports, falling: three quarters of the nodes have stake, the holder in place `i` (from
/// 0) has `12,000,000 SOL / (1 + i / 8)^1.3`, the others are RPC nodes and the like, without.
///
/// Of 2,000 nodes, 1,500 then have stake; the first 20 hold two fifths, the first 36 half, the last has a
/// thousandth of the first.
#[must_use]
pub fn stakes(nodes: usize) -> Vec<u64> {
    let staked = (nodes * 3).div_ceil(4);
    let stake = |place: usize| (LARGEST / (1.0 + place as f64 / SHOULDER).powf(SLOPE)) as u64 * LAMPORTS_PER_SOL;
    (0..nodes).map(|place| if place < staked { stake(place) } else { 0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_dozen_hold_half_and_the_tail_is_long() {
        let stakes = stakes(2_000);
        assert!(stakes.is_sorted_by(|a, b| a >= b));
        let total: u64 = stakes.iter().sum();
        let first = |count: usize| stakes[..count].iter().sum::<u64>() as f64 / total as f64;
        assert!((0.35..0.45).contains(&first(20)), "{}", first(20));
        assert!((0.45..0.55).contains(&first(36)), "{}", first(36));
        assert_eq!(stakes.iter().filter(|stake| **stake > 0).count(), 1_500);
        assert!(stakes[1_499] < stakes[0] / 800);
    }
}
