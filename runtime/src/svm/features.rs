//! Feature gates, and what follows from those that are active.

use agave_feature_set::{FEATURE_NAMES, FeatureSet};
use agave_reserved_account_keys::ReservedAccountKeys;
use solana_program_runtime::{
    execution_budget::SVMTransactionExecutionBudget, loaded_programs::ProgramRuntimeEnvironment,
};
use solana_svm_feature_set::SVMFeatureSet;
use sundog_types::Pubkey;

/// The feature gates that are active, with what follows from them.
pub(crate) struct Features {
    pub(super) set: FeatureSet,
    pub(super) svm: SVMFeatureSet,
    pub(crate) reserved: ReservedAccountKeys,
    /// The same keys that are active, ascending: to be searched faster.
    reserved_keys: Vec<Pubkey>,
    pub(super) environment: ProgramRuntimeEnvironment,
}

impl Features {
    /// Reads the gates. `activated`: the slot of a gate's activation, if it is active.
    pub(crate) fn read(activated: &dyn Fn(&Pubkey) -> Option<u64>) -> Self {
        let mut set = FeatureSet::default();
        for id in FEATURE_NAMES.keys() {
            if let Some(slot) = activated(id) {
                set.activate(id, slot);
            }
        }
        let mut reserved = ReservedAccountKeys::default();
        reserved.update_active_set(&set);
        let mut reserved_keys: Vec<Pubkey> = reserved.active.iter().copied().collect();
        reserved_keys.sort_unstable();
        let svm = set.runtime_features();
        let budget = SVMTransactionExecutionBudget::new_with_defaults(svm.raise_cpi_nesting_limit_to_8);
        let environment = solana_syscalls::create_program_runtime_environment(&svm, &budget, true, false)
            .expect("the system calls have distinct names");
        Self { set, svm, reserved, reserved_keys, environment }
    }

    /// Whether no transaction may write an account.
    pub(super) fn is_reserved(&self, key: &Pubkey) -> bool {
        self.reserved_keys.binary_search(key).is_ok()
    }

    /// The slot in which a gate became active.
    pub(crate) fn activated(&self, id: &Pubkey) -> Option<u64> {
        self.set.activated_slot(id)
    }
}
