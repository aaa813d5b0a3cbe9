//! One link: what arrives goes to the node, what the node hands over is written, and an end.

use super::{
    super::{
        lanes::Lanes,
        traffic::{Traffic, Way},
    },
    Fault,
    frames::{Frames, IDLE, LENGTH_BYTES, NoFrame, WHOLE},
};
use bytes::Bytes;
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use sundog_turbine::sync::{Input, LinkId};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};

/// Frames that wait to be written on a link.
const QUEUE_FRAMES_MAX: usize = 256;
/// Bytes that wait to be written on a link, unless it is one frame alone: sixteen frames of blocks, which a peer with a
/// line of 100 Mbit/s reads in six seconds.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// How long one frame may take to be written.
const WRITE: Duration = Duration::from_secs(20);
/// How long a link that is being closed may take to write what is queued and to hear the peer's end.
const CLOSE: Duration = Duration::from_secs(5);

/// How the node reaches a link. Dropped, the link is closed once what is queued is written.
pub struct Handle {
    queue: mpsc::Sender<Queued>,
    queued: Arc<AtomicUsize>,
    cut: watch::Sender<()>,
}

/// What the node wants of a link.
pub struct Orders {
    queue: mpsc::Receiver<Queued>,
    cut: watch::Receiver<()>,
}

/// A frame's body on its way out, counted while it waits.
struct Queued {
    bytes: Bytes,
    counts: [Arc<AtomicUsize>; 2],
}

impl Drop for Queued {
    fn drop(&mut self) {
        for count in &self.counts {
            count.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        }
    }
}

/// The two ends between the node and a link.
pub fn handle() -> (Handle, Orders) {
    let (queue, queue_end) = mpsc::channel(QUEUE_FRAMES_MAX);
    let (cut, cut_end) = watch::channel(());
    (Handle { queue, queued: Arc::default(), cut }, Orders { queue: queue_end, cut: cut_end })
}

impl Handle {
    /// Queues a frame, and counts its bytes in `all` too. False if there is no room for it.
    pub fn queue(&self, bytes: Bytes, all: &Arc<AtomicUsize>) -> bool {
        let before = self.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        all.fetch_add(bytes.len(), Ordering::Relaxed);
        let fits = before == 0 || before + bytes.len() <= QUEUE_BYTES_MAX;
        let queued = Queued { bytes, counts: [Arc::clone(&self.queued), Arc::clone(all)] };
        // A link that has just ended takes it and forgets it: its end is on its way to the node.
        fits && !matches!(self.queue.try_send(queued), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// Bytes that wait.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Ends the link at once, and forgets what is queued.
    pub fn cut(self) {
        let _ = self.cut.send(());
    }
}

/// How a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it should: one side closed it, or was told to.
    Over,
    /// By a fault, of the peer or of the connection.
    Fault(Fault),
}

/// What a link needs to live.
pub struct Link<'a> {
    pub id: LinkId,
    pub lanes: &'a Lanes,
    pub traffic: &'a Traffic,
    pub frame_bytes_max: usize,
    pub room: Option<&'a Arc<Semaphore>>,
}

/// What ended the common life of reader and writer.
enum First {
    /// The link is over at once.
    Ended(Ended),
    /// Nothing more is read; what is queued is still written.
    Closing(Ended),
}

impl Link<'_> {
    /// Reads and writes until the link ends.
    pub async fn run(self, stream: impl AsyncRead + AsyncWrite, orders: Orders) -> Ended {
        let (mut read, write) = tokio::io::split(stream);
        let mut cut = orders.cut;
        let mut writing = pin!(self.write(write, orders.queue));
        let mut written = false;
        let first = tokio::select! {
            first = self.read(&mut read) => first,
            ended = &mut writing => {
                written = true;
                if ended == Ended::Over { First::Closing(ended) } else { First::Ended(ended) }
            }
            order = cut.changed() => match order {
                Ok(()) => First::Ended(Ended::Over),
                Err(_) => First::Closing(Ended::Over),
            },
        };
        let ended = match first {
            First::Ended(ended) => return ended,
            First::Closing(ended) => ended,
        };
        // What still arrives is read and forgotten: bytes that nobody read would make TCP reset the connection, and a
        // refusal on its way to the peer would be lost.
        let last_words = async {
            if !written {
                writing.await;
            }
        };
        let finishing = async { tokio::join!(last_words, forget(read)) };
        tokio::select! {
            _ = timeout(CLOSE, finishing) => {}
            Ok(()) = cut.changed() => {}
        }
        ended
    }

    async fn read(&self, stream: impl AsyncRead + Unpin) -> First {
        let bytes_max = self.frame_bytes_max;
        let mut frames = Frames { stream, bytes_max, idle: IDLE, whole: WHOLE, room: self.room };
        loop {
            let link = self.id;
            match frames.next().await {
                Ok((bytes, _held)) => {
                    self.traffic.count(Way::SyncTcpIn, LENGTH_BYTES + bytes.len());
                    if !self.lanes.sync(Input::Frame { link, bytes }).await {
                        return First::Ended(Ended::Over);
                    }
                }
                Err(NoFrame::End) => return First::Ended(Ended::Over),
                Err(NoFrame::Fault(fault)) => return First::Ended(Ended::Fault(fault)),
                Err(NoFrame::Oversized(bytes)) => {
                    self.lanes.sync(Input::Oversized { link, bytes }).await;
                    return First::Closing(Ended::Fault(Fault::Oversized));
                }
            }
        }
    }

    async fn write(&self, mut stream: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Queued>) -> Ended {
        while let Some(frame) = queue.recv().await {
            let bytes = &frame.bytes;
            let length = u32::try_from(bytes.len()).expect("the limit of frames is below 4 GB");
            let writing = async {
                stream.write_all(&length.to_le_bytes()).await?;
                stream.write_all(bytes).await?;
                stream.flush().await
            };
            match timeout(WRITE, writing).await {
                Ok(Ok(())) => self.traffic.count(Way::SyncTcpOut, LENGTH_BYTES + bytes.len()),
                Ok(Err(_)) => return Ended::Fault(Fault::Lost),
                Err(_) => return Ended::Fault(Fault::Slow),
            }
        }
        let _ = timeout(CLOSE, stream.shutdown()).await;
        Ended::Over
    }
}

/// Reads until the peer ends.
async fn forget(mut stream: impl AsyncRead + Unpin) {
    let mut nothing = [0; 4_096];
    while stream.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
}
