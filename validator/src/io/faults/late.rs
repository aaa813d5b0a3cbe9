//! Packets that are sent later, in the order in which they are due.

use bytes::Bytes;
use quinn::{AsyncUdpSocket, udp};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Instant,
};
use tokio::sync::mpsc;

/// Packets that wait, and as many again on their way here: 40 MB at most. A newcomer beyond them is lost.
pub const WAITING_MAX: usize = 16_384;

/// A packet that is sent later.
pub struct Late {
    pub due: Instant,
    pub to: SocketAddr,
    pub bytes: Bytes,
    pub exit: Exit,
}

/// Where a packet leaves.
pub enum Exit {
    Udp(Arc<UdpSocket>),
    Quic { socket: Arc<dyn AsyncUdpSocket>, ecn: Option<udp::EcnCodepoint>, source: Option<IpAddr> },
}

impl Late {
    /// Sends it. A full socket buffer drops it, as the network may.
    fn send(&self) {
        match &self.exit {
            Exit::Udp(socket) => {
                let _ = socket.send_to(&self.bytes, self.to);
            }
            Exit::Quic { socket, ecn, source } => {
                let transmit = udp::Transmit {
                    destination: self.to,
                    ecn: *ecn,
                    contents: &self.bytes,
                    segment_size: None,
                    src_ip: *source,
                };
                let _ = socket.try_send(&transmit);
            }
        }
    }
}

/// What waits: by when it is due, then by when it came.
#[derive(Default)]
struct Waiting {
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
    packets: std::collections::HashMap<u64, Late>,
    next: u64,
}

impl Waiting {
    /// False if there is no place.
    fn push(&mut self, late: Late) -> bool {
        if self.packets.len() >= WAITING_MAX {
            return false;
        }
        self.heap.push(Reverse((late.due, self.next)));
        self.packets.insert(self.next, late);
        self.next += 1;
        true
    }

    fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    fn pop_due(&mut self, now: Instant) -> Option<Late> {
        self.next_due().filter(|due| *due <= now)?;
        let Reverse((_, number)) = self.heap.pop()?;
        self.packets.remove(&number)
    }
}

/// Starts the task that sends them. It ends with the last sender of the channel.
pub fn start() -> mpsc::Sender<Late> {
    let (sender, mut receiver) = mpsc::channel::<Late>(WAITING_MAX);
    tokio::spawn(async move {
        let mut waiting = Waiting::default();
        loop {
            while let Some(late) = waiting.pop_due(Instant::now()) {
                late.send();
            }
            let due = waiting.next_due();
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                late = receiver.recv() => match late {
                    Some(late) => { waiting.push(late); }
                    None => return,
                },
                () = sleep => {}
            }
        }
    });
    sender
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn late(due: Instant, byte: u8) -> Late {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        Late { due, to: ([127, 0, 0, 1], 9).into(), bytes: vec![byte].into(), exit: Exit::Udp(socket) }
    }

    #[test]
    fn packets_leave_when_they_are_due_and_not_before() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for (after, byte) in [(30, 3), (10, 1), (20, 2), (10, 4)] {
            assert!(waiting.push(late(now + Duration::from_millis(after), byte)));
        }
        assert!(waiting.pop_due(now).is_none());
        let mut left = |after| waiting.pop_due(now + Duration::from_millis(after)).map(|late| late.bytes[0]);
        assert_eq!([left(10), left(10), left(10)], [Some(1), Some(4), None]);
        assert_eq!([left(99), left(99), left(99)], [Some(2), Some(3), None]);
    }

    #[test]
    fn beyond_the_capacity_a_newcomer_is_lost() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let first = late(now, 1);
        let Exit::Udp(socket) = &first.exit else { panic!("it leaves over UDP") };
        let again = || Late { due: now, to: first.to, bytes: first.bytes.clone(), exit: Exit::Udp(Arc::clone(socket)) };
        assert!((0..WAITING_MAX).all(|_| waiting.push(again())));
        assert!(!waiting.push(again()));
        assert!(waiting.pop_due(now).is_some() && waiting.push(again()));
    }
}
