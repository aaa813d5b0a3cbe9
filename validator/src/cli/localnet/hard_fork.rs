//! `sundog localnet restart --hard-fork`: what operators of a cluster do together after it has stopped, for a localnet.

use super::{Cluster, Layout, act, control, up::Localnet};
use crate::{
    cli::say,
    io::{client::Client, files, store::FjallStore, tower_file::TowerFile},
    node::{blocks_above, way_back},
};
use anyhow::{Context as _, bail};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use sundog_ledger::Ledger;
use sundog_runtime::{Bank, RootedAccounts, genesis::GenesisConfig};
use sundog_tower::SavedTower;
use sundog_types::{HardForks, Hash, Pubkey, Slot, store::Store};

/// A slot must be in the ledgers of nodes with so much of the stake, percent: so much is waited for.
const HELD_PERCENT: u64 = 80;
/// How long the restarted cluster may take to its first new root.
const ROOT_WAIT: Duration = Duration::from_secs(180);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Slots that a refusal names.
const NAMED_MAX: usize = 8;

/// Asks the running localnet to restart, and waits until it roots again.
///
/// # Errors
/// If none runs, the slot is not possible, or it does not root again.
pub fn ask(layout: &Layout, slot: Option<u64>) -> anyhow::Result<()> {
    act::ask(layout, &control::Request::HardFork { slot })?;
    let cluster = Cluster::read(&layout.cluster())?;
    let running = cluster.nodes.iter().filter(|node| node.pid.is_some());
    let clients: Vec<Client> = running.map(|node| Client::new(&node.rpc)).collect();
    let roots = || clients.iter().map(|client| client.slot("finalized").unwrap_or_default());
    let before = roots().max().unwrap_or_default();
    let started = Instant::now();
    while !roots().all(|root| root > before) {
        if started.elapsed() > ROOT_WAIT {
            bail!(
                "the nodes run, and not all have rooted a block above slot {before} within {} s; `sundog localnet status` and `sundog localnet logs 0` say more",
                ROOT_WAIT.as_secs()
            );
        }
        std::thread::sleep(ASK_EVERY);
    }
    let root = roots().min().unwrap_or_default();
    say(format_args!("every node roots again: slot {root}, {:.1} s after the start", started.elapsed().as_secs_f64()));
    Ok(())
}

/// What a stopped node's ledger holds.
struct Survey {
    stake: u64,
    root: Slot,
    /// The whole blocks above the root, with their parents.
    blocks: BTreeMap<Slot, Slot>,
    /// What its tower voted for last.
    voted: Option<Slot>,
}

impl Survey {
    fn read(ledger: &Path, identity: &Pubkey, stake: u64) -> anyhow::Result<Self> {
        let store: Arc<dyn Store> = Arc::new(FjallStore::open(ledger)?);
        let read = Ledger::new(store);
        let root = read.root()?.unwrap_or_default();
        let blocks = blocks_above(&read, root)?;
        let tower = TowerFile::new(ledger, identity).load()?;
        let tower = tower.and_then(|bytes| SavedTower::decode(&bytes, identity).ok());
        Ok(Self { stake, root, blocks, voted: tower.and_then(|tower| tower.lockouts.last_voted()) })
    }

    fn holds(&self, slot: Slot) -> bool {
        slot == self.root || self.blocks.contains_key(&slot)
    }

    /// Whether its last vote is for a block or one built on it.
    fn stands_behind(&self, slot: Slot) -> bool {
        let mut at = self.voted.unwrap_or_default();
        while at > slot {
            let Some(parent) = self.blocks.get(&at) else { return false };
            at = *parent;
        }
        at == slot && self.holds(slot)
    }
}

/// The slots that enough of the stake could be restarted at, ascending.
fn possible(surveys: &[Survey]) -> Vec<Slot> {
    let total: u64 = surveys.iter().map(|survey| survey.stake).sum();
    let all: BTreeSet<Slot> = surveys.iter().flat_map(|s| s.blocks.keys().copied().chain([s.root])).collect();
    let held = |slot: &Slot| stake_of(surveys, |survey| survey.holds(*slot)) * 100 >= total * HELD_PERCENT;
    all.into_iter().filter(held).collect()
}

fn stake_of(surveys: &[Survey], holds: impl Fn(&Survey) -> bool) -> u64 {
    surveys.iter().filter(|survey| holds(survey)).map(|survey| survey.stake).sum()
}

/// The newest slot that more than two thirds of the stake stand behind with their last votes: no block that was confirmed
/// is above it or beside it. If the votes are divided, the newest that the most stand behind.
fn newest(surveys: &[Survey]) -> Option<Slot> {
    let total: u64 = surveys.iter().map(|survey| survey.stake).sum();
    let behind = |slot: Slot| stake_of(surveys, |survey| survey.stands_behind(slot));
    possible(surveys).into_iter().max_by_key(|slot| {
        let stake = behind(*slot);
        let enough = stake * 3 > total * 2;
        (enough, if enough { 0 } else { stake }, *slot)
    })
}

/// The bank hash that the block of `slot` has after the restart, from a ledger that holds it.
fn bank_hash(ledger: &Path, forks: &HardForks, slot: Slot) -> anyhow::Result<Hash> {
    let store: Arc<dyn Store> = Arc::new(FjallStore::open(ledger)?);
    let bank = Bank::restore(Arc::new(RootedAccounts::new(Arc::clone(&store))))?;
    Ok(way_back(&Ledger::new(store), bank, forks, slot)?.bank.hash())
}

impl Localnet<'_> {
    /// Stops all nodes, and starts them again from one block on another shred version.
    ///
    /// # Errors
    /// If no slot fits, or a node does not start; then the nodes can be started again as they were.
    pub fn hard_fork(&mut self, slot: Option<u64>) -> anyhow::Result<String> {
        let ran: Vec<usize> = (0..self.running.len()).filter(|node| self.running[*node].child.is_some()).collect();
        self.stop_nodes();
        let restart = self.prepare(slot.map(Slot::new));
        let Restart { slot, hash, version, held } = match restart {
            Ok(restart) => restart,
            Err(error) => {
                ran.iter().try_for_each(|node| self.start(*node))?;
                self.tell_ports()?;
                self.write_cluster()?;
                return Err(error.context("nothing was changed, and the nodes run again"));
            }
        };
        self.agree(slot.get(), hash)?;
        let (start, late): (Vec<usize>, Vec<usize>) = ran.into_iter().partition(|node| held.contains(node));
        start.iter().try_for_each(|node| self.start(*node))?;
        self.waiting_over();
        late.iter().try_for_each(|node| self.start(*node))?;
        self.tell_ports()?;
        let mut said = format!("restarted at slot {slot}: bank hash {hash}, shred version {version}");
        for node in late {
            said += &format!("; node {node} has no block in that slot and catches up");
        }
        Ok(said)
    }

    fn survey(&self) -> anyhow::Result<Vec<(usize, Survey)>> {
        let mut surveys = Vec::new();
        for (node, known) in self.cluster.nodes.iter().enumerate() {
            let ledger = self.layout().of_node(node, "ledger");
            if FjallStore::is_at(&ledger) {
                let identity = known.identity.parse().context("an identity of cluster.json")?;
                surveys.push((node, Survey::read(&ledger, &identity, known.stake)?));
            }
        }
        Ok(surveys)
    }

    fn prepare(&self, told: Option<Slot>) -> anyhow::Result<Restart> {
        let (nodes, surveys): (Vec<usize>, Vec<Survey>) = self.survey()?.into_iter().unzip();
        let possible = possible(&surveys);
        let named = || {
            let slots: Vec<String> = possible.iter().rev().take(NAMED_MAX).map(ToString::to_string).collect();
            slots.join(", ")
        };
        let slot = match told {
            Some(slot) if !possible.contains(&slot) => {
                bail!("nodes with {HELD_PERCENT}% of the stake cannot go back to slot {slot}; the newest slots possible are {}", named())
            }
            Some(slot) => slot,
            None => newest(&surveys).context("no slot is in the ledgers of nodes with 80% of the stake; give the nodes that lag behind time to catch up")?,
        };
        let held: Vec<usize> =
            nodes.iter().zip(&surveys).filter(|(_, s)| s.holds(slot)).map(|(node, _)| *node).collect();
        let first = held.first().context("no node holds it")?;
        let mut forks = HardForks::new(&self.hard_forks().iter().map(|slot| Slot::new(*slot)).collect::<Vec<_>>());
        forks.add(slot);
        let hash = bank_hash(&self.layout().of_node(*first, "ledger"), &forks, slot)?;
        let genesis: GenesisConfig = files::read_genesis(&self.layout().genesis())?;
        Ok(Restart { slot, hash, version: forks.shred_version(&genesis.hash()), held })
    }
}

/// Where the cluster goes on.
struct Restart {
    slot: Slot,
    hash: Hash,
    version: u16,
    /// The nodes whose ledgers hold the block.
    held: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger rooted at 10 that holds these blocks, as (slot, parent), and whose tower voted for one last.
    fn survey(stake: u64, blocks: &[(u64, u64)], voted: u64) -> Survey {
        let blocks = blocks.iter().map(|(slot, parent)| (Slot::new(*slot), Slot::new(*parent))).collect();
        Survey { stake, root: Slot::new(10), blocks, voted: Some(Slot::new(voted)) }
    }

    const CHAIN: [(u64, u64); 4] = [(11, 10), (12, 11), (13, 12), (14, 13)];

    #[test]
    fn the_newest_block_that_two_thirds_stand_behind_is_chosen() {
        let surveys = [survey(1_000, &CHAIN, 14), survey(600, &CHAIN, 13), survey(400, &CHAIN, 12)];
        assert_eq!(newest(&surveys), Some(Slot::new(13)), "80 % voted for 13 or above, half for 14");
    }

    #[test]
    fn a_block_beside_the_confirmed_ones_is_not_chosen_however_new() {
        let fork = [&CHAIN[..], &[(20, 11)]].concat();
        let surveys = [survey(1_000, &fork, 14), survey(600, &fork, 14), survey(400, &fork, 20)];
        assert_eq!(newest(&surveys), Some(Slot::new(14)));
    }

    #[test]
    fn divided_votes_go_back_to_where_they_parted() {
        let fork = [&CHAIN[..], &[(20, 11)]].concat();
        let surveys = [survey(1_000, &fork, 14), survey(600, &fork, 20), survey(400, &fork, 20)];
        assert_eq!(newest(&surveys), Some(Slot::new(11)));
    }

    #[test]
    fn a_fifth_of_the_stake_may_lack_the_block_and_more_may_not() {
        let surveys = [survey(1_000, &CHAIN, 14), survey(600, &CHAIN, 14), survey(400, &CHAIN[..1], 11)];
        assert_eq!(newest(&surveys), Some(Slot::new(14)));
        let surveys = [survey(1_000, &CHAIN, 14), survey(600, &CHAIN[..2], 12), survey(400, &CHAIN[..1], 11)];
        assert_eq!(newest(&surveys), Some(Slot::new(12)));
        assert!(!possible(&surveys).contains(&Slot::new(13)));
    }
}
