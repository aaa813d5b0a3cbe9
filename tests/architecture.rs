//! The shape of this repository, held by a test: arrows between crates, names that protocol code must not
//! know, budgets, and what every crate must say about itself.
//!
//! Each rule is tested twice: it finds nothing in the repository, and it finds a violation planted for it.

#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/tree.rs"]
mod tree;

use tree::{File, Manifest};

#[track_caller]
fn holds(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} violations:\n  {}", wrong.len(), wrong.join("\n  "));
}

/// The rule finds as many violations as there are expectations, and names what is expected.
#[track_caller]
fn finds(wrong: &[String], expected: &[&str]) {
    let all =
        wrong.len() == expected.len() && wrong.iter().zip(expected).all(|(wrong, expected)| wrong.contains(expected));
    assert!(all, "expected {expected:#?}, found {wrong:#?}");
}

fn planted(path: &str, text: &str) -> [File; 1] {
    [File::new(path, text)]
}

#[test]
fn crates_depend_on_types_and_on_no_sibling() {
    holds(&rules::arrows(&tree::manifests()));
}

#[test]
fn protocol_code_knows_no_world() {
    holds(&rules::purity(&tree::files()));
}

#[test]
fn every_channel_has_a_capacity() {
    holds(&rules::channels(&tree::files()));
}

#[test]
fn files_and_functions_stay_small() {
    holds(&rules::budgets(&tree::files()));
}

#[test]
fn every_crate_says_what_it_is_in_one_sentence() {
    let lib = |folder: &str| tree::read(&format!("{folder}/src/lib.rs"));
    holds(&rules::sentences(&tree::manifests(), lib, &tree::read("README.md")));
}

#[test]
fn nothing_is_left_open_switched_off_or_silenced() {
    holds(&rules::loose_ends(&tree::files()));
}

#[test]
fn names_say_what_they_name() {
    holds(&rules::names(&tree::files()));
}

#[test]
fn every_dependency_has_its_reason() {
    holds(&rules::dependencies(&tree::manifests(), &tree::read("docs/dependencies.md")));
}

#[test]
fn the_whole_repository_is_looked_at() {
    let files = tree::files();
    for (folder, _) in tree::ARROWS {
        assert!(files.iter().any(|file| file.path == format!("{folder}/src/lib.rs")), "{folder} is not looked at");
    }
    let members = tree::read("Cargo.toml");
    let members = members.split_once("members = [").and_then(|(_, rest)| rest.split_once(']')).expect("members").0;
    let named = members.split(',').filter(|name| !name.trim().is_empty()).count();
    assert_eq!(named, tree::ARROWS.len(), "a member of the workspace has no arrows; add it to ARROWS");
}

#[test]
fn a_stray_arrow_is_found() {
    let manifest = "[package]\ndescription = 'x'\n[dependencies]\nsundog-gossip = '1'\ntokio = '1'\nsundog-types = '1'\nrayon = '1'";
    finds(&rules::arrows(&[Manifest::new("tower", manifest)]), &["sundog-gossip", "tokio", "rayon"]);
    let dev = "[package]\n[dev-dependencies]\nsundog-validator = '1'";
    finds(&rules::arrows(&[Manifest::new("rpc", dev)]), &["sundog-validator"]);
    let fine = "[package]\n[dependencies]\nsundog-ledger = '1'\nsundog-runtime = '1'";
    finds(&rules::arrows(&[Manifest::new("rpc", fine)]), &[]);
}

#[test]
fn impure_names_are_found_where_they_are_code() {
    let text = "//! A HashMap in prose.\nuse std::collections::HashMap;\nfn f() { std::fs::read(\"tokio\"); Instant::now(); }\n";
    let expected = ["tower/src/a.rs:3: `Instant::now`", "tower/src/a.rs:3: `fs::`", "tower/src/a.rs:2: `HashMap`"];
    finds(&rules::purity(&planted("tower/src/a.rs", text)), &expected);
    finds(&rules::purity(&planted("validator/src/sim/a.rs", text)), &["Instant::now", "fs::", "HashMap"]);
    finds(&rules::purity(&planted("validator/src/io/a.rs", text)), &[]);
    finds(&rules::purity(&planted("tower/tests/a.rs", text)), &[]);
    finds(&rules::purity(&planted("gossip/src/a.rs", "use rayon::prelude::*;")), &["rayon"]);
    finds(&rules::purity(&planted("poh/src/a.rs", "use rayon::prelude::*;")), &[]);
}

#[test]
fn an_unbounded_channel_is_found_in_the_shell_too() {
    finds(
        &rules::channels(&planted("validator/src/io/a.rs", "let (a, b) = mpsc::unbounded_channel();")),
        &["unbounded_channel"],
    );
    finds(&rules::channels(&planted("validator/src/io/a.rs", "let (a, b) = mpsc::channel();")), &["mpsc::channel()"]);
    finds(&rules::channels(&planted("validator/src/io/a.rs", "let (a, b) = mpsc::channel(CAPACITY);")), &[]);
}

#[test]
fn a_broken_budget_is_found() {
    let long = format!("fn long() {{\n{}}}\n", "    step();\n".repeat(69));
    finds(&rules::budgets(&planted("tower/src/a.rs", &long)), &["`long` has 71 lines"]);
    let wide = "fn wide(&self, a: u8, b: u8, c: u8, d: u8, e: (u8, u8)) {}\n";
    finds(&rules::budgets(&planted("tower/src/a.rs", wide)), &["`wide` takes 6 parameters"]);
    let dictated = format!("impl T for S {{\n{wide}}}\n");
    finds(&rules::budgets(&planted("tower/src/a.rs", &dictated)), &[]);
    let big = "const A: u8 = 1;\n".repeat(501);
    finds(&rules::budgets(&planted("tower/src/a.rs", &big)), &["501 lines without tests"]);
    let tested = format!("{}#[cfg(test)]\nmod tests {{\n{long}{wide}}}\n", "const A: u8 = 1;\n".repeat(499));
    finds(&rules::budgets(&planted("tower/src/a.rs", &tested)), &[]);
    finds(&rules::budgets(&planted("tower/tests/a.rs", &long)), &[]);
}

#[test]
fn a_missing_sentence_or_section_is_found() {
    let manifest = || [Manifest::new("tower", "[package]\ndescription = 'Decide.'")];
    let whole = "//! Decide.\n//!\n//! # Design\n//! # Invariants\n//! # What this crate does not know\n";
    finds(&rules::sentences(&manifest(), |_| whole.into(), "| `tower/` | Decide. |"), &[]);
    finds(&rules::sentences(&manifest(), |_| whole.into(), "| `tower/` | Guess. |"), &["README.md"]);
    let bare = "//! Decide!\n//! # Design\n//! # Invariants\n";
    let expected = ["the first line", "# What this crate does not know"];
    finds(&rules::sentences(&manifest(), |_| bare.into(), "| `tower/` | Decide. |"), &expected);
}

#[test]
fn loose_ends_are_found() {
    let text = concat!("// FIX", "ME: later\n#[ignore]\n#[allow(dead_code)]\nfn f() { todo!() }\n");
    let expected = [concat!("a.rs:1: `FIX", "ME`"), "a.rs:4: `todo!`", "a.rs:2: `#[ignore`", "a.rs:3: `#[allow(`"];
    finds(&rules::loose_ends(&planted("tower/src/a.rs", text)), &expected);
    finds(&rules::loose_ends(&planted("tower/src/a.rs", "/// Says \"todo!\" in `#[ignore]` prose.\nfn f() {}\n")), &[]);
}

#[test]
fn empty_names_are_found() {
    finds(&rules::names(&planted("tower/src/utils.rs", "")), &["utils.rs"]);
    finds(&rules::names(&planted("tower/src/lib.rs", "mod helpers;\nmod handlers_of_votes;\n")), &["mod helpers"]);
}

#[test]
fn an_unexplained_or_stale_dependency_is_found() {
    let manifest = [Manifest::new("tower", "[package]\n[dependencies]\nserde = '1'\nsundog-types = '1'\nsha2 = '1'")];
    let table = "| package | why |\n|---|---|\n| `serde` | derive |\n| `left-pad` | padding |\n";
    finds(&rules::dependencies(&manifest, table), &["no row for `sha2`", "`left-pad`, which nothing uses"]);
}
