//! The RPC against a node that is made of fixed facts: what is asked and what exactly is answered.

mod answers;
mod fake;
mod hostile;
mod limits;
mod shapes;
mod subscribers;
mod votes;
