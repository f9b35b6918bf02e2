//! Serves the console at one address: bounded connections, heads and times, and a polite stop.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use url::Url;

use super::gate::{self, Door};
use super::guest::{self, Guest, Impatient};
use super::{Console, Own, assets, pages, sign_in};
use crate::accept;
use crate::config::{CertificateName, RemoteConsole};
use crate::oauth::redirect::is_missing_family;
use crate::tls::{LocalStream, Terms};

/// Octets of a request's head.
const HEAD: usize = 16 * 1024;
/// How long a head may take, and how long a connection may rest between two requests.
const HEAD_TIME: Duration = Duration::from_secs(30);
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

    /// Where the console is found.
    pub fn own(&self, bound: SocketAddr, has_localhost: bool) -> Option<Own> {
        let url = self.url(bound)?;
        Some(Own { url, has_localhost })
    }

    /// Whether somebody at this address may come in.
    fn allows(&self, source: IpAddr) -> bool {
        let remote = self.remote.as_ref();
        remote.is_none_or(|remote| remote.config.allows(source))
    }

    /// Where a browser is sent. An address that stands for all of them is no name, so the machine's own is taken then.
    fn url(&self, bound: SocketAddr) -> Option<Url> {
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

/// What the console listens at: an address, and with one of loopback the other family's as well. Browsers take either for `localhost`,
/// and the port that we leave free there is another program's to take.
pub struct Sockets {
    first: TcpListener,
    second: Option<TcpListener>,
    /// Whether nobody else can be at `localhost` with this port.
    pub has_localhost: bool,
}

impl Sockets {
    /// `first`, and the other one if it can be had.
    pub fn beside(first: TcpListener, bound: SocketAddr) -> Self {
        let other = match bound.ip() {
            IpAddr::V4(Ipv4Addr::LOCALHOST) => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            IpAddr::V6(Ipv6Addr::LOCALHOST) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            _ => None,
        };
        let second = other.map(|other| accept::bind(SocketAddr::new(other, bound.port())));
        let has_localhost = match &second {
            Some(Ok(_)) => true,
            Some(Err(error)) => is_missing_family(&error.source),
            None => false,
        };
        let second = second.and_then(Result::ok);
        Self {
            first,
            second,
            has_localhost,
        }
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.second {
            Some(second) => tokio::select! {
                accepted = self.first.accept() => accepted,
                accepted = second.accept() => accepted,
            },
            None => self.first.accept().await,
        }
    }
}

/// Serves the console at its sockets until `close`.
pub async fn serve(
    console: Arc<Console>,
    sockets: Sockets,
    entrance: watch::Receiver<Entrance>,
    close: CancellationToken,
) {
    let places = guest::places();
    let connections = TaskTracker::new();
    let router = router(console);
    loop {
        let accepted = tokio::select! {
            accepted = sockets.accept() => accepted,
            () = close.cancelled() => break,
        };
        let Ok((stream, source)) = accepted else {
            // Out of descriptors or the like: wait a little rather than spin.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let place = places.take();
        let Ok((stranger, place)) = place.and_then(|place| places.settle(place, source.ip()))
        else {
            continue; // as many browsers as may be
        };
        let guest = Arc::new(Guest::new(stranger));
        let later = entrance.clone();
        let (entrance, router, close) = (entrance.borrow().clone(), router.clone(), close.clone());
        connections.spawn(async move {
            tokio::select! {
                () = admit(stream, source.ip(), &entrance, router, &guest, close) => {}
                () = guest.evicted() => {}
                () = shut_out(later, source.ip()) => {}
            }
            drop(place);
        });
    }
    drop(sockets);
    connections.close();
    connections.wait().await;
}

/// Until the console is not for this address any more.
async fn shut_out(mut entrance: watch::Receiver<Entrance>, source: IpAddr) {
    let is_out = |now: &Entrance| !now.allows(source);
    if entrance.wait_for(is_out).await.is_err() {
        // It changes no more; whoever closes it closes the connections as well.
        std::future::pending::<()>().await;
    }
}

/// Everything that can be asked for, with the gate in front.
fn router(console: Arc<Console>) -> Router {
    // The path of the session goes before a page is looked for, so what is behind the gate is a router of its own.
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
    guest: &Arc<Guest>,
    close: CancellationToken,
) {
    let Ok(local) = stream.local_addr() else {
        return; // it has gone
    };
    let Some(remote) = &entrance.remote else {
        return answer(stream, Door::new(local), router, guest, close).await;
    };
    if !remote.config.allows(source) {
        tracing::debug!(%source, "the console is not for this address");
        return;
    }
    let mut stream = LocalStream::from(stream);
    match stream.secure(&remote.terms).await {
        Ok(()) => {
            let door = Door::secured(local, &remote.names);
            answer(stream, door, router, guest, close).await;
        }
        Err(error) => tracing::debug!(%source, %error, "no TLS with a browser"),
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    door: Door,
    router: Router,
    guest: &Arc<Guest>,
    close: CancellationToken,
) {
    let door = Arc::new(door);
    let known = Arc::clone(guest);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&door));
        request.extensions_mut().insert(Arc::clone(&known));
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(Impatient::new(stream)), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // Whether the browser hears the answer concerns only the browser.
        _ = connection.as_mut() => return,
        () = close.cancelled() => {}
        () = guest.outstayed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _: Result<Result<(), hyper::Error>, _> = timeout(LAST, connection).await;
}

#[cfg(test)]
mod tests {
    use super::super::testing::console_of;
    use super::*;

    const TEXT: &str = "
state-dir = '.'
[provider.a]
preset = 'google'
client-id = 'x'
[[listener]]
protocol = 'imap'
provider = 'a'
listen = ['127.0.0.1:1143']
tls = 'none'
";

    #[tokio::test]
    async fn who_is_taken_out_of_the_networks_is_shut_out_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (console, _held) = console_of(folder.path(), TEXT);
        let listener = Arc::clone(&console.now().config.listeners[0]);
        let entrance = |network: &str| {
            let config = RemoteConsole {
                allow_from: vec![network.parse().expect("a network")],
                certificate: None,
            };
            let terms = Terms::new(&listener, HEAD_TIME, None).expect("no certificate");
            Entrance::remote(config, terms, BTreeSet::new())
        };
        let (sender, receiver) = watch::channel(entrance("192.0.2.0/24"));
        let source = "192.0.2.9".parse().expect("an address");
        let mut out = pin!(shut_out(receiver, source));
        for network in ["192.0.2.9/32", "192.0.0.0/16"] {
            sender.send_replace(entrance(network));
            assert!(timeout(Duration::ZERO, out.as_mut()).await.is_err());
        }
        sender.send_replace(entrance("198.51.100.0/24"));
        timeout(HEAD_TIME, out).await.expect("shut out");
    }
}
