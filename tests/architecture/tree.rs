//! The repository as the rules see it: crates with their manifests, and source files.

use super::source;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Crates in the order data flows, and which of their siblings each may use.
pub const ARROWS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("poh", &["types"]),
    ("gossip", &["types"]),
    ("turbine", &["types"]),
    ("ledger", &["types"]),
    ("runtime", &["types"]),
    ("tower", &["types"]),
    ("gulfstream", &["types"]),
    ("rpc", &["types", "ledger", "runtime"]),
    ("validator", &["types", "poh", "gossip", "turbine", "ledger", "runtime", "tower", "gulfstream", "rpc"]),
    ("tests", &["types", "poh", "gossip", "turbine", "ledger", "runtime", "tower", "gulfstream", "rpc", "validator"]),
];

/// Where in a crate a source file belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Protocol code: no sockets, clocks, threads, files or global randomness.
    Pure,
    /// The shell and the command line.
    Shell,
    /// Tests only.
    Test,
}

/// A Rust source file.
pub struct File {
    /// Relative to the repository.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Without comments and strings.
    pub code: String,
    /// What it is.
    pub kind: Kind,
}

impl File {
    /// Reads the text as the file at `path`.
    pub fn new(path: &str, text: &str) -> Self {
        let code = source::code(text);
        Self { path: path.to_owned(), text: text.to_owned(), code, kind: kind(path) }
    }

    /// The file's code without tests, if it is not a test as a whole.
    pub fn production(&self) -> Option<String> {
        (self.kind != Kind::Test).then(|| source::without_tests(&self.code))
    }
}

/// A crate's manifest.
pub struct Manifest {
    /// The crate's folder.
    pub folder: String,
    /// Its `description`.
    pub description: String,
    /// What it builds with: normal and build dependencies.
    pub dependencies: BTreeSet<String>,
    /// What only its tests use.
    pub dev_dependencies: BTreeSet<String>,
}

impl Manifest {
    /// Parses a `Cargo.toml`.
    pub fn new(folder: &str, text: &str) -> Self {
        let table: toml::Table = text.parse().expect("a manifest that cargo reads");
        let names =
            |key: &str| table.get(key).and_then(toml::Value::as_table).into_iter().flat_map(|names| names.keys());
        let description = table["package"].get("description").and_then(toml::Value::as_str).unwrap_or_default();
        Self {
            folder: folder.to_owned(),
            description: description.to_owned(),
            dependencies: names("dependencies").chain(names("build-dependencies")).cloned().collect(),
            dev_dependencies: names("dev-dependencies").cloned().collect(),
        }
    }
}

/// A text file of the repository; empty if it is missing.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// The manifests of all crates.
pub fn manifests() -> Vec<Manifest> {
    ARROWS.iter().map(|(folder, _)| Manifest::new(folder, &read(&format!("{folder}/Cargo.toml")))).collect()
}

/// Every Rust source file.
pub fn files() -> Vec<File> {
    let mut paths = Vec::new();
    ARROWS.iter().for_each(|(folder, _)| walk(&root().join(folder), &mut paths));
    paths.sort();
    let load = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let relative = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
        File::new(&relative, &text)
    };
    let mut files: Vec<File> = paths.iter().map(load).collect();
    mark_test_modules(&mut files);
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn kind(path: &str) -> Kind {
    let mut parts = path.splitn(4, '/');
    let (krate, place, part) = (parts.next(), parts.next(), parts.next());
    match (krate, place, part) {
        (Some("tests"), ..) => Kind::Test,
        (_, Some("src"), _) if krate != Some("validator") => Kind::Pure,
        (_, Some("src"), Some("node" | "node.rs" | "sim" | "sim.rs")) => Kind::Pure,
        (_, Some("src"), _) => Kind::Shell,
        _ => Kind::Test,
    }
}

/// Marks the files of modules that are declared under `#[cfg(test)]`.
fn mark_test_modules(files: &mut [File]) {
    let mut tests = BTreeSet::new();
    for file in files.iter() {
        let stem = file.path.trim_end_matches(".rs");
        let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let beside = if matches!(name, "mod" | "lib" | "main") { folder } else { stem };
        for module in source::test_modules(&file.code) {
            tests.insert(format!("{beside}/{module}.rs"));
            tests.insert(format!("{beside}/{module}/mod.rs"));
        }
    }
    for file in files.iter_mut().filter(|file| tests.contains(&file.path)) {
        file.kind = Kind::Test;
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !matches!(&*name, "target" | "node_modules" | "vectors" | ".venv") {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
