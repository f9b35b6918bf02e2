//! The mail server's sockets, and what its three protocols share. TLS is a must, and a bearer token the only way in.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::register::Register;
use super::store::Store;
use super::wire::Wire;
use super::{ADDRESS, Seen, bearer, imap, pop3, smtp};
use crate::protocol::Protocol;

/// Connections of one protocol at a time.
const MAX_CONNECTIONS: usize = 64;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How much of a token is shown.
const SHOWN: usize = 6;

/// What the sessions share.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) register: Arc<Register>,
    pub(super) store: Arc<Store>,
    pub(super) tls: TlsAcceptor,
    pub(super) events: mpsc::Sender<Seen>,
    pub(super) stop: CancellationToken,
}

/// A connection over TLS.
pub(super) type Secure = Wire<TlsStream<TcpStream>>;

impl Desk {
    /// TLS on a fresh connection or after STARTTLS; the version is told too.
    pub(super) async fn secure(&self, stream: TcpStream) -> io::Result<(Secure, &'static str)> {
        let stream = tokio::time::timeout(HANDSHAKE, self.tls.accept(stream))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        let version = match stream.get_ref().1.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        Ok((Wire::new(stream), version))
    }

    /// Whether what was presented opens the mailbox.
    pub(super) fn admits(
        &self,
        protocol: Protocol,
        tls: &'static str,
        mechanism: &'static str,
        response: &[u8],
    ) -> bool {
        let Some(bearer) = bearer::read(mechanism, response) else {
            return false;
        };
        let is_user = bearer.user.eq_ignore_ascii_case(ADDRESS);
        let accepted = is_user && self.register.is_good(&bearer.token, Timestamp::now());
        let beginning: String = bearer.token.chars().take(SHOWN).collect();
        let seen = Seen {
            protocol,
            mechanism,
            user: bearer.user,
            tls,
            token: format!("{beginning}… ({} characters)", bearer.token.len()),
            accepted,
        };
        // If nobody listens, or too slowly, nobody needs to know.
        let _ = self.events.try_send(seen);
        accepted
    }
}

/// A time as it stands in a header (RFC 5322 §3.3).
pub(super) fn date(time: Timestamp) -> String {
    // It fails before the year 0 only.
    jiff::fmt::rfc2822::to_string(&time.to_zoned(jiff::tz::TimeZone::UTC)).unwrap_or_default()
}

/// The listening side of one protocol.
pub(super) struct Server;

impl Server {
    /// Serves `protocol` on a free port of 127.0.0.1, until the desk stops.
    pub(super) async fn start(protocol: Protocol, desk: Desk) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(accept(protocol, desk, listener));
        Ok(address)
    }
}

async fn accept(protocol: Protocol, desk: Desk, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = desk.stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors or the like: wait a little rather than spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // More than the sandbox has places for are dropped without a word.
        if let Ok(place) = places.clone().try_acquire_owned() {
            let desk = desk.clone();
            tokio::spawn(async move {
                serve(protocol, desk, stream).await;
                drop(place);
            });
        }
    }
}

async fn serve(protocol: Protocol, desk: Desk, stream: TcpStream) {
    // Without it, answers in several parts wait 40 ms; nothing else depends on it.
    let _ = stream.set_nodelay(true);
    let session = async {
        match protocol {
            Protocol::Smtp => smtp::serve(&desk, stream).await,
            Protocol::Imap => {
                let (wire, tls) = desk.secure(stream).await?;
                imap::serve(&desk, wire, tls).await
            }
            Protocol::Pop3 => {
                let (wire, tls) = desk.secure(stream).await?;
                pop3::serve(&desk, wire, tls).await
            }
        }
    };
    let ended = tokio::select! {
        ended = session => ended,
        () = desk.stop.cancelled() => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%protocol, %error, "a connection to the sandbox broke off");
    }
}
