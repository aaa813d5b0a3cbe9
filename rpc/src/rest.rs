//! What is asked with a plain GET.

use crate::{
    chain::{Chain, Health},
    commitment::Commitment,
};

/// An answer to a GET: an HTTP status and a body of plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Answers a GET of `path` (reference 10.1). Health is always status 200: load balancers read the word.
#[must_use]
pub fn get(chain: &dyn Chain, path: &str) -> Page {
    let body = match path {
        "/health" => match chain.health() {
            Health::Ok => "ok".to_owned(),
            Health::Behind(_) => "behind".to_owned(),
            Health::Unknown | Health::Waiting { .. } => "unknown".to_owned(),
        },
        "/v0/circulating-supply" | "/v0/total-supply" => {
            lamports_as_sol(chain.bank(Commitment::Finalized).capitalization())
        }
        _ => {
            return Page { status: 404, body: "Not Found".to_owned() };
        }
    };
    Page { status: 200, body }
}

/// Lamports as a decimal number of SOL, exactly.
fn lamports_as_sol(lamports: u64) -> String {
    format!("{}.{:09}", lamports / 1_000_000_000, lamports % 1_000_000_000)
}
