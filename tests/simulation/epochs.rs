//! Epochs: stake that is delegated and withdrawn moves the leader schedule and the weight of votes, an epoch after it
//! counts, and everywhere alike.

use super::*;
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_signer::Signer as _;
use solana_stake_interface::{
    instruction as stake,
    state::{Authorized, Lockup},
};
use solana_transaction::{Instruction, versioned::VersionedTransaction};
use std::sync::Arc;
use sundog_types::{
    Epoch,
    schedule::LeaderSchedule,
    stakes::{EpochStakes, VoteStake},
};

const EPOCH: u64 = 64;
const SOL: u64 = 1_000_000_000;
/// Less than the 9 percent of 2,000 that may warm up in an epoch.
const MOVED: u64 = 150 * SOL;

/// Signs and hands to a node what the faucet and the stake account are to do.
fn submit(world: &mut World, signers: &[&Keypair], instructions: &[Instruction]) {
    let blockhash = world.hosts[0].view.as_ref().expect("it runs").confirmed.last_blockhash();
    let message = Message::new_with_blockhash(instructions, Some(&signers[0].pubkey()), &blockhash);
    let signatures = signers.iter().map(|signer| signer.sign_message(&message.serialize())).collect();
    let transaction = VersionedTransaction { signatures, message: VersionedMessage::Legacy(message) };
    let bytes = bincode::serialize(&transaction).expect("a transaction serialises").into();
    world.submit(0, vec![bytes]);
}

/// What an epoch's stakes must be, reckoned by hand: delegated in epoch 0, it counts from epoch 1 on, and for the votes
/// and the schedule from epoch 2; withdrawn in epoch 2, it no longer counts from epoch 3 on, and from epoch 4.
fn expected(world: &World, epoch: u64) -> EpochStakes {
    let more = if (2..4).contains(&epoch) { MOVED } else { 0 };
    let voter = |(host, stake): (usize, u64)| {
        let (node, vote) = (identity(world, host), world.hosts[host].vote.pubkey());
        let stake = stake * SOL + if host == 2 { more } else { 0 };
        (vote, VoteStake { node, authorized_voter: vote, stake })
    };
    EpochStakes { by_vote_account: [(0, 1_000), (1, 600), (2, 400)].into_iter().map(voter).collect() }
}

/// What a node knows of an epoch's stakes and schedule is what it must be; how many of the two it knows.
fn knows(world: &World, host: usize, epoch: u64) -> usize {
    let expected = expected(world, epoch);
    let view = world.hosts[host].view.as_ref().expect("it runs");
    let stakes = view.finalized.epoch_stakes(Epoch::new(epoch));
    if let Some(stakes) = &stakes {
        assert_eq!(**stakes, expected, "node {host}, epoch {epoch}");
    }
    let schedule = view.leaders.schedule(Epoch::new(epoch)).cloned();
    if let Some(schedule) = &schedule {
        assert_eq!(**schedule, LeaderSchedule::new(Epoch::new(epoch), EPOCH, &expected), "node {host}, epoch {epoch}");
    }
    usize::from(stakes.is_some()) + usize::from(schedule.is_some())
}

/// The weight that a node's fork choice gives a voter whose newest vote is for a slot of this epoch.
fn weight(world: &World, host: usize, epoch: u64) -> Option<u64> {
    let view = world.hosts[host].view.as_ref()?;
    let vote = world.hosts[2].vote.pubkey();
    let forks = view.outlook.as_ref()?.forks();
    let blocks = forks.blocks.iter().filter(|block| block.slot / EPOCH == epoch);
    let alone = blocks.filter(|block| block.voters == [vote.to_string()]);
    alone.map(|block| block.stake_at).last()
}

#[test]
fn delegated_stake_moves_schedule_and_votes_two_epochs_later_everywhere_and_withdrawn_stake_leaves_them() {
    let config = WorldConfig {
        seed: 821,
        stakes: vec![1_000, 600, 400, 0],
        slots_per_epoch: EPOCH,
        slot: Duration::from_millis(100),
        ..WorldConfig::default()
    };
    let mut world = World::new(config);
    world.kill(3);
    let (faucet, account) = (World::faucet(821), Keypair::new_from_array([8; 32]));
    run_to_root(&mut world, 4);
    let me = Authorized { staker: faucet.pubkey(), withdrawer: faucet.pubkey() };
    let rent = world.hosts[0].view.as_ref().expect("it runs").confirmed.rent_minimum(200);
    let mut all = stake::create_account(&faucet.pubkey(), &account.pubkey(), &me, &Lockup::default(), MOVED + rent);
    all.push(stake::delegate_stake(&account.pubkey(), &faucet.pubkey(), &world.hosts[2].vote.pubkey()));
    submit(&mut world, &[&faucet, &account], &all);
    let there = world.run_until(PATIENCE, |world| {
        let view = world.hosts[0].view.as_ref().expect("it runs");
        view.finalized.account(&account.pubkey()).is_some()
    });
    assert!(there && finalized(&world, 0) < EPOCH, "it is delegated in epoch 0: {:?}", world.outcome());

    // Node 1 is away over the border at which the stake begins to count, and back.
    run_to_root(&mut world, EPOCH - 8);
    world.kill(1);
    let over = world.run_until(PATIENCE, |world| finalized(world, 0) >= EPOCH + 24);
    assert!(over, "1,400 of 2,000 are enough: {:?}", world.outcome());
    world.start(1);

    let mut weights = std::collections::BTreeMap::<u64, u64>::new();
    let mut seen = 0;
    let mut watch = |world: &World| {
        if std::mem::replace(&mut seen, finalized(world, 0)) == finalized(world, 0) {
            return;
        }
        for epoch in 0..6 {
            if let Some(stake) = weight(world, 0, epoch) {
                weights.insert(epoch, stake);
            }
        }
    };
    let done = world.run_until(PATIENCE, |world| {
        watch(world);
        finalized(world, 0) >= 2 * EPOCH + 4
    });
    assert!(done, "{:?}", world.outcome());
    submit(&mut world, &[&faucet], &[stake::deactivate_stake(&account.pubkey(), &faucet.pubkey())]);
    let done = world.run_until(PATIENCE, |world| {
        watch(world);
        world.rooted_everywhere() >= Slot::new(4 * EPOCH + 4)
    });
    assert!(done, "{:?}", world.outcome());

    // One from its disk, and one that was never there.
    world.kill(2);
    world.start(2);
    world.start(3);
    let done = world.run_until(PATIENCE, |world| {
        watch(world);
        world.rooted_everywhere() >= Slot::new(4 * EPOCH + 44)
    });
    assert!(done, "{:?}", world.outcome());
    holds(&world);

    for host in 0..4 {
        let known: Vec<usize> = (0..6).map(|epoch| knows(&world, host, epoch)).collect();
        assert_eq!(known[4..], [2, 2], "node {host} knows this epoch and the next: {known:?}");
    }
    let known: usize = (0..6).map(|epoch| knows(&world, 0, epoch)).sum();
    assert!(
        known >= 11,
        "a node that was there all the time knows all, but for the stakes of five epochs ago: {known}"
    );
    let host = &world.hosts[0];
    let leaders = Arc::clone(&host.view.as_ref().expect("it runs").leaders);
    for slot in host.rooted_chain(root(&world, 0)) {
        assert_eq!(host.started.get(&slot), leaders.leader(slot).as_ref(), "slot {slot}");
    }
    for (epoch, stake) in &weights {
        let vote = world.hosts[2].vote.pubkey();
        assert_eq!(*stake, expected(&world, *epoch).of_vote_account(&vote), "node 2's votes in epoch {epoch}");
    }
    assert!(weights.len() >= 4, "{weights:?}");
}
