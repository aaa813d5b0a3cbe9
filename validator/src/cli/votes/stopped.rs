//! What a stopped node left: its tower file, and the blocks above its root with the votes in them.

use crate::{
    io::store::{FjallStore, OpenError},
    node::{fork_blocks, votes_of},
};
use anyhow::{Context as _, bail};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};
use sundog_ledger::Ledger;
use sundog_rpc::votes::{ForksFacts, TowerFacts};
use sundog_runtime::{Bank, RootedAccounts};
use sundog_tower::{ForkChoice, SavedTower, Tower};
use sundog_types::{
    Hash, Pubkey, Slot,
    schedule::{LeaderSchedule, Leaders},
    stakes::EpochStakes,
    store::Store,
    vote,
};

/// Blocks read above the root at most.
const BLOCKS_MAX: usize = 8_192;

/// The tower in a ledger directory.
pub fn tower(path: &Path) -> anyhow::Result<TowerFacts> {
    // A directory that holds nothing but the file is looked at too: a backup.
    let bank = if FjallStore::is_at(path) { opened(path)?.1 } else { None };
    let Some((identity, tower)) = tower_of(path)? else {
        bail!(
            "{} has no tower file, tower-1_9-IDENTITY.bin; a node that votes leaves one in its ledger directory",
            path.display()
        )
    };
    let accounts = bank.map(|bank| bank.vote_accounts()).unwrap_or_default();
    let own = accounts.iter().find(|account| account.node == identity);
    Ok(TowerFacts {
        identity: identity.to_string(),
        vote_account: own.map(|account| account.pubkey.to_string()),
        ..votes_of(&tower)
    })
}

/// The tower in the file of a directory, and whose it is. A node that only follows leaves none.
fn tower_of(path: &Path) -> anyhow::Result<Option<(Pubkey, Tower)>> {
    let unreadable = || format!("{} cannot be read; name the ledger directory of a node", path.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(unreadable)? {
        let name = entry.with_context(unreadable)?.file_name();
        let identity = name.to_str().and_then(|name| name.strip_prefix("tower-1_9-")?.strip_suffix(".bin"));
        found.extend(identity.and_then(|identity| Some((identity.parse::<Pubkey>().ok()?, path.join(&name)))));
    }
    match found.as_slice() {
        [] => Ok(None),
        [(identity, file)] => {
            let bytes = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
            let saved = SavedTower::decode(&bytes, identity).with_context(|| file.display().to_string())?;
            // The file does not say which account votes.
            Ok(Some((*identity, saved.tower(Pubkey::default()))))
        }
        several => {
            bail!("{} has the tower files of {} identities; leave only one there", path.display(), several.len())
        }
    }
}

/// The ledger in a directory, and its rooted bank if there is one yet.
fn opened(path: &Path) -> anyhow::Result<(Ledger, Option<Arc<Bank>>)> {
    let store: Arc<dyn Store> = match FjallStore::open(path) {
        Ok(store) => Arc::new(store),
        Err(OpenError::InUse(path)) => bail!(
            "the ledger directory {} is in use, by a node that runs; to ask that, leave out --ledger and give --node or \
             --url",
            path.display()
        ),
        Err(error) => return Err(error.into()),
    };
    let ledger = Ledger::new(Arc::clone(&store));
    let root = ledger.root()?.map(|_| Bank::restore(Arc::new(RootedAccounts::new(store)))).transpose()?;
    Ok((ledger, root))
}

/// The forks in a ledger directory.
pub fn forks(path: &Path) -> anyhow::Result<ForksFacts> {
    // Opening makes what is not there.
    if !FjallStore::is_at(path) {
        bail!("{} is no ledger directory; name that of a node, as localnet/node-0/ledger", path.display());
    }
    let (ledger, Some(bank)) = opened(path)? else {
        bail!("the ledger in {} has no root yet; start its node once", path.display())
    };
    let (own, tower_unreadable) = match tower_of(path) {
        Ok(own) => (own, None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    Ok(ForksFacts { tower_unreadable, ..read(&bank, &ledger, own)? })
}

fn read(bank: &Arc<Bank>, ledger: &Ledger, own: Option<(Pubkey, Tower)>) -> anyhow::Result<ForksFacts> {
    let finalized = bank.slot();
    let stakes = bank.current_epoch_stakes();
    let mut tree = Tree::new(bank);
    for (slot, meta) in ledger.slots(finalized.next(), Slot::new(u64::MAX), BLOCKS_MAX)? {
        if !meta.executed() || !tree.add((slot, meta.bank_hash), meta.parent) {
            continue;
        }
        for record in ledger.transactions(slot)? {
            let vote = vote::parse_vote(&record.transaction).filter(|_| record.meta.status.is_ok());
            vote.into_iter().for_each(|vote| tree.heard(vote.vote_account, vote.last_slot));
        }
    }
    let own_votes = own.as_ref().map(|(_, tower)| tower.lockouts());
    if let (Some((identity, _)), Some(last)) = (&own, own_votes.and_then(|votes| votes.last_voted())) {
        let mut accounts = bank.vote_accounts().into_iter();
        accounts
            .find(|account| account.node == *identity)
            .into_iter()
            .for_each(|own| tree.heard(own.pubkey, last.get()));
    }
    // The tower's root is what the node would not go back behind; the bank on disk waits until it is finalized.
    let choice = tree.weighed(&stakes, own_votes.and_then(|votes| votes.root()));
    let total = stakes.total();
    let confirmed = choice.iter().filter(|(_, block)| u128::from(block.stake_subtree) * 3 > u128::from(total) * 2);
    let confirmed = confirmed.map(|((slot, _), _)| slot).max();
    let (blocks, left_out) = fork_blocks(&choice, &leaders(bank));
    Ok(ForksFacts {
        root: choice.root().0.get(),
        confirmed: confirmed.unwrap_or(choice.root().0).get(),
        finalized: finalized.get(),
        heaviest: choice.best_overall().0.get(),
        own_vote: own_votes.and_then(|votes| votes.last_voted()).map(Slot::get),
        total_stake: total,
        blocks,
        left_out,
        tower_unreadable: None,
    })
}

/// Executed blocks, and the newest slot that every account voted for.
struct Tree {
    choice: ForkChoice,
    hashes: BTreeMap<Slot, Hash>,
    newest: BTreeMap<Pubkey, u64>,
}

impl Tree {
    fn new(root: &Bank) -> Self {
        let landed = root.vote_accounts().into_iter();
        Self {
            choice: ForkChoice::new((root.slot(), root.hash())),
            hashes: BTreeMap::from([(root.slot(), root.hash())]),
            newest: landed.filter_map(|account| Some((account.pubkey, account.lockouts.last()?.0))).collect(),
        }
    }

    /// Adds a block if its parent is there.
    fn add(&mut self, (slot, hash): (Slot, Hash), parent: Slot) -> bool {
        let Some(under) = self.hashes.get(&parent).copied() else { return false };
        self.hashes.insert(slot, hash);
        self.choice.add((slot, hash), (parent, under))
    }

    fn heard(&mut self, voter: Pubkey, slot: u64) {
        let last = self.newest.entry(voter).or_default();
        *last = slot.max(*last);
    }

    /// The tree from this root on, if it is in it, with the stake behind each block.
    fn weighed(mut self, stakes: &EpochStakes, root: Option<Slot>) -> ForkChoice {
        let votes = self.newest.iter().filter_map(|(voter, slot)| {
            let slot = Slot::new(*slot);
            Some((*voter, (slot, *self.hashes.get(&slot)?)))
        });
        self.choice.vote(votes, |voter, _| stakes.of_vote_account(voter));
        if let Some(key) = root.and_then(|root| Some((root, *self.hashes.get(&root)?))) {
            self.choice.set_root(&key);
        }
        self.choice
    }
}

fn leaders(bank: &Bank) -> Leaders {
    let schedule = bank.epoch_schedule();
    let mut leaders = Leaders::new(schedule.clone());
    for epoch in [bank.epoch(), bank.epoch().next()] {
        let slots = schedule.get_slots_in_epoch(epoch.get());
        if let Some(stakes) = bank.epoch_stakes(epoch) {
            leaders.insert(Arc::new(LeaderSchedule::new(epoch, slots, &stakes)));
        }
    }
    leaders
}
