//! Local addresses, and a task for every connection.

pub mod proxy;

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proxy::{Header, HeaderError};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::failure::Cause;
use crate::places::{Full, Places, Unknown};
use crate::session::{self, Counter};
use crate::stage::Stage;

/// Connections that the system may hold for us; a short queue loses mail programs in a storm.
const BACKLOG: u32 = 1024;
/// How long to wait when the system has no more file descriptors.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How long a proxy has for its header, which it sends with the connection.
const HEADER: Duration = Duration::from_secs(5);

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; is another program there, or another mailwicket? No other port is ever tried"
)]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// How long a connection may be silent before the system asks whether the peer is still there.
const SILENT: Duration = Duration::from_secs(120);

/// Has the system find out when a peer is gone for good; a session has no time-out of its own.
///
/// # Errors
/// What the system says.
pub fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENT))
}

/// Binds one address, or fails.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // On Unix this only skips the wait after a restart; elsewhere it would let another program share the port.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        if address.ip() == Ipv6Addr::UNSPECIFIED {
            // Else it would take the port of 0.0.0.0 as well, on some systems, and both could not be listed.
            SockRef::from(&socket).set_only_v6(true)?;
        }
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| BindError { address, source })
}

/// Where connections come in at one address.
#[derive(Clone)]
pub struct Door {
    /// What the next session is served with; a reload changes it.
    pub counter: watch::Receiver<Arc<Counter>>,
    /// How many may come in.
    pub places: Places,
    /// Where sessions run.
    pub tasks: TaskTracker,
    /// Closes the door.
    pub close: CancellationToken,
}

impl Door {
    /// Accepts connections until the door is closed; each gets a task and a span of its own.
    pub async fn accept(self, socket: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = self.close.cancelled() => return,
            };
            match accepted {
                Ok((local, peer)) => self.admit(local, peer),
                Err(error) => {
                    // The connection, not the listener, is at fault; or the system is out of something for a while.
                    tracing::warn!(stage = %Stage::Accept, %error, "a connection could not be accepted");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            }
        }
    }

    fn admit(&self, local: TcpStream, peer: SocketAddr) {
        let counter = Arc::clone(&self.counter.borrow());
        // A listener of both families tells IPv4 in IPv6's clothes.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        // Without it, every answer to a small command may wait 40 ms.
        if let Err(error) = local.set_nodelay(true).and_then(|()| keep_alive(&local)) {
            tracing::debug!(%peer, %error, "cannot set the socket up");
        }
        let place = self.places.take();
        match (place, counter.listener.is_proxy(peer.ip())) {
            (Ok(place), true) => {
                let door = self.clone();
                self.tasks
                    .spawn(door.introduce(counter, local, peer, place));
            }
            (place, _) => self.welcome(counter, local, peer, place),
        }
    }

    /// Has a proxy say whose connection it passes on.
    async fn introduce(
        self,
        counter: Arc<Counter>,
        mut local: TcpStream,
        proxy: SocketAddr,
        place: Unknown,
    ) {
        let header = tokio::select! {
            header = timeout(HEADER, proxy::read(&mut local)) => header,
            () = self.close.cancelled() => return,
            () = place.evicted() => return,
        };
        let protocol = counter.listener.protocol;
        match header {
            Ok(Ok(Header::For(source))) => self.welcome(counter, local, source, Ok(place)),
            // It speaks for itself, or for somebody without an address.
            Ok(Ok(Header::Local | Header::Unknown)) => {
                self.welcome(counter, local, proxy, Ok(place));
            }
            Ok(Err(HeaderError::Silent)) => {
                tracing::debug!(stage = %Stage::Accept, %protocol, %proxy, "the proxy left without a word, as health checks do");
            }
            Ok(Err(error)) => {
                tracing::warn!(stage = %Stage::Accept, code = "MW-PROXY", %protocol, %proxy, %error, "closed: proxy-protocol-from names this peer, so its connections must begin with a PROXY protocol header");
            }
            Err(_) => {
                tracing::warn!(stage = %Stage::Accept, code = "MW-PROXY", %protocol, %proxy, within = ?HEADER, "closed: proxy-protocol-from names this peer, and it has sent no PROXY protocol header in time");
            }
        }
    }

    /// Serves a connection whose source is known, if there is room for it.
    fn welcome(
        &self,
        counter: Arc<Counter>,
        local: TcpStream,
        source: SocketAddr,
        place: Result<Unknown, Full>,
    ) {
        let span = tracing::info_span!("session", protocol = %counter.listener.protocol, %source);
        let settled = place.and_then(|place| self.places.settle(place, source.ip()));
        let (stranger, session) = match settled {
            Ok(places) => places,
            Err(full) => {
                tracing::warn!(parent: &span, stage = %Stage::Accept, code = Cause::Limit.code(), limit = full.limit, "too many connections; turned away");
                // In a flood, most are closed without a word.
                if let Some(farewell) = self.places.farewell() {
                    self.tasks.spawn(async move {
                        session::turn_away(&counter, local).await;
                        drop(farewell);
                    });
                }
                return;
            }
        };
        let served = async move {
            session::serve(counter, local, source, stranger).await;
            drop(session);
        };
        self.tasks.spawn(served.instrument(span));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_addresses_of_both_families_can_be_had_with_one_port() {
        let all = bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let port = all.local_addr().unwrap().port();
        bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).unwrap();
    }
}
