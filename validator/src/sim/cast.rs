//! The nodes of a world of machines: their keys, and when their time starts.

use rand::RngCore as _;
use rand_chacha::ChaCha8Rng;
use solana_keypair::Keypair;
use sundog_types::Now;

/// When virtual time starts.
pub(super) const START: Now = Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 };

/// Draws the keys of so many nodes.
///
/// # Panics
/// If there are fewer than two nodes, or more than addresses.
pub(super) fn keypairs(nodes: usize, rng: &mut ChaCha8Rng) -> Vec<Keypair> {
    assert!((2..65_000).contains(&nodes), "{nodes} nodes");
    let draw = |_| {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Keypair::new_from_array(secret)
    };
    (0..nodes).map(draw).collect()
}
