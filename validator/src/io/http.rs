//! HTTP and WebSocket around the pure RPC: sockets, limits, and nothing that knows a method.

use super::{
    capped::Capped,
    feed::{Feed, News},
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use dashmap::DashMap;
use flume::{Receiver, Sender, TrySendError, bounded};
use futures_util::{SinkExt as _, StreamExt as _};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use sundog_rpc::{
    Chain, ChainEvent, Rpc, SubscriptionEffect, SubscriptionInput, Subscriptions, rest,
    subscriptions::SubscriptionLimits,
};
use sundog_types::{Machine as _, Now};
use tokio::sync::mpsc;

/// The largest body (reference 10.1).
const BODY_BYTES_MAX: usize = 50 * 1024;
/// Calls answered at the same time; further ones wait for a place, and give up after [`CALL_WAIT`].
const CALLS_MAX: usize = 64;
/// How long a call waits for its place.
const CALL_WAIT: Duration = Duration::from_secs(10);
/// Messages that wait for a slow WebSocket before it is closed.
const UNSENT_MAX: usize = 1_024;
/// How long a WebSocket may take no byte before it is closed: one whose end reads nothing would keep its place and its
/// subscriptions for as long as it likes.
const UNREAD_WAIT: Duration = Duration::from_secs(10);
/// Memory that every WebSocket reads into: requests are short.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// Inputs that wait for the subscriptions' thread.
const INPUTS_MAX: usize = 16_384;

/// What every request needs.
#[derive(Clone)]
struct Shared {
    rpc: Arc<Rpc>,
    chain: Arc<dyn Chain>,
    places: Arc<tokio::sync::Semaphore>,
}

/// Serves JSON-RPC and the plain pages until the runtime ends.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: Capped, rpc: Arc<Rpc>, chain: Arc<dyn Chain>) -> std::io::Result<()> {
    let shared = Shared { rpc, chain, places: Arc::new(tokio::sync::Semaphore::new(CALLS_MAX)) };
    let router = Router::new().fallback(answer).with_state(shared);
    axum::serve(listener, router).await
}

async fn answer(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Body) -> Response {
    let mut response = match method {
        Method::POST => call(shared, headers, body).await,
        Method::GET => page(shared, uri).await,
        Method::OPTIONS => preflight(),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, GET, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

async fn call(shared: Shared, headers: HeaderMap, body: Body) -> Response {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if declared.is_some_and(|len| len > BODY_BYTES_MAX) {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let done = blocking(&shared, move |shared: &Shared| {
        let reply = shared.rpc.call(&*shared.chain, &body);
        (reply.status, reply.body)
    });
    match done.await {
        Some((status, body)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], Bytes::from(body)).into_response()
        }
        None => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]).into_response(),
    }
}

async fn page(shared: Shared, uri: Uri) -> Response {
    let page = blocking(&shared, move |shared: &Shared| rest::get(&*shared.chain, uri.path())).await;
    match page {
        Some(page) => {
            let status = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, page.body).into_response()
        }
        None => StatusCode::TOO_MANY_REQUESTS.into_response(),
    }
}

/// Runs a call that reads banks and disk where it may take its time. `None` if too many run already.
async fn blocking<T: Send + 'static>(shared: &Shared, run: impl FnOnce(&Shared) -> T + Send + 'static) -> Option<T> {
    let place = Arc::clone(&shared.places).acquire_owned();
    let place = tokio::time::timeout(CALL_WAIT, place).await.ok()?.ok()?;
    let shared = shared.clone();
    tokio::task::spawn_blocking(move || {
        let result = run(&shared);
        drop(place);
        result
    })
    .await
    .ok()
}

/// The WebSockets that are open.
struct Sockets {
    inputs: Sender<SubscriptionInput>,
    outgoing: DashMap<u64, mpsc::Sender<String>>,
    next: AtomicU64,
}

impl Sockets {
    /// Hands in what must not be lost: a WebSocket whose end is not heard of would keep its place for ever.
    async fn tell(&self, mut input: SubscriptionInput) {
        while let Err(TrySendError::Full(again)) = self.inputs.try_send(input) {
            input = again;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Serves subscriptions until the runtime ends.
///
/// # Errors
/// If the system has no thread to give, or the listener fails.
pub async fn serve_websocket(
    listener: Capped,
    chain: Arc<dyn Chain>,
    feed: Feed,
    connections: usize,
) -> std::io::Result<()> {
    let (inputs, received) = bounded(INPUTS_MAX);
    let sockets = Arc::new(Sockets { inputs, outgoing: DashMap::new(), next: AtomicU64::new(1) });
    let limits = SubscriptionLimits { connections, ..SubscriptionLimits::default() };
    let subscriptions = Subscriptions::new(limits, chain);
    let owner = Arc::clone(&sockets);
    std::thread::Builder::new().name("subscriptions".into()).spawn(move || notify(subscriptions, &received, &owner))?;
    tokio::spawn(listen(feed, Arc::clone(&sockets)));
    let router = Router::new().fallback(upgrade).with_state(sockets);
    axum::serve(listener, router).await
}

/// Carries the node's news to the subscriptions.
async fn listen(feed: Feed, sockets: Arc<Sockets>) {
    let mut news = feed.subscribe();
    loop {
        let events = match news.recv().await {
            Ok(News::Event(event)) => super::chain::events(event),
            Ok(News::View(_)) => vec![ChainEvent::Moved],
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => continue,
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        for event in events {
            let _ = sockets.inputs.try_send(SubscriptionInput::Event(event));
        }
    }
}

/// Drives the subscriptions' machine.
fn notify(mut subscriptions: Subscriptions, inputs: &Receiver<SubscriptionInput>, sockets: &Sockets) {
    let mut out = Vec::new();
    // Subscriptions have no timers, so that the moment does not matter.
    let now = Now { mono_us: 0, unix_ms: 0 };
    for input in inputs {
        subscriptions.handle(now, input, &mut out);
        for effect in out.drain(..) {
            match effect {
                SubscriptionEffect::Send { connection, text } => {
                    let sent = sockets.outgoing.get(&connection).map(|socket| socket.try_send(text));
                    if sent.is_some_and(|sent| sent.is_err()) {
                        sockets.outgoing.remove(&connection);
                    }
                }
                SubscriptionEffect::Close { connection } => {
                    sockets.outgoing.remove(&connection);
                }
            }
        }
    }
}

async fn upgrade(
    State(sockets): State<Arc<Sockets>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match upgrade {
        Ok(upgrade) => upgrade
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(BODY_BYTES_MAX)
            .max_frame_size(BODY_BYTES_MAX)
            .on_upgrade(move |socket| converse(socket, sockets)),
        Err(_) => (StatusCode::UPGRADE_REQUIRED, "this port speaks WebSocket; JSON-RPC over HTTP is one port below")
            .into_response(),
    }
}

async fn converse(socket: WebSocket, sockets: Arc<Sockets>) {
    let connection = sockets.next.fetch_add(1, Ordering::Relaxed);
    let (outgoing, mut texts) = mpsc::channel(UNSENT_MAX);
    sockets.outgoing.insert(connection, outgoing);
    sockets.tell(SubscriptionInput::Opened(connection)).await;
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            text = texts.recv() => {
                let Some(text) = text else { break };
                let sent = tokio::time::timeout(UNREAD_WAIT, sink.send(Message::Text(text.into()))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    break;
                }
            }
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let input = SubscriptionInput::Text { connection, text: text.to_string() };
                    if sockets.inputs.try_send(input).is_err() {
                        break;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => break,
            },
        }
    }
    sockets.outgoing.remove(&connection);
    sockets.tell(SubscriptionInput::Closed(connection)).await;
    let _ = tokio::time::timeout(UNREAD_WAIT, sink.send(Message::Close(None))).await;
}
