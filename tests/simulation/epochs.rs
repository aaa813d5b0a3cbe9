//! Epochs: stake that is delegated and withdrawn moves the leader schedule and the weight of votes, an epoch after it
//! counts, and everywhere alike.

use super::*;
use solana_account::ReadableAccount as _;
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_signer::Signer as _;
use solana_stake_interface::{
    instruction as stake,
    state::{Authorized, Lockup},
};
use solana_system_interface::instruction::transfer;
use solana_transaction::{Instruction, versioned::VersionedTransaction};
use solana_vote_interface::{instruction as vote, state::VoteInit};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use sundog_runtime::Bank;
use sundog_types::{
    Epoch,
    schedule::LeaderSchedule,
    stakes::{EpochStakes, VoteStake},
};
use sundog_validator::sim::Network;

const EPOCH: u64 = 128;
const SOL: u64 = 1_000_000_000;
/// The world in which one node gains what another loses.
const SEED: u64 = 822;
/// Length of a vote account.
const VOTE_BYTES: usize = 3_762;
/// Where a stake account has the credits that its rewards are reckoned from.
const OBSERVED_AT: usize = 188;

/// A world of short epochs and slots of a tenth of a second, in which blocks arrive well within their slots.
fn world(seed: u64, stakes: &[u64]) -> World {
    let network = Network { delay_min: Duration::from_millis(2), delay_max: Duration::from_millis(8), loss_ppm: 0 };
    let (slot, slots_per_epoch, stakes) = (Duration::from_millis(100), EPOCH, stakes.to_vec());
    World::new(WorldConfig { seed, stakes, slots_per_epoch, slot, network, ..WorldConfig::default() })
}

/// The bank that a node finalized last.
fn bank(world: &World, host: usize) -> &Arc<Bank> {
    &world.hosts[host].view.as_ref().expect("it runs").finalized
}

/// Signs and hands to node 0 what wallets are to do; the first signer pays.
fn submit(world: &mut World, signers: &[&Keypair], instructions: &[Instruction]) {
    let blockhash = world.hosts[0].view.as_ref().expect("it runs").confirmed.last_blockhash();
    let message = Message::new_with_blockhash(instructions, Some(&signers[0].pubkey()), &blockhash);
    let sign = |key: &Pubkey| {
        let signer = signers.iter().find(|signer| signer.pubkey() == *key).expect("who must sign is there");
        signer.sign_message(&message.serialize())
    };
    let signed = usize::from(message.header.num_required_signatures);
    let signatures = message.account_keys.iter().take(signed).map(sign).collect();
    let transaction = VersionedTransaction { signatures, message: VersionedMessage::Legacy(message) };
    let bytes = bincode::serialize(&transaction).expect("a transaction serialises").into();
    world.submit(0, vec![bytes]);
}

/// Makes a stake account and delegates so much to a node.
fn delegate(world: &mut World, account: &Keypair, (host, lamports): (usize, u64)) {
    let faucet = World::faucet(world.config().seed);
    let me = Authorized { staker: faucet.pubkey(), withdrawer: faucet.pubkey() };
    let rent = bank(world, 0).rent_minimum(200);
    let mut all = stake::create_account(&faucet.pubkey(), &account.pubkey(), &me, &Lockup::default(), lamports + rent);
    all.push(stake::delegate_stake(&account.pubkey(), &faucet.pubkey(), &world.hosts[host].vote.pubkey()));
    submit(world, &[&faucet, account], &all);
}

/// Stake that warms up or cools down in an epoch, of this much.
fn nine_percent(of: u64) -> u64 {
    (of as f64 * 0.09) as u64
}

/// What the nodes' votes weigh by epoch, in lamports, by whom they are.
type Weights = Vec<Vec<u64>>;

fn epoch_stakes(world: &World, weights: &[u64]) -> EpochStakes {
    let voters = weights.iter().enumerate().filter(|(_, stake)| **stake > 0);
    let voters = voters.map(|(host, stake)| {
        let (node, vote) = (identity(world, host), world.hosts[host].vote.pubkey());
        (vote, VoteStake { node, authorized_voter: vote, stake: *stake })
    });
    EpochStakes { by_vote_account: voters.collect() }
}

/// What a node knows of an epoch's stakes and schedule is what it must be; how many of the two it knows.
fn knows(world: &World, (host, epoch): (usize, u64), weights: &Weights) -> usize {
    let expected = epoch_stakes(world, &weights[epoch as usize]);
    let epoch = Epoch::new(epoch);
    let stakes = bank(world, host).epoch_stakes(epoch);
    if let Some(stakes) = &stakes {
        assert_eq!(**stakes, expected, "node {host}, epoch {epoch}");
    }
    let schedule = world.hosts[host].view.as_ref().expect("it runs").leaders.schedule(epoch).cloned();
    if let Some(schedule) = &schedule {
        assert_eq!(**schedule, LeaderSchedule::new(epoch, EPOCH, &expected), "node {host}, epoch {epoch}");
    }
    usize::from(stakes.is_some()) + usize::from(schedule.is_some())
}

/// Looks at the fork choice of running nodes: every vote weighs what the epoch of the block voted for says.
struct Scales<'a> {
    weights: &'a Weights,
    seen: u64,
    /// By epoch: how many votes of each node were weighed.
    weighed: BTreeMap<(u64, usize), usize>,
}

impl<'a> Scales<'a> {
    fn new(weights: &'a Weights) -> Self {
        Self { weights, seen: 0, weighed: BTreeMap::new() }
    }

    fn look(&mut self, world: &World) {
        if std::mem::replace(&mut self.seen, finalized(world, 0)) == finalized(world, 0) {
            return;
        }
        let voters: Vec<String> = world.hosts.iter().map(|host| host.vote.pubkey().to_string()).collect();
        for host in world.hosts.iter().filter(|host| host.node.is_some()) {
            for block in host.view.iter().flat_map(|view| view.forks().blocks) {
                let epoch = block.slot / EPOCH;
                let voted = (0..voters.len()).filter(|host| block.voters.contains(&voters[*host]));
                let voted: Vec<usize> = voted.collect();
                let stake: u64 = voted.iter().map(|host| self.weights[epoch as usize][*host]).sum();
                assert_eq!(block.stake_at, stake, "{voted:?} voted for {} of epoch {epoch}", block.slot);
                voted.iter().for_each(|host| *self.weighed.entry((epoch, *host)).or_default() += 1);
            }
        }
    }

    /// Runs until something holds, looking at the forks all the while.
    fn run(&mut self, world: &mut World, mut done: impl FnMut(&World) -> bool) {
        let done = world.run_until(PATIENCE, |world| {
            self.look(world);
            done(world)
        });
        assert!(done, "{:?}", world.outcome());
    }
}

/// Blocks are the same everywhere, and each was made by the leader that the schedule names.
fn chain_is_the_schedules(world: &World, weights: &Weights) {
    let chain = world.hosts[0].rooted_chain(root(world, 0));
    assert!(!chain.is_empty(), "node 0 has it from the first slot on");
    for slot in chain {
        let epoch = slot.get() / EPOCH;
        let schedule = LeaderSchedule::new(Epoch::new(epoch), EPOCH, &epoch_stakes(world, &weights[epoch as usize]));
        for (number, host) in world.hosts.iter().enumerate() {
            let hash = host.blocks.get(&slot);
            assert!(hash.is_none() || hash == world.hosts[0].blocks.get(&slot), "node {number}, slot {slot}");
            let leader = host.started.get(&slot);
            let right = leader.is_none_or(|leader| *leader == schedule.leader_at(slot.get() % EPOCH));
            assert!(right, "node {number}, slot {slot}: {leader:?}");
        }
    }
}

/// Without inflation nobody is paid, but stake accounts observe their voter's credits of the epoch that ended.
fn credits_are_observed(world: &World, account: &Pubkey, (host, epoch): (usize, u64)) {
    let vote = world.hosts[host].vote.pubkey();
    for host in (0..world.hosts.len()).filter(|host| world.hosts[*host].node.is_some()) {
        let bank = bank(world, host);
        assert!(bank.epoch().get() == epoch && !bank.rewards_pending(), "node {host} is past the border's blocks");
        let voter = bank.vote_accounts().into_iter().find(|account| account.pubkey == vote).expect("it is there");
        let ended = voter.epoch_credits.iter().find(|(earned, ..)| *earned + 1 == epoch);
        let account = bank.account(account).expect("it is there");
        let observed = account.data()[OBSERVED_AT..OBSERVED_AT + 8].try_into().map(u64::from_le_bytes);
        assert_eq!(observed.ok(), ended.map(|(_, credits, _)| *credits), "node {host}, epoch {epoch}");
    }
}

#[test]
fn delegated_stake_warms_up_into_schedule_and_votes_an_epoch_later_everywhere_and_withdrawn_stake_cools_down() {
    const ALL: u64 = 2_000 * SOL;
    const MOVED: u64 = 400 * SOL;
    // Delegated in epoch 0, withdrawn in epoch 2: what counts at the start of each epoch, by hand.
    let first = nine_percent(ALL);
    let second = first + nine_percent(ALL + first);
    let cooling = second - nine_percent(ALL + second);
    assert!(
        second < MOVED && cooling < nine_percent(ALL + cooling),
        "it warms up in part, and cools down in two epochs"
    );
    let counts = [0, 0, first, second, cooling, 0, 0];
    let weights: Weights = counts.map(|more| vec![1_000 * SOL, 600 * SOL, 400 * SOL + more, 0]).to_vec();
    let mut scales = Scales::new(&weights);

    let mut world = world(821, &[1_000, 600, 400, 0]);
    for (epoch, weights) in (0..).zip(&weights) {
        world.expect_stakes(epoch, weights);
    }
    world.kill(3);
    let account = Keypair::new_from_array([8; 32]);
    run_to_root(&mut world, 4);
    delegate(&mut world, &account, (2, MOVED));
    scales.run(&mut world, |world| bank(world, 0).account(&account.pubkey()).is_some());
    assert!(finalized(&world, 0) < EPOCH, "it is delegated in epoch 0");

    // Node 1 is away over the border at which the stake begins to count, and back.
    scales.run(&mut world, |world| world.rooted_everywhere().get() >= EPOCH - 8);
    world.kill(1);
    scales.run(&mut world, |world| finalized(world, 0) >= EPOCH + 24);
    world.start(1);
    scales.run(&mut world, |world| finalized(world, 0) >= 2 * EPOCH + 4);
    let faucet = World::faucet(821);
    submit(&mut world, &[&faucet], &[stake::deactivate_stake(&account.pubkey(), &faucet.pubkey())]);
    scales.run(&mut world, |world| world.rooted_everywhere().get() >= 3 * EPOCH + 4);
    credits_are_observed(&world, &account.pubkey(), (2, 3));
    scales.run(&mut world, |world| world.rooted_everywhere().get() >= 5 * EPOCH + 16);

    // One from its disk, which may be some roots behind, and one that was never there.
    world.kill(2);
    world.start(2);
    world.start(3);
    scales.run(&mut world, |world| world.rooted_everywhere().get() >= 5 * EPOCH + 36);
    holds(&world);

    for host in 0..4 {
        let known: Vec<usize> = (0..7).map(|epoch| knows(&world, (host, epoch), &weights)).collect();
        // Stakes are kept of this epoch, the next, and four more; who was there, or has executed all, knows who led before.
        let first = usize::from(host != 2);
        assert_eq!(known, [first, 2, 2, 2, 2, 2, 2], "node {host}");
    }
    chain_is_the_schedules(&world, &weights);
    for epoch in 0..=5 {
        assert!(scales.weighed.contains_key(&(epoch, 2)), "epoch {epoch}: {:?}", scales.weighed);
    }
}

/// Slots from the first one on that are not on node 0's chain to its root.
fn missing(world: &World, from: u64) -> Vec<u64> {
    let chain: BTreeSet<u64> = world.hosts[0].rooted_chain(root(world, 0)).iter().map(|slot| slot.get()).collect();
    (from..root(world, 0).get()).filter(|slot| !chain.contains(slot)).collect()
}

/// Node 3 gets a vote account, and money for its votes.
fn make_voter(world: &mut World) {
    let faucet = World::faucet(world.config().seed);
    let (node, vote_key) = (Arc::clone(&world.hosts[3].identity), Arc::clone(&world.hosts[3].vote));
    let key = vote_key.pubkey();
    let init =
        VoteInit { node_pubkey: node.pubkey(), authorized_voter: key, authorized_withdrawer: key, commission: 0 };
    let space = VOTE_BYTES as u64;
    let config = vote::CreateVoteAccountConfig { space, with_seed: None };
    let rent = bank(world, 0).rent_minimum(VOTE_BYTES);
    let mut all = vec![transfer(&faucet.pubkey(), &node.pubkey(), SOL)];
    all.extend(vote::create_account_with_config(&faucet.pubkey(), &key, &init, rent, config));
    submit(world, &[&faucet, &vote_key, &node], &all);
}

#[test]
fn who_gets_stake_begins_to_lead_and_to_count_and_who_loses_it_does_neither_and_is_not_waited_for() {
    let before = vec![1_000 * SOL, 400 * SOL, 120 * SOL, 0];
    let after = vec![1_000 * SOL, 400 * SOL, 0, 120 * SOL];
    let weights: Weights =
        [&before, &before, &after, &after, &after, &after, &after, &after].map(Clone::clone).to_vec();
    let mut scales = Scales::new(&weights);
    let mut world = world(SEED, &[1_000, 400, 120, 0]);
    world.expect_stakes(2, &after);
    world.kill(3);
    world.hosts[3].is_voter = true;
    world.start(3);
    run_to_root(&mut world, 2);
    make_voter(&mut world);
    let vote = world.hosts[3].vote.pubkey();
    scales.run(&mut world, |world| bank(world, 0).account(&vote).is_some());
    // What the genesis delegated to node 2 belongs to a key of the same bytes as its vote account.
    let account = Keypair::new_from_array(world.hosts[2].vote.pubkey().to_bytes());
    delegate(&mut world, &Keypair::new_from_array([8; 32]), (3, 120 * SOL));
    let faucet = World::faucet(SEED);
    submit(&mut world, &[&faucet, &account], &[stake::deactivate_stake(&account.pubkey(), &account.pubkey())]);
    let there = Keypair::new_from_array([8; 32]).pubkey();
    scales.run(&mut world, |world| bank(world, 0).account(&there).is_some());
    assert!(finalized(&world, 0) < EPOCH - 8, "it is delegated in epoch 0");

    scales.run(&mut world, |world| world.rooted_everywhere().get() >= 2 * EPOCH + 16);
    assert_eq!(missing(&world, 8), [0; 0], "the borders cost no slot");
    let leader = |slot: u64| world.hosts[0].started[&Slot::new(slot)];
    assert_ne!(leader(2 * EPOCH - 1), leader(2 * EPOCH), "a window ends with its epoch, and another's begins");
    let slots = |host: usize| {
        let (started, me) = (&world.hosts[0].started, identity(&world, host));
        started.iter().filter(|(_, leader)| **leader == me).map(|(slot, _)| slot.get()).collect::<Vec<_>>()
    };
    assert!(slots(2).last() >= Some(&EPOCH) && slots(2).last() < Some(&(2 * EPOCH)), "{:?}", slots(2));
    assert!(slots(3).first() >= Some(&(2 * EPOCH)), "{:?}", slots(3));
    assert!(world.hosts[2].voted.last() < Some(&Slot::new(2 * EPOCH)), "it has nothing to vote with");
    assert!(world.hosts[3].voted.first() >= Some(&Slot::new(EPOCH)), "it votes once its stake is active");

    // Who has no stake left is not missed.
    world.kill(2);
    let from = finalized(&world, 0);
    scales.run(&mut world, |world| finalized(world, 0) >= from + 40);
    assert_eq!(missing(&world, 8), [0; 0], "nobody waits for node 2, and node 3 takes all its turns");
    assert!(world.hosts[0].started.values().any(|leader| *leader == identity(&world, 3)), "it has some");
    // Node 0 has 66 percent: it needs node 3, and node 2 is of no use to it.
    world.start(2);
    world.kill(1);
    let from = finalized(&world, 0);
    scales.run(&mut world, |world| finalized(world, 0) >= from + 40 && finalized(world, 2) >= from + 40);
    world.kill(3);
    run_for(&mut world, Duration::from_secs(1));
    let stands = finalized(&world, 0);
    run_for(&mut world, Duration::from_secs(3));
    assert_eq!(finalized(&world, 0), stands, "66 percent are not two thirds");
    world.start(3);
    scales.run(&mut world, |world| finalized(world, 0) >= stands + 40);
    world.start(1);
    let all = finalized(&world, 0) + 40;
    scales.run(&mut world, |world| world.rooted_everywhere().get() >= all);
    holds(&world);
    chain_is_the_schedules(&world, &weights);
    for (epoch, host) in [(1, 2), (2, 3)] {
        assert!(scales.weighed.contains_key(&(epoch, host)), "{:?}", scales.weighed);
    }
}
