//! Fork choice: votes a second, one at a time and in batches, and what the tree takes in memory.

use super::{
    keep, resident_bytes, say, say_json,
    turns::{Rate, Work, rates, timed},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{sync::Arc, time::Duration};
use sundog_tower::{
    commitment::Commitment,
    fork_choice::{BlockKey, ForkChoice},
};
use sundog_types::{
    Hash, Pubkey, Slot,
    stakes::{EpochStakes, VoteStake},
};

/// Validators that vote, and votes of a batch.
const VOTERS: usize = 2_000;

/// Forks that are alive at once.
const FORKS: u64 = 64;

/// Blocks of the chain that the forks leave, two at each.
const TRUNK: u64 = FORKS / 2;

/// Blocks of each fork. In each round every voter votes for the next block of a fork, any of them.
const LENGTH: u64 = 32;

/// Hashes of the chain that tells machines apart, in one turn.
const HASHES: usize = 10_000;

/// Signatures verified in one turn, for the same purpose.
const VERIFIED: usize = 100;

/// Trees whose memory is measured together.
const WEIGHED: usize = 64;

/// The figures of one run, on one core.
#[derive(Debug, Serialize)]
struct Report {
    voters: usize,
    forks: u64,
    blocks: usize,
    /// SHA-256 hashes in one chain, a second: tells machines apart.
    sha256_chain: Rate,
    /// Strict verifications of one signature, a second: the same where SHA-256 has instructions of its own.
    strict_verify: Rate,
    /// Votes, the best block asked for after each.
    singly: Rate,
    /// Votes, the best block asked for after every [`VOTERS`].
    in_batches: Rate,
    /// Votes one at a time for each thousand hashes of the chain.
    singly_per_thousand_hashes: f64,
    in_batches_per_thousand_hashes: f64,
    /// Votes one at a time for each strict verification.
    singly_per_strict_verify: f64,
    in_batches_per_strict_verify: f64,
    /// What a tree with its votes takes, by what the process grew, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_bytes: Option<usize>,
}

type Ballot = (Pubkey, BlockKey);

/// What is voted on: the tree, the stakes, and for each round a vote of every voter. Half of the rounds are in one epoch,
/// the others in the next, so that a vote's weight is looked up as a node does it.
struct Scene {
    choice: ForkChoice,
    stakes: Commitment,
    rounds: Vec<Vec<Ballot>>,
}

fn key(slot: u64) -> BlockKey {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&slot.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    (Slot::new(slot), Hash::new_from_array(hash))
}

/// A block of a fork; forks grow side by side.
fn block(fork: u64, place: u64) -> BlockKey {
    key(TRUNK + place * FORKS + fork)
}

impl Scene {
    fn new() -> Self {
        let mut rng = ChaCha8Rng::from_seed([1; 32]);
        let mut choice = ForkChoice::new(key(0));
        for slot in 1..TRUNK {
            assert!(choice.add(key(slot), key(slot - 1)));
        }
        for (place, fork) in (0..LENGTH).flat_map(|place| (0..FORKS).map(move |fork| (place, fork))) {
            let parent = if place == 0 { key(fork / 2) } else { block(fork, place - 1) };
            assert!(choice.add(block(fork, place), parent));
        }
        let voters: Vec<Pubkey> = (0..VOTERS)
            .map(|_| {
                let mut voter = [0; 32];
                rng.fill_bytes(&mut voter);
                Pubkey::new_from_array(voter)
            })
            .collect();
        let mut stakes = Commitment::new(Slot::ZERO);
        for first in [key(0), block(0, LENGTH / 2)].map(|(slot, _)| slot) {
            let mut stake = |voter: &Pubkey| {
                let stake = 1_000_000 + u64::from(rng.next_u32());
                (*voter, VoteStake { node: *voter, authorized_voter: *voter, stake })
            };
            let by_vote_account = voters.iter().map(&mut stake).collect();
            assert!(stakes.set_electorate(first, &Arc::new(EpochStakes { by_vote_account })));
        }
        let mut round = |place| voters.iter().map(|voter| (*voter, block(rng.next_u64() % FORKS, place))).collect();
        let rounds = (0..LENGTH).map(&mut round).collect();
        Self { choice, stakes, rounds }
    }

    /// All rounds on a fresh tree, in batches of `size`.
    fn vote(&self, size: usize) -> ForkChoice {
        let mut choice = self.choice.clone();
        self.vote_on(&mut choice, size);
        choice
    }

    fn vote_on(&self, choice: &mut ForkChoice, size: usize) {
        for batch in self.rounds.iter().flat_map(|round| round.chunks(size)) {
            choice.vote(batch.iter().copied(), |voter, slot| self.stakes.electorate(slot).of_vote_account(voter));
            keep(choice.best_overall());
        }
    }

    fn timed(&self, size: usize) -> (usize, Duration) {
        let mut choice = self.choice.clone();
        timed(VOTERS * self.rounds.len(), || self.vote_on(&mut choice, size))
    }

    fn resident_bytes(&self) -> Option<usize> {
        let before = resident_bytes()?;
        let trees: Vec<ForkChoice> = (0..WEIGHED).map(|_| self.vote(VOTERS)).collect();
        let grown = resident_bytes()?.saturating_sub(before);
        keep(trees);
        Some(grown / WEIGHED)
    }
}

fn hashing() -> (usize, Duration) {
    timed(HASHES, || keep((0..HASHES).fold([0; 32], |hash: [u8; 32], _| Sha256::digest(hash).into())))
}

fn verifying(signer: &Keypair) -> (usize, Duration) {
    let signature = signer.sign_message(&[1; 64]);
    timed(VERIFIED, || (0..VERIFIED).for_each(|_| keep(signature.verify(signer.pubkey().as_ref(), &[1; 64]))))
}

/// Measures and tells. `stretch`: how long each figure is measured.
pub fn run(stretch: Duration, json: bool) {
    let scene = Scene::new();
    let resident_bytes = scene.resident_bytes();
    let signer = Keypair::new_from_array([1; 32]);
    let works: [Work<'_>; 4] = [
        Box::new(hashing),
        Box::new(|| verifying(&signer)),
        Box::new(|| scene.timed(1)),
        Box::new(|| scene.timed(VOTERS)),
    ];
    let [sha256_chain, strict_verify, singly, in_batches] = rates(stretch, works);
    let report = Report {
        voters: VOTERS,
        forks: FORKS,
        blocks: scene.choice.len(),
        sha256_chain,
        strict_verify,
        singly,
        in_batches,
        singly_per_thousand_hashes: singly.median / sha256_chain.median * 1_000.0,
        in_batches_per_thousand_hashes: in_batches.median / sha256_chain.median * 1_000.0,
        singly_per_strict_verify: singly.median / strict_verify.median,
        in_batches_per_strict_verify: in_batches.median / strict_verify.median,
        resident_bytes,
    };
    if json {
        say_json(&report);
        return;
    }
    let line = |name: &str, rate: Rate| {
        let Rate { median, lowest, highest } = rate;
        say(format_args!("{name:<44} {median:>14.0} /s  ({lowest:.0} to {highest:.0})"));
    };
    line("SHA-256 in one chain", report.sha256_chain);
    line("strict verification of a signature", report.strict_verify);
    line("votes of 2,000 voters on 64 forks, singly", report.singly);
    line("the same in batches of 2,000", report.in_batches);
    if let Some(bytes) = report.resident_bytes {
        say(format_args!("{:<44} {bytes:>14} bytes", "memory of the tree and the votes"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_one_at_a_time_and_in_batches_lead_to_the_same_tree() {
        let scene = Scene::new();
        let [one, all] = [1, VOTERS].map(|size| scene.vote(size));
        assert!(one.iter().eq(all.iter()));
        // The newest votes are all in the second epoch, and nothing of the first's weights is left.
        let last = block(0, LENGTH - 1).0;
        assert_eq!(one.get(&one.root()).map(|root| root.stake_subtree), Some(scene.stakes.total(last)));
        assert_ne!(scene.stakes.total(last), scene.stakes.total(Slot::ZERO));
    }
}
