//! The rules. Each is a function from what is there to what is wrong with it, one sentence per violation.

use super::source;
use super::tree::{ARROWS, File, Kind, Manifest};
use std::collections::BTreeSet;

/// Lines of a file, tests not counted.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 70;
/// Parameters of a function, `self` counted.
const PARAMETERS_MAX: usize = 5;

/// What protocol code must not name, and what to use instead.
const IMPURE: &[(&str, &str)] = &[
    ("tokio", "leave an effect; validator/src/io/ does what is asynchronous"),
    ("quinn", "leave a Send effect; validator/src/io/ owns connections"),
    ("UdpSocket", "leave a Send effect; validator/src/io/ owns sockets"),
    ("TcpStream", "leave a Send effect; validator/src/io/ owns sockets"),
    ("TcpListener", "take an input; validator/src/io/ owns sockets"),
    ("Instant::now", "use the `now: Now` that the machine is given"),
    ("SystemTime::now", "use `Now::unix` of the `now` that the machine is given"),
    ("thread::", "leave a work effect; validator/src/io/ has the pool, the simulator does it inline"),
    ("fs::", "leave a write effect or read through a storage trait; validator/src/io/ owns files"),
    ("thread_rng", "use the machine's ChaCha8Rng, seeded at construction"),
    ("OsRng", "use the machine's ChaCha8Rng, seeded at construction"),
    ("from_entropy", "use the machine's ChaCha8Rng, seeded at construction"),
    ("rand::random", "use the machine's ChaCha8Rng, seeded at construction"),
    ("HashMap", "use BTreeMap, or IndexMap where order of insertion serves"),
    ("HashSet", "use BTreeSet, or IndexSet where order of insertion serves"),
];

/// Packages that a protocol crate must not build with.
const SHELL_PACKAGES: &[&str] = &[
    "tokio",
    "quinn",
    "rustls",
    "rcgen",
    "axum",
    "fjall",
    "socket2",
    "ureq",
    "dashmap",
    "crossbeam-channel",
    "arc-swap",
    "clap",
    "tracing-subscriber",
    "prometheus-client",
    "futures-util",
    "indicatif",
    "tempfile",
];

/// Crates whose pure batch functions may fan out over rayon's pool.
const PARALLEL: &[&str] = &["poh", "runtime", "validator"];

/// Channels without a capacity; forbidden in the shell too.
const UNBOUNDED: &[&str] = &["unbounded", "unbounded_channel", "mpsc::channel()"];

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "service", "handler"];

/// Crates depend on the siblings that [`ARROWS`] names and on no others; protocol crates build with nothing of the shell.
pub fn arrows(manifests: &[Manifest]) -> Vec<String> {
    let mut wrong = Vec::new();
    for manifest in manifests {
        let folder = manifest.folder.as_str();
        let allowed = ARROWS.iter().find(|(name, _)| *name == folder).map_or(&[][..], |(_, to)| to);
        for name in manifest.dependencies.union(&manifest.dev_dependencies) {
            if let Some(sibling) = name.strip_prefix("sundog-")
                && !allowed.contains(&sibling)
            {
                wrong.push(format!(
                    "{folder}/Cargo.toml: depends on {name}; what both need is vocabulary and lives in types"
                ));
            }
        }
        let shell =
            |name: &&String| SHELL_PACKAGES.contains(&name.as_str()) && !matches!(folder, "validator" | "tests");
        for name in manifest.dependencies.iter().filter(shell) {
            wrong.push(format!("{folder}/Cargo.toml: builds with {name}; only validator/src/io/ may"));
        }
        if manifest.dependencies.contains("rayon") && !PARALLEL.contains(&folder) {
            wrong.push(format!("{folder}/Cargo.toml: builds with rayon; leave a work effect instead"));
        }
    }
    wrong
}

/// Protocol code names no socket, clock, thread, file, hash map or global randomness.
pub fn purity(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.kind == Kind::Pure) {
        let Some(code) = file.production() else {
            continue;
        };
        for (name, instead) in IMPURE {
            wrong
                .extend(named(file, &code, name).map(|place| format!("{place}: `{name}` in protocol code; {instead}")));
        }
        let parallel = file.path.starts_with("poh/") || file.path.starts_with("runtime/");
        if !parallel {
            let places = named(file, &code, "rayon");
            wrong.extend(
                places.map(|place| format!("{place}: `rayon` outside of poh and runtime; leave a work effect")),
            );
        }
    }
    wrong
}

/// No channel without a capacity.
pub fn channels(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let Some(code) = file.production() else {
            continue;
        };
        for name in UNBOUNDED {
            let places = named(file, &code, name);
            wrong.extend(places.map(|place| format!("{place}: `{name}`; use a bounded channel with a named capacity")));
        }
    }
    wrong
}

/// Files, functions and parameter lists stay small.
pub fn budgets(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let Some(code) = file.production() else {
            continue;
        };
        let path = &file.path;
        let lines = source::lines_counted(&file.code);
        if lines > FILE_LINES_MAX {
            wrong.push(format!(
                "{path}: {lines} lines without tests, {FILE_LINES_MAX} are allowed; split it by decision"
            ));
        }
        for function in source::functions(&code) {
            let (name, line) = (&function.name, function.line);
            if function.lines > FUNCTION_LINES_MAX {
                let lines = function.lines;
                wrong.push(format!(
                    "{path}:{line}: `{name}` has {lines} lines, {FUNCTION_LINES_MAX} are allowed; name its parts"
                ));
            }
            if function.parameters > PARAMETERS_MAX && !function.dictated {
                let count = function.parameters;
                wrong.push(format!(
                    "{path}:{line}: `{name}` takes {count} parameters, {PARAMETERS_MAX} are allowed; make a struct"
                ));
            }
        }
    }
    wrong
}

/// A crate says what it is in one sentence, the same in its manifest, its documentation and the code map.
pub fn sentences(manifests: &[Manifest], lib: impl Fn(&str) -> String, readme: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for Manifest { folder, description, .. } in manifests {
        let text = lib(folder);
        let path = format!("{folder}/src/lib.rs");
        if description.is_empty() || text.lines().next() != Some(&format!("//! {description}")) {
            wrong.push(format!("{path}: the first line is not the `description` in {folder}/Cargo.toml"));
        }
        for section in ["# Design", "# Invariants", "# What this crate does not know"] {
            if !text.lines().any(|line| line == format!("//! {section}")) {
                wrong.push(format!("{path}: has no section `{section}`"));
            }
        }
        if !readme.lines().any(|line| line.contains(&format!("`{folder}/`")) && line.contains(description.as_str())) {
            wrong.push(format!("README.md: the code map has no line with `{folder}/` and its sentence"));
        }
    }
    wrong
}

/// Nothing is left for later in code, no test is switched off, no lint is silenced.
pub fn loose_ends(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        for name in [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")] {
            let places = named(file, &file.text, name);
            wrong.extend(places.map(|place| {
                format!("{place}: `{name}`; do it, or file it and say in the status table what is missing")
            }));
        }
        for name in ["todo!", "unimplemented!"] {
            let places = named(file, &file.code, name);
            wrong.extend(places.map(|place| format!("{place}: `{name}`; return an error that says what to do")));
        }
        let attributes = [
            ("#[ignore", "a test runs, or is not there"),
            ("#[allow(", "mend what the lint found"),
            ("#![allow(", "mend what the lint found"),
            ("#[expect(", "mend what the lint found"),
            ("#![expect(", "mend what the lint found"),
        ];
        for (name, instead) in attributes {
            // A kernel says at its top that it is one; the lint keeps `unsafe` out of everything else.
            let kernel = file.path.contains("/src/kernel/") && name == "#![allow(";
            let found =
                named(file, &file.code, name).filter(|_| !kernel || !file.code.contains("#![allow(unsafe_code)]"));
            wrong.extend(found.map(|place| format!("{place}: `{name}`; {instead}")));
        }
    }
    wrong
}

/// No file, folder or module has a name that says nothing.
pub fn names(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let empty = |part: &&str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
        if let Some(part) = file.path.split('/').find(empty) {
            wrong.push(format!("{}: `{part}` says nothing; name it after what it holds", file.path));
        }
        for name in EMPTY_NAMES {
            let needle = format!("mod {name}");
            let places: Vec<String> = named(file, &file.code, &needle).collect();
            wrong.extend(
                places.iter().map(|place| format!("{place}: `{needle}` says nothing; name it after what it holds")),
            );
        }
    }
    wrong
}

/// Every direct dependency has its row in the table, and every row its dependency.
pub fn dependencies(manifests: &[Manifest], table: &str) -> Vec<String> {
    let all = manifests.iter().flat_map(|manifest| manifest.dependencies.union(&manifest.dev_dependencies));
    let used: BTreeSet<&str> = all.map(String::as_str).filter(|name| !name.starts_with("sundog-")).collect();
    let row = |line: &'_ str| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name.to_owned());
    let told: BTreeSet<String> = table.lines().filter_map(row).collect();
    let missing = used.iter().filter(|name| !told.contains(**name));
    let stale = told.iter().filter(|name| !used.contains(name.as_str()));
    missing
        .map(|name| format!("docs/dependencies.md: no row for `{name}`; say why it is here and its licence"))
        .chain(stale.map(|name| format!("docs/dependencies.md: a row for `{name}`, which nothing uses; remove it")))
        .collect()
}

/// Where `name` stands in `text`, as `path:line`.
fn named<'a>(file: &'a File, text: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    source::find_words(text, name).map(move |at| format!("{}:{}", file.path, source::line_of(text, at)))
}
