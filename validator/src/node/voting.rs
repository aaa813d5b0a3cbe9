//! Votes: casting the node's own, and counting those of others.

use super::{Effect, Event, Node, Socket};
use std::{collections::BTreeSet, sync::Arc};
use sundog_gulfstream::Source;
use sundog_runtime::Bank;
use sundog_tower::VoterState;
use sundog_types::{
    Effects, Now, Pubkey, Slot,
    vote::{self, ParsedVote, VoteOnWire},
};

/// Leaders that get a vote straight: the present one and the one two slots ahead (reference 8.5).
const VOTE_TO_SLOTS: [u64; 2] = [0, 2];

/// A vote for a slot this far behind what the cluster votes for stays here: by the time a leader had it, it could count
/// for nothing, and a node that catches up would send one for every block. The tower has promised it all the same.
const STALE_VOTE_SLOTS: u64 = 256;

/// Slots voted for that are asked for at once.
const WANTED_MAX: usize = 64;

impl Node {
    /// Signs a vote that the tower has promised durably, and spreads it.
    pub(super) fn cast(
        &mut self,
        now: Now,
        vote: &VoteOnWire,
        (blockhash_of, last_slot): (Slot, Slot),
        out: &mut Effects<Effect>,
    ) {
        if self.voted_beyond(1).is_some_and(|voted| voted > last_slot.saturating_add(STALE_VOTE_SLOTS)) {
            self.counters.stale_votes += 1;
            return;
        }
        let (Some(voter), Some(frozen)) = (&self.voter, self.forks.get(blockhash_of)) else { return };
        let blockhash = frozen.bank.last_blockhash();
        let transaction = vote::tower_sync_transaction(vote, blockhash, &self.key, &voter.key);
        let Ok(bytes) = bincode::serialize(&transaction) else { return };
        let bytes = bytes::Bytes::from(bytes);
        let root = vote.root.map_or(Slot::ZERO, Slot::new);
        out.push(Effect::Event(Event::Voted { slot: last_slot, root, vote: Arc::new(vote.clone()) }));
        self.first_vote.cast(last_slot);
        self.counters.votes += 1;
        self.gossip(now, sundog_gossip::Input::PublishVote { transaction: transaction.clone(), slot: last_slot }, out);
        self.gulf(now, sundog_gulfstream::Input::Packets { source: Source::Vote, packets: vec![bytes.clone()] }, out);
        let at = self.clock_slot(now);
        let mut sent = Vec::new();
        for offset in VOTE_TO_SLOTS {
            let Some(leader) = self.leaders.leader(at.saturating_add(offset)) else { continue };
            let address = self.peers.iter().find(|p| p.identity == leader).and_then(|p| p.addresses.tpu_vote);
            if let Some(to) = address.filter(|_| leader != self.identity && !sent.contains(&leader)) {
                sent.push(leader);
                out.push(Effect::SendUdp { socket: Socket::TpuVote, to, bytes: bytes.clone() });
            }
        }
        if let Some(parsed) = vote::parse_vote(&transaction) {
            self.vote_seen(now, &parsed, out);
        }
    }

    /// Counts a vote towards optimistic confirmation, and notes slots that others have and this node has not.
    pub(super) fn vote_seen(&mut self, now: Now, parsed: &ParsedVote, out: &mut Effects<Effect>) {
        let slot = Slot::new(parsed.last_slot);
        if self.node_behind(parsed).is_none() {
            return;
        }
        let (hash, block_id) = (parsed.voted.hash, parsed.voted.block_id);
        let input = sundog_tower::Input::VoteSeen { vote_account: parsed.vote_account, slot, hash, block_id };
        self.consensus(now, input, out);
        self.own_vote_seen(now, parsed, out);
        self.highest_seen = self.highest_seen.max(slot);
        let newest = self.newest_votes.entry(parsed.vote_account).or_default();
        *newest = slot.max(*newest);
        if slot > self.forks.root() && self.forks.get(slot).is_none() && !self.dead.contains(&slot) {
            let wanted = self.wanted();
            self.turbine(now, sundog_turbine::Input::Wanted(wanted), out);
        }
    }

    /// The node that votes with the account, if the vote's key may vote for it in the epoch of the slot voted for. Of an
    /// epoch that the root does not fix yet, as to a node that is far behind, its own epoch speaks.
    pub(super) fn node_behind(&self, parsed: &ParsedVote) -> Option<Pubkey> {
        let epoch = self.leaders.epoch(Slot::new(parsed.last_slot));
        let root = &self.forks.get(self.forks.root())?.bank;
        let stakes = root.epoch_stakes(epoch).unwrap_or_else(|| root.current_epoch_stakes());
        let vote = stakes.by_vote_account.get(&parsed.vote_account)?;
        (vote.authorized_voter == parsed.voter).then_some(vote.node)
    }

    /// The newest slots voted for that this node has not, the lowest first: what leads from here to there comes first.
    ///
    /// Older votes are not looked at, and a chosen version is followed back from here only where more than 52 % voted for
    /// exactly that slot. It need be no more, for nobody stays behind by it: what is lacking is searched for from
    /// whatever is built on it; of a block that is dead, or of which parts of several versions are here, peers are asked for
    /// ancestor hashes ([`super::ancestors`]), whoever votes for what; and to a node that is far behind bulk sync brings the
    /// version that its peers call final. The reference also asks for what nodes with 52 % of the stake announce
    /// (EpochSlots): that tells no hash, so it says no more than a block built on it does.
    pub(super) fn wanted(&self) -> Vec<Slot> {
        let stakes = self.forks.get(self.forks.root()).map(|root| root.bank.current_epoch_stakes());
        let staked = |account: &Pubkey| stakes.as_ref().is_some_and(|s| s.of_vote_account(account) > 0);
        let newest = self.newest_votes.iter().filter(|(account, _)| staked(account)).map(|(_, slot)| *slot);
        let lacking =
            |slot: &Slot| *slot > self.forks.root() && self.forks.get(*slot).is_none() && !self.dead.contains(slot);
        newest.filter(lacking).collect::<BTreeSet<_>>().into_iter().take(WANTED_MAX).collect()
    }

    /// The highest slot that two thirds of the stake have voted for or beyond, whether or not this node has it.
    pub(super) fn cluster_voted(&self) -> Option<Slot> {
        self.voted_beyond(2)
    }

    /// The highest slot that more than so many thirds of the stake have voted for or beyond. With one third, no lie of
    /// the fewer than a third who may lie moves it.
    pub(super) fn voted_beyond(&self, thirds: u128) -> Option<Slot> {
        self.voted_beyond_by(thirds, |_| true)
    }

    /// Notes what more than two thirds of the stake vote for, this node's own left out: they finalize blocks without it. When
    /// fewer go on, the cluster needs this node, and its blocks for its votes, if it is bound to another fork than they.
    pub(super) fn hear_others(&mut self, now: Now) {
        let own = self.voter.as_ref().map(|voter| voter.account);
        if let Some(voted) = self.voted_beyond_by(2, |account| Some(*account) != own) {
            self.first_vote.hear(now, voted);
        }
    }

    /// Looks for a vote of this life in a bank, as long as none was found.
    pub(super) fn look_for_first_vote(&mut self, bank: &Bank) {
        let Some(wanted) = self.first_vote.looks_for(bank.slot()) else { return };
        let own = self.voter.as_ref().and_then(|voter| super::returning::tower_in(bank, voter.account));
        let last = own.and_then(|own| own.lockouts.last().map(|(slot, _)| Slot::new(*slot)));
        if last >= Some(wanted) {
            self.first_vote.landed();
        }
    }

    fn voted_beyond_by(&self, thirds: u128, counts: impl Fn(&Pubkey) -> bool) -> Option<Slot> {
        let stakes = self.forks.get(self.forks.root())?.bank.current_epoch_stakes();
        let voters = self.newest_votes.iter().filter(|(account, _)| counts(account));
        let mut votes: Vec<(Slot, u64)> =
            voters.map(|(account, slot)| (*slot, stakes.of_vote_account(account))).collect();
        votes.sort_unstable_by(|a, b| b.cmp(a));
        let total = u128::from(stakes.total());
        let mut voted = 0_u128;
        votes.into_iter().find_map(|(slot, stake)| {
            voted += u128::from(stake);
            (voted * 3 > total * thirds).then_some(slot)
        })
    }

    /// What a frozen bank says of its voters, for the tower. They weigh what its epoch gives them; the own account votes
    /// from the moment that something is delegated to it, before that counts.
    pub(super) fn voters(&self, bank: &Arc<Bank>) -> Vec<VoterState> {
        let stakes = bank.current_epoch_stakes();
        let own = self.voter.as_ref().map(|voter| voter.account);
        bank.vote_accounts()
            .into_iter()
            .map(|account| (stakes.of_vote_account(&account.pubkey), account))
            .filter(|(stake, account)| *stake > 0 || (account.stake > 0 && Some(account.pubkey) == own))
            .map(|(stake, account)| VoterState {
                vote_account: account.pubkey,
                stake,
                lockouts: account.lockouts,
                root: account.root,
                last_timestamp: account.last_timestamp.1,
            })
            .collect()
    }
}
