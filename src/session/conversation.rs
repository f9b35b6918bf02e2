//! Drives our small server of the protocol over the local socket: its time, its end, and what it needs from outside.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Counter;
use crate::config::{Listener, OnUnavailable};
use crate::dialogue::{
    self, Credentials, Ending, Interruption, Local, LocalEvent, LoggedIn, Opening, Privacy, Profile,
};
use crate::driver;
use crate::failure::{Cause, Failure};
use crate::observe::timed;
use crate::stage::Stage;
use crate::tls::{HandshakeError, LocalStream};

/// How long a mail program has to take our last words.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long it has to read them.
const LINGER: Duration = Duration::from_secs(1);
/// Octets that it may still say meanwhile; nobody reads them.
const REST: u64 = 64 * 1024;

/// The conversation with one mail program before it is logged in.
pub(super) struct Conversation<'a> {
    counter: &'a Counter,
    machine: Box<dyn Local>,
    deadline: Instant,
    /// Set when another needs this one's place more.
    evicted: CancellationToken,
    /// Whether the mail program may still say something.
    is_open: bool,
}

/// What a mail program wants to be let in with.
pub(super) enum Claim {
    /// A login and its password.
    Login(Credentials),
    /// Its address: it sends mail without logging in.
    Address,
}

impl Claim {
    /// How the log names who it was.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Login(credentials) => &credentials.login,
            Self::Address => "(without login)",
        }
    }
}

/// Why a connection never came to `relay`.
#[derive(Debug)]
pub(super) enum End {
    /// The conversation came to an end.
    Ended(Ending),
    /// The mail program went away.
    Gone(Option<io::Error>),
    /// `on-unavailable = "close"`: this is all the answer there is.
    Unavailable,
    /// There is no secured connection.
    Insecure(HandshakeError),
}

impl<'a> Conversation<'a> {
    /// `source` may be known by its address; `evicted` is set when its place is needed more.
    pub(super) fn begin(
        counter: &'a Counter,
        privacy: Privacy,
        source: IpAddr,
        evicted: CancellationToken,
    ) -> Self {
        let profile = counter.profiles.known(&counter.dialler);
        let Listener {
            protocol,
            without_login,
            ..
        } = &*counter.listener;
        let mut machine = dialogue::local(*protocol, counter.bounds, privacy, profile);
        if without_login
            .as_ref()
            .is_some_and(|terms| terms.covers(source))
        {
            machine.waive_login();
        }
        Self {
            counter,
            machine,
            deadline: Instant::now() + counter.timeouts.before_login,
            evicted,
            is_open: true,
        }
    }

    /// What SMTP's EHLO said.
    pub(super) fn name(&self) -> Option<String> {
        self.machine.name().map(str::to_owned)
    }

    /// The capability list that the mail program was shown.
    pub(super) fn promised(&self) -> Option<Profile> {
        self.machine.promised().cloned()
    }

    /// Talks until credentials are in hand, or a device that needs none begins to send.
    pub(super) async fn claim(&mut self, local: &mut LocalStream) -> Result<Claim, End> {
        loop {
            match self.event(local).await? {
                LocalEvent::Credentials(credentials) => return Ok(Claim::Login(credentials)),
                LocalEvent::Mail => return Ok(Claim::Address),
                LocalEvent::Close(ending) => return Err(End::Ended(ending)),
                LocalEvent::StartTls(reply) => {
                    let evicted = self.evicted.clone();
                    tokio::select! {
                        done = timed(Stage::Tls, self.start_tls(local, &reply)) => done?,
                        () = evicted.cancelled() => return Err(End::EVICTED), // nothing can be said in a handshake
                    }
                }
                LocalEvent::NeedProfile => {
                    let profile = self
                        .attend(local, self.counter.profiles.get(&self.counter.dialler))
                        .await?;
                    if let Err(failure) = &profile {
                        tracing::warn!(stage = %failure.stage, code = failure.cause.code(), detail = failure.detail, "the mail server could not be asked for its capabilities");
                    }
                    self.machine.profile(profile.as_ref());
                }
            }
        }
    }

    /// Announces the handshake and makes it, unless something came in clear that would be taken for secured.
    async fn start_tls(&mut self, local: &mut LocalStream, reply: &[u8]) -> Result<(), End> {
        if local.has_input() {
            return Err(End::Ended(Ending::Injected));
        }
        // Whoever reads nothing may not stay for it longer than for anything else.
        timeout_at(self.deadline, local.write_all(reply))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| End::Gone(Some(error)))?;
        let handshake = local.secure(&self.counter.terms);
        handshake.await.map_err(End::Insecure)?;
        self.machine.tls_started();
        Ok(())
    }

    /// The next event, unless time is over or we must stop; then the mail program hears so.
    async fn event(&mut self, local: &mut LocalStream) -> Result<LocalEvent, End> {
        let interruption = tokio::select! {
            event = timeout_at(self.deadline, driver::advance(&mut *self.machine, local)) => match event {
                Ok(Ok(Some(event))) => return Ok(event),
                Ok(Ok(None)) => return Err(End::Gone(None)),
                Ok(Err(error)) => return Err(End::Gone(Some(error))),
                Err(_) => Interruption::Timeout,
            },
            () = self.counter.stop.cancelled() => Interruption::Shutdown,
            () = self.evicted.cancelled() => Interruption::Limit,
        };
        self.machine.interrupt(interruption);
        self.part(local).await
    }

    /// Gives out what is left to say and ends.
    async fn part<T>(&mut self, local: &mut LocalStream) -> Result<T, End> {
        let farewell =
            tokio::time::timeout(FAREWELL, driver::advance(&mut *self.machine, local)).await;
        Err(match farewell {
            Ok(Ok(Some(LocalEvent::Close(ending)))) => End::Ended(ending),
            Ok(Err(error)) => End::Gone(Some(error)),
            _ => End::Gone(None),
        })
    }

    /// Does `work` while the machine is parked. What the mail program sends meanwhile is held, within the bounds; if its connection
    /// breaks, the work is dropped.
    pub(super) async fn attend<T>(
        &mut self,
        local: &mut LocalStream,
        work: impl Future<Output = T>,
    ) -> Result<T, End> {
        let mut work = pin!(work);
        let evicted = self.evicted.clone();
        loop {
            let may_read = self.is_open && self.machine.room() > 0;
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = evicted.cancelled() => {
                    self.machine.interrupt(Interruption::Limit);
                    return self.part(local).await;
                }
                read = driver::read(&mut *self.machine, local), if may_read => match read {
                    Ok(more) => self.is_open = more, // a closed half still waits for its answer
                    Err(error) => return Err(End::Gone(Some(error))),
                },
            }
        }
    }

    /// Tells the mail program that its login failed, as its listener is set up to.
    pub(super) async fn refuse(
        &mut self,
        local: &mut LocalStream,
        failure: &Failure,
    ) -> Result<(), End> {
        let is_ours = failure.cause != Cause::Password;
        if is_ours && self.counter.listener.on_unavailable == OnUnavailable::Close {
            return Err(End::Unavailable);
        }
        self.machine.refuse(failure);
        match self.is_open {
            true => Ok(()),
            // Nothing more can come: say it, and that is the end.
            false => self.part(local).await,
        }
    }

    /// Says in the log that a mail program tried to log in where TLS must come first, and left it at that.
    pub(super) fn note_missing_tls(&self, source: SocketAddr) {
        if self.machine.missed_tls() {
            let protocol = self.counter.listener.protocol;
            tracing::warn!(stage = %Stage::Dialogue, code = dialogue::TLS_FIRST, %protocol, source = %source.ip(), "the mail program did not use TLS, which is required here, and may have sent its password in clear; switch STARTTLS on in it, or list its address in allow-plaintext-from of the listener");
        }
    }

    /// Says in the log that a mail program was told to log in and left instead: the commonest mistake in its settings.
    pub(super) fn note_missing_login(&self, source: SocketAddr) {
        if self.machine.missed_login() {
            let protocol = self.counter.listener.protocol;
            tracing::warn!(stage = %Stage::Dialogue, code = "MW-NOAUTH", %protocol, source = %source.ip(), "the mail program used commands that need a login and never logged in; switch authentication on in it");
        }
    }

    /// Turns the provider's success into the mail program's.
    pub(super) fn accept(self, login: &LoggedIn) -> Result<Opening, End> {
        self.machine.accept(login).map_err(End::Ended)
    }
}

/// Says good-bye as TLS wants it, where the relay was ended before it could; nobody waits for that long.
pub(super) async fn part(local: &mut LocalStream) {
    tokio::time::timeout(FAREWELL, local.shutdown()).await.ok();
}

/// The short code of a reply to somebody who was turned away.
fn code(interruption: Interruption) -> &'static str {
    match interruption {
        Interruption::Plaintext => dialogue::NOT_IN_CLEAR,
        _ => dialogue::TLS_FIRST,
    }
}

/// Lets the mail program read our last words: a socket that is closed with unread bytes in it resets the connection.
pub(super) async fn linger(local: &mut LocalStream) {
    let reading = async {
        local.shutdown().await?;
        tokio::io::copy(&mut local.take(REST), &mut tokio::io::sink()).await
    };
    // Whatever comes of it, nothing more is to be said.
    tokio::time::timeout(LINGER, reading).await.ok();
}

impl End {
    /// It had to make room for another.
    pub(super) const EVICTED: Self = Self::Ended(Ending::Interrupted(Interruption::Limit));

    /// Whether the mail program may take its time to read our last words. Who had to make room for another may not.
    pub(super) fn may_linger(&self) -> bool {
        !matches!(self, Self::Ended(Ending::Interrupted(Interruption::Limit)))
    }

    /// Says in the log how a connection ended that never logged in.
    pub(super) fn report(&self, listener: &Listener, source: SocketAddr) {
        let protocol = listener.protocol;
        match self {
            Self::Ended(Ending::Quit) | Self::Gone(None) => {
                tracing::debug!(stage = %Stage::Dialogue, %source, %protocol, "left without logging in");
            }
            Self::Gone(Some(error)) => {
                tracing::debug!(stage = %Stage::Dialogue, %source, %protocol, %error, "connection broke off")
            }
            Self::Insecure(error) if error.is_notable() => {
                tracing::warn!(stage = %Stage::Tls, %source, %protocol, %error, "no secured connection");
            }
            Self::Insecure(error) => {
                tracing::debug!(stage = %Stage::Tls, %source, %protocol, %error, "no secured connection");
            }
            Self::Ended(ending @ Ending::ProxyHeader) => {
                let remedy = format!(
                    "if this peer is your proxy, write: proxy-protocol-from = [\"{}\"]",
                    source.ip()
                );
                tracing::warn!(stage = %Stage::Dialogue, code = "MW-PROXY", %source, %protocol, reason = %ending, %remedy, "connection closed before a login");
            }
            Self::Ended(Ending::Interrupted(
                interruption @ (Interruption::Plaintext | Interruption::ExpectedTls),
            )) => {
                tracing::warn!(stage = %Stage::Tls, %source, %protocol, code = code(*interruption), reason = %interruption, "turned away");
            }
            Self::Ended(ending) => {
                tracing::warn!(stage = %Stage::Dialogue, %source, %protocol, reason = %ending, "connection closed before a login")
            }
            Self::Unavailable => {
                tracing::debug!(stage = %Stage::Login, %source, %protocol, "closed, as on-unavailable says")
            }
        }
    }
}
