//! Execution without signature checks: plain transfers, votes, and the freeze of a bank that many of them touched.

use super::{Part, keep};
use crate::payments::transfer;
use rayon::{ThreadPool, ThreadPoolBuilder};
use solana_account::Account;
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;
use solana_vote_interface::{instruction::tower_sync, state::TowerSync};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use sundog_ledger::MemoryStore;
use sundog_runtime::{
    Bank, RootedAccounts,
    genesis::{GenesisValidator, LocalnetGenesis},
};
use sundog_types::{Hash, Pubkey, Signature};

/// Transfers of a block; no two share an account.
const TRANSFERS: usize = 2_500;
/// Votes of a block, each with a vote account of its own.
const VOTES: usize = 200;
/// Blocks of other transfers between the root and the block that is measured: a tower's depth.
const UNROOTED: usize = 31;

fn pubkey(kind: u8, number: usize) -> Pubkey {
    let mut bytes = [kind; 32];
    bytes[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    Pubkey::new_from_array(bytes)
}

fn keypair(kind: u8, number: usize) -> Keypair {
    Keypair::new_from_array(pubkey(kind, number).to_bytes())
}

/// A chain whose users can pay and whose validators can vote.
pub(super) struct Scene {
    pub(super) root: Arc<Bank>,
    payers: Vec<Keypair>,
    voters: Vec<Keypair>,
}

impl Scene {
    /// A chain with so many payers, each with one to pay.
    pub(super) fn new(transfers: usize) -> anyhow::Result<Self> {
        let payers: Vec<Keypair> = (0..transfers).map(|number| keypair(9, number)).collect();
        let voters: Vec<Keypair> = (0..VOTES).map(|number| keypair(8, number)).collect();
        let funded = || Account { lamports: 1_000_000_000, ..Account::default() };
        let accounts = payers.iter().map(|payer| (payer.pubkey(), funded()));
        let more_accounts: BTreeMap<Pubkey, Account> =
            accounts.chain((0..transfers).map(|number| (pubkey(3, number), funded()))).collect();
        let validator = |(number, voter): (usize, &Keypair)| GenesisValidator {
            identity: voter.pubkey(),
            identity_lamports: 1_000_000_000,
            vote: pubkey(5, number),
            vote_authority: voter.pubkey(),
            vote_lamports: 0,
            stake: pubkey(6, number),
            delegated: 1_000_000_000,
        };
        let genesis = LocalnetGenesis {
            creation_time: 1_700_000_000,
            validators: voters.iter().enumerate().map(validator).collect(),
            faucet: pubkey(4, 3),
            faucet_lamports: 1_000_000_000,
            ticks_per_slot: 64,
            tick_duration: Duration::from_micros(6_250),
            hashes_per_tick: None,
            slots_per_epoch: 8_192,
            more_accounts,
        };
        let accounts = Arc::new(RootedAccounts::new(Arc::new(MemoryStore::new())));
        let root = Bank::genesis_block(&genesis.build()?, Arc::clone(&accounts))?;
        accounts.store().commit(&root.root_batch(), true)?;
        root.squash();
        root.written();
        Ok(Self { root, payers, voters })
    }

    /// One transfer of every payer.
    pub(super) fn transfers(&self) -> Vec<VersionedTransaction> {
        let blockhash = self.root.last_blockhash();
        let pay = |(number, payer): (usize, &Keypair)| transfer(payer, &pubkey(3, number), 1, blockhash);
        self.payers.iter().enumerate().map(pay).collect()
    }

    /// One vote of every validator.
    fn votes(&self) -> Vec<VersionedTransaction> {
        let sync = TowerSync::new_from_slots(vec![self.root.slot().get()], self.root.hash(), None);
        let vote = |(number, voter): (usize, &Keypair)| {
            let instruction = tower_sync(&pubkey(5, number), &voter.pubkey(), sync.clone());
            let blockhash = self.root.last_blockhash();
            let message = Message::new_with_blockhash(&[instruction], Some(&voter.pubkey()), &blockhash);
            let signature = voter.sign_message(&message.serialize());
            VersionedTransaction { signatures: vec![signature], message: VersionedMessage::Legacy(message) }
        };
        self.voters.iter().enumerate().map(vote).collect()
    }

    /// A bank some blocks above the root, in each of which everybody paid.
    fn high(&self, transfers: &[VersionedTransaction]) -> Arc<Bank> {
        let frozen = |bank: Bank| {
            let mut bank = ticked(bank);
            bank.freeze();
            Arc::new(bank)
        };
        // On another blockhash than the root's, they are other transfers.
        (1..UNROOTED).fold(frozen(child(&self.root)), |parent, number| {
            let mut bank = child(&parent);
            let blockhash = parent.last_blockhash();
            let mut again = transfers.to_vec();
            for (place, transaction) in again.iter_mut().enumerate() {
                transaction.message.set_recent_blockhash(blockhash);
                let mut signature = [number as u8; 64];
                signature[..8].copy_from_slice(&(place as u64).to_le_bytes());
                transaction.signatures[0] = Signature::from(signature);
            }
            let executed = bank.execute(again);
            bank.commit(executed);
            frozen(bank)
        })
    }
}

fn child(parent: &Arc<Bank>) -> Bank {
    Bank::child(parent, parent.slot().next(), pubkey(4, 0))
}

/// A bank whose block is over but for the freeze.
fn ticked(mut bank: Bank) -> Bank {
    let slot = bank.slot().get();
    while bank.tick_height() < bank.max_tick_height() {
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&slot.to_le_bytes());
        bank.register_tick(&Hash::new_from_array(hash));
    }
    bank
}

pub(super) fn one_core() -> anyhow::Result<ThreadPool> {
    Ok(ThreadPoolBuilder::new().num_threads(1).build()?)
}

/// Executes and commits a block's transactions.
fn executing(parent: &Arc<Bank>, transactions: &[VersionedTransaction]) -> anyhow::Result<impl FnMut() + 'static> {
    let (pool, parent, transactions) = (one_core()?, Arc::clone(parent), transactions.to_vec());
    let rejected = child(&parent).execute(&transactions).first_rejected();
    anyhow::ensure!(rejected.is_none(), "every transaction can be executed: {rejected:?}");
    Ok(move || {
        pool.install(|| {
            let mut bank = child(&parent);
            let executed = bank.execute(&transactions);
            keep(bank.commit(executed));
        });
    })
}

/// Executes, commits and freezes a block. The time: of the freeze, and of all.
fn freezing(
    parent: &Arc<Bank>,
    transactions: &[VersionedTransaction],
) -> anyhow::Result<impl FnMut() -> (Duration, Duration) + 'static> {
    let (pool, parent, transactions) = (one_core()?, Arc::clone(parent), transactions.to_vec());
    Ok(move || {
        pool.install(|| {
            let start = Instant::now();
            let mut bank = child(&parent);
            let executed = bank.execute(&transactions);
            keep(bank.commit(executed));
            let mut bank = ticked(bank);
            let end = Instant::now();
            bank.freeze();
            let frozen = end.elapsed();
            drop(bank);
            (frozen, start.elapsed())
        })
    })
}

/// What is measured.
///
/// # Errors
/// If the scene cannot be made, which only a bug can cause.
pub fn parts() -> anyhow::Result<Vec<Part<'static>>> {
    let scene = Scene::new(TRANSFERS)?;
    let (transfers, votes) = (scene.transfers(), scene.votes());
    let high = scene.high(&transfers);
    let execute = executing(&scene.root, &transfers)?;
    let mut whole = freezing(&scene.root, &transfers)?;
    let mut freeze = freezing(&scene.root, &transfers)?;
    let mut empty = freezing(&scene.root, &[])?;
    let above = executing(&high, &transfers)?;
    let mut freeze_above = freezing(&high, &transfers)?;
    let vote = executing(&scene.root, &votes)?;
    Ok(vec![
        Part::new("transfers without common accounts, one core", "transfers", TRANSFERS, execute),
        Part::timed("the same with the freeze of 5,000 accounts", "transfers", TRANSFERS, move || whole().1),
        Part::timed("the freeze alone", "freezes", 1, move || freeze().0),
        Part::new("transfers on 31 blocks that are not rooted", "transfers", TRANSFERS, above),
        Part::timed("the freeze on them", "freezes", 1, move || freeze_above().0),
        Part::new("votes, one core", "votes", VOTES, vote),
        Part::timed("the freeze of an empty block", "freezes", 1, move || empty().0),
    ])
}
