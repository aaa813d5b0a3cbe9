//! Safety by search: thousands of clusters in which everything goes wrong, and a judge who watches what they say. What the
//! search shows, and what not, is written in docs/chaos.md.

use sundog_tower::Checks;
use sundog_validator::sim::votes::{self, Liars, Violation, VotesConfig, VotesOutcome, checker::Standstill};

/// Seeds within which the judge must notice that a check is missing.
const SOON: u64 = 20;

fn outcome(seed: u64) -> VotesOutcome {
    votes::run(&VotesConfig { seed, ..VotesConfig::default() })
}

/// No rule is broken in any of these seeds, whoever lies.
#[track_caller]
fn rules_hold(seeds: std::ops::Range<u64>) {
    let count = seeds.end - seeds.start;
    let (mut none, mut few, mut many) = (0, 0, 0);
    for seed in seeds {
        let outcome = outcome(seed);
        assert!(outcome.slots >= 200 && outcome.stakes.len() >= 4);
        assert_eq!(outcome.violation, None, "sundog sim --scenario chaos --seed {seed}");
        let total: u64 = outcome.stakes.iter().sum();
        match outcome.lying {
            0 => none += 1,
            lying if lying * 25 <= total => few += 1,
            lying => {
                assert!(lying * 3 < total);
                many += 1;
            }
        }
    }
    assert!(
        [none, few, many].iter().all(|some| some * 4 > count),
        "{none} without liars, {few} with few, {many} with many"
    );
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

/// It hung while nobody sent a block again that too few had, and who came back was not told who has its blocks.
#[test]
fn seed_1627_goes_on_because_blocks_are_sent_again() {
    let outcome = outcome(1_627);
    assert_eq!((outcome.violation, outcome.late), (None, false));
}

/// They hung while a node with the version of a block that lost never learned what the others had built on the other one.
#[test]
fn seeds_15_and_83_go_on_because_versions_are_traced_back() {
    for seed in [15, 83] {
        let outcome = outcome(seed);
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert!(outcome.recovered_in.is_some_and(|slots| slots < 80), "seed {seed}: {outcome:?}");
    }
}

/// They were told stuck; in 616 a duplicate was confirmed by nobody because its votes had run out, in 172, 316 and 436 a liar
/// who was silent already was counted.
#[test]
fn seeds_that_were_stuck_once_are_not() {
    for seed in [13, 40, 172, 316, 436, 446, 616] {
        assert_eq!(outcome(seed).violation, None, "seed {seed}");
    }
}

/// Nobody lies, and it takes 124 slots where 82 were left of the longest lockout and 64: docs/chaos.md has the argument.
#[test]
fn a_promise_that_was_made_deeper_just_after_the_heal_is_waited_out_in_seed_1075() {
    let outcome = outcome(1_075);
    assert_eq!((outcome.lying, outcome.duplicates, outcome.violation), (0, 0, None));
    assert!(outcome.late && outcome.standstill.is_none());
}

/// Seeds in which duplicates that 80 % had voted above stayed out of the fork choice.
#[test]
fn seeds_1_4_5_and_6_confirm_duplicates_by_the_votes_above_them() {
    for seed in [1, 4, 5, 6] {
        assert_eq!(outcome(seed).violation, None, "seed {seed}");
    }
}

/// The rules of the reference allow it: docs/chaos.md has the argument.
#[test]
fn after_half_voted_for_each_version_of_a_block_nobody_may_go_on_in_seed_212() {
    let outcome = outcome(212);
    assert_eq!((outcome.lying, outcome.violation), (0, None), "only a block lied");
    assert_eq!((outcome.late, outcome.standstill), (true, Some(Standstill::Versions)));
}

/// They were told stuck. The rules of the reference allow it: docs/chaos.md has the argument.
#[test]
fn what_is_bound_to_versions_without_52_percent_frees_nobody_in_seeds_108_and_567_of_five_nodes() {
    for seed in [108, 567] {
        let outcome = votes::run(&VotesConfig { seed, nodes: Some(5), ..VotesConfig::default() });
        assert!(outcome.standstill.is_some() && outcome.recovered_in.is_some(), "seed {seed}: {outcome:?}");
        assert_eq!((outcome.violation, outcome.late), (None, true), "seed {seed}");
    }
}

/// It was told stuck, too. A twin with a fifth of the stake falls silent, versions hold the others up, and they get out of it
/// three slots late.
#[test]
fn what_versions_held_up_goes_on_in_seed_976_of_five_nodes() {
    let outcome = votes::run(&VotesConfig { seed: 976, nodes: Some(5), ..VotesConfig::default() });
    assert_eq!((outcome.violation, outcome.recovered_in, outcome.allowed), (None, Some(68), Some(65)));
    assert_eq!(outcome.standstill, Some(Standstill::Versions));
}

#[test]
fn a_seed_gives_one_history() {
    assert_eq!(outcome(5), outcome(5));
    assert_ne!(outcome(5).history, outcome(6).history);
}
