//! The tower's file: replaced whole, and on disk before the vote that it promises leaves.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};
use sundog_types::Pubkey;

/// A tower is at most a few kilobytes; a larger file is not one.
const BYTES_MAX: u64 = 65_536;

/// Where a node's tower is kept: `tower-1_9-<identity>.bin` in the ledger directory (reference 8.5).
#[derive(Clone, Debug)]
pub struct TowerFile {
    path: PathBuf,
}

impl TowerFile {
    /// The file of an identity in a directory.
    #[must_use]
    pub fn new(directory: &Path, identity: &Pubkey) -> Self {
        Self { path: directory.join(format!("tower-1_9-{identity}.bin")) }
    }

    /// The identities whose tower files lie beside where this one is or would be.
    #[must_use]
    pub fn neighbours(&self) -> Vec<String> {
        let entries = self.path.parent().and_then(|directory| fs::read_dir(directory).ok());
        let names = entries.into_iter().flatten().flatten().filter(|entry| entry.path() != self.path);
        let identity = |name: &str| Some(name.strip_prefix("tower-1_9-")?.strip_suffix(".bin")?.to_owned());
        names.filter_map(|entry| identity(entry.file_name().to_str()?)).collect()
    }

    /// Its content, if there is one.
    ///
    /// # Errors
    /// If the file is there but cannot be read.
    pub fn load(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(meta) if meta.len() > BYTES_MAX => {
                Err(io::Error::other(format!("{} is no tower: it has {} bytes", self.path.display(), meta.len())))
            }
            Ok(_) => fs::read(&self.path).map(Some),
        }
    }

    /// Replaces it durably: written beside it, synced, renamed over it, and the directory synced.
    ///
    /// # Errors
    /// If any of these fails; then the file holds the old content or the new one, whole.
    pub fn save(&self, bytes: &[u8]) -> io::Result<()> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("the tower file {}: {error}", self.path.display()));
        self.replace(bytes).map_err(named)
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let new = self.path.with_extension("bin.new");
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        let directory = self.path.parent().unwrap_or_else(|| Path::new("."));
        File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_replaced_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = TowerFile::new(directory.path(), &Pubkey::new_from_array([1; 32]));
        assert_eq!(file.load().expect("no file is no error"), None);
        file.save(b"first, and longer").expect("saved");
        file.save(b"second").expect("saved");
        assert_eq!(file.load().expect("loaded"), Some(b"second".to_vec()));
    }

    #[test]
    fn what_a_crash_left_beside_it_is_never_read_and_gives_way() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = TowerFile::new(directory.path(), &Pubkey::new_from_array([1; 32]));
        let beside = file.path.with_extension("bin.new");
        fs::write(&beside, b"half a tow").expect("written");
        assert_eq!(file.load().expect("no file is no error"), None);
        file.save(b"whole").expect("saved");
        assert_eq!(file.load().expect("loaded"), Some(b"whole".to_vec()));
        assert!(!beside.exists());
    }

    #[test]
    fn a_write_that_fails_names_the_file_and_leaves_the_old_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = TowerFile::new(directory.path(), &Pubkey::new_from_array([1; 32]));
        file.save(b"old").expect("saved");
        // A directory in the way of the new file, as a full disk would be.
        fs::create_dir(file.path.with_extension("bin.new")).expect("made");
        let error = file.save(b"new").unwrap_err().to_string();
        assert!(error.contains("tower-1_9-"), "{error}");
        assert_eq!(file.load().expect("loaded"), Some(b"old".to_vec()));
    }

    #[test]
    fn files_of_other_identities_beside_it_are_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let [own, other] = [1, 2].map(|byte| Pubkey::new_from_array([byte; 32]));
        let file = TowerFile::new(directory.path(), &own);
        file.save(b"own").expect("saved");
        assert_eq!(file.neighbours(), [""; 0]);
        TowerFile::new(directory.path(), &other).save(b"other").expect("saved");
        assert_eq!(file.neighbours(), [other.to_string()]);
    }

    #[test]
    fn a_file_that_is_no_tower_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = TowerFile::new(directory.path(), &Pubkey::new_from_array([1; 32]));
        file.save(&vec![0; 100_000]).expect("saved");
        assert!(file.load().is_err());
    }
}
