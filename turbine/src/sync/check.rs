//! The check of an answer: pure work for the pool, some 25 ms for 100 empty blocks.

use super::effect::StoredBlock;
use crate::{config::Versions, effect::EpochInfo};
use bytes::Bytes;
use sundog_types::{
    Hash, Pubkey, Signature, Slot,
    kernel::ed25519::Check,
    shred::{
        Kind, Parsed, SHREDS_PER_KIND, Shred, ShredError, Signed, hash_roots, signature_holds, variant::PROOF_ENTRIES,
    },
    sign::Verifier,
};
use thiserror::Error;

/// Blocks that a peer served, to be checked: [`RangeCheck::run`].
#[derive(Clone, Debug)]
pub struct RangeCheck {
    pub(crate) id: u64,
    pub(crate) versions: Versions,
    pub(crate) expect: Expect,
    /// The epochs that the slots lie in.
    pub(crate) epochs: Vec<EpochInfo>,
    pub(crate) blocks: Vec<StoredBlock>,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// The finalised blocks of the slots `from..end`, among them that of `holds`.
    Range { from: Slot, end: Slot, holds: Option<Slot> },
    /// One block.
    Block { slot: Slot, block_id: Hash },
}

/// What came of a [`RangeCheck`].
#[derive(Clone, Debug)]
pub struct RangeChecked {
    /// Of the check.
    pub id: u64,
    /// The blocks by slot, each on the one before; or what is wrong.
    pub result: Result<Vec<CheckedBlock>, Fault>,
}

/// A block that its leader signed, whole and chained in itself. Only [`RangeCheck::run`] makes one.
#[derive(Clone, Debug)]
pub struct CheckedBlock {
    slot: Slot,
    parent: Slot,
    chained: Hash,
    id: Hash,
    shreds: Vec<Shred<Signed>>,
}

impl CheckedBlock {
    /// Its slot.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The slot that it builds on.
    #[must_use]
    pub fn parent(&self) -> Slot {
        self.parent
    }

    /// The block id of the block that it builds on, as its first set says.
    #[must_use]
    pub fn parent_id(&self) -> Hash {
        self.chained
    }

    /// The Merkle root of its last FEC set.
    #[must_use]
    pub fn id(&self) -> Hash {
        self.id
    }

    /// All of its data shreds by index.
    #[must_use]
    pub fn shreds(&self) -> &[Shred<Signed>] {
        &self.shreds
    }

    pub(crate) fn into_shreds(self) -> Vec<Shred<Signed>> {
        self.shreds
    }
}

/// What is wrong with blocks that a peer served. The peer is dropped, and another is asked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// A block of a slot that was not asked for, or out of order.
    #[error("a block of slot {0} is not what was asked for, or comes out of order")]
    Place(Slot),
    /// The peer claims the slot as its root, and has no block there.
    #[error("the peer's root is slot {0}, and it serves no block there")]
    NoRoot(Slot),
    /// The single block has another id.
    #[error("the block of slot {0} is not the one with the id that was asked for")]
    OtherBlock(Slot),
    /// Nobody leads the slot.
    #[error("the leader of slot {0} is not known")]
    Leader(Slot),
    /// No shred, or one that its leader did not sign.
    #[error("a shred of slot {0} is wrong: {1}")]
    Shred(Slot, #[source] ShredError),
    /// A shred of another slot, chain, kind or parent than the block's.
    #[error("a shred in the block of slot {0} is not of this block")]
    Stray(Slot),
    /// A shred is missing, or one comes after the last.
    #[error("the block of slot {0} is not whole")]
    NotWhole(Slot),
    /// Not in aligned sets of 32.
    #[error("the block of slot {0} does not consist of sets of 32")]
    OddSet(Slot),
    /// A set does not name the one before, or has two versions.
    #[error("the sets of the block of slot {0} are not chained")]
    Sets(Slot),
    /// A block does not build on the one before.
    #[error("the block of slot {0} does not build on the one before")]
    Link(Slot),
}

impl RangeCheck {
    /// Checks everything about the blocks but what they contain: shapes, signatures (one for each FEC set, Merkle
    /// proofs for the rest), completeness, and the chain of roots from set to set and from block to block.
    #[must_use]
    pub fn run(self) -> RangeChecked {
        let id = self.id;
        RangeChecked { id, result: self.check() }
    }

    fn check(mut self) -> Result<Vec<CheckedBlock>, Fault> {
        let blocks = std::mem::take(&mut self.blocks);
        self.check_places(&blocks)?;
        let mut checked: Vec<CheckedBlock> = Vec::new();
        for block in blocks {
            let leader = self.leader(block.slot).ok_or(Fault::Leader(block.slot))?;
            let version = self.versions.of(block.slot);
            let block = check_block(block, version, &leader)?;
            let follows = |last: &CheckedBlock| last.slot == block.parent && last.id == block.chained;
            if !checked.last().is_none_or(follows) {
                return Err(Fault::Link(block.slot));
            }
            checked.push(block);
        }
        match (self.expect, checked.first()) {
            (Expect::Block { block_id, .. }, Some(block)) if block.id != block_id => Err(Fault::OtherBlock(block.slot)),
            _ => Ok(checked),
        }
    }

    /// What costs nothing: the slots are those asked for, in order.
    fn check_places(&self, blocks: &[StoredBlock]) -> Result<(), Fault> {
        let (from, end, holds) = match self.expect {
            Expect::Range { from, end, holds } => (from, end, holds),
            Expect::Block { slot, .. } => (slot, slot.saturating_add(1), Some(slot)),
        };
        let mut next = from;
        for block in blocks {
            if block.slot < next || block.slot >= end {
                return Err(Fault::Place(block.slot));
            }
            next = block.slot.saturating_add(1);
        }
        match holds {
            Some(slot) if !blocks.iter().any(|block| block.slot == slot) => Err(Fault::NoRoot(slot)),
            _ => Ok(()),
        }
    }

    fn leader(&self, slot: Slot) -> Option<Pubkey> {
        self.epochs.iter().find_map(|epoch| epoch.leaders.get(slot.since(epoch.first_slot)?.get()))
    }
}

fn check_block(block: StoredBlock, version: u16, leader: &Pubkey) -> Result<CheckedBlock, Fault> {
    let slot = block.slot;
    let parsed = parse_whole(block.shreds, slot)?;
    let parent = parsed.first().and_then(Shred::parent).ok_or(Fault::NotWhole(slot))?;
    if parsed.iter().any(|shred| shred.slot() != slot || shred.version() != version || shred.parent() != Some(parent)) {
        return Err(Fault::Stray(slot));
    }
    let chained = parsed[0].chained_merkle_root();
    let id = check_chain(&parsed, chained)?;
    let signed = first_signed(&parsed, leader);
    let mut shreds = Vec::with_capacity(parsed.len());
    let mut rest = parsed.into_iter();
    for signed in signed {
        let set = rest.by_ref().take(SHREDS_PER_KIND);
        check_set(set, (leader, signed), &mut shreds)?;
    }
    Ok(CheckedBlock { slot, parent, chained, id, shreds })
}

/// Checks that all shreds of each set name the root of the set before, and those of the first `before`; returns the last
/// root. This takes one root per set, so it comes before all that costs more: signatures, and the roots of the others.
fn check_chain(shreds: &[Shred<Parsed>], mut before: Hash) -> Result<Hash, Fault> {
    for set in shreds.chunks(SHREDS_PER_KIND) {
        let slot = set[0].slot();
        if set.iter().any(|shred| shred.chained_merkle_root() != before) {
            return Err(Fault::Sets(slot));
        }
        before = set[0].merkle_root().map_err(|error| Fault::Shred(slot, error))?;
    }
    Ok(before)
}

/// Whether the first shred of each set is signed: all signatures that an honest leader's block needs, side by side.
fn first_signed(shreds: &[Shred<Parsed>], leader: &Pubkey) -> Vec<bool> {
    // Each set's first shred has its root from the check of the chain.
    hash_roots(shreds.chunks(SHREDS_PER_KIND).flat_map(|set| &set[1..]));
    let firsts: Vec<_> =
        shreds.iter().step_by(SHREDS_PER_KIND).map(|shred| (shred.merkle_root(), shred.signature())).collect();
    let rooted = firsts.iter().map(|(root, signature)| (root.as_ref().map_or(&[][..], Hash::as_ref), signature));
    // The empty message of a shred without a root is nothing that was ever signed, and `verify` refuses it besides.
    let checks: Vec<_> = rooted.map(|(message, signature)| Check { signer: leader, message, signature }).collect();
    Verifier::without_memory().holds_all(&checks)
}

/// Parses the shreds of a block: data, from index 0 to the last without a gap, in aligned sets of 32.
fn parse_whole(shreds: Vec<Bytes>, slot: Slot) -> Result<Vec<Shred<Parsed>>, Fault> {
    let count = shreds.len();
    if count == 0 {
        return Err(Fault::NotWhole(slot));
    }
    if !count.is_multiple_of(SHREDS_PER_KIND) {
        return Err(Fault::OddSet(slot));
    }
    let mut parsed = Vec::with_capacity(count);
    for (place, bytes) in shreds.into_iter().enumerate() {
        let shred = Shred::raw(bytes).parse().map_err(|error| Fault::Shred(slot, error))?;
        if shred.kind() != Kind::Data {
            return Err(Fault::Stray(slot));
        }
        let is_last = place + 1 == count;
        if shred.index().get() as usize != place || shred.last_in_slot() != is_last {
            return Err(Fault::NotWhole(slot));
        }
        let first = place - place % SHREDS_PER_KIND;
        let standard = shred.variant().proof_entries() == usize::from(PROOF_ENTRIES);
        if shred.fec_set_index().get() as usize != first || !standard {
            return Err(Fault::OddSet(slot));
        }
        parsed.push(shred);
    }
    Ok(parsed)
}

/// Checks that a set is signed and has one root, that of its first shred.
fn check_set(
    set: impl Iterator<Item = Shred<Parsed>>,
    (leader, first_signed): (&Pubkey, bool),
    out: &mut Vec<Shred<Signed>>,
) -> Result<(), Fault> {
    let mut verified = None;
    for shred in set {
        let slot = shred.slot();
        let trusted = match &verified {
            Some(root) => shred.trust(root),
            None => Err(shred),
        };
        // A leader can sign one root twice, so signatures within a set may differ.
        let holds = |signer: &Pubkey, root: &[u8], signature: &Signature| match verified {
            None => first_signed,
            Some(_) => signature_holds(signer, root, signature),
        };
        let signed = match trusted {
            Ok(signed) => signed,
            Err(shred) => shred.verify(leader, holds).map_err(|error| Fault::Shred(slot, error))?,
        };
        let root = verified.get_or_insert_with(|| signed.verified_root()).root();
        if signed.merkle_root() != root {
            return Err(Fault::Sets(slot));
        }
        out.push(signed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shredder;
    use bytes::BytesMut;
    use solana_keypair::Keypair;
    use std::sync::Arc;
    use sundog_types::{
        Epoch,
        schedule::LeaderSchedule,
        shred::Gates,
        sign::{Identity, Sign as _},
        stakes::{EpochStakes, VoteStake},
    };

    fn leader(seed: u8) -> Identity {
        Identity::new(Keypair::new_from_array([seed; 32]))
    }

    fn epochs() -> Vec<EpochInfo> {
        let node = leader(1).identity();
        let vote = VoteStake { node, authorized_voter: node, stake: 1 };
        let stakes = Arc::new(EpochStakes { by_vote_account: [(node, vote)].into() });
        let leaders = Arc::new(LeaderSchedule::new(Epoch::ZERO, 100, &stakes));
        let (epoch, first_slot, gates) = (Epoch::ZERO, Slot::ZERO, Gates::NONE);
        vec![EpochInfo { epoch, first_slot, slots: 100, leaders, stakes, gates }]
    }

    /// A block of two sets and the id of its last.
    fn block(slot: u64, parent: u64, parent_id: Hash, signer: &Identity) -> (StoredBlock, Hash) {
        let slot = Slot::new(slot);
        let mut shredder = Shredder::new(slot, Slot::new(parent), 7, parent_id).unwrap();
        let mut shreds = Vec::new();
        for last in [false, true] {
            let sets = shredder.shred(&[last.into(); 50], 0, last, signer).unwrap();
            shreds.extend(sets.into_iter().flat_map(|set| set.data).map(Shred::into_payload));
        }
        (StoredBlock { slot, shreds }, shredder.chained_root())
    }

    /// Slots 5, 6 and 9.
    fn three() -> Vec<StoredBlock> {
        let (first, id) = block(5, 4, Hash::default(), &leader(1));
        let (second, id) = block(6, 5, id, &leader(1));
        let (third, _) = block(9, 6, id, &leader(1));
        vec![first, second, third]
    }

    fn check(expect: Expect, blocks: Vec<StoredBlock>) -> Result<Vec<CheckedBlock>, Fault> {
        RangeCheck { id: 3, versions: Versions::new(7, Vec::new()), expect, epochs: epochs(), blocks }.run().result
    }

    fn range(blocks: Vec<StoredBlock>) -> Result<(), Fault> {
        check(Expect::Range { from: Slot::new(5), end: Slot::new(10), holds: Some(Slot::new(9)) }, blocks).map(|_| ())
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Vec<StoredBlock>), fault: Fault) {
        let mut blocks = three();
        change(&mut blocks);
        assert_eq!(range(blocks), Err(fault));
    }

    #[test]
    fn blocks_that_are_signed_whole_and_chained_pass() {
        let expect = Expect::Range { from: Slot::new(5), end: Slot::new(10), holds: None };
        let checked = check(expect, three()).unwrap();
        assert_eq!(checked.iter().map(|block| block.slot().get()).collect::<Vec<_>>(), [5, 6, 9]);
        assert_eq!(checked[2].parent_id(), checked[1].id());
        assert_eq!(checked[0].shreds().len(), 64);
        assert_eq!(range(three()), Ok(()));
    }

    #[test]
    fn what_is_wrong_has_a_name() {
        let slot = Slot::new;
        refused(|blocks| drop(blocks.pop()), Fault::NoRoot(slot(9)));
        refused(|blocks| blocks.swap(0, 1), Fault::Place(slot(5)));
        refused(|blocks| blocks[0].slot = slot(4), Fault::Place(slot(4)));
        refused(|blocks| blocks[2].slot = slot(10), Fault::Place(slot(10)));
        refused(|blocks| blocks[1].slot = slot(7), Fault::Stray(slot(7)));
        refused(|blocks| drop(blocks.remove(1)), Fault::Link(slot(9)));
        refused(|blocks| blocks[1].shreds.clear(), Fault::NotWhole(slot(6)));
        refused(|blocks| blocks[1].shreds.truncate(32), Fault::NotWhole(slot(6)));
        refused(|blocks| blocks[1].shreds.truncate(63), Fault::OddSet(slot(6)));
        refused(|blocks| blocks[1].shreds.swap(3, 4), Fault::NotWhole(slot(6)));
        refused(|blocks| blocks[1].shreds.extend(vec![Bytes::new(); 32]), Fault::NotWhole(slot(6)));
    }

    #[test]
    fn signatures_and_chains_are_checked() {
        let foreign = block(5, 4, Hash::default(), &leader(2)).0;
        let expect = Expect::Range { from: Slot::new(5), end: Slot::new(6), holds: None };
        assert!(matches!(check(expect, vec![foreign]), Err(Fault::Shred(_, ShredError::Signature { .. }))));
        for (byte, set) in [(200, 0), (200, 1), (1_150, 0), (10, 1)] {
            let mut blocks = three();
            let shred = &mut blocks[0].shreds[set * 32 + 9];
            let mut bytes = BytesMut::from(&shred[..]);
            bytes[byte] ^= 1;
            *shred = bytes.freeze();
            assert!(range(blocks).is_err(), "byte {byte} of set {set}");
        }
        let (other, _) = block(5, 3, Hash::default(), &leader(1));
        let mut mixed = three();
        mixed[0].shreds.splice(32.., other.shreds[32..].to_vec());
        assert!(matches!(range(mixed), Err(Fault::Stray(_) | Fault::Sets(_))));
        let (other, _) = block(5, 4, Hash::new_from_array([1; 32]), &leader(1));
        let mut mixed = three();
        mixed[0].shreds.splice(32.., other.shreds[32..].to_vec());
        assert_eq!(range(mixed), Err(Fault::Sets(Slot::new(5))));
    }

    #[test]
    fn a_broken_chain_is_found_before_a_signature_is_checked() {
        let (mut foreign, _) = block(5, 4, Hash::default(), &leader(2));
        let (other, _) = block(5, 4, Hash::new_from_array([1; 32]), &leader(2));
        foreign.shreds.splice(32.., other.shreds[32..].to_vec());
        assert_eq!(range(vec![foreign, three().remove(2)]), Err(Fault::Sets(Slot::new(5))));
    }

    #[test]
    fn a_single_block_must_have_the_id_that_was_asked_for() {
        let (made, id) = block(5, 4, Hash::default(), &leader(1));
        let slot = Slot::new(5);
        assert!(check(Expect::Block { slot, block_id: id }, vec![made.clone()]).is_ok());
        let other = Expect::Block { slot, block_id: Hash::default() };
        assert_eq!(check(other, vec![made]).map(|_| ()), Err(Fault::OtherBlock(slot)));
        assert_eq!(check(other, vec![]).map(|_| ()), Err(Fault::NoRoot(slot)));
        let (unled, block_id) = block(500, 499, Hash::default(), &leader(1));
        let slot = Slot::new(500);
        assert_eq!(check(Expect::Block { slot, block_id }, vec![unled]).map(|_| ()), Err(Fault::Leader(slot)));
    }

    #[test]
    fn bytes_that_are_no_shreds_are_refused() {
        for bytes in [Bytes::new(), Bytes::from(vec![0; 1_203]), Bytes::from(vec![0xff; 1_203])] {
            let blocks = vec![StoredBlock { slot: Slot::new(9), shreds: vec![bytes; 32] }];
            assert!(range(blocks).is_err());
        }
    }
}
