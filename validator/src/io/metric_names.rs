//! The names under which the machines' counters are exported.

use crate::node::View;
use std::fmt;

/// Labels and a value.
pub type Labelled = (Vec<(&'static str, String)>, u64);
/// Takes a family: its name and help, and its values.
pub type Take<'a> = dyn FnMut((&str, &str), Vec<Labelled>) -> fmt::Result + 'a;

fn by(label: &'static str, values: impl IntoIterator<Item = (&'static str, u64)>) -> Vec<Labelled> {
    values.into_iter().map(|(name, value)| (vec![(label, name.to_owned())], value)).collect()
}

fn one(value: u64) -> Vec<Labelled> {
    vec![(Vec::new(), value)]
}

/// Exports every machine's counters.
///
/// # Errors
/// If `take` fails.
pub fn encode_machines(view: &View, take: &mut Take<'_>) -> fmt::Result {
    turbine(view, take)?;
    gossip(view, take)?;
    gulfstream(view, take)?;
    node(view, take)
}

fn turbine(view: &View, take: &mut Take<'_>) -> fmt::Result {
    let m = &view.turbine;
    let places = ["root", "layer_1", "layer_2", "deeper"];
    take(
        ("turbine_received", "Shreds received by Turbine, by this node's place in their tree"),
        by("place", places.into_iter().zip(m.received_by_place)),
    )?;
    let sent = [
        ("broadcast", m.sent_broadcast),
        ("retransmit", m.sent_retransmit),
        ("retransmit_recovered", m.sent_retransmit_recovered),
    ];
    take(
        ("turbine_sent", "Shreds sent by Turbine: as leader to the tree's root, or passed on to children"),
        by("kind", sent),
    )?;
    take(("turbine_repaired", "Shreds that repair brought"), one(m.repaired))?;
    take(("turbine_recovered", "Shreds that erasure coding brought back"), one(m.recovered))?;
    take(("turbine_repair_requests", "Repair requests sent"), one(m.repair_requests))?;
    take(("turbine_served", "Shreds served to nodes that asked for repair"), one(m.served))?;
    take(("turbine_verifications", "Leader signatures checked, one for each FEC set"), one(m.verifications))?;
    take(("turbine_complete", "Blocks of which every data shred arrived"), one(m.complete))?;
    take(("turbine_duplicate_slots", "Slots whose leader signed two versions"), one(m.duplicate_slots))?;
    take(("turbine_dropped", "Shreds and repair messages dropped, by reason"), by("reason", m.drops()))
}

fn gossip(view: &View, take: &mut Take<'_>) -> fmt::Result {
    let m = &view.gossip;
    let values = [
        ("pushed_in", m.pushed_in),
        ("pulled_in", m.pulled_in),
        ("pushed_out", m.pushed_out),
        ("pulled_out", m.pulled_out),
    ];
    take(("gossip_values", "Values by the way they came or went"), by("way", values))?;
    take(("gossip_packets", "Gossip packets taken"), one(m.packets))?;
    take(("gossip_proven", "Addresses that answered a ping"), one(m.proven))?;
    let dropped = sundog_gossip::DropReason::ALL.iter().map(|why| (why.name(), m.dropped(*why)));
    take(("gossip_dropped", "Gossip packets and values dropped, by reason"), by("reason", dropped))
}

fn gulfstream(view: &View, take: &mut Take<'_>) -> fmt::Result {
    let m = &view.gulfstream;
    let dropped = sundog_gulfstream::DropReason::ALL.iter().map(|why| (why.name(), m.dropped(*why)));
    take(("gulfstream_dropped", "Transactions dropped, by reason"), by("reason", dropped))
}

fn node(view: &View, take: &mut Take<'_>) -> fmt::Result {
    let c = &view.counters;
    take(("blocks", "Blocks executed and frozen"), one(c.blocks))?;
    take(("transactions", "Transactions executed, votes included"), one(c.transactions))?;
    take(("votes", "Votes cast"), one(c.votes))?;
    take(("dead_blocks", "Blocks found dead"), one(c.dead))?;
    let dropped = [("gossip_unchecked", c.unchecked), ("vote_unsigned", c.unsigned_votes), ("rejected", c.rejected)];
    let help = "What the node dropped: gossip that the pool had no time to check, votes without valid signatures, \
                transactions that its own block could not take";
    take(("node_dropped", help), by("reason", dropped))?;
    take(
        (
            "block_propagation_ms_sum",
            "Time from the first shred of a block until it is executed, milliseconds, added up",
        ),
        one(c.propagation_ms),
    )?;
    take(("block_propagation_count", "Blocks in that sum"), one(c.propagated))?;
    take(("abstained", "Votes not cast, by reason"), by("reason", c.abstained.iter().map(|(why, n)| (*why, *n))))
}
