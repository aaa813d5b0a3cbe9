//! Prometheus metrics: every machine's counters under documented names.

use super::{
    capped::Capped,
    faults::{Done, Faults},
    lanes::{LANES, Lanes},
    pushes::PushPage,
    shreds::{ShredsError, SlotShreds},
    sync::Fault,
    traffic::{Ended, Refused, Traffic, Unsent, WAYS},
};
use crate::node::View;
use arc_swap::ArcSwapOption;
use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use std::{fmt, sync::Arc};
use sundog_ledger::Ledger;
use sundog_types::Slot;

/// Where the figures come from.
#[derive(Clone)]
pub struct Sources {
    /// The node's view.
    pub view: Arc<ArcSwapOption<View>>,
    /// The sockets.
    pub traffic: Arc<Traffic>,
    /// The lanes into the node.
    pub lanes: Lanes,
    /// The ledger.
    pub ledger: Ledger,
    /// The fault point.
    pub faults: Faults,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

/// Serves `/metrics`, how a slot's shreds arrived at `/shreds/SLOT`, and whom gossip pushes to at `/gossip`, until the
/// runtime ends.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: Capped, sources: Sources) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(page))
        .route("/shreds/{slot}", get(shreds))
        .route("/gossip", get(gossip))
        .with_state(sources);
    axum::serve(listener, router).await
}

async fn page(State(sources): State<Sources>) -> String {
    let mut registry = Registry::with_prefix("sundog");
    registry.register_collector(Box::new(sources));
    let mut text = String::new();
    encode(&mut text, &registry).expect("writing to a string does not fail");
    text
}

/// How the shreds of a slot arrived, as JSON; 404 with the reason where nothing is known.
async fn shreds(State(sources): State<Sources>, Path(slot): Path<String>) -> Response {
    let Ok(slot) = slot.parse().map(Slot::new) else {
        return (StatusCode::BAD_REQUEST, format!("{slot} is no slot; ask for /shreds/NUMBER\n")).into_response();
    };
    // Disks take their time.
    let read = tokio::task::spawn_blocking(move || SlotShreds::read(&sources.ledger, slot)).await;
    match read {
        Ok(Ok(shreds)) => {
            let json = serde_json::to_vec(&shreds).expect("facts serialise");
            ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], json).into_response()
        }
        Ok(Err(error @ ShredsError::Unknown { .. })) => (StatusCode::NOT_FOUND, format!("{error}\n")).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Whom this node pushes to in gossip, as JSON.
async fn gossip(State(sources): State<Sources>) -> Response {
    match sources.view.load_full() {
        Some(view) => {
            let json = serde_json::to_vec(&PushPage::new(&view)).expect("facts serialise");
            ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], json).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "the node is starting; ask again\n").into_response(),
    }
}

/// A family of counters or gauges with one set of labels each.
struct Family<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
}

impl Family<'_, '_> {
    fn counters(
        &mut self,
        (name, help): (&str, &str),
        values: impl IntoIterator<Item = (Vec<(&'static str, String)>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge(&mut self, (name, help): (&str, &str), value: u64) -> fmt::Result {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        let metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }
}

fn labelled(label: &'static str, value: &str) -> Vec<(&'static str, String)> {
    vec![(label, value.to_owned())]
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = Family { encoder: &mut encoder };
        self.encode_traffic(&mut family)?;
        self.encode_faults(&mut family)?;
        if let Some(view) = self.view.load_full() {
            encode_chain(&view, &mut family)?;
            super::metric_names::encode_machines(&view, &mut |about, values| family.counters(about, values))?;
        }
        Ok(())
    }
}

impl Sources {
    fn encode_traffic(&self, family: &mut Family<'_, '_>) -> fmt::Result {
        let labels = |way: &super::traffic::Way| {
            let [protocol, transport, direction] = way.labels();
            vec![("protocol", protocol.into()), ("transport", transport.into()), ("direction", direction.into())]
        };
        let counted = |pick: fn((u64, u64)) -> u64| {
            WAYS.iter().map(|way| (labels(way), pick(self.traffic.counted(*way)))).collect::<Vec<_>>()
        };
        family.counters(("messages", "Messages by protocol, transport and direction"), counted(|c| c.0))?;
        family.counters(("bytes", "Bytes by protocol, transport and direction"), counted(|c| c.1))?;
        let dropped = LANES.iter().map(|lane| (labelled("lane", lane.name()), self.lanes.dropped(*lane)));
        family.counters(("lane_dropped", "Inputs dropped because their lane into the node was full"), dropped)?;
        let refused = Refused::ALL.iter().map(|why| (labelled("what", why.name()), self.traffic.refused(*why)));
        family
            .counters(("transport_refused", "Connections, streams and datagrams refused, by what it was"), refused)?;
        let unsent = Unsent::ALL.iter().map(|why| (labelled("why", why.name()), self.traffic.unsent(*why)));
        family.counters(("transport_unsent", "Messages not sent, by reason; nothing waits for slow peers"), unsent)?;
        let ended = Ended::ALL.iter().map(|why| (labelled("why", why.name()), self.traffic.ended(*why)));
        family.counters(("transport_ended", "Connections opened by this node that ended, by reason"), ended)?;
        self.encode_sync(family)
    }

    /// Nothing while fault injection is off.
    fn encode_faults(&self, family: &mut Family<'_, '_>) -> fmt::Result {
        let Some(order) = self.faults.order() else { return Ok(()) };
        family.gauge(("fault_order", "Number of the fault rules in force"), order)?;
        let done = Done::ALL.iter().map(|what| (labelled("what", what.name()), self.faults.done(*what)));
        family.counters(("faults", "Packets and connections that fault rules acted on, by what was done"), done)
    }

    fn encode_sync(&self, family: &mut Family<'_, '_>) -> fmt::Result {
        let sync = &self.traffic.sync;
        family.gauge(("sync_links_accepted", "Links of bulk sync that peers opened"), sync.accepted() as u64)?;
        family.gauge(("sync_links_dialed", "Links of bulk sync that this node opened"), sync.dialed() as u64)?;
        family.gauge(("sync_queued_bytes", "Bytes of bulk sync that wait to be written"), sync.queued() as u64)?;
        let faults = Fault::ALL.iter().map(|fault| (labelled("why", fault.name()), sync.faults(*fault)));
        family.counters(("sync_faults", "Connections of bulk sync refused, failed or given up, by reason"), faults)
    }
}

fn encode_chain(view: &View, family: &mut Family<'_, '_>) -> fmt::Result {
    family.gauge(("slot_processed", "Slot of the block that this node builds on"), view.processed.slot().get())?;
    family
        .gauge(("slot_confirmed", "Newest slot confirmed by two thirds of the stake"), view.confirmed.slot().get())?;
    family.gauge(("slot_rooted", "The tower's root"), view.root.get())?;
    family.gauge(("slot_finalized", "Newest slot rooted by two thirds of the stake"), view.finalized.slot().get())?;
    family.gauge(("slot_clock", "Slot that the clock is in"), view.clock_slot.get())?;
    family.gauge(("peers", "Other nodes in the registry"), view.peers.len().saturating_sub(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{
        client::Client,
        shreds::{ShredKind, Way},
    };
    use std::time::Duration;
    use sundog_ledger::{MemoryStore, SlotMeta, put_duplicate, put_meta, put_timeline, set_root};
    use sundog_turbine::{
        Sender,
        timeline::{Arrival, How, Timeline},
    };
    use sundog_types::{
        Pubkey,
        shred::Kind,
        store::{Batch, Store as _},
    };

    /// A ledger with roots 5 and 9: the first without a timeline, the second with one and with a proof; and slot 10,
    /// of which what is written down does not decode.
    fn ledger() -> Ledger {
        let store = Arc::new(MemoryStore::new());
        let (peer, address) = (Sender::Peer(Pubkey::new_from_array([2; 32])), ([127, 0, 0, 1], 8_001).into());
        let came = |at_ms, kind, how| Arrival { at_ms, kind, index: 3, how };
        let timeline = Timeline {
            slot: Slot::new(9),
            parent: Some(Slot::new(5)),
            leader: Pubkey::new_from_array([1; 32]),
            first_unix_ms: 1_700_000_000_000,
            complete_ms: Some(7),
            arrivals: vec![
                came(0, Kind::Data, How::Turbine { layer: 2, from: peer }),
                came(1, Kind::Code, How::Turbine { layer: 0, from: Sender::Address(address) }),
                came(7, Kind::Data, How::Recovered),
            ],
            left_out: 4,
        };
        let mut batch = Batch::default();
        [5, 9].into_iter().for_each(|slot| put_meta(&mut batch, Slot::new(slot), &SlotMeta::default()));
        set_root(&mut batch, Slot::new(9), &[Slot::new(5)]);
        put_timeline(&mut batch, Slot::new(9), timeline.encode());
        put_duplicate(&mut batch, Slot::new(9), bytes::Bytes::from_static(b"two versions"));
        put_timeline(&mut batch, Slot::new(10), b"broken".to_vec());
        store.commit(&batch, true).expect("memory does not fail");
        Ledger::new(store)
    }

    async fn served() -> String {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let traffic = Arc::new(Traffic::default());
        let capped = Capped::new(listener, 4, Duration::from_secs(9), Arc::clone(&traffic));
        let view = Arc::new(ArcSwapOption::empty());
        tokio::spawn(serve(
            capped,
            Sources { view, traffic, lanes: Lanes::new().0, ledger: ledger(), faults: Faults::off() },
        ));
        format!("http://{address}")
    }

    async fn get(url: String) -> (u16, String) {
        let asked = tokio::task::spawn_blocking(move || Client::new(&url).page(&url));
        asked.await.expect("no panic").expect("an answer")
    }

    #[tokio::test]
    async fn a_slots_shreds_are_served_with_their_way_and_sender() {
        let (status, text) = get(served().await + "/shreds/9").await;
        assert_eq!(status, 200, "{text}");
        let shreds: SlotShreds = serde_json::from_str(&text).expect("the JSON of a slot");
        assert_eq!((shreds.slot, shreds.parent, shreds.complete_ms, shreds.left_out), (9, Some(5), Some(7), 4));
        assert!(shreds.two_versions);
        assert_eq!(shreds.counts.into_iter().collect::<Vec<_>>(), [(Way::Turbine, 2), (Way::Recovered, 1)]);
        let told: Vec<_> = shreds.arrivals.iter().map(|a| (a.at_ms, a.kind, a.layer, a.from.as_deref())).collect();
        let peer = Pubkey::new_from_array([2; 32]).to_string();
        assert_eq!(
            told,
            [
                (0, ShredKind::Data, Some(2), Some(&*peer)),
                (1, ShredKind::Code, Some(0), Some("127.0.0.1:8001")),
                (7, ShredKind::Data, None, None),
            ]
        );
    }

    #[tokio::test]
    async fn a_starting_node_tells_nobody_whom_it_pushes_to() {
        let (status, text) = get(served().await + "/gossip").await;
        assert!(status == 503 && text.contains("ask again"), "{status} {text}");
    }

    #[tokio::test]
    async fn what_is_not_known_is_not_found_and_says_why() {
        let base = served().await;
        let wanted = [
            ("0", 404, "genesis"),
            ("3", 404, "older than what this node keeps; ask for a slot from 5 to 9"),
            ("5", 404, "did not write down how it came"),
            ("7", 404, "skipped"),
            ("11", 404, "this node's root is 9"),
            ("10", 500, "does not decode"),
            ("-1", 400, "-1 is no slot"),
            ("18446744073709551616", 400, "is no slot"),
        ];
        for (slot, status, why) in wanted {
            let (answered, text) = get(format!("{base}/shreds/{slot}")).await;
            assert!(answered == status && text.contains(why), "{slot}: {answered} {text}");
        }
        assert_eq!(get(base + "/metrics").await.0, 200);
    }
}
