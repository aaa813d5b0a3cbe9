//! Known peers: a file in the ledger directory, so that a node finds its cluster again when every entrypoint is down.
//!
//! It also remembers when this node last started. Of two instances of one identity the one that started later runs on,
//! so each start must be later than the one before it, even if the clock was set back in between.

use super::files::{self, FileError};
use crate::node::View;
use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use sundog_gossip::KnownPeer;
use sundog_types::{Pubkey, peer::Peer};
use tokio::{sync::oneshot, task::JoinHandle};

/// Peers kept; beyond it those with the least stake, and of these the ones not seen for longest, are left out.
pub const KNOWN_MAX: usize = sundog_gossip::entrypoints::KNOWN_MAX;

/// The file is written at most this often while the node runs, and once more at its end.
const WRITE_EVERY: Duration = Duration::from_secs(30);

/// How often a running node's peers are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Far more than [`KNOWN_MAX`] peers take; a larger file is none of ours.
const BYTES_MAX: u64 = 1 << 20;

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KnownPeersError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what this program writes.
    #[error("{path} is not a list of known peers: {why}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Content {
    /// When the node last started, in microseconds since the Unix epoch.
    outset_us: u64,
    /// The best first.
    peers: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    identity: String,
    gossip: SocketAddr,
}

/// The known peers of a node, and their file.
#[derive(Debug)]
pub struct KnownPeers {
    path: PathBuf,
    outset_us: u64,
    /// The best first.
    peers: Vec<KnownPeer>,
    written: BTreeSet<KnownPeer>,
    written_at: Option<Instant>,
    /// Whether peers are remembered at all.
    remember: bool,
}

impl KnownPeers {
    /// Reads the file in a ledger directory, takes an outset for this start that is later than the last one's, and notes
    /// it in the file. A file that is broken is replaced, with a warning. `remember` false: no peers are read or kept.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn open(directory: &Path, unix_ms: u64, remember: bool) -> Result<Self, FileError> {
        let path = directory.join("known-peers.json");
        let content = read(&path).unwrap_or_else(|error| {
            tracing::warn!("{error}; it is ignored, and written anew");
            Content::default()
        });
        // A clock that ran wild once must not make every later start impossible.
        let outset_us = unix_ms.saturating_mul(1_000).max(content.outset_us.saturating_add(1));
        let known = content.peers.iter().filter_map(|entry| {
            let identity = entry.identity.parse().ok()?;
            Some(KnownPeer { identity, gossip: entry.gossip })
        });
        let peers: Vec<KnownPeer> = known.filter(|_| remember).take(KNOWN_MAX).collect();
        let mut opened = Self { path, outset_us, peers, written: BTreeSet::new(), written_at: None, remember };
        opened.write()?;
        // The first news is worth writing at once.
        opened.written_at = None;
        Ok(opened)
    }

    /// When this instance started, in microseconds since the Unix epoch; later than any before it.
    #[must_use]
    pub const fn outset_us(&self) -> u64 {
        self.outset_us
    }

    /// The peers, the best first.
    #[must_use]
    pub fn peers(&self) -> &[KnownPeer] {
        &self.peers
    }

    /// Takes in who is there now: by stake, then by when they were last seen. Who was there before stays behind them as
    /// long as there is room, so that a node that was cut off does not forget everybody.
    pub fn meet(&mut self, me: &Pubkey, now: &[Peer]) {
        if !self.remember {
            return;
        }
        let others = now.iter().filter(|peer| peer.identity != *me);
        let mut here: Vec<_> = others.filter_map(|peer| Some((peer, peer.addresses.gossip?))).collect();
        here.sort_by_key(|(peer, _)| std::cmp::Reverse((peer.stake, peer.last_seen)));
        let here = here.into_iter().map(|(peer, gossip)| KnownPeer { identity: peer.identity, gossip });
        let mut peers: Vec<KnownPeer> = here.take(KNOWN_MAX).collect();
        let named: BTreeSet<Pubkey> = peers.iter().map(|peer| peer.identity).collect();
        let places: BTreeSet<SocketAddr> = peers.iter().map(|peer| peer.gossip).collect();
        let room = KNOWN_MAX - peers.len();
        let gone = |peer: &&KnownPeer| !named.contains(&peer.identity) && !places.contains(&peer.gossip);
        let before: Vec<KnownPeer> = self.peers.iter().filter(gone).copied().take(room).collect();
        peers.extend(before);
        self.peers = peers;
    }

    /// Writes the file if something changed and it was not written a moment ago.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_if_due(&mut self) -> Result<(), FileError> {
        let waits = self.written_at.is_some_and(|at| at.elapsed() < WRITE_EVERY);
        if waits { Ok(()) } else { self.write_if_changed() }
    }

    /// Writes the file if other peers are known than when it was last written.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_if_changed(&mut self) -> Result<(), FileError> {
        let changed = self.written.len() != self.peers.len() || self.peers.iter().any(|p| !self.written.contains(p));
        if changed { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), FileError> {
        let entry = |peer: &KnownPeer| Entry { identity: peer.identity.to_string(), gossip: peer.gossip };
        let content = Content { outset_us: self.outset_us, peers: self.peers.iter().map(entry).collect() };
        files::write_json(&self.path, &content)?;
        self.written = self.peers.iter().copied().collect();
        self.written_at = Some(Instant::now());
        Ok(())
    }
}

/// Keeps a running node's file.
pub struct Keeper {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Looks at the node's peers once a second and writes the file now and then.
    #[must_use]
    pub fn start(mut known: KnownPeers, me: Pubkey, view: Arc<ArcSwapOption<View>>) -> Self {
        let (end, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut look = tokio::time::interval(LOOK_EVERY);
            let mut running = true;
            while running {
                tokio::select! {
                    _ = look.tick() => {}
                    _ = &mut ended => running = false,
                }
                if let Some(view) = view.load_full() {
                    known.meet(&me, &view.peers);
                }
                let written = if running { known.write_if_due() } else { known.write_if_changed() };
                if let Err(error) = written {
                    tracing::warn!("known peers are not kept: {error}");
                }
            }
        });
        Self { end, task }
    }

    /// Writes what is known now, and ends.
    pub async fn end(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

fn read(path: &Path) -> Result<Content, KnownPeersError> {
    let broken = |why: String| KnownPeersError::Broken { path: path.into(), why };
    let failed = |source| KnownPeersError::Read { path: path.into(), source };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::default()),
        Err(error) => return Err(failed(error)),
        Ok(meta) if meta.len() > BYTES_MAX => return Err(broken(format!("it has {} bytes", meta.len()))),
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_types::{
        Now, Slot,
        peer::{Addresses, Version},
    };

    const START_MS: u64 = 1_760_000_000_000;

    fn peer(number: u64, stake: u64, seen: u64) -> Peer {
        let mut identity = [7; 32];
        identity[..8].copy_from_slice(&number.to_le_bytes());
        let port = u16::try_from(1_000 + number).expect("few");
        Peer {
            identity: Pubkey::new_from_array(identity),
            addresses: Addresses { gossip: Some(([127, 0, 0, 1], port).into()), ..Addresses::default() },
            stake,
            last_seen: Now { mono_us: seen, unix_ms: START_MS },
            shred_version: 1,
            version: Version::default(),
            outset_us: 0,
            lowest_slot: Slot::ZERO,
        }
    }

    fn open(directory: &Path) -> KnownPeers {
        KnownPeers::open(directory, START_MS, true).expect("it can be written")
    }

    fn numbers(known: &KnownPeers) -> Vec<u16> {
        known.peers().iter().map(|peer| peer.gossip.port() - 1_000).collect()
    }

    const ME: Pubkey = Pubkey::new_from_array([1; 32]);

    #[test]
    fn peers_are_kept_by_stake_and_then_by_who_was_seen_last_and_come_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut known = open(directory.path());
        assert_eq!(known.peers(), []);
        let me = Peer { identity: ME, ..peer(9, 9, 9) };
        known.meet(&ME, &[peer(1, 0, 5), peer(2, 10, 1), peer(3, 0, 6), me]);
        known.write_if_due().expect("written");
        assert_eq!(numbers(&open(directory.path())), [2, 3, 1]);
    }

    #[test]
    fn who_is_gone_is_kept_behind_those_who_are_there_until_there_is_no_room() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut known = open(directory.path());
        known.meet(&ME, &[peer(1, 5, 0), peer(2, 4, 0)]);
        known.meet(&ME, &[]);
        assert_eq!(numbers(&known), [1, 2], "cut off is not a reason to forget");
        known.meet(&ME, &[peer(3, 0, 0)]);
        assert_eq!(numbers(&known), [3, 1, 2]);
        let many: Vec<Peer> = (10..2_000).map(|number| peer(number, number, 0)).collect();
        known.meet(&ME, &many);
        assert_eq!((known.peers().len(), numbers(&known)[0]), (KNOWN_MAX, 1_999));
        known.write_if_changed().expect("written");
        assert_eq!(open(directory.path()).peers().len(), KNOWN_MAX);
    }

    #[test]
    fn the_file_is_written_when_something_changed_and_not_too_often() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut known = open(directory.path());
        known.meet(&ME, &[peer(1, 0, 0)]);
        known.write_if_due().expect("written");
        known.meet(&ME, &[peer(2, 0, 0)]);
        known.write_if_due().expect("not due");
        assert_eq!(numbers(&open(directory.path())), [1]);
        known.write_if_changed().expect("written");
        assert_eq!(numbers(&open(directory.path())), [2, 1]);
    }

    #[test]
    fn a_start_is_later_than_the_one_before_even_if_the_clock_was_set_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let starts = [START_MS, START_MS, START_MS - 60_000, START_MS + 60_000];
        let outsets = starts.map(|ms| KnownPeers::open(directory.path(), ms, false).expect("written").outset_us());
        assert!(outsets.is_sorted_by(|a, b| a < b), "{outsets:?}");
    }

    #[test]
    fn a_broken_file_is_ignored_and_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("known-peers.json");
        for broken in ["", "[1, 2", r#"{"peers": 7}"#, r#"{"peers": [{"identity": 1}]}"#] {
            fs::write(&path, broken).expect("written");
            assert!(matches!(read(&path), Err(KnownPeersError::Broken { .. })), "{broken}");
            assert_eq!(open(directory.path()).peers(), []);
            assert!(read(&path).is_ok());
        }
        fs::write(&path, vec![b' '; 2 << 20]).expect("written");
        assert!(matches!(read(&path), Err(KnownPeersError::Broken { .. })));
        fs::write(&path, r#"{"peers": [{"identity": "nobody", "gossip": "127.0.0.1:1"}], "more": 1}"#)
            .expect("written");
        assert_eq!(open(directory.path()).peers(), [], "a peer without an identity is none");
    }
}
