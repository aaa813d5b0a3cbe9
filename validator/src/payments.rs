//! Plain system transfers: what the faucet, the benchmarks and the tests send.

use solana_instruction::Instruction;
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_signer::Signer as _;
use solana_system_interface::instruction;
use solana_transaction::versioned::VersionedTransaction;
use sundog_types::{Hash, Pubkey};

/// A signed transfer of `lamports` from `payer` to `to`.
#[must_use]
pub fn transfer(payer: &Keypair, to: &Pubkey, lamports: u64, blockhash: Hash) -> VersionedTransaction {
    signed(payer, &[instruction::transfer(&payer.pubkey(), to, lamports)], blockhash)
}

fn signed(payer: &Keypair, instructions: &[Instruction], blockhash: Hash) -> VersionedTransaction {
    let message = Message::new_with_blockhash(instructions, Some(&payer.pubkey()), &blockhash);
    let signature = payer.sign_message(&message.serialize());
    VersionedTransaction { signatures: vec![signature], message: VersionedMessage::Legacy(message) }
}

/// The compute budget program.
const COMPUTE_BUDGET: Pubkey = Pubkey::from_str_const("ComputeBudget111111111111111111111111111111");
/// More compute units than a transfer can use: the number is added to it.
const UNITS: u32 = 10_000;

/// As [`transfer`], but another transaction for every number below a million: without it, two equal payments on one
/// blockhash would be one transaction, and only one would be made.
#[must_use]
pub fn numbered_transfer(
    payer: &Keypair,
    to: &Pubkey,
    lamports: u64,
    (blockhash, number): (Hash, u32),
) -> VersionedTransaction {
    let mut units = vec![2];
    units.extend_from_slice(&(UNITS + number % 1_000_000).to_le_bytes());
    let limit = Instruction { program_id: COMPUTE_BUDGET, accounts: Vec::new(), data: units };
    signed(payer, &[limit, instruction::transfer(&payer.pubkey(), to, lamports)], blockhash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_payments_with_other_numbers_are_other_transactions() {
        let payer = Keypair::new_from_array([1; 32]);
        let pay = |number| numbered_transfer(&payer, &Pubkey::new_from_array([2; 32]), 5, (Hash::default(), number));
        assert_ne!(pay(1).signatures, pay(2).signatures);
        let bytes = bincode::serialize(&pay(3)).expect("a transaction serialises");
        assert!(sundog_gulfstream::check(&bytes).is_ok());
    }

    #[test]
    fn a_transfer_passes_the_checks_of_gulf_stream() {
        let payer = Keypair::new_from_array([1; 32]);
        let transfer = transfer(&payer, &Pubkey::new_from_array([2; 32]), 5, Hash::default());
        let bytes = bincode::serialize(&transfer).expect("a transaction serialises");
        assert!(sundog_gulfstream::check(&bytes).is_ok());
    }
}
