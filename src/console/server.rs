//! Serves the console at one address: bounded connections, heads and times, and a polite stop.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::{self, Door};
use super::{Console, assets, pages, sign_in};

/// Connections at a time: a handful of browsers.
const MOST_CONNECTIONS: usize = 64;
/// Octets of a request's head.
const HEAD: usize = 16 * 1024;
/// How long a head may take, and how long a connection may rest between two requests.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long a connection may live; a browser makes another.
const CONNECTION_LIFE: Duration = Duration::from_secs(60 * 60);
/// How long answers that are under way get at the stop.
const LAST: Duration = Duration::from_secs(2);

/// Serves the console at a socket until `close`.
pub async fn serve(
    console: Arc<Console>,
    socket: TcpListener,
    bound: SocketAddr,
    close: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = TaskTracker::new();
    let router = router(console, Door::new(bound));
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = close.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = close.cancelled() => break,
        };
        let (Ok((stream, _)), Ok(place)) = (accepted, place) else {
            // Out of descriptors or the like: wait a little rather than spin.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let answering = answer(stream, router.clone(), close.clone());
        connections.spawn(async move {
            answering.await;
            drop(place);
        });
    }
    drop(socket);
    connections.close();
    connections.wait().await;
}

/// Everything that can be asked for, with the gate in front.
fn router(console: Arc<Console>, door: Door) -> Router {
    let inside = pages().layer(from_fn_with_state(Arc::clone(&console), gate::enter));
    inside
        .route(gate::OPEN, axum::routing::get(gate::open))
        .merge(sign_in::redirect::routes())
        .merge(assets::routes())
        .layer(from_fn_with_state(
            console.clone(),
            sign_in::redirect::catch,
        ))
        .layer(from_fn_with_state(Arc::new(door), gate::guard))
        .layer(from_fn(gate::dress))
        .with_state(console)
}

async fn answer(stream: TcpStream, router: Router, close: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // Whether the browser hears the answer concerns only the browser.
        _ = connection.as_mut() => return,
        () = close.cancelled() => {}
        () = sleep(CONNECTION_LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _: Result<Result<(), hyper::Error>, _> = timeout(LAST, connection).await;
}
