//! From a disk to a node: the rooted bank, the tower, and machines that know nothing yet.

use super::{
    Effect, Node, NodeConfig, NodeParts, Voter,
    recall::Recall,
    restart::{self, RestartError, RestartOrder, WayBack},
    waiting::Wait,
};
use bytes::Bytes;
use solana_keypair::Keypair;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use sundog_gossip::{Contact, Gossip, GossipConfig, KnownPeer, PacketLimits, table::Limits};
use sundog_gulfstream::{Gulfstream, GulfstreamConfig};
use sundog_ledger::{Ledger, LedgerError, Restarts, SlotMeta};
use sundog_poh::RecorderConfig;
use sundog_runtime::{Bank, RootedAccounts, genesis::GenesisConfig};
use sundog_tower::{Consensus, ConsensusConfig, RootBlock, SavedError, SavedTower};
use sundog_turbine::{
    ShredSource, Turbine, TurbineConfig, Versions,
    repair_wire::ANCESTORS_MAX,
    sync::{Role, Sync, SyncConfig, SyncConfigError},
};
use sundog_types::{
    HardForks, Hash, Now, Pubkey, ShredIndex, Slot,
    peer::{Addresses, Version},
    shred::Shred,
    sign::{Identity, Sign},
    store::{Store, StoreError},
};

/// How long a node waits for the cluster before it leads without having seen it.
const LEAD_AFTER: Duration = Duration::from_secs(10);
/// Slots read back from the ledger after a restart at most; what is missing is repaired.
pub(super) const STORED_SLOTS_MAX: usize = 4_096;
/// What nodes say they run: the version whose behaviour they match, and which client they are (unlisted).
pub const VERSION: Version = Version { number: [3, 1, 12], commit: 0, feature_set: FEATURE_SET, client: 99 };
/// Identifies the gates of a development genesis; clients only show it.
pub const FEATURE_SET: u32 = 0x0005_4e44;

/// What a node starts from.
pub struct Boot {
    /// The chain.
    pub genesis: Arc<GenesisConfig>,
    /// The identity.
    pub identity: Arc<Keypair>,
    /// The vote account, if it votes.
    pub voter: Option<Voter>,
    /// The ledger directory.
    pub store: Arc<dyn Store>,
    /// The tower file's content.
    pub tower: Option<Vec<u8>>,
    /// What to do without it.
    pub tower_policy: TowerPolicy,
    /// What the operator says of coordinated restarts.
    pub restart: RestartOrder,
    /// Where the node listens.
    pub addresses: Addresses,
    /// Whom it asks first.
    pub entrypoints: Vec<SocketAddr>,
    /// Whether private and loopback addresses of peers are used.
    pub allow_private: bool,
    /// Children of a node in a Turbine tree, instead of what the protocol says; at least 1.
    pub fanout: Option<usize>,
    /// How it takes part in gossip.
    pub gossip: GossipSettings,
    /// What other nodes may do on the links of bulk sync.
    pub sync: SyncBounds,
    /// Slots of blocks kept below the root.
    pub ledger_slots: u64,
    /// How far behind the node may be and still say that it keeps up.
    pub health_distance_slots: u64,
    /// Feeds every random choice of the node.
    pub seed: [u8; 32],
}

/// What a voting node does whose tower file is missing or older than what its votes on the chain show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TowerPolicy {
    /// It does not even start without a file.
    pub require: bool,
    /// It votes all the same, once the lockouts that can be seen have run out.
    pub vote_without: bool,
}

/// How a node takes part in gossip, beyond where it listens and whom it asks first.
#[derive(Clone, Debug, Default)]
pub struct GossipSettings {
    /// Peers of an earlier life, asked when no entrypoint answers.
    pub known: Vec<KnownPeer>,
    /// When this instance started, in microseconds since the Unix epoch; later than any instance before it. None: now.
    pub outset_us: Option<u64>,
    /// Pull filters are made for at least so many values. None: as gossip has it.
    pub pull_items_min: Option<usize>,
    /// How much of what comes in is looked at.
    pub packet_limits: PacketLimits,
}

/// What other nodes may do on the links of bulk sync; beyond it they are refused by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncBounds {
    /// Bytes of a frame.
    pub frame_bytes_max: usize,
    /// Messages that a link may bring in a second.
    pub messages_per_second: u32,
    /// Links from one address.
    pub connections_per_address: usize,
}

impl Default for SyncBounds {
    fn default() -> Self {
        Self { frame_bytes_max: 10_000_000, messages_per_second: 100, connections_per_address: 3 }
    }
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The storage below it fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rooted bank cannot be read.
    #[error(
        "the ledger's rooted bank cannot be used: {0}; restore the ledger directory, or remove it and let the node sync anew"
    )]
    Bank(String),
    /// The tower cannot be used: voting without it could break promises.
    #[error("the tower file cannot be used: {0}")]
    Tower(#[from] SavedError),
    /// There is no tower file, and one is required.
    #[error(
        "there is no tower file of {0} in the ledger directory, and --require-tower forbids to start without; put the newest one there, or, if this node has never voted, start it once without --require-tower"
    )]
    NoTower(Pubkey),
    /// The cluster is restarted, and this ledger cannot go along.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// The bounds of bulk sync cannot work.
    #[error(transparent)]
    Sync(#[from] SyncConfigError),
    /// The gossip settings contradict each other.
    #[error(transparent)]
    Gossip(#[from] sundog_gossip::config::ConfigError),
}

impl Boot {
    /// The pace of this chain's Proof of History.
    #[must_use]
    pub fn recorder(&self) -> RecorderConfig {
        RecorderConfig {
            ticks_per_slot: self.genesis.ticks_per_slot(),
            tick: self.genesis.tick_duration(),
            hashes_per_tick: self.genesis.hashes_per_tick(),
        }
    }

    /// Makes the node.
    ///
    /// # Errors
    /// If the disk holds something that the node must not start from.
    pub fn start(self, now: Now) -> Result<(Node, Vec<Effect>), BootError> {
        let ledger = Ledger::new(Arc::clone(&self.store));
        let genesis_hash = self.genesis.hash();
        ledger.claim(&genesis_hash)?;
        let (root, restarts, restarted) = self.restarted_root(&ledger)?;
        let wait = self.wait(&ledger, &root)?;
        let signer: Arc<dyn Sign> = Arc::new(Identity::new(self.identity.insecure_clone()));
        let (tower, start) = self.promises(&signer.identity(), &restarts, (root.slot(), restarted))?;
        let recall = Recall::of(&ledger, root.slot())?;
        let start = sundog_tower::Start { recall: !recall.is_over(), ..start };
        let version = restarts.forks.shred_version(&genesis_hash);
        let source = Arc::new(Served(ledger.clone()));
        let turbine_config = TurbineConfig {
            fanout: self.fanout,
            tick: self.genesis.tick_duration(),
            ticks_per_slot: self.genesis.ticks_per_slot(),
            ..TurbineConfig::new(version)
        };
        let vote_account = self.voter.as_ref().map(|voter| voter.account);
        let block = RootBlock { slot: root.slot(), hash: root.hash() };
        let parts = NodeParts {
            config: NodeConfig {
                slot: self.genesis.slot_duration(),
                ticks_per_slot: self.genesis.ticks_per_slot(),
                shred_version: version,
                lead_after: LEAD_AFTER,
                health_distance_slots: self.health_distance_slots,
                ledger_slots: self.ledger_slots,
            },
            gossip: Gossip::new(self.gossip(version, now), Arc::clone(&signer), self.seed_for(b"gossip"), now)?,
            turbine: Turbine::new(turbine_config, Arc::clone(&signer), source, self.seed_for(b"turbine")),
            sync: Sync::new(
                self.sync_config(version, genesis_hash).validate()?,
                signer.identity(),
                self.seed_for(b"sync"),
            ),
            consensus: Consensus::new(
                ConsensusConfig { start, ..ConsensusConfig::default() },
                vote_account,
                block,
                tower,
                Arc::clone(&signer),
            ),
            listens: start.listen,
            recall,
            genesis_ms: u64::try_from(self.genesis.creation_time).unwrap_or_default().saturating_mul(1_000),
            gulfstream: Gulfstream::new(GulfstreamConfig::default(), signer.identity(), self.seed_for(b"gulfstream")),
            identity: Arc::clone(&self.identity),
            voter: self.voter.clone(),
            signer,
            wait,
            // Nobody makes a block in a slot that lies before a restart.
            led: ledger.last_led()?.max(restarts.forks.last()),
            block_id: last_set_root(&ledger, root.slot())?,
            ledger,
            root,
        };
        let versions = Versions::new(version, earlier_versions(&restarts.forks, &genesis_hash));
        let mut parts = parts;
        parts.turbine.set_versions(versions.clone());
        parts.sync.set_versions(versions);
        let mut effects = Vec::new();
        let node = Node::new(parts, now, &mut effects);
        Ok((node, effects))
    }

    /// The tower file, and what is known of promises that it does not tell of.
    fn promises(
        &self,
        identity: &Pubkey,
        restarts: &Restarts,
        (root, restarted): (Slot, bool),
    ) -> Result<(Option<SavedTower>, sundog_tower::Start), BootError> {
        let told = self.tower_policy.vote_without;
        let bytes = self.tower.as_deref();
        // A tower file from before a restart binds no more: the operators agreed on where to go on from.
        if restarted || bytes.is_some_and(|bytes| restarts.void_tower == Some(restart::fingerprint(bytes))) {
            let void = bytes.and_then(|bytes| SavedTower::decode(bytes, identity).ok());
            let known_to = void.and_then(|tower| tower.lockouts.last_voted()).max(Some(root));
            return Ok((None, sundog_tower::Start { told, known_to, ..Default::default() }));
        }
        let tower = bytes.map(|bytes| SavedTower::decode(bytes, identity)).transpose()?;
        let listen = tower.is_none() && self.voter.is_some();
        if listen && self.tower_policy.require {
            return Err(BootError::NoTower(*identity));
        }
        Ok((tower, sundog_tower::Start { listen, told, ..Default::default() }))
    }

    fn sync_config(&self, version: u16, genesis_hash: Hash) -> SyncConfig {
        let role = if self.voter.is_some() { Role::Voting } else { Role::Following };
        SyncConfig {
            frame_bytes_max: self.sync.frame_bytes_max,
            messages_per_second: self.sync.messages_per_second,
            connections_per_address: self.sync.connections_per_address,
            ..SyncConfig::new(genesis_hash, version, role)
        }
    }

    fn gossip(&self, version: u16, now: Now) -> GossipConfig {
        let outset_us = self.gossip.outset_us.unwrap_or_else(|| now.unix_ms.saturating_mul(1_000));
        let contact = Contact { addresses: self.addresses, version: VERSION, outset_us };
        let usual = GossipConfig::new(version, contact);
        GossipConfig {
            entrypoints: self.entrypoints.clone(),
            known: self.gossip.known.clone(),
            allow_private: self.allow_private,
            limits: Limits { staked_lasts: self.epoch(), ..usual.limits },
            pull_items_min: self.gossip.pull_items_min.unwrap_or(usual.pull_items_min),
            packet_limits: self.gossip.packet_limits,
            ..usual
        }
    }

    /// How long an epoch takes once the first, shorter ones are over.
    fn epoch(&self) -> Duration {
        let slots = u32::try_from(self.genesis.epoch_schedule.slots_per_epoch).unwrap_or(u32::MAX);
        self.genesis.slot_duration().saturating_mul(slots)
    }

    fn seed_for(&self, what: &[u8]) -> [u8; 32] {
        let mut seed = sha2::Sha256::default();
        sha2::Digest::update(&mut seed, self.seed);
        sha2::Digest::update(&mut seed, what);
        sha2::Digest::finalize(seed).into()
    }

    /// The bank to start from, the restarts that it has gone through, and whether one of them was just now.
    fn restarted_root(&self, ledger: &Ledger) -> Result<(Arc<Bank>, Restarts, bool), BootError> {
        let kept = ledger.restarts()?;
        let root = self.root(ledger, &kept.forks)?;
        let (forks, back_to) = restart::agree(&kept.forks, &self.restart.hard_forks, root.slot())?;
        let Some(slot) = back_to else {
            self.check_bank(&root)?;
            return Ok((root, kept, false));
        };
        if let Some(wait) = self.restart.wait_at.filter(|wait| *wait != slot) {
            return Err(RestartError::WaitElsewhere { slot, wait }.into());
        }
        // A node that only joins fetches what it lacks; one that starts the cluster must have the block.
        let joins = self.restart.wait_at.is_none() && !restart::is_here(ledger, &root, slot)?;
        let way =
            if joins { WayBack::none(root, forks.clone()) } else { restart::way_back(ledger, root, &forks, slot)? };
        self.check_bank(&way.bank)?;
        let bank = way.go((&*self.store, ledger), slot, self.tower.as_deref())?;
        tracing::info!(%slot, root = %bank.slot(), bank_hash = %bank.hash(), hard_forks = %forks, "restarted with a hard fork");
        Ok((bank, ledger.restarts()?, true))
    }

    /// Whether the block to wait at is the one that the operators agreed on.
    fn check_bank(&self, bank: &Bank) -> Result<(), RestartError> {
        match (self.restart.wait_at, self.restart.bank_hash) {
            (Some(slot), Some(expected)) if slot == bank.slot() && expected != bank.hash() => {
                Err(RestartError::OtherBank { slot, ours: bank.hash(), expected })
            }
            _ => Ok(()),
        }
    }

    /// What is to be waited for at the root; nothing once the cluster has gone on from there: blocks above it are here.
    fn wait(&self, ledger: &Ledger, root: &Bank) -> Result<Option<Wait>, BootError> {
        match self.restart.wait_at {
            Some(slot) if slot > root.slot() => Err(RestartError::Early { slot, root: root.slot() }.into()),
            Some(slot) if slot == root.slot() && ledger.shred_slots(slot.next(), 1)?.is_empty() => {
                Ok(Some(Wait::at(slot)))
            }
            _ => Ok(None),
        }
    }

    /// The bank on disk, or, in an empty directory, the one that genesis describes.
    fn root(&self, ledger: &Ledger, forks: &HardForks) -> Result<Arc<Bank>, BootError> {
        let accounts = Arc::new(RootedAccounts::new(Arc::clone(&self.store)));
        if ledger.root()?.is_some() {
            let mut bank = Bank::restore(accounts).map_err(|e| BootError::Bank(e.to_string()))?;
            Arc::get_mut(&mut bank).expect("nobody else has it yet").set_hard_forks(forks.clone());
            return Ok(bank);
        }
        let bank = Bank::genesis_block(&self.genesis, accounts).map_err(|e| BootError::Bank(e.to_string()))?;
        let mut batch = bank.root_batch();
        sundog_ledger::set_root(&mut batch, Slot::ZERO, &[]);
        sundog_ledger::put_meta(&mut batch, Slot::ZERO, &genesis_meta(&self.genesis, &bank));
        self.store.commit(&batch, true)?;
        bank.squash();
        bank.written();
        Ok(bank)
    }
}

/// The Merkle root of the last FEC set of a block in the ledger: what its children chain to. `None` for genesis, which
/// nobody sends, and for a block that came without its shreds.
fn last_set_root(ledger: &Ledger, slot: Slot) -> Result<Option<Hash>, LedgerError> {
    let last = ledger.highest_data_shred(slot)?.and_then(|bytes| Shred::raw(bytes).parse().ok());
    Ok(last.filter(|shred| shred.last_in_slot()).and_then(|shred| shred.merkle_root().ok()))
}

/// The shred versions that a chain had before its hard forks, each with the last slot that has it.
fn earlier_versions(forks: &HardForks, genesis: &Hash) -> Vec<(Slot, u16)> {
    let mut before = HardForks::default();
    let mut versions = Vec::new();
    for (slot, count) in forks.iter() {
        versions.push((slot, before.shred_version(genesis)));
        (0..count).for_each(|_| before.add(slot));
    }
    versions
}

fn genesis_meta(genesis: &GenesisConfig, bank: &Bank) -> SlotMeta {
    SlotMeta {
        full: true,
        blockhash: bank.last_blockhash(),
        previous_blockhash: Hash::default(),
        block_time: genesis.creation_time,
        bank_hash: bank.hash(),
        ..SlotMeta::default()
    }
}

/// The shreds above the root that the ledger holds, by slot: what a restarted node executes again.
///
/// # Errors
/// If the storage fails.
pub fn stored(ledger: &Ledger) -> Result<Vec<Vec<Bytes>>, LedgerError> {
    let root = ledger.root()?.unwrap_or_default();
    let slots = ledger.shred_slots(root.next(), STORED_SLOTS_MAX)?;
    slots.into_iter().map(|slot| ledger.data_shreds(slot)).collect()
}

/// What this node serves to those who ask for repair: what its ledger holds.
struct Served(Ledger);

impl ShredSource for Served {
    fn data_shred(&self, slot: Slot, index: ShredIndex) -> Option<Bytes> {
        self.0.data_shred(slot, index).ok().flatten()
    }

    fn highest_data_shred(&self, slot: Slot) -> Option<Bytes> {
        self.0.highest_data_shred(slot).ok().flatten()
    }

    fn parent(&self, slot: Slot) -> Option<Slot> {
        self.0.slot_meta(slot).ok().flatten().map(|meta| meta.parent)
    }

    fn ancestor_hashes(&self, slot: Slot) -> Option<Vec<(Slot, Hash)>> {
        self.0.ancestor_hashes(slot, ANCESTORS_MAX).ok()
    }
}
