//! The dialogues before login, on both sides, as machines without sockets, clocks or randomness.
//!
//! The contract of a machine, for all three protocols:
//!
//! 1. It takes bytes and verdicts, and gives [`Step`]s. It is drained until it needs input before anybody waits on a socket.
//! 2. It owns framing: it may hold bytes beyond the current message, and hands them over at the end; the relay sends them first.
//! 3. Input that is buffered when TLS starts is a failure, never discarded.
//! 4. Credentials, or mail without any, park a [`Local`] machine. Only an acceptance, which needs the [`LoggedIn`] that a successful upstream login
//!    makes, or a refusal, which needs a [`Failure`], resumes it; so a mail program hears success only after the provider said so.
//! 5. Every buffer has a bound, which is an argument; reaching it is a step, checked in every state.
//! 6. No clock: the driver times each stage and tells the machine with [`Local::interrupt`].
//! 7. `Debug` shows the state's name and lengths, never content.
//!
//! Output depends on the bytes that came, never on how they were cut into segments.
//!
//! This module and its children do not know sockets, tasks, configuration files or tokens' lives; a test keeps it so.

mod desk;
mod first_reply;
mod framing;
mod held;
pub mod imap;
pub mod pop3;
mod profile;
mod refusals;
mod sasl;
pub mod smtp;
#[cfg(test)]
mod tests;
mod text;
mod wire;

use std::fmt;

use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use crate::config::{MechanismChoice, UpstreamTls};
use crate::failure::Failure;
use crate::protocol::Protocol;
use crate::token::AccessToken;
pub use first_reply::{FirstReply, Heard};
pub use profile::Profile;

/// What a mail program presented. `Debug` shows lengths only.
pub struct Credentials {
    /// The login name: UTF-8 without control characters; empty if what came could not be one, which no account matches.
    pub login: String,
    /// The password: any octets but NUL, CR and LF, compared as they came.
    pub password: SecretSlice<u8>,
}

impl Credentials {
    /// What stands for a message that holds no usable credentials; it fails like a wrong password, in the same time.
    fn unusable() -> Self {
        Self {
            login: String::new(),
            password: Vec::new().into(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("login_len", &self.login.len())
            .field("password_len", &self.password.expose_secret().len())
            .finish()
    }
}

/// Bytes to send. They may hold a token, so `Debug` shows their number and they are wiped when dropped.
#[derive(Clone, Default)]
pub struct Outgoing(Zeroizing<Vec<u8>>);

impl Outgoing {
    /// Adds bytes at the end.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Takes everything, leaving nothing.
    fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl std::ops::Deref for Outgoing {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.len())
    }
}

/// What a machine wants next.
#[derive(Debug)]
pub enum Step<Event> {
    /// More bytes from the peer.
    NeedInput,
    /// These bytes must go to the peer.
    Send(Outgoing),
    /// Something that the driver cannot do alone.
    Event(Event),
}

/// A machine of either side.
pub trait Machine: fmt::Debug + Send {
    /// What it reports besides bytes.
    type Event;

    /// How many octets [`Machine::receive`] can take now.
    fn room(&self) -> usize;

    /// Takes bytes from the peer, at most [`Machine::room`] of them.
    fn receive(&mut self, input: &[u8]);

    /// What to do next.
    fn step(&mut self) -> Step<Self::Event>;
}

/// What a local machine reports.
#[derive(Debug)]
pub enum LocalEvent {
    /// The provider's capability list is wanted; answer with [`Local::profile`].
    NeedProfile,
    /// A login; the machine is parked until [`Local::refuse`] or [`Local::accept`].
    Credentials(Credentials),
    /// STARTTLS or STLS, with nothing behind it. If nothing has come in the meantime either, this is to be sent in clear and the
    /// handshake made; then [`Local::tls_started`].
    StartTls(Outgoing),
    /// Mail from somebody who need not log in ([`Local::waive_login`]); the machine is parked as for a login. The command is still
    /// held: an acceptance hands it over, a refusal answers it.
    Mail,
    /// The conversation is over; everything that had to be said has been given out.
    Close(Ending),
}

/// Our small server of a protocol, until credentials are in hand.
pub trait Local: Machine<Event = LocalEvent> {
    /// Answers [`LocalEvent::NeedProfile`].
    fn profile(&mut self, profile: Result<&Profile, &Failure>);

    /// The capability list that this mail program was shown.
    fn promised(&self) -> Option<&Profile>;

    /// Said before anything else: this peer may send mail without a login (SMTP). It may log in all the same.
    fn waive_login(&mut self) {}

    /// Whether the mail program used a command that needs a login.
    fn missed_login(&self) -> bool;

    /// Whether the mail program tried to log in, or to go on without, where TLS must come first.
    fn missed_tls(&self) -> bool;

    /// Answers [`LocalEvent::StartTls`]; everything that was said in clear is forgotten, but what was done wrong still counts.
    fn tls_started(&mut self);

    /// The name that the mail program gave itself (SMTP), fit to be repeated upstream.
    fn name(&self) -> Option<&str> {
        None
    }

    /// Answers [`LocalEvent::Credentials`] or [`LocalEvent::Mail`] with a refusal; the conversation goes on where the protocol allows it.
    fn refuse(&mut self, failure: &Failure);

    /// Answers [`LocalEvent::Credentials`] or [`LocalEvent::Mail`] with success: the reply, and what the mail program has sent beyond its login.
    fn accept(self: Box<Self>, login: &LoggedIn) -> Result<Opening, Ending>;

    /// Ends the conversation from outside, whatever its state.
    fn interrupt(&mut self, interruption: Interruption);
}

/// How the relay begins, on the local side.
#[derive(Debug)]
pub struct Opening {
    /// The success reply for the mail program.
    pub reply: Outgoing,
    /// What the mail program sent beyond its login; it goes upstream first.
    pub leftovers: Outgoing,
}

/// Why a local conversation ended before a login succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// The mail program said good-bye.
    #[error("the mail program took its leave")]
    Quit,
    /// Too many wrong passwords on one connection.
    #[error("too many failed logins on one connection")]
    FailedLogins,
    /// Too many commands that make no sense before login.
    #[error(
        "too many bad commands; is this a mail program of the right protocol, and is authentication switched on in it?"
    )]
    BadCommands,
    /// A line or literal beyond the bound.
    #[error("a line or literal beyond the limit before login")]
    TooLong,
    /// More was said than a login takes.
    #[error("too much was said without a login")]
    TooMuch,
    /// A web browser or web client.
    #[error("the peer speaks HTTP; no mail program does")]
    Http,
    /// A TLS ClientHello where TLS does not begin with the first byte.
    #[error(
        "the mail program speaks TLS from the first byte, and this port does not; set the mail program to \"STARTTLS\" (or \"no encryption\", where the listener has tls = \"none\"), or give the listener tls = \"auto\""
    )]
    Tls,
    /// Bytes in clear behind STARTTLS, which would be taken for secured ones.
    #[error(
        "bytes in clear came behind STARTTLS; somebody between the mail program and here may have put them in, so the connection was closed"
    )]
    Injected,
    /// A PROXY protocol header from somebody who is not expected to send one.
    #[error(
        "the peer sent a PROXY protocol header, which is taken only from the addresses in the listener's proxy-protocol-from"
    )]
    ProxyHeader,
    /// Octets that would have been chunks of a message.
    #[error(
        "the mail program sent message data before logging in; is authentication switched on in it?"
    )]
    DataBeforeLogin,
    /// A second login was queued behind the first; forwarding it would have given the local password away.
    #[error(
        "another login was queued behind the first; it was not forwarded, because it holds a local password"
    )]
    SecondLogin,
    /// The provider could not be asked for its capabilities.
    #[error("the mail server's capabilities could not be had")]
    NoProfile,
    /// [`Local::interrupt`].
    #[error("{0}")]
    Interrupted(Interruption),
    /// The session cannot go on after a refusal.
    #[error("refused for good")]
    Refused,
}

/// Why the driver ends a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interruption {
    /// The time before login is over.
    #[error("no login within the time that is allowed before it")]
    Timeout,
    /// We are stopping.
    #[error("mailwicket is shutting down")]
    Shutdown,
    /// One of our limits is reached.
    #[error("too many connections that have not logged in")]
    Limit,
    /// A connection in clear from where that is not allowed.
    #[error(
        "connections without TLS are taken from this machine only; give the listener TLS, or list the source in its allow-plaintext-from"
    )]
    Plaintext,
    /// Words in clear, or none, where TLS begins with the first byte.
    #[error(
        "this port speaks TLS from the first byte, and the mail program does not; set its encryption to \"SSL/TLS\", or give the listener tls = \"auto\""
    )]
    ExpectedTls,
}

/// How private a conversation is, and has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// In clear; there is no TLS here.
    Clear,
    /// In clear; STARTTLS is offered, and a login without it is taken.
    Offered,
    /// In clear; STARTTLS is offered, and needed before a login.
    Required,
    /// TLS is on.
    Secured,
}

impl Privacy {
    /// Whether STARTTLS is among what can be done now.
    fn offers_tls(self) -> bool {
        matches!(self, Self::Offered | Self::Required)
    }

    /// Whether a password may be sent now.
    fn allows_login(self) -> bool {
        self != Self::Required
    }
}

/// The stable short code of a refusal because TLS must come first.
pub const TLS_FIRST: &str = "MW-TLS";
/// The stable short code of a refusal because no plain connection is taken from there.
pub const NOT_IN_CLEAR: &str = "MW-PLAINTEXT";

/// What an upstream machine reports.
#[derive(Debug)]
pub enum UpstreamEvent {
    /// The handshake must be made now; then [`Upstream::tls_started`].
    StartTls,
    /// The provider's list is known; the machine is parked until [`Upstream::login`] or [`Upstream::quit`].
    Ready(Profile),
    /// The provider said yes.
    LoggedIn(LoggedIn),
    /// This connection is of no further use.
    Failed(UpstreamFailure),
}

/// Our small client of a protocol, until the provider says yes.
pub trait Upstream: Machine<Event = UpstreamEvent> {
    /// Answers [`UpstreamEvent::StartTls`]; everything that was said in clear is forgotten.
    fn tls_started(&mut self);

    /// Answers [`UpstreamEvent::Ready`] with credentials.
    fn login(&mut self, login: &Login<'_>);

    /// Answers [`UpstreamEvent::Ready`] with a good-bye.
    fn quit(&mut self);
}

/// What an upstream login needs.
#[derive(Debug)]
pub struct Login<'a> {
    /// The SASL user.
    pub identity: &'a str,
    /// The token.
    pub token: &'a AccessToken,
    /// Which mechanism to use.
    pub mechanism: MechanismChoice,
    /// The host that was dialled, which OAUTHBEARER repeats.
    pub host: &'a str,
    /// The port that was dialled.
    pub port: u16,
}

/// Proof that the provider accepted a login. Only the success parsers in this module make it, and the relay needs it.
#[derive(Debug)]
pub struct LoggedIn {
    /// The success reply; for IMAP without the tag.
    reply: Outgoing,
    /// What the provider sent beyond its success reply; the mail program gets it first.
    leftovers: Outgoing,
}

impl LoggedIn {
    /// What the provider sent beyond its success reply.
    pub fn leftovers(&self) -> &[u8] {
        &self.leftovers
    }
}

#[cfg(test)]
impl Outgoing {
    /// What a test of later stages pretends that somebody said.
    pub(crate) fn holding(bytes: &[u8]) -> Self {
        let mut outgoing = Self::default();
        outgoing.push(bytes);
        outgoing
    }
}

#[cfg(test)]
impl LoggedIn {
    /// What a test of later stages pretends that a provider said.
    pub(crate) fn pretended(leftovers: &[u8]) -> Self {
        let mut held = Outgoing::default();
        held.push(leftovers);
        Self {
            reply: Outgoing::default(),
            leftovers: held,
        }
    }
}

/// Why an upstream conversation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamFailure {
    /// What can be done about it.
    pub kind: UpstreamFailureKind,
    /// What was said, for the log: printable and bounded; the remedy behind it, if one is known.
    pub detail: String,
    /// What to do next, where the words are known.
    pub remedy: Option<&'static str>,
    /// For how many milliseconds the server wants no other login of this user, where it says so.
    pub pause: Option<u64>,
}

/// What an answer to a command after the login means, if its words are known: the token was good, and something is wrong all the same.
pub fn after_login(said: &[u8]) -> Option<&'static str> {
    refusals::after_login(said)
}

/// What a peer said, bounded and fit for people and logs.
pub fn printable(said: &[u8]) -> String {
    text::printable(said)
}

/// What can be done about an upstream failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFailureKind {
    /// The provider did not take this token.
    TokenRefused,
    /// Another token would not help: somebody must change a setting or a right at the provider.
    Forbidden,
    /// The provider has too many sessions of this user.
    Busy,
    /// The provider has trouble or does not speak its protocol.
    Unavailable,
}

impl UpstreamFailure {
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self {
            kind: UpstreamFailureKind::Unavailable,
            detail: detail.into(),
            remedy: None,
            pause: None,
        }
    }
}

/// The bounds of a local machine.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Octets of a command line, without its end.
    pub line: usize,
    /// Failed logins before the connection is closed.
    pub failed_logins: usize,
    /// Octets of the whole conversation.
    pub octets: usize,
}

/// Octets of a SASL response line, without its end (RFC 4954 §4).
const SASL_LINE: usize = 12_288;

/// Our server for `protocol`. `profile` is the provider's list where it is already known.
pub fn local(
    protocol: Protocol,
    bounds: Bounds,
    privacy: Privacy,
    profile: Option<Profile>,
) -> Box<dyn Local> {
    match protocol {
        Protocol::Imap => Box::new(imap::ImapLocal::new(bounds, privacy, profile)),
        Protocol::Pop3 => Box::new(pop3::Pop3Local::new(bounds, privacy, profile)),
        Protocol::Smtp => Box::new(smtp::SmtpLocal::new(bounds, privacy, profile)),
    }
}

/// The words in which a conversation of `protocol` is ended from outside, as they stand alone.
pub fn farewell(protocol: Protocol, interruption: Interruption) -> &'static str {
    match protocol {
        Protocol::Imap => imap::farewell(interruption),
        Protocol::Pop3 => pop3::farewell(interruption),
        Protocol::Smtp => smtp::farewell(interruption),
    }
}

/// What makes the tags of one upstream IMAP conversation unguessable.
pub type Nonce = [u8; 40];

/// Our client for `protocol`. `name` is what SMTP's EHLO says.
pub fn upstream(
    protocol: Protocol,
    tls: UpstreamTls,
    nonce: &Nonce,
    name: Option<&str>,
) -> Box<dyn Upstream> {
    match protocol {
        Protocol::Imap => Box::new(imap::ImapUpstream::new(tls, nonce)),
        Protocol::Pop3 => Box::new(pop3::Pop3Upstream::new(tls)),
        Protocol::Smtp => Box::new(smtp::SmtpUpstream::new(tls, name)),
    }
}
