//! Machines whose votes tell no block ids, as those of other clients need not: their votes are changed on the way out.

use super::Host;
use crate::node::Socket;
use bytes::Bytes;
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;
use sundog_gossip::wire::{
    Protocol,
    kinds::Vote,
    value::{CrdsData, CrdsValue},
};
use sundog_types::{
    Hash,
    sign::Identity,
    vote::{self, VoteOnWire},
};

impl Host {
    /// What leaves in place of a datagram.
    pub(super) fn leaving(&self, socket: Socket, bytes: Bytes) -> Bytes {
        let changed = match socket {
            _ if self.tells_block_ids => None,
            Socket::TpuVote => self.vote_leaving(&bytes),
            Socket::Gossip => self.gossip_leaving(&bytes),
            Socket::Repair | Socket::ServeRepair => None,
        };
        changed.unwrap_or(bytes)
    }

    fn vote_leaving(&self, bytes: &[u8]) -> Option<Bytes> {
        let told = bincode::deserialize(bytes).ok()?;
        let untold = self.untold(&told)?;
        Some(bincode::serialize(&untold).expect("a vote serialises").into())
    }

    fn gossip_leaving(&self, bytes: &[u8]) -> Option<Bytes> {
        let mut message = Protocol::decode(bytes).ok()?;
        let (Protocol::PushMessage(_, values) | Protocol::PullResponse(_, values)) = &mut message else { return None };
        let signer = Identity::new(self.identity.insecure_clone());
        for value in values {
            let CrdsData::Vote(place, told) = value.data() else { continue };
            let untold = self.untold(&told.transaction.clone().into()).and_then(|vote| vote.into_legacy_transaction());
            let untold = untold.and_then(|untold| Vote::new(told.from, untold, told.wallclock));
            if let Some(untold) = untold {
                *value = CrdsValue::sign(CrdsData::Vote(*place, untold), &signer);
            }
        }
        Some(message.encode().into())
    }

    /// The same vote of this machine without the block id.
    fn untold(&self, told: &VersionedTransaction) -> Option<VersionedTransaction> {
        let own = vote::parse_vote(told).filter(|parsed| parsed.vote_account == self.vote.pubkey())?;
        let untold = VoteOnWire { block_id: Hash::default(), ..own.voted };
        Some(vote::tower_sync_transaction(&untold, *told.message.recent_blockhash(), &self.identity, &self.vote))
    }
}
