//! The node as the RPC sees it.

use super::{
    history::LedgerHistory,
    lanes::{Lane, Lanes},
};
use crate::{
    node::{Event, FEATURE_SET, Input, VERSION, View, status_meta},
    payments::numbered_transfer,
};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use solana_account::{AccountSharedData, ReadableAccount as _};
use solana_keypair::Keypair;
use solana_message::VersionedMessage;
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use sundog_ledger::{Ledger, StatusMeta};
use sundog_rpc::{
    BankView, Chain, ChainEvent, Commitment, History,
    chain::{
        AirdropRefusal, Health, Heights, Inflation, LatestBlockhash, NodeFacts, PerformanceSample, SignatureStatus,
        Simulation, Submission, SubmitRefusal, VoteAccountFacts,
    },
    votes::{ForksFacts, TowerFacts},
};
use sundog_runtime::Bank;
use sundog_types::{Hash, Pubkey, Signature, Slot, peer::Peer, schedule::Leaders};

/// What an airdrop pays at most: as devnet's faucets do, enough for any test.
const AIRDROP_LAMPORTS_MAX: u64 = 1_000_000_000_000_000;
/// Accounts read for one scan at most; the RPC stops earlier by bytes.
const SCAN_MAX: usize = 1_000_000;
/// Blocks that the newest blockhash stays usable (reference 1.11).
const BLOCKHASH_BLOCKS: u64 = 150;

/// The node as the RPC sees it: its published view, its ledger, and a way in for transactions.
pub struct NodeChain {
    facts: NodeFacts,
    view: Arc<ArcSwapOption<View>>,
    history: LedgerHistory,
    faucet: Option<Keypair>,
    /// Makes equal airdrops different transactions.
    airdrops: AtomicU32,
    lanes: Lanes,
}

impl NodeChain {
    /// The chain of a node that has published its first view, or is about to.
    #[must_use]
    pub fn new(
        (chain, identity): (super::joining::Chain, Pubkey),
        view: Arc<ArcSwapOption<View>>,
        ledger: Ledger,
        (faucet, lanes): (Option<Keypair>, Lanes),
    ) -> Self {
        let [major, minor, patch] = VERSION.number;
        let facts = NodeFacts {
            identity,
            version: format!("{major}.{minor}.{patch}"),
            feature_set: FEATURE_SET,
            genesis_hash: chain.genesis,
            shred_version: chain.shred_version,
        };
        let history = LedgerHistory { ledger, view: Arc::clone(&view) };
        Self { facts, view, history, faucet, airdrops: AtomicU32::new(rand::random()), lanes }
    }

    fn look(&self) -> Arc<View> {
        // The node publishes a view before its thread takes its first input; the servers start after that, so
        // that only a request in the first millisecond waits here.
        loop {
            if let Some(view) = self.view.load_full() {
                return view;
            }
            std::thread::yield_now();
        }
    }
}

impl Chain for NodeChain {
    fn node(&self) -> &NodeFacts {
        &self.facts
    }

    fn health(&self) -> Health {
        let view = self.look();
        if let Some(who) = &view.waiting {
            return Health::Waiting { slot: who.slot.get(), percent: who.percent() };
        }
        match view.cluster_voted {
            None => Health::Unknown,
            Some(_) if view.confirmed.slot() == Slot::ZERO => Health::Unknown,
            Some(cluster) => {
                let behind = cluster.get().saturating_sub(view.confirmed.slot().get());
                if behind <= view.health_distance_slots { Health::Ok } else { Health::Behind(behind) }
            }
        }
    }

    fn peers(&self) -> Arc<Vec<Peer>> {
        Arc::clone(&self.look().peers)
    }

    fn leaders(&self) -> Arc<Leaders> {
        Arc::clone(&self.look().leaders)
    }

    fn bank(&self, commitment: Commitment) -> Arc<dyn BankView> {
        let view = self.look();
        let bank = match commitment {
            Commitment::Processed => &view.processed,
            Commitment::Confirmed => &view.confirmed,
            Commitment::Finalized => &view.finalized,
        };
        Arc::new(Seen(Arc::clone(bank)))
    }

    fn history(&self) -> &dyn History {
        &self.history
    }

    fn signature_status(&self, signature: &Signature, search_history: bool) -> Option<SignatureStatus> {
        let view = self.look();
        // The confirmed block need not be on the fork that is built on: each bank answers for its own fork.
        let banks = [
            (&view.finalized, Commitment::Finalized),
            (&view.confirmed, Commitment::Confirmed),
            (&view.processed, Commitment::Processed),
        ];
        let recent = banks.into_iter().find_map(|(bank, commitment)| {
            let (slot, status) = bank.signature_status(signature)?;
            Some((Slot::new(slot), status, commitment))
        });
        let (slot, status, commitment) = match recent {
            Some(found) => found,
            None if search_history => {
                let found = self.history.transaction(signature)?;
                (found.slot, found.record.meta.status, self.history.standing(found.slot)?)
            }
            None => return None,
        };
        let confirmations = view.fork.iter().filter(|above| **above > slot).count() as u64;
        Some(SignatureStatus { slot, status, commitment, confirmations })
    }

    fn performance_samples(&self, limit: usize) -> Vec<PerformanceSample> {
        let view = self.look();
        let sample = |s: &crate::node::Sample| PerformanceSample {
            slot: s.slot,
            transactions: s.transactions,
            non_vote_transactions: s.transactions.saturating_sub(s.votes),
            slots: s.slots,
            seconds: s.seconds,
        };
        view.samples.iter().take(limit).map(sample).collect()
    }

    fn prioritization_fees(&self, _accounts: &[Pubkey]) -> Vec<(Slot, u64)> {
        // Blocks of a localnet are never full, so that the lowest price that lands is always zero.
        self.look().fork.iter().map(|slot| (*slot, 0)).collect()
    }

    fn tower(&self) -> TowerFacts {
        self.look().tower()
    }

    fn forks(&self) -> ForksFacts {
        self.look().forks()
    }

    fn heights(&self) -> Heights {
        let view = self.look();
        Heights { retransmitted: view.highest_seen, stored: view.highest_seen }
    }

    fn submit(&self, submission: Submission) -> Result<(), SubmitRefusal> {
        let input = Input::Submit {
            packet: Bytes::from(submission.bytes),
            last_valid_block_height: submission.last_valid_block_height,
            retries_max: submission.retries_max.map(|n| n as u64),
        };
        if self.lanes.offer(Lane::Transactions, input) { Ok(()) } else { Err(SubmitRefusal::Full) }
    }

    fn airdrop(&self, to: &Pubkey, lamports: u64, blockhash: Option<Hash>) -> Result<Signature, AirdropRefusal> {
        let Some(faucet) = &self.faucet else { return Err(AirdropRefusal::NoFaucet) };
        if lamports > AIRDROP_LAMPORTS_MAX {
            let sol = AIRDROP_LAMPORTS_MAX / 1_000_000_000;
            return Err(AirdropRefusal::Refused(format!("The faucet pays at most {sol} SOL at a time; ask for less")));
        }
        let bank = Arc::clone(&self.look().confirmed);
        let held = bank.balance(&faucet.pubkey());
        if held <= lamports {
            return Err(AirdropRefusal::Refused(format!("The faucet holds only {held} lamports; reset the localnet")));
        }
        let blockhash = blockhash.filter(|hash| bank.is_blockhash_valid(hash)).unwrap_or_else(|| bank.last_blockhash());
        let number = self.airdrops.fetch_add(1, Ordering::Relaxed);
        let transaction = numbered_transfer(faucet, to, lamports, (blockhash, number));
        let signature = transaction.signatures[0];
        let bytes = bincode::serialize(&transaction).expect("a transaction serialises");
        let last_valid_block_height = bank.last_valid_block_height(&blockhash);
        let submission = Submission { bytes, signature, last_valid_block_height, retries_max: None };
        self.submit(submission).map_err(|e| AirdropRefusal::Refused(e.to_string()))?;
        Ok(signature)
    }
}

/// A bank as the RPC sees it.
struct Seen(Arc<Bank>);

impl BankView for Seen {
    fn slot(&self) -> Slot {
        self.0.slot()
    }

    fn block_height(&self) -> u64 {
        self.0.block_height()
    }

    fn transaction_count(&self) -> u64 {
        self.0.transaction_count()
    }

    fn capitalization(&self) -> u64 {
        self.0.capitalization()
    }

    fn account(&self, address: &Pubkey) -> Option<AccountSharedData> {
        self.0.account(address).filter(|account| account.lamports() > 0)
    }

    fn accounts_of(&self, owner: &Pubkey, visit: &mut dyn FnMut(&Pubkey, &AccountSharedData) -> bool) {
        for (key, account) in self.0.program_accounts(owner, SCAN_MAX) {
            if !visit(&key, &account) {
                return;
            }
        }
    }

    fn latest_blockhash(&self) -> LatestBlockhash {
        let last_valid_block_height = self.0.block_height() + BLOCKHASH_BLOCKS;
        LatestBlockhash { hash: self.0.last_blockhash(), last_valid_block_height }
    }

    fn last_valid_block_height(&self, blockhash: &Hash) -> Option<u64> {
        self.0.last_valid_block_height(blockhash).filter(|_| self.0.is_blockhash_valid(blockhash))
    }

    fn fee_for_message(&self, message: &VersionedMessage) -> Option<u64> {
        self.0.fee_for_message(message)
    }

    fn minimum_balance(&self, data_len: usize) -> u64 {
        self.0.rent_minimum(data_len)
    }

    fn stake_minimum_delegation(&self) -> u64 {
        // The gate that raises it to 1 SOL is not in the genesis (reference 10.4).
        1
    }

    fn inflation(&self) -> Inflation {
        Inflation::default()
    }

    fn vote_accounts(&self) -> Vec<VoteAccountFacts> {
        let epoch = self.0.current_epoch_stakes();
        let facts = |account: sundog_runtime::VoteAccount| VoteAccountFacts {
            in_epoch: epoch.of_vote_account(&account.pubkey) > 0,
            vote_account: account.pubkey,
            node: account.node,
            stake: account.stake,
            commission: account.commission,
            epoch_credits: account.epoch_credits,
            last_vote: account.lockouts.last().map(|(slot, _)| Slot::new(*slot)),
            root: account.root.map(Slot::new),
        };
        self.0.vote_accounts().into_iter().map(facts).collect()
    }

    fn simulate(&self, transaction: &VersionedTransaction) -> Simulation {
        let simulation = self.0.simulate(transaction.clone(), None);
        let (meta, loaded) = match &simulation.outcome {
            Ok(committed) => (status_meta(committed), committed.loaded_bytes),
            Err(error) => (
                StatusMeta {
                    status: Err(error.clone()),
                    logs: Some(Vec::new()),
                    compute_units: Some(0),
                    ..StatusMeta::default()
                },
                0,
            ),
        };
        Simulation { meta, loaded_accounts_data_size: loaded, accounts: simulation.accounts }
    }
}

/// What subscribers are told of an event.
#[must_use]
pub fn events(event: Event) -> Vec<ChainEvent> {
    match event {
        Event::SlotStarted { slot, .. } => vec![ChainEvent::FirstShred(slot)],
        Event::BlockComplete { slot, parent, root, block, .. } => {
            vec![ChainEvent::Completed(slot), ChainEvent::Created { slot, parent, root }, ChainEvent::Frozen(block)]
        }
        Event::Dead { slot, why } => vec![ChainEvent::Dead { slot, why }],
        Event::Lost { slot, hash } => {
            let why = format!("the block with bank hash {hash} lost to another version");
            vec![ChainEvent::Dead { slot, why }]
        }
        Event::Confirmed { slot } => vec![ChainEvent::Confirmed(slot)],
        Event::Rooted { slot } => vec![ChainEvent::Rooted(slot)],
        Event::Skipped { .. }
        | Event::Voted { .. }
        | Event::Finalized { .. }
        | Event::CatchingUp { .. }
        | Event::CaughtUp { .. }
        | Event::Stranded { .. }
        | Event::Waiting(_)
        | Event::GoesOn(_)
        | Event::Gossip(_)
        | Event::Unpropagated { .. }
        | Event::Diverged(_)
        | Event::Abandoned { .. }
        | Event::Duplicate { .. } => Vec::new(),
    }
}
