//! Transactions through Gulf Stream: they land once, where they were predicted to, and no lamport is lost.

use super::*;
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{collections::BTreeSet, sync::Arc};
use sundog_ledger::Ledger;
use sundog_types::{Hash, Signature};
use sundog_validator::payments;

/// One SOL in lamports.
const SOL: u64 = 1_000_000_000;

/// The newest confirmed blockhash, as a client would ask a node for it.
fn blockhash(world: &World, host: usize) -> Hash {
    world.hosts[host].view.as_ref().expect("a view").confirmed.last_blockhash()
}

/// Sends a transfer through a node; its signature.
fn send(world: &mut World, host: usize, from: &Keypair, (to, lamports): (&Pubkey, u64)) -> Signature {
    let transfer = payments::transfer(from, to, lamports, blockhash(world, host));
    let bytes = bincode::serialize(&transfer).expect("a transaction serialises");
    world.submit(host, vec![bytes.into()]);
    transfer.signatures[0]
}

fn ledger(world: &World, host: usize) -> Ledger {
    Ledger::new(Arc::<sundog_ledger::MemoryStore>::clone(&world.hosts[host].store))
}

/// The slots of a node's finalized chain that hold a signature.
fn landed(world: &World, host: usize, signature: &Signature) -> Vec<Slot> {
    let ledger = ledger(world, host);
    let places = ledger.places(signature).expect("memory does not fail");
    places.into_iter().map(|(slot, _)| slot).filter(|slot| ledger.is_rooted(*slot).expect("memory")).collect()
}

/// Runs until every signature is in a finalized block of every node.
fn run_to_landed(world: &mut World, signatures: &[Signature]) {
    let mut missing: BTreeSet<(usize, usize)> =
        (0..world.hosts.len()).flat_map(|host| (0..signatures.len()).map(move |i| (host, i))).collect();
    for _ in 0..60 {
        run_for(world, Duration::from_secs(1));
        missing.retain(|(host, i)| landed(world, *host, &signatures[*i]).is_empty());
        if missing.is_empty() {
            return;
        }
    }
    panic!("{} of {} never landed: {:?}", missing.len(), signatures.len() * world.hosts.len(), world.outcome());
}

/// A world with `count` accounts of 10 SOL each.
fn funded(seed: u64, count: u8) -> (World, Vec<Keypair>) {
    let mut world = World::new(WorldConfig { seed, slot: Duration::from_millis(200), ..WorldConfig::default() });
    run_to_root(&mut world, 2);
    let faucet = World::faucet(seed);
    let accounts: Vec<Keypair> = (1..=count).map(|n| Keypair::new_from_array([n; 32])).collect();
    let mut signatures = Vec::new();
    for (place, account) in accounts.iter().enumerate() {
        signatures.push(send(&mut world, place % 3, &faucet, (&account.pubkey(), 10 * SOL)));
    }
    run_to_landed(&mut world, &signatures);
    (world, accounts)
}

#[test]
fn two_thousand_transfers_over_three_nodes_land_once_and_add_up_to_the_lamport() {
    let (mut world, accounts) = funded(31, 30);
    let mut due: Vec<u64> = vec![10 * SOL; accounts.len()];
    let mut signatures = Vec::new();
    for turn in 0..2_000_usize {
        let (from, to) = (turn % accounts.len(), (turn * 7 + 1 + turn / 30) % accounts.len());
        let lamports = 1_000 + turn as u64;
        signatures.push(send(&mut world, turn % 3, &accounts[from], (&accounts[to].pubkey(), lamports)));
        due[from] -= lamports + 5_000;
        due[to] += lamports;
        if turn % 10 == 9 {
            run_for(&mut world, Duration::from_millis(50));
        }
    }
    run_to_landed(&mut world, &signatures);
    for host in 0..3 {
        let twice: Vec<_> = signatures.iter().filter(|s| landed(&world, host, s).len() != 1).collect();
        assert!(twice.is_empty(), "node {host}: {twice:?} landed more than once");
        let bank = &world.hosts[host].view.as_ref().expect("a view").finalized;
        let held: Vec<u64> = accounts.iter().map(|a| bank.balance(&a.pubkey())).collect();
        assert_eq!(held, due, "node {host}");
    }
    holds(&world);
}

/// The identities of the next two leaders, from the slot of the clock on, as a node predicts them.
fn next_two(world: &World, host: usize) -> Vec<Pubkey> {
    let view = world.hosts[host].view.as_ref().expect("a view");
    let mut leaders = Vec::new();
    for slot in (0..64).map(|offset| view.clock_slot.saturating_add(offset)) {
        if let Some(leader) = view.leaders.leader(slot).filter(|leader| !leaders.contains(leader)) {
            leaders.push(leader);
        }
    }
    leaders.truncate(2);
    leaders
}

#[test]
fn what_a_node_that_does_not_lead_is_given_lands_with_the_next_two_leaders() {
    let (mut world, accounts) = funded(32, 10);
    let mut sent = Vec::new();
    for turn in 0..50_usize {
        run_for(&mut world, Duration::from_millis(130));
        let host = (0..3)
            .map(|i| (turn + i) % 3)
            .find(|host| next_two(&world, *host).first() != Some(&identity(&world, *host)));
        let host = host.expect("two of three do not lead");
        let predicted = next_two(&world, host);
        let (from, to) = (&accounts[turn % 10], accounts[(turn + 1) % 10].pubkey());
        sent.push((send(&mut world, host, from, (&to, 100 + turn as u64)), predicted));
    }
    let signatures: Vec<Signature> = sent.iter().map(|(signature, _)| *signature).collect();
    run_to_landed(&mut world, &signatures);
    let leaders = world.hosts[0].view.as_ref().expect("a view").leaders.clone();
    let predicted = |(signature, leaders_then): &&(Signature, Vec<Pubkey>)| {
        let slot = landed(&world, 0, signature)[0];
        leaders.leader(slot).is_some_and(|leader| leaders_then.contains(&leader))
    };
    let hits = sent.iter().filter(predicted).count();
    assert!(hits >= 45, "{hits} of 50 landed with a predicted leader");
    holds(&world);
}
