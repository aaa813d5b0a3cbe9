//! Execution: plain transfers without their signature checks, and the freeze of a bank that many of them touched.

use super::{Part, keep};
use crate::payments::transfer;
use solana_account::Account;
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use sundog_ledger::MemoryStore;
use sundog_runtime::{
    Bank, RootedAccounts,
    genesis::{GenesisValidator, LocalnetGenesis},
};
use sundog_types::{Pubkey, Slot};

/// Transfers of a block; no two share an account.
const TRANSFERS: usize = 2_500;

fn pubkey(kind: u8, number: usize) -> Pubkey {
    let mut bytes = [kind; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Pubkey::new_from_array(bytes)
}

/// A chain whose users can pay, and a block's worth of transfers between them.
fn scene() -> anyhow::Result<(Arc<Bank>, Vec<VersionedTransaction>)> {
    let payers: Vec<Keypair> = (0..TRANSFERS)
        .map(|number| {
            let mut secret = [9; 32];
            secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
            Keypair::new_from_array(secret)
        })
        .collect();
    let funded = || Account { lamports: 1_000_000_000, ..Account::default() };
    let accounts = payers.iter().map(|payer| (payer.pubkey(), funded()));
    let more_accounts: BTreeMap<Pubkey, Account> =
        accounts.chain((0..TRANSFERS).map(|number| (pubkey(3, number), funded()))).collect();
    let validator = GenesisValidator {
        identity: pubkey(4, 0),
        identity_lamports: 1_000_000_000,
        vote: pubkey(4, 1),
        vote_authority: pubkey(4, 1),
        vote_lamports: 0,
        stake: pubkey(4, 2),
        delegated: 1_000_000_000,
    };
    let genesis = LocalnetGenesis {
        creation_time: 1_700_000_000,
        validators: vec![validator],
        faucet: pubkey(4, 3),
        faucet_lamports: 1_000_000_000,
        ticks_per_slot: 64,
        tick_duration: Duration::from_micros(6_250),
        hashes_per_tick: None,
        slots_per_epoch: 8_192,
        more_accounts,
    };
    let accounts = Arc::new(RootedAccounts::new(Arc::new(MemoryStore::new())));
    let bank = Bank::genesis_block(&genesis.build()?, accounts)?;
    let blockhash = bank.last_blockhash();
    let pay = |(number, payer): (usize, &Keypair)| transfer(payer, &pubkey(3, number), 1, blockhash);
    Ok((Arc::clone(&bank), payers.iter().enumerate().map(pay).collect()))
}

fn child(parent: &Arc<Bank>) -> Bank {
    Bank::child(parent, Slot::new(1), pubkey(4, 0))
}

/// A bank whose block is over but for the freeze.
fn ticked(mut bank: Bank) -> Bank {
    while bank.tick_height() < bank.max_tick_height() {
        bank.register_tick(&sundog_types::Hash::default());
    }
    bank
}

/// What is measured.
///
/// # Errors
/// If the scene cannot be made, which only a bug can cause.
pub fn parts() -> anyhow::Result<Vec<Part<'static>>> {
    let (parent, transfers) = scene()?;
    let mut bank = child(&parent);
    anyhow::ensure!(bank.execute(&transfers).first_rejected().is_none(), "every transfer can be executed");
    let executed = bank.execute(&transfers);
    bank.commit(executed);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let execute = {
        let (parent, transfers) = (Arc::clone(&parent), transfers.clone());
        move || {
            pool.install(|| {
                let mut bank = child(&parent);
                let executed = bank.execute(&transfers);
                keep(bank.commit(executed));
            });
        }
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let whole = move || {
        pool.install(|| {
            let mut bank = child(&parent);
            let executed = bank.execute(&transfers);
            bank.commit(executed);
            let mut bank = ticked(bank);
            bank.freeze();
            keep(bank.hash());
        });
    };
    Ok(vec![
        Part::new("transfers without common accounts, one core", "transfers", TRANSFERS, execute),
        Part::new("the same with the freeze of 5,000 accounts", "transfers", TRANSFERS, whole),
    ])
}
