//! Decide which fork to vote for, and never vote against a promise: lockouts, fork choice, commitment.
