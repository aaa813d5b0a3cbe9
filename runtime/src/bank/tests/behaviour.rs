//! What a bank does with transactions, threads, forks and roots.

use super::*;
use sha2::{Digest as _, Sha256};
use solana_sdk_ids::{address_lookup_table, ed25519_program, stake, system_program};
use solana_system_interface::instruction as system;
use solana_transaction_error::TransactionError;

const TOKEN: Pubkey = Pubkey::from_str_const("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
const SOL: u64 = 1_000_000_000;

fn pay(bank: &Bank, from: &Pubkey, to: &Pubkey, lamports: u64) -> VersionedTransaction {
    unsigned(&[system::transfer(from, to, lamports)], from, bank.last_blockhash())
}

/// A chain of two blocks, so that blockhashes are not free any more.
fn second() -> Arc<Bank> {
    finish(next(&start(&localnet(8_192))))
}

#[test]
fn a_bpf_program_of_genesis_runs_and_makes_a_mint() {
    let mut bank = next(&second());
    let mint = address(50);
    let create = system::create_account(&FAUCET, &mint, 10 * SOL, 82, &TOKEN);
    let mut data = vec![20, 9];
    data.extend_from_slice(FAUCET.as_ref());
    data.push(0);
    let initialise = Instruction { program_id: TOKEN, accounts: vec![AccountMeta::new(mint, false)], data };
    let transaction = unsigned(&[create, initialise], &FAUCET, bank.last_blockhash());
    let done = run(&mut bank, transaction).expect("it gets into the block");
    assert_eq!(done.status, Ok(()), "{:?}", done.logs);
    let account = bank.account(&mint).expect("there is a mint");
    assert_eq!((*account.owner(), account.data().len(), account.data()[44], account.data()[45]), (TOKEN, 82, 9, 1));
    assert!(done.units > 150 && done.logs.iter().any(|line| line.contains("consumed")), "{:?}", done.logs);
    // The next bank finds the compiled program.
    let mut bank = next(&finish(bank));
    let again = Instruction { program_id: TOKEN, accounts: vec![AccountMeta::new(mint, false)], data: vec![20, 9] };
    let transaction = unsigned(&[again], &FAUCET, bank.last_blockhash());
    assert!(run(&mut bank, transaction).expect("it gets into the block").status.is_err());
}

#[test]
fn the_stake_program_is_there_and_delegates() {
    let mut bank = next(&second());
    let account = address(60);
    let rent = bank.rent_minimum(200);
    let create = system::create_account(&FAUCET, &account, 5 * SOL + rent, 200, &stake::ID);
    let mut data = vec![0; 4];
    for key in [FAUCET, FAUCET, Pubkey::default()] {
        if key == Pubkey::default() {
            data.extend_from_slice(&[0; 16]);
        }
        data.extend_from_slice(key.as_ref());
    }
    let initialise = Instruction {
        program_id: stake::ID,
        accounts: vec![AccountMeta::new(account, false), AccountMeta::new_readonly(sysvar::rent::ID, false)],
        data,
    };
    let delegate = Instruction {
        program_id: stake::ID,
        accounts: vec![
            AccountMeta::new(account, false),
            AccountMeta::new_readonly(address(3), false),
            AccountMeta::new_readonly(sysvar::clock::ID, false),
            AccountMeta::new_readonly(sysvar::stake_history::ID, false),
            AccountMeta::new_readonly(stake::config::ID, false),
            AccountMeta::new_readonly(FAUCET, true),
        ],
        data: vec![2, 0, 0, 0],
    };
    let transaction = unsigned(&[create, initialise, delegate], &FAUCET, bank.last_blockhash());
    let done = run(&mut bank, transaction).expect("it gets into the block");
    assert_eq!(done.status, Ok(()), "{:?}", done.logs);
    let delegation = bank.stakes.delegations().get(&account).expect("it is followed");
    assert_eq!((delegation.voter, delegation.stake), (address(3), 5 * SOL));
}

/// Payments of which many touch the same accounts.
fn tangle(bank: &Bank) -> Vec<VersionedTransaction> {
    let one = |number: u64| {
        let from = if number.is_multiple_of(7) { FAUCET } else { address(100 + (number % 13) as u8) };
        let to = address(100 + ((number * 5) % 17) as u8);
        pay(bank, &from, &to, 2 * SOL + number)
    };
    (0..300).map(one).collect()
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let parent = second();
    let outcome = |threads: usize, batch: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut bank = next(&parent);
            let transactions = tangle(&bank);
            let mut statuses = Vec::new();
            for batch in transactions.chunks(batch) {
                let executed = bank.execute(batch);
                statuses.extend(executed.rejections());
                bank.commit(executed);
            }
            (finish(bank).hash(), statuses)
        })
    };
    let alone = outcome(1, 1);
    assert!(alone.1.iter().filter(|status| status.is_none()).count() > 40, "some must get through");
    assert!(alone.1.iter().any(Option::is_some), "some must be rejected");
    for (threads, batch) in [(1, 300), (4, 300), (4, 64), (3, 17)] {
        assert_eq!(outcome(threads, batch), alone, "{threads} threads, batches of {batch}");
    }
}

#[test]
fn a_transaction_that_comes_twice_in_a_batch_is_refused_the_second_time() {
    let bank = next(&second());
    let transaction = pay(&bank, &FAUCET, &address(9), SOL);
    let executed = bank.execute(&[transaction.clone(), transaction]);
    assert_eq!(executed.first_rejected(), Some((1, TransactionError::AlreadyProcessed)));
    assert_eq!(executed.processed().len(), 1);
}

#[test]
fn executing_changes_nothing_and_simulating_tells_what_would_be() {
    let parent = second();
    let bank = next(&parent);
    let transaction = pay(&bank, &FAUCET, &address(9), SOL);
    let before = bank.balance(&FAUCET);
    drop(bank.execute(std::slice::from_ref(&transaction)));
    assert_eq!((bank.balance(&FAUCET), bank.balance(&address(9))), (before, 0));
    let simulation = parent.simulate(transaction, None);
    let done = simulation.outcome.expect("it would land");
    assert_eq!(done.status, Ok(()));
    assert_eq!(done.balances.after[1], SOL);
    let to = simulation.accounts.iter().find(|(key, _)| *key == address(9)).expect("it is among its accounts");
    assert_eq!(to.1.lamports(), SOL);
}

#[test]
#[should_panic(expected = "another state")]
fn what_was_executed_on_another_state_is_not_committed() {
    let mut bank = next(&second());
    let first = bank.execute(&[pay(&bank, &FAUCET, &address(9), SOL)]);
    let second = bank.execute(&[pay(&bank, &FAUCET, &address(9), 2 * SOL)]);
    bank.commit(first);
    bank.commit(second);
}

#[test]
fn a_durable_nonce_stands_in_for_a_blockhash_once() {
    let nonce = address(70);
    let mut bank = next(&second());
    let mut instructions = system::create_nonce_account(&FAUCET, &nonce, &FAUCET, 10 * SOL);
    let transaction = unsigned(&std::mem::take(&mut instructions), &FAUCET, bank.last_blockhash());
    assert_eq!(run(&mut bank, transaction).expect("it gets into the block").status, Ok(()));
    let stored = |bank: &Bank| Hash::new_from_array(bank.account(&nonce).unwrap().data()[40..72].try_into().unwrap());
    let value = stored(&bank);
    let transaction = unsigned(
        &[system::advance_nonce_account(&nonce, &FAUCET), system::transfer(&FAUCET, &address(9), SOL)],
        &FAUCET,
        value,
    );
    // In the block that made it, it cannot be advanced yet.
    assert_eq!(
        bank.execute(std::slice::from_ref(&transaction)).first_rejected(),
        Some((0, TransactionError::BlockhashNotFound))
    );
    let mut bank = next(&finish(bank));
    assert_eq!(bank.fee_for_message(&transaction.message), Some(5_000));
    let done = run(&mut bank, transaction.clone()).expect("it gets into the block");
    assert_eq!((done.status, done.fee), (Ok(()), 5_000));
    assert_ne!(stored(&bank), value);
    let bank = next(&finish(bank));
    assert_eq!(bank.execute(&[transaction]).first_rejected(), Some((0, TransactionError::BlockhashNotFound)));
}

#[test]
fn a_transaction_lands_in_two_forks_but_not_twice_in_one() {
    let parent = second();
    let mut here = next(&parent);
    let mut there = Bank::child(&parent, Slot::new(9), NODE);
    let transaction = pay(&here, &FAUCET, &address(9), SOL);
    for bank in [&mut here, &mut there] {
        assert_eq!(run(bank, transaction.clone()).expect("it gets into the block").status, Ok(()));
    }
    let here = finish(here);
    let status = here.signature_status(&transaction.signatures[0]);
    assert_eq!(status, Some((2, Ok(()))));
    let child = next(&here);
    assert_eq!(
        child.execute(std::slice::from_ref(&transaction)).first_rejected(),
        Some((0, TransactionError::AlreadyProcessed))
    );
    assert_eq!(child.signature_status(&transaction.signatures[0]), Some((2, Ok(()))));
}

#[test]
fn addresses_come_from_a_lookup_table() {
    let mut bank = next(&second());
    let table = address(80);
    let mut data = vec![1, 0, 0, 0];
    data.extend_from_slice(&u64::MAX.to_le_bytes());
    data.resize(56, 0);
    data.extend_from_slice(address(9).as_ref());
    let account = solana_account::Account {
        lamports: SOL,
        data,
        owner: address_lookup_table::ID,
        executable: false,
        rent_epoch: 0,
    };
    bank.store(table, account.into());
    let message = |index: u8| {
        let lookup = solana_message::v0::MessageAddressTableLookup {
            account_key: table,
            writable_indexes: vec![index],
            readonly_indexes: Vec::new(),
        };
        let mut data = vec![2, 0, 0, 0];
        data.extend_from_slice(&SOL.to_le_bytes());
        VersionedMessage::V0(solana_message::v0::Message {
            header: solana_message::MessageHeader {
                num_required_signatures: 1,
                num_readonly_signed_accounts: 0,
                num_readonly_unsigned_accounts: 1,
            },
            account_keys: vec![FAUCET, system_program::ID],
            recent_blockhash: bank.last_blockhash(),
            instructions: vec![solana_message::compiled_instruction::CompiledInstruction {
                program_id_index: 1,
                accounts: vec![0, 2],
                data,
            }],
            address_table_lookups: vec![lookup],
        })
    };
    let transaction =
        |index| VersionedTransaction { signatures: vec![Signature::from([index + 1; 64])], message: message(index) };
    let (good, bad) = (transaction(0), transaction(1));
    assert_eq!(bank.execute(&[bad]).first_rejected(), Some((0, TransactionError::InvalidAddressLookupTableIndex)));
    let done = run(&mut bank, good).expect("it gets into the block");
    assert_eq!(done.status, Ok(()));
    assert_eq!(done.loaded_addresses.writable, vec![address(9)]);
    assert_eq!(bank.balance(&address(9)), SOL);
}

#[test]
fn the_ed25519_precompile_checks_and_the_others_refuse() {
    let mut bank = next(&second());
    let instruction = |program_id| Instruction { program_id, accounts: Vec::new(), data: vec![0, 0] };
    let good = unsigned(&[instruction(ed25519_program::ID)], &FAUCET, bank.last_blockhash());
    assert_eq!(run(&mut bank, good).expect("it gets into the block").status, Ok(()));
    let other = unsigned(&[instruction(solana_sdk_ids::secp256k1_program::ID)], &FAUCET, bank.last_blockhash());
    assert!(run(&mut bank, other).expect("it gets into the block").status.is_err());
}

#[test]
fn a_squashed_bank_and_its_children_read_from_the_store() {
    let store = Arc::new(Memory::default());
    let accounts = Arc::new(RootedAccounts::with_capacity(Arc::clone(&store) as Arc<dyn Store>, 4_096));
    let mut bank = Bank::genesis_block(&localnet(8_192).build().unwrap(), accounts).unwrap();
    let mut hashes = Vec::new();
    for number in 0..40u8 {
        let mut child = next(&bank);
        let transaction = pay(&child, &FAUCET, &address(100 + number), SOL);
        run(&mut child, transaction).expect("it gets into the block");
        let child = finish(child);
        if number % 8 == 7 {
            store.commit(&bank.root_batch(), true).unwrap();
            bank.squash();
            assert!(bank.parent().is_none() && bank.is_rooted());
        }
        assert!(bank.rooted_accounts().cached_bytes() < 200_000, "the cache is bounded");
        hashes.push(child.hash());
        bank = child;
    }
    assert!((0..40).all(|number| bank.balance(&address(100 + number)) == SOL));
    assert_eq!(bank.program_accounts(&TOKEN, 10).len(), 1, "the mint of wrapped SOL");
    let total: u64 = bank.scan(usize::MAX, &|_, _| true).iter().map(|(_, account)| account.lamports()).sum();
    assert_eq!(total, bank.capitalization());
}

fn change_vote_state(bank: &mut Bank, vote_account: &Pubkey, change: impl FnOnce(&mut VoteStateV4)) {
    let mut account = bank.account(vote_account).unwrap();
    let mut state = VoteStateV4::deserialize(account.data(), vote_account).unwrap();
    change(&mut state);
    let versions = solana_vote_interface::state::VoteStateVersions::new_v4(state);
    let mut data = bincode::serialize(&versions).unwrap();
    data.resize(3_762, 0);
    account.set_data_from_slice(&data);
    bank.store(*vote_account, account);
}

#[test]
fn a_new_epoch_moves_observed_credits_forward() {
    let genesis = start(&localnet(32));
    let vote_account = address(3);
    let mut bank = Bank::child(&genesis, Slot::new(31), NODE);
    change_vote_state(&mut bank, &vote_account, |state| state.epoch_credits = vec![(0, 77, 0)]);
    let first = finish(next(&finish(bank)));
    assert_eq!(first.epoch().get(), 1);
    assert!(first.rewards_pending());
    let credits = |bank: &Bank| bank.stakes.delegations()[&address(4)].credits_observed;
    let rewards = |bank: &Bank| bank.account(&sysvar::epoch_rewards::ID).unwrap();
    assert_eq!((credits(&first), rewards(&first).data()[80]), (0, 1));
    let second = next(&first);
    assert_eq!((credits(&second), rewards(&second).data()[80]), (77, 0));
    let points = u128::from_le_bytes(rewards(&second).data()[48..64].try_into().unwrap());
    assert_eq!(points, 77 * 1_000 * u128::from(SOL));
}

#[test]
fn a_hard_fork_extends_the_hash_of_the_block_that_reaches_it_executed_or_restored() {
    let store = Arc::new(Memory::default());
    let genesis = || {
        let accounts = Arc::new(RootedAccounts::new(Arc::clone(&store) as Arc<dyn Store>));
        Bank::genesis_block(&localnet(8_192).build().unwrap(), accounts).unwrap()
    };
    let plain = finish(next(&genesis()));
    let forks = HardForks::new(&[Slot::new(1), Slot::new(1)]);
    let mut root = genesis();
    let before = root.hash();
    Arc::get_mut(&mut root).unwrap().set_hard_forks(forks.clone());
    assert_eq!(root.hash(), before, "genesis is below it");
    let forked = finish(next(&root));
    let extended = Sha256::new().chain_update(plain.hash()).chain_update(2_u64.to_le_bytes()).finalize();
    assert_eq!(forked.hash().to_bytes(), <[u8; 32]>::from(extended));
    let after = finish(next(&forked));
    assert_eq!(after.parent_hash(), forked.hash());
    let restarted = |bank: &Bank| bank.account(&sysvar::last_restart_slot::ID).unwrap().data().to_vec();
    assert_eq!((restarted(&forked), restarted(&after)), (vec![0; 8], 1_u64.to_le_bytes().to_vec()));

    store.commit(&plain.root_batch(), true).unwrap();
    let again = Arc::new(RootedAccounts::new(Arc::clone(&store) as Arc<dyn Store>));
    let mut restored = Bank::restore(again).unwrap();
    for (forks, hash) in [(HardForks::default(), plain.hash()), (forks, forked.hash())] {
        Arc::get_mut(&mut restored).unwrap().set_hard_forks(forks);
        assert_eq!(restored.hash(), hash);
    }
}

#[test]
fn an_epochs_stakes_name_the_voter_that_is_authorised_in_it() {
    let genesis = start(&localnet(32));
    let vote_account = address(3);
    let mut bank = Bank::child(&genesis, Slot::new(31), NODE);
    change_vote_state(&mut bank, &vote_account, |state| {
        state.authorized_voters.insert(3, address(9));
    });
    let first = finish(next(&finish(bank)));
    let second = finish(Bank::child(&first, Slot::new(64), NODE));
    let voter = |epoch| {
        let stakes = second.epoch_stakes(sundog_types::Epoch::new(epoch)).expect("it is fixed a whole epoch ahead");
        stakes.by_vote_account[&vote_account].authorized_voter
    };
    assert_eq!([0, 1, 2, 3].map(voter), [vote_account, vote_account, vote_account, address(9)]);
    assert!(second.epoch_stakes(sundog_types::Epoch::new(4)).is_none(), "and no further");
}
