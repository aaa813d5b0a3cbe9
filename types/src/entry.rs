//! Entries, the records of Proof of History, and their batches on the wire.
