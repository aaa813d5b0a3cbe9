//! Who has stake, of all who gossip.

const LAMPORTS_PER_SOL: u64 = 1_000_000_000;
/// One in so many nodes has stake.
const STAKED: usize = 4;
/// Of the largest holder, in SOL.
const LARGEST: f64 = 12_000_000.0;
/// Places of the ranking that the curve is for; other numbers of holders are spread over it evenly.
const PLACES: f64 = 1_000.0;
/// Places after which the curve begins to fall steeply.
const SHOULDER: f64 = 8.0;
/// How steeply it falls.
const SLOPE: f64 = 1.3;
/// From this place on are those who have next to nothing.
const POOR: f64 = 900.0;
/// Places in which their stake falls to a tenth.
const POOR_FALL: f64 = 25.0;

/// Stakes of so many nodes in lamports, falling. A quarter of the nodes has stake, as on a public cluster, where most who
/// gossip are RPC nodes and the like. Of a thousand holders the one in place `i` (from 0) has
/// `12,000,000 SOL / (1 + i / 8)^1.3`; from place 900 on this falls to a tenth every 25 places, to some SOL in the end.
#[must_use]
pub fn stakes(nodes: usize) -> Vec<u64> {
    let staked = nodes.div_ceil(STAKED);
    let stake = |place: usize| {
        let place = place as f64 * PLACES / staked as f64;
        let sol = LARGEST / (1.0 + place / SHOULDER).powf(SLOPE);
        let poor = 0.1_f64.powf((place - POOR).max(0.0) / POOR_FALL);
        ((sol * poor) as u64).max(1) * LAMPORTS_PER_SOL
    };
    (0..nodes).map(|place| if place < staked { stake(place) } else { 0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_has_stake_from_millions_down_to_next_to_nothing() {
        for nodes in [10, 100, 1_001] {
            let stakes = stakes(nodes);
            assert_eq!(stakes.len(), nodes);
            assert!(stakes.is_sorted_by(|a, b| a >= b));
            assert_eq!(stakes.iter().filter(|stake| **stake > 0).count(), nodes.div_ceil(4));
        }
        let stakes = stakes(4_000);
        assert!(stakes[0] == 12_000_000 * LAMPORTS_PER_SOL && stakes[999] < 10 * LAMPORTS_PER_SOL);
        assert!((50_000..200_000).contains(&(stakes[500] / LAMPORTS_PER_SOL)), "{}", stakes[500]);
    }
}
