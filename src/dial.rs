//! The verified TLS connection to the provider, up to the point where it waits for a login.
//!
//! It runs beside `token`: neither waits for the other. Nothing of the account is known here.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::accept;
use crate::config::egress::Proxy;
use crate::config::{Egress, Endpoint, Timeouts, UpstreamTls};
use crate::dialogue::{
    self, LoggedIn, Login, Profile, Upstream, UpstreamEvent, UpstreamFailure, UpstreamFailureKind,
};
use crate::driver;
use crate::egress::{self, EgressError};
use crate::failure::{Cause, Failure};
use crate::protocol::Protocol;
use crate::stage::Stage;
use crate::tls::Gather;

/// An encrypted connection to a provider.
pub type UpstreamStream = TlsStream<Gather<TcpStream>>;

/// Everything that dialling needs to know.
#[derive(Clone)]
pub struct Dialler {
    /// What is spoken.
    pub protocol: Protocol,
    /// Where.
    pub endpoint: Endpoint,
    /// By what way.
    pub egress: Egress,
    /// Whom to trust.
    pub tls: Arc<rustls::ClientConfig>,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Where the host, or the proxy before it, was found last.
    pub known: Arc<Known>,
}

/// The addresses of a host, kept for a moment, so that many logins in a row ask the system once.
#[derive(Default)]
pub struct Known(Mutex<Option<(Vec<SocketAddr>, Instant)>>);

/// How long a server may take to hear that we leave.
const GOOD_BYE: Duration = Duration::from_secs(2);
/// How long addresses are used without asking again.
const REMEMBER: Duration = Duration::from_secs(30);

impl Known {
    fn get(&self) -> Option<Vec<SocketAddr>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.as_ref().filter(|(_, at)| at.elapsed() < REMEMBER);
        fresh.map(|(addresses, _)| addresses.clone())
    }

    fn keep(&self, addresses: &[SocketAddr]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((addresses.to_vec(), Instant::now()));
    }

    /// Puts the address that answered first, so that the next login does not try the others again.
    fn answered(&self, address: SocketAddr) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((addresses, _)) = &mut *known
            && let Some(at) = addresses.iter().position(|known| *known == address)
        {
            addresses[..=at].rotate_right(1);
        }
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A connection whose server has said what it can do and now waits for a login.
pub struct Dialled {
    stream: UpstreamStream,
    machine: Box<dyn Upstream>,
    profile: Profile,
    rest: Duration,
}

impl Dialler {
    /// Connects, secures the connection and hears what the server can do. `name` is what SMTP's EHLO says.
    pub async fn dial(&self, name: Option<&str>) -> Result<Dialled, Failure> {
        let addresses = self.resolve().await?;
        let socket = self.connect(&addresses).await?;
        let dialled = self.converse(socket, name).await;
        if dialled.is_err() {
            self.known.forget(); // an address that connects and says nothing must not stay the first
        }
        dialled
    }

    /// Hears what the server at the other end of `socket` can do, securing the connection where it is still in clear.
    pub async fn converse(&self, socket: Socket, name: Option<&str>) -> Result<Dialled, Failure> {
        let limit = self.timeouts.upstream_login;
        let begun = Instant::now();
        let greeted = async { self.hear(self.encrypt(socket, name).await?).await };
        let mut dialled = timeout(limit, greeted)
            .await
            .map_err(|_| self.slow_greeting())??;
        dialled.rest = limit.saturating_sub(begun.elapsed());
        Ok(dialled)
    }

    /// Only asks what the server can do; no credential is used.
    pub async fn ask_profile(&self) -> Result<Profile, Failure> {
        let mut dialled = self.dial(None).await?;
        let profile = dialled.profile.clone();
        // A polite good-bye, which nobody waits for; whether the server hears it changes nothing.
        tokio::spawn(async move {
            dialled.machine.quit();
            let farewell = driver::advance(&mut *dialled.machine, &mut dialled.stream);
            timeout(GOOD_BYE, farewell).await.ok();
        });
        Ok(profile)
    }

    /// The proxy on the way, if there is one.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.egress
            .for_mail(&self.endpoint.host)
            .map(|proxy| &**proxy)
    }

    /// The addresses that are connected to: those of the proxy, where there is one, since it resolves the server's name itself.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, Failure> {
        if let Some(addresses) = self.known.get() {
            return Ok(addresses);
        }
        let (host, port) = match self.proxy() {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&self.endpoint.host, self.endpoint.port),
        };
        let addresses = resolve(host, port, self.timeouts.connect)
            .await
            .map_err(|reason| self.unreached(reason))?;
        self.known.keep(&addresses);
        Ok(addresses)
    }

    /// Connects to the first address that answers; every failure is in the error.
    pub async fn connect(&self, addresses: &[SocketAddr]) -> Result<Socket, Failure> {
        let connected = timeout(self.timeouts.connect_total, self.first_of(addresses))
            .await
            .unwrap_or_else(|_| Err(self.unreached("no address answered in time".to_owned())));
        if connected.is_err() {
            self.known.forget();
        }
        connected
    }

    async fn first_of(&self, addresses: &[SocketAddr]) -> Result<Socket, Failure> {
        let mut failures = Vec::new();
        let mut cause = Cause::Upstream;
        let deadline = Instant::now() + self.timeouts.connect_total;
        for (at, address) in addresses.iter().enumerate() {
            // Every address gets its chance, however many are dead before it.
            let left = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            let limit = self.timeouts.connect.min(share);
            let error = match timeout(limit, self.connect_to(*address)).await {
                Ok(Ok(socket)) => {
                    self.known.answered(*address);
                    return Ok(socket);
                }
                Ok(Err(error)) => {
                    if of_proxy(&error).is_some_and(EgressError::is_config) {
                        cause = Cause::Config;
                    }
                    explain(&error)
                }
                Err(_) => format!("no answer within {limit:?}"),
            };
            tracing::debug!(stage = %Stage::Dial, %address, error, "an address failed");
            failures.push(format!("{address}: {error}"));
        }
        let mut failure = self.unreached(failures.join("; "));
        failure.cause = cause;
        Err(failure)
    }

    async fn connect_to(&self, address: SocketAddr) -> io::Result<Socket> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let tcp = reach(address, self.proxy(), host, *port).await?;
        self.wrap(tcp).await
    }

    /// Secures a fresh connection at once where TLS begins with the first byte.
    pub(crate) async fn wrap(&self, tcp: TcpStream) -> io::Result<Socket> {
        match self.endpoint.tls {
            UpstreamTls::Implicit => Ok(Socket::Secured(Box::new(self.secure(tcp).await?))),
            UpstreamTls::StartTls => Ok(Socket::Clear(tcp)),
        }
    }

    /// The handshake. The certificate must be valid for the configured host, whatever address or proxy was dialled.
    async fn secure(&self, tcp: TcpStream) -> io::Result<UpstreamStream> {
        let name = ServerName::try_from(self.endpoint.host.clone()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "the host cannot be a certificate's name",
            )
        })?;
        TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, Gather::new(tcp))
            .await
    }

    /// From the first octet of the server to the end of the handshake. It sets no limit of time: the caller has one.
    pub(crate) async fn encrypt(
        &self,
        socket: Socket,
        name: Option<&str>,
    ) -> Result<Encrypted, Failure> {
        let mut machine = dialogue::upstream(self.protocol, self.endpoint.tls, &nonce()?, name);
        let stream = match socket {
            Socket::Secured(stream) => *stream,
            Socket::Clear(mut tcp) => match self.advance(&mut *machine, &mut tcp).await? {
                UpstreamEvent::StartTls => {
                    let secured = self.secure(tcp).await;
                    let stream = secured
                        .map_err(|error| self.failure(explain(&error)).remedied(advice(&error)))?;
                    machine.tls_started();
                    stream
                }
                event => return Err(self.unexpected(event)),
            },
        };
        Ok(Encrypted { stream, machine })
    }

    /// Hears the list of capabilities over TLS. It sets no limit of time: the caller has one.
    pub(crate) async fn hear(&self, encrypted: Encrypted) -> Result<Dialled, Failure> {
        let Encrypted {
            mut stream,
            mut machine,
        } = encrypted;
        match self.advance(&mut *machine, &mut stream).await? {
            UpstreamEvent::Ready(profile) => Ok(Dialled {
                stream,
                machine,
                profile,
                rest: self.timeouts.upstream_login,
            }),
            event => Err(self.unexpected(event)),
        }
    }

    /// What is said where the list did not come in time.
    pub(crate) fn slow_greeting(&self) -> Failure {
        self.failure("the server did not finish its greeting in time; if it waits for TLS from the first byte, as on ports 993, 995 and 465, set tls = \"implicit\"".to_owned())
    }

    async fn advance<S>(
        &self,
        machine: &mut dyn Upstream,
        stream: &mut S,
    ) -> Result<UpstreamEvent, Failure>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        match driver::advance(machine, stream).await {
            Ok(Some(event)) => Ok(event),
            Ok(None) => Err(self.failure("the server closed the connection".to_owned())),
            Err(error) => Err(self.failure(error.to_string())),
        }
    }

    fn unexpected(&self, event: UpstreamEvent) -> Failure {
        match event {
            UpstreamEvent::Failed(failure) => {
                let mut told = self.failure(failure.detail).remedied(failure.remedy);
                if failure.kind == UpstreamFailureKind::Busy {
                    told.cause = Cause::Busy;
                }
                told
            }
            event => self.failure(format!("the conversation went astray: {event:?}")),
        }
    }

    /// A failure to get there, with what might help where nothing is said about the way.
    fn unreached(&self, reason: String) -> Failure {
        match self.egress.for_tokens_only(&self.endpoint.host) {
            Some(proxy) => self.failure(format!(
                "{reason} (tokens take the proxy {proxy} and mail goes directly: if mail has to take it as well, write it as `egress`)"
            )),
            None => self.failure(reason),
        }
    }

    fn failure(&self, reason: String) -> Failure {
        let way = self
            .proxy()
            .map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
        let detail = format!("{} server {}{way}: {reason}", self.protocol, self.endpoint);
        Failure::new(Stage::Dial, Cause::Upstream, detail)
    }
}

/// The addresses of a host, in the order in which they are tried; in words, why there are none.
pub(crate) async fn resolve(
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<Vec<SocketAddr>, String> {
    match timeout(limit, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => {
            let addresses = by_turns(addresses);
            match addresses.is_empty() {
                true => Err(format!("{host} has no address")),
                false => Ok(addresses),
            }
        }
        Ok(Err(error)) => Err(format!("cannot resolve {host}: {error}")),
        Err(_) => Err(format!("cannot resolve {host} in time")),
    }
}

/// A TCP connection with `host`: to `address`, which is the proxy's where there is one.
pub(crate) async fn reach(
    address: SocketAddr,
    proxy: Option<&Proxy>,
    host: &str,
    port: u16,
) -> io::Result<TcpStream> {
    let connected = TcpStream::connect(address).await;
    let tcp = match proxy {
        Some(_) => connected.map_err(|error| io::Error::other(EgressError::Unreachable(error)))?,
        None => connected?,
    };
    tcp.set_nodelay(true)?;
    accept::keep_alive(&tcp)?;
    match proxy {
        Some(proxy) => egress::open(proxy, tcp, host, port)
            .await
            .map_err(io::Error::other),
        None => Ok(tcp),
    }
}

/// Addresses with their families by turns, as the system ordered them: where one family leads nowhere, the other comes soon
/// (RFC 8305 §4).
fn by_turns(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let addresses: Vec<_> = addresses.collect();
    let is_first = |address: &SocketAddr| address.is_ipv6() == addresses[0].is_ipv6();
    let (first, second): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(is_first);
    let mut second = second.into_iter();
    let mut ordered = Vec::with_capacity(addresses.len());
    for address in first {
        ordered.push(address);
        ordered.extend(second.next());
    }
    ordered.extend(second);
    ordered
}

/// A connection over TLS, and the machine that led there.
pub(crate) struct Encrypted {
    stream: UpstreamStream,
    machine: Box<dyn Upstream>,
}

impl Encrypted {
    /// What TLS knows of the connection.
    pub(crate) fn tls(&self) -> &rustls::ClientConnection {
        self.stream.get_ref().1
    }
}

/// A connected socket.
pub enum Socket {
    /// Before STARTTLS.
    Clear(TcpStream),
    /// After the handshake of implicit TLS.
    Secured(Box<UpstreamStream>),
}

/// What a proxy did not do, if that is what failed.
pub(crate) fn of_proxy(error: &io::Error) -> Option<&EgressError> {
    error.get_ref()?.downcast_ref()
}

/// A failure of a socket or a handshake, with what to do about it where that is known.
fn explain(error: &io::Error) -> String {
    match advice(error) {
        Some(advice) => format!("{error} ({advice})"),
        None => error.to_string(),
    }
}

/// What to do about a failure of a socket or a handshake, where that is known.
pub(crate) fn advice(error: &io::Error) -> Option<&'static str> {
    use rustls::{CertificateError as Bad, Error};
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    Some(match tls {
        Some(Error::InvalidCertificate(Bad::UnknownIssuer)) => {
            "nobody trusted has signed its certificate; if a firewall inspects TLS or the server has a private CA, name that CA with `ca-file`"
        }
        Some(Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. })) => {
            "its certificate has expired, or the clock of this machine is wrong"
        }
        Some(Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. })) => {
            "its certificate is not valid yet, or the clock of this machine is wrong"
        }
        Some(Error::InvalidCertificate(
            Bad::NotValidForName | Bad::NotValidForNameContext { .. },
        )) => "its certificate is for another host; check `host`",
        Some(Error::InvalidMessage(_)) => {
            "it does not speak TLS here; check `port`, and whether `tls` must be \"starttls\""
        }
        _ => match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                "nobody listens there, or a firewall refuses it; check `host` and `port`"
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                "it was cut off during the handshake, by the server or a firewall"
            }
            _ => return None,
        },
    })
}

/// A login that did not succeed.
#[derive(Debug)]
pub enum LoginFailure {
    /// The provider did not take this token; another one may help.
    TokenRefused(Failure),
    /// Another token would not help.
    Other(Failure),
}

impl LoginFailure {
    /// What happened, whatever would help.
    pub fn into_failure(self) -> Failure {
        match self {
            Self::TokenRefused(failure) | Self::Other(failure) => failure,
        }
    }
}

impl Dialled {
    /// What the server can do.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Logs in; the connection is of no use after a failure.
    pub async fn login(
        mut self,
        login: &Login<'_>,
    ) -> Result<(UpstreamStream, LoggedIn), LoginFailure> {
        // What the server said while we waited for the token came before we asked; the machine must see it first.
        tokio::select! {
            biased;
            _ = driver::read(&mut *self.machine, &mut self.stream) => {}
            () = std::future::ready(()) => {}
        }
        self.machine.login(login);
        let failure = |cause, told: UpstreamFailure| {
            let server = format!("{}:{}", login.host, login.port);
            let detail = format!("{server} as {}: {}", login.identity, told.detail);
            Failure::new(Stage::Login, cause, detail)
                .remedied(told.remedy)
                .pausing(told.pause.map(Duration::from_millis))
        };
        let other = |reason: String| {
            LoginFailure::Other(failure(
                Cause::Upstream,
                UpstreamFailure::unavailable(reason),
            ))
        };
        let answer = timeout(
            self.rest,
            driver::advance(&mut *self.machine, &mut self.stream),
        )
        .await;
        match answer {
            Ok(Ok(Some(UpstreamEvent::LoggedIn(logged_in)))) => Ok((self.stream, logged_in)),
            Ok(Ok(Some(UpstreamEvent::Failed(told)))) => Err(match told.kind {
                UpstreamFailureKind::TokenRefused => {
                    LoginFailure::TokenRefused(failure(Cause::Refused, told))
                }
                UpstreamFailureKind::Forbidden => LoginFailure::Other(failure(Cause::Config, told)),
                UpstreamFailureKind::Busy => LoginFailure::Other(failure(Cause::Busy, told)),
                UpstreamFailureKind::Unavailable => {
                    LoginFailure::Other(failure(Cause::Upstream, told))
                }
            }),
            Ok(Ok(Some(event))) => Err(other(format!("the conversation went astray: {event:?}"))),
            Ok(Ok(None)) => Err(other(
                "the server closed the connection during the login".to_owned(),
            )),
            Ok(Err(error)) => Err(other(error.to_string())),
            Err(_) => Err(other(
                "the server did not answer the login in time".to_owned(),
            )),
        }
    }
}

fn nonce() -> Result<dialogue::Nonce, Failure> {
    let mut nonce = [0; 40];
    getrandom::fill(&mut nonce).map_err(|error| {
        Failure::new(
            Stage::Dial,
            Cause::Upstream,
            format!("no randomness from the system: {error}"),
        )
    })?;
    Ok(nonce)
}
