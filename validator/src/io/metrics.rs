//! Prometheus metrics: every machine's counters under documented names.

use super::{
    capped::Capped,
    lanes::{LANES, Lanes},
    traffic::{Ended, Refused, Traffic, Unsent, WAYS},
};
use crate::node::View;
use arc_swap::ArcSwapOption;
use axum::{Router, extract::State, routing::get};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use std::{fmt, sync::Arc};

/// Where the figures come from.
#[derive(Clone)]
pub struct Sources {
    /// The node's view.
    pub view: Arc<ArcSwapOption<View>>,
    /// The sockets.
    pub traffic: Arc<Traffic>,
    /// The lanes into the node.
    pub lanes: Lanes,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

/// Serves `/metrics` until the runtime ends.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: Capped, sources: Sources) -> std::io::Result<()> {
    let router = Router::new().route("/metrics", get(page)).with_state(sources);
    axum::serve(listener, router).await
}

async fn page(State(sources): State<Sources>) -> String {
    let mut registry = Registry::with_prefix("sundog");
    registry.register_collector(Box::new(sources));
    let mut text = String::new();
    encode(&mut text, &registry).expect("writing to a string does not fail");
    text
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
        family.counters(("transport_ended", "Connections opened by this node that ended, by reason"), ended)
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
