//! Checking a value once for thousands of machines in one process.
//!
//! In a simulated cluster the same value reaches every node several times. What [`crate::check()`] would find is found
//! once; whoever gets the same bytes later gets the same [`CrdsValue`], which all share. No real node uses this.

use crate::{
    check::{Checked, drop_retired, message_signed, sanitise, sanitise_data},
    metrics::DropReason,
    wire::{
        Protocol,
        codec::{DecodeError, Reader},
        value::{CrdsData, CrdsValue},
    },
};
use sha2::{Digest as _, Sha256};
use sundog_types::{Pubkey, Signature, sign::Verifier};

/// How the nodes of a world sign pings, pongs and prunes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageSignatures {
    /// As real nodes do.
    Real,
    /// With [`stamp`]: a thousand nodes that all meet make a million pings, thousands of nodes prune thousands of times a
    /// second, and signing that would be most of the work.
    Stamps,
}

/// A stand-in for the signature of a ping, pong or prune, which anybody could make.
#[must_use]
pub fn stamp(identity: &Pubkey, message: &[u8]) -> Signature {
    let half: [u8; 32] = Sha256::new().chain_update(identity).chain_update(message).finalize().into();
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&half);
    Signature::from(bytes)
}

/// Values whose bounds and signatures hold, each in the place that its signature names. Full: a newer value takes the
/// place of an older one, which is then checked again when it comes.
pub struct Known {
    places: Vec<Option<CrdsValue>>,
    signatures: MessageSignatures,
    verifier: Verifier,
}

impl Known {
    /// Nothing known yet, with room for 2^`bits` values.
    #[must_use]
    pub fn new(bits: u32, signatures: MessageSignatures) -> Self {
        Self { places: vec![None; 1 << bits], signatures, verifier: Verifier::of_keys() }
    }

    /// What [`crate::check()`] says of the bytes.
    ///
    /// # Errors
    /// As [`crate::check()`]; of several reasons another may be named.
    pub fn check(&mut self, bytes: &[u8]) -> Result<Checked, DropReason> {
        let mut broken = None;
        let message = Protocol::decode_with(bytes, |reader| self.read(reader, &mut broken));
        if let Some(why) = broken {
            return Err(why);
        }
        let mut message = message?;
        sanitise(&message)?;
        drop_retired(&mut message)?;
        if self.signed(&message) { Ok(Checked { message }) } else { Err(DropReason::BadSignature) }
    }

    fn signed(&self, message: &Protocol) -> bool {
        let stamped = |from: &Pubkey, said: &[u8], signature: &Signature| *signature == stamp(from, said);
        match (self.signatures, message) {
            (MessageSignatures::Stamps, Protocol::PingMessage(ping)) => {
                stamped(&ping.from, &ping.token, &ping.signature)
            }
            (MessageSignatures::Stamps, Protocol::PongMessage(pong)) => {
                stamped(&pong.from, pong.hash.as_ref(), &pong.signature)
            }
            (MessageSignatures::Stamps, Protocol::PruneMessage(_, prune)) => {
                stamped(&prune.pubkey, &prune.signed_bytes(false), &prune.signature)
            }
            _ => message_signed(message, &self.verifier),
        }
    }

    fn read(&mut self, reader: &mut Reader<'_>, broken: &mut Option<DropReason>) -> Result<CrdsValue, DecodeError> {
        let place = self.place(reader.rest());
        if let Some(value) = place.and_then(|place| self.places[place].as_ref())
            && reader.rest().starts_with(value.bytes())
        {
            reader.bytes(value.bytes().len())?;
            return Ok(value.clone());
        }
        let value = CrdsValue::read(reader)?;
        if matches!(value.data(), CrdsData::Retired(_)) {
            return Ok(value);
        }
        let holds = sanitise_data(value.data()).map_err(DropReason::from);
        let holds =
            holds.and_then(|()| if value.verify(&self.verifier) { Ok(()) } else { Err(DropReason::BadSignature) });
        if let Err(why) = holds {
            broken.get_or_insert(why);
            return Ok(value);
        }
        if let Some(place) = place {
            self.places[place] = Some(value.clone());
        }
        Ok(value)
    }

    fn place(&self, bytes: &[u8]) -> Option<usize> {
        let (head, _) = bytes.split_first_chunk::<8>()?;
        Some(u64::from_le_bytes(*head) as usize & (self.places.len() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Carrier, Ping, contact::ContactInfo, pack};
    use solana_keypair::Keypair;
    use sundog_types::{
        peer::Addresses,
        sign::{Identity, Sign as _},
    };

    fn value(number: u8) -> CrdsValue {
        let signer = Identity::new(Keypair::new_from_array([number; 32]));
        let info = ContactInfo::new(signer.identity(), 1, 7, &Addresses::default());
        CrdsValue::sign(CrdsData::ContactInfo(Box::new(info)), &signer)
    }

    #[test]
    fn what_is_known_is_found_again_and_what_is_forged_is_not() {
        let mut known = Known::new(0, MessageSignatures::Real);
        let [first, second] = [1, 2].map(value);
        let both = [first.bytes().clone(), second.bytes().clone()];
        for _ in 0..2 {
            // With room for one value each takes the other's place.
            for datagram in pack(Carrier::Push, &Pubkey::default(), &both) {
                let checked = known.check(&datagram).expect("all is well");
                let Protocol::PushMessage(_, values) = checked.message() else { panic!("a push") };
                assert_eq!(*values, [first.clone(), second.clone()]);
            }
        }
        let mut forged = pack(Carrier::Push, &Pubkey::default(), &both)[0].to_vec();
        *forged.last_mut().expect("bytes") ^= 1;
        assert!(known.check(&forged).is_err());
    }

    #[test]
    fn a_stamp_is_no_signature_and_a_signature_no_stamp() {
        let signer = Identity::new(Keypair::new_from_array([3; 32]));
        let mut ping = Ping::new([5; 32], &signer);
        let signed = Protocol::PingMessage(ping.clone()).encode();
        ping.signature = stamp(&ping.from, &ping.token);
        let stamped = Protocol::PingMessage(ping).encode();
        for (signatures, good, bad) in
            [(MessageSignatures::Real, &signed, &stamped), (MessageSignatures::Stamps, &stamped, &signed)]
        {
            let mut known = Known::new(0, signatures);
            assert!(known.check(good).is_ok());
            assert!(known.check(bad).is_err());
        }
    }
}
