//! What a stopped node left: its tower file, and the blocks above its root with the votes in them.

use crate::{
    io::store::FjallStore,
    node::{fork_blocks, votes_of},
};
use anyhow::{Context as _, bail};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};
use sundog_ledger::Ledger;
use sundog_rpc::votes::{ForksFacts, TowerFacts};
use sundog_runtime::{Bank, RootedAccounts};
use sundog_tower::{ForkChoice, SavedTower};
use sundog_types::{Pubkey, Slot, schedule::Leaders, store::Store, vote};

/// Blocks read above the root at most.
const BLOCKS_MAX: usize = 8_192;

/// The tower in a ledger directory.
pub fn tower(path: &Path) -> anyhow::Result<TowerFacts> {
    let (identity, bytes) = tower_file(path)?;
    let saved = SavedTower::decode(&bytes, &identity)?;
    // The file does not say which account votes.
    let facts = votes_of(&saved.tower(Pubkey::default()));
    Ok(TowerFacts { identity: identity.to_string(), ..facts })
}

/// The tower file of a directory, and whose it is.
fn tower_file(path: &Path) -> anyhow::Result<(Pubkey, Vec<u8>)> {
    let unreadable = || format!("{} cannot be read; name the ledger directory of a node", path.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(unreadable)? {
        let name = entry.with_context(unreadable)?.file_name();
        let identity = name.to_str().and_then(|name| name.strip_prefix("tower-1_9-")?.strip_suffix(".bin"));
        found.extend(identity.and_then(|identity| Some((identity.parse::<Pubkey>().ok()?, path.join(&name)))));
    }
    match found.as_slice() {
        [] => bail!("{} has no tower file: a node that votes leaves one there", path.display()),
        [(identity, file)] => Ok((*identity, fs::read(file).with_context(|| format!("read {}", file.display()))?)),
        several => {
            bail!("{} has the tower files of {} identities; leave only one there", path.display(), several.len())
        }
    }
}

/// The forks in a ledger directory.
pub fn forks(path: &Path) -> anyhow::Result<ForksFacts> {
    // Opening makes what is not there.
    if !FjallStore::is_at(path) {
        bail!("{} is no ledger directory; name that of a node, as localnet/node-0/ledger", path.display());
    }
    let store =
        FjallStore::open(path).context("to ask a node that runs, leave out --ledger and give --node or --url")?;
    let own_vote = tower(path).ok().and_then(|facts| Some(facts.votes.last()?.slot));
    read(&Arc::new(store), own_vote)
}

fn read(store: &Arc<impl Store + 'static>, own_vote: Option<u64>) -> anyhow::Result<ForksFacts> {
    let ledger = Ledger::new(Arc::clone(store) as Arc<dyn Store>);
    let Some(root) = ledger.root()? else { bail!("the ledger has no root yet; start its node once") };
    let bank = Bank::restore(Arc::new(RootedAccounts::new(Arc::clone(store) as Arc<dyn Store>)))?;
    let stakes: BTreeMap<Pubkey, u64> =
        bank.vote_accounts().into_iter().map(|account| (account.pubkey, account.stake)).collect();
    let mut choice = ForkChoice::new((root, bank.hash()));
    let mut hashes = BTreeMap::from([(root, bank.hash())]);
    let landed =
        bank.vote_accounts().into_iter().filter_map(|account| Some((account.pubkey, account.lockouts.last()?.0)));
    let mut newest: BTreeMap<Pubkey, u64> = landed.collect();
    for (slot, meta) in ledger.slots(root.next(), Slot::new(u64::MAX), BLOCKS_MAX)? {
        let Some(parent) = hashes.get(&meta.parent).filter(|_| meta.executed()).copied() else { continue };
        choice.add((slot, meta.bank_hash), (meta.parent, parent));
        hashes.insert(slot, meta.bank_hash);
        for record in ledger.transactions(slot)? {
            let Some(vote) = vote::parse_vote(&record.transaction).filter(|_| record.meta.status.is_ok()) else {
                continue;
            };
            let last = newest.entry(vote.vote_account).or_default();
            *last = vote.last_slot.max(*last);
        }
    }
    let votes = newest.iter().filter_map(|(voter, slot)| {
        let slot = Slot::new(*slot);
        Some((*voter, (slot, *hashes.get(&slot)?)))
    });
    choice.vote(votes, |voter, _| stakes.get(voter).copied().unwrap_or(0));
    let mut leaders = Leaders::new(bank.epoch_schedule().clone());
    for epoch in [bank.epoch(), bank.epoch().next()] {
        let slots = bank.epoch_schedule().get_slots_in_epoch(epoch.get());
        if let Some(stakes) = bank.epoch_stakes(epoch) {
            leaders.insert(Arc::new(sundog_types::schedule::LeaderSchedule::new(epoch, slots, &stakes)));
        }
    }
    let (blocks, left_out) = fork_blocks(&choice, &leaders);
    Ok(ForksFacts {
        root: root.get(),
        confirmed: root.get(),
        finalized: root.get(),
        heaviest: choice.best_overall().0.get(),
        own_vote,
        total_stake: stakes.values().sum(),
        blocks,
        left_out,
    })
}
