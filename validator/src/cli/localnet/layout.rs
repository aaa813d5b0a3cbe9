//! Where a localnet keeps what.

use std::path::{Path, PathBuf};

/// The files of a localnet's directory.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout below a directory.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What programs read: complete when it appears.
    #[must_use]
    pub fn cluster(&self) -> PathBuf {
        self.dir.join("cluster.json")
    }

    /// How the other verbs reach the process that runs the cluster.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.dir.join("control.json")
    }

    /// The settings that the genesis was made from.
    #[must_use]
    pub fn plan(&self) -> PathBuf {
        self.dir.join("plan.json")
    }

    /// The genesis.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.dir.join("genesis.bin")
    }

    /// The faucet's keypair.
    #[must_use]
    pub fn faucet(&self) -> PathBuf {
        self.dir.join("faucet.json")
    }

    /// A node's directory, relative to the localnet's.
    #[must_use]
    pub fn node_name(node: usize) -> String {
        format!("node-{node}")
    }

    /// A node's directory.
    #[must_use]
    pub fn node(&self, node: usize) -> PathBuf {
        self.dir.join(Self::node_name(node))
    }

    /// A file of a node.
    #[must_use]
    pub fn of_node(&self, node: usize, file: &str) -> PathBuf {
        self.node(node).join(file)
    }
}
