//! Outages of the public cluster, and what happens here in their place. The figures are those of the operators' own
//! reports, as `users.md` of the references has them.

use super::*;
use liveness::agrees_after;
use solana_account::ReadableAccount as _;
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_signer::Signer as _;
use solana_system_interface::instruction as system;
use solana_transaction::{Instruction, versioned::VersionedTransaction};
use std::collections::BTreeSet;
use sundog_types::Hash;
use sundog_validator::{
    payments,
    sim::{Fault, Network},
};

/// Validators with these stakes and slots of a tenth of a second.
fn cluster(seed: u64, stakes: &[u64]) -> World {
    let slot = Duration::from_millis(100);
    let network = Network { delay_min: Duration::from_millis(2), delay_max: Duration::from_millis(8), loss_ppm: 0 };
    World::new(WorldConfig { seed, slot, network, stakes: stakes.to_vec(), ..WorldConfig::default() })
}

/// Runs until node 0 has lied.
fn run_to_lie(world: &mut World) -> Slot {
    let lied = world.run_until(PATIENCE, |world| world.hosts[0].lied_in().is_some());
    assert!(lied, "the liar leads some time");
    world.hosts[0].lied_in().expect("it lied")
}

/// Nothing contradicts among what honest nodes rooted; the leader of node 0 signed these slots twice.
fn holds_but_for(world: &World, forked: &BTreeSet<Slot>) {
    assert_eq!(world.outcome().conflict, None, "seed {}", world.config().seed);
    assert_eq!(world.signed_twice(), forked, "only the liar signs twice");
    oracle::lockouts_kept(world);
}

/// 4 December 2020, six hours. A validator ran twice with one identity and made several blocks for one slot. Each
/// reached a part of the cluster, and none had enough votes; nodes told blocks apart by slot alone, so that they could
/// neither say that there was another version nor fetch it. Here three disjoint thirds of the stake get one version
/// each: two shreds that contradict each other are proof enough, every honest node publishes one in gossip, no version
/// is built on unless 52 percent voted for it, and the root goes on.
#[test]
fn outage_2020_12() {
    for (seed, stakes, versions) in
        [(401, vec![200, 600, 600, 600], vec![0, 0, 1, 2]), (402, vec![300, 900, 900], vec![0, 0, 1])]
    {
        let mut world = cluster(seed, &stakes);
        world.wire.keep_accusations();
        world.hosts[0].fault = Some((Fault::TwoVersions, Slot::new(8)));
        world.hosts[0].versions = versions;
        let slot = run_to_lie(&mut world);
        run_to_root(&mut world, slot.get() + 40);
        holds_but_for(&world, &BTreeSet::from([slot]));
        let accusers: BTreeSet<_> = world.wire.accusations().into_iter().map(|(_, from, _)| from).collect();
        for honest in 1..stakes.len() {
            let reported: Vec<_> = world.hosts[honest].duplicates.keys().collect();
            assert_eq!(reported, [&slot], "seed {seed}: node {honest} reports the slot");
            assert!(accusers.contains(&identity(&world, honest)), "seed {seed}: node {honest} publishes its proof");
        }
    }
}

/// 30 September 2022, eight and a half hours. A hot spare with the identity of a running validator made second
/// versions of its blocks for a day. In slot 153139221 the heaviest block was another version of the very slot that
/// nodes had voted for last: fork choice could not reset to a block of the slot it stood on, and they stopped (mended by
/// reference pull request 28172). Here a leader equivocates in every window; each time one node alone executes, and
/// mostly votes for, a version that the others do not have. It throws it away for the one that the cluster confirmed,
/// another version of the very slot it voted for last, and goes on.
#[test]
fn outage_2022_09() {
    let mut world = cluster(411, &[300, 700, 700, 300]);
    world.hosts[0].fault = Some((Fault::TwoVersions, Slot::new(8)));
    // Node 3 alone gets the second version.
    world.hosts[0].versions = vec![0, 0, 0, 1];
    let (mut forked, mut skipped, mut voted) = (BTreeSet::new(), 0, 0);
    while forked.len() - skipped < 3 {
        assert!(skipped < 6, "the others skip whatever the liar makes: {forked:?}");
        // With no link but the one to the liar, it takes that version for the only one, and the others theirs.
        for honest in [1, 2] {
            world.cut_one_way(honest, 3);
            world.cut_one_way(3, honest);
        }
        let slot = run_to_lie(&mut world);
        let deceived = world.run_until(Duration::from_secs(1), |world| world.hosts[3].blocks.contains_key(&slot));
        assert!(deceived, "node 3 executes the version of slot {slot} that it got");
        assert_ne!(world.hosts[3].blocks.get(&slot), world.hosts[0].blocks.get(&slot), "it is another");
        forked.insert(slot);
        // The others vote before they hear that there are two versions; else neither would have votes.
        run_for(&mut world, Duration::from_millis(500));
        world.heal();
        run_to_root(&mut world, slot.get() + 20);
        assert_eq!(world.outcome().conflict, None);
        assert!(world.signed_twice().is_subset(&forked), "only the liar signs twice");
        oracle::lockouts_kept(&world);
        world.hosts[0].lie_again(slot.saturating_add(4));
        if !world.hosts[1].rooted_chain(root(&world, 1)).contains(&slot) {
            // Its shreds were too few or too late, and the next leader built on the block before: both versions lost.
            skipped += 1;
            continue;
        }
        let lost = world.hosts[3].lost.get(&slot);
        voted += usize::from(world.hosts[3].votes.iter().any(|vote| Some(&vote.hash) == lost));
        assert!(lost.is_some(), "node 3 threw its version of slot {slot} away");
        assert_eq!(world.hosts[3].blocks.get(&slot), world.hosts[0].blocks.get(&slot), "it has what the others have");
    }
    assert!(voted > 0, "node 3 voted for a version that lost");
}

fn signed(signers: &[&Keypair], instructions: &[Instruction], blockhash: Hash) -> bytes::Bytes {
    let message = Message::new_with_blockhash(instructions, Some(&signers[0].pubkey()), &blockhash);
    let signatures = signers.iter().map(|signer| signer.sign_message(&message.serialize())).collect();
    let transaction = VersionedTransaction { signatures, message: VersionedMessage::Legacy(message) };
    bincode::serialize(&transaction).expect("a transaction serialises").into()
}

/// The value of a nonce and the balance of a payer, by a node's newest finalized bank.
fn nonce_and_balance(world: &World, host: usize, nonce: &Pubkey, payer: &Pubkey) -> Option<(Hash, u64)> {
    let bank = &world.hosts[host].view.as_ref()?.finalized;
    let account = bank.account(nonce)?;
    let value = account.data().get(40..72)?;
    Some((Hash::new_from_array(value.try_into().expect("32 bytes")), bank.balance(payer)))
}

/// 1 June 2022, four and a half hours. A transaction on a durable nonce that failed could be taken a second time in a
/// later block, because only some of the nodes still knew it: they came to different states. Here such a transaction
/// fails, and is handed to every node again in the same slot and in those after it: its nonce advances once, its fee is
/// paid once, and every block has one hash on all nodes.
#[test]
fn outage_2022_06() {
    let mut world = cluster(421, &[1_000, 600, 400]);
    run_to_root(&mut world, 4);
    let (faucet, payer) = (World::faucet(421), Keypair::new_from_array([21; 32]));
    let nonce = Keypair::new_from_array([22; 32]);
    let blockhash = |world: &World| world.hosts[0].view.as_ref().expect("a view").confirmed.last_blockhash();
    let fund = bincode::serialize(&payments::transfer(&faucet, &payer.pubkey(), 5_000_000_000, blockhash(&world)));
    world.submit(0, vec![fund.expect("it serialises").into()]);
    run_for(&mut world, Duration::from_secs(1));
    let create = system::create_nonce_account(&payer.pubkey(), &nonce.pubkey(), &payer.pubkey(), 1_000_000_000);
    let create = signed(&[&payer, &nonce], &create, blockhash(&world));
    world.submit(0, vec![create]);
    let look = |world: &World, host| nonce_and_balance(world, host, &nonce.pubkey(), &payer.pubkey());
    assert!(world.run_until(PATIENCE, |world| (0..3).all(|host| look(world, host).is_some())), "the nonce is made");
    let (value, before) = look(&world, 0).expect("it was just there");
    // It pays for its place, advances the nonce, and fails: nobody has that much.
    let instructions = [
        system::advance_nonce_account(&nonce.pubkey(), &payer.pubkey()),
        system::transfer(&payer.pubkey(), &faucet.pubkey(), 1 << 60),
    ];
    let failing = signed(&[&payer], &instructions, value);
    let failing_plainly = |world: &World| {
        let transfer = system::transfer(&faucet.pubkey(), &payer.pubkey(), u64::MAX);
        signed(&[&faucet], &[transfer], blockhash(world))
    };
    for _ in 0..40 {
        for host in 0..3 {
            let plain = failing_plainly(&world);
            world.submit(host, vec![failing.clone(), failing.clone(), plain.clone(), plain]);
        }
        run_for(&mut world, Duration::from_millis(50));
    }
    let target = finalized(&world, 0) + 60;
    run_to_root(&mut world, target);
    holds(&world);
    let (advanced, after) = look(&world, 0).expect("it is there");
    assert_ne!(advanced, value, "the failed transaction has advanced the nonce");
    assert_eq!(before - after, 5_000, "and has paid its fee once");
    for slot in (1..=target).map(Slot::new) {
        let hashes: BTreeSet<_> = world.hosts.iter().filter_map(|host| host.blocks.get(&slot)).collect();
        assert!(hashes.len() <= 1, "slot {slot} has one hash on all nodes");
    }
    agrees_after(&mut world);
}
