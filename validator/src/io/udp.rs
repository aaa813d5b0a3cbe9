//! UDP sockets: receive tasks in, and a plain send out.

use super::{
    bucket::{AddressBuckets, UdpLimits},
    faults::{Fate, Faults, Flow},
    lanes::{Lane, Lanes},
    quic::Dialer,
    traffic::{Refused, Traffic, Unsent, Way},
};
use crate::node::{Input, Socket};
use bytes::Bytes;
use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Instant,
};
use sundog_gulfstream::Source;
use sundog_turbine::{Route, Sender};
use sundog_types::Pubkey;

/// The largest datagram of the protocol (reference 1.1); repair answers are a shred and a nonce, which is as long.
const DATAGRAM_BYTES_MAX: usize = 1_232;

/// What arrives on a receiving socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Datagrams of one of the node's two-way sockets.
    Node(Socket),
    /// Shreds over UDP.
    Tvu,
    /// Transactions over UDP, one in a datagram.
    Tpu,
}

impl Arrival {
    const fn lane(self) -> (Lane, Way) {
        match self {
            Self::Node(Socket::Gossip) => (Lane::Gossip, Way::GossipUdpIn),
            Self::Node(Socket::Repair) => (Lane::Shreds, Way::RepairUdpIn),
            Self::Node(Socket::ServeRepair) => (Lane::Shreds, Way::ServeRepairUdpIn),
            Self::Node(Socket::TpuVote) => (Lane::Votes, Way::VoteUdpIn),
            Self::Tvu => (Lane::Shreds, Way::TurbineUdpIn),
            Self::Tpu => (Lane::Transactions, Way::TpuUdpIn),
        }
    }

    const fn flow(self) -> Flow {
        match self {
            Self::Node(Socket::Gossip) => Flow::Gossip,
            Self::Node(Socket::Repair | Socket::ServeRepair) => Flow::Repair,
            Self::Node(Socket::TpuVote) => Flow::Votes,
            Self::Tvu => Flow::Turbine,
            Self::Tpu => Flow::Transactions,
        }
    }

    fn input(self, from: SocketAddr, bytes: Bytes) -> Input {
        match self {
            Self::Node(Socket::Gossip) => Input::Gossip { from, bytes },
            Self::Node(Socket::Repair) => Input::RepairResponse { from, bytes },
            Self::Node(Socket::ServeRepair) => Input::RepairRequest { from, bytes },
            Self::Node(Socket::TpuVote) => Input::Transactions { source: Source::Vote, packets: vec![bytes] },
            Self::Tpu => Input::Transactions { source: Source::Client(None), packets: vec![bytes] },
            Self::Tvu => Input::Shred { from: Sender::Address(from), bytes },
        }
    }
}

/// Receives until the runtime ends. What goes to the lanes of shreds, gossip and transactions is limited for each sender, so that no
/// address alone can fill them.
pub async fn receive(
    socket: Arc<tokio::net::UdpSocket>,
    arrival: Arrival,
    lanes: Lanes,
    traffic: Arc<Traffic>,
    faults: Faults,
) {
    let (lane, way) = arrival.lane();
    // Room for one byte more than the largest datagram shows the oversized ones, which no decoder takes.
    let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
    let mut rates = match lane {
        Lane::Shreds => Some(AddressBuckets::new(UdpLimits::SHREDS)),
        Lane::Gossip => Some(AddressBuckets::new(UdpLimits::GOSSIP)),
        Lane::Transactions => Some(AddressBuckets::new(UdpLimits::TRANSACTIONS)),
        _ => None,
    };
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
        if !faults.hears(arrival.flow(), from) {
            continue;
        }
        traffic.count(way, len);
        if rates.as_mut().is_some_and(|rates| !rates.admit(Instant::now(), from)) {
            traffic.refuse(Refused::UdpRate);
            continue;
        }
        lanes.offer(lane, arrival.input(from, Bytes::copy_from_slice(&buffer[..len])));
    }
}

/// The sockets that the node sends from.
#[derive(Clone)]
pub struct Outgoing {
    /// Gossip.
    pub gossip: Arc<UdpSocket>,
    /// Repair requests.
    pub repair: Arc<UdpSocket>,
    /// Answers to repair requests.
    pub serve_repair: Arc<UdpSocket>,
    /// Votes, and shreds to peers without QUIC.
    pub votes: Arc<UdpSocket>,
    /// What is counted.
    pub traffic: Arc<Traffic>,
    /// What is done to packets on purpose.
    pub faults: Faults,
}

impl Outgoing {
    /// Sends a datagram. A full socket buffer drops it, as the network may.
    pub fn send(&self, socket: Socket, to: SocketAddr, bytes: &[u8]) {
        let (socket, way, flow) = match socket {
            Socket::Gossip => (&self.gossip, Way::GossipUdpOut, Flow::Gossip),
            Socket::Repair => (&self.repair, Way::RepairUdpOut, Flow::Repair),
            Socket::ServeRepair => (&self.serve_repair, Way::ServeRepairUdpOut, Flow::Repair),
            Socket::TpuVote => (&self.votes, Way::VoteUdpOut, Flow::Votes),
        };
        self.put(socket, (way, flow), to, bytes);
    }

    /// Sends a shred to a peer: in a QUIC datagram if it advertises an address for that, else over UDP.
    pub fn send_shred(&self, turbine: &Arc<Dialer>, to: (Pubkey, Route), shred: Bytes) {
        let (identity, route) = to;
        match (route.tvu_quic, route.tvu) {
            (Some(address), _) => turbine.send(address, Some(identity), shred),
            (None, Some(address)) => self.put(&self.votes, (Way::TurbineUdpOut, Flow::Turbine), address, &shred),
            (None, None) => {}
        }
    }

    fn put(&self, socket: &Arc<UdpSocket>, (way, flow): (Way, Flow), to: SocketAddr, bytes: &[u8]) {
        match self.faults.fate(flow, to, bytes.len()) {
            Fate::Now => {}
            Fate::Never => return self.traffic.lose(Unsent::Fault, 1),
            Fate::Later(first, second) => {
                self.traffic.count(way, bytes.len());
                for after in [Some(first), second].into_iter().flatten() {
                    self.faults.send_later(after, socket, (to, bytes));
                }
                return;
            }
        }
        match socket.send_to(bytes, to) {
            Ok(len) => self.traffic.count(way, len),
            Err(_) => self.traffic.lose(Unsent::Socket, 1),
        }
    }
}
