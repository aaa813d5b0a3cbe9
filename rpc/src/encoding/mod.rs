//! Things of the chain as text: accounts, tokens, transactions, instructions.

pub(crate) mod accounts;
pub(crate) mod instructions;
pub(crate) mod tokens;
pub(crate) mod transactions;
pub(crate) mod wire;
