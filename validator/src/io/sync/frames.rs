//! Frames off a stream: a u32 LE length, and that many bytes.

use super::Fault;
use bytes::{Bytes, BytesMut};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;
/// A body grows in such steps, as it arrives.
const STEP_BYTES: usize = 64 << 10;
/// Steps of all accepted links together, beyond each one's first: 32 MB. Peers that ask send little; who sends more
/// waits its turn.
pub const ROOM_UNITS: usize = (32 << 20) / STEP_BYTES;
/// How long a peer may be silent: keepalives come far more often.
pub const IDLE: Duration = Duration::from_secs(60);
/// How long a frame may take from its length to its last byte.
pub const WHOLE: Duration = Duration::from_secs(60);

/// What came instead of a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum NoFrame {
    /// The peer ended the stream between two frames.
    End,
    /// A body of so many bytes was announced; none of it was read.
    Oversized(u64),
    /// The link is of no more use.
    Fault(Fault),
}

/// Reads frames, within limits.
pub struct Frames<'a, R> {
    pub stream: R,
    pub bytes_max: usize,
    /// See [`IDLE`].
    pub idle: Duration,
    /// See [`WHOLE`].
    pub whole: Duration,
    /// Room that large frames share with those of other links. `None`: the link has its own.
    pub room: Option<&'a Arc<Semaphore>>,
}

/// The room that a frame takes up until it is handed on.
pub type Held = Option<OwnedSemaphorePermit>;

impl<R: AsyncRead + Unpin> Frames<'_, R> {
    /// The next frame's body, and the room to give back once it is handed on.
    pub async fn next(&mut self) -> Result<(Bytes, Held), NoFrame> {
        let mut length = [0; LENGTH_BYTES];
        let first = timeout(self.idle, self.stream.read(&mut length)).await;
        let got = match first.map_err(|_| NoFrame::Fault(Fault::Silent))? {
            Ok(0) => return Err(NoFrame::End),
            Ok(got) => got,
            Err(_) => return Err(NoFrame::Fault(Fault::Lost)),
        };
        let whole = self.whole;
        timeout(whole, self.rest(length, got)).await.unwrap_or(Err(NoFrame::Fault(Fault::Stalled)))
    }

    async fn rest(&mut self, mut length: [u8; LENGTH_BYTES], got: usize) -> Result<(Bytes, Held), NoFrame> {
        let lost = |_| NoFrame::Fault(Fault::Lost);
        self.stream.read_exact(&mut length[got..]).await.map_err(lost)?;
        let claimed = u32::from_le_bytes(length);
        let length = usize::try_from(claimed).unwrap_or(usize::MAX);
        if length > self.bytes_max {
            return Err(NoFrame::Oversized(claimed.into()));
        }
        let (mut body, mut held) = (BytesMut::new(), None);
        while body.len() < length {
            let step = (length - body.len()).min(STEP_BYTES);
            if !body.is_empty() {
                self.hold(&mut held).await;
            }
            body.reserve(step);
            let end = body.len() + step;
            while body.len() < end {
                let missing = (end - body.len()) as u64;
                let read = (&mut self.stream).take(missing).read_buf(&mut body).await.map_err(lost)?;
                if read == 0 {
                    return Err(NoFrame::Fault(Fault::Lost));
                }
            }
        }
        Ok((body.freeze(), held))
    }

    /// Waits for room for one step more.
    async fn hold(&self, held: &mut Held) {
        let Some(room) = self.room else { return };
        let more = Arc::clone(room).acquire_owned().await.expect("it is never closed");
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    fn frames<R>(stream: R) -> Frames<'static, R> {
        Frames { stream, bytes_max: 1 << 20, idle: LONG, whole: LONG, room: None }
    }

    async fn all(bytes: &[u8]) -> (Vec<usize>, NoFrame) {
        let mut frames = frames(bytes);
        let mut lengths = Vec::new();
        loop {
            match frames.next().await {
                Ok((body, _)) => lengths.push(body.len()),
                Err(why) => return (lengths, why),
            }
        }
    }

    fn frame(length: usize) -> Vec<u8> {
        [(length as u32).to_le_bytes().to_vec(), vec![7; length]].concat()
    }

    #[tokio::test]
    async fn frames_of_every_size_come_whole_and_in_order() {
        let lengths = vec![0, 1, 5, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 1 << 20, 0];
        let bytes: Vec<u8> = lengths.iter().flat_map(|length| frame(*length)).collect();
        assert_eq!(all(&bytes).await, (lengths, NoFrame::End));
    }

    #[tokio::test]
    async fn a_cut_stream_is_no_frame() {
        let bytes = frame(100);
        for end in 1..bytes.len() {
            assert_eq!(all(&bytes[..end]).await, (vec![], NoFrame::Fault(Fault::Lost)), "cut after {end} bytes");
        }
    }

    #[tokio::test]
    async fn an_oversized_claim_is_refused_before_its_body() {
        let claim = (1u32 << 20) + 1;
        assert_eq!(all(&claim.to_le_bytes()).await, (vec![], NoFrame::Oversized(claim.into())));
        assert_eq!(all(&[0xff; 4]).await, (vec![], NoFrame::Oversized(u32::MAX.into())));
    }

    #[tokio::test]
    async fn a_silent_peer_and_one_that_stops_within_a_frame_are_given_up() {
        let (_peer, stream) = tokio::io::duplex(64);
        let mut silent = Frames { idle: SHORT, ..frames(stream) };
        assert_eq!(silent.next().await.err(), Some(NoFrame::Fault(Fault::Silent)));
        let (mut peer, stream) = tokio::io::duplex(64);
        peer.write_all(&frame(40)[..30]).await.expect("room");
        let mut stalled = Frames { whole: SHORT, ..frames(stream) };
        assert_eq!(stalled.next().await.err(), Some(NoFrame::Fault(Fault::Stalled)));
    }

    #[tokio::test]
    async fn large_frames_share_room_and_small_ones_need_none() {
        let room = Arc::new(Semaphore::new(2));
        let bytes = [frame(3 * STEP_BYTES), frame(STEP_BYTES), frame(STEP_BYTES + 1)].concat();
        let mut limited = Frames { whole: SHORT, room: Some(&room), ..frames(&bytes[..]) };
        let large = limited.next().await.expect("there is room for it");
        assert_eq!(room.available_permits(), 0);
        assert!(limited.next().await.is_ok(), "a small frame always has room");
        assert_eq!(limited.next().await.err(), Some(NoFrame::Fault(Fault::Stalled)), "a large one waits");
        drop(large);
        assert_eq!(room.available_permits(), 2);
    }
}
