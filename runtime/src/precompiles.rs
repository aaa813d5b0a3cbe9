//! Precompiles: native programs that only check signatures given in their instruction's data.
//!
//! Ed25519 is here. The two others, secp256k1 and secp256r1, are refused.

use sundog_types::Signature;

/// The data begins with the number of signatures and a byte of padding.
const START: usize = 2;
/// Bytes of one signature's offsets: seven little-endian u16.
const OFFSETS: usize = 14;
/// An instruction index that means the precompile's own instruction.
const OWN: u16 = u16::MAX;

/// Why a precompile fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The instruction's data has not the length that it says.
    Size,
    /// An offset leads out of the data.
    Offsets,
    /// A signature does not hold.
    Signature,
}

/// Checks all signatures that `data` names; `instructions` is the data of every instruction of the
/// transaction.
pub(crate) fn ed25519(data: &[u8], instructions: &[&[u8]]) -> Result<(), Fault> {
    let count = usize::from(*data.first().ok_or(Fault::Size)?);
    if data.len() < START || (count == 0 && data.len() > START) {
        return Err(Fault::Size);
    }
    let entries = data.get(START..START + count * OFFSETS).ok_or(Fault::Size)?;
    for entry in entries.chunks_exact(OFFSETS) {
        let field = |place: usize| u16::from_le_bytes([entry[2 * place], entry[2 * place + 1]]);
        let slice = |offset: u16, length: usize, instruction: u16| {
            let from = if instruction == OWN { Some(&data) } else { instructions.get(usize::from(instruction)) };
            let start = usize::from(offset);
            from.and_then(|from| from.get(start..start + length)).ok_or(Fault::Offsets)
        };
        let signature = slice(field(0), 64, field(1))?;
        let key = slice(field(2), 32, field(3))?;
        let message = slice(field(4), usize::from(field(5)), field(6))?;
        let signature = Signature::try_from(signature).map_err(|_| Fault::Signature)?;
        if !signature.verify(key, message) {
            return Err(Fault::Signature);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use solana_keypair::Keypair;
    use solana_signer::Signer as _;

    fn data(message: &[u8]) -> Vec<u8> {
        let keypair = Keypair::new_from_array([7; 32]);
        let mut data = vec![1, 0];
        let length = u16::try_from(message.len()).expect("short");
        for field in [48, OWN, 16, OWN, 112, length, OWN] {
            data.extend_from_slice(&field.to_le_bytes());
        }
        data.extend_from_slice(keypair.pubkey().as_ref());
        data.extend_from_slice(keypair.sign_message(message).as_ref());
        data.extend_from_slice(message);
        data
    }

    #[test]
    fn a_good_signature_holds_and_a_changed_message_does_not() {
        let mut data = data(b"three suns");
        assert_eq!(ed25519(&data, &[]), Ok(()));
        *data.last_mut().expect("not empty") ^= 1;
        assert_eq!(ed25519(&data, &[]), Err(Fault::Signature));
    }

    #[test]
    fn cut_data_is_refused() {
        let data = data(b"three suns");
        for length in 0..data.len() {
            assert!(ed25519(&data[..length], &[]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn no_signature_at_all_is_fine_only_without_more_data() {
        assert_eq!(ed25519(&[0, 0], &[]), Ok(()));
        assert_eq!(ed25519(&[0, 0, 0], &[]), Err(Fault::Size));
    }
}
