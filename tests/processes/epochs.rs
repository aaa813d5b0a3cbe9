//! A localnet over the border of an epoch, asked over RPC as wallets and explorers do.

use super::program::{Localnet, run, until};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_signer::Signer as _;
use solana_stake_interface::{
    instruction as stake,
    state::{Authorized, Lockup},
};
use solana_transaction::versioned::VersionedTransaction;
use std::{collections::BTreeMap, path::Path};
use sundog_types::{
    Epoch, Pubkey,
    schedule::LeaderSchedule,
    stakes::{EpochStakes, VoteStake},
};
use sundog_validator::io::files::read_keypair;

const EPOCH: u64 = 128;
const SOL: u64 = 1_000_000_000;
/// What the nodes have, and what one gets: less than the 9 percent of all that may warm up in an epoch.
const STAKES: [u64; 3] = [1_000 * SOL, 600 * SOL, 400 * SOL];
const MOVED: u64 = 150 * SOL;

fn call(localnet: &Localnet, node: usize, (method, params): (&str, Value)) -> Value {
    localnet.call(node, method, &params).unwrap_or_else(|| panic!("node {node} answers {method} {params}"))
}

/// The leaders of the epoch of a slot, as a node tells them; none of an epoch whose stakes are not fixed.
fn schedule(localnet: &Localnet, node: usize, epoch: u64) -> Option<Value> {
    localnet.call(node, "getLeaderSchedule", &json!([epoch * EPOCH])).filter(|schedule| !schedule.is_null())
}

fn address(text: &Value) -> Pubkey {
    text.as_str().and_then(|text| text.parse().ok()).expect("an address")
}

/// What `getVoteAccounts` of a finalized bank says, by vote account.
fn voters(localnet: &Localnet, node: usize) -> BTreeMap<Pubkey, Value> {
    let accounts = call(localnet, node, ("getVoteAccounts", json!([{"commitment": "finalized"}])));
    assert_eq!(accounts["delinquent"], json!([]), "node {node}");
    let current = accounts["current"].as_array().expect("a list").iter();
    current.map(|account| (address(&account["votePubkey"]), account.clone())).collect()
}

/// The leaders that the schedule's function draws for these voters, in the shape of `getLeaderSchedule`.
fn drawn(epoch: u64, voters: &BTreeMap<Pubkey, Value>) -> Value {
    let vote = |(key, account): (&Pubkey, &Value)| {
        let stake = account["activatedStake"].as_u64().expect("a number");
        (*key, VoteStake { node: address(&account["nodePubkey"]), authorized_voter: *key, stake })
    };
    let stakes = EpochStakes { by_vote_account: voters.iter().map(vote).collect() };
    let schedule = LeaderSchedule::new(Epoch::new(epoch), EPOCH, &stakes);
    let mut by_node = BTreeMap::<String, Vec<u64>>::new();
    for (index, leader) in (0..).zip(schedule.iter()) {
        by_node.entry(leader.to_string()).or_default().push(index);
    }
    json!(by_node)
}

/// Delegates to a vote account; the epoch in which that landed for good.
fn delegate(localnet: &Localnet, directory: &Path, to: &Pubkey) -> u64 {
    let faucet = read_keypair(&directory.join("faucet.json")).expect("a key");
    let account = Keypair::new();
    let rent = call(localnet, 0, ("getMinimumBalanceForRentExemption", json!([200]))).as_u64().expect("a number");
    let me = Authorized { staker: faucet.pubkey(), withdrawer: faucet.pubkey() };
    let mut all = stake::create_account(&faucet.pubkey(), &account.pubkey(), &me, &Lockup::default(), MOVED + rent);
    all.push(stake::delegate_stake(&account.pubkey(), &faucet.pubkey(), to));
    let latest = call(localnet, 0, ("getLatestBlockhash", json!([])));
    let blockhash = latest["value"]["blockhash"].as_str().and_then(|hash| hash.parse().ok()).expect("a hash");
    let message = Message::new_with_blockhash(&all, Some(&faucet.pubkey()), &blockhash);
    let signatures = [&faucet, &account].map(|signer| signer.sign_message(&message.serialize())).to_vec();
    let transaction = VersionedTransaction { signatures, message: VersionedMessage::Legacy(message) };
    let bytes = BASE64_STANDARD.encode(bincode::serialize(&transaction).expect("a transaction serialises"));
    let signature = call(localnet, 0, ("sendTransaction", json!([bytes, {"encoding": "base64"}])));
    let status = || call(localnet, 0, ("getSignatureStatuses", json!([[signature]])))["value"][0].clone();
    until("the delegation is final", || status()["confirmationStatus"] == "finalized");
    assert_eq!(status()["err"], Value::Null);
    status()["slot"].as_u64().expect("a number") / EPOCH
}

/// Who made what in the slots around a border, by the blocks there are.
fn production_fits(localnet: &Localnet, (node, border): (usize, u64)) {
    let (first, last) = (border - 8, border + 7);
    let leaders = call(localnet, node, ("getSlotLeaders", json!([first, 16])));
    let range = json!({"firstSlot": first, "lastSlot": last});
    let made = call(localnet, node, ("getBlockProduction", json!([{"commitment": "finalized", "range": range}])));
    let blocks = call(localnet, node, ("getBlocks", json!([first, last])));
    let mut counts = BTreeMap::<String, [u64; 2]>::new();
    for slot in first..=last {
        let leader = leaders[(slot - first) as usize].as_str().expect("an address");
        let index = &schedule(localnet, node, slot / EPOCH).expect("it is known")[leader];
        assert!(index.as_array().is_some_and(|own| own.contains(&json!(slot % EPOCH))), "slot {slot}: {leader}");
        let [turns, there] = counts.entry(leader.to_owned()).or_default();
        *turns += 1;
        *there += u64::from(blocks.as_array().is_some_and(|blocks| blocks.contains(&json!(slot))));
    }
    assert_eq!(made["value"]["byIdentity"], json!(counts), "node {node}: {blocks}");
}

/// Whether an answer to `getVoteAccounts` names all three as voting.
fn all_vote(accounts: &Value) -> bool {
    accounts["current"].as_array().is_some_and(|current| current.len() == 3)
}

/// Node 2 is killed, seen to be gone, and knows and does after its start what it did before.
fn leaves_and_comes_back(localnet: &Localnet, began: u64) {
    localnet.ask(&["kill", "2"]);
    let lost = localnet.cluster()["nodes"][2]["identity"].clone();
    until("the others see that it does not vote", || {
        let accounts = call(localnet, 0, ("getVoteAccounts", json!([{"delinquentSlotDistance": 16}])));
        let gone =
            accounts["delinquent"].as_array().expect("a list").iter().any(|account| account["nodePubkey"] == lost);
        gone && accounts["current"].as_array().is_some_and(|current| current.len() == 2)
    });
    localnet.ask(&["restart", "2"]);
    until("it knows the epochs again that it knew", || {
        (began..began + 3).all(|epoch| {
            let told = schedule(localnet, 2, epoch);
            told.is_some() && told == schedule(localnet, 0, epoch)
        })
    });
    let near = ("getVoteAccounts", json!([{"delinquentSlotDistance": 16}]));
    until("it votes again", || all_vote(&call(localnet, 0, near.clone())));
}

#[test]
fn a_localnet_with_short_epochs_crosses_a_border_and_all_nodes_tell_the_same_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let words = ["localnet", "--slots-per-epoch", "127", "--dir"].map(str::to_owned);
    let refused = run(&[&words[..], &[directory.path().display().to_string()]].concat());
    assert!(!refused.status.success() && refused.stderr.contains("give 128 or more"), "{}", refused.stderr);

    let mut localnet = Localnet::start(directory.path(), &["--fast", "--slots-per-epoch", &EPOCH.to_string()]);
    localnet.wait_until_ready();
    let finalized = ("getVoteAccounts", json!([{"commitment": "finalized"}]));
    until("all have voted for good", || all_vote(&call(&localnet, 0, finalized.clone())));
    let before = voters(&localnet, 0);
    let (gains, account) = before.iter().min_by_key(|(_, account)| account["activatedStake"].as_u64()).expect("three");
    assert_eq!(account["activatedStake"], STAKES[2]);
    let began = delegate(&localnet, directory.path(), gains);
    let at = localnet.slot(0, "finalized");
    let [first, known, unknown] = [began, began + 1, began + 2].map(|epoch| schedule(&localnet, 0, epoch));
    assert_eq!(known, Some(drawn(began + 1, &before)), "it is fixed a whole epoch ahead, by what counted then");
    assert_ne!(first, known);
    assert!(at / EPOCH > began || localnet.slot(0, "finalized") / EPOCH > began || unknown.is_none(), "and no further");

    let border = (began + 1) * EPOCH;
    until("all have rooted blocks of the next epoch", || {
        (0..3).all(|node| localnet.slot(node, "finalized") > border + 12)
    });
    let mut after = before.clone();
    for (key, account) in &mut after {
        let more = if key == gains { MOVED } else { 0 };
        account["activatedStake"] = json!(account["activatedStake"].as_u64().map(|stake| stake + more));
    }
    for node in 0..3 {
        let info = call(&localnet, node, ("getEpochInfo", json!([{"commitment": "finalized"}])));
        let numbers = ["epoch", "slotIndex", "absoluteSlot", "slotsInEpoch"].map(|name| info[name].as_u64());
        let [Some(epoch), Some(index), Some(slot), Some(EPOCH)] = numbers else { panic!("node {node}: {info}") };
        assert!(slot == epoch * EPOCH + index && epoch > began, "node {node}: {info}");
        assert_eq!(schedule(&localnet, node, began + 1), known, "node {node}");
        assert_eq!(
            schedule(&localnet, node, began + 2),
            Some(drawn(began + 2, &after)),
            "node {node}: the stake moved"
        );
        let voters = voters(&localnet, node);
        assert_eq!(voters.len(), 3);
        for (key, account) in &voters {
            assert_eq!(account["activatedStake"], after[key]["activatedStake"], "node {node}");
            assert_eq!(account["epochVoteAccount"], true, "{account}");
            let epochs = account["epochCredits"].as_array().expect("a list").iter();
            let epochs: Vec<[u64; 3]> = epochs.filter_map(|e| serde_json::from_value(e.clone()).ok()).collect();
            assert!(epochs.iter().any(|[epoch, ..]| *epoch == began) && epochs.len() >= 2, "{account}");
            for pair in epochs.windows(2) {
                let ([ended, earned, _], [next, more, before]) = (pair[0], pair[1]);
                assert!(ended + 1 == next && earned == before && more > earned, "{account}");
            }
        }
        let least = call(&localnet, node, ("getStakeMinimumDelegation", json!([{"commitment": "finalized"}])));
        assert!(least["value"].as_u64() > Some(0) && least["context"]["slot"].as_u64() > Some(border), "{least}");
        production_fits(&localnet, (node, border));
    }

    leaves_and_comes_back(&localnet, began);
    localnet.down();
}
