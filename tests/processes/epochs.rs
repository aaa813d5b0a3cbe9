//! A localnet over the border of an epoch, asked over RPC as wallets and explorers do.

use super::program::{Localnet, run, until};
use serde_json::{Value, json};

#[test]
fn a_localnet_with_short_epochs_crosses_a_border_and_all_nodes_tell_the_same_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let words = ["localnet", "--slots-per-epoch", "127", "--dir"].map(str::to_owned);
    let refused = run(&[&words[..], &[directory.path().display().to_string()]].concat());
    assert!(!refused.status.success() && refused.stderr.contains("give 128 or more"), "{}", refused.stderr);

    let mut localnet = Localnet::start(directory.path(), &["--fast", "--slots-per-epoch", "128"]);
    localnet.wait_until_ready();
    let schedule = |localnet: &Localnet, node: usize, slot: u64| {
        localnet.call(node, "getLeaderSchedule", &json!([slot])).filter(|schedule| !schedule.is_null())
    };
    let ahead = schedule(&localnet, 0, 128);
    if localnet.slot(0, "finalized") < 100 {
        assert!(ahead.is_some() && schedule(&localnet, 0, 0) != ahead, "it is fixed a whole epoch ahead");
        assert_eq!(schedule(&localnet, 0, 256), None, "and no further");
    }
    until("all have rooted blocks of the second epoch", || (0..3).all(|node| localnet.slot(node, "finalized") > 140));
    let finalized = json!([{"commitment": "finalized"}]);
    let call = |localnet: &Localnet, node: usize, method: &str| {
        localnet.call(node, method, &finalized).unwrap_or_else(|| panic!("node {node} answers {method}"))
    };
    for node in 0..3 {
        let info = call(&localnet, node, "getEpochInfo");
        let numbers = ["epoch", "slotIndex", "absoluteSlot", "slotsInEpoch"].map(|name| info[name].as_u64());
        let [Some(1), Some(index), Some(slot), Some(128)] = numbers else { panic!("node {node}: {info}") };
        assert_eq!(slot, 128 + index);
        assert_eq!(schedule(&localnet, node, 128), ahead, "node {node}");
        assert_eq!(schedule(&localnet, node, 256), schedule(&localnet, 0, 256), "node {node}");
        assert!(schedule(&localnet, node, 256).is_some_and(|next| Some(next) != ahead), "node {node}: the next one");
        let accounts = call(&localnet, node, "getVoteAccounts");
        let current = accounts["current"].as_array().expect("a list");
        assert_eq!((current.len(), &accounts["delinquent"]), (3, &json!([])), "node {node}: {accounts}");
        for account in current {
            assert_eq!(account["epochVoteAccount"], true, "{account}");
            let epochs: Vec<&Value> =
                account["epochCredits"].as_array().expect("a list").iter().map(|entry| &entry[0]).collect();
            assert_eq!(epochs, [&json!(0), &json!(1)], "{account}");
        }
        let least = call(&localnet, node, "getStakeMinimumDelegation");
        assert!(least["value"].as_u64() > Some(0) && least["context"]["slot"].as_u64() > Some(128), "{least}");
    }

    localnet.ask(&["kill", "2"]);
    localnet.ask(&["restart", "2"]);
    until("it knows its epoch and the next again", || {
        schedule(&localnet, 2, 128) == ahead && schedule(&localnet, 2, 256) == schedule(&localnet, 0, 256)
    });
    localnet.down();
}
