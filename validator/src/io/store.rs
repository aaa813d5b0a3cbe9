//! The ledger directory: the storage contract over fjall, a log-structured merge tree in pure Rust.
//!
//! One keyspace for each [`Space`]; a batch is one entry of the journal that they share, so that it is there whole
//! or not at all after a crash. A batch that need not be durable is handed to the operating system at once: it
//! survives the death of the process, not that of the machine.
//!
//! Every level is compressed: single shreds are padded, and what the shreds of a set have in common (proofs, roots, the
//! signature) is kept once in a block that is large enough. Whole sets come packed by the ledger.

use bytes::Bytes;
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode,
    config::{BlockSizePolicy, CompressionPolicy},
};
use std::path::{Path, PathBuf};
use sundog_types::store::{Batch, Space, Store, StoreError, Write};

/// Blocks of tables kept in memory, over all spaces. Hot reads are of what was written last, which is in memory anyway.
const CACHE_BYTES: u64 = 4 << 20;
/// The journals' room on disk: the least that fjall takes.
const JOURNAL_BYTES: u64 = 64 << 20;
/// Files kept open: a ledger of a day has some dozens of tables.
const OPEN_FILES: usize = 128;
/// One thread writes memory out and merges tables. With two, fjall 3.1 keeps the first one for writing out, and that one
/// hands every merge back to the queue, again and again for as long as the second one is at one: a core of nothing.
const WORKERS: usize = 1;
/// What a space with large values collects in memory before it is written out.
const LARGE_MEMTABLE_BYTES: u64 = 4 << 20;
/// The same for spaces that take little while nobody sends transactions. Smaller tables mean less memory and more merging.
const MIDDLE_MEMTABLE_BYTES: u64 = 2 << 20;
/// The same for the others.
const SMALL_MEMTABLE_BYTES: u64 = 512 << 10;
/// Compressed together: a dozen single shreds, or a set.
const SHRED_BLOCK_BYTES: u32 = 16 << 10;
/// Compressed together in the other spaces.
const BLOCK_BYTES: u32 = 4 << 10;

/// What fjall keeps in every directory of its own: the version of its format,
const VERSION_FILE: &str = "version";
/// and a directory for each keyspace.
const KEYSPACES_DIRECTORY: &str = "keyspaces";

/// Why a ledger directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the ledger directory {0} is in use by another process; stop that one, or name another directory")]
    InUse(PathBuf),
    /// It cannot be read or written, or is no ledger directory.
    #[error(
        "the ledger directory {path} cannot be opened ({cause}); check its permissions and the free space, or remove it"
    )]
    Failed {
        /// The directory.
        path: PathBuf,
        /// What the database says.
        cause: fjall::Error,
    },
}

/// A store on disk.
pub struct FjallStore {
    database: Database,
    /// In the order of [`Space::ALL`].
    keyspaces: Vec<Keyspace>,
}

impl FjallStore {
    /// Whether there is a store at this path. Nothing is made.
    #[must_use]
    pub fn is_at(path: &Path) -> bool {
        path.join(VERSION_FILE).is_file() && path.join(KEYSPACES_DIRECTORY).is_dir()
    }

    /// Opens a directory, or makes it.
    ///
    /// # Errors
    /// If another process has it open, or if it cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::try_open(path).map_err(|cause| match cause {
            fjall::Error::Locked => OpenError::InUse(path.to_owned()),
            cause => OpenError::Failed { path: path.to_owned(), cause },
        })
    }

    fn try_open(path: &Path) -> fjall::Result<Self> {
        let database = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(OPEN_FILES))
            .worker_threads(WORKERS)
            .open()?;
        let open = |space: &Space| database.keyspace(space.name(), || options(*space));
        let keyspaces = Space::ALL.iter().map(open).collect::<fjall::Result<_>>()?;
        Ok(Self { database, keyspaces })
    }

    /// Bytes on disk, journals included; 0 if that cannot be told. The journal being written counts with its 64 MiB
    /// from the start, although its file is sparse.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or(0)
    }

    fn keyspace(&self, space: Space) -> &Keyspace {
        &self.keyspaces[space as usize]
    }

    fn try_commit(&self, batch: &Batch, mode: PersistMode) -> fjall::Result<()> {
        if batch.is_empty() {
            return self.database.persist(mode);
        }
        let mut changes = self.database.batch().durability(Some(mode));
        for write in &batch.writes {
            match write {
                Write::Put(space, key, value) => changes.insert(self.keyspace(*space), &key[..], &value[..]),
                Write::Delete(space, key) => changes.remove(self.keyspace(*space), &key[..]),
            }
        }
        changes.commit()
    }
}

// `keyspace` indexes by the variant's number.
const _: () = {
    let mut at = 0;
    while at < Space::ALL.len() {
        assert!(Space::ALL[at] as usize == at);
        at += 1;
    }
};

fn options(space: Space) -> KeyspaceCreateOptions {
    let (memtable, block) = match space {
        Space::FecSets => (LARGE_MEMTABLE_BYTES, SHRED_BLOCK_BYTES),
        Space::DataShreds => (MIDDLE_MEMTABLE_BYTES, SHRED_BLOCK_BYTES),
        Space::Transactions => (LARGE_MEMTABLE_BYTES, BLOCK_BYTES),
        Space::Accounts => (MIDDLE_MEMTABLE_BYTES, BLOCK_BYTES),
        Space::Slots | Space::Signatures | Space::Addresses | Space::Singles => (SMALL_MEMTABLE_BYTES, BLOCK_BYTES),
    };
    KeyspaceCreateOptions::default()
        .max_memtable_size(memtable)
        .data_block_size_policy(BlockSizePolicy::all(block))
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
}

fn failed(error: fjall::Error) -> StoreError {
    StoreError(error.to_string())
}

fn read(pair: fjall::Guard) -> Result<(Bytes, Bytes), StoreError> {
    let (key, value) = pair.into_inner().map_err(failed)?;
    Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
}

impl Store for FjallStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.keyspace(space).get(key).map_err(failed)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn range(&self, space: Space, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.keyspace(space).range(from..to).take(limit).map(read).collect()
    }

    fn range_back(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.keyspace(space).range(from..to).rev().take(limit).map(read).collect()
    }

    fn commit(&self, batch: &Batch, durable: bool) -> Result<(), StoreError> {
        let mode = if durable { PersistMode::SyncAll } else { PersistMode::Buffer };
        self.try_commit(batch, mode).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sundog_ledger::MemoryStore;

    fn open(path: &Path) -> FjallStore {
        FjallStore::open(path).expect("a directory")
    }

    fn everything(store: &dyn Store) -> Vec<(Space, Vec<(Bytes, Bytes)>)> {
        let all = |space| store.range(space, &[], &[0xff; 100], usize::MAX).unwrap();
        Space::ALL.into_iter().map(|space| (space, all(space))).collect()
    }

    #[test]
    fn a_batch_over_several_spaces_is_there_after_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let mut batch = Batch::default();
        for space in Space::ALL {
            batch.put(space, vec![1, 2], space.name().as_bytes().to_vec());
            batch.put(space, vec![1, 3], Bytes::new());
            batch.delete(space, vec![9]);
        }
        let store = open(directory.path());
        store.commit(&batch, true).unwrap();
        let before = everything(&store);
        drop(store);
        let store = open(directory.path());
        assert_eq!(everything(&store), before);
        for space in Space::ALL {
            assert_eq!(store.get(space, &[1, 2]).unwrap().as_deref(), Some(space.name().as_bytes()));
            assert_eq!(store.get(space, &[1, 3]).unwrap().as_deref(), Some(&[][..]));
            assert_eq!(store.get(space, &[9]).unwrap(), None);
        }
    }

    #[test]
    fn the_later_change_of_a_key_in_a_batch_wins() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let mut batch = Batch::default();
        batch.put(Space::Slots, vec![1], vec![1]);
        batch.put(Space::Slots, vec![1], vec![2]);
        batch.put(Space::Slots, vec![2], vec![1]);
        batch.delete(Space::Slots, vec![2]);
        store.commit(&batch, false).unwrap();
        let expected = [(Bytes::from_static(&[1]), Bytes::from_static(&[2]))];
        assert_eq!(store.range(Space::Slots, &[], &[9], 9).unwrap(), expected);
    }

    #[test]
    fn a_directory_in_use_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let _first = open(directory.path());
        assert!(matches!(FjallStore::open(directory.path()), Err(OpenError::InUse(_))));
    }

    #[test]
    fn a_file_in_place_of_a_directory_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(FjallStore::open(file.path()), Err(OpenError::Failed { .. })));
    }

    #[test]
    fn an_empty_durable_batch_only_syncs() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        store.commit(&Batch::default(), true).unwrap();
        assert!(everything(&store).iter().all(|(_, rows)| rows.is_empty()));
    }

    #[test]
    fn shreds_of_idle_slots_take_little_room_and_purging_gives_it_back() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let shred = |slot: u64, index: u8| {
            // A quarter does not compress: header, signature, root, proof.
            let seed = slot.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(index);
            let noise = (0u64..300).map(|at| (seed.wrapping_mul(at * 2 + 1) >> 37) as u8);
            noise.chain(std::iter::repeat_n(0, 903)).collect::<Vec<u8>>()
        };
        let key = |slot: u64, index: u8| [&slot.to_be_bytes()[..], &[0, 0, 0, index]].concat();
        let slots = |range: std::ops::Range<u64>, keep: bool| {
            for slot in range {
                let mut batch = Batch::default();
                for index in 0..32 {
                    match keep {
                        true => batch.put(Space::DataShreds, key(slot, index), shred(slot, index)),
                        false => batch.delete(Space::DataShreds, key(slot, index)),
                    }
                }
                store.commit(&batch, false).unwrap();
            }
        };
        slots(0..1_500, true);
        slots(0..1_400, false);
        let space = store.keyspace(Space::DataShreds);
        space.rotate_memtable_and_wait().unwrap();
        space.major_compact().unwrap();
        let raw = 100 * 32 * 1_203;
        assert!(space.disk_space() < raw / 2, "{} of {raw}", space.disk_space());
        assert_eq!(store.range(Space::DataShreds, &[], &[0xff; 12], usize::MAX).unwrap().len(), 100 * 32);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// Both stores keep the same contract: what holds in the simulator holds on disk.
        #[test]
        fn disk_and_memory_answer_alike(
            batches in proptest::collection::vec(
                (proptest::collection::vec((0usize..8, 0u8..16, proptest::option::of(any::<u8>())), 0..12), any::<bool>()),
                1..12,
            ),
            from in proptest::collection::vec(0u8..16, 0..2),
            to in proptest::collection::vec(0u8..16, 0..2),
            limit in 0usize..8,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let disk = open(directory.path());
            let memory = MemoryStore::new();
            for (writes, durable) in &batches {
                let mut batch = Batch::default();
                for (space, key, value) in writes {
                    match value {
                        Some(value) => batch.put(Space::ALL[*space], vec![*key], vec![*value; 3]),
                        None => batch.delete(Space::ALL[*space], vec![*key]),
                    }
                }
                disk.commit(&batch, *durable).unwrap();
                memory.commit(&batch, *durable).unwrap();
            }
            prop_assert_eq!(everything(&disk), everything(&memory));
            for space in Space::ALL {
                prop_assert_eq!(disk.range(space, &from, &to, limit).unwrap(), memory.range(space, &from, &to, limit).unwrap());
                prop_assert_eq!(
                    disk.range_back(space, &from, &to, limit).unwrap(),
                    memory.range_back(space, &from, &to, limit).unwrap()
                );
            }
            drop(disk);
            prop_assert_eq!(everything(&open(directory.path())), everything(&memory));
        }
    }
}
