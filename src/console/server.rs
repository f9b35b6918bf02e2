//! Serves the console at one address: bounded connections, heads and times, and a polite stop.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use url::Url;

use super::gate::{self, Door};
use super::{Console, assets, pages, sign_in};
use crate::config::{CertificateName, RemoteConsole};
use crate::tls::{LocalStream, Terms};

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

/// How somebody comes in. It may change with the configuration while the address stays.
#[derive(Clone, Default)]
pub struct Entrance {
    remote: Option<Arc<Remote>>,
}

struct Remote {
    config: RemoteConsole,
    terms: Terms,
    names: BTreeSet<CertificateName>,
}

impl Entrance {
    /// For other machines: over TLS, from some networks, by these names of this machine.
    pub fn remote(config: RemoteConsole, terms: Terms, names: BTreeSet<CertificateName>) -> Self {
        Self {
            remote: Some(Arc::new(Remote {
                config,
                terms,
                names,
            })),
        }
    }

    /// Where a browser is sent. An address that stands for all of them is no name, so the machine's own is taken then.
    pub fn url(&self, bound: SocketAddr) -> Option<Url> {
        let Some(remote) = &self.remote else {
            return Url::parse(&format!("http://{bound}/")).ok();
        };
        if !bound.ip().is_unspecified() {
            return Url::parse(&format!("https://{bound}/")).ok();
        }
        let is_real = |name: &&CertificateName| matches!(name, CertificateName::Host(name) if name != "localhost");
        let name = remote.names.iter().find(is_real);
        let name = name.map_or_else(|| "localhost".to_owned(), ToString::to_string);
        Url::parse(&format!("https://{name}:{}/", bound.port())).ok()
    }
}

/// Serves the console at a socket until `close`.
pub async fn serve(
    console: Arc<Console>,
    socket: TcpListener,
    entrance: watch::Receiver<Entrance>,
    close: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = TaskTracker::new();
    let router = router(console);
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = close.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = close.cancelled() => break,
        };
        let (Ok((stream, source)), Ok(place)) = (accepted, place) else {
            // Out of descriptors or the like: wait a little rather than spin.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (entrance, router, close) = (entrance.borrow().clone(), router.clone(), close.clone());
        connections.spawn(async move {
            admit(stream, source.ip(), &entrance, router, close).await;
            drop(place);
        });
    }
    drop(socket);
    connections.close();
    connections.wait().await;
}

/// Everything that can be asked for, with the gate in front.
fn router(console: Arc<Console>) -> Router {
    // The path of the session goes before a page is looked for, so the gate has no routes of its own.
    let inside = Router::new()
        .fallback_service(pages().with_state(Arc::clone(&console)))
        .layer(from_fn_with_state(Arc::clone(&console), gate::enter));
    inside
        .route(gate::OPEN, axum::routing::get(gate::open))
        .merge(sign_in::redirect::routes())
        .merge(assets::routes())
        .layer(from_fn_with_state(
            console.clone(),
            sign_in::redirect::catch,
        ))
        .layer(from_fn(gate::guard))
        .layer(from_fn(gate::dress))
        .with_state(console)
}

/// Sees where somebody comes from, and has TLS begin where it must.
async fn admit(
    stream: TcpStream,
    source: IpAddr,
    entrance: &Entrance,
    router: Router,
    close: CancellationToken,
) {
    let Ok(local) = stream.local_addr() else {
        return; // it has gone
    };
    let Some(remote) = &entrance.remote else {
        return answer(stream, Door::new(local), router, close).await;
    };
    if !remote.config.allows(source) {
        tracing::debug!(%source, "the console is not for this address");
        return;
    }
    let mut stream = LocalStream::from(stream);
    match stream.secure(&remote.terms).await {
        Ok(()) => {
            answer(stream, Door::secured(local, &remote.names), router, close).await;
        }
        Err(error) => tracing::debug!(%source, %error, "no TLS with a browser"),
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    door: Door,
    router: Router,
    close: CancellationToken,
) {
    let door = Arc::new(door);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&door));
        router.clone().call(request)
    });
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
