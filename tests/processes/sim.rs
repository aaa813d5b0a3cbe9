//! What the search for broken rules ends with: exit codes and lines that a script, or a person, goes on from.

use super::program::{Ended, run};

fn chaos(arguments: &str) -> Ended {
    let line = ["sim", "--scenario", "chaos"].into_iter().chain(arguments.split(' ')).map(str::to_owned);
    run(&line.collect::<Vec<_>>())
}

#[test]
fn a_search_for_broken_rules_ends_with_0_if_none_is_and_with_1_and_the_seed_if_one_is() {
    let held = chaos("--nodes 5 --seeds 0..3");
    assert_eq!(held.status.code(), Some(0), "{}", held.stderr);
    assert!(held.stdout.starts_with("3 seeds  ") && !held.stderr.contains("error: "), "{}{}", held.stdout, held.stderr);

    // Nodes that leave a check out break a rule.
    let broken = chaos("--nodes 5 --seeds 0..100 --without lockout");
    assert_eq!(broken.status.code(), Some(1), "{}", broken.stdout);
    let told = broken.stderr.lines().last().and_then(|line| line.strip_prefix("error: seed "));
    let (seed, violation) = told.and_then(|told| told.split_once(": ")).expect("the last line names the seed");
    assert!(seed.parse::<u64>().is_ok_and(|seed| seed < 100) && !violation.is_empty(), "{}", broken.stderr);

    // The seed alone plays it again, in JSON too; with the check nothing breaks.
    let again = chaos(&format!("--nodes 5 --seed {seed} --without lockout --json"));
    assert_eq!(again.status.code(), Some(1), "{}", again.stdout);
    assert!(again.stderr.ends_with(&format!("error: seed {seed}: {violation}\n")), "{}", again.stderr);
    let json: serde_json::Value = serde_json::from_str(&again.stdout).expect("it prints JSON");
    assert_eq!(json["seed"].to_string(), seed, "{json}");
    assert_eq!(chaos(&format!("--nodes 5 --seed {seed}")).status.code(), Some(0));

    for wrong in ["--seeds 9..3", "--without luck", "--whole --without lockout"] {
        let refused = chaos(wrong);
        assert_eq!(refused.status.code(), Some(2), "{wrong}: {}", refused.stdout);
    }
}
