//! What shreds that one leader signed must agree on, and how two contradict each other.

use crate::{
    effect::{DeadReason, DuplicateReason},
    metrics::DropReason,
    proof::{encode, layout, proves},
    set::{SET, Set},
};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use sundog_types::{
    FecSetIndex, Signature, Slot,
    shred::{Kind, Shred, Signed},
};

/// Two shreds of a slot that an honest leader does not both sign.
#[derive(Debug)]
pub(crate) struct Conflict {
    first: Bytes,
    second: Bytes,
    pub(crate) why: DuplicateReason,
    /// Whether others believe it (reference 6.5).
    proves: bool,
}

impl Conflict {
    pub(crate) fn between(first: &Shred<Signed>, second: &Shred<Signed>, why: DuplicateReason) -> Self {
        let proves = proves(first, second);
        Self { first: compact(first.payload()), second: compact(second.payload()), why, proves }
    }

    /// A leader signed a root twice, so each shred under it exists with both signatures: the other one is made of this
    /// and the `first` signature.
    pub(crate) fn signed_twice(first: &Signature, second: &Shred<Signed>) -> Self {
        let mut other = BytesMut::from(&second.payload()[..]);
        other[..first.as_ref().len()].copy_from_slice(first.as_ref());
        let why = DuplicateReason::SameIndex;
        Self { first: other.freeze(), second: compact(second.payload()), why, proves: true }
    }

    /// The shreds, and the proof that they make.
    pub(crate) fn into_parts(self) -> (Bytes, Bytes, Option<Bytes>) {
        let proof = self.proves.then(|| encode(&self.first, &self.second));
        (self.first, self.second, proof)
    }
}

/// A copy that keeps no larger buffer alive.
pub(crate) fn compact(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Why a shred does not fit what is known of its slot.
#[derive(Debug)]
pub(crate) struct Objection {
    pub(crate) conflict: Option<Conflict>,
    pub(crate) why: DropReason,
    pub(crate) kills: Option<DeadReason>,
}

/// What the shreds of a slot say about the slot: each claim with a shred that makes it.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Where it ends.
    last: Option<Shred<Signed>>,
    /// The data shred with the highest index. It names the parent, as all that were taken do.
    highest: Option<Shred<Signed>>,
    /// The first that is not part of an aligned set of 32 and 32.
    odd: Option<Shred<Signed>>,
}

impl Claims {
    /// What the slot builds on.
    pub(crate) fn parent(&self) -> Option<Slot> {
        self.highest.as_ref().and_then(Shred::parent)
    }

    /// Number of data shreds, once the end is known.
    pub(crate) fn length(&self) -> Option<u32> {
        self.last.as_ref().map(|last| last.index().get() + 1)
    }

    /// The least index past all data shreds that came.
    pub(crate) fn end(&self) -> u32 {
        self.highest.as_ref().map_or(0, |shred| shred.index().get() + 1)
    }

    /// Takes the claims of a data shred.
    pub(crate) fn note(&mut self, shred: &Shred<Signed>) {
        if shred.last_in_slot() {
            self.last = Some(shred.clone());
        }
        if self.highest.as_ref().is_none_or(|highest| highest.index() < shred.index()) {
            self.highest = Some(shred.clone());
        }
    }

    /// Copies the shreds, so that they keep no larger buffers alive.
    pub(crate) fn compact(&mut self) {
        for shred in [&mut self.last, &mut self.highest, &mut self.odd].into_iter().flatten() {
            *shred = shred.compact();
        }
    }

    /// Shreds held.
    pub(crate) fn held(&self) -> usize {
        [&self.last, &self.highest, &self.odd].into_iter().flatten().count()
    }

    /// `None`: parent and place of the shred agree with the others.
    pub(crate) fn judge(&self, shred: &Shred<Signed>) -> Option<Objection> {
        let last = self.last.as_ref();
        if shred.kind() == Kind::Code {
            let beyond = last.is_some_and(|last| shred.fec_set_index().get() > last.index().get());
            return beyond.then_some(Objection { conflict: None, why: DropReason::BeyondLast, kills: None });
        }
        let highest = self.highest.as_ref()?;
        if highest.parent() != shred.parent() {
            let conflict = Some(Conflict::between(highest, shred, DuplicateReason::Parent));
            return Some(Objection { conflict, why: DropReason::ParentConflict, kills: None });
        }
        if let Some(last) = last.filter(|last| shred.index() > last.index()) {
            let conflict = Some(Conflict::between(last, shred, DuplicateReason::BeyondLast));
            return Some(Objection { conflict, why: DropReason::BeyondLast, kills: None });
        }
        let too_early = shred.last_in_slot() && highest.index() > shred.index();
        too_early.then(|| Objection {
            conflict: Some(Conflict::between(highest, shred, DuplicateReason::BeyondLast)),
            why: DropReason::LastTooEarly,
            kills: Some(DeadReason::LastTooEarly),
        })
    }

    /// How a shred contradicts the odd one that came before it in the same set.
    pub(crate) fn judge_odd(&self, shred: &Shred<Signed>) -> Option<Conflict> {
        let odd = self.odd.as_ref().filter(|odd| odd.fec_set_index() == shred.fec_set_index())?;
        let why = if odd.merkle_root() != shred.merkle_root() {
            DuplicateReason::ForkedSet
        } else if has_other_layout(odd, shred) {
            DuplicateReason::ErasureLayout
        } else {
            return None;
        };
        Some(Conflict::between(odd, shred, why))
    }

    /// Keeps an odd shred, if it is the first.
    pub(crate) fn note_odd(&mut self, shred: &Shred<Signed>) {
        self.odd.get_or_insert_with(|| shred.compact());
    }
}

/// How the first shred of an FEC set breaks the chain of roots to the sets beside it (reference 3.6).
pub(crate) fn judge_chain(sets: &BTreeMap<FecSetIndex, Set>, shred: &Shred<Signed>) -> Option<Conflict> {
    let index = shred.fec_set_index().get();
    let before = index.checked_sub(SET).and_then(|before| sets.get(&FecSetIndex::new(before)));
    let after = index.checked_add(SET).and_then(|after| sets.get(&FecSetIndex::new(after)));
    let broken = before.filter(|set| set.root() != shred.chained_merkle_root());
    let broken = broken.or(after.filter(|set| set.chained() != shred.merkle_root()))?;
    Some(Conflict::between(broken.witness(), shred, DuplicateReason::ChainedRoot))
}

/// How a shred that has no place in the aligned set of its index contradicts that set.
pub(crate) fn judge_layout(set: &Set, shred: &Shred<Signed>) -> Option<Conflict> {
    if set.root() != shred.merkle_root() {
        return Some(Conflict::between(set.witness(), shred, DuplicateReason::ForkedSet));
    }
    let code = set.code().filter(|code| has_other_layout(code, shred))?;
    Some(Conflict::between(code, shred, DuplicateReason::ErasureLayout))
}

fn has_other_layout(first: &Shred<Signed>, second: &Shred<Signed>) -> bool {
    let both_code = first.kind() == Kind::Code && second.kind() == Kind::Code;
    both_code && layout(first.view()) != layout(second.view())
}
