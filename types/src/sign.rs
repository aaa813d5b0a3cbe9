//! The one place that signs with the node's keys, and checks what it signs by role; and the one that verifies.
//!
//! A bug in gossip must not be able to sign a vote: every message is checked against the shape that
//! its role allows before the key touches it.

mod strict;
mod verifier;

pub(crate) use strict::SMALL_ORDER;
pub use strict::{VerifyingKey, verify};
pub use verifier::{HELD_MAX, KEYS_MAX, Verifier};

use crate::{Pubkey, Signature};
use solana_keypair::Keypair;
use solana_signer::Signer as _;

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignRole {
    /// The Merkle root of an FEC set, by its leader or a retransmitter: 32 bytes.
    ShredRoot,
    /// A CRDS value, or a prune message: starts with a tag or a public key, at most 1,232 bytes.
    Gossip,
    /// A ping token or a pong hash: 32 bytes.
    PingPong,
    /// A repair request: starts with tag 8 to 11.
    Repair,
    /// A saved tower.
    Tower,
}

/// Signs for one identity.
pub trait Sign: Send + Sync {
    /// The public key it signs for.
    fn identity(&self) -> Pubkey;

    /// Signs `message` in a role.
    ///
    /// # Panics
    /// If the message does not have the shape that the role allows: only a bug can ask for that.
    fn sign(&self, role: SignRole, message: &[u8]) -> Signature;
}

/// Whether `message` has the shape of `role`.
#[must_use]
pub fn fits_role(role: SignRole, message: &[u8]) -> bool {
    match role {
        SignRole::ShredRoot | SignRole::PingPong => message.len() == 32,
        SignRole::Gossip => message.len() > 32 && message.len() <= 1_232,
        SignRole::Repair => (80..=200).contains(&message.len()) && matches!(message.get(..4), Some([8..=11, 0, 0, 0])),
        SignRole::Tower => message.len() > 32 && message.len() <= 4_096,
    }
}

/// A node's identity key in memory.
pub struct Identity(Keypair);

impl Identity {
    /// Takes charge of a key.
    #[must_use]
    pub fn new(keypair: Keypair) -> Self {
        Self(keypair)
    }
}

impl Sign for Identity {
    fn identity(&self) -> Pubkey {
        self.0.pubkey()
    }

    fn sign(&self, role: SignRole, message: &[u8]) -> Signature {
        assert!(fits_role(role, message), "a message of {} bytes is not a {role:?}", message.len());
        self.0.sign_message(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_made_in_a_role_verifies() {
        let identity = Identity::new(Keypair::new());
        let signature = identity.sign(SignRole::PingPong, &[7; 32]);
        assert!(signature.verify(identity.identity().as_ref(), &[7; 32]));
    }

    #[test]
    #[should_panic(expected = "is not a ShredRoot")]
    fn a_message_of_another_shape_is_not_signed() {
        let _ = Identity::new(Keypair::new()).sign(SignRole::ShredRoot, &[0; 33]);
    }
}
