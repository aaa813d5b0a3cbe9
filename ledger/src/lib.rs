//! Remember blocks: what is stored of shreds, slots, transactions and roots, genesis, snapshots.
