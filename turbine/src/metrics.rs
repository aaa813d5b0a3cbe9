//! What Turbine counts.

use std::fmt;
use sundog_types::shred::DropReason as ShredDrop;

sundog_types::reasons! {
    /// Why something that arrived was dropped, beyond the reasons that lie in a shred's own bytes.
    pub enum DropReason {
        /// A shred of an epoch whose leaders are not known.
        UnknownEpoch = "unknown_epoch",
        /// A shred of a slot that nobody leads.
        UnknownLeader = "unknown_leader",
        /// A shred of this node's own slot, come back by Turbine.
        OwnSlot = "own_slot",
        /// A shred that is held already, or a second copy of one.
        Seen = "seen",
        /// More shreds wait for verification, or checks are under way, than this one's sender may cause.
        WaitingFull = "waiting_full",
        /// Passed on by another node than this one's parent in its tree, or without his signature.
        BadRetransmitter = "bad_retransmitter",
        /// Of a second version of an FEC set: passed on, but not kept.
        OtherVersion = "other_version",
        /// A third version of an FEC set: two are enough to prove that the leader equivocates.
        TooManyVersions = "too_many_versions",
        /// Of a version of its slot that lost: another one was chosen.
        NotChosen = "not_chosen",
        /// Not in an aligned FEC set of 32 and 32, in an epoch where that is not yet a rule.
        OddSet = "odd_set",
        /// It names another parent than the first shred of its slot.
        ParentConflict = "parent_conflict",
        /// It lies beyond the last shred of its slot.
        BeyondLast = "beyond_last",
        /// It claims to be the last of its slot, but later ones are here.
        LastTooEarly = "last_too_early",
        /// As many slots as may be are held; this one is farthest from the root.
        SlotsFull = "slots_full",
        /// As many FEC sets as may be are held; this one is farthest from replay.
        SetsFull = "sets_full",
        /// A repair response without room for a shred and a nonce.
        ResponseTooShort = "response_too_short",
        /// A repair response whose nonce belongs to no open request.
        UnknownNonce = "unknown_nonce",
        /// A repair response that comes from another host than the one that was asked.
        OtherAddress = "other_address",
        /// A repair response that is not what was asked for.
        WrongAnswer = "wrong_answer",
        /// An answer about ancestor hashes that is none, or has more than there may be.
        AncestorsMalformed = "ancestors_malformed",
        /// An answer about ancestor hashes that does not go down from the slot that was asked about.
        AncestorsWrong = "ancestors_wrong",
        /// A ping from a node that was asked nothing.
        UnaskedPing = "unasked_ping",
        /// More pings than may be verified in a second.
        PingBudget = "ping_budget",
        /// A ping with a wrong signature.
        BadPing = "bad_ping",
        /// Too short for a repair request.
        RequestTooShort = "request_too_short",
        /// No repair request.
        RequestMalformed = "request_malformed",
        /// A repair request for another node.
        RequestOtherRecipient = "request_other_recipient",
        /// A repair request from this node itself.
        RequestFromSelf = "request_from_self",
        /// A repair request over 10 minutes off.
        RequestTimeSkew = "request_time_skew",
        /// A repair request or pong with a wrong signature.
        RequestBadSignature = "request_bad_signature",
        /// More repair requests than may be verified in a second.
        RequestBudget = "request_budget",
        /// An answer that would exceed the bytes that may be served in a second.
        AnswerBudget = "answer_budget",
        /// A request from an address that has not ponged, pinged a moment ago.
        Unproven = "unproven",
        /// A pong that answers none of this node's pings.
        UnaskedPong = "unasked_pong",
        /// A request for what is not held.
        NotHeld = "not_held",
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A reason to drop what arrived: one of the shred's own, or one of Turbine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It lies in the shred's bytes.
    Shred(ShredDrop),
    /// It lies in what this node holds, knows or can bear.
    Turbine(DropReason),
}

impl From<ShredDrop> for Refusal {
    fn from(reason: ShredDrop) -> Self {
        Self::Shred(reason)
    }
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self::Turbine(reason)
    }
}

/// Layers of the tree that are counted apart: root, first, second, deeper.
pub const PLACES: usize = 4;

/// Counters since the start.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Shreds taken that came by Turbine, by this node's place in the shred's tree: root, layer 1, layer 2, deeper.
    pub received_by_place: [u64; PLACES],
    /// Shreds taken that came as answers to repair requests.
    pub repaired: u64,
    /// Shreds taken that came by bulk sync.
    pub synced: u64,
    /// Slots that peers said they have, counted once for each peer.
    pub announced: u64,
    /// Shreds made by erasure decoding instead of received.
    pub recovered: u64,
    /// FEC sets that were decoded.
    pub sets_recovered: u64,
    /// FEC sets whose decoding contradicted their root: their leader made them wrong.
    pub sets_corrupt: u64,
    /// FEC sets decoded that were whole or gone by then.
    pub decoded_too_late: u64,
    /// FEC sets being decoded, now.
    pub sets_decoding: u64,
    /// Own shreds sent to the roots of their trees.
    pub sent_broadcast: u64,
    /// Shreds passed on to children.
    pub sent_retransmit: u64,
    /// Recovered shreds passed on to children.
    pub sent_retransmit_recovered: u64,
    /// Shreds not sent because the receiver has no address.
    pub unsent_without_address: u64,
    /// Shreds taken but not passed on, because they, or two other versions of them, were before.
    pub unsent_again: u64,
    /// Leaders' signatures given out to be checked.
    pub verifications: u64,
    /// Retransmitters' signatures given out to be checked.
    pub relay_verifications: u64,
    /// Checks of leaders' signatures under way, now.
    pub checks_under_way: u64,
    /// Repair requests sent.
    pub repair_requests: u64,
    /// Ticks of repair whose budget of requests was used up.
    pub repair_over_budget: u64,
    /// Ticks of repair whose budget of searches for unknown ancestors was used up.
    pub repair_searches_over_budget: u64,
    /// Repair requests not answered in time.
    pub repair_unanswered: u64,
    /// Repair requests given up because too many were open.
    pub repair_given_up: u64,
    /// Slots of which the ancestors' hashes were asked of a sample of peers.
    pub ancestors_asked: u64,
    /// Of these, those about which over half agreed.
    pub ancestors_agreed: u64,
    /// Those about which there were answers, but no majority for one.
    pub ancestors_split: u64,
    /// Those about which nobody knew anything.
    pub ancestors_unknown: u64,
    /// Not asked: too many were under way, or there was nobody to ask.
    pub ancestors_refused: u64,
    /// Pings of repair servers answered.
    pub pongs_sent: u64,
    /// Shreds served to others.
    pub served: u64,
    /// Bytes of shreds and pings served to others.
    pub served_bytes: u64,
    /// Lists of ancestors served to others.
    pub served_ancestors: u64,
    /// Pings sent to those who asked.
    pub pings_sent: u64,
    /// Blocks complete.
    pub complete: u64,
    /// Slots given up.
    pub dead: u64,
    /// Slots whose leader contradicted itself.
    pub duplicate_slots: u64,
    /// Contradictions reported, one of each kind for each slot.
    pub conflicts: u64,
    /// Contradictions reported with a proof for others.
    pub proofs: u64,
    /// FEC sets thrown out of memory for others nearer to the root.
    pub sets_evicted: u64,
    /// Slots thrown out of memory for others nearer to the root.
    pub slots_evicted: u64,
    /// Times that a version of a slot was chosen because another one lost.
    pub chosen: u64,
    /// FEC sets dropped because they belonged to another version than the chosen one.
    pub stray_sets: u64,
    /// FEC sets whose bytes are held, now.
    pub sets_held: u64,
    /// FEC sets of which only marks are held, now.
    pub marks_held: u64,
    /// Marks forgotten for others nearer to the root.
    pub marks_forgotten: u64,
    /// Slots held above the root, now.
    pub slots_held: u64,
    /// Shreds waiting for verification, now.
    pub waiting: u64,
    /// Drops for reasons that lie in the shred's bytes, by place in that enum's `ALL`.
    pub refused: [u64; ShredDrop::COUNT],
    /// Other drops, by place in [`DropReason::ALL`].
    pub dropped: [u64; DropReason::COUNT],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            received_by_place: [0; PLACES],
            repaired: 0,
            synced: 0,
            announced: 0,
            recovered: 0,
            sets_recovered: 0,
            sets_corrupt: 0,
            decoded_too_late: 0,
            sets_decoding: 0,
            sent_broadcast: 0,
            sent_retransmit: 0,
            sent_retransmit_recovered: 0,
            unsent_without_address: 0,
            unsent_again: 0,
            verifications: 0,
            relay_verifications: 0,
            checks_under_way: 0,
            repair_requests: 0,
            repair_over_budget: 0,
            repair_searches_over_budget: 0,
            repair_unanswered: 0,
            repair_given_up: 0,
            ancestors_asked: 0,
            ancestors_agreed: 0,
            ancestors_split: 0,
            ancestors_unknown: 0,
            ancestors_refused: 0,
            pongs_sent: 0,
            served: 0,
            served_bytes: 0,
            served_ancestors: 0,
            pings_sent: 0,
            complete: 0,
            dead: 0,
            duplicate_slots: 0,
            conflicts: 0,
            proofs: 0,
            chosen: 0,
            stray_sets: 0,
            sets_held: 0,
            marks_held: 0,
            marks_forgotten: 0,
            sets_evicted: 0,
            slots_evicted: 0,
            slots_held: 0,
            waiting: 0,
            refused: [0; ShredDrop::COUNT],
            dropped: [0; DropReason::COUNT],
        }
    }
}

impl Metrics {
    /// All drops, by name.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let own = DropReason::ALL.iter().map(|reason| (reason.name(), self.dropped[*reason as usize]));
        let shred = ShredDrop::ALL.iter().map(|reason| (reason.name(), self.refused[reason.index()]));
        own.chain(shred)
    }

    /// How often something was dropped for one of Turbine's reasons.
    #[must_use]
    pub fn dropped(&self, why: DropReason) -> u64 {
        self.dropped[why as usize]
    }

    pub(crate) fn refuse(&mut self, why: impl Into<Refusal>) {
        match why.into() {
            Refusal::Shred(reason) => self.refused[reason.index()] += 1,
            Refusal::Turbine(reason) => self.dropped[reason as usize] += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_drop_has_a_name_of_its_own() {
        let metrics = Metrics::default();
        let names: BTreeSet<_> = metrics.drops().map(|(name, _)| name).collect();
        assert_eq!(names.len(), DropReason::COUNT + ShredDrop::COUNT);
    }

    #[test]
    fn a_drop_is_counted_under_its_reason() {
        let mut metrics = Metrics::default();
        metrics.refuse(DropReason::Seen);
        metrics.refuse(ShredDrop::BadProof);
        let counted: Vec<_> = metrics.drops().filter(|(_, count)| *count == 1).map(|(name, _)| name).collect();
        assert_eq!(counted, ["seen", "bad_proof"]);
    }
}
