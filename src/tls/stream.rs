//! The connection to a mail program, in clear or secured, and the handshake between the two.

use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::handshake::HandshakeError;
use super::server::Terms;
use super::{Gather, hello};
use crate::accept::proxy;
use crate::stage::Stage;

/// Octets of a ClientHello that are looked at; those that say the interesting things are short.
const HELLO: usize = 2048;

/// The connection to a mail program.
pub struct LocalStream(Inner);

enum Inner {
    Clear(TcpStream),
    /// Boxed, so that a session in clear does not carry the room for it.
    Secured(Box<TlsStream<Gather<TcpStream>>>),
    /// A handshake took it and did not give it back.
    Lost,
}

impl From<TcpStream> for LocalStream {
    fn from(socket: TcpStream) -> Self {
        Self(Inner::Clear(socket))
    }
}

impl LocalStream {
    /// The first octet, which stays where it is; `None` if none comes in time.
    pub(super) async fn first_within(&self, limit: Duration) -> Option<u8> {
        let Inner::Clear(socket) = &self.0 else {
            return None;
        };
        let mut first = [0];
        match timeout(limit, socket.peek(&mut first)).await {
            Ok(Ok(1)) => Some(first[0]),
            _ => None,
        }
    }

    /// Whether what has come so far is the beginning of a PROXY header.
    pub async fn begins_with_proxy_header(&self) -> bool {
        let Inner::Clear(socket) = &self.0 else {
            return false;
        };
        let mut start = [0; proxy::V2.len()];
        // What has come is there at once.
        let Ok(Ok(count)) = timeout(Duration::ZERO, socket.peek(&mut start)).await else {
            return false;
        };
        start[..count].starts_with(proxy::V1) || start[..count] == *proxy::V2
    }

    /// Whether something has come that nobody has read. It asks the system: the runtime may not know yet.
    pub fn has_input(&self) -> bool {
        let Inner::Clear(socket) = &self.0 else {
            return false;
        };
        let mut octet = [MaybeUninit::uninit()];
        SockRef::from(socket)
            .peek(&mut octet)
            .is_ok_and(|count| count > 0)
    }

    /// Makes the handshake, as far as it gets: what is to be said to a client that cannot make it has been said.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection is then of use only for its end.
    pub async fn secure(&mut self, terms: &Terms) -> Result<(), HandshakeError> {
        let Inner::Clear(socket) = std::mem::replace(&mut self.0, Inner::Lost) else {
            return Err(HandshakeError::Gone);
        };
        let (inner, result) = match timeout(terms.handshake, shake_hands(socket, terms)).await {
            Ok(Ok(secured)) => {
                let (_, tls) = secured.get_ref();
                tracing::debug!(stage = %Stage::Tls, version = ?tls.protocol_version(), kind = ?tls.handshake_kind(), "secured");
                (Inner::Secured(Box::new(secured)), Ok(()))
            }
            Ok(Err((socket, error))) => (socket.map_or(Inner::Lost, Inner::Clear), Err(error)),
            Err(_) => (Inner::Lost, Err(HandshakeError::Timeout)),
        };
        self.0 = inner;
        result
    }
}

type Secured = TlsStream<Gather<TcpStream>>;

/// Takes the socket through the handshake; gives it back where it can still be used to part in order.
async fn shake_hands(
    mut socket: TcpStream,
    terms: &Terms,
) -> Result<Secured, (Option<TcpStream>, HandshakeError)> {
    let local = match socket.local_addr() {
        Ok(address) => address.ip(),
        Err(_) => return Err((Some(socket), HandshakeError::Gone)),
    };
    let mut hello = vec![0; HELLO];
    let count = match socket.peek(&mut hello).await {
        Ok(count) if count > 0 => count,
        _ => return Err((Some(socket), HandshakeError::Gone)),
    };
    let version = hello::newest_version(&hello[..count]);
    drop(hello);
    if let Some(version) = version.filter(|version| *version < hello::Version::TLS_1_2) {
        // The library would name another reason: old hellos lack what it looks for first.
        let _ = socket.write_all(&hello::NO_SUCH_VERSION).await; // whether it was heard changes nothing
        return Err((Some(socket), HandshakeError::OldVersion(version)));
    }
    let mut acceptor = LazyConfigAcceptor::new(Default::default(), Gather::new(socket));
    let start = match (&mut acceptor).await {
        Ok(start) => start,
        Err(error) => {
            let socket = acceptor.take_io().map(Gather::into_inner);
            return Err((socket, HandshakeError::before_certificate(error)));
        }
    };
    finish(start, terms, local).await
}

/// The part of [`shake_hands`] after the ClientHello.
async fn finish(
    start: tokio_rustls::StartHandshake<Gather<TcpStream>>,
    terms: &Terms,
    local: IpAddr,
) -> Result<Secured, (Option<TcpStream>, HandshakeError)> {
    let config = match terms.config(&start.client_hello(), local).await {
        Ok(config) => config,
        Err(error) => {
            let socket = Some(start.io.into_inner());
            return Err((socket, HandshakeError::Certificate(error.to_string())));
        }
    };
    let handshake = start.into_stream(config).into_fallible();
    handshake.await.map_err(|(error, io)| {
        let socket = Some(io.into_inner());
        (socket, HandshakeError::with_certificate(error))
    })
}

impl AsyncRead for LocalStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Clear(socket) => Pin::new(socket).poll_read(cx, out),
            Inner::Secured(secured) => Pin::new(secured).poll_read(cx, out),
            Inner::Lost => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Inner::Clear(socket) => Pin::new(socket).poll_write(cx, bytes),
            Inner::Secured(secured) => Pin::new(secured).poll_write(cx, bytes),
            Inner::Lost => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Clear(socket) => Pin::new(socket).poll_flush(cx),
            Inner::Secured(secured) => Pin::new(secured).poll_flush(cx),
            Inner::Lost => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Clear(socket) => Pin::new(socket).poll_shutdown(cx),
            Inner::Secured(secured) => Pin::new(secured).poll_shutdown(cx),
            Inner::Lost => Poll::Ready(Ok(())),
        }
    }
}
