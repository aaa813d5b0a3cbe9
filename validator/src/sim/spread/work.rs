//! The work that nodes give to their pools, done once for all that ask the same.

use std::collections::BTreeMap;
use sundog_turbine::{RecoverError, RecoverJob, VerifyItem};
use sundog_types::{
    Hash, Pubkey, Signature,
    shred::{Shred, Signed, seal::SHREDS_PER_SET},
    sign::Verifier,
};

/// Answers remembered. Full: all are forgotten, and found again.
const VERIFIED_MAX: usize = 262_144;
/// Whole FEC sets remembered, some 160 kB each. Full: all are forgotten.
const SETS_MAX: usize = 256;

type SetKey = (Hash, Signature);

/// Does what [`Verify`](sundog_turbine::Effect::Verify) and [`Recover`](sundog_turbine::Effect::Recover) ask for.
///
/// A signature holds or not whoever asks. A set that decodes from some of its shreds decodes to the same from any,
/// because one signed root covers them all (but for the retransmitter's signature, which every node overwrites), so
/// the shreds are kept and handed out again; a set that does not decode is tried anew each time.
#[derive(Debug, Default)]
pub struct Work {
    verified: BTreeMap<(Hash, Signature, Pubkey), bool>,
    sets: BTreeMap<SetKey, Vec<Shred<Signed>>>,
    verifier: Verifier,
    /// Signatures checked, not counting those remembered.
    pub checked: u64,
    /// Sets decoded, not counting those remembered.
    pub decoded: u64,
}

impl Work {
    /// Whether the signatures hold.
    pub fn verify(&mut self, items: &[VerifyItem]) -> Vec<bool> {
        items.iter().map(|item| self.holds(item)).collect()
    }

    fn holds(&mut self, item: &VerifyItem) -> bool {
        let key = (item.root, item.signature, item.leader);
        if let Some(holds) = self.verified.get(&key) {
            return *holds;
        }
        if self.verified.len() >= VERIFIED_MAX {
            self.verified.clear();
        }
        self.checked += 1;
        let holds = item.check(&self.verifier);
        self.verified.insert(key, holds);
        holds
    }

    /// What [`RecoverJob::run`] would return.
    pub fn recover(&mut self, job: RecoverJob) -> (u64, Result<Vec<Shred<Signed>>, RecoverError>) {
        let Some(key) = job.shreds.first().map(|shred| (shred.merkle_root(), shred.signature())) else {
            return job.run();
        };
        let known = job.shreds.iter().fold(0_u64, |known, shred| known | 1 << shred.leaf_index());
        if let Some(set) = self.sets.get(&key) {
            let missing = set.iter().filter(|shred| known & 1 << shred.leaf_index() == 0);
            return (job.id, Ok(missing.cloned().collect()));
        }
        self.decoded += 1;
        let mut set = job.shreds.clone();
        let (id, outcome) = job.run();
        if let Ok(recovered) = &outcome {
            set.extend(recovered.iter().cloned());
            set.sort_by_key(Shred::leaf_index);
            set.dedup_by_key(|shred| shred.leaf_index());
            if self.sets.len() >= SETS_MAX {
                self.sets.clear();
            }
            if set.len() == SHREDS_PER_SET {
                self.sets.insert(key, set);
            }
        }
        (id, outcome)
    }
}
