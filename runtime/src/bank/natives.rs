//! The accounts of native programs that bank 0 adds to the genesis (reference 12.2).

use solana_account::{Account, AccountSharedData};
use solana_sdk_ids as ids;
use sundog_types::Pubkey;

/// Data of such an account is the program's name; precompiles have none. With a gate, it is only there
/// if the gate is active at genesis.
struct Native {
    id: Pubkey,
    name: &'static str,
    gate: Option<Pubkey>,
}

const fn native(id: Pubkey, name: &'static str) -> Native {
    Native { id, name, gate: None }
}

const fn gated(id: Pubkey, name: &'static str, gate: &str) -> Native {
    Native { id, name, gate: Some(Pubkey::from_str_const(gate)) }
}

const NATIVES: [Native; 12] = [
    native(ids::system_program::ID, "system_program"),
    native(ids::vote::ID, "vote_program"),
    native(ids::bpf_loader_deprecated::ID, "solana_bpf_loader_deprecated_program"),
    native(ids::bpf_loader::ID, "solana_bpf_loader_program"),
    native(ids::bpf_loader_upgradeable::ID, "solana_bpf_loader_upgradeable_program"),
    native(ids::compute_budget::ID, "compute_budget_program"),
    native(ids::ed25519_program::ID, ""),
    native(ids::secp256k1_program::ID, ""),
    gated(ids::secp256r1_program::ID, "", "srremy31J5Y25FrAApwVb9kZcfXbusYMMsvTK9aWv5q"),
    gated(ids::loader_v4::ID, "loader_v4", "2aQJYqER2aKyb3cZw22v4SL2xMX7vwXBRWfvS4pTrtED"),
    gated(ids::zk_token_proof_program::ID, "zk_token_proof_program", "zk1snxsc6Fh3wsGNbbHAJNHiJoYgF29mMnTSusGx5EJ"),
    gated(ids::zk_elgamal_proof_program::ID, "zk_elgamal_proof_program", "zkhiy5oLowR7HY4zogXjCjeMXyruLqBwSWH21qcFtnv"),
];

/// Addresses and accounts of the native programs, given which gates are active.
pub(super) fn accounts(active: &dyn Fn(&Pubkey) -> bool) -> Vec<(Pubkey, AccountSharedData)> {
    let account = |native: &Native| Account {
        lamports: 1,
        data: native.name.as_bytes().to_vec(),
        owner: ids::native_loader::ID,
        executable: true,
        rent_epoch: u64::MAX,
    };
    let there = NATIVES.iter().filter(|native| native.gate.is_none_or(|gate| active(&gate)));
    there.map(|native| (native.id, account(native).into())).collect()
}
