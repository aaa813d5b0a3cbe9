//! Carry transactions to the leaders that will need them: ingress limits, dedup, signature checks, scheduling, forwarding.
