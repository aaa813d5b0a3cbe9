//! One node of the world.

use super::tally::Traffic;
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::sync::Arc;
use sundog_gossip::{Gossip, known::stamp};
use sundog_types::{
    Now, Pubkey, Signature,
    sign::{Identity, Sign, SignRole},
};

/// One node of the world.
pub struct GossipHost {
    /// Its machine; `None` while it does not run.
    pub gossip: Option<Gossip>,
    /// Its stake, in lamports.
    pub stake: u64,
    /// When it last started.
    pub since: Now,
    /// Since when another, newer instance of it is known to run, which is why it stopped.
    pub superseded: Option<Now>,
    /// What it sent and received.
    pub traffic: Traffic,
    pub(super) keypair: Arc<Keypair>,
    /// The part of the network that it is in.
    pub(super) part: u8,
    /// The millisecond for which its timer is set.
    pub(super) timer: Option<u64>,
    /// The slots it voted for last, for its next vote.
    pub(super) voted: Vec<u64>,
}

impl GossipHost {
    /// Its identity.
    #[must_use]
    pub fn key(&self) -> Pubkey {
        self.keypair.pubkey()
    }

    /// Whether it runs. What is sent to a node that does not is lost.
    #[must_use]
    pub const fn runs(&self) -> bool {
        self.gossip.is_some()
    }
}

/// Signs what nodes say as real nodes do, and stamps pings, pongs and prunes.
pub(super) struct StampingSigner(Identity);

impl StampingSigner {
    pub(super) fn new(keypair: &Keypair) -> Self {
        Self(Identity::new(keypair.insecure_clone()))
    }
}

impl Sign for StampingSigner {
    fn identity(&self) -> Pubkey {
        self.0.identity()
    }

    fn sign(&self, role: SignRole, message: &[u8]) -> Signature {
        let me = self.identity();
        // What is signed of a prune begins with who asks for it, of a value with its kind.
        if role == SignRole::PingPong || message.starts_with(me.as_ref()) {
            stamp(&me, message)
        } else {
            self.0.sign(role, message)
        }
    }
}
