//! Heavy pure work that the node hands out: the shell runs it on a pool, the simulator inline.

use super::{
    heard::ProofCheck,
    replay::{Replay, Replayed},
};
use bytes::Bytes;
use solana_transaction::versioned::VersionedTransaction;
use std::{net::SocketAddr, sync::Arc};
use sundog_gossip::Checked;
use sundog_gulfstream::VerifiedTransaction;
use sundog_ledger::Ledger;
use sundog_runtime::{Bank, Executed};
use sundog_turbine::{
    FecSet, RecoverError, RecoverJob, Shredder, VerifyItem,
    sync::{Load, RangeCheck, RangeChecked, StoredBlock},
};
use sundog_types::{
    Slot,
    entry::{self, Entry},
    shred::{Shred, Signed},
    sign::{Sign, Verifier},
    store::Batch,
};

/// A piece of work. It owns all it needs.
pub enum Job {
    /// Decode and verify a gossip datagram.
    CheckGossip {
        /// Its sender.
        from: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Check leader signatures over FEC set roots.
    VerifyShreds {
        /// Turbine's id.
        id: u64,
        /// What to check.
        items: Vec<VerifyItem>,
    },
    /// Decode an FEC set.
    Recover(RecoverJob),
    /// Verify the signatures of a vote that gossip brought.
    CheckVote {
        /// The vote transaction.
        transaction: Box<VersionedTransaction>,
    },
    /// Check a proof, which gossip brought, that a leader made two versions of a slot.
    CheckProof(ProofCheck),
    /// Sanitise and verify transactions.
    CheckTransactions {
        /// Gulf Stream's id.
        id: u64,
        /// One transaction each.
        packets: Vec<Bytes>,
    },
    /// Verify and execute a stretch of another leader's block.
    Replay(Box<Replay>),
    /// Execute transactions for the block this node leads.
    Execute {
        /// The bank, lent.
        bank: Box<Bank>,
        /// In order.
        transactions: Vec<VerifiedTransaction>,
    },
    /// Freeze the block this node led.
    Freeze {
        /// The bank, complete.
        bank: Box<Bank>,
    },
    /// Make shreds of entries.
    Shred(Box<ShredJob>),
    /// Read blocks that a peer asks for.
    Load {
        /// What to read.
        load: Load,
        /// Where from.
        ledger: Ledger,
        /// Slots that are rooted, and not marked so on disk yet; ascending.
        unwritten: Arc<Vec<Slot>>,
    },
    /// Check the blocks of a range that a peer served.
    CheckRange(Box<RangeCheck>),
    /// Work out what a new root changes on disk.
    Root {
        /// The new root.
        bank: Arc<Bank>,
        /// Whether it is written: a root that stays in memory costs nothing here.
        write: bool,
    },
}

/// The shredding of one entry batch.
pub struct ShredJob {
    /// The slot's shredder, lent: it carries the chain of Merkle roots.
    pub shredder: Box<Shredder>,
    /// The batch.
    pub entries: Vec<Entry>,
    /// Ticks of the slot recorded when the batch was closed.
    pub reference_tick: u8,
    /// Whether the slot ends with it.
    pub last_in_slot: bool,
    /// Signs the roots.
    pub signer: Arc<dyn Sign>,
}

/// The answer to a [`Job`].
pub enum Done {
    /// To [`Job::CheckGossip`].
    Gossip {
        /// Its sender.
        from: SocketAddr,
        /// What it is, or why it is dropped.
        packet: Result<Checked, sundog_gossip::DropReason>,
    },
    /// To [`Job::VerifyShreds`].
    Shreds {
        /// Turbine's id.
        id: u64,
        /// By item.
        valid: Vec<bool>,
    },
    /// To [`Job::Recover`].
    Recovered {
        /// Turbine's id.
        id: u64,
        /// The shreds that were missing.
        outcome: Result<Vec<Shred<Signed>>, RecoverError>,
    },
    /// To [`Job::CheckVote`]: the vote, if it is signed.
    Vote(Option<Box<VersionedTransaction>>),
    /// To [`Job::CheckProof`].
    Proof {
        /// The slot.
        slot: Slot,
        /// The proof's bytes, if it holds.
        proof: Option<Bytes>,
    },
    /// To [`Job::CheckTransactions`].
    Transactions {
        /// Gulf Stream's id.
        id: u64,
        /// By packet.
        results: Vec<Result<VerifiedTransaction, sundog_gulfstream::DropReason>>,
    },
    /// To [`Job::Replay`].
    Replayed(Box<Replayed>),
    /// To [`Job::Execute`].
    Executed {
        /// The bank, given back.
        bank: Box<Bank>,
        /// What was executed.
        transactions: Vec<VerifiedTransaction>,
        /// The outcome, not yet committed.
        executed: Box<Executed>,
    },
    /// To [`Job::Freeze`].
    Frozen {
        /// The bank with its hash.
        bank: Box<Bank>,
    },
    /// To [`Job::Shred`].
    Shredded {
        /// The shredder, given back.
        shredder: Box<Shredder>,
        /// In order.
        sets: Vec<FecSet>,
        /// Whether the slot ended with them.
        last_in_slot: bool,
    },
    /// To [`Job::Load`].
    Loaded {
        /// Bulk sync's id.
        id: u64,
        /// The blocks by slot.
        blocks: Vec<StoredBlock>,
        /// The first slot that was not looked at.
        next: Slot,
        /// The first slot from which on the ledger has every finalised block.
        lowest: Slot,
    },
    /// To [`Job::CheckRange`].
    RangeChecked(Box<RangeChecked>),
    /// To [`Job::Root`].
    Rooted {
        /// The new root.
        bank: Arc<Bank>,
        /// What changes on disk, if it is written.
        batch: Option<Batch>,
    },
}

impl Job {
    /// A word for metrics and traces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CheckGossip { .. } => "check_gossip",
            Self::VerifyShreds { .. } => "verify_shreds",
            Self::Recover(_) => "recover",
            Self::CheckVote { .. } => "check_vote",
            Self::CheckProof(_) => "check_proof",
            Self::CheckTransactions { .. } => "check_transactions",
            Self::Replay(_) => "replay",
            Self::Execute { .. } => "execute",
            Self::Freeze { .. } => "freeze",
            Self::Shred(_) => "shred",
            Self::Load { .. } => "load",
            Self::CheckRange(_) => "check_range",
            Self::Root { .. } => "root",
        }
    }

    /// Whether it is one of the checks of what came from others, of which there are many and each is short.
    /// Transactions come in batches already.
    #[must_use]
    pub const fn is_check(&self) -> bool {
        matches!(
            self,
            Self::CheckGossip { .. } | Self::VerifyShreds { .. } | Self::CheckVote { .. } | Self::CheckProof(_)
        )
    }

    /// Does several jobs. Signatures of what gossip brought are verified together, after all else.
    pub fn run_all(jobs: Vec<Self>, verifier: &Verifier) -> impl Iterator<Item = Done> + use<'_> {
        let (mut others, mut senders, mut datagrams) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            if let Self::CheckGossip { from, bytes } = job {
                senders.push(from);
                datagrams.push(bytes);
            } else {
                others.push(job);
            }
        }
        let gossip = move || {
            let packets = sundog_gossip::check_all(&datagrams, verifier);
            senders.into_iter().zip(packets).map(|(from, packet)| Done::Gossip { from, packet })
        };
        let others = others.into_iter().map(|job| job.run(verifier));
        others.chain(std::iter::once_with(gossip).flatten())
    }

    /// Does the work. Pure: the same job gives the same answer, whatever the verifier remembers.
    #[must_use]
    pub fn run(self, verifier: &Verifier) -> Done {
        match self {
            Self::CheckGossip { from, bytes } => {
                Done::Gossip { from, packet: sundog_gossip::check_with(&bytes, verifier) }
            }
            Self::VerifyShreds { id, items } => {
                Done::Shreds { id, valid: items.iter().map(|item| item.check(verifier)).collect() }
            }
            Self::Recover(job) => {
                let (id, outcome) = job.run();
                Done::Recovered { id, outcome }
            }
            Self::CheckVote { transaction } => {
                let (message, keys) = (transaction.message.serialize(), transaction.message.static_account_keys());
                let holds = |(signature, key)| verifier.holds(key, &message, signature);
                let signed = transaction.signatures.iter().zip(keys).all(holds);
                Done::Vote(Some(transaction).filter(|_| signed))
            }
            Self::CheckProof(check) => Done::Proof { slot: check.slot, proof: check.run() },
            Self::CheckTransactions { id, packets } => {
                Done::Transactions { id, results: sundog_gulfstream::check_packets(&packets, verifier) }
            }
            Self::Replay(replay) => Done::Replayed(Box::new(replay.run_or_die(verifier))),
            Self::Execute { bank, transactions } => execute(bank, transactions),
            Self::Freeze { mut bank } => {
                bank.freeze();
                Done::Frozen { bank }
            }
            Self::Shred(job) => job.run(),
            Self::Load { load, ledger, unwritten } => super::sync::load(&ledger, &unwritten, load),
            Self::CheckRange(check) => Done::RangeChecked(Box::new(check.run())),
            Self::Root { bank, write } => {
                let batch = write.then(|| bank.root_batch());
                Done::Rooted { bank, batch }
            }
        }
    }
}

impl ShredJob {
    fn run(mut self) -> Done {
        let bytes = entry::encode_batch(&self.entries);
        let sets = self
            .shredder
            .shred(&bytes, self.reference_tick, self.last_in_slot, &*self.signer)
            .expect("the leader ends a block long before its slot has no room for shreds");
        Done::Shredded { shredder: self.shredder, sets, last_in_slot: self.last_in_slot }
    }
}

fn execute(bank: Box<Bank>, transactions: Vec<VerifiedTransaction>) -> Done {
    let messages: Vec<_> = transactions.iter().map(|t| t.transaction().clone()).collect();
    let executed = Box::new(bank.execute(messages));
    Done::Executed { bank, transactions, executed }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Done")
    }
}
