//! Plain system transfers: what the faucet, the benchmarks and the tests send.

use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;
use sundog_types::{Hash, Pubkey};

/// A signed transfer of `lamports` from `payer` to `to`.
#[must_use]
pub fn transfer(payer: &Keypair, to: &Pubkey, lamports: u64, blockhash: Hash) -> VersionedTransaction {
    let instruction = solana_system_interface::instruction::transfer(&payer.pubkey(), to, lamports);
    let message = Message::new_with_blockhash(&[instruction], Some(&payer.pubkey()), &blockhash);
    let signature = payer.sign_message(&message.serialize());
    VersionedTransaction { signatures: vec![signature], message: VersionedMessage::Legacy(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_passes_the_checks_of_gulf_stream() {
        let payer = Keypair::new_from_array([1; 32]);
        let transfer = transfer(&payer, &Pubkey::new_from_array([2; 32]), 5, Hash::default());
        let bytes = bincode::serialize(&transfer).expect("a transaction serialises");
        assert!(sundog_gulfstream::check(&bytes).is_ok());
    }
}
