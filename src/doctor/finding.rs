//! What one step found, in a form that stays the same from version to version.

use serde::Serialize;

use crate::failure::{Cause, Failure};
use crate::protocol::Protocol;

/// What was tried, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The configuration of the account and its registration.
    Config,
    /// The local passwords.
    Password,
    /// The addresses of a host.
    Dns,
    /// Connections to them.
    Tcp,
    /// The handshake, and the certificate.
    Tls,
    /// This machine's clock against the provider's.
    Clock,
    /// An access token.
    Token,
    /// What the token says of itself.
    Claims,
    /// A mail server's first words, up to its list of capabilities.
    Greeting,
    /// The login with the token.
    Login,
    /// A command that changes nothing.
    Command,
    /// Whether MAIL with the account's address is accepted; nothing is sent, so the message itself may still be refused.
    Sender,
    /// A message to the account itself.
    Send,
    /// Its arrival.
    Find,
    /// What arrived against what was sent.
    Compare,
    /// The removal of the message.
    Remove,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 16] = [
        Self::Config,
        Self::Password,
        Self::Dns,
        Self::Tcp,
        Self::Tls,
        Self::Clock,
        Self::Token,
        Self::Claims,
        Self::Greeting,
        Self::Login,
        Self::Command,
        Self::Sender,
        Self::Send,
        Self::Find,
        Self::Compare,
        Self::Remove,
    ];

    /// The word in the output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Password => "password",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Clock => "clock",
            Self::Token => "token",
            Self::Claims => "claims",
            Self::Greeting => "greeting",
            Self::Login => "login",
            Self::Command => "command",
            Self::Sender => "sender",
            Self::Send => "send",
            Self::Find => "find",
            Self::Compare => "compare",
            Self::Remove => "remove",
        }
    }
}

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The account itself.
    Account,
    /// The token, or the endpoint that gives it out.
    Token,
    /// The IMAP server.
    Imap,
    /// The POP3 server.
    Pop3,
    /// The SMTP server.
    Smtp,
}

impl Subject {
    /// The word in the output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Token => "token",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Smtp => "smtp",
        }
    }
}

impl From<Protocol> for Subject {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Imap => Self::Imap,
            Protocol::Pop3 => Self::Pop3,
            Protocol::Smtp => Self::Smtp,
        }
    }
}

/// One step and how it went.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The mailbox.
    pub account: String,
    /// What was tried.
    pub stage: Step,
    /// What it is about.
    pub name: Subject,
    /// Whether it went well.
    pub ok: bool,
    /// Whether it went well and is worth a look all the same.
    pub warning: bool,
    /// The short code of a failure.
    pub code: Option<&'static str>,
    /// What was found, in words.
    pub detail: String,
    /// What to do next, after a failure or a warning.
    pub remedy: Option<String>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// How a step went, before it is known which one it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Well(String),
    Warning {
        detail: String,
        remedy: String,
    },
    Failed {
        cause: Cause,
        detail: String,
        remedy: Option<String>,
    },
}

impl Told {
    pub(super) fn well(detail: impl Into<String>) -> Self {
        Self::Well(detail.into())
    }

    pub(super) fn warning(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Warning {
            detail: detail.into(),
            remedy: remedy.into(),
        }
    }

    /// An empty remedy is none.
    pub(super) fn failed(
        cause: Cause,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Failed {
            cause,
            detail: detail.into(),
            remedy: Some(remedy.into()).filter(|remedy| !remedy.is_empty()),
        }
    }
}

/// The next step where nothing better is known.
pub(super) fn general_remedy(cause: Cause, address: &str) -> String {
    match cause {
        Cause::Consent => format!("Run: mailwicket authorize {address}"),
        Cause::Password => format!("Run: mailwicket password add {address}"),
        Cause::Config => {
            "Compare the configuration with the registration at the provider; `mailwicket check` reads the file"
                .to_owned()
        }
        Cause::Refused => {
            "Compare the scopes, who signed in, and whether the protocol is switched on for the mailbox"
                .to_owned()
        }
        Cause::Busy | Cause::Limit => {
            "Close mail programs, or let them check less often; then try again".to_owned()
        }
        Cause::Token | Cause::Upstream | Cause::Changed => {
            "Try again in a while; if it stays so, look at the network and firewall of this machine, then ask the provider"
                .to_owned()
        }
    }
}

impl From<Failure> for Told {
    fn from(failure: Failure) -> Self {
        Self::failed(
            failure.cause,
            failure.happened(),
            failure.remedy.clone().unwrap_or_default(),
        )
    }
}
