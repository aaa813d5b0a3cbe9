//! Plain transfers without the SVM, held against the SVM.

use super::*;
use crate::bank::execute::{Executed, Item, Way};
use solana_account::Account;
use solana_message::{MessageHeader, compiled_instruction::CompiledInstruction, v0};
use solana_sdk_ids::{bpf_loader, compute_budget, incinerator, system_program};
use solana_transaction_error::TransactionError;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) as usize % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())].clone()
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }
}

const PLAIN: Way = Way { after: true, plain: true };
const SVM: Way = Way { after: true, plain: false };

/// The least that an account without data must hold.
const MINIMUM: u64 = 890_880;

fn user(number: usize) -> Pubkey {
    address(100 + number as u8)
}

/// Accounts of every kind that a transfer may meet.
fn users() -> BTreeMap<Pubkey, Account> {
    let plain = |lamports| Account { lamports, ..Account::default() };
    let with = |lamports, change: fn(&mut Account)| {
        let mut account = plain(lamports);
        change(&mut account);
        account
    };
    let accounts = [
        plain(50_000_000_000),
        plain(50_000_000),
        plain(MINIMUM),
        plain(MINIMUM + 5_000),
        plain(MINIMUM + 5_001),
        plain(MINIMUM - 1),
        plain(6_000),
        plain(1),
        with(50_000_000, |account| account.rent_epoch = u64::MAX),
        with(50_000_000, |account| account.rent_epoch = 7),
        with(50_000_000, |account| account.data = vec![0; 10]),
        with(50_000_000, |account| account.data = vec![0; 80]),
        with(50_000_000, |account| account.owner = address(77)),
        with(50_000_000, |account| account.owner = vote::ID),
        with(50_000_000, |account| account.executable = true),
        with(50_000_000, |account| (account.executable, account.owner) = (true, bpf_loader::ID)),
    ];
    let usual = (accounts.len()..40).map(|_| plain(1_000_000_000));
    accounts.iter().cloned().chain(usual).enumerate().map(|(number, account)| (user(number), account)).collect()
}

fn lamports(dice: &mut Dice) -> u64 {
    match dice.roll(9) {
        0 => 0,
        1 => dice.pick(&[MINIMUM - 1, MINIMUM, MINIMUM + 1]),
        2 => dice.pick(&[u64::MAX, 1 << 62, 50_000_000 - 5_000, 50_000_000 - 5_000 - MINIMUM]),
        3 => dice.pick(&[1, 5_000, 5_001, 1_000]),
        _ => 900_000 + dice.roll(1_000_000) as u64,
    }
}

/// A key that is written; rarely one that must not be, or that is special.
fn written(dice: &mut Dice) -> Pubkey {
    match dice.roll(25) {
        0 => dice.pick(&[sysvar::rent::ID, sysvar::instructions::ID, vote::ID, incinerator::ID, system_program::ID]),
        1 => Pubkey::from_str_const("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"),
        2 => Pubkey::from_str_const("ZkE1Gama1Proof11111111111111111111111111111"),
        3 | 4 => address(200 + dice.roll(20) as u8),
        5 | 6 => user(dice.roll(16)),
        _ => user(16 + dice.roll(24)),
    }
}

fn budget(dice: &mut Dice) -> Vec<u8> {
    let mut data = vec![dice.pick(&[1, 2, 2, 2, 3, 3, 3, 4, 0, 9])];
    let small: [u32; 8] = [0, 150, 299, 300, 450, 10_000, 32_768, 1_400_000];
    let number = dice.pick(&small);
    match data[0] {
        3 => data.extend(u64::from(number).to_le_bytes()),
        4 => data.extend(dice.pick(&[1_u32, 64, 141, 142, 205, 206, 228, 300, 1_000_000]).to_le_bytes()),
        _ => data.extend(number.to_le_bytes()),
    }
    if dice.one_in(40) {
        data.pop();
    }
    data
}

/// Data of an instruction of the system program: almost always a transfer.
fn system(dice: &mut Dice) -> Vec<u8> {
    let tag = if dice.one_in(20) { dice.roll(14) as u32 } else { 2 };
    let mut data = tag.to_le_bytes().to_vec();
    data.extend(lamports(dice).to_le_bytes());
    match dice.roll(60) {
        0 => data.push(1),
        1 => data.truncate(dice.roll(12)),
        2 => data.extend([0; 40]),
        _ => {}
    }
    data
}

/// A transaction that is a plain transfer, or nearly.
fn transaction(dice: &mut Dice, blockhashes: &[Hash]) -> VersionedTransaction {
    let writers = dice.pick(&[2, 2, 2, 2, 2, 3, 4, 1, 13]);
    let mut keys: Vec<Pubkey> = Vec::new();
    while keys.len() < writers {
        let key = if keys.is_empty() && !dice.one_in(6) { user(16 + dice.roll(24)) } else { written(dice) };
        if !keys.contains(&key) || dice.one_in(200) {
            keys.push(key);
        }
    }
    let budgeted = dice.one_in(3);
    let readers = dice.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 1]);
    keys.extend((0..readers).map(|_| written(dice)));
    let programs = keys.len();
    keys.push(system_program::ID);
    keys.extend(budgeted.then_some(compute_budget::ID));
    keys.extend(dice.one_in(60).then_some(vote::ID));
    let signers = 1 + dice.roll(writers.min(3));
    let mut instructions = Vec::new();
    for _ in 0..dice.pick(&[1, 1, 1, 1, 2, 2, 3, 4, 17]) {
        let account = |dice: &mut Dice| {
            let among = if dice.one_in(30) { keys.len() } else { writers };
            dice.roll(among) as u8
        };
        let from = if dice.one_in(30) { account(dice) } else { dice.roll(signers) as u8 };
        let mut accounts = vec![from, account(dice)];
        accounts.extend(dice.one_in(50).then(|| account(dice)));
        accounts.truncate(if dice.one_in(60) { dice.roll(2) } else { 3 });
        let program = if dice.one_in(80) { dice.roll(keys.len() + 1) } else { programs };
        instructions.push(CompiledInstruction::new_from_raw_parts(program as u8, system(dice), accounts));
        if budgeted && dice.one_in(2) {
            let accounts = if dice.one_in(30) { vec![account(dice)] } else { Vec::new() };
            instructions.push(CompiledInstruction::new_from_raw_parts(programs as u8 + 1, budget(dice), accounts));
        }
    }
    let header = MessageHeader {
        num_required_signatures: signers as u8,
        num_readonly_signed_accounts: if dice.one_in(40) { dice.roll(signers + 1) as u8 } else { 0 },
        num_readonly_unsigned_accounts: (keys.len() - writers) as u8 + u8::from(dice.one_in(60)),
    };
    let recent_blockhash = dice.pick(blockhashes);
    let message = if dice.one_in(2) {
        VersionedMessage::Legacy(Message { header, account_keys: keys, recent_blockhash, instructions })
    } else {
        let address_table_lookups = Vec::new();
        VersionedMessage::V0(v0::Message {
            header,
            account_keys: keys,
            recent_blockhash,
            instructions,
            address_table_lookups,
        })
    };
    let hash = message.hash();
    let first = Signature::try_from([hash.as_ref(), hash.as_ref()].concat()).unwrap();
    let mut signatures = vec![first; signers];
    if dice.one_in(100) {
        signatures.push(first);
    }
    VersionedTransaction { signatures, message }
}

/// Everything that came of a transaction.
fn told(item: &Item) -> impl PartialEq + std::fmt::Debug + '_ {
    let outcome = item.result.as_ref().map(|o| {
        let paid = (o.executed, o.base_fee, o.priority_fee, o.units, o.loaded_bytes);
        (
            (&o.status, paid),
            (&o.logs, &o.inner, &o.return_data),
            (&o.writes, &o.after, &o.balances),
            o.programs.is_empty(),
        )
    });
    (&item.transaction, item.message_hash, &item.loaded, outcome)
}

fn same(plain: &Executed, svm: &Executed) {
    assert_eq!(plain.items.len(), svm.items.len());
    for (plain, svm) in plain.items.iter().zip(&svm.items) {
        assert_eq!(told(plain), told(svm));
    }
}

/// How many transactions were taken, how many succeeded, and how many could be part of a block.
#[derive(Default)]
struct Tally([usize; 4]);

impl Tally {
    fn count(&mut self, executed: &Executed) {
        let outcomes = || executed.items.iter().filter_map(|item| item.result.as_ref().ok());
        self.0[0] += outcomes().filter(|outcome| outcome.plain).count();
        self.0[1] += outcomes().filter(|outcome| outcome.status.is_ok()).count();
        self.0[2] += outcomes().count();
        self.0[3] += executed.items.len();
    }
}

/// Blocks of random transactions, executed in both ways.
fn blocks(seed: u64, slots: usize, threads: usize) -> Tally {
    let mut dice = Dice(seed);
    let mut genesis = localnet(64);
    genesis.more_accounts = users();
    let (mut plain, mut svm) = (start(&genesis), start(&genesis));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut tally = Tally::default();
    let mut blockhashes = vec![plain.last_blockhash()];
    let mut before = Vec::new();
    for slot in 0..slots {
        let (mut with, mut without) = (next(&plain), next(&svm));
        for _ in 0..5 {
            let count = 1 + dice.roll(60);
            let mut batch: Vec<_> = (0..count).map(|_| transaction(&mut dice, &blockhashes)).collect();
            // Some come again, in this batch or from another one.
            before.extend(batch.iter().filter(|_| dice.one_in(40)).cloned());
            batch.extend(before.iter().filter(|_| dice.one_in(20)).cloned());
            let fast = pool.install(|| with.execute_with(batch.clone(), PLAIN));
            let slow = without.execute_with(batch, SVM);
            same(&fast, &slow);
            tally.count(&fast);
            assert_eq!(with.commit(fast), without.commit(slow));
        }
        tick_all(&mut with, slot as u8);
        tick_all(&mut without, slot as u8);
        with.freeze();
        without.freeze();
        assert!(with.changed_accounts().eq(without.changed_accounts()));
        assert_eq!((with.hash(), with.fees()), (without.hash(), without.fees()));
        (plain, svm) = (Arc::new(with), Arc::new(without));
        blockhashes.push(plain.last_blockhash());
        blockhashes.push(Hash::new_from_array([slot as u8; 32]));
        blockhashes.drain(..blockhashes.len().saturating_sub(9));
    }
    tally
}

#[test]
fn random_transactions_come_to_the_same_outcomes_and_bank_hashes_with_the_svm_and_without() {
    let mut sum = [0; 4];
    for (seed, threads) in [(1, 1), (2, 1), (3, 2), (4, 4)] {
        let Tally(tally) = blocks(seed, 12, threads);
        sum.iter_mut().zip(tally).for_each(|(sum, count)| *sum += count);
    }
    let [plain, succeeded, taken, all] = sum;
    assert!(all > 5_000 && taken > all / 4 && taken < all, "{sum:?}");
    // Most of what is plain is taken for it; a few succeed that only the SVM can tell.
    assert!(plain > succeeded / 2 && plain < succeeded, "{sum:?}");
}

#[test]
fn a_transfer_is_taken_for_plain_and_one_that_fails_is_not() {
    let mut genesis = localnet(64);
    genesis.more_accounts = users();
    let bank = next(&start(&genesis));
    let pay = |lamports| {
        let pay = solana_system_interface::instruction::transfer(&user(20), &user(21), lamports);
        let executed = bank.execute(&[unsigned(&[pay], &user(20), bank.last_blockhash())]);
        let outcome = executed.items[0].result.as_ref().unwrap();
        (outcome.plain, outcome.status.clone().map_err(|error| matches!(error, TransactionError::InstructionError(..))))
    };
    assert_eq!(pay(1), (true, Ok(())));
    assert_eq!(pay(0), (true, Ok(())));
    assert_eq!(pay(u64::MAX), (false, Err(true)));
}

#[test]
fn transfers_between_votes_and_stakes_keep_their_order() {
    // The SVM runs what lies between plain transfers; what one writes, the next one sees.
    let mut genesis = localnet(64);
    genesis.more_accounts = users();
    let bank = next(&start(&genesis));
    let blockhash = bank.last_blockhash();
    let new = address(201);
    let pay = |from: &Pubkey, to: &Pubkey, lamports| {
        unsigned(&[solana_system_interface::instruction::transfer(from, to, lamports)], from, blockhash)
    };
    let batch = vec![
        pay(&user(20), &new, 2 * MINIMUM + 10_000),
        unsigned(&[solana_system_interface::instruction::allocate(&new, 1)], &new, blockhash),
        pay(&user(20), &new, 7),
        pay(&new, &user(20), 7),
        pay(&user(22), &user(20), 7),
    ];
    let (fast, slow) = (bank.execute_with(batch.clone(), PLAIN), bank.execute_with(batch, SVM));
    same(&fast, &slow);
    let plain: Vec<_> =
        fast.items.iter().map(|item| item.result.as_ref().map(|o| (o.plain, o.status.is_ok()))).collect();
    assert_eq!(plain[0], Ok((true, true)));
    assert_eq!(plain[1], Ok((false, true)));
    assert_eq!(plain[2], Ok((false, true)));
    assert_eq!(plain[4], Ok((true, true)));
}

const LOADER: Pubkey = solana_sdk_ids::bpf_loader_upgradeable::ID;
const MEMO: Pubkey = Pubkey::from_str_const("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");
const TOKEN_ACCOUNTS: Pubkey = Pubkey::from_str_const("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");
/// Where the tests deploy a program.
const DEPLOYED: Pubkey = address(92);

/// An account with a program that is to be deployed, which user 21 may do.
fn buffer(of: &Pubkey) -> Account {
    let programs = solana_program_binaries::by_id(of, &solana_rent::Rent::default()).unwrap();
    let mut data = vec![1, 0, 0, 0, 1];
    data.extend(user(21).to_bytes());
    data.extend(programs[0].1.data());
    Account { lamports: 10_000_000_000, data, owner: LOADER, ..Account::default() }
}

fn loader(number: u32, more: &[u8], accounts: Vec<AccountMeta>) -> Instruction {
    Instruction { program_id: LOADER, accounts, data: [&number.to_le_bytes(), more].concat() }
}

fn loader_sysvars() -> [AccountMeta; 2] {
    [sysvar::rent::ID, sysvar::clock::ID].map(|id| AccountMeta::new_readonly(id, false))
}

fn deployed_data() -> Pubkey {
    Pubkey::find_program_address(&[DEPLOYED.as_ref()], &LOADER).0
}

/// Makes the program account, and deploys what is in a buffer.
fn deploy(buffer: Pubkey) -> Vec<Instruction> {
    let create = solana_system_interface::instruction::create_account(&user(20), &DEPLOYED, 5_000_000, 36, &LOADER);
    let mut accounts = vec![AccountMeta::new(user(20), true)];
    accounts.extend([deployed_data(), DEPLOYED, buffer].map(|key| AccountMeta::new(key, false)));
    accounts.extend(loader_sysvars());
    accounts.extend([AccountMeta::new_readonly(system_program::ID, false), AccountMeta::new_readonly(user(21), true)]);
    vec![create, loader(2, &200_000_u64.to_le_bytes(), accounts)]
}

fn call(text: &[u8]) -> Instruction {
    Instruction { program_id: DEPLOYED, accounts: Vec::new(), data: text.to_vec() }
}

#[test]
fn a_program_that_was_deployed_in_a_batch_without_an_entry_leaves_nothing_behind() {
    let mut genesis = localnet(64);
    genesis.more_accounts = users();
    genesis.more_accounts.extend([(address(90), buffer(&MEMO)), (address(91), buffer(&TOKEN_ACCOUNTS))]);
    let deployed = |executed: &Executed| {
        let outcome = executed.items[0].result.as_ref().unwrap();
        assert_eq!(outcome.status, Ok(()), "{:?}", outcome.logs);
    };
    let after = |given_up: bool| {
        let mut bank = next(&start(&genesis));
        let blockhash = bank.last_blockhash();
        let unsigned = |instructions: &[Instruction]| unsigned(instructions, &user(20), blockhash);
        if given_up {
            let pay = solana_system_interface::instruction::transfer(&user(20), &user(23), 1);
            let batch = vec![unsigned(&deploy(address(90))), unsigned(&[pay]), unsigned(&[call(b"a")])];
            let executed = bank.execute_with(batch, PLAIN);
            deployed(&executed);
        }
        let executed = bank.execute_with(vec![unsigned(&deploy(address(91)))], PLAIN);
        deployed(&executed);
        bank.commit(executed);
        let child = next(&finish(bank));
        let batch = vec![super::unsigned(&[call(b"a")], &user(20), child.last_blockhash())];
        child.execute_with(batch, PLAIN)
    };
    let (plain, given_up) = (after(false), after(true));
    same(&given_up, &plain);
    assert!(plain.items[0].result.as_ref().unwrap().status.is_err(), "it is no memo that was deployed");
}

#[test]
fn a_program_that_is_deployed_between_transfers_runs_from_the_next_block_on() {
    let mut genesis = localnet(64);
    genesis.more_accounts = users();
    genesis.more_accounts.extend([90, 91].map(|number| (address(number), buffer(&MEMO))));
    let written = [deployed_data(), DEPLOYED, address(91), user(20)];
    let mut accounts: Vec<_> = written.map(|key| AccountMeta::new(key, false)).to_vec();
    accounts.extend(loader_sysvars());
    accounts.push(AccountMeta::new_readonly(user(21), true));
    let upgrade = loader(3, &[], accounts);
    let pay = |from: Pubkey, lamports| solana_system_interface::instruction::transfer(&from, &user(23), lamports);
    let mut parents = [start(&genesis), start(&genesis)];
    let mut ran = Vec::new();
    for instructions in [deploy(address(90)), vec![], vec![upgrade], vec![]] {
        let blockhash = parents[0].last_blockhash();
        let unsigned = |instructions: &[Instruction], payer| unsigned(instructions, &payer, blockhash);
        let mut batch = vec![unsigned(&[call(b"before")], user(20)), unsigned(&[pay(user(20), 1)], user(20))];
        batch.extend((!instructions.is_empty()).then(|| unsigned(&instructions, user(20))));
        batch.extend([unsigned(&[pay(user(22), 2)], user(22)), unsigned(&[pay(user(20), 3)], user(20))]);
        batch.extend([unsigned(&[call(b"after")], user(20)), unsigned(&[pay(user(22), 4)], user(22))]);
        let mut banks = parents.each_ref().map(next);
        let (fast, slow) = (banks[0].execute_with(batch.clone(), PLAIN), banks[1].execute_with(batch, SVM));
        same(&fast, &slow);
        ran.extend(fast.items.iter().map(|item| item.result.as_ref().is_ok_and(|outcome| outcome.status.is_ok())));
        assert_eq!(banks[0].commit(fast), banks[1].commit(slow));
        parents = banks.map(finish);
        assert_eq!(parents[0].hash(), parents[1].hash());
    }
    let (first, second) = ([false, true, true, true, true, false, true], [true; 6]);
    let third = [true, true, true, true, true, false, true];
    assert_eq!(ran, [&first[..], &second, &third, &second].concat());
}
