//! The sysvar accounts that a bank writes (reference 12.3, 12.4).

use super::Bank;
use crate::clock::{self, EpochStart, Sample};
use solana_account::{Account, AccountSharedData, ReadableAccount, WritableAccount};
use solana_clock::Clock;
use solana_sdk_ids::sysvar;
use solana_slot_history::SlotHistory;
use std::time::Duration;
use sundog_types::{Hash, Pubkey, Slot};

/// Entries of the SlotHashes sysvar.
const SLOT_HASHES_MAX: usize = 512;
/// Length of the SlotHashes sysvar's data.
const SLOT_HASHES_BYTES: usize = 8 + SLOT_HASHES_MAX * 40;

impl Bank {
    /// Writes a sysvar account: its lamports never fall, and pay for rent exemption.
    pub(super) fn write_sysvar(&mut self, key: Pubkey, data: Vec<u8>) {
        let before = self.account(&key);
        let held = before.as_ref().map_or(0, ReadableAccount::lamports);
        let account = Account {
            lamports: self.parameters.rent.minimum_balance(data.len()).max(held).max(1),
            rent_epoch: before.as_ref().map_or(0, ReadableAccount::rent_epoch),
            owner: sysvar::ID,
            executable: false,
            data,
        };
        self.place.capitalization += account.lamports - held;
        self.store(key, account.into());
    }

    /// The clock as of this bank.
    ///
    /// # Panics
    /// Never: every bank writes its clock when it is made.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.read_clock().expect("every bank has a clock")
    }

    fn read_clock(&self) -> Option<Clock> {
        bincode::deserialize(self.account(&sysvar::clock::ID)?.data()).ok()
    }

    /// Sets the clock from the votes that landed so far. `parent_epoch`: none for the first bank.
    pub(super) fn update_clock(&mut self, parent_epoch: Option<u64>) {
        let schedule = &self.parameters.epoch_schedule;
        let (slot, epoch) = (self.place.slot, self.place.epoch);
        let leader_schedule_epoch = schedule.get_leader_schedule_epoch(slot);
        let (unix_timestamp, epoch_start_timestamp) = match parent_epoch {
            None => (self.parameters.creation_time, self.parameters.creation_time),
            Some(parent_epoch) => {
                let before = self.clock();
                let now = self.estimate(parent_epoch, &before).unwrap_or(before.unix_timestamp);
                let now = now.max(before.unix_timestamp);
                (now, if parent_epoch == epoch { before.epoch_start_timestamp } else { now })
            }
        };
        let clock = Clock { slot, epoch_start_timestamp, epoch, leader_schedule_epoch, unix_timestamp };
        self.write_sysvar(sysvar::clock::ID, bincode::serialize(&clock).expect("plain numbers always encode"));
    }

    fn estimate(&self, parent_epoch: u64, before: &Clock) -> Option<i64> {
        let schedule = &self.parameters.epoch_schedule;
        let slot = self.place.slot;
        let stakes = self.epoch_stakes.get(&self.place.epoch)?;
        let samples = self.stakes.votes().iter().filter_map(|(key, state)| {
            let last = &state.last_timestamp;
            let recent = slot.checked_sub(last.slot)? <= schedule.slots_per_epoch;
            let stake = stakes.of_vote_account(key);
            recent.then_some(Sample { slot: last.slot, timestamp: last.timestamp, stake })
        });
        let start = EpochStart {
            slot: schedule.get_first_slot_in_epoch(parent_epoch),
            timestamp: before.epoch_start_timestamp,
            slot_duration: Duration::from_nanos(self.parameters.nanoseconds_per_slot),
        };
        clock::estimate(slot, samples, start)
    }

    /// Puts the parent in front of SlotHashes.
    pub(super) fn update_slot_hashes(&mut self) {
        let mut hashes = self.slot_hashes();
        hashes.insert(0, (self.place.parent_slot, self.place.parent_hash));
        hashes.truncate(SLOT_HASHES_MAX);
        let mut data = bincode::serialize(&hashes).expect("plain numbers always encode");
        data.resize(SLOT_HASHES_BYTES, 0);
        self.write_sysvar(sysvar::slot_hashes::ID, data);
    }

    /// The recent ancestors and their bank hashes, newest first.
    #[must_use]
    pub fn slot_hashes(&self) -> Vec<(u64, Hash)> {
        let account = self.account(&sysvar::slot_hashes::ID);
        account.and_then(|account| bincode::deserialize(account.data()).ok()).unwrap_or_default()
    }

    /// Notes this slot in SlotHistory.
    pub(super) fn update_slot_history(&mut self) {
        let account = self.account(&sysvar::slot_history::ID);
        let mut history: SlotHistory =
            account.and_then(|account| bincode::deserialize(account.data()).ok()).unwrap_or_default();
        history.add(self.place.slot);
        let data = bincode::serialize(&history).expect("bits always encode");
        self.write_sysvar(sysvar::slot_history::ID, data);
    }

    /// Writes what of the sysvars never changes: bank 0 does.
    pub(super) fn write_fixed_sysvars(&mut self) {
        let rent = bincode::serialize(&self.parameters.rent).expect("plain numbers always encode");
        self.write_sysvar(sysvar::rent::ID, rent);
        let schedule = bincode::serialize(&self.parameters.epoch_schedule).expect("plain numbers always encode");
        self.write_sysvar(sysvar::epoch_schedule::ID, schedule);
        self.write_sysvar(sysvar::last_restart_slot::ID, vec![0; 8]);
    }

    /// Notes the newest coordinated restart below this block, if that is news. The block that it went on from was executed
    /// before it, and keeps its state.
    pub(super) fn update_last_restart_slot(&mut self) {
        let parent = Slot::new(self.place.parent_slot);
        let newest = self.parameters.hard_forks.iter().take_while(|(slot, _)| *slot <= parent).last();
        let Some((restart, _)) = newest else { return };
        let data = restart.get().to_le_bytes().to_vec();
        if self.account(&sysvar::last_restart_slot::ID).is_none_or(|known| known.data() != data) {
            self.write_sysvar(sysvar::last_restart_slot::ID, data);
        }
    }

    pub(super) fn update_recent_blockhashes(&mut self) {
        let data = self.queue.sysvar_data();
        self.write_sysvar(sysvar::recent_blockhashes::ID, data);
    }

    pub(super) fn update_stake_history(&mut self) {
        let data = self.stakes.history().sysvar_data();
        self.write_sysvar(sysvar::stake_history::ID, data);
    }

    /// Takes all lamports of an account out of the world.
    pub(super) fn destroy(&mut self, key: Pubkey) -> u64 {
        let Some(mut account) = self.account(&key) else {
            return 0;
        };
        let lamports = account.lamports();
        account.set_lamports(0);
        self.place.capitalization -= lamports;
        self.store(key, AccountSharedData::default());
        lamports
    }
}
