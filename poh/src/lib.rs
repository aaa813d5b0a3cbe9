//! Keep time by hashing, and record what happened when.
