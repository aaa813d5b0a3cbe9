//! A TCP listener with a capacity: so many connections at a time, and none that is silent for long.
//!
//! Every connection is a file handle, and a process that has none left cannot write its ledger. A newcomer beyond the
//! capacity is closed at once; a client tries again, and a flood gets nothing.

use super::traffic::{Refused, Traffic};
use axum::serve::Listener;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// How long accepting pauses after the system refused it, so that a shortage of handles is no busy loop.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener with a capacity.
pub struct Capped {
    listener: TcpListener,
    places: Arc<Semaphore>,
    silence: Duration,
    traffic: Arc<Traffic>,
}

impl Capped {
    /// At most `connections` at a time; one that neither reads nor writes for `silence` is closed.
    #[must_use]
    pub fn new(listener: TcpListener, connections: usize, silence: Duration, traffic: Arc<Traffic>) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections)), silence, traffic }
    }
}

impl Listener for Capped {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok((stream, from)) = self.listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                self.traffic.refuse(Refused::Connection);
                continue;
            };
            let silent_at = Box::pin(sleep(self.silence));
            return (Connection { stream, silence: self.silence, silent_at, _place: place }, from);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that has its place among the capacity, and gives it back when it ends.
pub struct Connection {
    stream: TcpStream,
    silence: Duration,
    silent_at: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Passes progress on and starts the silence anew; without progress, ends the connection once it lasted too long.
    fn heard<T>(&mut self, context: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            let next = Instant::now() + self.silence;
            self.silent_at.as_mut().reset(next);
            return progress;
        }
        match self.silent_at.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.heard(context, progress)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.heard(context, progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn capped(connections: usize, silence: Duration) -> (Capped, SocketAddr, Arc<Traffic>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let traffic = Arc::new(Traffic::default());
        let address = listener.local_addr().expect("bound");
        (Capped::new(listener, connections, silence, Arc::clone(&traffic)), address, traffic)
    }

    #[tokio::test]
    async fn a_newcomer_beyond_the_capacity_is_closed_and_a_place_comes_back() {
        let (mut listener, address, traffic) = capped(1, Duration::from_secs(60)).await;
        let mut first = TcpStream::connect(address).await.expect("connects");
        let (served, _) = listener.accept().await;
        let mut second = TcpStream::connect(address).await.expect("connects");
        let mut third = TcpStream::connect(address).await.expect("connects");
        let accepting = tokio::spawn(async move { listener.accept().await });
        assert_eq!(second.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed at once");
        assert_eq!(third.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed at once");
        assert_eq!(traffic.refused(Refused::Connection), 2);
        drop(served);
        assert_eq!(first.read(&mut [0; 1]).await.unwrap_or(0), 0, "its end is gone");
        let mut fourth = TcpStream::connect(address).await.expect("connects");
        let (mut served, _) = accepting.await.expect("no panic");
        fourth.write_all(b"x").await.expect("written");
        assert_eq!(served.read(&mut [0; 1]).await.expect("read"), 1);
    }

    #[tokio::test]
    async fn a_silent_connection_is_closed() {
        let (mut listener, address, _) = capped(1, Duration::from_millis(20)).await;
        let _silent = TcpStream::connect(address).await.expect("connects");
        let (mut served, _) = listener.accept().await;
        let error = served.read(&mut [0; 1]).await.expect_err("nothing was said");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
