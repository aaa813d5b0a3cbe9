//! What a localnet's genesis is made from.

use super::{Layout, LocalnetArgs};
use crate::{
    cli::genesis::{Founder, GenesisPlan},
    io::{files, pace},
};
use anyhow::bail;
use serde::{Deserialize, Serialize};
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::time::Duration;

/// Stakes of the first validators in SOL; further ones get the last.
const STAKES: [u64; 4] = [1_000, 600, 400, 100];

/// What the genesis was made from, kept so that a later start knows whether it still fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Of the validators, SOL.
    pub stakes: Vec<u64>,
    /// Length of a slot, milliseconds.
    pub slot_ms: u64,
    /// Slots in an epoch.
    pub slots_per_epoch: u64,
    /// Children in a Turbine tree. Not of the genesis: every node is told, and a later start may choose another.
    #[serde(default)]
    pub fanout: Option<u16>,
    /// The slots at which the cluster was restarted with a hard fork, as every node is told.
    #[serde(default)]
    pub hard_forks: Vec<u64>,
}

impl Plan {
    /// The plan that the arguments ask for; what they leave open is as in `kept`.
    ///
    /// # Errors
    /// If the arguments contradict each other.
    pub fn of(args: &LocalnetArgs, kept: Option<&Self>) -> anyhow::Result<Self> {
        let stakes = match (&args.stakes, args.validators) {
            (Some(stakes), Some(count)) if stakes.len() != usize::from(count) => {
                bail!(
                    "--validators {count} and --stakes with {} values contradict each other; give one of them",
                    stakes.len()
                );
            }
            (Some(stakes), _) if stakes.is_empty() || stakes.contains(&0) => {
                bail!(
                    "--stakes: every validator needs at least 1 SOL; `sundog localnet add` adds a node without stake"
                );
            }
            (Some(stakes), _) => stakes.clone(),
            (None, Some(count)) => (0..usize::from(count)).map(|i| STAKES[i.min(STAKES.len() - 1)]).collect(),
            (None, None) => kept.map_or_else(|| STAKES[..3].to_vec(), |kept| kept.stakes.clone()),
        };
        let slot_ms = if args.fast { Some(100) } else { args.slot_ms };
        Ok(Self {
            stakes,
            slot_ms: slot_ms.unwrap_or_else(|| kept.map_or(400, |kept| kept.slot_ms)),
            slots_per_epoch: args.slots_per_epoch.unwrap_or_else(|| kept.map_or(8_192, |kept| kept.slots_per_epoch)),
            fanout: args.fanout.or_else(|| kept.and_then(|kept| kept.fanout)),
            hard_forks: kept.map(|kept| kept.hard_forks.clone()).unwrap_or_default(),
        })
    }
}

/// Makes the genesis of a plan, with its keys, and keeps the plan.
///
/// # Errors
/// If a file cannot be written.
pub fn make_genesis(layout: &Layout, plan: &Plan) -> anyhow::Result<()> {
    let faucet = Keypair::new();
    files::write_keypair(&layout.faucet(), &faucet, true)?;
    let mut founders = Vec::new();
    for (node, stake_sol) in plan.stakes.iter().enumerate() {
        files::make_directory(&layout.node(node))?;
        let founder = Founder { identity: Keypair::new(), vote: Keypair::new(), stake_sol: *stake_sol };
        files::write_keypair(&layout.of_node(node, "identity.json"), &founder.identity, true)?;
        files::write_keypair(&layout.of_node(node, "vote-account.json"), &founder.vote, true)?;
        founders.push(founder);
    }
    let slot = Duration::from_millis(plan.slot_ms);
    let genesis = GenesisPlan {
        founders,
        faucet: faucet.pubkey(),
        slot,
        slots_per_epoch: plan.slots_per_epoch,
        hashes_per_tick: Some(pace::hashes_per_tick(slot / 64)),
    }
    .build()?;
    files::write_whole(&layout.genesis(), &genesis.encode())?;
    files::write_json(&layout.plan(), plan)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: LocalnetArgs,
    }

    fn plan(line: &[&str], kept: Option<&Plan>) -> Plan {
        let line = Line::try_parse_from(["localnet"].iter().chain(line)).unwrap_or_else(|e| panic!("{e}"));
        Plan::of(&line.args, kept).expect("a plan")
    }

    #[test]
    fn a_fanout_is_kept_for_later_starts_until_another_is_given() {
        assert_eq!(plan(&[], None).fanout, None);
        let first = plan(&["--fanout", "2"], None);
        assert_eq!((first.fanout, plan(&[], Some(&first)).fanout), (Some(2), Some(2)));
        assert_eq!(plan(&["--fanout", "3"], Some(&first)).fanout, Some(3));
        assert!(Line::try_parse_from(["localnet", "--fanout", "0"]).is_err());
    }

    #[test]
    fn an_epoch_too_short_for_a_root_is_refused_with_what_to_give() {
        assert_eq!(plan(&["--slots-per-epoch", "128"], None).slots_per_epoch, 128);
        for (given, says) in [("127", "give 128 or more"), ("1000001", "give 1000000 or less"), ("x", "no number")] {
            let refused = Line::try_parse_from(["localnet", "--slots-per-epoch", given]).err().map(|e| e.to_string());
            assert!(refused.as_ref().is_some_and(|why| why.contains(says)), "{given}: {refused:?}");
        }
    }

    #[test]
    fn a_plan_from_before_there_was_a_fanout_is_still_read() {
        let old = serde_json::json!({"stakes": [1_000, 600], "slot_ms": 100, "slots_per_epoch": 8_192});
        let kept: Plan = serde_json::from_value(old).expect("a plan");
        assert_eq!(plan(&[], Some(&kept)), kept);
    }
}
