//! Small files: keypairs in Solana's JSON format, genesis, facts for other programs.

use serde::Serialize;
use solana_keypair::Keypair;
use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};
use sundog_runtime::genesis::GenesisConfig;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refuses.
    #[error("{path} cannot be used; check that it exists and that this user may read and write it")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is there, and must not be overwritten.
    #[error("{0} exists already; remove it first, or give another name")]
    Exists(PathBuf),
    /// It is no keypair.
    #[error(
        "{0} is no keypair in Solana's JSON format (64 numbers, the last 32 the public key); make one with `sundog keygen`"
    )]
    Keypair(PathBuf),
    /// It is no genesis.
    #[error("{path} is no genesis: {message}; make one with `sundog genesis`")]
    Genesis {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FileError + '_ {
    move |source| FileError::Io { path: path.into(), source }
}

/// Reads a keypair.
///
/// # Errors
/// If the file cannot be read, or its public key does not belong to its secret.
pub fn read_keypair(path: &Path) -> Result<Keypair, FileError> {
    let text = fs::read_to_string(path).map_err(io_error(path))?;
    let bytes: Vec<u8> = serde_json::from_str(&text).map_err(|_| FileError::Keypair(path.into()))?;
    Keypair::try_from(&bytes[..]).map_err(|_| FileError::Keypair(path.into()))
}

/// Writes a keypair that only its owner may read.
///
/// # Errors
/// If the file exists and `overwrite` is not set, or cannot be written.
pub fn write_keypair(path: &Path, keypair: &Keypair, overwrite: bool) -> Result<(), FileError> {
    let text = serde_json::to_string(&keypair.to_bytes().to_vec()).expect("numbers serialise");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).create_new(!overwrite);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists(path.into()),
        _ => FileError::Io { path: path.into(), source },
    })?;
    file.write_all(text.as_bytes()).map_err(io_error(path))
}

/// Reads a genesis.
///
/// # Errors
/// If the file cannot be read or is no genesis.
pub fn read_genesis(path: &Path) -> Result<GenesisConfig, FileError> {
    let bytes = fs::read(path).map_err(io_error(path))?;
    GenesisConfig::decode(&bytes).map_err(|e| FileError::Genesis { path: path.into(), message: e.to_string() })
}

/// Writes a file so that it is whole when it appears.
///
/// # Errors
/// If it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let new = path.with_extension("new");
    fs::write(&new, bytes).map_err(io_error(&new))?;
    fs::rename(&new, path).map_err(io_error(path))
}

/// Writes facts as JSON so that they are whole when the file appears.
///
/// # Errors
/// If it cannot be written.
pub fn write_json(path: &Path, facts: &impl Serialize) -> Result<(), FileError> {
    let mut text = serde_json::to_vec_pretty(facts).expect("facts serialise");
    text.push(b'\n');
    write_whole(path, &text)
}

/// Makes a directory and those above it.
///
/// # Errors
/// If the system refuses.
pub fn make_directory(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(io_error(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use solana_signer::Signer as _;

    #[test]
    fn a_keypair_is_read_as_it_was_written_and_not_overwritten() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("id.json");
        let keypair = Keypair::new_from_array([5; 32]);
        write_keypair(&path, &keypair, false).expect("written");
        assert_eq!(read_keypair(&path).expect("read").pubkey(), keypair.pubkey());
        assert!(matches!(write_keypair(&path, &keypair, false), Err(FileError::Exists(_))));
    }

    #[test]
    fn a_keypair_whose_halves_do_not_fit_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("id.json");
        let mut bytes = Keypair::new_from_array([5; 32]).to_bytes().to_vec();
        bytes[40] ^= 1;
        fs::write(&path, serde_json::to_string(&bytes).unwrap()).expect("written");
        assert!(matches!(read_keypair(&path), Err(FileError::Keypair(_))));
        fs::write(&path, "[1, 2, 3]").expect("written");
        assert!(matches!(read_keypair(&path), Err(FileError::Keypair(_))));
    }
}
