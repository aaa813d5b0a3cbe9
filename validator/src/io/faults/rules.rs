//! What is to be done to packets: plain data, checked before it holds.

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// Bytes of rules in one line: four times what the largest localnet's take.
pub const LINE_BYTES_MAX: usize = 128 << 10;
/// Peers that rules may name: more than a machine runs nodes.
const PEERS_MAX: usize = 1_024;
/// Addresses that a peer's packets may leave from: twice the ports of a node.
const ADDRESSES_MAX: usize = 16;
/// The longest delay, with its jitter: connections do not outlive it.
const DELAY_MS_MAX: u32 = 60_000;
/// The slowest rate: a packet in one and a half seconds.
const RATE_KBIT_MIN: u32 = 8;

/// A protocol between nodes, whatever it travels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// Gossip, and the IP echo beside it.
    Gossip,
    /// Shreds on their way down the tree.
    Turbine,
    /// Repair, both sides of it.
    Repair,
    /// Votes straight to leaders.
    Votes,
    /// Transactions to leaders.
    Transactions,
    /// Bulk sync.
    Sync,
}

impl Flow {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::Gossip, Self::Turbine, Self::Repair, Self::Votes, Self::Transactions, Self::Sync];
}

/// What is done to packets that are sent to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Treatment {
    /// None is sent.
    pub block: bool,
    /// So many of a hundred are lost.
    pub loss_percent: f64,
    /// All come so much later, milliseconds,
    pub delay_ms: u32,
    /// and by chance up to so much more, so that some overtake others.
    pub jitter_ms: u32,
    /// So many of a hundred are sent twice.
    pub duplicate_percent: f64,
    /// The line takes no more than so many kilobits a second. What waits longer than a second is lost.
    pub rate_kbit: Option<u32>,
}

impl Treatment {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Which is exceeded, and what it may be.
    pub fn validate(&self) -> Result<(), RulesError> {
        for (name, percent) in [("loss", self.loss_percent), ("duplicate", self.duplicate_percent)] {
            if !(0.0..=100.0).contains(&percent) {
                return Err(RulesError::Range { name, range: "0 to 100 percent" });
            }
        }
        if self.delay_ms.saturating_add(self.jitter_ms) > DELAY_MS_MAX {
            return Err(RulesError::Range { name: "delay with jitter", range: "up to 60000 milliseconds" });
        }
        if self.rate_kbit.is_some_and(|rate| rate < RATE_KBIT_MIN) {
            return Err(RulesError::Range { name: "rate", range: "at least 8 kilobits a second" });
        }
        Ok(())
    }
}

/// What is done to the packets of one peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeerRules {
    /// Its identity, base58.
    pub identity: String,
    /// Every address that its packets leave from or go to.
    pub addresses: Vec<SocketAddr>,
    /// Protocols in which it is not heard.
    pub unheard: BTreeSet<Flow>,
    /// What is done to what is sent to it.
    pub outbound: BTreeMap<Flow, Treatment>,
}

/// All that is done. A table replaces the one before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The table's number, by which it is seen to hold.
    pub order: u64,
    /// The peers to whose packets something is done.
    pub peers: Vec<PeerRules>,
}

/// Why rules cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The node was started without faults.
    #[error("fault injection is off; start the node with --faults true")]
    Off,
    /// No rules at all.
    #[error("these are no fault rules: {0}; docs/faults.md shows some")]
    Form(String),
    /// Too many of something.
    #[error("fault rules name more than {most} {what}; name fewer")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many may be.
        most: usize,
    },
    /// An identity is none.
    #[error("{0} is no identity in base58")]
    Identity(String),
    /// A number is out of its range.
    #[error("{name} is out of range; give {range}")]
    Range {
        /// Which.
        name: &'static str,
        /// What it may be.
        range: &'static str,
    },
}

impl Rules {
    /// Reads rules from a line of JSON and checks them.
    ///
    /// # Errors
    /// If they cannot be followed.
    pub fn read(line: &str) -> Result<Self, RulesError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(RulesError::TooMany { what: "bytes", most: LINE_BYTES_MAX });
        }
        let rules: Self = serde_json::from_str(line).map_err(|error| RulesError::Form(error.to_string()))?;
        rules.validate()?;
        Ok(rules)
    }

    /// Checks sizes and ranges.
    ///
    /// # Errors
    /// If something exceeds them.
    pub fn validate(&self) -> Result<(), RulesError> {
        if self.peers.len() > PEERS_MAX {
            return Err(RulesError::TooMany { what: "peers", most: PEERS_MAX });
        }
        if self.peers.iter().any(|peer| peer.addresses.len() > ADDRESSES_MAX) {
            return Err(RulesError::TooMany { what: "addresses of a peer", most: ADDRESSES_MAX });
        }
        self.peers.iter().flat_map(|peer| peer.outbound.values()).try_for_each(Treatment::validate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_were_written() {
        let treatment = Treatment { loss_percent: 12.5, delay_ms: 50, rate_kbit: Some(100), ..Treatment::default() };
        let peer = PeerRules {
            identity: "x".into(),
            addresses: vec![([127, 0, 0, 1], 8_000).into()],
            unheard: [Flow::Gossip, Flow::Sync].into(),
            outbound: [(Flow::Turbine, treatment)].into(),
        };
        let rules = Rules { order: u64::MAX, peers: vec![peer] };
        let line = serde_json::to_string(&rules).expect("rules serialise");
        assert_eq!(Rules::read(&line).expect("good rules"), rules, "{line}");
    }

    #[test]
    fn what_is_too_long_too_many_out_of_range_or_unknown_is_refused() {
        let refused = |line: &str, part: &str| {
            let error = Rules::read(line).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        refused(&" ".repeat(LINE_BYTES_MAX + 1), "bytes");
        refused("{\"order\":1,\"peers\":[],\"more\":1}", "more");
        refused("", "no fault rules");
        let peers = |peer: &PeerRules, count| {
            serde_json::to_string(&Rules { order: 1, peers: vec![peer.clone(); count] }).expect("rules serialise")
        };
        refused(&peers(&PeerRules::default(), PEERS_MAX + 1), "peers");
        let addresses = vec![([127, 0, 0, 1], 1).into(); ADDRESSES_MAX + 1];
        refused(&peers(&PeerRules { addresses, ..PeerRules::default() }, 1), "addresses");
        let with = |treatment| PeerRules { outbound: [(Flow::Votes, treatment)].into(), ..PeerRules::default() };
        let bad = [
            (Treatment { loss_percent: 100.1, ..Treatment::default() }, "loss"),
            (Treatment { duplicate_percent: -1.0, ..Treatment::default() }, "duplicate"),
            (Treatment { delay_ms: 1, jitter_ms: DELAY_MS_MAX, ..Treatment::default() }, "delay"),
            (Treatment { rate_kbit: Some(7), ..Treatment::default() }, "rate"),
        ];
        for (treatment, part) in bad {
            refused(&peers(&with(treatment), 1), part);
        }
    }
}
