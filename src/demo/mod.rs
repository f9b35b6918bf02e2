//! A sandbox for demonstrations and tests: an OAuth provider and a mail server that live in this process and forget everything when
//! it ends. Never a server for real mail, and no part of the path: nothing outside `demo` uses it.
//!
//! It shares no code with the dialogues, so that a mistake there cannot hide here.

mod bearer;
mod browser;
mod certificate;
mod imap;
mod mail;
mod pop3;
mod provider;
mod register;
pub mod round_trip;
mod smtp;
mod store;
pub mod story;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use browser::BrowserError;
pub use certificate::CertificateError;

use crate::protocol::Protocol;
use crate::wire;
use mail::{Desk, Server};
use register::Register;
use store::Store;

/// The mailbox of the sandbox, and the only person who can sign in.
pub const ADDRESS: &str = "demo@example.test";
/// The client id that the sandbox's provider knows.
pub const CLIENT_ID: &str = "mailwicket-demo";
/// The scope that opens the mailbox.
pub const SCOPE: &str = "mail";
/// Events that nobody has read yet; more are dropped.
const EVENTS: usize = 64;

/// What the sandbox's mail server saw: the view from the other side of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What was spoken.
    pub protocol: Protocol,
    /// The SASL mechanism.
    pub mechanism: &'static str,
    /// The SASL user.
    pub user: String,
    /// The version of TLS, in words.
    pub tls: &'static str,
    /// The beginning of the access token and its length.
    pub token: String,
    /// Whether the token was taken.
    pub accepted: bool,
}

/// Why the sandbox could not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Certificates.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Sockets.
    #[error("cannot listen on a free port of 127.0.0.1: {0}")]
    Socket(#[from] std::io::Error),
    /// Randomness.
    #[error("the system gives no randomness: {0}")]
    Random(#[from] getrandom::Error),
}

/// A running provider with its mail server. It ends when it is dropped.
pub struct Sandbox {
    /// The issuer identifier, which is also where its metadata are found.
    pub issuer: Url,
    /// The authority that signed the mail server's certificate, as PEM.
    pub ca: String,
    /// IMAP over implicit TLS.
    pub imap: SocketAddr,
    /// POP3 over implicit TLS.
    pub pop3: SocketAddr,
    /// SMTP with STARTTLS.
    pub smtp: SocketAddr,
    register: Arc<Register>,
    events: Option<mpsc::Receiver<Seen>>,
    stop: CancellationToken,
}

impl Sandbox {
    /// Starts everything on free ports of 127.0.0.1; access tokens live for `token_life`.
    ///
    /// # Errors
    /// [`SandboxError`]; nothing is left running then.
    pub async fn start(token_life: Duration) -> Result<Self, SandboxError> {
        let certificate = certificate::Certificate::make()?;
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let register = Arc::new(Register::new(token_life)?);
        let (sender, events) = mpsc::channel(EVENTS);
        let desk = Desk {
            register: register.clone(),
            store: Arc::new(Store::new()),
            tls: certificate.acceptor.clone(),
            events: sender,
            stop: stop.clone(),
        };
        let issuer = provider::start(register.clone(), stop.clone()).await?;
        let imap = Server::start(Protocol::Imap, desk.clone()).await?;
        let pop3 = Server::start(Protocol::Pop3, desk.clone()).await?;
        let smtp = Server::start(Protocol::Smtp, desk).await?;
        guard.disarm();
        Ok(Self {
            issuer,
            ca: certificate.ca,
            imap,
            pop3,
            smtp,
            register,
            events: Some(events),
            stop,
        })
    }

    /// What its mail server sees from now on; given out once.
    pub fn events(&mut self) -> Option<mpsc::Receiver<Seen>> {
        self.events.take()
    }

    /// An access token for the mailbox, as if somebody had signed in: for tests that speak to the mail server directly.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn access_token(&self) -> Result<String, SandboxError> {
        Ok(self.register.issue(jiff::Timestamp::now())?.access_token)
    }

    /// What an application has to know to get a token for itself (client credentials).
    pub fn client_secret(&self) -> &str {
        self.register.client_secret()
    }

    /// Signs in at `url` and allows, as a person with a browser would; returns when the redirect was delivered.
    ///
    /// # Errors
    /// If the page or the redirect cannot be had.
    pub async fn consent(&self, url: &Url) -> Result<(), BrowserError> {
        browser::consent(url, self.register.consent_key()).await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
