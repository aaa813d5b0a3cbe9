//! Safety by search: thousands of clusters in which everything goes wrong, and a judge who watches what they say. What the
//! search shows, and what not, is written in docs/chaos.md.

use sundog_tower::Checks;
use sundog_validator::sim::votes::{self, Liars, Violation, VotesConfig};

/// Seeds within which the judge must notice that a check is missing.
const SOON: u64 = 20;

/// No rule is broken in any of these seeds, whoever lies.
#[track_caller]
fn rules_hold(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let outcome = votes::run(&VotesConfig { seed, ..VotesConfig::default() });
        assert!(outcome.slots >= 200 && outcome.stakes.len() >= 4);
        assert_eq!(outcome.violation, None, "sundog sim --scenario chaos --seed {seed}");
    }
}

/// The kinds of violations that come when honest nodes leave a check out.
fn found_without(checks: Checks) -> Vec<Violation> {
    let config = |seed| VotesConfig { seed, checks, liars: Some(Liars::None), ..VotesConfig::default() };
    (0..SOON).filter_map(|seed| votes::run(&config(seed)).violation).collect()
}

#[test]
fn rules_hold_in_seeds_from_0() {
    rules_hold(0..500);
}

#[test]
fn rules_hold_in_seeds_from_500() {
    rules_hold(500..1_000);
}

#[test]
fn rules_hold_in_seeds_from_1000() {
    rules_hold(1_000..1_500);
}

#[test]
fn rules_hold_in_seeds_from_1500() {
    rules_hold(1_500..2_000);
}

#[test]
fn without_the_switch_check_nodes_leave_forks_without_proof() {
    let found = found_without(Checks { switch: false, ..Checks::default() });
    assert!(found.iter().any(|violation| matches!(violation, Violation::NoSwitchProof { .. })), "{found:?}");
}

#[test]
fn without_the_lockout_check_nodes_break_promises() {
    let found = found_without(Checks { lockout: false, ..Checks::default() });
    assert!(found.iter().any(|violation| matches!(violation, Violation::PromiseBroken { .. })), "{found:?}");
}

#[test]
fn without_the_threshold_check_nodes_bury_votes_alone() {
    let found = found_without(Checks { threshold: false, ..Checks::default() });
    assert!(found.iter().any(|violation| matches!(violation, Violation::Buried { .. })), "{found:?}");
}

/// The rules of the reference allow it: docs/chaos.md has the argument.
#[test]
fn after_a_torn_ledger_a_node_may_leave_its_fork_without_proof_in_seed_4() {
    let outcome = votes::run(&VotesConfig { seed: 4, torn_ledgers: true, ..VotesConfig::default() });
    assert!(matches!(outcome.violation, Some(Violation::NoSwitchProof { .. })), "{:?}", outcome.violation);
}

#[test]
fn a_seed_gives_one_history() {
    let run = |seed| votes::run(&VotesConfig { seed, ..VotesConfig::default() });
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).history, run(6).history);
}
