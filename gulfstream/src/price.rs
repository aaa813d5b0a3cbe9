//! What a transaction pays the leader, and what it costs the block.

use solana_message::compiled_instruction::CompiledInstruction;
use solana_sdk_ids::{
    bpf_loader, bpf_loader_deprecated, bpf_loader_upgradeable, compute_budget, ed25519_program, loader_v4,
    secp256k1_program, system_program, vote,
};
use solana_transaction::versioned::VersionedTransaction;
use sundog_types::Pubkey;

/// Compute units of one transaction at most (reference 11.1).
const UNITS_MAX: u64 = 1_400_000;

/// Units reserved for an instruction where the transaction does not say: the program's kind decides.
const UNITS_DEFAULT: u64 = 200_000;
const UNITS_DEFAULT_BUILTIN: u64 = 3_000;

/// Lamports per signature, half of which is the leader's (reference 11.1).
const SIGNATURE_LAMPORTS: u64 = 5_000;

/// Block cost of a signature, of a write lock, and the bytes of instruction data that cost one unit.
const SIGNATURE_UNITS: u64 = 720;
const WRITE_LOCK_UNITS: u64 = 300;
const DATA_BYTES_PER_UNIT: u64 = 4;

/// What a transaction pays and costs, as far as its bytes tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Lamports that the leader earns: half of the base fee and all of the priority fee.
    pub reward_lamports: u64,
    /// Compute units that it may use, with those for signatures, locks and data.
    pub cost_units: u64,
}

impl Price {
    /// The order in which a leader takes transactions, higher first: millionths of a lamport per unit
    /// (reference 9.2).
    #[must_use]
    pub fn priority(self) -> u64 {
        let scaled = u128::from(self.reward_lamports) * 1_000_000;
        u64::try_from(scaled / (u128::from(self.cost_units) + 1)).unwrap_or(u64::MAX)
    }
}

/// Reads the price off a transaction. A compute budget that is not well formed counts as not given: the
/// bank will refuse the transaction for it.
#[must_use]
pub fn price(transaction: &VersionedTransaction) -> Price {
    let message = &transaction.message;
    let keys = message.static_account_keys();
    let program = |i: &CompiledInstruction| keys.get(usize::from(i.program_id_index)).copied();
    let (mut limit, mut unit_price, mut default, mut data_bytes) = (None, 0, 0, 0);
    for instruction in message.instructions() {
        let Some(program) = program(instruction) else {
            continue;
        };
        data_bytes += instruction.data.len() as u64;
        default += if is_builtin(&program) { UNITS_DEFAULT_BUILTIN } else { UNITS_DEFAULT };
        if program == compute_budget::ID {
            match instruction.data.as_slice() {
                [2, units @ ..] => {
                    limit = units.try_into().ok().map(u32::from_le_bytes).map(u64::from).or(limit);
                }
                [3, price @ ..] => {
                    unit_price = price.try_into().map_or(unit_price, u64::from_le_bytes);
                }
                _ => {}
            }
        }
    }
    let units = limit.unwrap_or(default).min(UNITS_MAX);
    let signatures = transaction.signatures.len() as u64;
    let priority_fee = (u128::from(unit_price) * u128::from(units)).div_ceil(1_000_000);
    let priority_fee = u64::try_from(priority_fee).unwrap_or(u64::MAX);
    let overhead =
        SIGNATURE_UNITS * signatures + WRITE_LOCK_UNITS * write_locks(transaction) + data_bytes / DATA_BYTES_PER_UNIT;
    Price {
        reward_lamports: (SIGNATURE_LAMPORTS / 2 * signatures).saturating_add(priority_fee),
        cost_units: units + overhead,
    }
}

/// Accounts that the header or a lookup asks to write.
fn write_locks(transaction: &VersionedTransaction) -> u64 {
    let message = &transaction.message;
    let header = message.header();
    let read_only =
        usize::from(header.num_readonly_signed_accounts) + usize::from(header.num_readonly_unsigned_accounts);
    let lookups = message.address_table_lookups().unwrap_or_default().iter();
    let loaded: usize = lookups.map(|lookup| lookup.writable_indexes.len()).sum();
    (message.static_account_keys().len().saturating_sub(read_only) + loaded) as u64
}

fn is_builtin(program: &Pubkey) -> bool {
    const BUILTINS: [Pubkey; 9] = [
        system_program::ID,
        vote::ID,
        compute_budget::ID,
        bpf_loader::ID,
        bpf_loader_deprecated::ID,
        bpf_loader_upgradeable::ID,
        loader_v4::ID,
        ed25519_program::ID,
        secp256k1_program::ID,
    ];
    BUILTINS.contains(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, Sample};

    #[track_caller]
    fn check(sample: Sample, reward_lamports: u64, cost_units: u64) {
        let transaction = crate::check(&samples::transfer(sample)).expect("good");
        assert_eq!(transaction.price(), Price { reward_lamports, cost_units });
    }

    // A transfer: 2 write locks, 1 signature, 12 bytes of data; limit and price have 5 and 9.
    #[test]
    fn without_a_budget_a_builtin_counts_little() {
        check(Sample { unit_limit: None, unit_price: 0, ..Sample::default() }, 2_500, 3_000 + 720 + 600 + 3);
    }

    #[test]
    fn the_priority_fee_is_the_price_times_the_limit_rounded_up() {
        let sample = Sample { unit_limit: Some(1_001), unit_price: 1_000, ..Sample::default() };
        check(sample, 2_500 + 2, 1_001 + 720 + 600 + 6);
    }

    #[test]
    fn the_limit_is_capped_and_no_price_overflows() {
        let sample = Sample { unit_limit: Some(u32::MAX), unit_price: u64::MAX, ..Sample::default() };
        let expected = (u128::from(u64::MAX) * 1_400_000).div_ceil(1_000_000).min(u128::from(u64::MAX));
        check(sample, u64::try_from(expected).expect("capped"), 1_400_000 + 720 + 600 + 6);
    }

    #[test]
    fn more_pay_for_the_same_work_goes_first() {
        let cheap = Price { reward_lamports: 10, cost_units: 100 };
        let dear = Price { reward_lamports: 11, cost_units: 100 };
        let small = Price { reward_lamports: 10, cost_units: 90 };
        assert!(dear.priority() > cheap.priority() && small.priority() > cheap.priority());
    }
}
