//! Stakes of the nodes, asked of whichever of them serves JSON-RPC. Without an answer the list does without.

use crate::io::{client::Client, spy::Sighting};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    time::{Duration, Instant},
};
use sundog_types::Pubkey;

/// Stakes move once an epoch; a live list asks again this seldom.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Nodes that are asked until one answers.
const TRIES_MAX: usize = 5;

/// What is known of stakes.
#[derive(Default)]
pub struct Stakes {
    known: Option<BTreeMap<Pubkey, u64>>,
    under_way: Option<Receiver<Option<BTreeMap<Pubkey, u64>>>>,
    answered: Option<Instant>,
    tried: BTreeSet<SocketAddr>,
}

impl Stakes {
    /// Takes an answer that came, and asks if it is time and somebody is there to be asked.
    pub fn look(&mut self, sightings: &[Sighting]) {
        if let Some(under_way) = &self.under_way {
            match under_way.try_recv() {
                Ok(Some(stakes)) => {
                    self.known = Some(stakes);
                    self.answered = Some(Instant::now());
                    self.tried.clear();
                }
                Ok(None) | Err(TryRecvError::Disconnected) => {}
                Err(TryRecvError::Empty) => return,
            }
            self.under_way = None;
        }
        if self.answered.is_some_and(|at| at.elapsed() < ASK_EVERY) || self.tried.len() >= TRIES_MAX {
            return;
        }
        let untried = sightings.iter().filter_map(|s| s.addresses.rpc).find(|rpc| !self.tried.contains(rpc));
        if let Some(rpc) = untried {
            self.tried.insert(rpc);
            let (sender, receiver) = sync_channel(1);
            // It may take its time; the spy has pings to answer meanwhile.
            std::thread::spawn(move || sender.try_send(ask(rpc)));
            self.under_way = Some(receiver);
        }
    }

    /// Whether nothing is asked at present.
    pub const fn is_settled(&self) -> bool {
        self.under_way.is_none()
    }

    /// A node's stake in lamports; `None` if stakes are not known.
    pub fn of(&self, node: &Pubkey) -> Option<u64> {
        self.known.as_ref().map(|stakes| stakes.get(node).copied().unwrap_or(0))
    }
}

fn ask(rpc: SocketAddr) -> Option<BTreeMap<Pubkey, u64>> {
    let client = Client::patient(&format!("http://{rpc}"), PATIENCE);
    read(&client.call("getVoteAccounts", &json!([])).ok()?)
}

/// Reads the answer to `getVoteAccounts`: a node may stand behind several vote accounts.
fn read(answer: &Value) -> Option<BTreeMap<Pubkey, u64>> {
    let mut stakes = BTreeMap::<Pubkey, u64>::new();
    for account in ["current", "delinquent"].iter().filter_map(|part| answer[part].as_array()).flatten() {
        let node = account["nodePubkey"].as_str()?.parse().ok()?;
        let stake: &mut u64 = stakes.entry(node).or_default();
        *stake = stake.saturating_add(account["activatedStake"].as_u64()?);
    }
    (!stakes.is_empty()).then_some(stakes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> Pubkey {
        Pubkey::new_from_array([number; 32])
    }

    #[test]
    fn vote_accounts_of_one_node_are_added_up_whether_they_vote_or_not() {
        let account = |number, stake: u64| json!({"nodePubkey": node(number).to_string(), "activatedStake": stake});
        let answer = json!({"current": [account(1, 5), account(2, 7)], "delinquent": [account(1, 3)]});
        let stakes = Stakes { known: read(&answer), ..Stakes::default() };
        assert_eq!([1, 2, 3].map(|n| stakes.of(&node(n))), [Some(8), Some(7), Some(0)]);
    }

    #[test]
    fn what_is_no_answer_gives_no_stakes() {
        for answer in [json!(null), json!({"current": []}), json!({"current": [{"nodePubkey": 5}]})] {
            assert_eq!(read(&answer), None, "{answer}");
        }
        assert_eq!(Stakes::default().of(&node(1)), None);
    }
}
