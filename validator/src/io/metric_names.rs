//! The names under which the machines' counters are exported.

use crate::node::View;
use std::{collections::BTreeSet, fmt};
use sundog_gossip::{TroubleKind, duplicates::ChunkDrop, wire::value::Kind};
use sundog_turbine::sync::Refusal;

/// The kinds of values in gossip, by name.
const KINDS: [(Kind, &str); 8] = [
    (Kind::ContactInfo, "contact_info"),
    (Kind::Vote, "vote"),
    (Kind::LowestSlot, "lowest_slot"),
    (Kind::EpochSlots, "epoch_slots"),
    (Kind::DuplicateShred, "duplicate_shred"),
    (Kind::SnapshotHashes, "snapshot_hashes"),
    (Kind::RestartLastVotedForkSlots, "restart_last_voted_fork_slots"),
    (Kind::RestartHeaviestFork, "restart_heaviest_fork"),
];

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
    sync(view, take)?;
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
    let unsent = [("no_address", m.unsent_without_address), ("sent_before", m.unsent_again)];
    take(("turbine_unsent", "Shreds not sent or not passed on, by reason"), by("reason", unsent))?;
    let otherwise = [("repair", m.repaired), ("recovery", m.recovered), ("bulk_sync", m.synced)];
    take(("turbine_taken", "Shreds taken that Turbine did not bring, by way"), by("way", otherwise))?;
    let sets = [("recovered", m.sets_recovered), ("corrupt", m.sets_corrupt), ("too_late", m.decoded_too_late)];
    take(("turbine_sets_decoded", "FEC sets decoded, by outcome"), by("outcome", sets))?;
    let checks = [("leader", m.verifications), ("retransmitter", m.relay_verifications)];
    take(
        ("turbine_verifications", "Signatures checked: leaders', one for each FEC set, and retransmitters'"),
        by("of", checks),
    )?;
    take(("turbine_complete", "Blocks of which every data shred arrived"), one(m.complete))?;
    take(
        ("turbine_dead", "Slots given up because their leader contradicted itself or made what does not decode"),
        one(m.dead),
    )?;
    let found = [
        ("slots", m.duplicate_slots),
        ("contradictions", m.conflicts),
        ("proofs", m.proofs),
        ("versions_chosen", m.chosen),
        ("sets_of_other_versions", m.stray_sets),
    ];
    take(("turbine_duplicates", "What leaders who contradicted themselves were found in"), by("what", found))?;
    let held =
        [("slots", m.slots_held), ("sets", m.sets_held), ("marks", m.marks_held), ("shreds_unchecked", m.waiting)];
    take(("turbine_held", "What is held in memory now"), by("what", held))?;
    let under_way = [("checks", m.checks_under_way), ("decoding", m.sets_decoding)];
    take(("turbine_under_way", "Work that the pool has now"), by("what", under_way))?;
    let lost = [("slots", m.slots_evicted), ("sets", m.sets_evicted), ("marks", m.marks_forgotten)];
    take(("turbine_evicted", "What was thrown out of memory for what is nearer to the root"), by("what", lost))?;
    take(("turbine_dropped", "Shreds and repair messages dropped, by reason"), by("reason", m.drops()))?;
    repair(m, take)
}

fn repair(m: &sundog_turbine::Metrics, take: &mut Take<'_>) -> fmt::Result {
    take(("turbine_repair_requests", "Repair requests sent"), one(m.repair_requests))?;
    let ancestors = [
        ("agreed", m.ancestors_agreed),
        ("split", m.ancestors_split),
        ("unknown", m.ancestors_unknown),
        ("refused", m.ancestors_refused),
    ];
    take(
        ("turbine_ancestor_hashes", "Slots of which the ancestors' hashes were asked of several peers, by outcome"),
        by("outcome", ancestors),
    )?;
    let limits = [
        ("unanswered", m.repair_unanswered),
        ("given_up", m.repair_given_up),
        ("budget_used_up", m.repair_over_budget),
        ("searches_used_up", m.repair_searches_over_budget),
    ];
    take(
        ("turbine_repair_limits", "Repair requests without an answer in time or given up, and ticks out of budget"),
        by("what", limits),
    )?;
    let served =
        [("shreds", m.served), ("ancestors", m.served_ancestors), ("pings", m.pings_sent), ("pongs", m.pongs_sent)];
    take(("turbine_served", "What went out for others' repair, and pongs for this node's"), by("what", served))?;
    take(("turbine_served_bytes", "Bytes of shreds, ancestors and pings served"), one(m.served_bytes))
}

fn sync(view: &View, take: &mut Take<'_>) -> fmt::Result {
    let m = &view.sync;
    let links =
        [("opened", m.links_opened), ("lost", m.links_lost), ("dials", m.dials), ("dials_failed", m.dials_failed)];
    take(("sync_links", "Links of bulk sync"), by("what", links))?;
    let bytes = [("in", m.bytes_received), ("out", m.bytes_sent)];
    take(("sync_bytes", "Bytes of bulk sync's frames"), by("way", bytes))?;
    let frames = [("in", m.frames_received), ("out", m.frames_sent)];
    take(("sync_frames", "Bulk sync's frames"), by("way", frames))?;
    let ranges = [("asked", m.ranges_asked), ("failed", m.ranges_failed)];
    take(("sync_ranges", "Ranges of slots asked of peers"), by("what", ranges))?;
    let blocks = [("checked", m.blocks_checked), ("handed_on", m.blocks_released), ("served", m.served_blocks)];
    take(("sync_blocks", "Blocks of bulk sync"), by("what", blocks))?;
    let trouble = [("disputes", m.disputes), ("rewinds", m.rewinds), ("wanted_given_up", m.wanted_given_up)];
    take(
        ("sync_trouble", "Blocks of two peers that do not link, fetches begun again, single blocks not found"),
        by("what", trouble),
    )?;
    let refused = Refusal::ALL.iter().map(|why| (why.name(), m.refused(*why)));
    take(("sync_refused", "Links that this node refused, by reason"), by("reason", refused))?;
    let refused_by = Refusal::ALL.iter().map(|why| (why.name(), m.refused_by(*why)));
    take(("sync_refused_by", "Links that others refused to this node, by reason"), by("reason", refused_by))?;
    if let Some(lowest) = view.stranded {
        take(
            ("sync_stranded_below", "The lowest slot that any peer has, while this node needs an older one"),
            one(lowest.get()),
        )?;
    }
    let Some(progress) = view.catching_up else { return Ok(()) };
    take(("sync_slots_to_go", "Slots to go while the node catches up"), one(progress.slots_left()))?;
    take(("sync_milli_slots_per_second", "Its rate, thousandths of a slot"), one(progress.milli_slots_per_second))?;
    let Some(left) = progress.left else { return Ok(()) };
    take(("sync_seconds_left", "Time until the node has caught up at this rate"), one(left.as_secs()))
}

/// Exports gossip's counters.
///
/// # Errors
/// If `take` fails.
pub fn gossip(view: &View, take: &mut Take<'_>) -> fmt::Result {
    let m = &view.gossip;
    let values = [
        ("pushed_in", m.pushed_in),
        ("pulled_in", m.pulled_in),
        ("pushed_out", m.pushed_out),
        ("pulled_out", m.pulled_out),
    ];
    take(("gossip_values", "Values by the way they came or went"), by("way", values))?;
    let copies = KINDS.iter().flat_map(|(kind, name)| {
        let labels = |copy: &str| vec![("kind", (*name).to_owned()), ("copy", copy.to_owned())];
        [(labels("first"), m.copies.first(*kind)), (labels("more"), m.copies.more(*kind))]
    });
    take(
        ("gossip_copies", "Copies of values that were pushed to this node, by kind: those that were news, and more"),
        copies.collect(),
    )?;
    let prunes = [("sent", m.prunes_sent), ("messages_sent", m.prune_messages_sent), ("obeyed", m.prunes_obeyed)];
    take(
        ("gossip_prunes", "Requests to send no more values of an origin, and the messages that carry this node's"),
        by("what", prunes),
    )?;
    let pulls = [("sent", m.pull_requests_out), ("answered", m.pull_requests_answered)];
    take(("gossip_pull_requests", "Requests for what pushes missed"), by("what", pulls))?;
    let pings = [("sent", m.pings_out), ("answered", m.pings_answered), ("proven", m.proven)];
    take(
        ("gossip_pings", "Pings sent and answered, and addresses that proved themselves by answering"),
        by("what", pings),
    )?;
    let left = [("expired", m.expired), ("evicted", m.evicted)];
    take(
        ("gossip_left_table", "Values of nodes that fell silent, and nodes that gave way to nodes with more stake"),
        by("why", left),
    )?;
    let now = &view.gossip_now;
    let held = [
        ("nodes", now.nodes),
        ("values", now.values),
        ("table_bytes", now.table_bytes),
        ("waiting", now.waiting),
        ("peers_pushed_to", now.pushed_to.iter().map(|(_, peer, _)| peer).collect::<BTreeSet<_>>().len()),
    ];
    take(
        ("gossip_held", "What gossip holds now: the table, contact infos whose address is pinged, and the active set"),
        by("what", held.map(|(name, held)| (name, held as u64))),
    )?;
    said_of_slots(m, take)?;
    let troubles = TroubleKind::ALL.iter().map(|kind| (kind.name(), m.troubles(*kind)));
    take(
        ("gossip_troubles", "How often the log told of what keeps this node apart from others, by kind"),
        by("kind", troubles),
    )?;
    let odd = [("unasked", m.unasked), ("old", m.pulled_old)];
    take(
        ("gossip_odd_answers", "Answers to pulls that nobody had asked for, and values in answers that were old"),
        by("what", odd),
    )?;
    take(("gossip_packets", "Gossip packets taken"), one(m.packets))?;
    let sent = [("datagrams", m.sent), ("bytes", m.sent_bytes)];
    take(("gossip_sent", "What gossip asked to be sent"), by("what", sent))?;
    let dropped = sundog_gossip::DropReason::ALL.iter().map(|why| (why.name(), m.dropped(*why)));
    take(("gossip_dropped", "Gossip packets and values dropped, by reason"), by("reason", dropped))
}

/// What this node says and hears of slots in gossip.
fn said_of_slots(m: &sundog_gossip::Metrics, take: &mut Take<'_>) -> fmt::Result {
    let own = [("unsayable", m.unsayable), ("said_anew", m.said_anew), ("slots_unsaid", m.slots_unsaid)];
    take(
        (
            "gossip_own_values",
            "Own values that nobody would take, that took the place of those of an earlier run, and own slots not said",
        ),
        by("what", own),
    )?;
    let heard = [("told", m.slots_told), ("unread", m.slots_unread), ("unheard", m.slots_unheard)];
    take(
        ("gossip_epoch_slots", "Slots that others say they have, and what was not read or remembered of that"),
        by("what", heard),
    )?;
    take(("gossip_proofs", "Proofs of duplicate slots put together"), one(m.proofs_told))?;
    let chunks = ChunkDrop::ALL.iter().map(|why| (why.name(), m.chunks.of(*why)));
    take(("gossip_chunks_dropped", "Chunks of such proofs, and proofs, dropped, by reason"), by("reason", chunks))
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
    let lost = [
        ("swapped", c.lost),
        ("rooted", c.lost_too_late),
        ("by_ancestor_hashes", c.lost_by_ancestors),
        ("version_given_up", c.versions_given_up),
    ];
    take(
        ("lost_blocks", "Executed blocks of which the cluster chose another version, by what became of them"),
        by("outcome", lost),
    )?;
    take(
        ("own_slots_unpropagated", "Own slots left out because too few nodes had the last own block"),
        one(c.unpropagated),
    )?;
    take(("own_blocks_spread_again", "How often an own block was sent again for that reason"), one(c.spread_again))?;
    let dropped = [
        ("gossip_unchecked", c.unchecked),
        ("vote_unsigned", c.unsigned_votes),
        ("vote_strange", c.strange_votes),
        ("proof_false", c.false_proofs),
        ("rejected", c.rejected),
        ("stale_vote", c.stale_votes),
    ];
    let help = "What the node dropped: gossip that the pool had no time to check, votes without valid signatures or of \
                accounts that may not vote, proofs of two versions of a slot that prove nothing, \
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
