//! Plain transfers without the SVM.
//!
//! Most of what a payments chain executes moves lamports between accounts that have no data. The SVM gets there
//! through what it needs for programs in general: a transaction context, an invocation, a virtual machine that is
//! never used, timers; several times the work of the transfer itself. This module comes to the same outcome directly.
//!
//! It takes a transaction if
//!
//! - it is a legacy message or one of version 0 without lookup tables, well-formed and small;
//! - its instructions are transfers of the system program, and compute budget instructions that hold;
//! - all its accounts but these two programs are written, and none of them is reserved;
//! - its blockhash is a recent one (no durable nonce);
//!
//! and, once its accounts are read, if
//!
//! - each of them belongs to the system program and has no data, or does not exist;
//! - it succeeds, within its limits, and leaves every account with at least the rent-exempt minimum that had it before
//!   or is new.
//!
//! Whatever else there is, the SVM decides: in particular every failure, so that no error is made here. A test holds
//! both ways against each other over random transactions and whole blocks.

use super::{Balances, Features, LAMPORTS_PER_SIGNATURE, Outcome, Programs};
use solana_account::{AccountSharedData, ReadableAccount, WritableAccount};
use solana_compute_budget_instruction::instructions_processor::process_compute_budget_instructions;
use solana_message::{VersionedMessage, compiled_instruction::CompiledInstruction};
use solana_sdk_ids::{compute_budget, native_loader, system_program};
use solana_svm_transaction::instruction::SVMInstruction;
use solana_transaction::versioned::VersionedTransaction;
use sundog_types::Pubkey;

/// Accounts of a transaction that is taken: few enough to look for duplicates by comparing all of them.
const ACCOUNTS_MAX: usize = 16;
/// Instructions of a transaction that is taken: few enough that their logs are never cut off.
const INSTRUCTIONS_MAX: usize = 16;
/// Compute units that the system program and the compute budget program use for any instruction.
const UNITS: u64 = 150;
/// What an account counts beside its data, in bytes of loaded accounts.
const ACCOUNT_BYTES: u32 = 64;
/// Rent epoch of accounts that are exempt from rent.
const EXEMPT: u64 = u64::MAX;
/// How the data of a transfer begins; the lamports follow.
const TRANSFER_TAG: [u8; 4] = [2, 0, 0, 0];

/// A transaction that looks plain, and what its budget instructions say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    /// How many of its accounts come before the programs.
    pub(crate) written: usize,
    priority_fee: u64,
    bytes_max: u32,
}

/// Accounts and lamports of a transfer.
fn transfer(instruction: &CompiledInstruction) -> Option<(usize, usize, u64)> {
    let (tag, lamports) = instruction.data.split_first_chunk::<4>()?;
    let [from, to] = *instruction.accounts.as_slice() else { return None };
    (*tag == TRANSFER_TAG).then_some(())?;
    Some((usize::from(from), usize::from(to), u64::from_le_bytes(lamports.try_into().ok()?)))
}

impl Plain {
    /// `None`: not plain, as far as the transaction alone shows.
    pub(crate) fn read(transaction: &VersionedTransaction, features: &Features) -> Option<Self> {
        let message = &transaction.message;
        match message {
            VersionedMessage::Legacy(_) => {}
            VersionedMessage::V0(message) if message.address_table_lookups.is_empty() => {}
            _ => return None,
        }
        let (header, keys, instructions) = (message.header(), message.static_account_keys(), message.instructions());
        let signers = usize::from(header.num_required_signatures);
        let written = keys.len().checked_sub(usize::from(header.num_readonly_unsigned_accounts))?;
        let fits = keys.len() <= ACCOUNTS_MAX
            && (1..=INSTRUCTIONS_MAX).contains(&instructions.len())
            && (1..=written).contains(&signers)
            && header.num_readonly_signed_accounts == 0
            && transaction.signatures.len() == signers;
        if !fits || !distinct(keys, written) || keys[..written].iter().any(|key| features.is_reserved(key)) {
            return None;
        }
        let mut budgeted = false;
        for instruction in instructions {
            let program = usize::from(instruction.program_id_index);
            if program < written {
                return None;
            }
            if system_program::check_id(keys.get(program)?) {
                let (from, to, _) = transfer(instruction)?;
                (from < signers && to < written).then_some(())?;
            } else {
                budgeted = true;
                instruction.accounts.is_empty().then_some(())?;
            }
        }
        let plain = Self { written, priority_fee: 0, bytes_max: u32::MAX };
        if budgeted { plain.budgeted(message, features) } else { Some(plain) }
    }

    /// Takes the compute budget instructions into account.
    fn budgeted(self, message: &VersionedMessage, features: &Features) -> Option<Self> {
        let keys = message.static_account_keys();
        let program = |instruction: &CompiledInstruction| &keys[usize::from(instruction.program_id_index)];
        let instructions = message.instructions().iter();
        let called = instructions.map(|instruction| (program(instruction), SVMInstruction::from(instruction)));
        let limits = process_compute_budget_instructions(called, &features.set).ok()?;
        let units = UNITS * message.instructions().len() as u64;
        (units <= u64::from(limits.compute_unit_limit)).then_some(())?;
        let (priority_fee, bytes_max) = (limits.get_prioritization_fee(), limits.loaded_accounts_bytes.get());
        Some(Self { priority_fee, bytes_max, ..self })
    }
}

/// Whether the accounts after the written ones are the two programs, and none comes twice.
fn distinct(keys: &[Pubkey], written: usize) -> bool {
    let programs = |key: &Pubkey| system_program::check_id(key) || compute_budget::check_id(key);
    let (first, last) = keys.split_at(written);
    let once = |(place, key): (usize, &Pubkey)| !keys[..place].contains(key);
    last.iter().all(programs) && first.iter().chain(last).enumerate().all(once)
}

/// The accounts of a transaction to be changed, as they were, and how many bytes they count.
type Loaded = (Vec<(Pubkey, AccountSharedData)>, Vec<Option<AccountSharedData>>, u32);

/// What all plain transfers of a bank have in common.
pub(crate) struct Transfers {
    system: AccountSharedData,
    budget: AccountSharedData,
    /// The rent-exempt minimum of an account without data.
    minimum: u64,
    /// Whether outcomes name all accounts, for simulation.
    after: bool,
}

impl Transfers {
    /// `None` if the programs are not there.
    pub(crate) fn new(read: &dyn Fn(&Pubkey) -> Option<AccountSharedData>, minimum: u64, after: bool) -> Option<Self> {
        let program = |id: &Pubkey| read(id).filter(|account| native_loader::check_id(account.owner()));
        Some(Self { system: program(&system_program::ID)?, budget: program(&compute_budget::ID)?, minimum, after })
    }

    fn program(&self, key: &Pubkey) -> &AccountSharedData {
        if system_program::check_id(key) { &self.system } else { &self.budget }
    }

    /// Executes a transaction that looks plain; `None`: only the SVM can. `price`: lamports per signature of its
    /// blockhash; if they are 0, it pays nothing.
    pub(crate) fn execute(
        &self,
        (transaction, plain): (&VersionedTransaction, Plain),
        price: u64,
        read: &dyn Fn(&Pubkey) -> Option<AccountSharedData>,
    ) -> Option<Outcome> {
        let keys = transaction.message.static_account_keys();
        let (written, programs) = keys.split_at(plain.written);
        let (mut accounts, mut replaced, loaded_bytes) = self.load(written, read)?;
        let sizes = programs.iter().map(|key| ACCOUNT_BYTES + self.program(key).data().len() as u32);
        let loaded_bytes = loaded_bytes + sizes.sum::<u32>();
        let (base_fee, priority_fee) = match price {
            0 => (0, 0),
            _ => (LAMPORTS_PER_SIGNATURE * transaction.signatures.len() as u64, plain.priority_fee),
        };
        let before = self.lamports(&accounts, programs);
        let payer = &mut accounts[0].1;
        let rest = payer.lamports().checked_sub(base_fee.checked_add(priority_fee)?)?;
        payer.set_lamports(rest);
        let fits = loaded_bytes <= plain.bytes_max && rest >= self.minimum;
        let instructions = transaction.message.instructions();
        let touched = fits.then(|| move_lamports(&mut accounts, instructions)).flatten()?;
        if accounts.iter().any(|(_, account)| account.lamports() < self.minimum) {
            return None;
        }
        let balances = Balances { before, after: self.lamports(&accounts, programs), ..Balances::default() };
        let mut after = Vec::new();
        if self.after {
            let programs = programs.iter().map(|key| (*key, self.program(key).clone()));
            after.extend(accounts.iter().cloned().chain(programs));
        }
        keep_touched(&mut accounts, touched);
        keep_touched(&mut replaced, touched);
        Some(Outcome {
            status: Ok(()),
            executed: true,
            plain: true,
            before: replaced,
            base_fee,
            priority_fee,
            units: UNITS * instructions.len() as u64,
            loaded_bytes,
            logs: logs(&transaction.message),
            inner: vec![Vec::new(); instructions.len()],
            return_data: None,
            writes: accounts,
            after,
            balances,
            programs: Programs::default(),
        })
    }

    /// The accounts as they are changed, as they were, and their size, if there is nothing special about any of them.
    fn load(&self, keys: &[Pubkey], read: &dyn Fn(&Pubkey) -> Option<AccountSharedData>) -> Option<Loaded> {
        let (mut accounts, mut replaced) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
        let mut bytes = 0;
        for (place, key) in keys.iter().enumerate() {
            let found = read(key);
            replaced.push(found.clone());
            let mut account = match found {
                Some(account) => {
                    let usual = system_program::check_id(account.owner())
                        && account.data().is_empty()
                        && !account.executable()
                        && account.lamports() >= self.minimum;
                    usual.then_some(())?;
                    bytes += ACCOUNT_BYTES;
                    account
                }
                None if place == 0 => return None,
                None => AccountSharedData::default(),
            };
            account.set_rent_epoch(EXEMPT);
            accounts.push((*key, account));
        }
        Some((accounts, replaced, bytes))
    }

    fn lamports(&self, accounts: &[(Pubkey, AccountSharedData)], programs: &[Pubkey]) -> Vec<u64> {
        let accounts = accounts.iter().map(|(_, account)| account.lamports());
        accounts.chain(programs.iter().map(|key| self.program(key).lamports())).collect()
    }
}

fn keep_touched<T>(accounts: &mut Vec<T>, touched: u32) {
    let mut place = 0;
    accounts.retain(|_| {
        place += 1;
        touched & 1 << (place - 1) != 0
    });
}

/// Makes the transfers. A bit for each account that is to be stored: the payer, and those whose lamports moved.
fn move_lamports(accounts: &mut [(Pubkey, AccountSharedData)], instructions: &[CompiledInstruction]) -> Option<u32> {
    let mut touched = 1;
    for (from, to, lamports) in instructions.iter().filter_map(transfer) {
        let rest = accounts[from].1.lamports().checked_sub(lamports)?;
        accounts[from].1.set_lamports(rest);
        let sum = accounts[to].1.lamports().checked_add(lamports)?;
        accounts[to].1.set_lamports(sum);
        if lamports > 0 {
            touched |= 1 << from | 1 << to;
        }
    }
    Some(touched)
}

/// What the programs say: that they were called, and that it went well.
fn logs(message: &VersionedMessage) -> Vec<String> {
    const SYSTEM: [&str; 2] =
        ["Program 11111111111111111111111111111111 invoke [1]", "Program 11111111111111111111111111111111 success"];
    const BUDGET: [&str; 2] = [
        "Program ComputeBudget111111111111111111111111111111 invoke [1]",
        "Program ComputeBudget111111111111111111111111111111 success",
    ];
    let keys = message.static_account_keys();
    let said = |instruction: &CompiledInstruction| {
        let system = system_program::check_id(&keys[usize::from(instruction.program_id_index)]);
        (if system { SYSTEM } else { BUDGET }).map(String::from)
    };
    message.instructions().iter().flat_map(said).collect()
}
